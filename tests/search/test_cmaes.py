from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from pixward.search.cmaes import cmaes
from pixward.search.problem import Problem, best_so_far, psnr, run

pytest.importorskip("cma")


def test_beats_where_it_started_by_far(make_problem, black_box) -> None:
    problem = make_problem(black_box, 200)
    trials = run(cmaes, problem, 0)
    assert len(trials) == 200
    assert all(float(trial.action.abs().max()) <= 1 for trial in trials)
    curve = [psnr(mse) for mse in best_so_far(problem)]
    assert curve[200] > curve[0] + 10


def test_draws_depend_on_the_seed_alone(make_problem, black_box) -> None:
    np.random.seed(1)  # noqa: NPY002 - cma could read numpy's global generator
    first = run(cmaes, make_problem(black_box, 40), 0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    again = run(cmaes, make_problem(black_box, 40), 0)
    other = run(cmaes, make_problem(black_box, 40), 1)
    assert [t.mse for t in first] == [t.mse for t in again]
    assert [t.mse for t in first] != [t.mse for t in other]
    np.random.seed(1)  # noqa: NPY002
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002 - and must not disturb it


@pytest.mark.parametrize("free", [["exposure"], ["exposure", "wb_red"]])
def test_one_and_two_sliders(make_problem, black_box, free: list[str]) -> None:
    locked = {spec.name: spec.default for spec in black_box.space if spec.name not in free}
    problem = make_problem(black_box, 150, locked=locked)
    assert problem.dim == len(free)
    goal = black_box.space.from_dict({"exposure": 0.8})
    problem.goal = (black_box(problem.source, goal[None]) * 255).round() / 255
    run(cmaes, problem, 0)
    assert float(black_box.space.denormalize(problem.best.action)[0]) == pytest.approx(0.8, abs=0.03)


def test_restarts_when_it_stalls(make_problem, black_box) -> None:
    # A goal that no slider changes: every picture is black, so cma stops by itself long before the budget.
    black = torch.zeros(1, 3, 4, 4)
    problem = Problem(black_box, black, black + 0.5, budget=700)
    # A stalled run and its restart differ in population, which shows as the number of rows per call.
    run(cmaes, problem, 0)
    assert len(problem.trials) == 700
    sizes = black_box.rows[:-1]
    assert all(after in (before, 2 * before) for before, after in pairwise(sizes))
    assert sizes[-1] >= 2 * sizes[0]
