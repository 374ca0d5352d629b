"""Finished units of work, and the file that keeps them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from pixward.bench.goals import Shot
from pixward.bench.measure import Unit
from pixward.bench.settings import EditBenchSettings


@dataclass(frozen=True)
class Key:
    """What one unit measures. ``timed``: the seconds of a short search instead of a whole curve."""

    goals: str
    strategy: str
    index: int
    photo: str
    timed: bool = False


class UnitFile:
    """Finished units in ``units.jsonl``, one a line, appended as they come; a torn last line is ignored.

    ``folder`` is all photos of the folder, so that a run over more of them goes on from one over fewer.

    The file lies in a folder named after everything that decides what is measured except the code; every line also
    holds a digest of the code, and lines of other code are left aside unless their strategy is in ``keep``.
    """

    def __init__(self, settings: EditBenchSettings, folder: list[Shot], code: str, commit: str) -> None:
        sizes = [(shot.name, *shot.sizes) for shot in folder]
        weights = None if settings.lpips is None else settings.lpips.name
        what = [sizes, settings.seed, settings.renders, settings.preview, weights, settings.catalogue]
        name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
        self.path = settings.run / name / "units.jsonl"
        self.code, self.commit, self.keep = code, commit, frozenset(settings.keep)

    def read(self) -> dict[Key, Unit]:
        """Finished units that count, by key; the last line of a key wins."""
        units: dict[Key, Unit] = {}
        if not self.path.exists():
            return units
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                unit = json.loads(line)
                key = Key(**unit.pop("key"))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # Torn by a kill in the middle of a write.
            if unit["code"] == self.code or key.strategy in self.keep:
                units[key] = unit
        return units

    def append(self, key: Key, unit: Unit) -> Unit:
        """Keep a finished unit; returns it as :meth:`read` will."""
        unit = {**unit, "code": self.code, "commit": self.commit}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() and not _ends_line(self.path):
                file.write(b"\n")
            file.write(json.dumps({"key": vars(key), **unit}, separators=(",", ":")).encode() + b"\n")
        return unit


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
