"""Supervised training of an editor's proxy: photos and settings in, a network that renders as the editor does out.

The editor is a black box here, called for renders and nothing else. A monolithic proxy learns from whole renders. A
cascaded one learns filter by filter first, each from a photo as the filters before it leave it, to the same photo with
this one filter's sliders moved; then all of its filters together, from whole renders. Tseng et al. (2019, 2022) and
RLPixTuner train on far more: see ``recipes/proxy.py`` for what they had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from pixward.image import quantize
from pixward.params import ParamSpace
from pixward.run import Run
from pixward.train.pretrain import restore, schedule
from pixward.types import Editor

Draw = Callable[[int], tuple[Tensor, Tensor]]
"""``draw(n) -> (photos (n, 3, H, W), actions (n, d))``, by torch's global generator."""
Lesson = Callable[[int], tuple[str, Tensor]]
"""``lesson(step)``: what is learnt at that update, ``filter`` or ``render``, and its mean squared error."""


@dataclass(frozen=True)
class ProxyTraining:
    """How to train a proxy; the defaults are a monolithic one's.

    Attributes:
        steps: optimiser updates.
        apart: share of them, the first ones, that teach single filters; 0 for a proxy that has none.
        batch: photos in an update, each with a setting of its own.
        side: they are cropped to so many pixels after rendering, so that borders of crops are no borders of renders.
        learning_rate: peak of Adam, on pretraining's schedule.
        joint_rate: share of that rate for a cascaded proxy's whole renders, which have a schedule of their own.
        checkpoint_every: updates between checkpoints and log lines.
    """

    steps: int = 5_000
    apart: float = 0.0
    batch: int = 32
    side: int = 32
    learning_rate: float = 2e-3
    joint_rate: float = 0.5
    checkpoint_every: int = 100

    @property
    def first_whole(self) -> int:
        """The update from which whole renders are learnt."""
        return round(self.apart * self.steps)


CASCADED = ProxyTraining(steps=10_000, apart=0.8)
"""A cascaded proxy's: updates of single filters are quick."""


class Stage(Protocol):
    """One filter, as far as training sees it."""

    @property
    def sliders(self) -> Sequence[int]:
        """Positions of its sliders."""
        ...


class Stages(Protocol):
    """A cascaded proxy's settings."""

    @property
    def filters(self) -> Sequence[Stage]:
        """Its filters in order."""
        ...


class Cascade(Protocol):
    """What :func:`cascade_lesson` asks of a proxy."""

    @property
    def settings(self) -> Stages:
        """Whose ``filters`` say which sliders belong together."""
        ...

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """All filters: ``(images (B, 3, H, W), params (B, d)) -> (B, 3, H, W)``."""
        ...

    def stage(self, number: int, images: Tensor, params: Tensor) -> Tensor:
        """One filter alone."""
        ...


def whole_lesson(
    proxy: Callable[[Tensor, Tensor], Tensor], editor: Editor, draw: Draw, settings: ProxyTraining
) -> Lesson:
    """Whole renders, at every update."""

    def lesson(step: int) -> tuple[str, Tensor]:
        photos, actions = draw(settings.batch)
        renders = _render(editor, photos, actions)
        photos, renders = _crop(settings.side, photos, renders)
        return "render", ((proxy(photos, actions) - renders) ** 2).mean()

    return lesson


def cascade_lesson(proxy: Cascade, editor: Editor, draw: Draw, settings: ProxyTraining) -> Lesson:
    """A random filter by itself at each of the first updates, whole renders at the others.

    A filter's picture before is the photo rendered with the sliders of the filters before it, all others at their
    defaults; its picture after is that one rendered once more with this filter's sliders alone. That is how far a black
    box can be taken apart, and as true as the editor is the identity at its defaults.
    """
    whole = whole_lesson(proxy, editor, draw, settings)
    filters = proxy.settings.filters

    def lesson(step: int) -> tuple[str, Tensor]:
        if step >= settings.first_whole:
            return whole(step)
        number = int(torch.randint(len(filters), ()))
        photos, actions = draw(settings.batch)
        earlier = [place for each in filters[:number] for place in each.sliders]
        before = _render(editor, photos, _only(earlier, actions, editor.space)) if earlier else photos
        after = _render(editor, before, _only(filters[number].sliders, actions, editor.space))
        before, after = _crop(settings.side, before, after)
        return "filter", ((proxy.stage(number, before, actions) - after) ** 2).mean()

    return lesson


