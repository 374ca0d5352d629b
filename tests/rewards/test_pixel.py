from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from pixward.checks import check_reward
from pixward.rewards.pixel import lab_distance, squared_error


def pair(channels):
    return torch.rand(2, 2, channels, 5, 6, generator=torch.Generator().manual_seed(0))


def test_squared_error_by_hand():
    output, target = torch.tensor([[[[0.5, -0.2]]]]), torch.tensor([[[[0.25, 0.0]]]])
    assert torch.allclose(squared_error(output, target), torch.tensor([[[-255 * 0.0625, -255 * 0.04]]]))
    assert torch.allclose(
        squared_error(output.expand(1, 3, 1, 2), target.expand(1, 3, 1, 2))[0, 0, 0] * -1, torch.tensor(15.9375)
    )


def test_lab_distance_equals_skimage():
    output, target = pair(3)
    labs = [rgb2lab(image.permute(0, 2, 3, 1).double().numpy()) for image in (output, target)]
    expected = -np.linalg.norm(labs[0] - labs[1], axis=-1)
    assert np.abs(lab_distance(output, target).numpy() - expected).max() < 0.02


@pytest.mark.parametrize("reward, channels", [(squared_error, 1), (squared_error, 3), (lab_distance, 3)])
def test_contract(reward, channels):
    output, target = pair(channels)
    check_reward(reward, output, target)
    assert reward(output, target).shape == (2, 5, 6)
    assert float(reward(target, target).abs().max()) == 0
    with pytest.raises(ValueError, match="one shape"):
        reward(output, target[..., :4])
