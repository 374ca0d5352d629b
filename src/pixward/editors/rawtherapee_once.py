"""rawtherapee-cli, started for one question or one picture at full size."""

from __future__ import annotations

import functools
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pixward.decode import check_readable, decode
from pixward.editors import processes
from pixward.editors.pool import Frame
from pixward.editors.rawtherapee_worker import environment
from pixward.errors import PixwardError
from pixward.files import save_atomic

__all__ = ["as_shot", "default_sidecar", "program", "render"]

_PROGRAM = "rawtherapee-cli"
_OLDEST = (5, 8)
_QUESTION_SECONDS = 60.0
_DEFAULT_SECONDS = 300.0
_FORMATS = {
    ".jpg": ("-j95", "-js3"),
    ".jpeg": ("-j95", "-js3"),
    ".png": ("-n",),
    ".tif": ("-t",),
    ".tiff": ("-t",),
}


def program() -> tuple[Path, str]:
    """Where rawtherapee-cli is, and its version.

    Raises:
        PixwardError: it is not installed, too old, or does not say its version.
    """
    found = processes.find_program(_PROGRAM)
    if found is None:
        raise PixwardError(f"{_PROGRAM} is not installed; on Debian and Ubuntu: sudo apt install rawtherapee")
    version = _version(str(found.absolute()), found.stat().st_mtime_ns)
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < _OLDEST:
        raise PixwardError(f"{found} is RawTherapee {version}, too old; install 5.8 or newer (5.9 is tested)")
    return found.absolute(), version


def as_shot(frame: Frame) -> tuple[float, float]:
    """Temperature in kelvin and green of a raw file's own white balance, as RawTherapee computes them.

    It says so while it loads the file, if asked to be talkative: temperature and tint of its White Balance panel.

    Raises:
        PixwardError: RawTherapee is missing, too old, or cannot read the file.
    """
    return _as_shot(str(frame.path), frame.key, str(program()[0]))


def render(photo: Path, sidecar: str | None, out: Path, *, bits: int, seconds: float) -> None:
    """Render ``photo`` at full size with the text of a .pp3, or with RawTherapee's default for it if None.

    ``out`` is .jpg (quality 95), .png or .tiff and is replaced; a JPEG has 8 bits.

    Raises:
        PixwardError: RawTherapee is missing, too old, hung, died, cannot read the photo or the sidecar, or wrote no
            picture; or ``out`` cannot be written.
    """
    suffix = out.suffix.lower()
    if suffix not in _FORMATS or bits not in (8, 16):
        raise PixwardError(f"RawTherapee does not write {bits} bits to {out.name}: use .jpg, .png or .tiff, 8 or 16")
    depth = 8 if suffix in (".jpg", ".jpeg") else bits
    with _folder() as folder:
        profile: tuple[str, ...] = ("-d",)
        if sidecar is not None:
            (folder / "edit.pp3").write_text(sidecar, encoding="utf-8")
            profile = ("-p", "edit.pp3")
        # RawTherapee ends the name of a TIFF with .tif, whatever it is asked for.
        made = folder / f"out{suffix.replace('.tiff', '.tif')}"
        _develop(photo, made, ["-o", made.name, *_FORMATS[suffix], f"-b{depth}", *profile], seconds)

        def write(part: Path) -> None:
            shutil.copyfile(made, part)

        save_atomic(out, write, force=True)


def default_sidecar(photo: Path) -> str:
    """The .pp3 of a file that nobody touched, as RawTherapee writes it: all of its keys."""
    with _folder() as folder:
        made = folder / "out.tif"
        _develop(photo, made, ["-O", made.name, "-t", "-b8", "-d"], _DEFAULT_SECONDS)
        try:
            return (folder / "out.tif.pp3").read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise PixwardError(f"RawTherapee wrote no sidecar for {photo}; try another version of it") from error


def _develop(photo: Path, made: Path, arguments: Sequence[str], seconds: float) -> None:
    """Render ``photo`` to ``made``, in whose folder RawTherapee runs."""
    command = [str(program()[0]), "-Y", "-q", "-a", *arguments, "-c", _plain(photo, made.parent)]
    try:
        done = processes.run(command, seconds=seconds, environment=environment(made.parent), folder=made.parent)
    except processes.TimedOut:
        raise PixwardError(f"RawTherapee did not render {photo} within {seconds:g} s; allow it more time") from None
    detail = f": {done.last_line}" if done.last_line and not done.last_line.startswith("Processing") else ""
    if not made.is_file():
        raise PixwardError(f"RawTherapee rendered nothing from {photo} (status {done.status}{detail}); can it open it?")
    try:
        decode(made)
    except PixwardError as error:
        raise PixwardError(f"RawTherapee wrote no picture from {photo} (status {done.status}{detail})") from error


def _plain(photo: Path, folder: Path) -> str:
    """A link to the photo under a name without surprises; its suffix stays, since RawTherapee goes by it."""
    check_readable(photo)
    suffix = photo.suffix.lower()
    name = f"photo{suffix}" if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else "photo"
    (folder / name).symlink_to(photo.absolute())
    return name


@contextmanager
def _folder() -> Iterator[Path]:
    """A scratch folder for one run, removed afterwards."""
    folder = processes.scratch()
    try:
        yield folder
    except OSError as error:
        raise PixwardError(f"cannot write {folder}: {error.strerror or error}; free some space there") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.lru_cache(maxsize=8)
def _version(path: str, changed: int) -> str:
    """What the program at ``path`` says; ``changed``, the time of its last change, makes an update count."""
    with _folder() as folder:
        try:  # without arguments it says its version and no more
            done = processes.run([path], seconds=_QUESTION_SECONDS, environment=environment(folder), folder=folder)
        except processes.TimedOut:
            raise PixwardError(f"{path} does not answer; try it by hand") from None
    found = re.search(r"RawTherapee, version (\d[\w.~+-]*)", done.output)
    if not found:
        detail = f" ({done.last_line})" if done.last_line else ""
        raise PixwardError(f"{path} does not say its version{detail}; reinstall RawTherapee")
    return found[1]


@functools.lru_cache(maxsize=256)
def _as_shot(path: str, key: str, command: str) -> tuple[float, float]:
    with _folder() as folder:
        variables = environment(folder)
        settings = Path(variables["RT_SETTINGS"])
        settings.mkdir()
        (settings / "options").write_text("[General]\nVerbose=true\n")
        process = processes.start(
            [command, "-Y", "-q", "-o", "out.tif", "-t", "-c", _plain(Path(path), folder)],
            output=subprocess.PIPE,
            environment=variables,
            folder=folder,
        )
        try:
            said = _read_until(process, b"Preprocessing:", time.monotonic() + _QUESTION_SECONDS)
        finally:
            processes.stop(process)  # the rest of the render is not wanted
    found = re.search(r"As Shot White balance: temp ([\d.]+), tint ([\d.]+)", said)
    if not found:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        detail = f": {lines[-1][:150]}" if lines else ""
        raise PixwardError(f"RawTherapee does not say the white balance of {path}{detail}; is it a raw file?")
    return float(found[1]), float(found[2])


def _read_until(process: subprocess.Popen[bytes], want: bytes, deadline: float) -> str:
    """What a process says until ``want`` or its end, or the time is up."""
    assert process.stdout is not None
    said = b""
    while want not in said and (left := deadline - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        part = os.read(process.stdout.fileno(), 65536)
        if not part:
            break
        said += part
    return said.decode(errors="replace")
