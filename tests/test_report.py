from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixward.editors.chain import PHOTO
from pixward.match import STRATEGIES, MatchResult, match
from pixward.report import MOST_RENDERS, PICKED_RENDERS, _changes, _ticks, film, measure_of, shown
from pixward.search.problem import Look, Problem


def searched(renders: int, size: tuple[int, int] = (32, 48)) -> tuple[Tensor, Tensor, MatchResult]:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(1, 3, *size, generator=generator)
    goal = PHOTO(source, PHOTO.space.from_dict({"exposure": 1.0, "saturation": -50.0})[None])
    return source, goal, match(source, goal, editor=PHOTO, strategy="random", renders=renders)


def accent(picture: Image.Image) -> int:
    """Pixels in the colour that marks the best render."""
    return int((np.asarray(picture) == (244, 180, 60)).all(2).sum())


@pytest.mark.parametrize(
    ("renders", "size"), [(1, (32, 48)), (61, (32, 48)), (10, (48, 32)), (1, (1, 1)), (10, (4, 256)), (3, (256, 4))]
)
def test_strips_of_all_shapes(renders: int, size: tuple[int, int]):
    source, goal, result = searched(renders, size)
    strip = film(source, goal, result, PHOTO.space, ("photo.jpg", "a goal with a very long name " * 20))
    assert strip.mode == "RGB"
    assert 800 <= strip.width <= 1900
    assert accent(strip) > 500


def test_photo_and_goal_are_the_first_and_the_last_picture():
    source = torch.zeros(1, 3, 256, 256)
    source[:, 0] = 1.0
    goal = torch.zeros(1, 3, 256, 256)
    goal[:, 2] = 1.0
    strip = np.asarray(film(source, goal, match(source, goal, editor=PHOTO, strategy="random", renders=2), PHOTO.space))
    red, blue = ((strip == colour).all(2) for colour in ((255, 0, 0), (0, 0, 255)))
    assert red.sum() >= 256 * 256
    assert blue.sum() >= 256 * 256
    assert np.argwhere(red)[:, 1].min() < np.argwhere(blue)[:, 1].min()


def test_every_render_is_shown_up_to_a_limit():
    assert shown(searched(MOST_RENDERS)[2]) == list(range(MOST_RENDERS))


def test_a_long_search_shows_the_first_the_improving_and_the_best(monkeypatch: pytest.MonkeyPatch):
    def climb(problem: Problem, seed: int) -> None:
        for k in range(200):
            row = problem.start.clone()
            row[0] = 0.002 * k if k % 2 == 0 else -0.5  # Every other render is worse.
            problem.render(row[None])

    monkeypatch.setitem(STRATEGIES, "random", lambda editor, networks=None: climb)
    source, goal, result = searched(200)
    picked = shown(result)
    assert len(picked) == PICKED_RENDERS
    assert picked[0] == 0
    assert picked[-1] == result.best
    errors = [result.trials[k].mse for k in picked]
    assert errors == sorted(errors, reverse=True)
    assert film(source, goal, result, PHOTO.space).width <= 1900


def test_names_that_are_no_text_can_be_drawn():
    source, goal, result = searched(2)
    assert film(source, goal, result, PHOTO.space, ("caf\udce9.jpg", "写真.jpg")).width > 0


def test_zero_has_no_sign():
    space = PHOTO.space
    after = space.normalize(space.from_dict({"shadows": -0.3, "contrast": 0.3}))
    assert set(_changes(space, space.default_action()[0], after)) == {"shadows 0 %", "contrast 0 %"}


def test_a_look_is_shown_by_its_distance_and_its_reference():
    source, _, _ = searched(1)
    reference = torch.zeros(1, 3, 200, 20)
    reference[:, 1] = 1.0
    result = match(source, Look(reference), editor=PHOTO, strategy="random", renders=70)
    assert measure_of(result).figure(0.1234) == "look 0.123"
    assert measure_of(searched(1)[2]).figure(12.34) == "12.3 dB"
    assert result.best in shown(result)
    strip = np.asarray(film(source, reference, result, PHOTO.space, ("photo.jpg", "reference.jpg")))
    green = np.argwhere((strip == (0, 255, 0)).all(2))
    assert len(green) and np.ptp(green[:, 0]) < 180  # It fits where the photo's renders do.


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.012), (0.05, 0.4), (0.2, 0.2), (10, 55), (99, 100)])
def test_axes_have_a_few_lines(low: float, high: float):
    bottom, top, step = _ticks(low, high, 0.001 if high < 1 else 1)
    assert bottom <= low and high <= top
    assert 1 <= round((top - bottom) / step) <= 6
