"""Pictures in and out.

Inside pixward an image is a tensor ``(1, 3, H, W)``, float32, display-referred sRGB in [0, 1]. On disk it is a
JPEG, PNG, TIFF or WebP of 8 bit, 16 bit or float. ``load`` and ``save`` go between the two, and a ``Photo``
carries what must survive the trip: EXIF, ICC profile, alpha and bit depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixward import decode, encode, exif, icc
from pixward.files import check_target, save_atomic

__all__ = ["Photo", "from_tensor", "load", "preview", "quantize", "resize_to", "save", "save_atomic", "to_tensor"]

_BITS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16, np.dtype(np.float32): 32}
_STRIP = 1 << 22  # pixels that are turned to float at once


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as it was read.

    Attributes:
        pixels: ``(H, W, 3)``, uint8, uint16 or float32 in [0, 1]; sRGB, upright. May be read-only: copy to change.
        alpha: ``(H, W)``, the type of ``pixels``, or None. Colours are not multiplied by it.
        exif: EXIF as read, with orientation 1 and without its thumbnail, or None.
        icc: the ICC profile that the file came with; None means sRGB.
        path: where it was read from.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    exif: bytes | None
    icc: bytes | None
    path: Path

    @property
    def bits(self) -> int:
        """8, 16, or 32 for float."""
        return _BITS[self.pixels.dtype]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, upright."""
        return self.pixels.shape[1], self.pixels.shape[0]


def load(path: str | Path) -> Photo:
    """Read a JPEG, PNG, TIFF, WebP or camera raw file; of several pages or frames the first.

    Grey, 1-bit, palette and CMYK become RGB. Every profile is converted to sRGB at the photo's own depth, and
    colours outside sRGB are clipped; a file without a profile counts as sRGB. Float TIFFs are clipped to [0, 1].
    EXIF orientation is applied. Up to 300 megapixels. A camera raw file is developed as of
    :func:`pixward.raw.load_raw`.

    Raises:
        PixwardError: missing, a folder, empty, damaged, cut short, not such a picture, too large, or NaN or
            infinite values; a raw file without rawpy installed; one line that names the file.
    """
    path = Path(path)
    try:
        file = decode.decode(path)
    except decode.CameraRaw:
        from pixward.raw import load_raw  # which needs Photo

        return load_raw(path)
    tags, orientation = exif.upright(file.exif)
    pixels, alpha = icc.to_srgb(file.samples, file.icc), file.alpha
    if pixels.dtype == np.float32:
        pixels = pixels.clip(0, 1)
        alpha = None if alpha is None else alpha.clip(0, 1)
    pixels = upright(pixels, orientation)
    return Photo(pixels, None if alpha is None else upright(alpha, orientation), tags, file.icc, path)


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112): 5 to 8 have rows and columns swapped."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """``(H, W, 3)`` to ``(1, 3, H, W)`` float32 in [0, 1]: uint8 / 255, uint16 / 65535, floats as they are.

    Raises:
        ValueError: another shape or type.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3), got {pixels.shape}")
    out = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    full = np.float32(_full(pixels.dtype))
    for channel in range(3):  # one at a time: no interleaved float copy of a large photo
        np.divide(pixels[..., channel], full, out=out[0, channel], dtype=np.float32, casting="unsafe")
    return torch.from_numpy(out)


def from_tensor(image: Tensor, bits: int = 8) -> np.ndarray:
    """``(1, 3, H, W)`` to ``(H, W, 3)``: uint8, uint16 or, with ``bits=32``, float32; clamped to [0, 1].

    Raises:
        ValueError: another shape, another depth, or NaN.
    """
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"expected (1, 3, H, W), got {tuple(image.shape)}")
    kind = {8: np.uint8, 16: np.uint16, 32: np.float32}.get(bits)
    if kind is None:
        raise ValueError(f"bits must be 8, 16 or 32, got {bits}")
    planes = image.detach()[0]
    out = np.empty((image.shape[2], image.shape[3], 3), kind)
    for channel in range(3):
        plane = planes[channel].to("cpu", torch.float32).numpy()
        if np.isnan(plane).any():
            raise ValueError("the image holds NaN")
        scaled = plane.clip(0, 1) * np.float32(_full(out.dtype))
        out[..., channel] = scaled if bits == 32 else scaled.round()
    return out


