"""Learned proxies of an editor, differentiable where the editor is not (Tseng et al. 2019 and 2022).

A proxy is a network that renders: picture and sliders in, picture out, trained on nothing but the editor's own renders.
:class:`Monolithic` is one UNet for the whole editor, :class:`Cascaded` one small network per filter, in the editor's
order. Both are baselines, built as RLPixTuner (NeurIPS 2024) describes the ones that it compared with; what pixward
searches with is :mod:`pixward.policies.response`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.params import ParamSpace
from pixward.policies.weights import load_weights

KINDS = ("monolithic", "cascaded")
"""Names of the two: of algorithms, of strategies and of files of weights."""


@dataclass(frozen=True)
class Filter:
    """One stage of an editor, as a cascaded proxy sees it.

    Attributes:
        name: for people.
        sliders: positions of its sliders in the editor's space.
        areawise: a pixel's render depends on its neighbours.
    """

    name: str
    sliders: tuple[int, ...]
    areawise: bool = False


@dataclass(frozen=True)
class MonolithicSettings:
    """Shape of a :class:`Monolithic`: ``sliders`` d and channels ``width`` at full resolution."""

    sliders: int
    width: int = 16


@dataclass(frozen=True)
class CascadedSettings:
    """Shape of a :class:`Cascaded`.

    Attributes:
        sliders: how many the editor has, d.
        filters: its stages in order; together they hold every slider once.
        pointwise_width: channels of 1x1 convolutions.
        areawise_width: channels of 3x3 convolutions.
    """

    sliders: int
    filters: tuple[Filter, ...]
    pointwise_width: int = 48
    areawise_width: int = 16

    def __post_init__(self) -> None:
        """Raises ValueError for filters that leave a slider out, or have one twice."""
        placed = sorted(place for stage in self.filters for place in stage.sliders)
        if placed != list(range(self.sliders)):
            raise ValueError(f"filters must hold each of {self.sliders} sliders once, got the positions {placed}")


class Monolithic(nn.Module):
    """``proxy(images (B, 3, H, W), params (B, d)) -> (B, 3, H, W)``: a UNet; ``params`` normalised to [-1, 1].

    Every slider enters as a constant plane beside the picture. Three resolutions, two 3x3 convolutions at each, skip
    connections; the picture is added to what comes out, so that the network learns the change. Any H and W from 1.
    """

    def __init__(self, settings: MonolithicSettings) -> None:
        super().__init__()
        self.settings = settings
        wide = settings.width
        self.down = nn.ModuleList([_pair(3 + settings.sliders, wide), _pair(wide, 2 * wide)])
        self.bottom = _pair(2 * wide, 4 * wide)
        self.up = nn.ModuleList([_pair(6 * wide, 2 * wide), _pair(3 * wide, wide)])
        self.exit = nn.Conv2d(wide, 3, 1)
        _begin_as_nothing(self.exit)

    def forward(self, images: Tensor, params: Tensor) -> Tensor:
        """The render expected, not clamped."""
        height, width = images.shape[-2:]
        # Two halvings: what hangs over is cut off again.
        hidden = F.pad(with_planes(images, params), (0, -width % 4, 0, -height % 4), mode="replicate")
        skips = []
        for block in self.down:
            hidden = block(hidden)
            skips.append(hidden)
            hidden = F.avg_pool2d(hidden, 2)
        hidden = self.bottom(hidden)
        for block in self.up:
            hidden = F.interpolate(hidden, scale_factor=2, mode="nearest")
            hidden = block(torch.cat([hidden, skips.pop()], 1))
        change: Tensor = self.exit(hidden)
        return images + change[..., :height, :width]


class Cascaded(nn.Module):
    """``proxy(images (B, 3, H, W), params (B, d)) -> (B, 3, H, W)``: a network per filter, one after another.

    Pointwise filters get three layers of 1x1 convolutions, areawise ones five of 3x3. Each sees its own sliders only,
    as constant planes, and adds to the picture that the one before it handed on.
    """

    def __init__(self, settings: CascadedSettings) -> None:
        super().__init__()
        self.settings = settings
        self.stages = nn.ModuleList(_stage(each, settings) for each in settings.filters)

    def forward(self, images: Tensor, params: Tensor) -> Tensor:
        """The render expected, not clamped, neither at the end nor between the stages."""
        for number in range(len(self.stages)):
            images = self.stage(number, images, params)
        return images

    def stage(self, number: int, images: Tensor, params: Tensor) -> Tensor:
        """What filter ``number`` alone makes of ``images`` ``(B, 3, H, W)``, by its part of ``params`` ``(B, d)``."""
        change: Tensor = self.stages[number](with_planes(images, params[:, self.settings.filters[number].sliders]))
        return images + change


Proxy = Monolithic | Cascaded
"""Either of the two."""


class ProxyEditor:
    """A proxy as an editor: differentiable, and only as true as the proxy."""

    differentiable = True

    def __init__(self, name: str, space: ParamSpace, proxy: Proxy) -> None:
        self.name, self.space, self.proxy = name, space, proxy

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """``images`` ``(B, 3, H, W)``, ``params`` ``(B, d)`` in slider units, to ``(B, 3, H, W)`` in [0, 1]."""
        action = self.space.normalize(params.expand(len(images), -1))
        rendered: Tensor = self.proxy(images, action)
        return rendered.clamp(0, 1)


def with_planes(images: Tensor, params: Tensor) -> Tensor:
    """``(B, 3, H, W)`` and ``(B, k)`` to ``(B, 3 + k, H, W)``: every number as a constant plane."""
    planes = params[:, :, None, None].expand(-1, -1, *images.shape[-2:])
    # Channels last: convolutions of a few channels are a third quicker so on a CPU.
    return torch.cat([images, planes], 1).contiguous(memory_format=torch.channels_last)


def one_filter_each(space: ParamSpace, areawise: Sequence[bool]) -> tuple[Filter, ...]:
    """A filter for every slider in the order of ``space``: for an editor whose stages nobody has told."""
    return tuple(Filter(name, (place,), areawise[place]) for place, name in enumerate(space.names))


def load_proxy(name: str | Path, kind: str) -> Proxy:
    """A trained proxy of ``kind``, ``monolithic`` or ``cascaded``: an editor's shipped one, or one's own by its file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file that is damaged, or holds something else.
    """
    tensors, settings = load_weights(name, kind)
    try:
        proxy = _shaped(kind, settings)
        proxy.load_state_dict(tensors)
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name}: these weights fit no {kind} proxy of this version of pixward: train it again"
        ) from error
    return proxy.eval().requires_grad_(False)


def find_proxy(kind: str, editor: str, sliders: int, networks: Path | None = None) -> Proxy:
    """The proxy that a search on ``editor`` with ``sliders`` uses: a run folder's (``networks``), or the shipped one.

    Raises:
        PixwardError: there is none, it is damaged, or it knows another number of sliders.
    """
    name = editor if networks is None else str(networks / f"{kind}.safetensors")
    try:
        proxy = load_proxy(name, kind)
    except FileNotFoundError:
        where = f"is shipped for {editor}" if networks is None else f"lies in {networks}"
        raise PixwardError(
            f"no {kind} proxy {where}: train one (pixward train edit --editor {editor} --algorithm {kind} "
            "--photos DIR --out RUN) and name its folder with --networks RUN"
        ) from None
    except ValueError as error:
        raise PixwardError(str(error)) from None
    if proxy.settings.sliders != sliders:
        raise PixwardError(
            f"the {kind} proxy knows {proxy.settings.sliders} sliders, and {editor} has {sliders}: train one for this "
            f"editor (pixward train edit --editor {editor} --algorithm {kind} --photos DIR --out RUN)"
        )
    return proxy


def describe_proxy(proxy: Proxy) -> dict[str, object]:
    """The settings as plain data, to be saved beside the weights."""
    return asdict(proxy.settings)


def _shaped(kind: str, settings: dict[str, Any]) -> Proxy:
    if kind == "monolithic":
        return Monolithic(MonolithicSettings(**settings))
    filters = tuple(Filter(each["name"], tuple(each["sliders"]), each["areawise"]) for each in settings["filters"])
    return Cascaded(CascadedSettings(**{**settings, "filters": filters}))


def _pair(inside: int, outside: int) -> nn.Sequential:
    """Two 3x3 convolutions. Borders are replicated, or the frame of every picture would be taken for something."""
    return nn.Sequential(
        _area(inside, outside),
        nn.LeakyReLU(0.2, inplace=True),
        _area(outside, outside),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _area(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=1, padding_mode="replicate")


def _stage(each: Filter, settings: CascadedSettings) -> nn.Sequential:
    inside = 3 + len(each.sliders)
    if each.areawise:
        sizes = [inside, *[settings.areawise_width] * 4, 3]
        convolutions = [_area(a, b) for a, b in pairwise(sizes)]
    else:
        sizes = [inside, *[settings.pointwise_width] * 2, 3]
        convolutions = [nn.Conv2d(a, b, 1) for a, b in pairwise(sizes)]
    layers: list[nn.Module] = []
    for convolution in convolutions:
        layers += [convolution, nn.LeakyReLU(0.2, inplace=True)]
    _begin_as_nothing(convolutions[-1])
    return nn.Sequential(*layers[:-1])


def _begin_as_nothing(last: nn.Conv2d) -> None:
    """An untrained proxy hands the picture through; small numbers, not zeros, or nothing before them would learn."""
    with torch.no_grad():
        last.weight.mul_(0.1)
        if last.bias is not None:
            last.bias.zero_()
