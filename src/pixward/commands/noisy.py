"""Noisy pictures in and out: read with their noise neither clipped nor rounded, written as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pixward import exif, icc
from pixward.decode import decode
from pixward.encode import Encodable, format_of
from pixward.errors import PixwardError
from pixward.image import upright

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".npy")
_FAR = 3.0  # no picture in [0, 1] has a mean beyond this, whatever its noise


@dataclass(frozen=True, eq=False)
class Noisy:
    """A picture as it came.

    Attributes:
        path: where from.
        values: ``(C, H, W)`` float32, one or three channels; noise may leave [0, 1].
        bits: 8 or 16, of the PNG that it becomes.
        shape: of the array in a .npy file; None for pictures.
        alpha: ``(H, W)``, uint8 or uint16 by ``bits``, or None.
        exif: as read, upright, or None.
        icc: the profile that the values are in, or None.
    """

    path: Path
    values: np.ndarray
    bits: int
    shape: tuple[int, ...] | None = None
    alpha: np.ndarray | None = None
    exif: bytes | None = None
    icc: bytes | None = None


def pictures_in(inputs: Sequence[Path]) -> list[Path]:
    """The files that ``inputs`` name; a folder stands for the pictures right inside it, by name.

    Raises:
        PixwardError: a folder without pictures, or two files whose results would have the same name.
    """
    found: list[Path] = []
    for given in inputs:
        if not given.is_dir():
            found.append(given)
            continue
        inside = sorted(path for path in given.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        if not inside:
            raise PixwardError(f"there is no picture in {given}: it takes {', '.join(SUFFIXES)}")
        found += inside
    stems: dict[str, Path] = {}
    for path in found:
        other = stems.setdefault(path.stem, path)
        if other is not path:
            raise PixwardError(f"{other} and {path} would both become {path.stem}.png: rename one, or run them apart")
    return found


def read_noisy(path: Path) -> Noisy:
    """Read one picture: 8 or 16 bit, a float TIFF, or a .npy array of floats.

    Colours stay in the file's own profile, since a conversion would change the noise; CMYK becomes sRGB.

    Raises:
        PixwardError: not such a file, damaged, NaN or infinity, or floats that are not about [0, 1].
    """
    if path.suffix.lower() == ".npy":
        return _read_array(path)
    file = decode(path)
    samples, profile = file.samples, file.icc
    if samples.ndim == 3 and samples.shape[2] == 4:
        samples, profile = icc.to_srgb(samples, profile), None
    tags, orientation = exif.upright(file.exif)
    samples = upright(samples, orientation)
    bits = 8 if samples.dtype == np.uint8 else 16
    alpha = None if file.alpha is None else _to_bits(_to_float(upright(file.alpha, orientation)), bits)
    values = _to_float(samples)
    _check_range(path, values)
    return Noisy(path, _planes(values), bits, alpha=alpha, exif=tags, icc=profile)


def _read_array(path: Path) -> Noisy:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise PixwardError(f"{path} does not exist; check the name") from None
    except Exception as error:  # on a foreign file numpy raises nearly everything
        raise PixwardError(f"{path} is not a whole .npy array: save it again with numpy.save") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        kind = array.dtype if isinstance(array, np.ndarray) else "several arrays"
        raise PixwardError(f"{path} holds {kind}: it takes floats in [0, 1]; divide by the largest value first")
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))) or not array.size:
        raise PixwardError(f"{path} has the shape {array.shape}: it takes (H, W), (H, W, 1) or (H, W, 3)")
    values = array.astype(np.float32)
    bad = array.size - int(np.isfinite(values).sum())
    if bad:
        raise PixwardError(f"{path} holds {bad} values that are NaN or infinite; repair them first")
    _check_range(path, values)
    return Noisy(path, _planes(values), 8, shape=array.shape)


def _check_range(path: Path, values: np.ndarray) -> None:
    mean = float(values.mean(dtype=np.float64))
    if abs(mean) > _FAR:
        raise PixwardError(f"{path} has a mean of {mean:.4g}: floats must be about [0, 1]; divide by the white value")


def _planes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))


def _to_float(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    return samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)


def _to_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Floats to uint8 or uint16, clipped, and rounded half up as the authors do for scoring."""
    full = 2**bits - 1
    scaled = values.clip(0, 1) * np.float32(full) + np.float32(0.5)
    return np.floor(scaled).clip(0, full).astype(np.uint8 if bits == 8 else np.uint16)


def write_png(place: Path, result: Tensor, noisy: Noisy) -> None:
    """``result`` ``(C, H, W)`` as a PNG of the depth, alpha, EXIF and profile that the picture came with."""
    pixels = _to_bits(result.cpu().numpy(), noisy.bits)
    pixels = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    form = format_of(place, noisy.bits, (pixels.shape[1], pixels.shape[0]))
    form.write(place, Encodable(pixels, noisy.alpha, noisy.exif, noisy.icc, 95))


def write_array(place: Path, result: Tensor, shape: tuple[int, ...]) -> None:
    """``result`` ``(C, H, W)`` as float32 in the shape that the array came in; not clipped."""
    planes = result.cpu().numpy()
    np.save(place, (planes[0] if len(shape) == 2 else planes.transpose(1, 2, 0)).reshape(shape))
