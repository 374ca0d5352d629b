from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from pixward.editors.chain import PAPER, PHOTO, Chain
from pixward.search.gradient import _box_step, gradient
from pixward.search.problem import Problem, best_so_far, psnr, run


def flipped(problem: Problem, locked: dict[str, float] | None = None) -> Problem:
    """The same problem with its goal mirrored, which no slider can do."""
    return Problem(problem.editor, problem.source, problem.goal.flip(-1), budget=problem.budget, locked=locked)


@pytest.mark.parametrize("editor", [PAPER, PHOTO], ids=["paper", "photo"])
def test_finds_the_goals_sliders(make_problem, editor: Chain) -> None:
    problem = make_problem(editor, 60)
    run(gradient, problem, 0)
    assert psnr(problem.best.mse) > 55
    curve = [psnr(mse) for mse in best_so_far(problem)]
    assert curve[min(10, len(curve) - 1)] > curve[0] + 20


def test_stops_once_the_goal_is_found(make_problem) -> None:
    problem = make_problem(PAPER, 200, radius=0.2)
    run(gradient, problem, 0)
    assert psnr(problem.best.mse) > 58.9
    assert problem.left > 100


def test_restarts_by_the_seed_where_the_goal_is_out_of_reach(make_problem) -> None:
    actions = []
    for seed in (0, 0, 1):
        problem = flipped(make_problem(PAPER, 60))
        run(gradient, problem, seed)
        assert problem.best.mse <= problem.trials[0].mse
        actions.append(torch.stack([trial.action for trial in problem.trials]))
    assert torch.equal(actions[0], actions[1])
    assert torch.equal(actions[0][:5], actions[2][:5])
    assert not torch.equal(actions[0], actions[2])


def test_gives_up_when_restarts_gain_nothing(make_problem) -> None:
    # One slider and a flipped goal: every start ends in the same minimum, and the budget is not wasted on it.
    locked = {spec.name: spec.default for spec in PAPER.space.specs[1:]}
    problem = flipped(make_problem(PAPER, 400), locked)
    run(gradient, problem, 0)
    assert problem.left > 100


def test_locked_sliders_do_not_move(make_problem) -> None:
    problem = make_problem(PAPER, 20, locked={"wb_red": 1.2})
    settings = [PAPER.space.denormalize(trial.action) for trial in run(gradient, problem, 0)]
    assert {round(float(setting[1]), 5) for setting in settings} == {1.2}


def test_box_step_equals_a_bounded_minimiser() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        root = rng.standard_normal((6, 4))
        normal, slope = root.T @ root, rng.standard_normal(4)
        point = np.array([1.0, -0.9, 0.2, -1.0])
        bounds = list(zip(np.maximum(-1 - point, -0.4), np.minimum(1 - point, 0.4), strict=True))
        expected = minimize(lambda d, n=normal, s=slope: d @ n @ d + 2 * s @ d, np.zeros(4), bounds=bounds, tol=1e-12)
        np.testing.assert_allclose(_box_step(normal, slope, point, 0.4), expected.x, atol=1e-4)


def test_a_black_box_is_refused(make_problem, black_box) -> None:
    with pytest.raises(ValueError, match="needs a differentiable editor"):
        run(gradient, make_problem(black_box, 10), 0)
