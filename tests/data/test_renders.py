from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pixward.data.renders import Gathering, RenderBank, gather
from pixward.errors import PixwardError
from pixward.params import ParamSpace, ParamSpec
from pixward.policies.response import pixel_features

HOW = Gathering(photos=2, files=3, pairs=4, pixels=10, seed=5)


SPACE = ParamSpace([ParamSpec("a", -1, 1, 0, "", "Lighter."), ParamSpec("b", -1, 1, 0, "", "Idle.")])


@dataclass
class Counting:
    """Adds slider ``a`` times 0.1; counts its renders."""

    name: str = "counting"
    space: ParamSpace = SPACE
    differentiable: bool = False
    renders: int = 0

    def __call__(self, images, params):
        self.renders += len(images)
        return (images + 0.1 * params[:, :1, None, None]).clamp(0, 1)


PHOTOS = [0.2 + 0.6 * torch.rand(1, 3, 6, 9, generator=torch.Generator().manual_seed(k)) for k in range(2)]


def filled(folder, editor):
    return list(gather(folder, lambda i: (editor, PHOTOS[i]), pixel_features, HOW))


def test_what_is_kept_is_what_was_rendered(tmp_path):
    editor = Counting()
    assert filled(tmp_path, editor) == [(1, 3), (2, 3), (3, 3)]
    assert editor.renders == 3 * 8
    bank = RenderBank(tmp_path)
    assert len(bank) == 12
    batch = bank.take(torch.arange(12), torch.arange(10).expand(12, -1))
    # The editor is known: render = source + 0.1 a, in 8 bit.
    expected = ((batch.pixels[..., :3] + 0.1 * batch.first[:, None, :1]).clamp(0, 1) * 255).round() / 255
    assert float((batch.before - expected).abs().max()) <= 1.5 / 255  # sources are kept in half precision
    assert float((batch.second - batch.first).abs().max()) > 0
    assert float(batch.second.abs().max()) <= 1
    # File 2 is photo 0 again, at other places and settings.
    features = pixel_features(PHOTOS[0]).flatten(2)[0].T
    assert all(bool((features - row).abs().amax(1).min() < 1e-3) for row in batch.pixels[8])
    assert not torch.equal(batch.first[:4], batch.first[8:])


def test_a_stopped_gathering_goes_on_and_gives_the_same(tmp_path):
    editor = Counting()
    steps = gather(tmp_path / "a", lambda i: (editor, PHOTOS[i]), pixel_features, HOW)
    next(steps)
    steps.close()
    filled(tmp_path / "a", editor)
    assert editor.renders == 3 * 8  # nothing twice
    filled(tmp_path / "b", Counting())
    for name in ("000000.npz", "000001.npz", "000002.npz"):
        one, other = np.load(tmp_path / "a" / name), np.load(tmp_path / "b" / name)
        assert all(np.array_equal(one[key], other[key]) for key in one.files)


def test_draws_and_held_out_files(tmp_path):
    filled(tmp_path, Counting())
    batch = RenderBank(tmp_path, first=1).draw(5, pixels=3)
    assert batch.pixels.shape == (5, 3, 7) and batch.after.shape == (5, 3, 3)
    assert len(RenderBank(tmp_path, last=1)) == 4


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(PixwardError, match="gather some first"):
        RenderBank(tmp_path)
    (tmp_path / "000000.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(PixwardError, match="damaged"):
        RenderBank(tmp_path)
