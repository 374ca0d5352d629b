"""Writing DNG files: a Bayer mosaic with what its numbers mean (DNG specification 1.4, Adobe, 2012)."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pixward import exif
from pixward.files import save_atomic

__all__ = ["BAYER", "XYZ_TO_SRGB", "DngInfo", "write_dng"]

XYZ_TO_SRGB = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)
"""XYZ, D65 white, to linear sRGB (IEC 61966-2-1)."""
BAYER = ([0, 1, 1, 2], [1, 0, 2, 1], [1, 2, 0, 1], [2, 1, 1, 0])
"""The four patterns, row by row: 0 red, 1 green, 2 blue."""
_D65 = 21
_SMALLEST = 1 << 17
"""Bytes: RawTherapee 5.9 (dcraw) takes files below 100,000 bytes for no raw files."""


@dataclass(frozen=True)
class DngInfo:
    """What the numbers of a mosaic mean.

    Attributes:
        pattern: colours of the 2x2 block, 0 red, 1 green, 2 blue: ``((0, 1), (1, 2))`` is RGGB.
        black: level of no light: one, or four by place in the block (row by row).
        white: level at which a photosite is full, same unit as the mosaic.
        neutral: the camera's response to the colour that was white when the photo was taken, (r, g, b) > 0, largest 1.
        matrix: XYZ (D65) to camera, 3 rows of 3; its scale does not matter.
        orientation: EXIF orientation, 1 to 8.
        make: camera maker; editors look up profiles by maker and model.
        model: camera model.
    """

    pattern: tuple[tuple[int, int], tuple[int, int]]
    black: float | tuple[float, float, float, float]
    white: float
    neutral: tuple[float, float, float]
    matrix: tuple[tuple[float, float, float], ...]
    orientation: int = 1
    make: str = "pixward"
    model: str = "pixward"


def write_dng(
    path: str | Path,
    mosaic: np.ndarray,
    info: DngInfo,
    *,
    preview: bytes | None = None,
    photo_exif: bytes | None = None,
    force: bool = False,
) -> Path:
    """Write a Bayer mosaic as an uncompressed 16-bit DNG; the file appears whole or not at all.

    Args:
        path: where to.
        mosaic: ``(H, W)`` uint16, H and W even, unturned.
        info: what its numbers mean.
        preview: a JPEG (RGB, baseline, as stored in the same orientation as the mosaic) to embed, or None.
        photo_exif: EXIF to keep (exposure, lens, date); maker, model and orientation come from ``info``.
        force: overwrite an existing file.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        PixwardError: the file cannot be written.
        ValueError: a mosaic or pattern of another kind.
    """
    from tifffile import TiffWriter

    colours = [colour for row in info.pattern for colour in row]
    if mosaic.ndim != 2 or mosaic.dtype != np.uint16 or mosaic.shape[0] % 2 or mosaic.shape[1] % 2:
        raise ValueError(f"expected a mosaic (H, W) of uint16 with even sides, got {mosaic.shape} {mosaic.dtype}")
    if colours not in BAYER:
        raise ValueError(f"{info.pattern} is no Bayer pattern")
    tags, directories = exif.tiff_tags(photo_exif)
    about = [tag for tag in tags if tag[0] not in (0x010F, 0x0110, 0x0112, 0x0131)] + _camera_tags(info)
    levels = _mosaic_tags(info, mosaic.shape)
    cfa = {"photometric": 32803, "rowsperstrip": mosaic.shape[0], "metadata": None, "subfiletype": 0}

    def write(part: Path) -> None:
        with TiffWriter(part, byteorder="<") as tif:
            if preview is None:
                tif.write(mosaic, extratags=about + levels, software="pixward", **cfa)
            else:
                tif.write(**_jpeg_page(preview), subifds=1, extratags=about, software="pixward")
                tif.write(mosaic, extratags=levels, software=False, **cfa)
        exif.append_ifds(part, directories)
        if part.stat().st_size < _SMALLEST:
            os.truncate(part, _SMALLEST)

    return save_atomic(path, write, force=force)


def _rationals(values: Any, denominator: int = 10000) -> list[int]:
    """Numerators and denominators in turn."""
    pairs = ((round(float(value) * denominator), denominator) for value in np.ravel(values))
    return [number for pair in pairs for number in pair]


def _camera_tags(info: DngInfo) -> list[tuple[Any, ...]]:
    """What the first directory says of the camera."""
    name = info.model if info.model.lower().startswith(info.make.lower()) else f"{info.make} {info.model}"
    return [
        (0x010F, "s", 0, info.make, True),
        (0x0110, "s", 0, info.model, True),
        (0x0112, "H", 1, info.orientation, True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),  # DNGVersion
        (50707, "B", 4, bytes([1, 1, 0, 0]), True),  # DNGBackwardVersion
        (50708, "s", 0, name, True),  # UniqueCameraModel
        (50721, "2i", 9, _rationals(info.matrix), True),  # ColorMatrix1
        (50728, "2I", 3, _rationals(info.neutral, 1_000_000), True),  # AsShotNeutral
        (50778, "H", 1, _D65, True),  # CalibrationIlluminant1
    ]


def _mosaic_tags(info: DngInfo, shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """What the directory of the mosaic says of it."""
    black = info.black if isinstance(info.black, tuple) else (info.black,) * 4
    exact = [Fraction(level).limit_denominator(1000) for level in black]
    return [
        (33421, "H", 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, "B", 4, bytes(colour for row in info.pattern for colour in row), True),  # CFAPattern
        (50710, "B", 3, bytes([0, 1, 2]), True),  # CFAPlaneColor
        (50711, "H", 1, 1, True),  # CFALayout: rectangular
        (50713, "H", 2, (2, 2), True),  # BlackLevelRepeatDim
        (50714, "2I", 4, [number for f in exact for number in (f.numerator, f.denominator)], True),  # BlackLevel
        (50717, "I", 1, round(info.white), True),  # WhiteLevel
        (50829, "I", 4, (0, 0, *shape), True),  # ActiveArea
    ]


def _jpeg_page(data: bytes) -> dict[str, Any]:
    """Arguments to write a finished JPEG as a TIFF page."""
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(io.BytesIO(data)) as image:
        width, height = image.size
        sampling = image.layer[0][1:3]  # how much finer brightness is stored than colour, across and down
    return {
        "data": iter([data]),
        "shape": (height, width, 3),
        "dtype": np.uint8,
        "photometric": "ycbcr",
        "compression": "jpeg",
        "subsampling": sampling,
        "rowsperstrip": height,
        "subfiletype": 1,
        "metadata": None,
    }
