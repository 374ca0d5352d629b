from __future__ import annotations

import pytest
import torch

from pixward.boxes import Segments
from pixward.predict.drawing import colour_of, draw_segments, middle, outline, tint, write


def half(side=40):
    mask = torch.zeros(side, side, dtype=torch.bool)
    mask[:, : side // 2] = True
    return mask


def test_outline_runs_along_the_inner_rim_only():
    rim = outline(half())
    assert rim[:, 19].all() and int(rim.sum()) == 40
    assert int(outline(half(), 3).sum()) == 120
    assert not outline(torch.ones(5, 5, dtype=torch.bool)).any()


def test_tint_by_hand():
    picture = torch.full((3, 40, 40), 0.2)
    tinted = tint(picture, half(), (1.0, 0.0, 0.6), opacity=0.25)
    assert torch.equal(tinted[:, :, 20:], picture[:, :, 20:])
    torch.testing.assert_close(tinted[:, 5, 5], torch.tensor([0.4, 0.15, 0.3]))
    torch.testing.assert_close(tinted[:, 5, 19], torch.tensor([1.0, 0.0, 0.6]))


def test_the_middle_of_a_mask_lies_in_it():
    ring = torch.ones(9, 9, dtype=torch.bool)
    ring[1:8, 1:8] = False
    x, y = middle(ring)
    assert ring[int(y), int(x)]
    assert middle(half(5)) in {(0.0, 2.0), (1.0, 2.0)}


@pytest.mark.parametrize("at", [(-50.0, -50.0), (20.0, 20.0), (500.0, 500.0)])
def test_words_stay_inside(at):
    picture = torch.ones(3, 40, 60)
    written = write(picture, "star", at)
    dark = (written.sum(0) < 1).nonzero()
    assert len(dark) > 50 and bool((written == 1).any())
    if at[0] > 60:
        assert dark.amax(0).tolist() == [39, 59]


def test_colours_differ():
    colours = torch.tensor([colour_of(i) for i in range(24)])
    apart = torch.cdist(colours, colours) + 9 * torch.eye(24)
    assert float(apart.min()) > 0.1
    assert colour_of(5) == colour_of(5)


def test_segments_on_a_picture():
    picture = torch.full((3, 40, 40), 0.5)
    ids = torch.where(half(), 2, 0)[None]
    segments = Segments(ids, torch.tensor([[0, 3]]), torch.ones(1, 2, dtype=torch.bool))
    drawn = draw_segments(picture, segments, ["a", "b", "c", "d"])
    assert torch.allclose(drawn[:, :, 35:], picture[:, :, 35:], atol=1 / 255)
    want = 0.5 + 0.45 * (torch.tensor(colour_of(3)) - 0.5)
    torch.testing.assert_close(drawn[:, 2, 2], want, atol=1 / 255, rtol=0)
    with pytest.raises(ValueError, match="one map"):
        draw_segments(picture[:, :20], segments, ["a"])
