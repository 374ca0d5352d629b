from __future__ import annotations

import pytest
import torch

from pixward.ops.denoise import scaled_linear
from pixward.ops.sampler import ddim_sampler, euler_ancestral_sampler, lcm_sampler

LATENTS = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
PREDICTION = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def test_rlcm_draws_with_the_papers_deviations_and_once_more_in_the_end():
    sampler = lcm_sampler()
    # sqrt(1 - abar) at 879, 759, ... 159 and at 159 again.
    want = [0.991, 0.974, 0.935, 0.865, 0.758, 0.612, 0.430, 0.430]
    assert sampler.stds.tolist() == pytest.approx(want, abs=6e-4)
    assert (sampler.steps, sampler.shows, sampler.first_std) == (8, "denoised", 1.0)
    assert sampler.learnt == tuple(range(8))
    assert lcm_sampler(last="drop").learnt == tuple(range(7))


def test_ddpo_draws_in_the_last_step_too():
    sampler = ddim_sampler()
    abar = scaled_linear().double()
    last = ((1 - abar[0]) / (1 - abar[1]) * (1 - abar[1] / abar[0])).sqrt()
    assert float(sampler.stds[-1]) == pytest.approx(float(last), rel=1e-4) == pytest.approx(0.0206, abs=1e-4)
    assert float(sampler.stds[0]) == pytest.approx(0.4545, abs=1e-4)
    assert sampler.learnt == tuple(range(50)) and sampler.shows == "latents"
    assert ddim_sampler(eta=0).learnt == ()


def test_a_head_draws_around_the_denoised():
    for sampler in (lcm_sampler(4, "head", 0.2), ddim_sampler(4, last="head"), euler_ancestral_sampler(4, "head")):
        index = torch.tensor([1, 3])
        step = sampler.step(LATENTS, PREDICTION, index)
        plain = sampler.moments(LATENTS, PREDICTION, index)
        assert torch.equal(step.mean[0], plain.mean[0]) and torch.equal(step.std[0], plain.std[0])
        assert torch.equal(step.mean[1], plain.denoised[1])
        assert float(step.std[1]) == pytest.approx(sampler.head_std)
        assert (sampler.shows, sampler.learnt) == ("latents", (0, 1, 2, 3))


def test_what_the_network_sees():
    sampler, index = euler_ancestral_sampler(5, spacing="leading", offset=1), torch.tensor([0, 4])
    top = float(((1 - scaled_linear()) / scaled_linear()).sqrt()[801])
    assert sampler.first_std == pytest.approx((top**2 + 1) ** 0.5, rel=1e-5)
    assert sampler.times(index).tolist() == [801, 1]
    want = LATENTS[0] / (top**2 + 1) ** 0.5
    torch.testing.assert_close(sampler.scaled(LATENTS, index)[0], want, rtol=1e-5, atol=1e-6)
    assert sampler.learnt == (0, 1, 2, 3)
    assert torch.equal(lcm_sampler(5).scaled(LATENTS, index), LATENTS)


def test_a_grid_of_ones_own():
    sampler = lcm_sampler(timesteps=torch.tensor([999, 499]), last="drop")
    assert sampler.times(torch.tensor([0, 1])).tolist() == [999, 499] and sampler.learnt == (0,)
    assert float(sampler.stds[0]) == pytest.approx(float((1 - scaled_linear()[499]).sqrt()))


def test_faults_are_named():
    with pytest.raises(ValueError, match="draws no noise"):
        euler_ancestral_sampler(4, "keep")
    with pytest.raises(ValueError, match="draws no noise"):
        ddim_sampler(to_clean=True)
    with pytest.raises(ValueError, match="head_std must be above 0"):
        lcm_sampler(4, "head", 0.0)