def _full(dtype: np.dtype) -> float:
    """The value that stands for 1."""
    if dtype.kind == "f":
        return 1.0
    if dtype in (np.uint8, np.uint16):
        return float(np.iinfo(dtype).max)
    raise ValueError(f"expected uint8, uint16 or float pixels, got {dtype}")


def preview(photo: Photo | np.ndarray, longest: int = 256) -> Tensor:
    """A small copy to work on, ``(1, 3, h, w)`` float32: antialiased, never enlarged.

    Equal to ``resize_to(to_tensor(pixels), (h, w))``, but a strip at a time: a photo of 100 megapixels needs
    some tens of MB rather than 1.2 GB.
    """
    pixels = photo.pixels if isinstance(photo, Photo) else photo
    height, width = pixels.shape[:2]
    scale = min(1.0, longest / max(height, width))
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    if (h, w) == (height, width):
        return to_tensor(pixels)
    # The filter is separable: rows can be narrowed strip by strip, and the columns shortened at the end.
    rows = max(1, _STRIP // width)
    strips = (to_tensor(pixels[top : top + rows]) for top in range(0, height, rows))
    narrow = torch.cat([resize_to(strip, (strip.shape[2], w)) for strip in strips], dim=2)
    return resize_to(narrow, (h, w))


def resize_to(image: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, C, H, W)`` to ``(B, C, h, w)``, bilinear with antialiasing; ``size`` is (h, w)."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)


def quantize(image: Tensor) -> Tensor:
    """Round to the 256 values that an 8-bit file can hold; stays float32 in [0, 1]."""
    return (image.clamp(0, 1) * 255).round() / 255


def save(
    path: str | Path,
    pixels: np.ndarray,
    *,
    like: Photo | None = None,
    bits: int = 8,
    quality: int = 95,
    force: bool = False,
) -> Path:
    """Write a picture; the file appears whole or not at all.

    Args:
        path: where to; the suffix decides: .jpg .jpeg .png .tif .tiff .webp.
        pixels: ``(H, W, 3)`` sRGB; uint8, uint16 or float in [0, 1] (clipped).
        like: the photo whose EXIF, ICC profile (the pixels are converted to it) and alpha to keep. A JPEG has no
            alpha: it is dropped, and the colours stay as they are, not blended with a background. A grey or CMYK
            profile does not fit an RGB file: it is left out and the pixels stay sRGB.
        bits: 8; 16 for PNG and TIFF; 32 (float) for TIFF.
        quality: 1 to 100 for JPEG (4:4:4) and WebP (100 is lossless).
        force: overwrite an existing file.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        PixwardError: the format cannot hold this, or the file cannot be written; one line that names it.
        ValueError: ``pixels`` of another shape or type, NaN, or of another size than the alpha of ``like``.
    """
    path = Path(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3), got {pixels.shape}")
    form = encode.format_of(path, bits, (pixels.shape[1], pixels.shape[0]))
    check_target(path, force=force)
    alpha = like.alpha if like is not None and form.alpha else None
    if alpha is not None and alpha.shape != pixels.shape[:2]:
        raise ValueError(f"the alpha of {like.path if like else ''} is {alpha.shape}, the pixels {pixels.shape[:2]}")
    colours, profile = icc.from_srgb(_standard(pixels), like.icc if like is not None else None)
    picture = encode.Encodable(
        _to_bits(colours, bits),
        None if alpha is None else _to_bits(alpha, bits),
        like.exif if like is not None else None,
        profile,
        quality,
    )
    return save_atomic(path, lambda temporary: form.write(temporary, picture), force=force)


def _standard(pixels: np.ndarray) -> np.ndarray:
    """uint8 and uint16 as they are, other floats to float32 in [0, 1]."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    _full(pixels.dtype)
    if np.isnan(pixels).any():
        raise ValueError("the pixels hold NaN")
    return pixels.clip(0, 1).astype(np.float32)


def _to_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Any of the three depths to another."""
    kind = np.dtype({8: np.uint8, 16: np.uint16, 32: np.float32}[bits])
    if array.dtype == kind and kind != np.float32:
        return np.ascontiguousarray(array)
    unit = array.astype(np.float32) / np.float32(_full(array.dtype))
    unit = unit.clip(0, 1)  # a profile conversion of floats may overshoot
    return unit if bits == 32 else (unit * np.float32(_full(kind))).round().astype(kind)
