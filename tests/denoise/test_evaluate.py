"""Figures of pictures at fixed seeds: by hand where they are numbers, by what stays the same where they are drawn."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("diffusers")

from tests.denoise.tiny import tiny_parts

from pixward.denoise.builtin import builtin_judge, builtin_pipeline
from pixward.denoise.evaluate import Looks, divergence, diversity, figures, looked
from pixward.denoise.painter import painter
from pixward.policies.denoiser import DenoiserPolicy
from pixward.policies.pipelines import PainterSettings
from pixward.rewards.image import compressibility


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return tiny_parts(tmp_path_factory.mktemp("parts"))


def light(images, prompts, metadata):
    return images.mean((1, 2, 3))


def test_diversity_is_the_difference_within_a_prompt():
    pictures = torch.zeros(4, 3, 2, 2)
    pictures[1], pictures[3] = 0.5, 1.0
    assert diversity(pictures, 2) == pytest.approx(0.75)
    assert diversity(pictures, 1) == 0
    three = torch.stack([torch.full((3, 2, 2), value) for value in (0.0, 0.3, 0.9)])
    assert diversity(three, 3) == pytest.approx((0.3 + 0.6 + 0.9) / 3, rel=1e-5)
    assert diversity(torch.rand(1, 3, 8, 8).repeat(40, 1, 1, 1), 40) == 0


def test_a_picture_of_one_colour_is_blank(parts):
    red = torch.tensor([0.9, 0.1, 0.2]).view(1, 3, 1, 1).expand(2, 3, 32, 32).clone()
    red[1, 2, :8] += 0.3
    assert figures(red, Looks(("a tiger", "a fox"), 1), light)["blank"] == 0.5


def test_figures_tell_blank_pictures(parts):
    looks = Looks(("a tiger", "a fox"), 1)
    pictures = torch.stack([torch.full((3, 32, 32), 0.5), torch.rand(3, 32, 32)])
    found = figures(pictures, looks, light, builtin_judge(parts))
    assert found["blank"] == 0.5 and found["diversity"] == 0
    assert found["reward"] == pytest.approx(float(pictures.mean()), rel=1e-5)
    assert found["kilobytes"] == pytest.approx(-float(compressibility(pictures, floor=True).mean()), rel=1e-5)
    assert found["kilobytes"] > 0.5 and 0 <= found["accuracy"] <= 1


def test_the_same_pictures_are_looked_at_whatever_the_batch(parts):
    drawn = painter(builtin_pipeline("emoji-lcm", parts), PainterSettings(steps=2))
    prompts = ("a tiger", "a fox", "a cat on sand")
    torch.manual_seed(1)
    first = looked(drawn, Looks(prompts, 2, batch=6))
    torch.manual_seed(2)
    torch.testing.assert_close(looked(drawn, Looks(prompts, 2, batch=4)), first, rtol=1e-4, atol=1e-5)
    assert not torch.equal(first[0], first[1])
    assert not torch.allclose(looked(drawn, Looks(prompts, 2, seed=5)), first)


def test_the_divergence_counts_how_far_means_went(parts):
    drawn = painter(builtin_pipeline("emoji-lcm", parts), PainterSettings(steps=2))
    same = DenoiserPolicy(drawn.policy.unet, drawn.policy.sampler, drawn.policy.guidance)
    before = torch.get_rng_state()
    assert divergence(drawn, same, ["a tiger", "a fox"]) == 0
    assert torch.equal(torch.get_rng_state(), before)

    class Shifted(DenoiserPolicy):
        def log_prob(self, states, actions):
            log_prob, mean, std = super().log_prob(states, actions)
            return log_prob, mean + 0.1 * std, std

    other = Shifted(drawn.policy.unet, drawn.policy.sampler, drawn.policy.guidance)
    values = math.prod(drawn.env.latent)
    assert divergence(drawn, other, ["a tiger"]) == pytest.approx(2 * values * 0.01 / 2, rel=1e-3)
