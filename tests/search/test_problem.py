from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.editors.chain import PAPER, PHOTO, Chain
from pixward.search.problem import BudgetSpent, Goal, Problem, best_so_far, psnr, run


@pytest.fixture
def problem(make_problem, black_box) -> Problem:
    return make_problem(black_box, 5)


def test_every_row_costs_one_render(problem: Problem, black_box) -> None:
    problem.trials.clear()
    before = len(black_box.rows)
    assert problem.render(torch.zeros(3, 9)).shape == (3, *problem.goal.shape[1:])
    assert (problem.left, len(problem.trials)) == (2, 3)
    with pytest.raises(BudgetSpent):
        problem.render(torch.zeros(3, 9))
    assert (problem.left, len(problem.trials)) == (0, 5)
    with pytest.raises(BudgetSpent):
        problem.render(torch.zeros(1, 9))
    assert sum(black_box.rows[before:]) == 5


def test_trials_hold_eight_bit_pictures_and_their_error(problem: Problem) -> None:
    images = problem.render(torch.full((1, 9), 0.3))
    trial = problem.trials[0]
    assert trial.image.dtype == torch.uint8
    torch.testing.assert_close(trial.image / 255, images[0])
    assert trial.mse == pytest.approx(float((images - problem.goal).square().mean()))
    torch.testing.assert_close(problem.goal * 255, (problem.goal * 255).round())


def test_the_goals_own_sliders_match_exactly(black_box) -> None:
    source = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    action = torch.full((1, 9), 0.25)
    problem = Problem(black_box, source, PAPER(source, PAPER.space.denormalize(action)), budget=1)
    problem.render(action)
    assert problem.trials[0].mse == 0
    assert psnr(problem.trials[0].mse) == pytest.approx(100)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-3, 3, width=32), min_size=7, max_size=7))
def test_locked_sliders_stay_and_free_ones_are_clamped(values: list[float]) -> None:
    picture = torch.full((1, 3, 4, 4), 0.5)
    problem = Problem(PAPER, picture, picture, budget=1, locked={"exposure": 1.0, "texture": 0.5})
    assert problem.dim == 7
    full = problem.fill(torch.tensor([values]))
    setting = PAPER.space.to_dict(PAPER.space.denormalize(full)[0])
    assert (setting["exposure"], setting["texture"]) == (1.0, 0.5)
    torch.testing.assert_close(full[0, problem.free], torch.tensor(values).clamp(-1, 1))


def test_best_and_the_curve_follow_the_lowest_error(problem: Problem) -> None:
    assert problem.best is None
    problem.render(torch.rand(5, 9, generator=torch.Generator().manual_seed(3)) * 2 - 1)
    errors = [trial.mse for trial in problem.trials]
    assert problem.best is problem.trials[errors.index(min(errors))]
    curve = best_so_far(problem)
    assert curve == [min([problem.source_mse, *errors[:k]]) for k in range(6)]


def test_run_ends_quietly_and_tells_of_each_render(black_box) -> None:
    seen: list[float] = []
    picture = torch.full((1, 3, 4, 4), 0.5)
    problem = Problem(black_box, picture, picture, budget=3, on_render=lambda trial: seen.append(trial.mse))

    def forever(problem: Problem, seed: int) -> None:
        while True:
            problem.render(torch.full((2, problem.dim), float(seed)))

    trials = run(forever, problem, 1)
    assert [trial.mse for trial in trials] == seen
    assert len(seen) == 3


def test_source_error_and_psnr_by_hand() -> None:
    problem = Problem(PAPER, torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.2), budget=1)
    assert problem.source_mse == pytest.approx(0.04)
    assert psnr(0.04) == pytest.approx(13.979, abs=1e-3)


