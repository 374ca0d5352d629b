from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixward.boxes import Boxes
from pixward.predict.detect import DetectTask
from pixward.predict.draw_boxes import boxes_said, draw_boxes
from pixward.predict.drawing import colour_of
from pixward.types import Samples, Scores

NAMES = ("cat", "dog")


def bytes_of(index):
    return torch.tensor([round(255 * value) for value in colour_of(index)]) / 255


def some(*corners, labels=None, scores=None, valid=None):
    count = len(corners)
    return Boxes(
        torch.tensor([corners]),
        torch.tensor([labels or [0] * count]),
        torch.tensor([valid or [True] * count]),
        torch.tensor([scores or [0.5] * count]),
    )


def test_what_is_said_is_in_pixels_and_the_surest_comes_first():
    boxes = some(
        [0.0, 0.25, 0.5, 1.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 1.0],
        labels=[0, 1, 0], scores=[0.25, 0.75, 0.9], valid=[True, True, False],
    )  # fmt: skip
    assert boxes_said(boxes, NAMES, (200, 40)) == [
        {"label": "dog", "score": 0.75, "box": [20.0, 8.0, 60.0, 16.0]},
        {"label": "cat", "score": 0.25, "box": [0.0, 10.0, 100.0, 40.0]},
    ]
    assert boxes_said(some([0.0, 0.0, 1.0, 1.0], valid=[False]), NAMES, (9, 9)) == []
    with pytest.raises(ValueError, match="scores"):
        boxes_said(Boxes(boxes.boxes, boxes.labels, boxes.valid), NAMES, (9, 9))


@pytest.mark.parametrize("ground", [0.05, 0.95])
def test_lines_in_the_classes_colour_with_a_dark_rim(ground):
    image = torch.full((3, 120, 160), ground)
    said = [{"label": "dog", "score": 0.8, "box": [40.0, 60.0, 120.0, 100.0]}]
    drawn = draw_boxes(image, said, NAMES)
    assert drawn.shape == image.shape
    colour = bytes_of(1)
    for row, column in ((80, 40), (80, 119), (99, 80), (60, 118)):  # left, right, bottom and top
        torch.testing.assert_close(drawn[:, row, column], colour)
    assert bool((drawn[:, 80, 39] < 0.1).all() and (drawn[:, 80, 41] < 0.1).all())  # the rim on both sides
    torch.testing.assert_close(drawn[:, 80, 80], image[:, 0, 0], atol=1 / 255, rtol=0)  # inside nothing changes
    torch.testing.assert_close(drawn[:, 110, 20], image[:, 0, 0], atol=1 / 255, rtol=0)
    # The plate stands on the box; it is dark, with light letters on it.
    plate = (drawn[:, :59] - 24 / 255).abs().amax(0) < 1e-3
    rows, columns = (plate.any(axis).nonzero()[:, 0] for axis in (1, 0))
    assert 40 < int(rows[0]) < 53 and int(columns[0]) == 40 and 60 < int(columns[-1]) < 110
    inside = drawn[:, rows[0] : rows[-1] + 1, 40 : columns[-1] + 1]
    assert float(inside.amax()) > 0.8 and float(inside.median()) < 0.2


def test_the_surest_box_lies_on_top():
    low = {"label": "cat", "score": 0.1, "box": [20.0, 40.0, 60.0, 80.0]}
    high = {"label": "dog", "score": 0.9, "box": [20.0, 40.0, 60.0, 80.0]}
    drawn = draw_boxes(torch.zeros(3, 100, 100), [high, low], NAMES)
    torch.testing.assert_close(drawn[:, 70, 20], bytes_of(1))


@given(
    st.integers(1, 90), st.integers(1, 90), st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=4)
)  # fmt: skip
def test_any_box_fits_any_picture(height, width, shares):
    corners = [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in shares]
    boxes = some(*corners, scores=[0.5] * len(corners)) if corners else some([0.0, 0.0, 1.0, 1.0], valid=[False])
    said = boxes_said(boxes, NAMES, (width, height))
    image = torch.rand(3, height, width)
    drawn = draw_boxes(image, said, NAMES)
    assert drawn.shape == image.shape and 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    if not said:
        torch.testing.assert_close(drawn, image, atol=0.5 / 255 + 1e-6, rtol=0)


class OneBox(torch.nn.Module):
    """Says one box whatever it sees, and is 0.7 sure of it."""

    def __init__(self, kind):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.kind, self.seen, self.settings = kind, None, type("Settings", (), {"image": 64})

    def sample(self, images, count, decoding, generator):
        self.seen = images
        tokens = self.kind.encode(some([0.25, 0.5, 0.75, 1.0], labels=[1]))[:, None]
        return Samples(tokens, torch.zeros(tokens.shape), tokens != 0)

    def log_prob(self, images, tokens, decoding):
        table = torch.full((*tokens.shape, self.kind.vocabulary), -9.0)
        table[..., self.kind.RIGHT] = torch.tensor(0.7).log()
        return Scores(torch.zeros(tokens.shape), torch.zeros(tokens.shape), table, tokens != 0)


def test_boxes_go_back_to_the_pictures_own_pixels():
    task = DetectTask(NAMES, boxes=2, steps=64)
    policy = OneBox(task.kind)
    shown = task.show(policy, torch.full((3, 30, 200), 0.4))
    assert policy.seen.shape == (1, 3, 64, 64)
    torch.testing.assert_close(policy.seen, torch.full((1, 3, 64, 64), 0.4))
    assert shown.said == {"task": "detect", "boxes": [{"label": "dog", "score": 0.7, "box": [50.0, 15.0, 150.0, 30.0]}]}
    assert shown.picture.shape == (3, 30, 200)
    assert float((shown.picture - 0.4).abs().max()) > 0.2
