from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear, minimize
from tests.search.linear import Linear, linear_problem

from pixward.editors.chain import PAPER
from pixward.policies.nets import grid_points
from pixward.policies.response import Response, ResponseSettings, pixel_features
from pixward.search.model import POINTS, EditorModel, box_step, propose
from pixward.search.problem import Goal, Problem


def response(sliders=9) -> Response:
    torch.manual_seed(0)
    return Response(ResponseSettings(sliders, width=16, layers=2))


def setting(problem, seed, size=0.6):
    return size * (2 * torch.rand(problem.dim, generator=torch.Generator().manual_seed(seed)) - 1)


# --- what the model believes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("knows", [False, True], ids=["no response", "random response"])
@pytest.mark.parametrize("move", [False, True])
def test_what_was_learnt_is_predicted_exactly(make_problem, black_box, knows, move):
    problem = make_problem(black_box, 9, locked={"contrast": 0.2})
    model = EditorModel(problem, response() if knows else None)
    places = [setting(problem, seed) for seed in range(3)]
    renders = [problem.render(place[None]) for place in places]
    model.learn(places[0], renders[0], move=True)
    for place, render in zip(places[1:], renders[1:], strict=True):
        before = model.anchor
        model.learn(place, render, move=move)
        # The secant condition, from either end of the way between anchor and render.
        torch.testing.assert_close(model.predict(place), model.read(render), atol=2e-5, rtol=0)
        expected = dict(zip(map(id, places), renders, strict=True))[id(before)]
        torch.testing.assert_close(model.predict(before), model.read(expected), atol=2e-5, rtol=0)
        assert model.anchor is (place if move else places[0])
    assert torch.equal(model.image, renders[2] if move else renders[0])
    assert model.error() == pytest.approx(problem.trials[2 if move else 0].mse, rel=1e-4)


def test_broyden_changes_nothing_across_the_way(make_problem, black_box):
    problem = make_problem(black_box, 20)
    model = EditorModel(problem)
    here, there = setting(problem, 0), setting(problem, 1)
    model.learn(here, problem.render(here[None]), move=True)
    model.measure(0.04)
    here, before = model.anchor, model.slopes(model.anchor)
    model.learn(there, problem.render(there[None]), move=False)
    way = there - here
    across = setting(problem, 2)
    across = across - way * (across @ way) / (way @ way)
    torch.testing.assert_close(model.slopes(here) @ across, before @ across, atol=1e-5, rtol=0)
    assert float(((model.slopes(here) - before) @ way).abs().max()) > 1e-2


def test_the_first_render_is_the_anchor_whoever_says_so(make_problem, black_box):
    problem = make_problem(black_box, 2)
    model = EditorModel(problem)
    with pytest.raises(ValueError, match="nothing is anchored yet"):
        model.measure(0.04)
    model.learn(problem.start, problem.render(problem.start[None]), move=False)
    assert torch.equal(model.anchor, problem.start)
    assert model.error() == pytest.approx(problem.trials[0].mse, rel=1e-5)
    # The same setting again teaches no slope.
    model.learn(problem.start, problem.render(problem.start[None]), move=False)
    assert not model.slopes(problem.start).any()


def test_slopes_are_the_derivatives_of_the_prediction(make_problem, black_box):
    problem = make_problem(black_box, 20, locked={"contrast": 0.2})
    model = EditorModel(problem, net := response())
    for seed in range(2):
        place = setting(problem, seed)
        model.learn(place, problem.render(place[None]), move=True)
    pixels = grid_points(pixel_features(problem.source), POINTS)

    def respond(free):
        full = problem.base.index_copy(0, torch.tensor(problem.free), free)
        return net(pixels, full[None]).flatten().clamp(0, 1)

    here = setting(problem, 5)
    # Broyden's part is what the prediction changes less what the response changes.
    way = here - model.anchor
    linear = model.predict(here) - model.predict(model.anchor) - (respond(here) - respond(model.anchor))
    ours = model.slopes(here) - torch.autograd.functional.jacobian(respond, here)
    assert ours.shape == (len(model.target), 8)
    torch.testing.assert_close(ours @ way, linear.detach(), atol=1e-5, rtol=0)


