from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pixward.rewards.image import colourfulness, neg_mse, psnr, ssim
from pixward.types import Reward


@pytest.mark.parametrize("reward", [neg_mse, psnr, ssim])
def test_rewards_rise_towards_the_target(reward: Reward) -> None:
    target = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    scores = torch.stack([reward(target * scale, target) for scale in (0.2, 0.6, 0.9, 1.0)])
    assert scores.shape == (4, 2)
    assert (scores.diff(dim=0) > 0).all()


def test_neg_mse_of_a_known_difference() -> None:
    target = torch.zeros(1, 3, 2, 2)
    assert float(neg_mse(target + 0.5, target)) == pytest.approx(-0.25)


def naive_colourfulness(picture: np.ndarray) -> float:
    """Pixel by pixel, with scikit-image's L*a*b*."""
    color = pytest.importorskip("skimage.color")
    lab = color.rgb2lab(picture).reshape(-1, 3)
    bins, vivid = [0] * 7, 0
    for _, a, b in lab:
        if a * a + b * b > 10:
            vivid += 1
            bins[min(6, int((math.atan2(b, a) + math.pi) / (2 * math.pi) * 7))] += 1
    return -vivid / len(lab) * sum(n / vivid * math.log(n / vivid) for n in bins if n)


def test_colourfulness_equals_a_loop() -> None:
    pictures = torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    pictures = 0.5 + (pictures - 0.5) * torch.tensor([1.0, 0.1, 0.02]).view(3, 1, 1, 1)  # vivid, dull, nearly grey
    want = [naive_colourfulness(picture.permute(1, 2, 0).double().numpy()) for picture in pictures]
    assert colourfulness(pictures).tolist() == pytest.approx(want, abs=1e-5)
    assert want[0] > 1 > want[2]


def test_colourfulness_has_its_ends_at_grey_and_the_rainbow() -> None:
    grey = torch.linspace(0, 1, 32).expand(1, 3, 4, 32)
    red = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(1, 3, 4, 32)
    assert colourfulness(grey).item() == 0
    assert colourfulness(red).item() == pytest.approx(0, abs=1e-6)  # vivid, but of one hue
    color = pytest.importorskip("skimage.color")
    hues = (np.arange(7) + 0.5) * 2 * math.pi / 7 - math.pi
    lab = np.stack([np.full(7, 60.0), 20 * np.cos(hues), 20 * np.sin(hues)], -1)[None]
    rainbow = torch.from_numpy(color.lab2rgb(lab)).permute(2, 0, 1)[None].float()
    assert colourfulness(rainbow).item() == pytest.approx(math.log(7), abs=1e-5)
    half = torch.cat([rainbow, torch.full_like(rainbow, 0.5)], 2)
    assert colourfulness(half).item() == pytest.approx(math.log(7) / 2, abs=1e-5)
    assert colourfulness(rainbow, vivid=500.0).item() == 0


def test_colourfulness_errors_name_the_item() -> None:
    pictures = torch.rand(3, 3, 4, 4)
    pictures[1, 2, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="output: item 1 has pixels that are no finite numbers"):
        colourfulness(pictures)
    for shape in ((2, 1, 4, 4), (2, 3, 0, 4), (3, 4, 4)):
        with pytest.raises(ValueError, match="pictures .B, 3, H, W. with pixels"):
            colourfulness(torch.rand(shape))
