"""What the benchmarks of Predict share: finding trained policies, reading their logs, writing JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixward.bench.provenance import commit, hardware, today
from pixward.data.synth import SceneBatch, Scenes
from pixward.files import save_text
from pixward.run import read_log


class From:
    """Pictures of ``source`` from number ``first`` on: held-out scenes that training never looked at."""

    def __init__(self, source: Scenes, first: int) -> None:
        self.source, self.first = source, first

    def batch(self, indices: Any) -> SceneBatch:
        """See :class:`pixward.predict.task.Source`."""
        return self.source.batch([index + self.first for index in indices])


def policies(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names and weight files of all finished phases in ``folder``, the start first."""
    files = sorted(folder.glob("*/policy.safetensors"), key=lambda file: (file.parent.name != "mle", file.parent.name))
    for file in files:
        if (file.parent / "log.jsonl").exists():
            yield file.parent.name, file


def curve(folder: Path) -> list[dict[str, float]]:
    """The log of a phase: every line that holds an evaluation, and every fifth of the others."""
    lines = read_log(folder / "log.jsonl")
    widest = max(len(line) for line in lines)
    kept = [line for at, line in enumerate(lines) if len(line) == widest or at % 5 == 0]
    return [{name: round(value, 5) for name, value in line.items() if isinstance(value, int | float)} for line in kept]


def write(place: Path, results: dict[str, Any], command: str, scenes: int) -> None:
    """Results with what made them."""
    document = {
        "command": command,
        "commit": commit(),
        "day": today(),
        "hardware": hardware(),
        "scenes": scenes,
        "results": results,
    }
    save_text(place, json.dumps(document, indent=1) + "\n", force=True)