def test_measured_slopes_are_the_editors_own_and_cost_dim_renders():
    problem = linear_problem([0.4, -0.2, 0.0, 0.6], 20, locked={"c": 0.0})
    model = EditorModel(problem)
    start = torch.tensor([0.2, -0.6, 0.0])
    model.learn(start, problem.render(start[None]), move=True)
    model.measure(0.04)
    assert len(problem.trials) == 1 + 3
    true = Linear().patterns[[0, 1, 3]].permute(0, 2, 3, 1).flatten(1).T
    torch.testing.assert_close(model.slopes(model.anchor), true, atol=1e-5, rtol=0)
    # The best of the four renders is the new anchor.
    assert model.error() == pytest.approx(min(trial.mse for trial in problem.trials), rel=1e-5)
    assert model.error() < problem.trials[0].mse


def test_measuring_replaces_what_a_wrong_response_said():
    problem = linear_problem([0.4, -0.2, 0.0, 0.6], 20)
    model = EditorModel(problem, response(4))
    model.learn(problem.start, problem.render(problem.start[None]), move=True)
    # Away from the true way, so that the anchor stays.
    problem.goal = problem.source
    model.target = model.read(problem.goal)
    model.measure(0.04)
    assert torch.equal(model.anchor, problem.start)
    true = Linear().patterns.permute(0, 2, 3, 1).flatten(1).T
    torch.testing.assert_close(model.slopes(problem.start), true, atol=1e-5, rtol=0)


def test_probes_stay_within_the_sliders(make_problem, black_box):
    problem = make_problem(black_box, 20)
    model = EditorModel(problem)
    rim = torch.ones(problem.dim)
    rim[::2] = -1
    model.learn(rim, problem.render(rim[None]), move=True)
    model.measure(0.04)
    moved = torch.stack([trial.action for trial in problem.trials[1:]]) - rim
    torch.testing.assert_close(moved, torch.diag(-0.04 * rim), atol=1e-6, rtol=0)


# --- the step -----------------------------------------------------------------------------------------------------


def quadratic(dim, seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dim + 2, dim))
    hessian, gradient = root.T @ root, 3 * rng.normal(size=dim)
    here = rng.uniform(-1, 1, dim)
    here[rng.random(dim) < 0.3] = rng.choice([-1, 1])
    return hessian, gradient, -1 - here, 1 - here


def by_active_sets(hessian, gradient, low, high):
    """The best of all points that are stationary with some sliders held at a bound."""
    dim, best, least = len(gradient), None, np.inf
    for held in itertools.product((None, 0, 1), repeat=dim):
        step = np.array([0.0 if side is None else (low, high)[side][i] for i, side in enumerate(held)])
        free = [i for i, side in enumerate(held) if side is None]
        if free:
            step[free] = np.linalg.solve(hessian[np.ix_(free, free)], -(gradient + hessian @ step)[free])
        inside = (step >= low - 1e-12).all() and (step <= high + 1e-12).all()
        value = step @ hessian @ step / 2 + gradient @ step
        if inside and value < least:
            best, least = step, value
    return best


@pytest.mark.parametrize("seed", range(12))
def test_box_step_against_all_active_sets(seed):
    problem = quadratic(4, seed)
    ours = box_step(*map(torch.from_numpy, problem)).numpy()
    np.testing.assert_allclose(ours, by_active_sets(*problem), atol=1e-6)


def test_the_random_boxes_bind():
    held = []
    for seed in range(12):
        problem = quadratic(4, seed)
        step = by_active_sets(*problem)
        held.append(int(((step < problem[2] + 1e-9) | (step > problem[3] - 1e-9)).sum()))
    assert {0, 1, 2} <= set(held)


@pytest.mark.parametrize("seed", range(4))
def test_box_step_against_scipy(seed):
    hessian, gradient, low, high = quadratic(10, 100 + seed)
    ours = box_step(*map(torch.from_numpy, (hessian, gradient, low, high))).numpy()
    assert (ours >= low - 2e-9).all() and (ours <= high + 2e-9).all()
    theirs = minimize(
        lambda s: s @ hessian @ s / 2 + gradient @ s,
        np.clip(0, low, high),
        jac=lambda s: hessian @ s + gradient,
        bounds=list(zip(low, high, strict=True)),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000},
    )
    value = ours @ hessian @ ours / 2 + gradient @ ours
    assert value <= theirs.fun + 1e-6
    np.testing.assert_allclose(ours, theirs.x, atol=1e-3)


