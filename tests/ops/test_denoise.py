from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixward.ops.denoise import (
    CLEAN,
    Clip,
    Step,
    boundary,
    ddim_step,
    euler_ancestral_step,
    even_timesteps,
    gaussian_kl,
    lcm_step,
    lcm_timesteps,
    log_prob,
    scaled_linear,
    sigmas_at,
    split,
)

ABAR = scaled_linear()
SHAPE = (3, 2, 4, 5)


def noise(seed, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_rlcm_grid_differs_from_that_of_todays_diffusers():
    assert lcm_timesteps(8).tolist() == [999, 879, 759, 639, 519, 399, 279, 159]
    assert lcm_timesteps(8, "diffusers").tolist() == [999, 879, 759, 639, 499, 379, 259, 139]
    # The paper's alignment task.
    assert lcm_timesteps(16).tolist() == list(range(999, 98, -60))


def test_ddpo_grid():
    assert even_timesteps(50).tolist() == list(range(981, 0, -20))


@pytest.mark.parametrize("over", ["sum", "mean"])
def test_log_probability_is_that_of_torch_distributions(over):
    mean, value, std = noise(0), noise(1), torch.tensor([0.02, 1.0, 14.0]).view(3, 1, 1, 1)
    each = torch.distributions.Normal(mean, std.expand(SHAPE)).log_prob(value)
    want = each.sum((1, 2, 3)) if over == "sum" else each.mean((1, 2, 3))
    torch.testing.assert_close(Step(mean, std, mean).log_prob(value, over), want, rtol=1e-5, atol=1e-5)
    double = torch.distributions.Independent(torch.distributions.Normal(mean.double(), std.double().expand(SHAPE)), 3)
    torch.testing.assert_close(log_prob(value.double(), mean.double(), std.double()), double.log_prob(value.double()))


def test_what_draws_nothing_has_no_probability_and_no_gradient():
    mean = noise(0).requires_grad_()
    std = torch.tensor([0.0, 1.0, 1.0]).view(3, 1, 1, 1)
    said = log_prob(noise(1), mean, std)
    said.sum().backward()
    assert float(said[0].detach()) == 0
    assert bool(mean.grad.isfinite().all()) and not bool(mean.grad[0].any()) and bool(mean.grad[1].all())


def test_the_gradient_of_the_log_probability_is_the_distance_over_the_variance():
    mean, value, std = noise(0).requires_grad_(), noise(1), torch.full((3, 1, 1, 1), 0.5)
    log_prob(value, mean, std).sum().backward()
    torch.testing.assert_close(mean.grad, (value - mean.detach()) / 0.25)


def test_divergence_is_that_of_torch_distributions():
    mean, other, std = noise(0), noise(1), torch.tensor([0.1, 1.0, 3.0]).view(3, 1, 1, 1)
    normal = torch.distributions.Normal
    want = torch.distributions.kl_divergence(normal(mean, std.expand(SHAPE)), normal(other, std.expand(SHAPE)))
    torch.testing.assert_close(gaussian_kl(mean, other, std), want.sum((1, 2, 3)))
    assert not bool(gaussian_kl(mean, other, torch.zeros_like(std)).any())


@pytest.mark.parametrize("form", ["epsilon", "v_prediction", "sample"])
@given(time=st.integers(0, 999))
def test_every_form_takes_latents_apart_into_what_made_them(form, time):
    picture, drawn, abar = noise(0).double(), noise(1).double(), ABAR[time].double().view(1, 1, 1, 1)
    latents = abar.sqrt() * picture + (1 - abar).sqrt() * drawn
    velocity = abar.sqrt() * drawn - (1 - abar).sqrt() * picture
    said = {"epsilon": drawn, "v_prediction": velocity, "sample": picture}[form]
    found = split(latents, said, abar, form)
    torch.testing.assert_close(found[0], picture)
    torch.testing.assert_close(found[1], drawn)


def test_boundary_of_a_consistency_model():
    skip, out = boundary(torch.tensor([0, 999]))
    assert (float(skip[0]), float(out[0])) == (1, 0)
    assert float(skip[1]) == pytest.approx(0.25 / (9990**2 + 0.25))
    assert float(out[1]) == pytest.approx(1)


# --- equal to diffusers' schedulers -------------------------------------------------------------------------------

SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def said(latents, time):
    """A network of sorts."""
    return torch.sin(latents) * 0.7 + float(time) / 2000


def walk(monkeypatch, name, scheduler, times, step, scales=None, **more):
    """Side by side from the first noise to the picture: samples, and means, which are samples without noise."""
    module = pytest.importorskip(f"diffusers.schedulers.{name}")
    latents = noise(7) * float(getattr(scheduler, "init_noise_sigma", 1.0))
    assert [float(time) for time in scheduler.timesteps] == pytest.approx([float(time) for time in times])
    for index, time in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(latents, time)
        if scales is not None:
            torch.testing.assert_close(seen, latents * scales[index], rtol=1e-5, atol=1e-5)
        prediction, drawn = said(seen, time), noise(index)
        here = getattr(scheduler, "_step_index", None)
        found = step(latents, prediction, torch.full((3,), index))
        for added in (torch.zeros_like(drawn), drawn):
            if hasattr(scheduler, "_step_index"):
                scheduler._step_index = here  # the same step twice
            monkeypatch.setattr(module, "randn_tensor", lambda *_, added=added, **__: added)
            theirs = scheduler.step(prediction, time, latents, **more)
            torch.testing.assert_close(found.draw(added), theirs.prev_sample, rtol=1e-5, atol=1e-5)
        picture = getattr(theirs, "denoised", getattr(theirs, "pred_original_sample", None))
        torch.testing.assert_close(found.denoised, picture, rtol=1e-5, atol=1e-5)
        latents = theirs.prev_sample


@pytest.mark.parametrize("form", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("rule", ["rlcm", "diffusers"])
def test_lcm_is_that_of_diffusers(monkeypatch, form, rule):
    diffusers = pytest.importorskip("diffusers")
    scheduler, times = diffusers.LCMScheduler(**SCALED, prediction_type=form), lcm_timesteps(8, rule)
    torch.testing.assert_close(ABAR, scheduler.alphas_cumprod)
    if rule == "rlcm":
        scheduler.set_timesteps(timesteps=times.tolist())
    else:
        scheduler.set_timesteps(8)
    following = torch.cat([times[1:], torch.tensor([CLEAN])])

    def step(latents, prediction, index):
        return lcm_step(latents, prediction, times[index], following[index], ABAR, form)

    walk(monkeypatch, "scheduling_lcm", scheduler, times, step)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("to_one", [False, True])
def test_ddim_is_that_of_diffusers(monkeypatch, eta, to_one):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(**SCALED, clip_sample=False, set_alpha_to_one=to_one, steps_offset=1)
    scheduler.set_timesteps(50)
    times = even_timesteps(50).long()
    following = times - 20
    following[-1] = CLEAN if to_one else 0

    def step(latents, prediction, index):
        return ddim_step(latents, prediction, times[index], following[index], ABAR, "epsilon", eta)

    walk(monkeypatch, "scheduling_ddim", scheduler, times, step, eta=eta)


CLIPPED = [
    ({"clip_sample": True, "clip_sample_range": 0.7}, Clip(0.7)),
    ({"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}, Clip(1.5, 0.9)),
]


@pytest.mark.parametrize("config, clip", CLIPPED, ids=["cut", "thresholded"])
@pytest.mark.parametrize("form", ["epsilon", "v_prediction", "sample"])
def test_clipping_is_that_of_diffusers(monkeypatch, config, clip, form):
    diffusers = pytest.importorskip("diffusers")
    ddim = diffusers.DDIMScheduler(**SCALED, **config, set_alpha_to_one=False, steps_offset=1, prediction_type=form)
    ddim.set_timesteps(10)
    times = even_timesteps(10).long()
    following = (times - 100).clamp_min(0)

    def to_less_noise(latents, prediction, index):
        step = ddim_step(latents, prediction, times[index], following[index], ABAR, form, 1.0, clip)
        assert float(step.denoised.abs().max()) <= clip.most
        return step

    walk(monkeypatch, "scheduling_ddim", ddim, times, to_less_noise, eta=1.0)
    lcm, known = diffusers.LCMScheduler(**SCALED, **config, prediction_type=form), lcm_timesteps(4, "diffusers")
    lcm.set_timesteps(4)
    after = torch.cat([known[1:], torch.tensor([CLEAN])])

    def to_the_picture(latents, prediction, index):
        return lcm_step(latents, prediction, known[index], after[index], ABAR, form, clip=clip)

    walk(monkeypatch, "scheduling_lcm", lcm, known, to_the_picture)


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("form", ["epsilon", "v_prediction"])
def test_euler_ancestral_is_that_of_diffusers(monkeypatch, spacing, form):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EulerAncestralDiscreteScheduler(
        **SCALED, timestep_spacing=spacing, steps_offset=1, prediction_type=form
    )
    scheduler.set_timesteps(12)
    times = even_timesteps(12, spacing)
    sigmas = sigmas_at(ABAR, times)
    torch.testing.assert_close(sigmas, scheduler.sigmas, rtol=1e-5, atol=1e-6)

    def step(latents, prediction, index):
        return euler_ancestral_step(latents, prediction, sigmas[index], sigmas[index + 1], form)

    name = "scheduling_euler_ancestral_discrete"
    walk(monkeypatch, name, scheduler, times, step, (sigmas[:-1] ** 2 + 1).rsqrt())


def test_each_item_may_be_at_a_time_of_its_own():
    latents, prediction = noise(0), noise(1)
    now, then = torch.tensor([999, 519, 19]), torch.tensor([879, 399, CLEAN])
    for step in (lcm_step, ddim_step):
        both = step(latents, prediction, now, then, ABAR)
        for i in range(3):
            one = step(latents[i : i + 1], prediction[i : i + 1], now[i : i + 1], then[i : i + 1], ABAR)
            for whole, alone in ((both.mean, one.mean), (both.std, one.std), (both.denoised, one.denoised)):
                torch.testing.assert_close(whole[i : i + 1], alone)


def test_faults_are_named():
    with pytest.raises(ValueError, match="steps must lie in 1 to 50"):
        lcm_timesteps(51)
    with pytest.raises(ValueError, match="steps must lie in 1 to 1000"):
        even_timesteps(0)
    with pytest.raises(ValueError, match="must be equal and std"):
        log_prob(noise(0), noise(0, (3, 2, 4, 4)), torch.ones(3, 1, 1, 1))
    with pytest.raises(ValueError, match="must be equal and std"):
        log_prob(noise(0), noise(0), torch.ones(3))
    with pytest.raises(ValueError, match="shapes must be equal"):
        gaussian_kl(noise(0), noise(0, (3, 2, 4, 4)), torch.ones(3, 1, 1, 1))
