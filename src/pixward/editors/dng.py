"""Small proxies of raw files, for previews, and the DNG files that they are.

A proxy holds fewer photosites of the same scene, with the same levels, matrix and white balance, so that an editor
develops it like the full file, in a fraction of the time.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pixward import exif
from pixward.editors.dngfile import BAYER, XYZ_TO_SRGB, DngInfo, write_dng
from pixward.errors import PixwardError
from pixward.image import from_tensor, preview, upright
from pixward.raw import ORIENTATIONS, embedded_jpeg, is_raw, open_raw

__all__ = ["DngInfo", "Proxy", "raw_proxy", "write_dng"]


@dataclass(frozen=True)
class Proxy:
    """A small copy of a raw file.

    Attributes:
        path: the DNG.
        scale: proxy pixels per pixel of the full file, at most 1: what radii are to be multiplied by.
        size: (width, height) of its mosaic, before orientation.
    """

    path: Path
    scale: float
    size: tuple[int, int]


def raw_proxy(path: str | Path, out: str | Path, longest: int = 512) -> Proxy:
    """A small DNG of a raw file, for previews; replaces an older ``out``.

    Each photosite of the proxy is a mean of the full file's photosites of its own colour around the same place (a
    tent two blocks wide for every block, so that colours stay in register). Levels are scaled to 16 bit; black level,
    white level, matrix, white balance as shot, orientation, maker, model and EXIF are those of the file, and so is
    the embedded JPEG, reduced. Of a DNG the area of its default crop, else the area that LibRaw calls visible, which
    may differ by some pixels from an editor's.

    RawTherapee's default look, "Auto-Matched Curve", is fitted to the embedded JPEG by histograms, and comes out
    otherwise on the proxy; any profile without it does not.

    Args:
        path: the raw file.
        out: the DNG to write.
        longest: longest side of the proxy in pixels; a smaller photo stays as it is.

    Raises:
        PixwardError: rawpy is not installed, the file cannot be read, has no Bayer mosaic (X-Trans, Foveon, linear
            DNG), or ``out`` cannot be written.
    """
    path = Path(path)
    with open_raw(path) as raw:
        mosaic, info = _bayer(path, raw)
    side = max(mosaic.shape)
    step = max(1.0, side / max(2 * (longest // 2), 16))
    gain = max(65535 // max(float(mosaic.max()), info.white), 1.0)  # finer steps for the means, if there is room
    small = mosaic.astype(np.float32) if step == 1 else _shrink(mosaic, step)
    black = info.black if isinstance(info.black, tuple) else (info.black,) * 4
    levels = (black[0] * gain, black[1] * gain, black[2] * gain, black[3] * gain)
    scaled = replace(info, black=levels, white=info.white * gain)
    pixels = (small * np.float32(gain)).round().clip(0, 65535).astype(np.uint16)
    jpeg = _small_jpeg(path, info.orientation, longest)
    written = write_dng(out, pixels, scaled, preview=jpeg, photo_exif=exif.from_tiff(path), force=True)
    return Proxy(written, 1 / step, (pixels.shape[1], pixels.shape[0]))


def _small_jpeg(path: Path, orientation: int, longest: int) -> bytes | None:
    """The camera's JPEG, reduced and turned like the mosaic; None where there is none."""
    from PIL import Image

    try:
        photo = embedded_jpeg(path)
    except PixwardError:
        return None
    pixels = from_tensor(preview(photo, longest))
    file = io.BytesIO()
    back = {6: 8, 8: 6}.get(orientation, orientation)
    Image.fromarray(upright(pixels, back)).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def _shrink(mosaic: np.ndarray, step: float) -> np.ndarray:
    """``(H, W)`` to ``(H / step, W / step)``, sides rounded to even, each colour by itself; covers the same frame."""
    rows, columns = (_tents(side, max(2, 2 * round(side / step / 2))) for side in mosaic.shape)
    return (columns @ (rows @ mosaic.astype(np.float32)).T).T


