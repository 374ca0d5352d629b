from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from pixward.denoise.sheets import contact_sheet, curve


def test_small_pictures_become_squares_and_lie_in_rows():
    pictures = torch.rand(3, 3, 32, 32)
    sheet = np.asarray(contact_sheet(pictures, columns=2))
    assert sheet.shape == (2 * 264 + 8, 2 * 264 + 8, 3)
    for place, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        part = sheet[8 + 264 * row :, 8 + 264 * column :][:256, :256]
        want = (pictures[place] * 255).round().byte().permute(1, 2, 0).numpy()
        assert (part[4::8, 4::8] == want).all() and (part == want.repeat(8, 0).repeat(8, 1)).all()
    assert contact_sheet(torch.rand(48, 3, 32, 32), columns=8).size == (8 * 72 + 8, 6 * 72 + 8)


def test_a_sheet_of_large_pictures_stays_small_and_captions_fit():
    assert contact_sheet(torch.rand(1, 3, 512, 512)).size == (528, 528)
    assert contact_sheet(torch.rand(4, 3, 64, 2048)).width <= 2048 + 8
    plain, told = contact_sheet(torch.zeros(1, 3, 32, 32)), contact_sheet(torch.zeros(1, 3, 32, 32), ["a tiger " * 90])
    assert told.height == plain.height + 22
    assert (np.asarray(told)[-8:] == np.asarray(told)[0, 0]).all()  # nothing is cut off below
    assert (np.asarray(told)[264:-8, 8:264] > 200).any() and (np.asarray(told)[:, 264:] == 24).all()


def test_a_curve_passes_through_its_points():
    yellow = np.array([244, 180, 60])
    drawn = np.asarray(curve({"train": [(0, 0.0), (50, 0.5), (100, 1.0)]}, "a title", "pictures")).astype(int)
    assert drawn.shape == (420, 860, 3)
    for x, y in ((74, 372), (457, 209), (840, 46)):  # ends and middle of the frame, where 0, 0.5 and 1 lie
        assert np.abs(drawn[y - 2 : y + 3, x - 2 : x + 3] - yellow).sum(2).min() < 30
    assert np.abs(drawn[100, 200] - yellow).sum() > 100


def test_a_curve_of_one_point_or_a_level_one():
    for points in ([(0, -0.3)], [(0, 0.0), (32, 0.0)], [(0, 1e-9), (1, 2e-9)], []):
        assert isinstance(curve({"train": points}, "", ""), Image.Image)
