"""What the small modules learn by: values by hand, and that a few steps of each get somewhere."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pixward.denoise.fitting import CodecFit, ConsistencyFit, DiffusionFit, JudgeFit, fitting_loss
from pixward.ops.denoise import ddim_step, lcm_step, scaled_linear
from pixward.rewards.alignment import small_classifier
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.workers import Workers

ABAR = scaled_linear()


class Constant(nn.Module):
    """A denoiser that says one number everywhere, and for a prompt that number times its first word."""

    def __init__(self, value: float = 0.5) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.config = SimpleNamespace(time_cond_proj_dim=4)
        self.told: list[torch.Tensor] = []

    def forward(self, latents, times, encoder_hidden_states=None, timestep_cond=None):
        self.told.append(times)
        scale = 1.0 if encoder_hidden_states is None else encoder_hidden_states[:, 0, 0][:, None, None, None]
        return SimpleNamespace(sample=self.value * scale * torch.ones_like(latents))


class Words(nn.Module):
    def forward(self, tokens):
        return (tokens.float()[..., None],)


def test_the_loss_of_diffusion_is_the_squared_error_of_the_noise():
    fit = DiffusionFit(Constant(0.0), Words())
    batch = {"latents": torch.zeros(512, 1, 4, 4), "tokens": torch.ones(512, 2), "empty": torch.zeros(1, 2)}
    torch.manual_seed(0)
    loss, _ = fit.log_prob(batch)
    assert float(loss.detach()) == pytest.approx(1.0, abs=0.05)  # the variance of the noise
    times = fit.unet.told[0]
    # One time from each of 512 equal parts.
    assert (times.sort().values.diff() <= 4).all() and int(times.min()) >= 0 and int(times.max()) <= 999


def test_a_tenth_of_the_prompts_is_not_told():
    fit = DiffusionFit(Constant(1.0), seen := Remembering())
    batch = {"latents": torch.zeros(2000, 1, 1, 1), "tokens": torch.ones(2000, 2), "empty": torch.zeros(1, 2)}
    torch.manual_seed(0)
    fit.log_prob(batch)
    assert float((seen.tokens[:, 0] == 0).float().mean()) == pytest.approx(0.1, abs=0.02)


class Remembering(Words):
    def forward(self, tokens):
        self.tokens = tokens
        return super().forward(tokens)


def test_consistency_is_taught_by_one_guided_step_of_the_teacher(monkeypatch):
    """The whole loss of one picture, by hand."""
    student, teacher = Constant(0.3), Constant(0.2)
    fit = ConsistencyFit(student, teacher)
    latents, prompt = torch.full((1, 2, 2, 2), 0.7), torch.full((1, 1, 1), 2.0)
    batch = {"latents": latents, "prompt": prompt, "unconditional": torch.full((1, 1, 1), 1.0)}
    torch.manual_seed(3)
    found, _ = fit.log_prob(batch)
    torch.manual_seed(3)
    place = int(torch.randint(1, 51, (1,)))
    scale, now = 1 + 7 * float(torch.rand(1)), 20 * place - 1
    assert place > 1
    seen = ABAR[now].sqrt() * latents + (1 - ABAR[now]).sqrt() * torch.randn(latents.shape)
    said = torch.full_like(latents, 0.2 + scale * (0.4 - 0.2))
    time, before = torch.tensor([now]), torch.tensor([now - 20])
    earlier = ddim_step(seen, said, time, before, ABAR, "epsilon", 0.0).mean
    spoken = torch.full_like(latents, 0.6)
    target = lcm_step(earlier, spoken, before, before, ABAR).denoised
    gap = lcm_step(seen, spoken, time, time, ABAR).denoised - target
    assert float(found) == pytest.approx(float(((gap**2 + 1e-6).sqrt() - 1e-3).mean()), rel=1e-4)
    found.backward()
    assert student.value.grad is not None and teacher.value.grad is None


def test_the_judge_passes_over_what_a_prompt_does_not_say():
    logits = torch.tensor([[2.0, 0.0, 1.0, 0.0, 3.0], [0.0, 1.0, 0.0, 0.0, 0.0]])
    fit = JudgeFit(nn.Identity(), (2, 3))
    loss, figures = fit.log_prob({"images": logits, "said": torch.tensor([[0, -1], [0, 2]])})
    first = (
        F.cross_entropy(logits[:1, :2], torch.tensor([0])) + F.cross_entropy(logits[1:, :2], torch.tensor([0]))
    ) / 2
    assert float(loss) == pytest.approx(float(first) + math.log(3), rel=1e-6)
    assert float(figures["accuracy"]) == 0.5


class Blur(nn.Module):
    """An autoencoder of one weight."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.2))

    def encode(self, images):
        mean = self.gain * images
        found = SimpleNamespace(mean=mean, sample=lambda: mean, kl=lambda: mean.square().flatten(1).sum(1))
        return SimpleNamespace(latent_dist=found)

    def decode(self, latents):
        return SimpleNamespace(sample=latents)


def test_the_codec_is_judged_by_values_edges_and_divergence():
    images = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])  # -1, 1 in the codec's range
    loss, figures = CodecFit(Blur(), kl=0.5).log_prob({"images": images})
    assert float(figures["error"]) == pytest.approx(0.8)
    assert float(figures["psnr"]) == pytest.approx(-10 * math.log10(0.16), rel=1e-5)
    # Edges of 2 across, of which 0.4 is left, none along; the divergence of four values, each 0.2 squared.
    assert float(loss) == pytest.approx(0.8 + 1.6 + 0.5 * 0.04, rel=1e-5)


def test_a_judge_learns_in_the_loop_of_maximum_likelihood():
    torch.manual_seed(0)
    fit = JudgeFit(small_classifier(2, 8), (2,))

    def batches(index):
        said = (torch.arange(16) + index)[:, None] % 2
        generator = torch.Generator().manual_seed(index)
        images = 0.3 + 0.4 * said[:, :, None, None] + 0.1 * torch.rand(16, 3, 16, 16, generator=generator)
        return {"images": images, "said": said}

    settings = LikelihoodSettings(steps=30, learning_rate=1e-2, warmup=3, checkpoint_every=10)
    lines = list(likelihood(fit, batches, settings, None, Workers(), None, fitting_loss))
    assert lines[-1]["accuracy"] > 0.95 and lines[-1]["loss"] < lines[0]["loss"]
