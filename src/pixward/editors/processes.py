"""Other people's programs as child processes: a time limit for each, and none that is left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pixward.errors import PixwardError

_GUARD = str(Path(__file__).with_name("guard.py"))
_MEMORY_DISK = Path("/dev/shm")
_ROOM = 256 << 20
_GRACE = 10.0
_SAID = 1 << 20


@dataclass(frozen=True)
class Finished:
    """How a program ended.

    Attributes:
        status: its exit status; 128 + N where signal N ended it.
        output: what it printed, both streams; the last MiB of it.
    """

    status: int
    output: str

    @property
    def last_line(self) -> str:
        """The last thing it said, for an error message; "" if it said nothing."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""


class TimedOut(Exception):
    """A program did not end within its time, and was killed."""


def find_program(name: str) -> Path | None:
    """Where ``name`` (a name on the PATH, or a path) is installed; None if it is not."""
    found = shutil.which(name)
    return Path(found) if found else None


def start(
    command: Sequence[str], *, output: int, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program under guard: it dies with us, whatever happens to us, and never hears our Ctrl-C.

    Args:
        command: program and arguments; no shell sees them.
        output: file descriptor for what it prints, or ``subprocess.PIPE``.
        environment: variables on top of our own.
        folder: where it runs.

    Raises:
        PixwardError: it cannot be started.
    """
    try:
        return subprocess.Popen(
            # -I -S: neither the user's site folder nor a stray PYTHONPATH has a say, and it starts in 10 ms.
            [sys.executable, "-I", "-S", _GUARD, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise PixwardError(f"cannot start {command[0]}: {(error.strerror or str(error)).lower()}") from error


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and all that it started, and wait until they are gone."""
    with suppress(OSError):
        if process.stdin:
            process.stdin.close()  # The guard takes it from here.
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()


def run(
    command: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Finished:
    """Run a program to its end.

    Raises:
        TimedOut: it took longer than ``seconds``; it is dead by then.
        PixwardError: it cannot be started.
    """
    with tempfile.TemporaryFile() as said:
        process = start(command, output=said.fileno(), environment=environment, folder=folder)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimedOut(f"{Path(command[0]).name} did not end within {seconds:g} s") from None
        finally:
            stop(process)
        said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
        return Finished(status, said.read().decode(errors="replace"))


def scratch() -> Path:
    """A fresh folder for files that live as long as an editor runs, in memory where the system has such a disk."""
    place = None
    with suppress(OSError):
        if os.access(_MEMORY_DISK, os.W_OK) and shutil.disk_usage(_MEMORY_DISK).free > _ROOM:
            place = _MEMORY_DISK
    elsewhere = Path(tempfile.gettempdir())
    for folder in {place or elsewhere, elsewhere}:
        _sweep(folder)
    return Path(tempfile.mkdtemp(prefix=f"pixward-{os.getpid()}-", dir=place or elsewhere))


def _sweep(folder: Path) -> None:
    """Remove what processes of ours that were killed have left."""
    for path in folder.glob("pixward-*-*"):
        found = re.fullmatch(r"pixward-(\d+)-\w+", path.name)
        if not found or path.is_symlink() or not path.is_dir():
            continue
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # It lives, as another user.
