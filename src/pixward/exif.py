"""EXIF: read as bytes, changed only where it must be, written back as it was."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

PREFIX = b"Exif\0\0"
_ORIENTATION, _EXIF_IFD, _GPS_IFD = 0x0112, 0x8769, 0x8825
# The tags of a TIFF's first directory that describe the photo; the others describe how the file is laid out.
_DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x0112, 0x4746)


def upright(exif: bytes | None) -> tuple[bytes | None, int]:
    """The same EXIF with orientation 1, and the orientation it had (1 to 8).

    The embedded thumbnail is unlinked as well: it shows the photo unrotated and before the edit. Everything else
    stays byte for byte, maker notes included. Damaged EXIF gives None, with the
    orientation where that could still be read.
    """
    if not exif:
        return None, 1
    data = bytearray(exif.removeprefix(PREFIX))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None:
        return None, 1
    found = 1
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag == _ORIENTATION:
                value = order + ("H" if kind == 3 else "I")
                (found,) = struct.unpack_from(value, data, entry + 8)
                struct.pack_into(value, data, entry + 8, 1)
    except struct.error:  # a directory that runs past the end
        return None, found if 1 <= found <= 8 else 1
    following = start + 2 + 12 * count  # where the next directory is; some writers leave it out at the end
    data[following : following + 4] = bytes(len(data[following : following + 4]))
    return PREFIX + bytes(data), found if 1 <= found <= 8 else 1


def from_tiff(path: Path) -> bytes | None:
    """The EXIF of a TIFF file, whose tags lie among those of the file itself; None where it has none."""
    from PIL import Image

    source, kept = Image.Exif(), Image.Exif()
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source.load_from_fp(file)
            for tag in _DESCRIPTIVE:
                if tag in source:
                    kept[tag] = source[tag]
            for tag in (_EXIF_IFD, _GPS_IFD):
                if inner := source.get_ifd(tag):
                    kept[tag] = dict(inner)
        return kept.tobytes() if len(kept) else None
    except Exception:  # Pillow raises nearly everything on odd tags; the picture itself is fine
        return None


def tiff_tags(exif: bytes | None) -> tuple[list[tuple[int, int, int, bytes, bool]], dict[int, ImageFileDirectory_v2]]:
    """EXIF as TIFF tags: the ``extratags`` for tifffile, and the directories to add with ``append_ifds``."""
    from PIL import Image

    tags: list[tuple[int, int, int, bytes, bool]] = []
    directories: dict[int, ImageFileDirectory_v2] = {}
    if not exif:
        return tags, directories
    source = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source.load(exif)
            for tag in (_EXIF_IFD, _GPS_IFD):
                if inner := source.get_ifd(tag):
                    directories[tag] = _directory(inner)
        for tag in _DESCRIPTIVE:
            if isinstance(value := source.get(tag), str) and value:
                tags.append((tag, 2, 0, value.encode("utf-8", "replace"), True))
    except Exception:  # damaged EXIF must not cost the user the picture
        return [], {}
    return tags, directories


def _directory(values: dict[int, Any]) -> ImageFileDirectory_v2:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = ImageFileDirectory_v2(ifh=b"II*\0\0\0\0\0")
    for key, value in values.items():
        directory[key] = value
    directory.tobytes(8)  # odd values fail here, where it can be caught, not while the file is written
    return directory


def append_ifds(path: Path, directories: dict[int, ImageFileDirectory_v2]) -> None:
    """Add EXIF and GPS directories to a little-endian TIFF (tifffile writes neither).

    They go to the end of the file, and after them a copy of the first directory that points to them.
    """
    with path.open("rb+") as file:
        if not directories or file.read(4) != b"II*\0":  # BigTIFF, over 4 GB
            return
        (start,) = struct.unpack("<I", file.read(4))
        file.seek(start)
        (count,) = struct.unpack("<H", file.read(2))
        entries = [file.read(12) for _ in range(count)]
        following = file.read(4)

        def append(make: Callable[[int], bytes]) -> int:
            end = file.seek(0, 2)
            file.write(b"\0" * (end % 2))  # offsets are even in TIFF
            file.write(make(end + end % 2))
            return end + end % 2

        for tag, directory in directories.items():
            entries.append(struct.pack("<HHII", tag, 4, 1, append(directory.tobytes)))
        entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
        table = struct.pack("<H", len(entries)) + b"".join(entries) + following
        first = append(lambda _: table)
        file.seek(4)
        file.write(struct.pack("<I", first))
