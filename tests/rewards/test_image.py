from __future__ import annotations

import pytest
import torch

from pixward.rewards.image import neg_mse, psnr, ssim
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