def train_proxy(proxy: nn.Module, lesson: Lesson, settings: ProxyTraining, run: Run) -> Iterator[dict[str, float]]:
    """Train ``proxy`` in place by ``lesson``; resumes from ``run``.

    Yields one log line per ``checkpoint_every`` updates: root mean square error of ``filter``s, of ``render``s.
    """
    optimizer = torch.optim.Adam(proxy.parameters(), settings.learning_rate)
    step = _resume(run, proxy, optimizer)
    sums: dict[str, list[float]] = {}
    while step < settings.steps:
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, settings)
        name, error = lesson(step)
        # Adam leaves alone what has no gradient: the filters that this update is not about.
        optimizer.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(proxy.parameters(), 1.0)
        optimizer.step()
        step += 1
        sums.setdefault(name, []).append(float(error.detach()))
        if step % settings.checkpoint_every == 0 or step == settings.steps:
            line = {name: (sum(errors) / len(errors)) ** 0.5 for name, errors in sums.items()}
            sums = {}
            run.log(step, line)
            run.save({"step": step, "proxy": proxy.state_dict(), "optimizer": optimizer.state_dict()})
            yield {"step": step, **line}


@torch.no_grad()
def acts_on_areas(editor: Editor, *, side: int = 33) -> list[bool]:
    """For each slider of ``editor``, whether a pixel's render depends on its neighbours; two renders a slider.

    A dull picture and one whose right half is brighter are rendered with the slider most of the way to its farther end.
    Where the left half differs by more than two 8-bit steps, the slider acts on areas.
    """
    dull = torch.full((1, 3, side, side), 0.4)
    # Not grey, or sliders of colour would have nothing to do.
    dull[:, 0] += 0.1
    halved = dull.clone()
    halved[..., side // 2 :] = torch.tensor([0.9, 0.75, 0.6])[:, None, None]
    default = editor.space.default_action()
    found = []
    for place in range(len(editor.space)):
        action = default.clone()
        action[0, place] += (1.0 if action[0, place] < 0 else -1.0) * 0.7
        change = _render(editor, torch.cat([dull, halved]), action.expand(2, -1)).diff(dim=0).abs()
        change = change[..., : side // 2]
        found.append(float(change.max()) > 2.5 / 255)
    return found


def _rate(step: int, settings: ProxyTraining) -> float:
    """The learning rate: one rise and fall for single filters, one for whole renders."""
    turn = settings.first_whole
    if step < turn:
        return settings.learning_rate * schedule(step, turn)
    peak = settings.learning_rate * (settings.joint_rate if turn else 1)
    return peak * schedule(step - turn, settings.steps - turn)


def _resume(run: Run, proxy: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    saved = run.load()
    if saved is None:
        return 0
    restore(run, saved, proxy, "proxy")
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])


def _only(places: Sequence[int], actions: Tensor, space: ParamSpace) -> Tensor:
    """``actions`` ``(B, d)`` at ``places``, the defaults elsewhere."""
    rows = space.default_action(len(actions), device=actions.device)
    rows[:, places] = actions[:, places]
    return rows


def _render(editor: Editor, photos: Tensor, actions: Tensor) -> Tensor:
    """8 bit, as files of other programs hold it."""
    with torch.no_grad():
        return quantize(editor(photos, editor.space.denormalize(actions)))


def _crop(side: int, *images: Tensor) -> tuple[Tensor, ...]:
    """The same random square of all ``images`` ``(B, 3, H, W)``, which are left whole where they are no larger."""
    height, width = images[0].shape[-2:]
    top, left = (int(torch.randint(max(length - side, 0) + 1, ())) for length in (height, width))
    return tuple(image[..., top : top + side, left : left + side] for image in images)
