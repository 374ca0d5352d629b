from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pixward.policies.nets import detail, grid_points, histogram, mlp, photo_statistics


def test_mlp_has_silu_between_its_layers_and_none_last():
    kinds = [type(layer) for layer in mlp([3, 5, 7, 2])]
    assert kinds == [nn.Linear, nn.SiLU, nn.Linear, nn.SiLU, nn.Linear]
    assert [tuple(layer.weight.shape) for layer in mlp([3, 5, 2]) if isinstance(layer, nn.Linear)] == [(5, 3), (2, 5)]


def test_histogram_of_bin_centres_is_numpys():
    counts = np.random.default_rng(0).integers(0, 8, (2, 50, 3))
    ours = histogram(torch.from_numpy(counts / 7).float(), 8).view(2, 3, 8)
    edges = np.arange(9) - 0.5
    for b in range(2):
        for c in range(3):
            expected = np.histogram(counts[b, :, c], edges)[0] * 8 / 50
            np.testing.assert_allclose(ours[b, c], expected, atol=1e-4)


@given(st.lists(st.floats(-0.5, 1.5, width=32), min_size=1, max_size=30), st.integers(2, 33))
def test_histogram_shares_a_value_between_its_two_neighbours(values, bins):
    ours = histogram(torch.tensor(values).view(1, -1, 1), bins)[0]
    position = np.clip(values, 0, 1) * (bins - 1)
    hats = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(bins)))
    np.testing.assert_allclose(ours, hats.mean(0) * bins, atol=1e-4 * bins)
    assert float(ours.sum()) == pytest.approx(bins, rel=1e-5)


def test_photo_statistics_by_hand():
    pixels = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.25, 0.5, 1.0), (1.0, 1.0, 1.0)]
    ours = photo_statistics(torch.tensor([pixels]), bins=5)[0]
    assert ours.shape == (19,)
    grey = np.array([0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in pixels])
    saturation = np.mean([colorsys.rgb_to_hsv(*pixel)[1] for pixel in pixels])
    expected = [grey.mean(), np.median(grey), grey.std(), saturation]
    np.testing.assert_allclose(ours[15:], expected, atol=1e-6)
    np.testing.assert_allclose(ours[:5], [1, 1, 1, 0, 2])  # Red: 0, 1, 0.5, 0.25, 1.
    assert photo_statistics(torch.rand(2, 7, 3)).shape == (2, 100)


def test_grid_points_are_single_pixels_in_even_places():
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(20.0), indexing="ij")
    points = grid_points(torch.stack([rows, columns])[None], 4)[0]
    assert sorted(set(points[:, 0].tolist())) == [1, 3, 5, 7]
    assert sorted(set(points[:, 1].tolist())) == [2, 7, 12, 17]
    assert points.shape == (16, 2)


def test_grid_points_of_a_small_picture_are_all_its_pixels():
    image = torch.rand(2, 3, 4, 5)
    assert torch.equal(grid_points(image, 32), image.flatten(2).transpose(1, 2))


def test_detail_is_the_difference_from_the_mean_of_the_surroundings():
    image = torch.rand(1, 3, 14, 15)
    ours = detail(image)[0].numpy()
    assert ours.shape == (4, 14, 15)
    pixels = image[0].double().numpy()
    grey = np.tensordot([0.2126, 0.7152, 0.0722], pixels, 1)

    def away(plane, row, column, reach):
        around = plane[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        return 4 * (plane[row, column] - around.mean())

    for row, column in [(0, 0), (7, 7), (13, 3), (2, 14)]:
        expected = [away(plane, row, column, 1) for plane in pixels] + [away(grey, row, column, 5)]
        np.testing.assert_allclose(ours[:, row, column], expected, atol=1e-5)
