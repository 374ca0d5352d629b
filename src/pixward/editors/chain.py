"""The two built-in editors: chains of our own ops, batched, differentiable, on any device.

``PAPER`` is RLPixTuner's pipeline: 7 filters, 9 parameters, in its order, every filter's output clipped to [0, 1].
``PHOTO`` has the sliders a photographer expects. It is the identity at its defaults and its tone response is monotone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pixward.ops import color, filter, tone
from pixward.params import ParamSpace, ParamSpec


@dataclass(frozen=True)
class Chain:
    """An editor made of our own ops.

    Attributes:
        name: what the command line calls it.
        space: its sliders.
        render: ``(images (B, 3, H, W), params (B, d)) -> images``.
        differentiable: gradients flow to ``params``.
    """

    name: str
    space: ParamSpace
    render: Callable[[Tensor, Tensor], Tensor]
    differentiable: bool = True

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """Render ``images`` ``(B, 3, H, W)`` with ``params`` ``(B, d)`` or ``(1, d)`` in slider units.

        Raises:
            ValueError: a shape that does not fit.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"{self.name}: images must be (B, 3, H, W), got {tuple(images.shape)}")
        if params.ndim != 2 or params.shape[1] != len(self.space) or params.shape[0] not in (1, images.shape[0]):
            raise ValueError(
                f"{self.name}: params must be ({images.shape[0]}, {len(self.space)}), got {tuple(params.shape)}"
            )
        return self.render(images, params.expand(images.shape[0], -1))


# --- chain:paper ------------------------------------------------------------------------------------------------

_GAIN = math.exp(0.5)

PAPER_SPACE = ParamSpace(
    [
        ParamSpec("exposure", -2, 2, 0, "EV", "Brightness of the whole picture, on encoded values."),
        ParamSpec("wb_red", 1 / _GAIN, _GAIN, 1, "x", "Gain of the red channel.", "log"),
        ParamSpec("wb_green", 1 / _GAIN, _GAIN, 1, "x", "Gain of the green channel.", "log"),
        ParamSpec("wb_blue", 1 / _GAIN, _GAIN, 1, "x", "Gain of the blue channel.", "log"),
        ParamSpec("saturation", -1, 1, 0, "", "-1 is grey, 1 doubles the distance from grey."),
        ParamSpec("contrast", -1, 1, 0, "", "Cosine contrast around the middle."),
        ParamSpec("highlights", -1, 1, 0, "", "Brightness of the bright tones."),
        ParamSpec("shadows", -1, 1, 0, "", "Brightness of the dark tones."),
        ParamSpec("texture", 0, 2, 1, "x", "Below 1 blurs, above 1 sharpens, over 3x3 pixels."),
    ]
)


def _render_paper(images: Tensor, params: Tensor) -> Tensor:
    exposure, _, _, _, saturation, contrast, highlights, shadows, texture = params.unbind(1)
    images = tone.exposure(images, exposure)
    images = color.channel_gains(images, params[:, 1:4])
    images = color.saturation(images, saturation, color.REC601)
    images = tone.paper_contrast(images, contrast)
    images = tone.paper_highlights(images, highlights)
    images = tone.paper_shadows(images, shadows)
    return filter.paper_texture(images, texture)


PAPER = Chain("chain:paper", PAPER_SPACE, _render_paper)

# --- chain:photo ------------------------------------------------------------------------------------------------

PHOTO_SPACE = ParamSpace(
    [
        ParamSpec("exposure", -3, 3, 0, "EV", "Brightness of the whole picture, in stops of linear light."),
        ParamSpec("temperature", -100, 100, 0, "%", "Cooler (blue) to warmer (yellow)."),
        ParamSpec("tint", -100, 100, 0, "%", "Greener to more magenta."),
        ParamSpec("contrast", -100, 100, 0, "%", "Flatter to steeper around the middle tones."),
        ParamSpec("highlights", -100, 100, 0, "%", "Darker to brighter bright tones; the ends stay."),
        ParamSpec("shadows", -100, 100, 0, "%", "Darker to brighter dark tones; the ends stay."),
        ParamSpec("whites", -100, 100, 0, "%", "Lower to higher white end."),
        ParamSpec("blacks", -100, 100, 0, "%", "Lower to higher black end."),
        ParamSpec("vibrance", -100, 100, 0, "%", "Colourfulness of what is pale."),
        ParamSpec("saturation", -100, 100, 0, "%", "Colourfulness of everything; -100 is grey."),
        ParamSpec("clarity", -100, 100, 0, "%", "Local contrast, over 2 % of the longest side."),
        ParamSpec("sharpness", -100, 100, 0, "%", "Softer to crisper, over 0.25 % of the longest side."),
    ]
)

CLARITY_RADIUS = 0.02
"""Sigma of clarity's blur over the longest side."""
SHARPNESS_RADIUS = 0.0025
"""Sigma of sharpness' blur over the longest side: 0.64 px on a 256 px preview. Radii are relative to the picture, as in
editors whose previews tell the truth, so that a setting found on a preview holds at full size."""
CLARITY_GAIN, SHARPNESS_GAIN = 0.6, 1.5
CLARITY_SIDE, SHARPNESS_SIDE = 256, 1024
"""Blurs work at no more than this many pixels on the longest side."""


def photo_tone(images: Tensor, params: Tensor) -> Tensor:
    """All of ``chain:photo`` that acts on each channel's value alone: exposure, white balance and the tone curve.

    ``images`` ``(B, 3, H, W)`` sRGB-encoded, ``params`` ``(B, 12)``. Monotone in every channel.
    """
    ev, temperature, tint, contrast, highlights, shadows, whites, blacks = params[:, :8].unbind(1)
    gains = torch.exp2(ev)[:, None] * color.white_balance_gains(temperature / 100, tint / 100)
    images = tone.linear_to_srgb(color.channel_gains(tone.srgb_to_linear(images), gains))
    images = tone.whites(images, whites / 100)
    images = tone.blacks(images, blacks / 100)
    images = tone.highlights(images, highlights / 100)
    images = tone.shadows(images, shadows / 100)
    return tone.contrast(images, contrast / 100)


def photo_color(images: Tensor, params: Tensor) -> Tensor:
    """Vibrance and saturation: what ``chain:photo`` does to a pixel's colour after its tones. Keeps the luma."""
    return color.saturation_in_gamut(images, params[:, 8] / 100, params[:, 9] / 100)


def _render_photo(images: Tensor, params: Tensor) -> Tensor:
    images = photo_color(photo_tone(images, params), params)
    grey = color.luma(images)
    wide = filter.local_mean(grey, CLARITY_RADIUS, CLARITY_SIDE)
    fine = filter.local_mean(grey, SHARPNESS_RADIUS, SHARPNESS_SIDE)
    clarity = (CLARITY_GAIN / 100 * params[:, 10])[:, None, None, None]
    sharpness = (SHARPNESS_GAIN / 100 * params[:, 11])[:, None, None, None]
    # Both are measured on the same luma, so that full-size rendering needs one pass for the two.
    return (images + clarity * (grey - wide) + sharpness * (grey - fine)).clamp(0, 1)


PHOTO = Chain("chain:photo", PHOTO_SPACE, _render_photo)
