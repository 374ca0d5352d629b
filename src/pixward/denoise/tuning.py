"""Tuning a model that draws: prompts, a reward, an algorithm, and a look at the same pictures at every checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pixward.denoise.evaluate import Looks, figures, looked
from pixward.denoise.painter import Painter
from pixward.rewards.alignment import ClassAlignment
from pixward.run import Run
from pixward.train.direct import DirectSettings, direct
from pixward.train.pictures import PictureReward, PictureTask
from pixward.train.ppo import ppo
from pixward.train.ppo_settings import PPOSettings
from pixward.train.workers import Batch, Workers


@dataclass(frozen=True)
class Tuning:
    """What to tune for.

    Attributes:
        prompts: to draw, at random.
        reward: what a picture is worth.
        settings: how: by policy gradient, or by the reward's own.
        looks: what is looked at, at each checkpoint, by a name for its figures, such as ``train`` and ``held-out``.
        scorer: who says whether pictures show what their prompts say; None for nobody.
        shown: is handed the pictures of each look and the number of sets so far, to be kept or shown.
    """

    prompts: tuple[str, ...]
    reward: PictureReward
    settings: PPOSettings | DirectSettings
    looks: Mapping[str, Looks]
    scorer: ClassAlignment | None = None
    shown: Callable[[str, Tensor, int], Any] | None = None


def prompt_batches(painter: Painter, prompts: tuple[str, ...], seed: int) -> Callable[[int, int], Batch]:
    """``batches(i, count)``: small batch ``i`` of ``count`` of the prompts, drawn at random."""

    def batches(index: int, count: int) -> Batch:
        rng = np.random.default_rng([seed, index])
        named = [prompts[int(at)] for at in rng.integers(len(prompts), size=count)]
        return {"prompts": named, **painter.read(named)}

    return batches


def tune(painter: Painter, tuning: Tuning, run: Run | None, workers: Workers) -> Iterator[dict[str, float]]:
    """Tune ``painter`` in place; yields a line of figures after each checkpoint, the first before any update.

    Beside the figures of :func:`pixward.train.ppo.ppo` or :func:`pixward.train.direct.direct` a line has those of
    :func:`pixward.denoise.evaluate.figures` as ``NAME/figure``, and ``cpu_seconds``, what the updates since the line
    before took of this process.

    Raises:
        PixwardError: see there.
    """
    mark = time.process_time()

    def evaluate(step: int) -> dict[str, float]:
        nonlocal mark
        found = {"cpu_seconds": time.process_time() - mark}
        for name, looks in tuning.looks.items():
            pictures = looked(painter, looks)
            if tuning.shown is not None:
                tuning.shown(name, pictures, step)
            seen = figures(pictures, looks, tuning.reward, tuning.scorer)
            found |= {f"{name}/{figure}": value for figure, value in seen.items()}
        mark = time.process_time()
        return found

    # Every process has to hear it from the first, which alone has the run.
    if not workers.share(run is not None and run_begun(run.folder)):
        painter.policy.eval()
        line = workers.share(evaluate(0) | {"cpu_seconds": 0.0, "queries": 0} if workers.first else None)
        if run is not None:
            run.log(0, line)
        yield {"step": 0, **line}
    task = PictureTask(prompt_batches(painter, tuning.prompts, tuning.settings.seed), tuning.reward)
    mark = time.process_time()
    start = painter.start() if tuning.settings.kl > 0 else None
    if isinstance(tuning.settings, DirectSettings):
        yield from direct(painter.env, painter.policy, task, tuning.settings, run, workers, start, evaluate)
    else:
        yield from ppo(painter.env, painter.policy, task, tuning.settings, run, workers, start, evaluate)


def run_begun(folder: Path) -> bool:
    """Whether a run folder has a checkpoint to go on from."""
    return (folder / "checkpoint.pt").exists()
