from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from tests.search.linear import linear_problem

from pixward.editors.chain import PHOTO
from pixward.params import ParamSpace, ParamSpec
from pixward.search.least_squares import least_squares, walk
from pixward.search.model import EditorModel
from pixward.search.problem import Problem, best_so_far, psnr, run


@pytest.mark.parametrize("goal", [[0.4, -0.2, 0.6, 0.08], [-1.0, 1.0, 0.2, 0.0]])
def test_a_linear_editor_is_solved_in_dim_and_three_renders(goal):
    problem = linear_problem(goal, 50)
    run(least_squares, problem, 0)
    assert problem.best.mse == 0
    assert len(problem.trials) <= problem.dim + 3
    torch.testing.assert_close(problem.best.action, torch.tensor(goal), atol=0.03, rtol=0)


def test_fewer_free_sliders_cost_fewer_renders():
    problem = linear_problem([0.4, -0.2, 0.6, 0.08], 50, locked={"b": -0.2, "d": 0.08})
    run(least_squares, problem, 0)
    assert problem.best.mse == 0
    assert len(problem.trials) <= 2 + 3
    assert {(round(float(t.action[1]), 5), round(float(t.action[3]), 5)) for t in problem.trials} == {(-0.2, 0.08)}


def test_the_goal_in_hand_ends_it_at_once():
    problem = linear_problem([0.0] * 4, 50)
    run(least_squares, problem, 0)
    assert len(problem.trials) == 1


@pytest.mark.parametrize("editor", ["black box", "photo"])
def test_finds_the_goal_without_gradients(make_problem, black_box, editor):
    problem = make_problem(black_box if editor == "black box" else PHOTO, 80)
    run(least_squares, problem, 0)
    curve = [psnr(mse) for mse in best_so_far(problem)]
    assert max(curve) > 45
    assert max(curve) > curve[0] + 20


@pytest.mark.parametrize("budget", [1, 5, 31])
def test_spends_its_budget_and_no_setting_twice(make_problem, black_box, budget):
    problem = make_problem(black_box, budget, radius=1.0)
    problem.goal = problem.goal.flip(-1)  # No setting reaches that, so nothing ends the search early.
    black_box.rows.clear()
    run(least_squares, problem, 0)
    assert len(problem.trials) == sum(black_box.rows) == budget
    actions = torch.stack([trial.action for trial in problem.trials])
    assert len(actions.unique(dim=0)) == budget


def test_restarts_by_the_seed(make_problem, black_box):
    actions = []
    for seed in (0, 0, 1):
        problem = make_problem(black_box, 70)
        problem.goal = problem.goal.flip(-1)
        run(least_squares, problem, seed)
        actions.append(torch.stack([trial.action for trial in problem.trials]))
    assert torch.equal(actions[0], actions[1])
    assert torch.equal(actions[0][:10], actions[2][:10])
    assert not torch.equal(actions[0], actions[2])


def test_locked_sliders_do_not_move(make_problem, black_box):
    problem = make_problem(black_box, 60, locked={"exposure": 0.5, "contrast": -0.25})
    settings = [black_box.space.denormalize(trial.action) for trial in run(least_squares, problem, 0)]
    assert {(round(float(s[0]), 5), round(float(s[5]), 5)) for s in settings} == {(0.5, -0.25)}


SIX = ParamSpace([ParamSpec(letter, -1, 1, 0, "", "One of three.") for letter in "abcdef"])


@dataclass(frozen=True)
class Redundant:
    """Three sliders for exposure and three for a power: no goal says which of three was meant."""

    name: str = "redundant"
    space: ParamSpace = SIX
    differentiable: bool = False

    def __call__(self, images, params):
        gain, power = params[:, [0, 1, 4]].sum(1), params[:, [2, 3, 5]].sum(1)
        gain, power = (value[:, None, None, None].exp() for value in (0.5 * gain, 0.7 * power))
        return (images * gain).clamp(0, 1).pow(power)


# Photo 14 brought the normal matrix of float32 sums below zero.
@pytest.mark.parametrize("seed", [2, 14])
def test_sliders_that_do_the_same_do_not_stop_it(seed):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    source = torch.nn.functional.interpolate(coarse, (20, 24), mode="bicubic").clamp(0, 1)
    editor = Redundant()
    action = 1.6 * torch.rand(1, 6, generator=torch.Generator().manual_seed(seed + 1)) - 0.8
    problem = Problem(editor, source, editor(source, action), budget=80)
    run(least_squares, problem, seed)
    assert psnr(problem.best.mse) > 60


def test_a_hint_is_asked_last_and_believed():
    goal = [0.4, -0.2, 0.6, 0.08]
    problem, asked = linear_problem(goal, 50), []

    def hint(setting, image):
        asked.append((setting.tolist(), image.shape))
        return torch.tensor(goal)

    model = EditorModel(problem)
    model.learn(problem.start, problem.render(problem.start[None]), move=True)
    # The model knows no slope, so it wants to stay; the hint knows the goal.
    walk(problem, model, patience=3, hint=hint)
    assert asked == [([0, 0, 0, 0], (1, 3, 12, 14))]
    assert len(problem.trials) == 2
    assert model.error() < 1e-12


def test_a_hint_to_stay_costs_nothing_and_a_bad_one_is_not_followed():
    for answer, renders in ((0.0, 1), (-0.8, 2)):
        problem = linear_problem([0.4, 0.4, 0.4, 0.4], 50)
        model = EditorModel(problem)
        model.learn(problem.start, problem.render(problem.start[None]), move=True)
        walk(problem, model, patience=1, hint=lambda setting, image, a=answer: torch.full((4,), a))
        assert len(problem.trials) == renders
        assert torch.equal(model.anchor, problem.start)


def test_a_walk_needs_a_start():
    problem = linear_problem([0.4] * 4, 5)
    with pytest.raises(ValueError, match="render first"):
        walk(problem, EditorModel(problem))
