"""What of a batch is done: a line for each photo, in the folder of its results, so that a stopped run goes on.

A line is written when all files of a photo are whole and before any of them has its name. So a photo is done if, and
only if, there is a line for it *and* every file lies where the line says, with the size and the time that it says:
wherever a run is killed, what it had finished counts, and what it had not is done again. The same lines tell which
files are ours, and may be replaced, and which are not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from pixward.commands.outputs import check_outputs
from pixward.errors import PixwardError

NAME = "batch.jsonl"
"""The file, in the folder of the results."""

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in ns."""


class Journal:
    """The lines of one folder. Several processes may write to it; one batch at a time may use it."""

    def __init__(self, folder: Path) -> None:
        """Read what there is; nothing is written or made yet.

        Raises:
            PixwardError: the folder cannot be written, or the file is none of ours.
        """
        self.path = folder / NAME
        self._records: dict[str, dict[str, Any]] = {}
        self._ours: dict[str, Stamp] = {}
        self._lock: IO[bytes] | None = None
        self._made = False
        check_outputs([self.path], (), force=True)
        self.refresh()

    def finished(self, key: str) -> dict[str, Any] | None:
        """What came of the photo with this key, if all its files are still as they were written."""
        record = self._records.get(key)
        if record is None:
            return None
        for path, known in record["files"].items():
            found = stamp(Path(path))
            if found is None or known not in (None, found):
                return None
        return dict(record["answer"])

    def is_ours(self, path: Path) -> bool:
        """Whether a file was written by a batch into this folder, and nobody has changed it since."""
        known = self._ours.get(os.path.abspath(path))
        return known is not None and stamp(path) == known

    def write(
        self,
        key: str,
        photo: Path,
        answer: Mapping[str, Any],
        places: Mapping[Path, Path],
        theirs: Path | None = None,
    ) -> None:
        """Add a line.

        Args:
            key: of the photo and all that decides its result.
            photo: the photo.
            answer: what came of it, plain data.
            places: ``{file: where it lies for now}``, all of them whole.
            theirs: one of them that is a person's from now on, the sidecar that an editor opens and writes: it has to
                be there, and may change.

        Raises:
            PixwardError: the line cannot be written.
        """
        files = {os.path.abspath(path): None if path == theirs else stamp(place) for path, place in places.items()}
        record = {"key": key, "photo": os.path.abspath(photo), "files": files, "answer": dict(answer)}
        # A line of a process that was killed may be torn: it ends before this one begins.
        line = b"\n" + json.dumps(record, allow_nan=False).encode("ascii") + b"\n"
        try:
            with self.path.open("ab", buffering=0) as file:  # One write: lines of several processes do not mix.
                file.write(line)
                os.fsync(file.fileno())
        except OSError as error:
            raise PixwardError(f"cannot write {self.path}: {(error.strerror or str(error)).lower()}") from error

    def refresh(self) -> None:
        """Read what other processes have written by now; PixwardError for a file that is none of ours."""
        if not self.path.exists():
            return
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise PixwardError(f"cannot read {self.path}: {(error.strerror or str(error)).lower()}") from error
        torn = 0
        for line in filter(None, lines):
            try:
                record = json.loads(line)
                files = {str(path): _known(value) for path, value in record["files"].items()}
                self._records[str(record["key"])] = {"files": files, "answer": dict(record["answer"])}
                self._ours.update({path: value for path, value in files.items() if value is not None})
            except (ValueError, TypeError, KeyError, AttributeError):
                torn += 1
        if torn and not self._records and lines[0]:
            raise PixwardError(f"{self.path} is not a journal of pixward's: choose another folder")

    def __enter__(self) -> Journal:
        """Make the folder and take it; PixwardError if another batch is at work there."""
        self._made = not self.path.parent.exists()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self.path.open("ab")
            _take(self._lock)
            if not self.path.exists() or not os.path.samestat(os.fstat(self._lock.fileno()), self.path.stat()):
                raise BlockingIOError  # The other batch was just leaving, and took its empty file with it.
        except BlockingIOError:
            if self._lock is not None:
                self._lock.close()
            raise PixwardError(f"another pixward match is at work in {self.path.parent}: wait for it") from None
        except OSError as error:
            raise PixwardError(f"cannot write {self.path}: {(error.strerror or str(error)).lower()}") from error
        self.refresh()  # Once more: the other batch may have ended in between.
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
            with suppress(OSError):
                if not self.path.stat().st_size:  # Nothing was done.
                    self.path.unlink()
                    if self._made:
                        self.path.parent.rmdir()


def stamp(path: Path) -> Stamp | None:
    """Size and time of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _known(value: Any) -> Stamp | None:
    """A stamp out of a line; ValueError, TypeError for anything else."""
    if value is None:
        return None
    size, time = value
    return int(size), int(time)


def _take(file: IO[bytes]) -> None:
    """Lock a file for as long as this process lives; BlockingIOError if another has it."""
    try:
        import fcntl
    except ImportError:  # Windows, where a second batch is not noticed.
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
