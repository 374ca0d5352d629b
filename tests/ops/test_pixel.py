from __future__ import annotations

import colorsys

import pytest
import torch

from pixward.ops.pixel import ACTION_SETS, COLOUR, RESTORE, scaled_saturation


def image(actions, height=6, width=7, count=2):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, actions.channels, height, width, generator=generator)


def test_the_order_is_the_authors():
    assert RESTORE.names == (
        "darker",
        "nothing",
        "brighter",
        "gaussian 0.5",
        "bilateral 0.1",
        "median",
        "gaussian 1.5",
        "bilateral 1.0",
        "box",
    )
    assert len(COLOUR) == 13 and COLOUR.names[0] == "nothing"
    assert all(len(set(actions.names)) == len(actions) for actions in ACTION_SETS.values())


@pytest.mark.parametrize("actions", ACTION_SETS.values(), ids=ACTION_SETS)
def test_each_pixel_takes_its_own_action(actions):
    before = image(actions)
    chosen = torch.randint(len(actions), before[:, 0].shape, generator=torch.Generator().manual_seed(1))
    after, all_next = actions.apply(before, chosen), actions.outcomes(before)
    for b in range(2):
        for y in range(6):
            for x in range(7):
                assert torch.equal(after[b, :, y, x], all_next[b, chosen[b, y, x], :, y, x])
    assert torch.equal(actions.apply(before, torch.full_like(chosen, actions.index("nothing"))), before)


def test_nothing_is_clipped():
    dark = torch.zeros(1, 1, 2, 2)
    assert torch.allclose(RESTORE.apply(dark, torch.zeros(1, 2, 2, dtype=torch.uint8)), torch.tensor(-1 / 255))
    bright = torch.ones(1, 3, 2, 2)
    assert torch.allclose(COLOUR.apply(bright, torch.full((1, 2, 2), 6)), torch.tensor(1.025))


def test_colour_values():
    """Each action on one colour, by the authors' table; their channels are blue, green, red."""
    red, green, blue = 0.8, 0.4, 0.2
    pixel = torch.tensor([red, green, blue]).view(1, 3, 1, 1)
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    expected = {
        "less contrast": [0.785, 0.405, 0.215],
        "more contrast": [0.815, 0.395, 0.185],
        "less saturation": colorsys.hsv_to_rgb(hue, saturation * 0.95, value),
        "more saturation": colorsys.hsv_to_rgb(hue, saturation * 1.05, value),
        "darker": [0.775, 0.375, 0.175],
        "brighter": [0.825, 0.425, 0.225],
        "less yellow": [0.76, 0.38, 0.2],
        "more yellow": [0.84, 0.42, 0.2],
        "less cyan": [0.8, 0.38, 0.19],
        "more cyan": [0.8, 0.42, 0.21],
        "less magenta": [0.76, 0.4, 0.19],
        "more magenta": [0.84, 0.4, 0.21],
    }
    for name, colour in expected.items():
        found = COLOUR.apply(pixel, torch.full((1, 1, 1), COLOUR.index(name)))
        assert torch.allclose(found.flatten(), torch.tensor(colour), atol=1e-6), name


def test_saturation_equals_opencv():
    cv2 = pytest.importorskip("cv2", reason="the reference is opencv-python-headless (dev extra)")
    pixels = image(COLOUR, 20, 30, 1)
    hsv = cv2.cvtColor(pixels[0].permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2HSV)
    hsv[..., 1] *= 0.95
    expected = torch.from_numpy(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)).permute(2, 0, 1)[None]
    assert torch.allclose(scaled_saturation(pixels, 0.95), expected, atol=2e-6)


def test_bad_actions_are_named():
    before = image(RESTORE)
    with pytest.raises(ValueError, match="unknown action 9: restore has 0 to 8"):
        RESTORE.apply(before, torch.full((2, 6, 7), 9))
    with pytest.raises(ValueError, match="unknown action -3"):
        RESTORE.apply(before, torch.full((2, 6, 7), -3))
    with pytest.raises(ValueError, match="integers"):
        RESTORE.apply(before, torch.zeros(2, 6, 7))
    with pytest.raises(ValueError, match=r"need an image \(B, 1, H, W\)"):
        RESTORE.apply(image(COLOUR), torch.zeros(2, 6, 7, dtype=torch.long))
    with pytest.raises(ValueError, match="need an image"):
        RESTORE.apply(before, torch.zeros(2, 6, 6, dtype=torch.long))
    for name in ("sharpen", 9, -1):
        with pytest.raises(ValueError, match="there is no action"):
            RESTORE.index(name)
    assert RESTORE.index(5) == RESTORE.index("median") == 5