def test_what_cannot_be_searched_is_refused() -> None:
    picture = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match="must both be"):
        Problem(PAPER, picture, torch.zeros(1, 3, 4, 5), budget=1)
    with pytest.raises(ValueError, match="at least one render"):
        Problem(PAPER, picture, picture, budget=0)
    with pytest.raises(ValueError, match="unknown slider"):
        Problem(PAPER, picture, picture, budget=1, locked={"sparkle": 1})
    with pytest.raises(ValueError, match="outside"):
        Problem(PAPER, picture, picture, budget=1, locked={"exposure": 9})
    with pytest.raises(ValueError, match="every slider is locked"):
        Problem(PAPER, picture, picture, budget=1, locked=PAPER.space.to_dict(PAPER.space.defaults()[0]))


@pytest.mark.parametrize("editor", [PAPER, PHOTO], ids=["paper", "photo"])
def test_derivative_equals_finite_differences(editor: Chain) -> None:
    generator = torch.Generator().manual_seed(5)
    picture = 0.2 + 0.6 * torch.rand(1, 3, 12, 15, generator=generator, dtype=torch.float64)
    problem = Problem(editor, picture, picture, budget=1, locked={"contrast": editor.space.specs[5].high / 4})
    free = 0.3 * (2 * torch.rand(1, problem.dim, generator=generator) - 1)
    problem.render(free)
    image, slopes = problem.derivative(problem.trials[0])
    assert problem.left == 0
    assert slopes.shape == (problem.dim, 3, 12, 15)
    step = 1e-3

    def picture_at(row: torch.Tensor) -> torch.Tensor:
        return editor(picture, editor.space.denormalize(problem.fill(row)))[0]

    torch.testing.assert_close(image, picture_at(free), atol=1e-5, rtol=0)
    for slider in range(problem.dim):
        change = step * torch.eye(problem.dim)[slider : slider + 1]
        difference = (picture_at(free + change) - picture_at(free - change)) / (2 * step)
        # A few pixels cross a clip between the two renders: compare the middle of the errors, not the worst.
        assert float((slopes[slider] - difference).abs().quantile(0.9)) < 5e-3
        assert float(difference.abs().mean()) > 1e-3


def test_derivative_keeps_its_slope_on_the_rim() -> None:
    picture = torch.full((1, 3, 3, 3), 0.1)
    problem = Problem(PAPER, picture, picture, budget=2)
    inside, rim = torch.zeros(2, 9)
    inside[0], rim[0] = 0.999, 1.0
    problem.render(torch.stack([inside, rim]))
    slopes = [problem.derivative(trial)[1][0] for trial in problem.trials]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0.01, atol=0)


def test_derivative_needs_a_differentiable_editor(problem: Problem) -> None:
    problem.render(torch.zeros(1, 9))
    with pytest.raises(ValueError, match="black-box has no gradients"):
        problem.derivative(problem.trials[0])


def test_weights_by_hand(black_box) -> None:
    source, goal = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    goal[..., 0, 0], goal[..., 1, 1] = 0.4, 1.0
    weight = torch.tensor([[3.0, 1.0], [0.0, 0.0]])[None, None]
    problem = Problem(black_box, source, Goal(goal, weight), budget=1)
    # Three parts of four lie on an error of 0.4, one on none, and what has no weight counts for nothing.
    assert problem.source_mse == pytest.approx(0.75 * 0.4**2, rel=1e-5)
    plain = Problem(black_box, source, Goal(goal, torch.full((1, 1, 2, 2), 7.0)), budget=1)
    assert plain.source_mse == pytest.approx(Problem(black_box, source, goal, budget=1).source_mse, rel=1e-6)


@pytest.mark.parametrize("weight", [torch.zeros(1, 1, 2, 2), -torch.ones(1, 1, 2, 2), torch.ones(1, 3, 2, 2)])
def test_weights_that_make_no_sense_are_refused(black_box, weight: torch.Tensor) -> None:
    picture = torch.rand(1, 3, 2, 2)
    with pytest.raises(ValueError, match="weights must be"):
        Problem(black_box, picture, Goal(picture, weight), budget=1)
