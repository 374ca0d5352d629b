"""Files that a command writes: checked before the work begins, and put in place all together or not at all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pixward.errors import PixwardError

STAGING = ".pixward-"
"""What the names of the folders begin with in which files wait until all of them are whole."""


def check_outputs(outputs: Iterable[Path], inputs: Sequence[Path], *, force: bool) -> None:
    """Refuse outputs that cannot or must not be written, before any work is done.

    Raises:
        PixwardError: an output is one of ``inputs`` (never allowed), exists without ``force``, is a folder, or lies
            in a folder that cannot be written.
    """
    for path in outputs:
        for given in inputs:
            if path == given or _same(path, given):
                raise PixwardError(f"{path} would overwrite {given}, which is an input: choose another place or format")
        if path.is_dir():
            raise PixwardError(f"cannot write {path}: a folder of that name is in the way")
        if not force and (path.exists() or path.is_symlink()):
            raise PixwardError(f"{path} exists already: remove it, choose another place, or pass --force")
        _check_folder(path.parent)


@contextmanager
def staged(outputs: Sequence[Path]) -> Iterator[Mapping[Path, Path]]:
    """Where to write each of ``outputs`` for now; they are moved into place when the block ends.

    An error or Ctrl-C inside the block leaves no trace. The temporary names keep their suffixes.

    Raises:
        PixwardError: a folder cannot be made or written.
    """
    folders = list(dict.fromkeys(path.parent for path in outputs))
    made: list[Path] = []
    temporary: dict[Path, Path] = {}
    done = False
    try:
        for folder in folders:
            made = [*_make_folder(folder), *made]
            # With our process id in its name: a batch that goes on sweeps what a killed one has left.
            temporary[folder] = Path(tempfile.mkdtemp(prefix=f"{STAGING}{os.getpid()}-", dir=folder))
        places = {path: temporary[path.parent] / path.name for path in outputs}
        yield places
        with _uninterrupted():
            for place in places.values():
                os.chmod(place, 0o666 & ~_umask())
            for path, place in places.items():
                os.replace(place, path)
        done = True
    except PixwardError as error:
        # Name the file that was asked for, not the one it was to be at first.
        text = str(error)
        for folder, place in temporary.items():
            text = text.replace(str(place), str(folder))
        raise PixwardError(text) from error
    except OSError as error:
        raise PixwardError(f"cannot write to {folders[0]}: {(error.strerror or str(error)).lower()}") from error
    finally:
        for place in temporary.values():
            shutil.rmtree(place, ignore_errors=True)
        if not done:
            _remove(made)


def sweep(folder: Path) -> None:
    """Remove from ``folder`` what processes that were killed had not put in place."""
    for path in folder.glob(f"{STAGING}*-*"):
        found = re.fullmatch(rf"{re.escape(STAGING)}(\d+)-\w+", path.name)
        if not found or path.is_symlink() or not path.is_dir():
            continue
        if not _lives(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # As another user.
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True  # A system without /proc.
    return state != "Z"  # Killed, and nobody has asked how it ended yet.


def _same(path: Path, given: Path) -> bool:
    try:
        return path.samefile(given)
    except OSError:
        return False  # One of the two does not exist.


def _check_folder(folder: Path) -> None:
    """``folder`` or, if it is still to be made, what it will be made in."""
    place = folder
    while not place.exists():
        if place.is_symlink() or place == place.parent:
            raise PixwardError(f"cannot write to {folder}: {place} leads nowhere")
        place = place.parent
    if not place.is_dir():
        raise PixwardError(f"cannot write to {folder}: {place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise PixwardError(f"cannot write to {folder}: no permission")


def _make_folder(folder: Path) -> list[Path]:
    """Make ``folder`` and its parents; those that were new, innermost first."""
    made: list[Path] = []
    missing = []
    place = folder
    while not place.exists():
        missing.append(place)
        place = place.parent
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            made.insert(0, path)
    except OSError as error:
        _remove(made)
        raise PixwardError(f"cannot make the folder {folder}: {error.strerror}") from None
    return made


def _remove(folders: Sequence[Path]) -> None:
    for path in folders:
        with suppress(OSError):  # Somebody else has put something in it by now.
            path.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is over: half of the files in place would be worse than all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[bool] = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    # All files are in place by now, so a late Ctrl-C changes nothing and the command reports its success; one that has
    # more to do asks for it.
    _late.extend(pressed)


_late: list[bool] = []


def late_interrupt() -> bool:
    """Whether Ctrl-C was held back since this was last asked."""
    pressed = bool(_late)
    _late.clear()
    return pressed
