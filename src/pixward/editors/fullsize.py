"""Full-size rendering: fast, threaded, in bounded memory.

An editor called on a 24-megapixel photo writes a fresh 288 MB tensor for every op, and memory traffic and page faults
then cost ten times the arithmetic. Here the picture goes through in strips of rows that fit the cache, with
buffers made once per thread, and ``chain:photo`` is fused by hand:

* its tone is a function of one channel's value, so one table per channel, made by running ``photo_tone`` itself on a
  ramp, replaces it whole. A gather costs 0.8 ns per value, the curves themselves 19 ns;
* vibrance and saturation run in place, and sliders at their default cost nothing;
* clarity and sharpness read blurs made at no more than 1024 pixels. A first pass over the strips reduces the luma for
  them, and a second paints. The first pass' pixels are computed again rather than stored, since a float copy would
  take four times the memory of an 8-bit result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.editors import chain
from pixward.editors.strips import FULL_SCALE, each_strip, own_threads, read, write
from pixward.ops import color, filter
from pixward.types import Editor

STRIP_PIXELS = 65536
"""Pixels in a strip, measured: a quarter costs a third more time in calls, twice as many gain nothing."""
TABLE_CELLS = 32768
"""Cells of the tone table for float input, interpolated: 128 kB a channel, which stays in the cache (twice as many take
a tenth more time). The nearest entry alone would err at black, where exposure and white balance make it steep."""

_DTYPES = {8: np.uint8, 16: np.uint16, 32: np.float32}
_TONE_SLIDERS = 8


def render_fullsize(
    editor: Editor, pixels: np.ndarray, params: Tensor, *, bits: int = 8, threads: int | None = None
) -> np.ndarray:
    """Render a whole photo with one setting.

    The two built-in chains run in strips; any other editor gets one call on the whole picture.

    Args:
        editor: any editor.
        pixels: ``(H, W, 3)``, uint8, uint16, or float32 in [0, 1], sRGB-encoded.
        params: ``(1, d)`` in slider units.
        bits: of the result: 8 (uint8), 16 (uint16) or 32 (float32 in [0, 1]).
        threads: how many; None for as many as torch uses.

    Returns:
        ``(H, W, 3)``. Equal to ``editor(images, params)`` within 1e-4, then rounded.

    Raises:
        ValueError: a shape, type, depth or number of threads that does not fit.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels must be (H, W, 3), got {pixels.shape}")
    if bits not in _DTYPES:
        raise ValueError(f"bits must be 8, 16 or 32, got {bits}")
    out = np.empty(pixels.shape, _DTYPES[bits])
    render_planes(editor, pixels.transpose(2, 0, 1), params, out.transpose(2, 0, 1), threads=threads)
    return out


def render_planes(
    editor: Editor, source: np.ndarray, params: Tensor, out: np.ndarray, *, threads: int | None = None
) -> None:
    """Render ``source`` ``(3, H, W)`` into ``out`` ``(3, H, W)``: :func:`render_fullsize` on planes.

    Both are uint8, uint16, or float32 in [0, 1], with any strides, so that a transposed view of interleaved pixels is
    as good as three planes. They must not overlap.

    Raises:
        ValueError: a shape, type or number of threads that does not fit.
    """
    if source.ndim != 3 or source.shape[0] != 3 or 0 in source.shape or out.shape != source.shape:
        raise ValueError(f"source and out must both be (3, H, W), got {source.shape} and {out.shape}")
    if source.dtype not in FULL_SCALE or out.dtype not in FULL_SCALE:
        raise ValueError(f"pixels must be uint8, uint16 or float32, got {source.dtype} and {out.dtype}")
    if params.shape != (1, len(editor.space)):
        raise ValueError(f"{editor.name}: params must be (1, {len(editor.space)}), got {tuple(params.shape)}")
    threads = torch.get_num_threads() if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads must be 1 or more, got {threads}")
    params = params.detach().cpu().float()
    known: object = editor
    with torch.inference_mode():
        if known is chain.PHOTO:
            with own_threads():
                _render_photo(source, params, out, threads)
        elif known is chain.PAPER:
            with own_threads():
                _render_paper(source, params, out, threads)
        else:
            write(out, editor(read(source)[None], params)[0].clamp(0, 1).contiguous())


