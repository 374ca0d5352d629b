from __future__ import annotations

import pytest
import torch
from skimage.color import rgb2lab

from pixward.ops.pixel import SALIENCY
from pixward.pixel.blend import blend
from pixward.pixel.edits import Edits
from pixward.pixel.maps import MapsText, draw_maps, heat
from pixward.pixel.saliency import PREVIEW, lab_change, small_size, steer
from pixward.policies.pixel import PixelPolicy, PixelSettings

DARKER, BRIGHTER = SALIENCY.index("darker"), SALIENCY.index("brighter")


def brightness(images):
    return images.mean(1)


class Fixed(PixelPolicy):
    """Brighter inside the mask, darker outside, or the other way round."""

    def __init__(self, wrong=False):
        super().__init__(PixelSettings(actions="saliency", horizon=3, width=4, design="context", condition=2))
        self.wrong = wrong

    def forward(self, image, memory=None, condition=None):
        logits = torch.zeros(len(image), len(SALIENCY), *image.shape[2:])
        inside = condition[:, 0] if not self.wrong else 1 - condition[:, 0]
        logits[:, BRIGHTER], logits[:, DARKER] = inside, 1 - inside
        return logits, memory


def scene(height=40, width=60):
    photo = 0.3 + 0.4 * torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, height, width)
    mask[:, 10:25, 20:45] = 1
    return photo, mask


def test_blending_where_all_agree_is_the_action_itself():
    photo, _ = scene()
    maps = torch.full((2, 1, 20, 30), BRIGHTER, dtype=torch.uint8)
    action = SALIENCY.actions[BRIGHTER]
    assert torch.allclose(blend(SALIENCY, photo, maps), action(action(photo, None), None), atol=1e-6)


def test_blending_follows_the_mask_at_full_size():
    """The copy is a quarter as large, but the edge is the full-size mask's, to the pixel."""
    photo, mask = scene(80, 120)
    small = mask[:, ::4, ::4]
    maps = torch.where(small > 0.5, BRIGHTER, DARKER).to(torch.uint8)[None]
    result = blend(SALIENCY, photo, maps, mask, small)
    moved = (result - photo).mean(1)
    assert bool((moved[mask > 0.5] > 0).all()) and bool((moved[mask < 0.5] < 0).all())
    with pytest.raises(ValueError, match="both masks"):
        blend(SALIENCY, photo, maps, mask)
    with pytest.raises(ValueError, match="do not fit"):
        blend(SALIENCY, photo, maps, mask, mask)


def test_steering_does_what_the_model_likes():
    photo, mask = scene()
    found = steer(Fixed(), photo, mask, brightness)
    assert found.kept == 3 and len(found.trace.maps) == 3
    assert found.inside[1] > found.inside[0] and found.outside[1] < found.outside[0]
    assert found.inside[0] == pytest.approx(float(photo.mean(1)[mask > 0].mean()), abs=1e-5)
    assert found.inside[1] == pytest.approx(float(found.result.mean(1)[mask > 0].mean()), abs=1e-5)
    assert found.distance > 1
    assert found.before.shape == found.after.shape == (1, 40, 60)


def test_a_photo_never_gets_worse():
    photo, mask = scene()
    found = steer(Fixed(wrong=True), photo, mask, brightness)
    assert found.kept == 0 and found.distance == 0 and torch.equal(found.result, photo)
    assert len(found.trace.maps) == 3  # what was tried


def test_edits_hold_on_the_copy():
    photo, mask = scene()
    edits = Edits.of(SALIENCY, forbid=["darker"], freeze=mask[0] > 0.5)
    found = steer(Fixed(), photo, mask, brightness, 1, edits)
    assert not bool((found.trace.maps == DARKER).any())
    assert bool((found.trace.maps[0][mask > 0.5] == SALIENCY.index("nothing")).all())


def test_large_photos_are_decided_on_small():
    photo, mask = scene(300, 600)
    found = steer(Fixed(), photo, mask, brightness, 1)
    assert found.trace.maps.shape == (1, 1, PREVIEW // 2, PREVIEW)
    assert found.result.shape == photo.shape
    assert small_size((4000, 3000)) == (256, 192) and small_size((5, 7)) == (5, 7)


def test_masks_that_make_no_sense():
    photo, mask = scene()
    for bad in (torch.zeros_like(mask), torch.ones_like(mask)):
        with pytest.raises(ValueError, match="neither nothing nor all"):
            steer(Fixed(), photo, bad, brightness)
    with pytest.raises(ValueError, match="need a photo"):
        steer(Fixed(), photo, mask[:, 1:], brightness)
    with pytest.raises(ValueError, match="must return a tensor"):
        steer(Fixed(), photo, mask, lambda images: images)


def test_the_change_in_lab():
    grey = torch.full((1, 3, 300, 2), 0.5)  # more rows than are compared at once
    assert lab_change(grey, grey) == 0
    values = [rgb2lab([[[value / 255] * 3]])[0, 0, 0] for value in (128, 191)]
    assert lab_change(grey, torch.full_like(grey, 0.75)) == pytest.approx(values[1] - values[0], abs=0.01)


def test_heat_runs_from_black_to_pale_yellow():
    colours = heat(torch.tensor([[[0.0, 0.5, 1.0]]])) * 255
    assert torch.allclose(colours[0, :, 0].T, torch.tensor([[0.0, 0, 4], [188, 55, 84], [252, 255, 164]]), atol=0.01)


def test_panels_have_a_row_of_their_own():
    photo, mask = scene()
    found = steer(Fixed(), photo, mask, brightness)
    text = MapsText("a", "b", ("colour",))
    plain = draw_maps(photo, found.result, found.trace, text)
    more = draw_maps(photo, found.result, found.trace, text, [("mask", mask[:, None]), ("heat", heat(found.before))])
    assert more.height > plain.height + 200 and more.width == plain.width
