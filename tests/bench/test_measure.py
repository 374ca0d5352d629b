from __future__ import annotations

import pytest
import torch

from pixward.bench.goals import Pair
from pixward.bench.measure import Scorer, measure, time_search
from pixward.editors.chain import PAPER
from pixward.image import quantize
from pixward.metrics import image as metrics
from pixward.search.problem import Problem, psnr

SOURCE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2
ACTION = torch.tensor([0.3, 0.1, -0.1, 0.2, 0.2, 0.1, 0.0, 0.0, -0.2])
GOAL = quantize(PAPER(SOURCE, PAPER.space.denormalize(ACTION[None])))
PAIR = Pair(0, "photo.png", SOURCE, GOAL, ACTION, 0)
MARKS = [0, 1, 5, 10, 15]


def steps(problem: Problem, seed: int) -> None:
    """Worse than the photo, nearer, worse again, and on the goal with the seventh render."""
    for factor in (-1.0, -2.0, 0.5, 0.2, 0.2, 0.7, 1.0):
        problem.render(ACTION[None] * factor)


def unit(solver, budget: int = 20) -> dict:
    return measure(PAIR, PAPER, solver, renders=20, budget=budget, seed=0, marks=MARKS, scorer=Scorer())


def test_curve_holds_the_best_picture_in_hand() -> None:
    found = unit(steps)
    untouched = psnr(float(((quantize(SOURCE) - GOAL) ** 2).mean()))
    half = quantize(PAPER(SOURCE, PAPER.space.denormalize(ACTION[None] * 0.5)))
    assert len(found["psnr"]) == 21
    assert found["psnr"][:3] == pytest.approx([untouched] * 3, abs=1e-3)
    assert found["psnr"][3:6] == pytest.approx([float(metrics.psnr(half, GOAL))] * 3, abs=1e-3)
    assert found["psnr"][7:] == [100.0] * 14
    assert found["renders"] == 7
    assert found["rendered_again"] == 100


def test_scores_are_of_the_picture_in_hand_at_each_mark() -> None:
    at = unit(steps)["at"]
    half = quantize(PAPER(SOURCE, PAPER.space.denormalize(ACTION[None] * 0.5)))
    assert at["0"]["ssim"] == at["1"]["ssim"] == pytest.approx(float(metrics.ssim(quantize(SOURCE), GOAL)), abs=1e-5)
    assert at["5"]["ssim"] == pytest.approx(float(metrics.ssim(half, GOAL)), abs=1e-5)
    assert at["5"]["delta_e"] == pytest.approx(float(metrics.delta_e(half, GOAL)), abs=1e-5)
    assert at["10"]["delta_e"] == 0
    assert set(at["15"]) == {"seconds"}  # a promise about PSNR alone
    assert 0 == at["0"]["seconds"] < at["1"]["seconds"] <= at["5"]["seconds"] <= at["10"]["seconds"]


def test_what_counts_for_nothing_changes_no_score() -> None:
    weight = torch.ones(1, 1, 16, 16)
    weight[..., 8:] = 0
    torn = GOAL.clone()
    torn[..., 8:] = 0
    pair = Pair(0, "photo.png", SOURCE, torn, None, 0, weight)
    found = measure(pair, PAPER, steps, renders=20, budget=20, seed=0, marks=MARKS, scorer=Scorer())
    assert found["psnr"][7] == found["rendered_again"] == 100
    assert found["at"]["10"]["delta_e"] == 0
    assert found["psnr"][0] < 50


def test_untouched_photo_is_returned_where_nothing_beats_it() -> None:
    found = unit(lambda problem, seed: [problem.render(-ACTION[None])].clear())
    assert found["setting"] == PAPER.space.to_dict(PAPER.space.defaults())
    assert found["rendered_again"] == pytest.approx(found["psnr"][0], abs=1e-3)
    assert unit(lambda problem, seed: None)["psnr"] == [found["psnr"][0]] * 21


def test_pictures_are_scored_only_where_they_changed() -> None:
    calls = []

    class Counting(Scorer):
        def __call__(self, image, goal):
            calls.append(image)
            return super().__call__(image, goal)

    scorer = Counting()
    for _ in range(2):
        measure(PAIR, PAPER, steps, renders=20, budget=20, seed=0, marks=MARKS, scorer=scorer)
    assert len(calls) == 1 + 2 * 2  # the photo once for both searches, then two pictures each


def test_budget_of_its_own() -> None:
    found = unit(steps, budget=3)
    assert found["renders"] == 3
    assert found["psnr"][3:] == found["psnr"][3:4] * 18


def test_timed_search() -> None:
    found = time_search(PAIR, PAPER, steps, renders=5, seed=0)
    assert found["renders"] == 5
    assert found["seconds"] > 0


def test_lpips_beside_the_other_scores(shared_data) -> None:
    weights = shared_data / "models" / "lpips_alex.safetensors"
    if not weights.is_file():
        pytest.skip(f"needs {weights}")
    big = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(2))
    scores = Scorer(weights)(big, big.flip(3))
    assert set(scores) == {"ssim", "delta_e", "lpips"}
    assert scores["lpips"] > 0.05