def _strip_rows(width: int) -> int:
    return max(1, STRIP_PIXELS // width)


# --- chain:paper ------------------------------------------------------------------------------------------------


def _render_paper(source: np.ndarray, params: Tensor, out: np.ndarray, threads: int) -> None:
    """The editor itself, strip by strip, with one row more on either side for its 3x3 texture."""
    height, width = source.shape[1:]

    def paint(top: int, bottom: int) -> None:
        first = max(0, top - 1)
        rows = chain.PAPER(read(source[:, first : bottom + 1])[None], params)[0]
        write(out[:, top:bottom], rows[:, top - first : bottom - first])

    each_strip(height, _strip_rows(width), threads, lambda: paint)


# --- chain:photo ------------------------------------------------------------------------------------------------


def _render_photo(source: np.ndarray, params: Tensor, out: np.ndarray, threads: int) -> None:
    height, width = source.shape[1:]
    rows = _strip_rows(width)
    tone = _Tone(source.dtype, params)
    blurs = _blurs(params, height, width)

    def reducer() -> Callable[[int, int], None]:
        points = _Points(source, tone, params, rows)

        def reduce(top: int, bottom: int) -> None:
            planes, spare = points(top, bottom)
            grey = _luma(planes, spare[0])
            for blur in blurs:
                blur.reduce(grey, top)

        return reduce

    def painter() -> Callable[[int, int], None]:
        points = _Points(source, tone, params, rows)

        def paint(top: int, bottom: int) -> None:
            planes, spare = points(top, bottom)
            if blurs:
                _detail(planes, blurs, top, spare)
            write(out[:, top:bottom], planes)

        return paint

    if blurs:
        each_strip(height, rows, threads, reducer)
        for blur in blurs:
            blur.finish()
    each_strip(height, rows, threads, painter)


class _Tone:
    """``photo_tone`` as a table for each channel: one entry per value of an integer type, interpolated for floats."""

    def __init__(self, dtype: np.dtype, params: Tensor) -> None:
        self.exact = dtype != np.float32
        self.idle = not self.exact and not params[0, :_TONE_SLIDERS].any()
        last = int(FULL_SCALE[dtype]) if self.exact else TABLE_CELLS
        ramp = (torch.arange(last + 1) / last).expand(1, 3, 1, -1)
        self.table = chain.photo_tone(ramp, params)[0, :, 0].clamp(0, 1).contiguous()
        self.rise = self.table.diff(append=self.table[:, -1:])

    def __call__(self, source: np.ndarray, planes: Tensor, index: Tensor, spare: Tensor) -> None:
        """The tones of ``source`` ``(3, R, W)`` into ``planes``; ``index`` and ``spare`` are buffers of that shape."""
        for target, channel in zip((index if self.exact else planes).numpy(), source, strict=True):
            np.copyto(target, channel)
        if not self.exact:
            planes.clamp_(0, 1)
            if self.idle:
                return
            index.copy_(planes.mul_(TABLE_CELLS))  # cuts the fraction off, which frac_ keeps
            planes.frac_()
        start, rise = spare[0], spare[1]
        for plane, where, table, rises in zip(planes, index.flatten(1), self.table, self.rise, strict=True):
            # index_select takes 32-bit indices and writes into a given tensor; take and gather want 64 bits.
            if self.exact:
                torch.index_select(table, 0, where, out=plane.view(-1))
            else:
                torch.index_select(table, 0, where, out=start.view(-1))
                torch.index_select(rises, 0, where, out=rise.view(-1))
                torch.addcmul(start, plane, rise, out=plane)


class _Points:
    """What ``chain:photo`` does to single pixels, in one thread.

    Its buffers are made once: fresh ones for every strip would spend the time on page faults.
    """

    def __init__(self, source: np.ndarray, tone: _Tone, params: Tensor, rows: int) -> None:
        shape = (3, min(rows, source.shape[1]), source.shape[2])
        self.source, self.tone = source, tone
        self.vibrance, self.saturation = (float(value) / 100 for value in params[0, 8:10])
        self.buffers = (torch.empty(shape), torch.empty(shape, dtype=torch.int32), torch.empty(shape))

    def __call__(self, top: int, bottom: int) -> tuple[Tensor, Tensor]:
        """The strip's planes, and three spare ones; both hold until the next call."""
        planes, index, spare = (buffer[:, : bottom - top] for buffer in self.buffers)
        self.tone(self.source[:, top:bottom], planes, index, spare)
        # The indices have served; their memory is a fourth buffer.
        _color(planes, self.vibrance, self.saturation, (*spare, index[0].view(torch.float32)))
        return planes, spare


def _luma(planes: Tensor, out: Tensor) -> Tensor:
    red, green, blue = color.REC709
    return torch.mul(planes[0], red, out=out).add_(planes[1], alpha=green).add_(planes[2], alpha=blue)


def _color(planes: Tensor, vibrance: float, saturation: float, spare: tuple[Tensor, ...]) -> None:
    """``color.saturation_in_gamut`` in place, on ``(3, R, W)``, with four spare planes."""
    if not vibrance and not saturation:
        return
    grey, factor, high, low = spare
    _luma(planes, grey)
    torch.maximum(planes[0], planes[1], out=high)
    torch.maximum(high, planes[2], out=high)
    torch.minimum(planes[0], planes[1], out=low)
    torch.minimum(low, planes[2], out=low)
    torch.sub(high, low, out=factor)
    factor.mul_(-vibrance * (1 + saturation)).add_((1 + vibrance) * (1 + saturation))
    high.sub_(grey).clamp_(min=1e-6).reciprocal_()
    torch.sub(grey, low, out=low).clamp_(min=1e-6).reciprocal_().mul_(grey)
    torch.minimum(factor, low, out=factor)
    torch.addcmul(high, grey, high, value=-1, out=high)  # (1 - grey) / (high - grey)
    torch.minimum(factor, high, out=factor)
    torch.lerp(grey, planes, factor, out=planes).clamp_(0, 1)


@dataclass
class _Blur:
    """``filter.local_mean`` of a luma that is never whole in memory.

    Its reduction and its enlargement are separable, so that strips give exactly what the whole picture gives.

    Attributes:
        weight: of ``grey - mean`` in the result.
        sigma: of the blur, in pixels of the working size.
        size: the working size.
        columns: the luma reduced along its rows only, ``(H, size[1])``.
        wide: ``weight`` times the blurred mean, enlarged along its rows only, ``(size[0], W)``.
        row, step: where between which two rows of ``wide`` a row of the picture lies, ``(H,)``.
    """

    weight: float
    sigma: float
    size: tuple[int, int]
    columns: Tensor
    wide: Tensor
    row: Tensor
    step: Tensor

    def reduce(self, grey: Tensor, top: int) -> None:
        """Take in the rows ``grey`` ``(R, W)``, the first of which is row ``top``."""
        self.columns[top : top + len(grey)] = F.adaptive_avg_pool2d(grey[None], (len(grey), self.size[1]))[0]

    def finish(self) -> None:
        """All rows are in: blur."""
        small = F.adaptive_avg_pool2d(self.columns[None, None], self.size)
        small = filter.gaussian_blur(small, self.sigma) * self.weight
        width = self.wide.shape[1]
        self.wide = F.interpolate(small, (self.size[0], width), mode="bilinear", align_corners=False)[0, 0]
        self.columns = self.columns[:0]


def _blurs(params: Tensor, height: int, width: int) -> list[_Blur]:
    """The blurs that clarity and sharpness ask for."""
    longest = max(height, width)
    wanted = (
        (chain.CLARITY_GAIN / 100 * float(params[0, 10]), chain.CLARITY_RADIUS, chain.CLARITY_SIDE),
        (chain.SHARPNESS_GAIN / 100 * float(params[0, 11]), chain.SHARPNESS_RADIUS, chain.SHARPNESS_SIDE),
    )
    blurs = []
    for weight, fraction, side in wanted:
        if weight == 0:
            continue
        side = min(side, longest)
        size = (max(1, round(height * side / longest)), max(1, round(width * side / longest)))
        sigma = fraction * max(side, filter.PREVIEW_SIDE)
        # Half-pixel centres, as bilinear enlargement has them without align_corners.
        place = ((torch.arange(height, dtype=torch.float64) + 0.5) * (size[0] / height) - 0.5).clamp(0, size[0] - 1)
        row = place.long()
        step = (place - row).float()[:, None]
        columns = torch.empty(height, size[1])
        blurs.append(_Blur(weight, sigma, size, columns, torch.empty(0, width), row, step))
    return blurs


def _detail(planes: Tensor, blurs: list[_Blur], top: int, spare: Tensor) -> None:
    """Add every blur's ``weight * (grey - mean)`` to ``planes``, in place, and clip."""
    grey, above, below = spare
    _luma(planes, grey).mul_(sum(blur.weight for blur in blurs))
    for blur in blurs:
        row, step = blur.row[top : top + len(grey)], blur.step[top : top + len(grey)]
        torch.index_select(blur.wide, 0, row, out=above)
        torch.index_select(blur.wide, 0, (row + 1).clamp_max_(blur.size[0] - 1), out=below)
        grey.sub_(torch.lerp(above, below, step, out=below))
    planes.add_(grey).clamp_(0, 1)
