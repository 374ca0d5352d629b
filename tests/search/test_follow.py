from __future__ import annotations

import torch

from pixward.editors.chain import PAPER
from pixward.envs.edit import EditEnv
from pixward.image import quantize
from pixward.policies.goal import GoalPolicy, GoalSettings
from pixward.search.follow import first_look, follow
from pixward.search.problem import Problem, run


def bold_policy(horizon=4) -> GoalPolicy:
    """Random weights that make large decisions."""
    torch.manual_seed(0)
    policy = GoalPolicy(GoalSettings(sliders=9, horizon=horizon, width=24, points=8))
    torch.nn.init.normal_(policy.head[-1].weight, std=0.3)
    return policy


def test_decides_as_in_the_environment_it_was_trained_in(make_problem):
    policy, made = bold_policy(), make_problem(PAPER, 1)
    problem = Problem(PAPER, quantize(made.source), made.goal, budget=20)
    run(follow(policy), problem, 0)
    env = EditEnv(PAPER, horizon=4)
    state = env.reset({"source": problem.source, "goal": problem.goal})
    first = first_look(problem, policy)
    assert {key: value.shape for key, value in first.items()} == {key: value.shape for key, value in state.items()}
    assert all(torch.equal(first[key], value) for key, value in state.items())
    for trial in problem.trials:
        with torch.no_grad():
            state, _ = env.step(state, policy(state))
        torch.testing.assert_close(trial.action, state["params"][0], atol=1e-5, rtol=0)
        assert int((trial.image.float() - 255 * state["image"][0]).abs().max()) <= 1
    moves = torch.stack([trial.action for trial in problem.trials]).diff(dim=0)
    assert bool((moves.abs().amax(1) > 1e-3).all())


def test_stops_after_its_horizon_or_the_budget(make_problem, black_box):
    for budget, renders in ((20, 4), (4, 4), (3, 3)):
        problem = make_problem(black_box, budget)
        black_box.rows.clear()
        run(follow(bold_policy()), problem, 0)
        assert len(problem.trials) == sum(black_box.rows) == renders


def test_ignores_the_seed(make_problem, black_box):
    first, second = (run(follow(bold_policy()), make_problem(black_box, 9), seed) for seed in (0, 1))
    assert all(torch.equal(a.action, b.action) for a, b in zip(first, second, strict=True))


def test_locked_sliders_do_not_move(make_problem, black_box):
    problem = make_problem(black_box, 9, locked={"exposure": 0.5, "contrast": -0.25})
    settings = [black_box.space.denormalize(trial.action) for trial in run(follow(bold_policy()), problem, 0)]
    assert {(round(float(s[0]), 5), round(float(s[5]), 5)) for s in settings} == {(0.5, -0.25)}
    assert len({round(float(s[4]), 5) for s in settings}) == 4
