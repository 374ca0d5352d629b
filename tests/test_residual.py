from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab

from pixward.residual import NOT_COMPARED, STOPS, TOP, coloured, difference, residual

UNREACHED = {"within": 0.4, "delta_e": {"mean": 5.0, "worst": 12.0}, "sentence": "Forty words were said. " * 20}


def rgb(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def test_the_map_is_what_another_library_says():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(1, 3, 12, 9, generator=generator) for _ in range(2))
    eight = [(image[0].permute(1, 2, 0) * 255).round().numpy() / 255 for image in (one, other)]
    theirs = deltaE_ciede2000(*(rgb2lab(image) for image in eight))
    assert np.allclose(difference(one, other).numpy(), theirs, atol=0.05)


def test_colours_are_those_of_the_scale_and_rise_in_lightness():
    for value, colour in STOPS:
        assert tuple(rgb(coloured(torch.full((1, 1), value)))[0, 0]) == colour
    assert tuple(rgb(coloured(torch.full((1, 1), 50.0)))[0, 0]) == STOPS[-1][1]
    ramp = rgb(coloured(torch.linspace(0, TOP, 200)[None]))[None, 0].astype(float) / 255
    assert (np.diff(rgb2lab(ramp)[0, :, 0]) > 0).all()


def test_what_is_not_compared_is_grey():
    weight = torch.ones(1, 1, 4, 6)
    weight[..., :3] = 0
    drawn = rgb(coloured(torch.full((4, 6), 5.0), weight))
    assert (drawn[:, :3] == NOT_COMPARED).all()
    assert not (drawn[:, 3:] == NOT_COMPARED).all(2).any()


@pytest.mark.parametrize("size", [(1, 1), (4, 256), (256, 4), (171, 256), (512, 512)])
def test_render_goal_and_map_stand_side_by_side(size: tuple[int, int]):
    render, goal = torch.zeros(1, 3, *size), torch.zeros(1, 3, *size)
    render[:, 0], goal[:, 2] = 1.0, 1.0
    drawn = np.asarray(residual(render, goal, UNREACHED, "caf\udce9.jpg", torch.ones(1, 1, *size)))
    red, blue, top = ((drawn == colour).all(2) for colour in ((255, 0, 0), (0, 0, 255), STOPS[-1][1]))
    places = [np.argwhere(mask)[:, 1].mean() for mask in (red, blue, top)]
    assert places == sorted(places)
    assert red.sum() == blue.sum() <= top.sum()


def test_long_sentences_are_broken_into_lines():
    image = torch.zeros(1, 3, 40, 60)
    short = residual(image, image, {**UNREACHED, "sentence": "Reached."})
    assert residual(image, image, UNREACHED).height > short.height
    assert residual(image, image, UNREACHED).width == short.width
