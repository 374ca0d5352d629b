"""What README, docs/denoise.md and the guides tell to type is understood, and goes together."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from pixward.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/denoise.md", "docs/guides/from-rlcm.md", "docs/guides/from-trl-ddpo.md")
SMALL = (None, "emoji", "emoji-lcm")


def told(page: str) -> list[list[str]]:
    """Every command of Denoise on a page, in lines of a block or in backquotes, as words."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^(pixward (?:sample|train denoise|bench denoise) .+)$", text, re.MULTILINE)
    found += re.findall(r"`(pixward (?:sample|train denoise|bench denoise) [^`]+)`", text)
    return [shlex.split(re.split(r"   +", line.replace("\n", " "))[0], comments=True) for line in found]


def asked(words: list[str]) -> tuple[str, dict]:
    """The command's name and what it is given."""
    group = get_command(app)
    names = words[1:2] if words[1] == "sample" else words[1:3]
    for name in names:
        group = group.commands[name]
    return " ".join(names), dict(group.make_context(names[-1], words[1 + len(names) :]).params)


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_understood_and_runs_are_used_as_what_they_hold(page):
    commands = [asked(words) for words in told(page)]
    assert commands
    holds = {}
    for name, given in commands:
        if name == "train denoise" and not given["resume"]:
            tuned = given["lora"] is not None if given["model"] in SMALL else given["lora"] != 0
            holds[str(given["out"])] = "lora" if tuned else "model"
    for name, given in commands:
        if name == "train denoise":
            continue
        for kind in ("lora", "model"):
            used = given[kind] if isinstance(given[kind], list | tuple) else [given[kind]]
            for run in used:
                # README's RUN is either, as it says.
                assert run == "RUN" or holds.get(run, kind) == kind, f"{page}: {run} holds a {holds[run]}"