def test_box_step_survives_sliders_that_do_the_same():
    torch.manual_seed(0)
    for _ in range(20):
        column = torch.rand(500, 2)
        slopes = torch.cat([column, column, column @ torch.rand(2, 3)], 1)
        normal = slopes.T @ slopes * (1 - 3e-7 * torch.eye(7))
        step = box_step(normal, slopes.T @ torch.ones(500), -torch.ones(7), torch.ones(7))
        assert bool(step.isfinite().all()) and bool((step.abs() <= 1 + 1e-6).all())


def test_box_step_where_nothing_matters():
    step = box_step(1e-12 * torch.eye(3), torch.zeros(3), -torch.ones(3), torch.ones(3))
    assert step.tolist() == [0, 0, 0]


def test_one_proposal_is_the_bounded_least_squares_solution():
    problem = linear_problem([1.0, -0.2, 0.9, 0.6], 20)
    problem.goal = (problem.goal * 1.3 - 0.1).clamp(0, 1)  # Out of reach: sliders end on the rim.
    model = EditorModel(problem)
    model.learn(problem.start, problem.render(problem.start[None]), move=True)
    model.measure(0.04)
    ours = propose(model, model.anchor, damping=0.0, rounds=1)
    slopes, gap = model.slopes(model.anchor).double().numpy(), (model.target - model.predict(model.anchor)).double()
    there = model.anchor.double().numpy()
    theirs = lsq_linear(slopes, gap.numpy() + slopes @ there, (-1, 1), method="bvls").x
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert np.abs(theirs).max() == pytest.approx(1)
    short = propose(model, model.anchor, damping=1e4, rounds=1)
    assert float((short - model.anchor).abs().max()) < 1e-3


def test_proposals_on_a_response_render_nothing_and_improve_its_guess(make_problem):
    problem = make_problem(PAPER, 5)
    model = EditorModel(problem, response())
    start = problem.start
    before = model.error(model.predict(start))
    errors = [model.error(model.predict(propose(model, start, damping=1e-4, rounds=k))) for k in (3, 9)]
    assert before > errors[0] >= errors[1]
    assert problem.trials == []


def test_single_columns_are_measured_and_the_others_kept():
    problem = linear_problem([0.4, -0.4, 0.2, 0.0], budget=20)
    model = EditorModel(problem)
    model.learn(problem.start, problem.render(problem.start[None]), move=True)
    before = len(problem.trials)
    model.measure(0.04, [1, 3])
    assert len(problem.trials) == before + 2
    true = torch.stack([model.read(pattern[None]) for pattern in Linear().patterns], 1)
    slopes = model.slopes(model.anchor)
    assert torch.allclose(slopes[:, [1, 3]], true[:, [1, 3]], atol=1e-4)
    assert not slopes[:, [0, 2]].any()


def test_what_has_no_weight_does_not_pull():
    """Half of the goal is nonsense: weighted away, the other half's setting is found."""
    editor, wanted = Linear(), torch.tensor([[0.4, -0.4, 0.2, 0.12]])
    source = linear_problem([0.0, 0.0, 0.0, 0.0], budget=1).source
    goal = editor(source, wanted)
    goal[..., 7:] = torch.rand(1, 3, 12, 7, generator=torch.Generator().manual_seed(1))
    weight = torch.ones(1, 1, 12, 14)
    weight[..., 7:] = 0
    problem = Problem(editor, source, Goal(goal, weight), budget=8)
    model = EditorModel(problem)
    model.learn(problem.start, problem.render(problem.start[None]), move=True)
    model.measure(0.04)
    assert torch.allclose(propose(model, model.anchor, 0.0, 1), wanted[0], atol=2e-3)


def test_weights_scale_a_response_as_they_scale_renders():
    torch.manual_seed(0)
    source = torch.rand(1, 3, 12, 14)
    weight = torch.rand(1, 1, 12, 14)
    response = Response(ResponseSettings(4, width=8))
    problem = Problem(Linear(), source, Goal(source, weight), budget=3)
    model = EditorModel(problem, response)
    at = torch.tensor([0.1, -0.2, 0.3, 0.0])
    model.learn(at, problem.render(at[None]), move=True)
    slopes = model.slopes(at)
    for i in range(4):
        step = torch.zeros(4)
        step[i] = 1e-3
        numeric = (model.predict(at + step) - model.predict(at - step)) / 2e-3
        assert float((slopes[:, i] - numeric).abs().mean()) < 2e-3
