"""Models that draw, tuned and untuned, at fixed seeds: what a reward gives them, and what it gives pictures of nothing.

Beside the models stand a blank picture, noise, and the best of several pictures of the untuned model: whoever may draw
N pictures and keep the best needs no tuning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pixward.bench.provenance import commit, hardware, today
from pixward.denoise.evaluate import Looks, figures, looked
from pixward.denoise.painter import Painter
from pixward.rewards.alignment import ClassAlignment
from pixward.train.pictures import PictureReward, judge


@dataclass(frozen=True)
class DenoiseBench:
    """What is measured.

    Attributes:
        models: by name, each as a function from steps to a painter; the first is the untuned one.
        steps: of drawing, each tried with each model.
        looks: the pictures.
        reward: what they are worth.
        scorer: who says whether they show what their prompts say; None for nobody.
        best_of: pictures of the untuned model of which the best by the reward is kept, at the most steps.
    """

    models: Mapping[str, Callable[[int], Painter]]
    steps: tuple[int, ...]
    looks: Looks
    reward: PictureReward
    scorer: ClassAlignment | None = None
    best_of: int = 4


COLUMNS = ("reward", "accuracy", "diversity", "kilobytes", "blank", "seconds", "network_calls")
"""Figures of a row; seconds and network calls are those of one picture."""


def run_denoise_bench(bench: DenoiseBench, watch: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Measure everything; ``watch`` is called with the name of what comes next.

    Returns:
        JSON: ``pictures``, ``prompts``, ``rows`` (``name``, ``steps`` or None, and :data:`COLUMNS`, None where there is
        nobody to measure it), ``commit``, ``hardware`` and ``date``.

    Raises:
        PixwardError: the reward fails or is no number for each picture, or more steps than a model has times.
    """
    tell = watch or (lambda name: None)
    count = len(bench.looks.named)
    rows = []
    for name, pictures in (("blank", _blank), ("noise", _noise)):
        tell(name)
        first = next(iter(bench.models.values()))(bench.steps[0])
        rows.append(_row(bench, name, None, pictures(count, first).to(first.pipeline.device)))
    for name, made in bench.models.items():
        for steps in bench.steps:
            tell(f"{name}, {steps} steps")
            rows.append(_measured(bench, name, made(steps), 1))
    untuned, made = next(iter(bench.models.items()))
    if bench.best_of > 1:
        best = f"{untuned}, best of {bench.best_of}"
        tell(best)
        rows.append(_measured(bench, best, made(max(bench.steps)), bench.best_of))
    head = {"pictures": count, "prompts": list(bench.looks.prompts), "rows": rows}
    return {**head, "commit": commit(), "hardware": hardware(), "date": today()}


def told(result: dict[str, Any]) -> list[list[str]]:
    """``result`` as a table of words, its head first; columns that nobody could fill are left out."""
    names = [name for name in COLUMNS if any(row[name] is not None for row in result["rows"])]
    heads = {"seconds": "s a picture", "network_calls": "network calls", "kilobytes": "kB"}
    table = [["", "steps", *(heads.get(name, name) for name in names)]]
    for row in result["rows"]:
        figures_told = ("" if row[name] is None else f"{row[name]:.4g}" for name in names)
        table.append([row["name"], "" if row["steps"] is None else str(row["steps"]), *figures_told])
    return table


def _measured(bench: DenoiseBench, name: str, painter: Painter, draws: int) -> dict[str, Any]:
    """A row of one painter; of ``draws`` pictures in each place the best by the reward counts."""
    looks, count = bench.looks, len(bench.looks.named)
    painter.read(looks.prompts)  # encoded once for all pictures, so no part of a picture's time
    painter.draw(looks.named[:1], [0])
    calls, seconds = painter.policy.calls, 0.0
    drawn, scores = [], []
    for turn in range(draws):
        began = time.perf_counter()
        # Seeds of their own; the first turn's are those of the rows above.
        drawn.append(looked(painter, replace(looks, seed=looks.seed + turn * count)))
        if drawn[-1].is_cuda:  # a GPU may still be at it
            torch.cuda.synchronize(drawn[-1].device)
        seconds += time.perf_counter() - began
        scores.append(judge(bench.reward, drawn[-1], looks.named, [{} for _ in looks.named])[0] if draws > 1 else [])
    pictures = drawn[0]
    if draws > 1:
        best = torch.tensor(scores).argmax(0)
        pictures = torch.stack(drawn)[best.to(pictures.device), torch.arange(count, device=pictures.device)]
    asked = (painter.policy.calls - calls) / count
    return _row(bench, name, painter.env.horizon, pictures) | {
        "seconds": round(seconds / count, 5),
        "network_calls": asked,
    }


def _row(bench: DenoiseBench, name: str, steps: int | None, pictures: Tensor) -> dict[str, Any]:
    found = figures(pictures, bench.looks, bench.reward, bench.scorer)
    measured = {column: None if column not in found else round(found[column], 6) for column in COLUMNS}
    return {"name": name, "steps": steps, **measured}


def _blank(count: int, painter: Painter) -> Tensor:
    return torch.full((count, *_shape(painter)), 0.5)


def _noise(count: int, painter: Painter) -> Tensor:
    return torch.rand(count, *_shape(painter), generator=torch.Generator().manual_seed(0))


def _shape(painter: Painter) -> tuple[int, int, int]:
    factor = int(painter.pipeline.vae_scale_factor)
    return 3, painter.env.latent[1] * factor, painter.env.latent[2] * factor
