"""A darktable that stays open and renders one job after another, without a display.

``darktable-cli`` is started on a tiny picture with a named pipe as its sidecar, so that its main thread waits in
``open()``; meanwhile its Lua thread runs ``darktable.lua``, which takes jobs from another pipe. Library and
configuration are its own, in a scratch folder: the user's are never opened.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import tifffile

from pixward.editors.darktable_modules import Installation, environment
from pixward.editors.pool import Job, WorkerLost
from pixward.editors.processes import scratch, start, stop
from pixward.errors import PixwardError

_LUA = Path(__file__).with_name("darktable.lua")
_GRACE = 10.0


def options(folder: Path) -> list[str]:
    """Darktable's own options that keep it to ``folder`` and off the graphics card, to follow ``--core``."""
    return [
        *("--disable-opencl", "--library", ":memory:", "--configdir", str(folder / "config")),
        *("--cachedir", str(folder / "cache"), "--tmpdir", str(folder)),
        *("--conf", "write_sidecar_files=never", "--conf", "plugins/lighttable/export/force_lcms2=FALSE"),
    ]


class DarktableWorker:
    """One process; see :class:`pixward.editors.pool.Worker`."""

    def __init__(self, where: Installation, *, seconds: float = 60.0) -> None:
        """``seconds``: what its start may take.

        Raises:
        WorkerLost: it did not start within ``seconds``.
        PixwardError: it cannot be started, or its folder cannot be written.
        """
        self._folder = scratch()
        self._jobs = 0
        self._said = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._requests = self._replies = -1
        self._busy = threading.Lock()
        self._closed = False
        try:
            self._begin(where)
            if self._reply(time.monotonic() + seconds) != "ready":
                raise WorkerLost("did not start")
        except OSError as error:
            self.close()
            raise self._trouble(error) from error
        except BaseException:
            self.close()
            raise

    def _begin(self, where: Installation) -> None:
        hold = self._folder / "hold.tif"
        tifffile.imwrite(hold, np.zeros((16, 16, 3), np.uint8), photometric="rgb")
        for name in ("requests", "replies", "hold.xmp"):
            os.mkfifo(self._folder / name)
        command = [str(where.command), str(hold), str(self._folder / "hold.xmp"), str(self._folder / "never.png")]
        command += ["--apply-custom-presets", "0", "--core", *options(self._folder)]
        command += ["--luacmd", 'dofile(os.getenv("PIXWARD_DARKTABLE_LUA"))']
        variables = {"PIXWARD_DARKTABLE": str(self._folder), "PIXWARD_DARKTABLE_LUA": str(_LUA)}
        variables |= {**environment(self._folder), "OMP_NUM_THREADS": "1", "GDK_BACKEND": "x11"}
        with (self._folder / "log").open("wb") as log:
            self._process = start(command, output=log.fileno(), environment=variables)
        # Opened for both directions, a pipe does not wait for its other end, which may never come.
        self._requests = os.open(self._folder / "requests", os.O_RDWR)
        self._replies = os.open(self._folder / "replies", os.O_RDWR)

    def render(self, job: Job, seconds: float) -> np.ndarray:
        """The picture, ``(H, W, 3)`` uint16; see :class:`pixward.editors.pool.Worker`.

        Raises:
            WorkerLost: it did not come within ``seconds``, or not at all.
            PixwardError: the worker's folder cannot be written.
        """
        with self._busy:
            if self._closed:
                raise WorkerLost("was closed")
            try:
                return self._one(job, seconds)
            except OSError as error:
                raise (WorkerLost("was closed") if self._closed else self._trouble(error)) from error

    def _one(self, job: Job, seconds: float) -> np.ndarray:
        self._jobs += 1
        source = self._folder / f"{self._jobs}{plain_suffix(job.frame.path)}"
        sidecar, result = Path(f"{source}.xmp"), self._folder / f"{self._jobs}-done.tif"
        try:
            _link(job.frame.path, source)
            sidecar.write_text(job.sidecar, encoding="utf-8")
            os.write(self._requests, f"{source}\t{result}\n".encode())
            said = self._reply(time.monotonic() + seconds)
            if said != "ok" or not result.is_file():
                raise WorkerLost(f"rendered nothing ({said})")
            return _read(result)
        finally:
            for path in (source, sidecar, result):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """End the process and remove its folder; a render that another thread waits for is lost."""
        self._closed = True
        if self._process is not None:
            stop(self._process)
        # Not under a render's feet: it hears of the end in a moment, and a number that is closed is soon another file.
        free = self._busy.acquire(timeout=_GRACE)
        pipes, self._requests, self._replies = (self._requests, self._replies), -1, -1
        for pipe in pipes:
            with suppress(OSError):
                os.close(pipe)
        shutil.rmtree(self._folder, ignore_errors=True)
        if free:
            self._busy.release()

    def _reply(self, until: float) -> str:
        """The next line that the server says."""
        assert self._process is not None
        watch = select.poll()  # select() itself ends at file number 1024.
        watch.register(self._replies, select.POLLIN)
        while b"\n" not in self._said:
            if self._closed:
                raise WorkerLost("was closed")
            if self._process.poll() is not None:
                raise WorkerLost(f"ended with status {self._process.returncode}{self._last_words()}")
            if time.monotonic() > until:
                raise WorkerLost("hung and was ended")
            # In short turns: this pipe is ours at both ends, so that it never tells of the process's death.
            if watch.poll(200):
                self._said += os.read(self._replies, 65536)
        line, _, self._said = self._said.partition(b"\n")
        return line.decode(errors="replace")

    def _last_words(self) -> str:
        with suppress(OSError):
            words = last_words((self._folder / "log").read_text(errors="replace"))
            return f" ({words})" if words else ""
        return ""

    def _trouble(self, error: OSError) -> PixwardError:
        return PixwardError(f"cannot write {self._folder}: {error.strerror or error}; free some space there")


def last_words(output: str) -> str:
    """The last thing that darktable said, without its remarks about its surroundings; "" if there is none."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "running darktable as root" not in line]
    return lines[-1][:200] if lines else ""


def plain_suffix(path: Path) -> str:
    """The suffix, by which darktable tells what it opens, if there is nothing strange in it; else ""."""
    suffix = path.suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ""


def _link(path: Path, place: Path) -> None:
    """``path`` under another name: a hard link, since darktable follows symbolic ones to where other sidecars lie."""
    try:
        os.link(path, place)
    except OSError:
        shutil.copyfile(path, place)


def _read(path: Path) -> np.ndarray:
    try:
        pixels = tifffile.imread(path)
    except Exception as error:  # tifffile raises nearly everything on a file that is cut short
        raise WorkerLost(f"wrote a picture that cannot be read ({type(error).__name__})") from error
    if pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise WorkerLost(f"wrote a picture of shape {pixels.shape} and type {pixels.dtype}")
    return np.ascontiguousarray(pixels[..., :3])
