"""What a pixel can do to itself: the action sets of PixelRL (Furuta, Inoue and Yamasaki, AAAI 2019 and TMM 2020).

The index of an action is part of a policy's weights, so the order never changes. Images are ``(B, C, H, W)`` floats
that are neither clipped nor rounded; 0 is black and 1 is white.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pixward.ops.color import luma, saturation_in_gamut
from pixward.ops.filter import local_mean
from pixward.ops.smooth import bilateral_5, box_5x5, gaussian_5x5, median_5x5


@dataclass(frozen=True)
class PixelAction:
    """One thing that a pixel can do.

    Attributes:
        name: short and plain, unique in its set; how people name it.
        apply: ``(B, C, H, W) -> (B, C, H, W)``, the image in which every pixel does it.
        reach: how many pixels away something can be and still sway the result at a pixel.
        conditional: whether ``apply`` takes the condition ``(B, K, H, W)``, or None, as its second argument.
    """

    name: str
    apply: Callable[..., Tensor]
    reach: int = 2
    conditional: bool = False

    def __call__(self, image: Tensor, condition: Tensor | None) -> Tensor:
        """``apply``, with the condition where it takes one."""
        return self.apply(image, condition) if self.conditional else self.apply(image)


@dataclass(frozen=True)
class ActionSet:
    """The actions that a policy chooses from, in the order of its outputs.

    Attributes:
        name: of the set.
        channels: 1 for grey images, 3 for RGB.
        actions: index ``a`` of an action map stands for ``actions[a]``.
    """

    name: str
    channels: int
    actions: tuple[PixelAction, ...]

    def __len__(self) -> int:
        return len(self.actions)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names in the order of the indices."""
        return tuple(action.name for action in self.actions)

    def index(self, name: str | int) -> int:
        """The index of an action given by its name or index.

        Raises:
            ValueError: there is no such action.
        """
        if isinstance(name, int) and 0 <= name < len(self):
            return name
        if name not in self.names:
            raise ValueError(f"there is no action {name!r}; choose from: {', '.join(self.names)}")
        return self.names.index(str(name))

    @property
    def reach(self) -> int:
        """The largest reach of its actions, in pixels."""
        return max(action.reach for action in self.actions)

    def apply(self, image: Tensor, action: Tensor, condition: Tensor | None = None) -> Tensor:
        """Every pixel of ``image`` ``(B, C, H, W)`` takes its own ``action``, ``(B, H, W)`` integers.

        ``condition``, ``(B, K, H, W)``, is for actions that read one. All actions read the image as it was before the
        step. Filters that no pixel chose are not computed.

        Raises:
            ValueError: shapes that do not fit, or an index that is no action.
        """
        if image.ndim != 4 or image.shape[1] != self.channels or action.shape != image[:, 0].shape:
            raise ValueError(
                f"need an image (B, {self.channels}, H, W) and actions (B, H, W), "
                f"got {tuple(image.shape)} and {tuple(action.shape)}"
            )
        if action.is_floating_point():
            raise ValueError(f"actions are integers, got {action.dtype}")
        counts = self.counts(action)
        chosen = action.unsqueeze(1)
        result = image
        for index in (index for index, count in enumerate(counts) if count):
            result = torch.where(chosen == index, self.actions[index](image, condition), result)
        return result

    def counts(self, action: Tensor) -> list[int]:
        """How many pixels of ``action`` chose each of the actions.

        Raises:
            ValueError: an index that is no action.
        """
        counts = torch.bincount(action.flatten().long().clamp_min(-1) + 1, minlength=len(self) + 1).tolist()
        if counts[0] or len(counts) > len(self) + 1:
            raise ValueError(f"unknown action {_stranger(action, len(self))}: {self.name} has 0 to {len(self) - 1}")
        return [int(count) for count in counts[1:]]

    def outcomes(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        """What each action would make of the whole image, ``(B, A, C, H, W)``."""
        return torch.stack([action(image, condition) for action in self.actions], 1)


def _stranger(action: Tensor, count: int) -> int:
    return int(action[(action < 0) | (action >= count)][0])


def _same(image: Tensor) -> Tensor:
    return image


RESTORE = ActionSet(
    "restore",
    1,
    (
        PixelAction("darker", lambda image: image - 1 / 255),
        PixelAction("nothing", _same),
        PixelAction("brighter", lambda image: image + 1 / 255),
        PixelAction("gaussian 0.5", lambda image: gaussian_5x5(image, 0.5)),
        PixelAction("bilateral 0.1", lambda image: bilateral_5(image, 0.1, 5.0)),
        PixelAction("median", median_5x5),
        PixelAction("gaussian 1.5", lambda image: gaussian_5x5(image, 1.5)),
        PixelAction("bilateral 1.0", lambda image: bilateral_5(image, 1.0, 5.0)),
        PixelAction("box", box_5x5),
    ),
)
"""PixelRL's denoising and restoration of grey images."""

STOP = "stop"
"""Name of the action after which a pixel does nothing for the rest of the episode."""
RESTORE_STOP = ActionSet("restore+stop", 1, (*RESTORE.actions, PixelAction(STOP, _same)))
"""The same with a way to say that a pixel is done."""


def contrast_about_grey(image: Tensor, factor: float) -> Tensor:
    """``0.5 + factor (x - 0.5)``."""
    return 0.5 + factor * (image - 0.5)


def scaled_saturation(image: Tensor, factor: float) -> Tensor:
    """HSV saturation times ``factor``, with hue and value as they are, for RGB ``(B, 3, H, W)``.

    In HSV every channel is ``V (1 - S f)``, with ``f`` a function of the hue and ``V`` the largest channel, so that the
    distance of a channel from the largest one is what grows. The authors' code scales a row of the image instead of
    the saturation (``hsv[1]`` of an H x W x 3 array), and so does nothing nearly everywhere; this is what they meant.
    """
    value = image.amax(1, keepdim=True)
    return value - factor * (value - image)


def scaled_channels(image: Tensor, red: float, green: float, blue: float) -> Tensor:
    """The channels of RGB ``(B, 3, H, W)`` times a factor each."""
    return image * image.new_tensor([red, green, blue]).view(1, 3, 1, 1)


COLOUR = ActionSet(
    "colour",
    3,
    (
        PixelAction("nothing", _same),
        PixelAction("less contrast", lambda image: contrast_about_grey(image, 0.95)),
        PixelAction("more contrast", lambda image: contrast_about_grey(image, 1.05)),
        PixelAction("less saturation", lambda image: scaled_saturation(image, 0.95)),
        PixelAction("more saturation", lambda image: scaled_saturation(image, 1.05)),
        PixelAction("darker", lambda image: image - 0.025),
        PixelAction("brighter", lambda image: image + 0.025),
        PixelAction("less yellow", lambda image: scaled_channels(image, 0.95, 0.95, 1.0)),
        PixelAction("more yellow", lambda image: scaled_channels(image, 1.05, 1.05, 1.0)),
        PixelAction("less cyan", lambda image: scaled_channels(image, 1.0, 0.95, 0.95)),
        PixelAction("more cyan", lambda image: scaled_channels(image, 1.0, 1.05, 1.05)),
        PixelAction("less magenta", lambda image: scaled_channels(image, 0.95, 1.0, 0.95)),
        PixelAction("more magenta", lambda image: scaled_channels(image, 1.05, 1.0, 1.05)),
    ),
)
"""PixelRL's local enhancement of colour images: the authors' 13 actions, with the saturation put right."""

TONE, CHROMA, CLARITY = 0.12, 1.1, 1.12
"""How far one step of SALIENCY goes: tone curve, factor of the saturation, factor of the local contrast."""
_WHOLE = 1 << 20  # a reach in pixels that says: the whole picture
_LOCAL, _LOCAL_SIDE = 0.05, 64  # blur of the local mean, as a share of the longest side; pixels at which it is computed


def bent_tone(image: Tensor, amount: float) -> Tensor:
    """``x + amount x (1 - x)``: black stays black and white white, so that nothing clips. ``amount`` in [-1, 1]."""
    inside = image.clamp(0, 1)
    return image + amount * inside * (1 - inside)


def contrast_about_local_mean(image: Tensor, factor: float) -> Tensor:
    """Luma's distance from its local mean times ``factor``, added to all channels; clipped to [0, 1].

    About mid-grey, as in COLOUR, a region that is all bright or all dark would only become brighter or darker, which
    other actions do. About its own mean a region keeps its brightness, and what is in it shows more or less.
    """
    light = luma(image)
    mean = local_mean(light, _LOCAL, _LOCAL_SIDE)
    return (image + (factor - 1) * (light - mean)).clamp(0, 1)


def _coloured(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda image: saturation_in_gamut(image.clamp(0, 1), 0.0, factor - 1)


SALIENCY = ActionSet(
    "saliency",
    3,
    (
        PixelAction("nothing", _same, 0),
        PixelAction("darker", lambda image: bent_tone(image, -TONE), 0),
        PixelAction("brighter", lambda image: bent_tone(image, TONE), 0),
        PixelAction("less saturation", _coloured(1 / CHROMA), 0),
        PixelAction("more saturation", _coloured(CHROMA), 0),
        PixelAction("less contrast", lambda image: contrast_about_local_mean(image, 1 / CLARITY), _WHOLE),
        PixelAction("more contrast", lambda image: contrast_about_local_mean(image, CLARITY), _WHOLE),
    ),
)
"""Saliency-driven editing, after TMM 2020's fourth task; the actions are ours, since its code was never released.

All keep [0, 1]. Luma stays under a change of saturation, local brightness under a change of contrast.
"""

ACTION_SETS = {actions.name: actions for actions in (RESTORE, RESTORE_STOP, COLOUR, SALIENCY)}
"""The built-in sets by name."""
