"""Pixels to files: JPEG, PNG, TIFF and WebP, with EXIF, ICC profile and alpha."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixward import exif as exif_tags
from pixward.errors import PixwardError

_EXIF_LIMIT_JPEG = 65533  # bytes in one marker


@dataclass(frozen=True, eq=False)
class Encodable:
    r"""One picture, ready to write.

    Attributes:
        pixels: ``(H, W, 3)`` uint8, uint16 or float32.
        alpha: ``(H, W)``, the type of ``pixels``, or None.
        exif: EXIF, starting with ``Exif\0\0``, or None.
        icc: the profile that ``pixels`` are in, or None for sRGB.
        quality: 1 to 100, for JPEG and WebP.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    exif: bytes | None
    icc: bytes | None
    quality: int

    @property
    def channels(self) -> np.ndarray:
        """Colour and alpha in one array."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])

    @property
    def pillow(self) -> dict[str, Any]:
        """What Pillow's writers take beside the pixels."""
        return {key: value for key, value in (("exif", self.exif), ("icc_profile", self.icc)) if value}


@dataclass(frozen=True)
class Format:
    """What a file format can hold, and how to write it."""

    name: str
    depths: tuple[int, ...]
    alpha: bool
    longest: int
    write: Callable[[Path, Encodable], None]


def format_of(path: Path, bits: int, size: tuple[int, int]) -> Format:
    """The format that the suffix of ``path`` names.

    Raises:
        PixwardError: an unknown suffix, or the format cannot hold ``bits`` or ``size`` (width, height).
    """
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise PixwardError(f"cannot write {path}: give it the ending {', '.join(_FORMATS)}")
    if bits not in form.depths:
        depths = " or ".join(str(depth) for depth in form.depths)
        raise PixwardError(f"cannot write {path} with {bits} bit: a {form.name} holds {depths}; use .png or .tif")
    if max(size) > form.longest:
        raise PixwardError(
            f"cannot write {path} with {size[0]} x {size[1]} pixels: "
            f"a {form.name} holds {form.longest} a side; use .png or .tif"
        )
    return form


def _jpeg(path: Path, picture: Encodable) -> None:
    from PIL import Image

    extras = picture.pillow
    if len(extras.get("exif", b"")) > _EXIF_LIMIT_JPEG:
        warnings.warn("EXIF left out: it is longer than the 64 KiB that a JPEG holds", stacklevel=2)
        del extras["exif"]
    buffer = io.BytesIO()  # written by Python, not by Pillow, whose error on a full disk does not say so
    Image.fromarray(picture.pixels).save(buffer, "JPEG", quality=picture.quality, subsampling="4:4:4", **extras)
    path.write_bytes(buffer.getbuffer())


def _webp(path: Path, picture: Encodable) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(picture.channels)
    image.save(buffer, "WEBP", quality=picture.quality, lossless=picture.quality == 100, exact=True, **picture.pillow)
    path.write_bytes(buffer.getbuffer())


def _png(path: Path, picture: Encodable) -> None:
    if picture.pixels.dtype == np.uint16:
        path.write_bytes(_png16(picture))
        return
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture.channels).save(buffer, "PNG", **picture.pillow)
    path.write_bytes(buffer.getbuffer())


def _png16(picture: Encodable) -> bytes:
    """Pillow cannot write 16-bit colour; imagecodecs can, but without profile and EXIF: insert their chunks."""
    from imagecodecs import png_encode

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    plain = png_encode(np.ascontiguousarray(picture.channels), level=3)
    header = 8 + 4 + 4 + 13 + 4  # signature; length, name, data and checksum of IHDR
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(picture.icc)) if picture.icc else b""
    tags = chunk(b"eXIf", picture.exif.removeprefix(exif_tags.PREFIX)) if picture.exif else b""
    return bytes(plain[:header]) + profile + tags + bytes(plain[header:])


def _tiff(path: Path, picture: Encodable) -> None:
    """Deflate with a predictor: every editor reads it, and it is lossless."""
    from tifffile import imwrite

    tags, directories = exif_tags.tiff_tags(picture.exif)
    imwrite(
        path,
        np.ascontiguousarray(picture.channels),
        byteorder="<",
        photometric="rgb",
        extrasamples=["unassalpha"] if picture.alpha is not None else None,
        compression="zlib",
        compressionargs={"level": 3},
        predictor=True,
        iccprofile=picture.icc,
        metadata=None,
        software=False,
        extratags=tags,
    )
    exif_tags.append_ifds(path, directories)


_FORMATS = {
    ".jpg": (_JPEG := Format("JPEG", (8,), False, 65_500, _jpeg)),
    ".jpeg": _JPEG,
    ".png": Format("PNG", (8, 16), True, 2**31 - 1, _png),
    ".tif": (_TIFF := Format("TIFF", (8, 16, 32), True, 2**31 - 1, _tiff)),
    ".tiff": _TIFF,
    ".webp": Format("WebP", (8,), True, 16_383, _webp),
}