def _tents(length: int, short: int) -> Any:
    """Weights ``(short, length)``: output i averages the inputs of its own parity around its place.

    A tent whose half-width is a multiple of the distance between two photosites of one colour has its centre of mass
    exactly where it should be, wherever it falls between them; a box has not, and would shift the colours apart.
    """
    from scipy.sparse import coo_array

    step = length / short
    half = 2 * max(1, round(step / 2))
    place = np.arange(short)
    centre = (place + 0.5) * step - 0.5
    first = np.ceil(centre - half).astype(int)
    first += (first - place) % 2
    source = first[:, None] + 2 * np.arange(half + 1)
    weight = (half - np.abs(source - centre[:, None])).clip(min=0)
    weight[(source < 0) | (source >= length)] = 0
    weight /= weight.sum(1, keepdims=True)
    index = np.broadcast_to(place[:, None], source.shape)
    keep = weight > 0
    return coo_array((weight[keep].astype(np.float32), (index[keep], source[keep])), shape=(short, length)).tocsr()


def _bayer(path: Path, raw: Any) -> tuple[np.ndarray, DngInfo]:
    """The visible mosaic (a copy, sides even) of an open raw file, and what it means."""
    kind = "it is already demosaiced" if raw.raw_type.name != "Flat" else None
    if kind is None and (raw.raw_pattern is None or raw.raw_pattern.shape != (2, 2)):
        kind = "its sensor is X-Trans or monochrome"
    names = raw.color_desc.decode("ascii", "replace")
    block: list[int] = []
    if kind is None:
        top, left, height, width = _area(path, raw)
        block = ["RGB".find(names[index]) for index in raw.raw_colors[top : top + 2, left : left + 2].ravel()]
        if block not in BAYER or raw.sizes.pixel_aspect != 1.0:
            kind = f"its photosites are {names}"
    if kind is not None:
        raise PixwardError(f"{path} has no Bayer mosaic ({kind}), so there is no small proxy of it; use the full file")
    mosaic = raw.raw_image[top : top + height, left : left + width].copy()
    levels = raw.black_level_per_channel
    black = [float(levels[index]) for index in raw.raw_colors[top : top + 2, left : left + 2].ravel()]
    balance = np.array(raw.camera_whitebalance[:3], float)
    if not (np.isfinite(balance).all() and (balance > 0).all()):
        balance = np.array(raw.daylight_whitebalance[:3], float)
    neutral = balance.min() / balance
    make, model = _maker(path)
    info = DngInfo(
        ((block[0], block[1]), (block[2], block[3])),
        (black[0], black[1], black[2], black[3]),
        float(raw.white_level),
        (float(neutral[0]), float(neutral[1]), float(neutral[2])),
        tuple((float(row[0]), float(row[1]), float(row[2])) for row in _matrix(raw)),
        ORIENTATIONS.get(raw.sizes.flip, 1),
        make,
        model,
    )
    return mosaic, info


def _area(path: Path, raw: Any) -> tuple[int, int, int, int]:
    """Top, left, height, width of what an editor shows, in places of ``raw_image``; sides even."""
    sizes = raw.sizes
    top, left, height, width = sizes.top_margin, sizes.left_margin, sizes.height, sizes.width
    crop = (sizes.crop_top_margin, sizes.crop_left_margin, sizes.crop_height, sizes.crop_width)
    inside = crop[0] + crop[2] <= sizes.raw_height and crop[1] + crop[3] <= sizes.raw_width
    if inside and min(crop[2:]) > 16 and _is_dng(path):  # the default crop, which editors of DNG obey
        top, left, height, width = crop
    return top, left, height - height % 2, width - width % 2


def _is_dng(path: Path) -> bool:
    return path.suffix.lower() == ".dng" or (path.suffix.lower() in (".tif", ".tiff") and is_raw(path))


def _matrix(raw: Any) -> np.ndarray:
    """XYZ (D65) to camera, ``(3, 3)``."""
    # What LibRaw develops with, a DNG's own matrix before its table's: balanced camera RGB to sRGB, and the balance
    # for D65.
    to_srgb = np.array(raw.color_matrix[:, :3], float)
    daylight = np.array(raw.daylight_whitebalance[:3], float)
    if np.abs(np.linalg.det(to_srgb)) > 1e-3 and (daylight > 0).all():
        return np.asarray(np.diag(daylight.min() / daylight) @ np.linalg.inv(to_srgb) @ XYZ_TO_SRGB)
    listed = np.array(raw.rgb_xyz_matrix[:3], float)
    return listed if np.abs(listed).sum() > 0 else XYZ_TO_SRGB


def _maker(path: Path) -> tuple[str, str]:
    """Maker and model as the file has them."""
    from PIL import Image

    tags = Image.Exif()
    if found := exif.from_tiff(path):
        tags.load(found)
    make, model = (str(tags.get(tag) or "").strip("\0 ") for tag in (0x010F, 0x0110))
    return make or "unknown", model or "unknown"
