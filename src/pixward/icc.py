"""Colour profiles: into sRGB on the way in, back into the photo's own profile on the way out.

Little CMS does the work (through imagecodecs, because Pillow's ImageCms knows 8 bit only), for any kind of
profile: matrix, table, grey and CMYK. Relative colorimetric intent with black-point compensation, as Photoshop
and darktable do it by default. Colours outside sRGB are clipped when they come in.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np

_INTENT = 1  # relative colorimetric
_BLACK_POINT = 0x2000
# Without this Little CMS replaces a 16-bit transform by a coarse 3-D table: 21/255 off on a round trip
# between sRGB and Adobe RGB, against 0.06/255 (tests/test_icc.py checks it). 8 bit has an exact fast path.
_EXACT = 0x0100
_STRIP = 1 << 21  # pixels converted at once
_SPACES = {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}
_CHANNELS = {1: "gray", 3: "rgb", 4: "cmyk"}


def space(profile: bytes) -> str | None:
    """``"gray"``, ``"rgb"`` or ``"cmyk"``, or None for anything else (Lab, a damaged profile)."""
    return _SPACES.get(profile[16:20]) if len(profile) > 128 else None


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """An sRGB profile."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def to_srgb(samples: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Samples of a file to sRGB.

    Args:
        samples: ``(H, W)`` grey, ``(H, W, 3)`` RGB or ``(H, W, 4)`` CMYK with 0 for no ink; uint8, uint16 or
            float32.
        profile: the ICC profile of ``samples``. None, a damaged one or one for other channels counts as sRGB
            (grey with the sRGB curve; CMYK as ``(1 - ink) * (1 - black)``); a damaged one also warns.

    Returns:
        ``(H, W, 3)``, the type of ``samples``; ``samples`` itself where it is sRGB already. Floats may lie
        outside [0, 1].
    """
    kind = _CHANNELS[1 if samples.ndim == 2 else samples.shape[2]]
    if profile is None or not usable(profile, kind) or (kind == "rgb" and is_srgb(profile)):
        return _plain(samples)
    return _transform(samples, profile, srgb(), kind)


def from_srgb(pixels: np.ndarray, profile: bytes | None) -> tuple[np.ndarray, bytes | None]:
    """From sRGB ``(H, W, 3)`` to ``profile``: the pixels, and the profile to write beside them.

    A profile that an RGB file cannot carry (grey, CMYK, or one that only knows the way in) is left out, and the
    pixels stay sRGB.
    """
    if profile is None or not _can_write(profile):
        return pixels, None
    if is_srgb(profile):
        return pixels, profile
    return _transform(pixels, srgb(), profile, "rgb"), profile


@lru_cache(maxsize=64)
def usable(profile: bytes, kind: str) -> bool:
    """Whether Little CMS can convert ``kind`` samples ("gray", "rgb", "cmyk") from ``profile`` to sRGB."""
    if space(profile) not in (kind, None):
        return False
    channels = {"gray": (), "rgb": (3,), "cmyk": (4,)}[kind]
    try:
        _transform(np.zeros((1, 1, *channels), np.uint8), profile, srgb(), kind)
    except RuntimeError:  # imagecodecs.CmsError
        warnings.warn("the ICC profile cannot be used; the colours are taken as sRGB", stacklevel=2)
        return False
    return True


@lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile is some edition of sRGB: within 1/255 of it on a 9 x 9 x 9 grid.

    Such pixels are left alone, so that the commonest photo of all comes back without rounding.
    """
    axis = np.linspace(0, 1, 9, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(27, 27, 3)
    return bool(np.abs(_transform(grid, profile, srgb(), "rgb") - grid).max() < 1 / 255)


@lru_cache(maxsize=64)
def _can_write(profile: bytes) -> bool:
    if space(profile) != "rgb" or not usable(profile, "rgb"):
        return False
    try:
        _transform(np.zeros((1, 1, 3), np.uint8), srgb(), profile, "rgb")
    except RuntimeError:
        return False
    return True


def _transform(samples: np.ndarray, source: bytes, target: bytes, kind: str) -> np.ndarray:
    """``(H, W[, C])`` to ``(H, W, 3)`` in strips, so that 100 megapixels need no second copy in float."""
    from imagecodecs import cms_transform

    flags = _BLACK_POINT | (0 if samples.dtype == np.uint8 else _EXACT)
    out = np.empty((*samples.shape[:2], 3), samples.dtype)
    rows = max(1, _STRIP // max(1, samples.shape[1]))
    for top in range(0, len(samples), rows):
        strip = np.ascontiguousarray(samples[top : top + rows])
        out[top : top + rows] = cms_transform(
            strip, source, target, colorspace=kind, outcolorspace="rgb", intent=_INTENT, flags=flags
        )
    return out


def _plain(samples: np.ndarray) -> np.ndarray:
    """Channels to RGB without a profile."""
    if samples.ndim == 2:
        return np.repeat(samples[..., None], 3, axis=2)
    if samples.shape[2] == 3:
        return samples
    out = np.empty((*samples.shape[:2], 3), samples.dtype)
    full = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
    rows = max(1, _STRIP // max(1, samples.shape[1]))
    for top in range(0, len(samples), rows):
        paper = 1 - samples[top : top + rows].astype(np.float32) / np.float32(full)
        rgb = paper[..., :3] * paper[..., 3:] * full
        out[top : top + rows] = rgb if samples.dtype.kind == "f" else rgb.round()
    return out
