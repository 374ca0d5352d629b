"""The containers of boxes and segments."""

from __future__ import annotations

import pytest
import torch

from pixward.boxes import Boxes, Segments


def two() -> Boxes:
    return Boxes.pad(
        [torch.rand(3, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(0, 4)],
        [torch.tensor([1, 0, 2]), torch.zeros(0, dtype=torch.int64)],
        [torch.tensor([0.5, 0.25, 1.0]), torch.zeros(0)],
    )


def test_pad_puts_pictures_of_different_counts_side_by_side():
    boxes = two()
    assert boxes.boxes.shape == (2, 3, 4) and len(boxes) == 2
    assert boxes.valid.tolist() == [[True] * 3, [False] * 3]
    assert boxes.labels[0].tolist() == [1, 0, 2] and boxes.scores is not None
    assert boxes.scores[0].tolist() == [0.5, 0.25, 1.0]
    boxes.check("output")


def test_repeat_and_select_keep_everything_together():
    boxes = two().repeat(2)
    assert boxes.valid.any(1).tolist() == [True, True, False, False]
    part = boxes.select(torch.tensor([3, 0]))
    assert part.valid.any(1).tolist() == [False, True] and part.scores is not None
    assert torch.equal(part.boxes[1], boxes.boxes[0]) and part.crowd is None
    assert torch.equal(part.to("cpu").labels, part.labels)


def test_shapes_and_types_are_checked():
    boxes = two()
    with pytest.raises(ValueError, match=r"\(B, N, 4\)"):
        Boxes(boxes.boxes[..., :3], boxes.labels, boxes.valid)
    with pytest.raises(ValueError, match=r"labels must be \(2, 3\)"):
        Boxes(boxes.boxes, boxes.labels[:, :2], boxes.valid)
    with pytest.raises(ValueError, match="valid must be torch.bool"):
        Boxes(boxes.boxes, boxes.labels, boxes.valid.long())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="item 1: need boxes"):
        Boxes.pad([torch.zeros(1, 4), torch.zeros(2, 4)], [torch.zeros(1), torch.zeros(1)])
    with pytest.raises(ValueError, match="as many boxes as labels"):
        Boxes.pad([torch.zeros(1, 4)], [])
    with pytest.raises(ValueError, match="ids must be int64"):
        Segments(torch.zeros(1, 2, 2), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))


def test_values_are_checked_with_their_item():
    boxes = two()
    negative = Boxes(boxes.boxes, boxes.labels - 1, boxes.valid)
    with pytest.raises(ValueError, match="output: item 0, label 1 is -1"):
        negative.check("output")
    assert boxes.scores is not None
    scores = boxes.scores.clone()
    scores[0, 2] = float("inf")
    with pytest.raises(ValueError, match="output: item 0, score 2 is inf"):
        Boxes(boxes.boxes, boxes.labels, boxes.valid, scores).check("output")


def test_segments_know_their_pixels():
    ids = torch.tensor([[[0, 1], [2, 2]]])
    segments = Segments(ids, torch.tensor([[4, 7, 0]]), torch.tensor([[True, True, False]]))
    segments.check("target")
    assert segments.repeat(2).ids.shape == (2, 2, 2) and len(segments.select(slice(0, 1))) == 1
    with pytest.raises(ValueError, match="target: item 0, pixel 0 is 3"):
        Segments(ids + 3 * (ids == 0), segments.labels, segments.valid).check("target")
    with pytest.raises(ValueError, match="target: item 0, pixel 1 is -1"):
        Segments(ids - 2 * (ids == 1), segments.labels, segments.valid).check("target")
