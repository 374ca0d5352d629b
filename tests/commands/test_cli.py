"""What all commands share: speed of --help, exit codes, one line per error."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.commands.conftest import Pixward

from pixward import __version__, cli
from pixward.editors.chain import PAPER, PHOTO

COMMAND = [sys.executable, "-m", "pixward.cli"]
COMMANDS = [
    ("match",),
    ("render",),
    ("sliders",),
    ("train", "edit"),
    ("predict",),
    ("train", "predict"),
    ("bench", "edit"),
    ("bench", "predict"),
    ("pixel", "import"),
    ("pixel", "denoise"),
]


def test_importing_the_command_line_is_light():
    code = "import sys, pixward.cli; print(*sorted({'torch', 'numpy', 'scipy', 'PIL', 'cma'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def test_help_answers_within_half_a_second():
    # CPU seconds, so that a busy machine does not fail the test; the best of five, so that a cold cache does not.
    def seconds() -> float:
        before = os.times()
        subprocess.run([*COMMAND, "--help"], capture_output=True, check=True, timeout=60)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    assert min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize(("own", "kept"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_do_not_spin_while_they_wait(pixward: Pixward, monkeypatch: pytest.MonkeyPatch, own, kept: str):
    monkeypatch.setenv("OMP_WAIT_POLICY", own or "")
    if own is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert pixward("--version").code == 0
    assert os.environ["OMP_WAIT_POLICY"] == kept


def test_version(pixward: Pixward):
    done = pixward("--version")
    assert (done.code, done.out, done.err) == (0, f"pixward {__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(pixward: Pixward, command: tuple[str, ...]):
    done = pixward(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Example:  pixward {' '.join(command)}" in done.out
    assert pixward(*command, "-h").out == done.out


def test_help_names_all_commands(pixward: Pixward):
    text = pixward("--help").out
    assert all(f"\n  {command[0]} " in text for command in COMMANDS)
    assert "Example:" in text


@pytest.mark.parametrize("group", [(), ("train",), ("bench",)])
def test_no_command_shows_help_and_fails(pixward: Pixward, group: tuple[str, ...]):
    done = pixward(*group)
    assert done.code == 2
    assert (done.out + done.err).startswith(" ".join(("Usage: pixward", *group)))
    assert "\n  -h, --help" in done.out + done.err


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("--nonsense",), ("match",), ("render", "a.jpg"), ("train", "nonsense"), ("sliders", "x")],
)
def test_usage_errors_are_one_line(pixward: Pixward, arguments: tuple[str, ...]):
    done = pixward(*arguments)
    assert done.code == 2
    assert "--help" in done.line


def test_sliders_as_json(pixward: Pixward):
    for editor in (PHOTO, PAPER):
        listed = json.loads(pixward("sliders", "--editor", editor.name, "--json").out)
        assert [tuple(slider) for slider in listed] == [("name", "low", "high", "default", "unit", "help")] * len(
            listed
        )
        assert [slider["name"] for slider in listed] == list(editor.space.names)
    assert json.loads(pixward("sliders", "--json").out)[0]["low"] == -3


def test_sliders_as_a_table(pixward: Pixward):
    done = pixward("sliders", "--editor", "chain:paper")
    assert done.code == 0
    assert all(name in done.out for name in PAPER.space.names)
    assert "unknown editor" in pixward("sliders", "--editor", "nothing").line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--goals", "nonsense"), "EDITOR@RADIUS"), (("--goals", "chain:photo@teacher"), "--teacher")],
)
def test_bench_says_what_it_cannot_measure(pixward: Pixward, tmp_path: Path, arguments: tuple[str, ...], says: str):
    done = pixward("bench", "edit", tmp_path, *arguments, "--out", tmp_path / "out", "--run", tmp_path / "run")
    assert done.code == 1
    assert says in done.line
    assert not (tmp_path / "out").exists()


def test_a_reader_that_goes_away_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writing)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (ValueError("two\nlines"), 1, "two lines"),
        (FileNotFoundError("no policy for x"), 1, "no policy for x"),
        (OSError(28, "No space left on device", "film.png"), 1, "film.png: no space left on device"),
        (PermissionError(13, "Permission denied", "out"), 1, "out: permission denied"),
        (MemoryError(), 1, "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 1, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"), 1, "too little memory"),
        (KeyError("oops"), 1, "bug"),
    ],
)
def test_errors_end_in_one_line(pixward: Pixward, monkeypatch, error: BaseException, code: int, says: str):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    done = pixward("match")
    assert done.code == code
    assert says in done.line
    monkeypatch.setenv("PIXWARD_DEBUG", "1")
    assert "Traceback" in pixward("match").err or code == 130


def test_progress_on_a_terminal_leaves_stdout_clean(photo: Path, tmp_path: Path):
    ours, theirs = pty.openpty()
    command = [
        *COMMAND,
        "match",
        str(photo),
        "--goal",
        str(photo),
        "--strategy",
        "random",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=120, check=True)
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux's way of saying that the other end is closed.
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert b"Searching" in shown
    assert b"renders" in shown
    assert "Searching" not in done.stdout
    assert "\x1b" not in done.stdout
