"""Supervised training of an editor's response: renders in, a network of the renders' values and slopes out.

Each example is one photo rendered at two nearby settings, by a quick editor as training goes along
(:func:`live_pairs`) or by a slow one beforehand (:class:`pixward.data.renders.RenderBank`). The first render teaches
the value; the difference between the two teaches the slope, which is what a solver uses (Sobolev training, Czarnecki
et al. 2017, with directional differences in place of derivatives, which a black box does not give).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixward.data.renders import PixelPairs
from pixward.image import quantize
from pixward.run import Run
from pixward.train.pretrain import restore, schedule
from pixward.types import Editor


@dataclass(frozen=True)
class ResponseTraining:
    """How to train a response.

    Attributes:
        steps: optimiser updates.
        batch: photos in an update; each is rendered twice.
        pixels: pixels read of each photo.
        learning_rate: peak of AdamW, on pretraining's schedule.
        nudge: standard deviation of the step between the two settings, in normalised units.
        slope_weight: weight of the difference's error, per unit of squared step.
        checkpoint_every: updates between checkpoints and log lines.
    """

    steps: int = 8_000
    batch: int = 32
    pixels: int = 256
    learning_rate: float = 2e-3
    nudge: float = 0.1
    slope_weight: float = 0.5
    checkpoint_every: int = 500


def live_pairs(
    editor: Editor,
    features: Callable[[Tensor], Tensor],
    draw: Callable[[int], tuple[Tensor, Tensor]],
    settings: ResponseTraining,
) -> Callable[[], PixelPairs]:
    """Batches rendered when they are asked for, of ``draw(n) -> (photos (n, 3, H, W), actions (n, d))``."""

    def pairs() -> PixelPairs:
        photos, first = draw(settings.batch)
        second = (first + settings.nudge * torch.randn_like(first)).clamp(-1, 1)
        pixels, before, after = _pixels(editor, features, photos, (first, second), settings.pixels)
        return PixelPairs(pixels, first, second, before, after)

    return pairs


def train_response(
    response: nn.Module, pairs: Callable[[], PixelPairs], settings: ResponseTraining, run: Run
) -> Iterator[dict[str, float]]:
    """Train ``response`` in place on the batches of ``pairs``; resumes from ``run``.

    Yields one log line per ``checkpoint_every`` updates: root mean square error of values and of slopes, and the size
    of the true slopes beside it.
    """
    optimizer = torch.optim.AdamW(response.parameters(), settings.learning_rate, weight_decay=1e-5)
    step = _resume(run, response, optimizer)
    sums: dict[str, float] = {}
    logged = step
    while step < settings.steps:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(step, settings.steps)
        value, slope, true_slope = pair_errors(response, pairs(), settings.nudge)
        optimizer.zero_grad()
        (value + settings.slope_weight * slope).backward()
        nn.utils.clip_grad_norm_(response.parameters(), 1.0)
        optimizer.step()
        step += 1
        for name, part in (("value", value), ("slope", slope), ("true_slope", true_slope)):
            sums[name] = sums.get(name, 0.0) + float(part.detach())
        if step % settings.checkpoint_every == 0 or step == settings.steps:
            count = step - logged
            line = {name: (total / count) ** 0.5 for name, total in sums.items()}
            sums, logged = {}, step
            run.log(step, line)
            run.save({"step": step, "response": response.state_dict(), "optimizer": optimizer.state_dict()})
            yield {"step": step, **line}


def pair_errors(response: nn.Module, batch: PixelPairs, nudge: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean squared errors of a response's values and slopes on ``batch``, and the mean square of the true slopes."""
    guess_before = _excuse(response(batch.pixels, batch.first), batch.before)
    guess_after = _excuse(response(batch.pixels, batch.second), batch.after)
    value = ((guess_before - batch.before) ** 2).mean()
    change = (guess_after - guess_before) - (batch.after - batch.before)
    slope = (change**2).mean() / nudge**2
    true_slope = ((batch.after - batch.before) ** 2).mean() / nudge**2
    return value, slope, true_slope


def _resume(run: Run, response: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    saved = run.load()
    if saved is None:
        return 0
    restore(run, saved, response, "response")
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])


def _pixels(
    editor: Editor,
    features: Callable[[Tensor], Tensor],
    photos: Tensor,
    settings: tuple[Tensor, Tensor],
    count: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same random pixels of each photo: features ``(B, N, F)`` and the two renders ``(B, N, 3)``, 8 bit."""
    with torch.no_grad():
        renders = [quantize(editor(photos, editor.space.denormalize(action))) for action in settings]
        where = torch.randint(photos.shape[2] * photos.shape[3], (photos.shape[0], count, 1), device=photos.device)

        def pick(image: Tensor) -> Tensor:
            flat = image.flatten(2).transpose(1, 2)
            return flat.gather(1, where.expand(-1, -1, flat.shape[2]))

        return pick(features(photos)), pick(renders[0]), pick(renders[1])


def _excuse(guess: Tensor, truth: Tensor) -> Tensor:
    """Where the render is clipped a guess beyond the rim is right: it says how deep in the clipping a pixel lies."""
    beyond = ((truth <= 0) & (guess < 0)) | ((truth >= 1) & (guess > 1))
    return torch.where(beyond, truth, guess)
