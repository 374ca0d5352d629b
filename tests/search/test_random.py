from __future__ import annotations

import torch

from pixward.search.problem import run
from pixward.search.random import random_search


def test_spends_the_whole_budget_uniformly(make_problem, black_box) -> None:
    problem = make_problem(black_box, 300)
    actions = torch.stack([trial.action for trial in run(random_search, problem, 0)])
    assert actions.shape == (300, 9)
    # Uniform on [-1, 1]: mean 0, standard deviation 1/sqrt(3); three standard errors of 300 draws are 0.1.
    assert actions.mean(0).abs().max() < 0.12
    assert (actions.std(0) - 3**-0.5).abs().max() < 0.07
    assert len(actions.unique(dim=0)) == 300


def test_same_seed_same_draws(make_problem, black_box) -> None:
    first, again, other = (
        torch.stack([trial.action for trial in run(random_search, make_problem(black_box, 20), seed)])
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
