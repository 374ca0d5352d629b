from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from pixward.ops.lut import as_table, curves, lattice, lookup


def images(count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 6, 7, generator=torch.Generator().manual_seed(seed))


def table(points: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, points, points, points, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("method", ["trilinear", "tetrahedral"])
@pytest.mark.parametrize("points", [2, 3, 16, 33])
def test_the_identity_table_changes_nothing(method, points):
    torch.testing.assert_close(lookup(images(), as_table(lattice(points))[None], method), images())


def test_red_runs_fastest():
    colours = lattice(3)
    assert colours[:4].tolist() == [[0, 0, 0], [0.5, 0, 0], [1, 0, 0], [0, 0.5, 0]]
    assert as_table(colours)[:, 2, 1, 0].tolist() == [0, 0.5, 1]  # blue 1, green a half, red 0


def test_trilinear_equals_scipys():
    points, image = table(9, 1), images(1, 1)
    axis = np.linspace(0, 1, 9)
    colours = image[0].flatten(1).T.numpy()[:, ::-1]  # blue, green, red
    output = lookup(image, points)[0].flatten(1).numpy()
    for channel in range(3):
        expected = RegularGridInterpolator((axis,) * 3, points[0, channel].numpy())(colours)
        np.testing.assert_allclose(output[channel], expected, atol=1e-5)


def test_tetrahedral_by_the_six_cases_written_out():
    points, image = table(2, 3)[0], images(1, 4)
    c = points.permute(3, 2, 1, 0)  # c[r][g][b] is the colour at that corner
    found = lookup(image, points[None], "tetrahedral")[0]
    for y, x in itertools.product(range(6), range(7)):
        r, g, b = image[0, :, y, x]
        order = sorted([(float(r), (1, 0, 0)), (float(g), (0, 1, 0)), (float(b), (0, 0, 1))], reverse=True)
        first = order[0][1]
        second = tuple(p + q for p, q in zip(first, order[1][1], strict=True))
        wanted = (1 - order[0][0]) * c[0, 0, 0] + (order[0][0] - order[1][0]) * c[first]
        wanted = wanted + (order[1][0] - order[2][0]) * c[second] + order[2][0] * c[1, 1, 1]
        torch.testing.assert_close(found[:, y, x], wanted)


def test_tetrahedral_keeps_greys_on_the_diagonal():
    points = table(5)
    grey = torch.linspace(0, 1, 50).expand(1, 3, 1, 50)
    diagonal = torch.stack([points[0, :, i, i, i] for i in range(5)], 1)
    torch.testing.assert_close(lookup(grey, points, "tetrahedral"), curves(grey, diagonal))


def test_each_image_of_a_batch_gets_its_own_table():
    grey = torch.full((2, 3, 2, 2), 0.5)
    tables = torch.stack([as_table(lattice(3)), 1 - 0.5 * as_table(lattice(3))])
    for method in ("trilinear", "tetrahedral"):
        assert lookup(grey, tables, method)[:, 0, 0, 0].tolist() == pytest.approx([0.5, 0.75])


@pytest.mark.parametrize("method", ["trilinear", "tetrahedral"])
def test_colours_outside_go_to_the_nearest_end(method):
    wide = torch.tensor([-0.5, 0.3, 1.7]).view(1, 3, 1, 1)
    torch.testing.assert_close(lookup(wide, table(), method), lookup(wide.clamp(0, 1), table(), method))


def test_curves_equal_numpys_interp():
    values = torch.rand(3, 7, generator=torch.Generator().manual_seed(5))
    wide = images() * 1.4 - 0.2
    found = curves(wide, values)
    for channel in range(3):
        expected = np.interp(wide[:, channel].numpy(), np.linspace(0, 1, 7), values[channel].numpy())
        np.testing.assert_allclose(found[:, channel].numpy(), expected, atol=1e-6)


def test_mistakes():
    with pytest.raises(ValueError, match="unknown method 'cubic'"):
        lookup(images(), table(), "cubic")
    with pytest.raises(ValueError, match=r"a table is"):
        lookup(images(), table()[0])
    with pytest.raises(ValueError, match=r"do not fit"):
        lookup(images(3), table().expand(2, -1, -1, -1, -1))
    with pytest.raises(ValueError, match=r"curves are"):
        curves(images(), torch.rand(3, 1))
    with pytest.raises(ValueError, match="2 points"):
        lattice(1)
