from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixward.errors import PixwardError
from pixward.framing import check_framing, fitted
from pixward.image import Photo, preview


def a_photo(width: int, height: int) -> Photo:
    rows = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    return Photo(np.broadcast_to(rows, (height, width, 3)).copy(), None, None, None, Path("a.png"))


@pytest.mark.parametrize(
    "photo, goal",
    [((600, 400), (300, 200)), ((600, 400), (303, 200)), ((6000, 4000), (100, 67)), ((400, 601), (200, 300))],
)
def test_the_same_framing(photo, goal):
    check_framing(photo, goal)
    check_framing(goal, photo)


def test_other_framings_say_what_to_do():
    with pytest.raises(PixwardError, match=r"600 x 400 pixels and the goal 400 x 400: .* crop one of them"):
        check_framing((600, 400), (400, 400))
    with pytest.raises(PixwardError, match="turn one of them"):
        check_framing((600, 400), (400, 600))


@pytest.mark.parametrize("size", [(30, 45), (31, 45), (400, 601)])
def test_fitted_has_the_size_that_was_asked_for(size):
    found = fitted(a_photo(90, 60), size)
    assert found.shape == (1, 3, *size)
    assert float(found[0, 0, 0, 0]) < 0.05 and float(found[0, 0, -1, 0]) > 0.95


def test_a_goal_of_the_right_size_is_its_preview():
    photo = a_photo(90, 60)
    assert bool((fitted(photo, (30, 45)) == preview(photo, 45)).all())
