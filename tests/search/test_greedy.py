from __future__ import annotations

import torch

from pixward.search.greedy import greedy
from pixward.search.problem import best_so_far, psnr, run


def test_moves_one_slider_at_a_time_from_the_untouched_photo(make_problem, black_box) -> None:
    problem = make_problem(black_box, 60)
    trials = run(greedy, problem, 0)
    assert torch.equal(trials[0].action, problem.base)
    here = trials[0]
    for trial in trials[1:]:
        assert int((trial.action != here.action).sum()) == 1
        here = min(here, trial, key=lambda t: t.mse)


def test_finds_a_lone_slider_and_stops(make_problem, black_box) -> None:
    locked = {name: spec.default for name, spec in zip(black_box.space.names, black_box.space.specs, strict=True)}
    del locked["exposure"]
    problem = make_problem(black_box, 200, locked=locked)
    problem.goal = (black_box(problem.source, black_box.space.from_dict({"exposure": 0.8})[None]) * 255).round() / 255
    run(greedy, problem, 0)
    assert problem.left > 100
    assert abs(float(black_box.space.denormalize(problem.best.action)[0]) - 0.8) < 0.01


def test_improves_and_ignores_the_seed(make_problem, black_box) -> None:
    problem, other = make_problem(black_box, 120), make_problem(black_box, 120)
    first, second = run(greedy, problem, 0), run(greedy, other, 9)
    assert [trial.mse for trial in first] == [trial.mse for trial in second]
    curve = [psnr(mse) for mse in best_so_far(problem)]
    assert curve[120] > curve[0] + 12


def test_locked_sliders_do_not_move(make_problem, black_box) -> None:
    problem = make_problem(black_box, 60, locked={"exposure": 0.5, "contrast": -0.25})
    settings = [black_box.space.denormalize(trial.action) for trial in run(greedy, problem, 0)]
    assert {(round(float(s[0]), 5), round(float(s[5]), 5)) for s in settings} == {(0.5, -0.25)}
