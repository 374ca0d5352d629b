from __future__ import annotations

import numpy as np
import pytest
import torch

from pixward.data.colours import ColourTokens, lab_to_srgb, to_grey
from pixward.data.synth import Scenes
from pixward.metrics.image import srgb_to_lab
from pixward.types import Grammar


def test_lab_and_back() -> None:
    image = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (lab_to_srgb(srgb_to_lab(image)) - image).abs().max() < 1e-7
    skimage = pytest.importorskip("skimage.color")
    lab = np.array([[[50.0, 20.0, -30.0], [80.0, -10.0, 40.0], [5.0, 1.0, 2.0]]])
    ours = lab_to_srgb(torch.from_numpy(lab).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - skimage.lab2rgb(lab)).max() < 1e-4


def test_grey_keeps_lightness() -> None:
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    lab = srgb_to_lab(to_grey(image).expand(-1, 3, -1, -1))
    assert (lab[:, 0] - srgb_to_lab(image)[:, 0]).abs().max() < 0.01
    assert lab[:, 1:].abs().max() < 0.01


def test_tokens_are_the_nearest_colours_of_the_cells() -> None:
    kind = ColourTokens(((-40.0, 30.0), (0.0, 0.0), (60.0, 40.0), (20.0, -60.0)), cells=4)
    assert isinstance(kind, Grammar) and kind.vocabulary == 5 and kind.length == 16
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images[0] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    tokens = kind.encode(images)
    assert set(tokens[0].tolist()) == {3}  # red
    ab = srgb_to_lab(images)[:, 1:]
    for item in range(3):
        for cell in range(16):
            row, column = divmod(cell, 4)
            mean = ab[item, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4].mean((1, 2))
            gaps = [float((mean - torch.tensor(colour)).norm()) for colour in kind.palette]
            assert int(tokens[item, cell]) == 1 + gaps.index(min(gaps))


def test_decode_keeps_lightness_and_paints_cells() -> None:
    kind = ColourTokens.grid(20, cells=2)
    grey = torch.full((1, 1, 32, 32), 0.5)
    tokens = torch.tensor([[1 + kind.palette.index((20.0, 20.0)), 1 + kind.palette.index((0.0, 0.0))] * 2])
    lab = srgb_to_lab(kind.decode(tokens, grey))
    assert (lab[:, 0] - srgb_to_lab(grey.expand(-1, 3, -1, -1))[:, 0]).abs().max() < 0.1
    assert (lab[0, 1:, :, 0] - 20).abs().max() < 0.1 and lab[0, 1:, :, -1].abs().max() < 0.1
    with pytest.raises(ValueError, match="colour tokens lie in 1"):
        kind.decode(torch.zeros(1, 4, dtype=torch.int64), grey)


def test_the_grid_covers_srgb() -> None:
    kind = ColourTokens.grid(20, cells=4)
    flat = torch.rand(200, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 4, 4)
    chosen = torch.tensor(kind.palette)[kind.encode(flat)[:, 0] - 1]
    assert (chosen - srgb_to_lab(flat)[:, 1:, 0, 0]).abs().max() <= 10 + 2  # half a cell; 33 levels leave gaps
    assert 60 < len(kind.palette) < 120


def test_a_fitted_palette_is_closer_than_a_grid_and_repeatable() -> None:
    images = Scenes(seed=0).batch(range(64)).images
    fitted, again = (ColourTokens.fit(images, colours=24, cells=8, seed=1) for _ in range(2))
    assert fitted == again and len(fitted.palette) == 24

    def error(kind: ColourTokens) -> float:
        ab = torch.nn.functional.adaptive_avg_pool2d(srgb_to_lab(images)[:, 1:], 8).flatten(2).transpose(1, 2)
        return float((torch.tensor(kind.palette)[kind.encode(images) - 1] - ab).norm(dim=2).mean())

    grid = ColourTokens.grid(40, cells=8)
    assert len(grid.palette) >= 20
    assert error(fitted) < 0.6 * error(grid)
    with pytest.raises(ValueError, match="as many cells"):
        ColourTokens.fit(images[:1], colours=32, cells=4)


def test_the_grammar_forbids_the_end() -> None:
    kind = ColourTokens(((0.0, 0.0), (9.0, 9.0)), cells=2)
    assert kind.allowed(torch.ones(3, 2, dtype=torch.int64)).tolist() == [[False, True, True]] * 3
    assert kind.allowed_along(torch.ones(3, 4, dtype=torch.int64)).shape == (3, 4, 3)
