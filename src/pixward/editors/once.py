"""One process for each render: for programs that cannot stay, and for pictures that are rendered once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pixward.editors.pool import Job, WorkerLost
from pixward.editors.processes import scratch, start, stop
from pixward.errors import PixwardError
from pixward.image import load

_SIGNALS = frozenset(128 + number for number in signal.valid_signals())


@dataclass(frozen=True)
class Call:
    """A program to run for one render.

    Attributes:
        command: program and arguments; no shell sees them.
        output: the picture that it is to write.
        environment: variables on top of our own.
    """

    command: Sequence[str]
    output: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class OnceWorker:
    """Runs a program anew for each job, each time in an empty scratch folder."""

    def __init__(self, name: str, prepare: Callable[[Job, Path], Call]) -> None:
        """``prepare(job, folder)`` writes what the program needs into ``folder`` and says how to call it.

        ``name`` is what error messages call the editor.
        """
        self.name = name
        self._prepare = prepare
        self._folder = scratch()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def render(self, job: Job, seconds: float) -> np.ndarray:
        """The picture, ``(H, W, 3)`` uint8 or uint16, sRGB and upright.

        Raises:
            WorkerLost: the program did not end within ``seconds``, crashed, or wrote nothing that can be read.
            PixwardError: it cannot be started, or said by its exit status that it failed: trying again is no use.
        """
        folder = self._folder / "render"
        try:
            folder.mkdir(parents=True)
            call = self._prepare(job, folder)
            status, said = self._run(call, folder, seconds)
            if status in _SIGNALS:
                raise WorkerLost(f"crashed ({signal.Signals(status - 128).name}){_tail(said)}")
            if status:
                raise PixwardError(f"{self.name} failed: it ended with status {status}{_tail(said)}")
            return _picture(call.output, said)
        except OSError as error:
            if self._closed:
                raise WorkerLost("was closed") from error
            why = (error.strerror or str(error)).lower()
            raise PixwardError(f"{self.name}: cannot write {folder}: {why}; free some space") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """End the program, if one runs just now, and remove the scratch folder."""
        with self._lock:
            self._closed, process = True, self._process
        if process is not None and process.poll() is None:
            stop(process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, call: Call, folder: Path, seconds: float) -> tuple[int, str]:
        """Exit status and the last line said. As ``processes.run``, but another thread's close() ends it at once."""
        with tempfile.TemporaryFile() as said:
            with self._lock:
                if self._closed:
                    raise WorkerLost("was closed")
                process = start(call.command, output=said.fileno(), environment=call.environment, folder=folder)
                self._process = process
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise WorkerLost(f"did not end within {seconds:g} s") from None
            finally:
                stop(process)
                with self._lock:
                    self._process = None
            if self._closed:
                raise WorkerLost("was closed")
            said.seek(max(0, said.seek(0, 2) - 4000))
            lines = said.read().decode(errors="replace").split("\n")
        status = status if status >= 0 else 128 - status  # the guard itself was killed
        return status, next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


def _tail(said: str) -> str:
    return f": {said}" if said else ""


def _picture(path: Path, said: str) -> np.ndarray:
    if not path.is_file() or not path.stat().st_size:
        raise WorkerLost(f"wrote no picture{_tail(said)}")
    try:
        pixels = load(path).pixels
    except PixwardError as error:
        # The scratch file's name is no use to anybody.
        raise WorkerLost(f"wrote no picture that can be read: {str(error).replace(str(path), 'its output')}") from error
    return pixels if pixels.dtype != np.float32 else (pixels * 65535).round().astype(np.uint16)
