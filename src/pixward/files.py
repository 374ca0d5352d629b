"""Writing files: the one way in which every part of pixward puts something on disk."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pixward.errors import PixwardError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "your disk quota is used up; free some space or write elsewhere",
    errno.EACCES: "no permission to write there; choose another folder",
    errno.EPERM: "no permission to write there; choose another folder",
    errno.EROFS: "that disk is read-only; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def check_target(path: str | Path, *, force: bool) -> Path:
    """Say early, before any work is done, that ``path`` cannot be written.

    Returns the path to write: ``path`` itself, or what it points to where it is a symbolic link.

    Raises:
        PixwardError: the folder is missing, ``path`` is a folder, or it exists and ``force`` is False.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.is_dir():
            raise PixwardError(f"{path} is a folder; give the name of a file in it")
        if not target.parent.is_dir():
            raise PixwardError(f"cannot write {path}: the folder {target.parent} does not exist; create it first")
        if target.exists() and not force:
            raise _exists(path)
        if target.exists() and not target.is_file():
            raise PixwardError(f"{path} is not an ordinary file; choose another name")
    except OSError as error:
        raise _reason(path, error) from error
    return target


def save_atomic(path: str | Path, write: Callable[[Path], None], *, force: bool) -> Path:
    """Write a file that is either whole or absent.

    ``write`` gets a temporary path in the same folder, with the same suffix, and fills it. Only then does the
    file take its name. On any failure, Ctrl-C included, the temporary file is removed and an older file stays
    as it was. Without ``force`` an existing file is never replaced, not even one that appears while ``write``
    runs.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        PixwardError: the place cannot be written, the disk is full, or the file exists and ``force`` is False.
    """
    path = Path(path)
    target = check_target(path, force=force)
    temporary = target.with_name(f".pixward-{secrets.token_hex(6)}{target.suffix}")
    try:
        write(temporary)
        _flush(temporary)
        if force:
            os.replace(temporary, target)
        else:
            _publish_new(temporary, target)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise _reason(path, error) from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":  # what safetensors makes of a full disk
            raise
        raise PixwardError(f"cannot write {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def save_text(path: Path, text: str) -> None:
    """Write a UTF-8 file that is whole or absent, and make the folder it lies in; replaces an older one.

    Raises:
        PixwardError: as of :func:`save_atomic`.
    """

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    path.parent.mkdir(parents=True, exist_ok=True)
    save_atomic(path, write, force=True)


def _flush(path: Path) -> None:
    """Wait until the bytes are on disk: a crash after the rename must not leave an empty file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _publish_new(temporary: Path, target: Path) -> None:
    """Give ``temporary`` the name ``target`` unless that exists; ``FileExistsError`` if it does."""
    try:
        os.link(temporary, target)  # fails if the name is taken, in one step: no race
    except FileExistsError:
        raise
    except OSError:
        # A disk without hard links (FAT, some network drives): take the name first, then fill it.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(temporary, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def _exists(path: Path) -> PixwardError:
    return PixwardError(f"{path} exists already; choose another name, or overwrite it with --force (force=True)")


def _reason(path: Path, error: OSError) -> PixwardError:
    text = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return PixwardError(f"cannot write {path}: {text}")
