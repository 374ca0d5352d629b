"""Files to samples: JPEG, PNG, TIFF and WebP as they are stored, before colour and orientation."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixward import exif
from pixward.errors import PixwardError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

LARGEST = 300_000_000
"""Pixels beyond which a file is refused (Pillow's own limit, 89 million, is below what cameras make)."""

RAW = re.compile(r"\.(3fr|arw|cr[2w3]|dcr|dng|erf|iiq|mos|mrw|nef|nrw|orf|pef|raf|raw|rw[2l]|sr[2w]|srf|x3f)$", re.I)
"""Names of camera raw files."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_IN_TIFF = (6, 7, 33007, 34892)
_tifffile_log = threading.Lock()


class CameraRaw(PixwardError):
    """The file is a camera raw file: it has to be developed, see :mod:`pixward.raw`."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a file holds.

    Attributes:
        samples: ``(H, W)`` grey, ``(H, W, 3)`` RGB or ``(H, W, 4)`` CMYK (0 = no ink); uint8, uint16 or float32.
        alpha: ``(H, W)``, the type of ``samples``, or None.
        exif: EXIF as stored, or None.
        icc: the ICC profile as stored, or None.
    """

    samples: np.ndarray
    alpha: np.ndarray | None
    exif: bytes | None
    icc: bytes | None


def decode(path: Path) -> Decoded:
    """Read the first picture of a file.

    Raises:
        CameraRaw: a camera raw file, by its name or its tags.
        PixwardError: missing, empty, damaged, cut short, not a supported picture, or too large.
    """
    from PIL.Image import DecompressionBombError

    kind = _kind(path, check_readable(path))
    try:
        return {"JPEG": _jpeg, "PNG": _png, "TIFF": _tiff, "WebP": _webp}[kind](path)
    except PixwardError:
        raise
    except MemoryError as error:
        raise PixwardError(f"{path} does not fit in memory; scale it down first") from error
    except DecompressionBombError as error:
        raise PixwardError(f"{path} has too many pixels for a {kind}; scale it down first") from error
    except Exception as error:  # on a damaged file decoders raise nearly everything
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise PixwardError(
            f"{path} cannot be read: the {kind} is damaged, cut short or of a rare kind ({detail}); "
            "copy it again from its source, or convert it"
        ) from error


def check_readable(path: Path) -> bytes:
    """The first 32 bytes; a clear error where there is nothing to read.

    Raises:
        PixwardError: missing, a folder, not an ordinary file, empty, or not to be read.
    """
    try:
        if path.is_dir():
            raise PixwardError(f"{path} is a folder; give a picture in it")
        if not path.exists():
            raise PixwardError(f"{path} does not exist; check the name")
        if not path.is_file():
            raise PixwardError(f"{path} is not an ordinary file; give a picture")
        with path.open("rb") as file:
            head = file.read(32)
    except OSError as error:
        raise PixwardError(f"cannot read {path}: {error.strerror or error}") from error
    if not head:
        raise PixwardError(f"{path} is empty; copy it again from its source")
    return head


def _kind(path: Path, head: bytes) -> str:
    """The format by its first bytes: suffixes lie."""
    if RAW.search(path.name) or _is_canon(head):
        raise CameraRaw(f"{path} is a camera raw file; develop it to a 16-bit TIFF first (darktable, RawTherapee)")
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] in _TIFF:
        return "TIFF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    raise PixwardError(f"{path} is not a JPEG, PNG, TIFF or WebP picture; convert it to one of these")


def is_raw_inside(path: Path) -> bool:
    """Whether the tags, not the name, say that this is a camera raw file: CR2, DNG, a colour filter array.

    Raises:
        PixwardError: as of :func:`check_readable`.
    """
    from tifffile import TiffFile

    head = check_readable(path)
    if head[:4] not in _TIFF or _is_canon(head):
        return _is_canon(head)
    try:
        with _quiet(), TiffFile(path) as tif:
            return _is_mosaic(tif.pages.first)
    except Exception:  # a damaged TIFF; decode() says so
        return False


def _is_canon(head: bytes) -> bool:
    return head[8:10] == b"CR"


def _is_mosaic(page: Any) -> bool:
    """DNG; colour filter array, linear raw."""
    return 50706 in page.tags or page.photometric in (32803, 34892)


def check_size(path: Path, width: int, height: int) -> None:
    """Refuse a picture of more than :data:`LARGEST` pixels.

    Raises:
        PixwardError: it is larger.
    """
    if width * height > LARGEST:
        raise PixwardError(
            f"{path} is {width} x {height} = {width * height / 1e6:.0f} megapixels; "
            f"the limit is {LARGEST // 1_000_000}: scale it down first"
        )


def _jpeg(path: Path) -> Decoded:
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(path) as image:  # not Image.open, which refuses more than 179 megapixels
        check_size(path, *image.size)
        return _from_pillow(image)


def _webp(path: Path) -> Decoded:
    from PIL.WebPImagePlugin import WebPImageFile

    with WebPImageFile(path) as image:
        check_size(path, *image.size)
        return _from_pillow(image)


def _png(path: Path) -> Decoded:
    from PIL.PngImagePlugin import PngImageFile

    with path.open("rb") as file:
        deep = file.read(25)[24] == 16
    with PngImageFile(path) as image:
        check_size(path, *image.size)
        if not deep:
            return _from_pillow(image)
        image.load()  # finds damage, and EXIF that comes after the pixels
        info = dict(image.info)
    from imagecodecs import png_decode  # Pillow drops 16 bit to 8

    samples, alpha = _split(png_decode(path.read_bytes()))
    return Decoded(samples, alpha, info.get("exif"), info.get("icc_profile"))


def _from_pillow(image: ImageFile) -> Decoded:
    """Anything of 8 bit or less."""
    image.load()
    info = image.info
    see_through = "transparency" in info or image.mode in ("LA", "PA", "RGBA", "RGBa", "La")
    if image.mode in ("L", "1", "LA", "La"):
        mode = "LA" if see_through else "L"
    elif image.mode == "CMYK":
        mode = "CMYK"
    elif image.mode in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"):
        mode = "RGBA" if see_through else "RGB"
    else:
        raise ValueError(f"mode {image.mode}")
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA":
        mode = "RGBA"
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    samples, alpha = (array, None) if mode == "CMYK" else _split(array)
    return Decoded(samples, alpha, info.get("exif"), info.get("icc_profile") or None)


def _split(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """``(H, W)``, or ``(H, W, 1 | 2 | 3 | 4)`` as grey or RGB, with or without alpha."""
    if array.ndim == 2:
        return array, None
    channels = array.shape[2]
    alpha = np.ascontiguousarray(array[..., -1]) if channels in (2, 4) else None
    return np.ascontiguousarray(array[..., 0] if channels < 3 else array[..., :3]), alpha


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile from logging each oddity of a damaged file to the terminal: one line is enough."""
    log = logging.getLogger("tifffile")
    with _tifffile_log:
        before, log.disabled = log.disabled, True
        try:
            yield
        finally:
            log.disabled = before


def _tiff(path: Path) -> Decoded:
    from tifffile import TiffFile

    with _quiet(), TiffFile(path) as tif:
        page: Any = tif.pages.first
        if _is_mosaic(page):
            raise CameraRaw(f"{path} is a camera raw file; develop it to a 16-bit TIFF first (darktable, RawTherapee)")
        check_size(path, page.imagewidth, page.imagelength)
        array = page.asarray()
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            array = np.moveaxis(array, 0, -1)
        array = array.reshape(page.imagelength, page.imagewidth, -1)
        array = _palette(array, page) if page.photometric == 3 else _range(path, array, page)
        samples, alpha = _tiff_channels(path, array, page)
        icc = page.tags.valueof(34675)
    return Decoded(samples, alpha, exif.from_tiff(path), bytes(icc) if icc else None)


def _palette(array: np.ndarray, page: Any) -> np.ndarray:
    colours = (np.asarray(page.colormap) >> 8).astype(np.uint8).T  # (2**bits, 3); stored as 16 bit
    return colours[array[..., 0]]


def _range(path: Path, array: np.ndarray, page: Any) -> np.ndarray:
    """Samples of any depth to uint8, uint16 or float32 in [0, 1]."""
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            raise PixwardError(f"{path} holds {bad} values that are NaN or infinite; repair them or export it again")
        return array
    if array.dtype.kind not in "bu":
        raise PixwardError(f"{path} has samples of type {array.dtype}; save it with 8, 16 or 32 (float) bit")
    bits = int(page.bitspersample)
    if bits in (8, 16):
        return array
    if bits > 16:
        return (array / (2.0**bits - 1)).astype(np.float32)
    full = 255 if bits < 8 else 65535
    return (array * (full / (2.0**bits - 1))).round().astype(np.uint8 if bits < 8 else np.uint16)


def _tiff_channels(path: Path, array: np.ndarray, page: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour and alpha, by what the file says its channels mean."""
    photometric = int(page.photometric)
    colours = {0: 1, 1: 1, 2: 3, 3: 3, 5: 4}.get(photometric)
    if photometric == 6 and int(page.compression) in _JPEG_IN_TIFF:
        colours = 3  # tifffile has made it RGB
    if colours is None or array.shape[2] < colours:
        raise PixwardError(f"{path} is a TIFF of a rare kind (photometric {photometric}); save it as RGB")
    full = 1.0 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    samples = array[..., :colours]
    if photometric == 0:  # white is zero
        samples = (full - samples).astype(array.dtype)
    extra = [int(kind) for kind in page.extrasamples][: array.shape[2] - colours]
    alpha = next((array[..., colours + i] for i, kind in enumerate(extra) if kind in (1, 2)), None)
    if alpha is not None and 1 in extra and 2 not in extra:  # colours were stored times alpha
        opaque = np.where(alpha > 0, alpha, full).astype(np.float32)[..., None] / np.float32(full)
        samples = np.minimum(samples / opaque, full)
        samples = samples.astype(array.dtype) if full == 1.0 else samples.round().astype(array.dtype)
    samples = samples[..., 0] if colours == 1 else samples
    return np.ascontiguousarray(samples), None if alpha is None else np.ascontiguousarray(alpha)
