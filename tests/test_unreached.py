from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import Tensor

from pixward.editors.chain import PHOTO
from pixward.ops import color
from pixward.unreached import _listed, explain, explain_look

DEFAULTS = {spec.name: float(spec.default) for spec in PHOTO.space}


def scene(height: int = 96, width: int = 128) -> Tensor:
    """Coloured shapes with all tones, not near the ends."""
    noise = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(2))
    large = torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")
    return large * 0.6 + 0.2


def told(output: Tensor, goal: Tensor, setting: dict[str, float] | None = None, locked: tuple[str, ...] = ()) -> dict:
    return explain(output, goal, PHOTO.space, {**DEFAULTS, **(setting or {})}, locked)


def changed(kind: str) -> Tensor:
    image = scene()
    grey = color.luma(image)
    if kind == "tone":
        return image + 0.12 * torch.sin(grey * 6.28)
    if kind == "colour":
        return color.channel_gains(image, torch.tensor([[1.15, 1.0, 0.85]]))
    if kind == "local":
        y, x = torch.meshgrid(torch.linspace(-1, 1, 96), torch.linspace(-1, 1, 128), indexing="ij")
        return image * (1 - 0.35 * ((x**2 + y**2) / 2 - 1 / 3))  # As bright as before in the mean.
    return image + 0.08 * torch.randn(image.shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", ["tone", "colour", "local", "detail"])
def test_each_kind_of_difference_is_named(kind: str):
    result = told(scene(), changed(kind).clamp(0, 1))
    assert max(result["parts"], key=result["parts"].get) == kind
    assert sum(result["parts"].values()) == pytest.approx(1, abs=1e-3)
    assert kind in result["sentence"]
    assert result["within"] < 0.995
    assert result["delta_e"]["worst"] >= result["delta_e"]["mean"] > 0


def test_a_goal_that_was_reached():
    result = told(scene(), scene(), {"exposure": 3.0})
    assert result["within"] == 1
    assert result["delta_e"] == {"mean": 0, "worst": 0}
    assert result["parts"] == {"tone": 0, "colour": 0, "local": 0, "detail": 0}
    assert result["sentence"] == "The goal was reached: 100 % of the picture is within deltaE 2 of it."


def test_sliders_at_their_ends_and_locks_are_named():
    result = told(scene(), changed("tone"), {"exposure": 3.0, "blacks": -100.0, "contrast": 100.0}, ("contrast",))
    assert result["at_limit"] == {"exposure": 3.0, "blacks": -100.0}
    assert "exposure (3 EV) and blacks (-100 %) stand at the end of the range" in result["sentence"]
    assert "contrast was locked" in result["sentence"]


def test_almost_everything_is_not_everything():
    goal = scene()
    goal[:, :, :1, :4] = 0  # 4 of 12,288 pixels.
    result = told(scene(), goal)
    assert 0.999 < result["within"] < 1
    assert "reached" in result["sentence"]
    assert "99.9 %" in result["sentence"]


def test_one_pixel():
    result = told(torch.full((1, 3, 1, 1), 0.2), torch.full((1, 3, 1, 1), 0.6))
    assert result["within"] == 0
    assert result["parts"]["tone"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("words", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c", "d"], "a, b, c and d")]
)
def test_lists_read_like_sentences(words: list[str], text: str):
    assert _listed(words) == text


def test_a_look_is_told_by_what_the_pictures_are_as_a_whole():
    generator = torch.Generator().manual_seed(0)
    bright = 0.4 + 0.4 * torch.rand(1, 3, 20, 30, generator=generator)
    dark = (bright * 0.5).mean(1, keepdim=True).expand(-1, 3, -1, -1)[:, :, :, :11]
    setting = {spec.name: spec.default for spec in PHOTO.space} | {"exposure": 3.0}
    told = explain_look(bright, dark, PHOTO.space, setting, ["tint"])
    sentence = str(told["sentence"])
    assert "lighter (median L* 8" not in sentence and "lighter" in sentence and "more colourful" in sentence
    assert "exposure (3 EV) stands at the end" in sentence and "tint was locked" in sentence
    ours = np.percentile(rgb2lab(bright[0].permute(1, 2, 0).numpy())[..., 0], (5, 25, 50, 75, 95))
    assert np.allclose(told["render"]["tones"], ours, atol=0.1)
    assert told["reference"]["chroma"] < 1
    same = explain_look(bright, bright, PHOTO.space, setting | {"exposure": 0.0})
    assert "is as light, as steep and as colourful." in str(same["sentence"])
