from __future__ import annotations

import numpy as np
import pytest
import torch

from pixward.contact import Shot, contact_sheet


def flat(colour: tuple[float, float, float], size: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(colour)[None, :, None, None].expand(1, 3, *size)


@pytest.mark.parametrize("size", [(30, 45), (45, 30), (1, 200)])
def test_before_after_and_goal_stand_in_this_order(size: tuple[int, int]):
    pictures = (flat((1, 0, 0), size), flat((0, 1, 0), size), flat((0, 0, 1), (20, 60)))
    drawn = np.asarray(contact_sheet([Shot("caf\udce9\n.jpg", "20 dB to 40 dB", pictures)] * 3, "three photos"))
    columns = []
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        places = np.argwhere((drawn == colour).all(2))
        assert len(places)
        columns.append(places[:, 1].min())
    assert columns == sorted(columns)


def test_more_photos_make_a_longer_sheet():
    shot = Shot("a", "", (flat((0, 0, 0), (8, 8)),) * 3)
    heights = [contact_sheet([shot] * count, "").height for count in (1, 2, 3, 4, 5)]
    assert heights[0] == heights[1] < heights[2] == heights[3] < heights[4]
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], "")
