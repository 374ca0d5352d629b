"""Fitting a map between two editors' sliders: which setting of the one does what a setting of the other does.

The map is judged by what counts, the pixels: the differentiable editor, at the setting that the map names, must give
what the black box has given; and when the black box's sliders move a little, the same change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixward.data.renders import PixelPairs
from pixward.run import Run
from pixward.train.pretrain import restore, schedule
from pixward.train.response import pair_errors


@dataclass(frozen=True)
class CalibrationSettings:
    """How to fit a map.

    Attributes:
        steps: optimiser updates.
        learning_rate: peak of AdamW, on pretraining's schedule.
        nudge: of the pairs of renders, in normalised units.
        slope_weight: weight of the error of changes, per unit of squared step.
        reach: sliders of the differentiable editor beyond 1 cost the square of what lies beyond, times this.
        checkpoint_every: updates between checkpoints and log lines.
    """

    steps: int = 3_000
    learning_rate: float = 3e-3
    nudge: float = 0.1
    slope_weight: float = 0.1
    reach: float = 0.02
    checkpoint_every: int = 250


def calibrate(
    mapped: nn.Module,
    slider_map: Callable[[Tensor], Tensor],
    pairs: Callable[[], PixelPairs],
    settings: CalibrationSettings,
    run: Run,
) -> Iterator[dict[str, float]]:
    """Fit the map inside ``mapped`` (a response: pixels and sliders in, pixels out) on the batches of ``pairs``.

    ``slider_map`` is the map alone, whose overshoot is held back. Yields a log line per ``checkpoint_every`` updates;
    resumes from ``run``.
    """
    optimizer = torch.optim.AdamW(mapped.parameters(), settings.learning_rate, weight_decay=1e-4)
    step, sums = 0, dict[str, float]()
    saved = run.load()
    if saved is not None:
        restore(run, saved, mapped, "map")
        optimizer.load_state_dict(saved["optimizer"])
        step = int(saved["step"])
    logged = step
    while step < settings.steps:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(step, settings.steps)
        batch = pairs()
        value, slope, true_slope = pair_errors(mapped, batch, settings.nudge)
        beyond = (slider_map(batch.first).abs() - 1).clamp_min(0).square().mean()
        optimizer.zero_grad()
        (value + settings.slope_weight * slope + settings.reach * beyond).backward()
        nn.utils.clip_grad_norm_(mapped.parameters(), 1.0)
        optimizer.step()
        step += 1
        for name, part in (("value", value), ("slope", slope), ("true_slope", true_slope)):
            sums[name] = sums.get(name, 0.0) + float(part.detach())
        if step % settings.checkpoint_every == 0 or step == settings.steps:
            line = {name: (total / (step - logged)) ** 0.5 for name, total in sums.items()}
            sums, logged = {}, step
            run.log(step, line)
            run.save({"step": step, "map": mapped.state_dict(), "optimizer": optimizer.state_dict()})
            yield {"step": step, **line}
