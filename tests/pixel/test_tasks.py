from __future__ import annotations

import pytest
import torch

from pixward.pixel.tasks import noise_tasks, salt_pepper_tasks, text_tasks


def crops(count):
    return torch.full((count, 1, 24, 24), 0.4)


def test_noise_is_as_strong_as_the_plane_says():
    torch.manual_seed(0)
    batch = noise_tasks(crops, (5, 60), condition=True)(40)
    measured = (batch["image"] - batch["clean"]).std((1, 2, 3)) * 255
    told = batch["condition"].mean((1, 2, 3)) * 50
    assert torch.allclose(measured, told, rtol=0.15)
    assert torch.allclose(batch["weight"], 25 / told, rtol=1e-5)
    assert "condition" not in noise_tasks(crops, (25, 25), condition=False)(2)


@pytest.mark.parametrize("tasks", [text_tasks(crops), salt_pepper_tasks(crops)])
def test_damage_is_local(tasks):
    torch.manual_seed(0)
    batch = tasks(12)
    changed = (batch["image"] != batch["clean"]).float().mean((1, 2, 3))
    assert batch["image"].shape == batch["clean"].shape == (12, 1, 24, 24)
    assert bool((changed > 0).any()) and float(changed.min()) < 0.9
    assert float(batch["image"].min()) >= 0 and float(batch["image"].max()) <= 1
