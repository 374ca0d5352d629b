from __future__ import annotations

import pytest
import torch

from pixward.checks import check_editor
from pixward.editors.chain import PHOTO
from pixward.editors.lut import LutEditor, identity_picture

SPATIAL = ("clarity", "sharpness")


class Counting:
    """``chain:photo`` that counts what it renders."""

    name, space, differentiable = PHOTO.name, PHOTO.space, False
    renders = 0

    def __call__(self, images, params):
        self.renders += len(images)
        return PHOTO(images, params)


def photos(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, 20, 30, generator=torch.Generator().manual_seed(2))


def setting(**values: float) -> torch.Tensor:
    return PHOTO.space.from_dict(values)[None]


def test_the_picture_holds_every_colour_once():
    colours = identity_picture(5).flatten(2)[0, :, :125].T
    assert len(colours.unique(dim=0)) == 125
    assert torch.equal(colours[1], torch.tensor([0.25, 0, 0]))


def test_one_render_of_a_table_and_one_check_serve_a_batch():
    inner = Counting()
    editor = LutEditor(inner, SPATIAL)
    wanted = setting(exposure=0.5, saturation=20)
    found = editor(photos(), wanted)
    assert inner.renders == 2 and editor.tables == 1
    assert float((found - PHOTO(photos(), wanted)).abs().mean()) < 0.5 / 255


def test_spatial_sliders_are_rendered():
    inner = Counting()
    wanted = setting(clarity=40)
    assert torch.equal(LutEditor(inner, SPATIAL)(photos(), wanted), PHOTO(photos(), wanted.expand(6, -1)))
    assert inner.renders == 6


def test_a_table_that_lies_is_refused():
    inner = Counting()
    editor = LutEditor(inner, ())  # Nobody said that clarity looks around.
    wanted = setting(clarity=60)
    assert torch.allclose(editor(photos(), wanted), PHOTO(photos(), wanted.expand(6, -1)), atol=1e-6)
    assert editor.refused == 1 and inner.renders == 1 + 6


def test_settings_of_a_batch_are_kept_apart():
    editor = LutEditor(Counting(), SPATIAL)
    rows = torch.cat([setting(exposure=0.3), setting(exposure=-0.3)]).repeat(3, 1)
    assert float((editor(photos(), rows) - PHOTO(photos(), rows)).abs().mean()) < 0.5 / 255
    assert editor.tables == 2


def test_contract_and_mistakes():
    check_editor(LutEditor(Counting(), SPATIAL))
    with pytest.raises(ValueError, match="unknown slider 'grain'"):
        LutEditor(PHOTO, ["grain"])
    with pytest.raises(ValueError, match="2 points"):
        LutEditor(PHOTO, [], points=1)
