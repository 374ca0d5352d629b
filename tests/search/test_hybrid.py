from __future__ import annotations

import pytest
import torch
from tests.search.linear import linear_problem
from tests.search.test_follow import bold_policy

from pixward.editors.chain import PAPER
from pixward.policies.goal import GoalPolicy, GoalSettings
from pixward.policies.response import Response, ResponseSettings, load_response
from pixward.policies.weights import find_weights
from pixward.search.hybrid import hybrid
from pixward.search.least_squares import least_squares
from pixward.search.problem import best_so_far, psnr, run


def timid_policy(sliders=9) -> GoalPolicy:
    """Never trained: stays where it is."""
    torch.manual_seed(0)
    return GoalPolicy(GoalSettings(sliders, horizon=4, width=24, points=8))


def random_response(sliders=9) -> Response:
    torch.manual_seed(0)
    return Response(ResponseSettings(sliders, width=8, layers=2))


NETWORKS = {
    "bold policy and random response": lambda: (bold_policy(), random_response()),
    "timid policy and random response": lambda: (timid_policy(), random_response()),
    "bold policy alone": lambda: (bold_policy(), None),
    "timid policy alone": lambda: (timid_policy(), None),
    "random response alone": lambda: (None, random_response()),
    "no network": lambda: (None, None),
}
every_pair = pytest.mark.parametrize("networks", NETWORKS.values(), ids=NETWORKS.keys())


@every_pair
def test_networks_that_know_nothing_do_no_lasting_harm(make_problem, black_box, networks):
    ends = []
    for solver in (least_squares, hybrid(*networks())):
        problem = make_problem(black_box, 90, radius=0.4)
        black_box.rows.clear()
        run(solver, problem, 0)
        assert len(problem.trials) == sum(black_box.rows) <= 90
        ends.append(psnr(problem.best.mse))
    assert ends[0] > 45
    assert ends[1] > min(ends[0], 55) - 8


@every_pair
@pytest.mark.parametrize("budget", [1, 12, 30])
def test_spends_its_budget_on_settings_that_differ(make_problem, black_box, networks, budget):
    problem = make_problem(black_box, budget)
    problem.goal = problem.goal.flip(-1)  # No setting reaches that, so nothing ends the search early.
    black_box.rows.clear()
    run(hybrid(*networks()), problem, 0)
    assert len(problem.trials) == sum(black_box.rows) == budget
    assert len(torch.stack([trial.action for trial in problem.trials]).unique(dim=0)) == budget


@every_pair
def test_same_seed_same_search(make_problem, black_box, networks):
    actions = []
    for seed in (0, 0, 1):
        # Three free sliders: the first search ends soon, and the seed says where the next begins.
        problem = make_problem(black_box, 32, locked=dict.fromkeys(black_box.space.names[:6], 0.9))
        problem.goal = problem.goal.flip(-1)
        run(hybrid(*networks()), problem, seed)
        actions.append(torch.stack([trial.action for trial in problem.trials]))
    assert torch.equal(actions[0], actions[1])
    assert torch.equal(actions[0][0], actions[2][0])
    assert not torch.equal(actions[0], actions[2])


@every_pair
def test_locked_sliders_do_not_move(make_problem, black_box, networks):
    problem = make_problem(black_box, 25, locked={"exposure": 0.5, "contrast": -0.25})
    settings = [black_box.space.denormalize(trial.action) for trial in run(hybrid(*networks()), problem, 0)]
    assert {(round(float(s[0]), 5), round(float(s[5]), 5)) for s in settings} == {(0.5, -0.25)}


def test_without_networks_it_is_least_squares_at_first(make_problem, black_box):
    first, second = (run(solver, make_problem(black_box, 12), 0) for solver in (hybrid(None, None), least_squares))
    assert all(torch.equal(a.action, b.action) for a, b in zip(first, second, strict=True))


def test_an_exact_match_ends_it():
    problem = linear_problem([0.4, -0.2, 0.6, 0.08], 60)
    run(hybrid(timid_policy(4), None), problem, 0)
    assert problem.best.mse == 0
    assert len(problem.trials) <= 4 + 5
    assert problem.trials[-1].mse == 0


def test_without_a_response_the_policy_goes_on_while_it_gains(make_problem, black_box):
    class Homing(GoalPolicy):
        """Goes nine tenths of the way that is left."""

        def forward(self, state):
            return state["params"] + 0.9 * (aim - state["params"])

    problem = make_problem(black_box, 40)
    aim = problem.space.default_action()[0] + 0.4
    problem.goal = (black_box(problem.source, problem.space.denormalize(aim[None])) * 255).round() / 255
    run(hybrid(Homing(GoalSettings(9, horizon=4, width=24, points=8)), None), problem, 0)
    start = problem.start
    for k in range(4):
        torch.testing.assert_close(problem.trials[k].action, aim + (start - aim) * 0.1 ** (k + 1), atol=1e-5, rtol=0)


@pytest.mark.skipif(find_weights(PAPER.name, "response") is None, reason="no response of chain:paper is shipped")
def test_a_trained_response_is_worth_many_renders(make_problem, black_box):
    gains = []
    for seed in range(2):
        curves = []
        for solver in (least_squares, hybrid(None, load_response(PAPER.name))):
            problem = make_problem(black_box, 10, radius=0.7, seed=seed)
            run(solver, problem, 0)
            curves.append(psnr(best_so_far(problem)[-1]))
        gains.append(curves[1] - curves[0])
    assert min(gains) > 3
