"""One rawtherapee-cli that renders job after job without being started anew.

Its command line takes any number of files and a sidecar for each, but nothing while it runs. So the list alternates
``hold0 job0 hold1 job1 ...``. A hold is a tiny JPEG whose sidecar is a FIFO: RawTherapee stops there until somebody
opens the other end, and in the meantime job N becomes a link to the picture to render, with its sidecar beside it.
A FIFO is no sidecar after all, so with -S the hold itself is skipped, and "Processing: holdN+1" says that job N is
done.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from pixward.editors import processes
from pixward.editors.pool import Job, WorkerLost
from pixward.errors import PixwardError

__all__ = ["RawTherapeeWorker", "environment"]

JOBS = 1000
"""Jobs of one process; the next then takes over. To start one for 1000 takes 0.2 s of CPU, 50 ms more than for 50."""
_POLL = 0.0005


def environment(folder: Path) -> dict[str, str]:
    """Variables under which RawTherapee keeps its settings and cache in ``folder``, and leaves the user's alone."""
    return {
        "RT_SETTINGS": str(folder / "settings"),
        "RT_CACHE": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "settings"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }


class RawTherapeeWorker:
    """A :class:`pixward.editors.pool.Worker`."""

    def __init__(self, program: Path, *, raw: bool, seconds: float = 60.0) -> None:
        """Start it.

        Args:
            program: rawtherapee-cli.
            raw: whether its frames are raw files; RawTherapee tells by the name, so that one worker takes one kind.
            seconds: what its start may take.

        Raises:
            PixwardError: it cannot be started.
            WorkerLost: it hung or died while starting.
        """
        self._program, self._suffix = program, ".dng" if raw else ".tif"
        self._folder = processes.scratch()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        try:
            self._restart(time.monotonic() + seconds)
        except BaseException:
            self.close()
            raise

    def render(self, job: Job, seconds: float) -> np.ndarray:
        """The picture ``(H, W, 3)`` uint16; WorkerLost if it does not come within ``seconds``."""
        if self._closed:
            raise WorkerLost("was closed")
        deadline = time.monotonic() + seconds
        try:
            if self._next == JOBS:
                self._restart(deadline)
            return self._one(job, deadline)
        except OSError as error:
            if self._closed or not self._folder.exists():
                raise WorkerLost("was closed") from error
            raise PixwardError(
                f"cannot write {self._folder}: {error.strerror or error}; free some space there"
            ) from error

    def close(self) -> None:
        """End the process and remove its files."""
        self._closed = True
        if self._process is not None:
            processes.stop(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _one(self, job: Job, deadline: float) -> np.ndarray:
        name = f"j{self._next}{self._suffix}"
        place, link = self._work / name, self._work / "link"
        link.symlink_to(job.frame.path.absolute())
        os.replace(link, place)  # the placeholder: RawTherapee wants every file to be there when it starts
        (self._work / f"{name}.pp3").write_text(job.sidecar, encoding="utf-8")
        self._release(deadline)
        self._next += 1
        said = self._wait_for_hold(deadline)
        output = self._work / "out" / f"j{self._next - 1}.tif"
        try:
            picture = tifffile.imread(output)
        except (OSError, ValueError, tifffile.TiffFileError) as error:
            words = [line for line in said.splitlines() if line.strip() and not line.startswith("Processing")]
            reason = f" ({words[-1].strip()[:150]})" if words else ""
            raise WorkerLost(f"gave no picture{reason}") from error
        finally:
            output.unlink(missing_ok=True)
            place.unlink(missing_ok=True)
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype not in (np.uint8, np.uint16):
            raise WorkerLost(f"gave a picture of {picture.shape} {picture.dtype}, not RGB")
        return picture

    def _restart(self, deadline: float) -> None:
        """A new process with a new list of files."""
        if self._process is not None:
            processes.stop(self._process)
        self._work = self._folder / "work"
        shutil.rmtree(self._work, ignore_errors=True)
        (self._work / "out").mkdir(parents=True)
        hold = self._work / "hold.jpg"
        Image.new("RGB", (16, 16)).save(hold)
        names: list[str] = []
        for i in range(JOBS + 1):
            pair = f"h{i}.jpg", f"j{i}{self._suffix}"
            for name in pair:
                (self._work / name).symlink_to("hold.jpg")
            os.mkfifo(self._work / f"{pair[0]}.pp3")
            names += pair
        flags = ["-Y", "-q", "-o", "out", "-S", "-t", "-b16", "-c"]
        self._process = processes.start(
            [str(self._program), *flags, *names],
            output=subprocess.PIPE,
            environment={**environment(self._folder), "OMP_NUM_THREADS": "1"},
            folder=self._work,
        )
        if self._closed:  # while it was starting
            processes.stop(self._process)
        self._next, self._said = 0, b""
        self._wait_for_hold(deadline)

    def _release(self, deadline: float) -> None:
        """Open and close the FIFO that RawTherapee waits at."""
        fifo = self._work / f"h{self._next}.jpg.pp3"
        while True:
            with suppress(OSError):  # ENXIO: it has said that it is at this hold, but has not opened the FIFO yet
                os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
                return
            if self._process is None or self._process.poll() is not None:
                raise WorkerLost(f"died{self._last_words()}")
            if time.monotonic() > deadline:
                raise WorkerLost("did not answer in time")
            time.sleep(_POLL)

    def _wait_for_hold(self, deadline: float) -> str:
        """What RawTherapee says until it is at the hold before the next job."""
        assert self._process is not None and self._process.stdout is not None
        want = f"Processing: h{self._next}.jpg".encode()
        stream = self._process.stdout
        while want not in self._said:
            left = deadline - time.monotonic()
            try:
                ready = left > 0 and select.select([stream], [], [], left)[0]
                part = os.read(stream.fileno(), 65536) if ready else None
            except (OSError, ValueError):  # closed by another thread
                raise WorkerLost("was closed") from None
            if part is None:
                raise WorkerLost("did not answer in time")
            if not part:
                raise WorkerLost(f"died{self._last_words()}")
            self._said += part
        said, self._said = self._said, b""
        return said.decode(errors="replace").partition(want.decode())[0]

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines() if line.strip()]
        return f" ({lines[-1][:150]})" if lines else ""
