"""What the modules of the small world learn by, before any reward: codec, diffusion, consistency, and who judges.

Each class is what :func:`pixward.train.likelihood.likelihood` trains, with :func:`fitting_loss`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.ops.denoise import abar_at, ddim_step, lcm_step, scaled_linear
from pixward.policies.denoiser import embed_guidance
from pixward.train.workers import Learner

EMPTY = 0.1
"""Share of prompts that a diffusion model is not told, so that guidance has something to lead away from."""
ORIGIN = 50
"""Times of the teacher's sampler that a consistency model is distilled from; LCM's."""
SCALES = (1.0, 8.0)
"""Guidance that a consistency model is distilled for."""


def fitting_loss(learner: Learner, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, float]]:
    """The mean of what the module says of the ``batch``, and its other figures, for the log."""
    loss, figures = learner.score(batch)
    return loss, {"loss": float(loss.detach()), **{name: float(value) for name, value in figures.items()}}


class CodecFit(nn.Module):
    """An autoencoder: mean absolute error of values and of edges, and a little of what keeps latents near a normal.

    Batches hold ``images`` ``(B, 3, H, W)`` in [0, 1].
    """

    def __init__(self, codec: nn.Module, kl: float = 2e-4) -> None:
        super().__init__()
        self.codec: Any = codec
        self.kl = kl

    def log_prob(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its parts."""
        images = batch["images"] * 2 - 1
        found = self.codec.encode(images).latent_dist
        drawn = self.codec.decode(found.sample()).sample.float()
        apart = found.kl().mean() / found.mean[0].numel()
        error = (drawn - images).abs().mean()
        psnr = -10 * ((drawn.detach().clamp(-1, 1) - images) / 2).square().mean().log10()
        edges = sum((drawn.diff(dim=along) - images.diff(dim=along)).abs().mean() for along in (2, 3))
        return error + edges + self.kl * apart, {"error": error.detach(), "kl": apart.detach(), "psnr": psnr}


class DiffusionFit(nn.Module):
    """A denoiser and its words: mean squared error of the noise (Ho et al. 2020), ``EMPTY`` of the prompts untold.

    Batches hold ``latents`` ``(B, C, H, W)`` of unit variance, ``tokens`` ``(B, L)`` and ``empty`` ``(1, L)`` int64.
    """

    def __init__(self, unet: nn.Module, words: nn.Module) -> None:
        super().__init__()
        self.unet: Any = unet
        self.words: Any = words
        self.abar = scaled_linear()

    def log_prob(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss."""
        latents = batch["latents"]
        untold = torch.rand(len(latents), 1) < EMPTY
        tokens = torch.where(untold.to(latents.device), batch["empty"], batch["tokens"])
        # One time from each of B equal parts: less of the loss is chance.
        times = (torch.rand(1) + torch.randperm(len(latents)) / len(latents)) % 1 * len(self.abar)
        times = times.long().to(latents.device)
        noise = torch.randn(latents.shape).to(latents)
        signal = abar_at(self.abar.to(latents), times)
        seen = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        said = self.unet(seen, times, encoder_hidden_states=self.words(tokens)[0]).sample
        return F.mse_loss(said.float(), noise), {}


class ConsistencyFit(nn.Module):
    """A consistency model that is distilled from a teacher with its guidance: LCM (Luo et al. 2023), section 4.

    What it makes of the noised latents shall be what it makes of them one step of the teacher's DDIM earlier. The
    target is the model itself without a gradient, and no running mean of it (Song and Dhariwal 2024).

    Batches hold ``latents`` ``(B, C, H, W)``, ``prompt`` ``(B, L, D)`` and ``unconditional`` ``(1, L, D)``.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.student: Any = student
        self.teacher: Any = teacher.requires_grad_(False)
        self.abar = scaled_linear()

    def log_prob(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The pseudo-Huber distance."""
        latents, prompt = batch["latents"], batch["prompt"]
        count, stride = len(latents), len(self.abar) // ORIGIN
        now = (torch.randint(1, ORIGIN + 1, (count,)) * stride - 1).to(latents.device)
        scale = (SCALES[0] + (SCALES[1] - SCALES[0]) * torch.rand(count)).to(latents.device)
        noise = torch.randn(latents.shape).to(latents)
        signal = abar_at(self.abar.to(latents), now)
        seen = signal.sqrt() * latents + (1 - signal).sqrt() * noise
        with torch.no_grad():
            both = torch.cat([batch["unconditional"].expand_as(prompt), prompt])
            plain, prompted = self.teacher(seen.repeat(2, 1, 1, 1), now.repeat(2), both).sample.chunk(2)
            said = plain + scale[:, None, None, None] * (prompted - plain)
            earlier = ddim_step(seen, said, now, now - stride, self.abar, "epsilon", 0.0).mean
            # Before the first time lies the picture itself, which needs no network.
            target = self._picture(earlier, (now - stride).clamp_min(0), prompt, scale)
            target = torch.where((now < stride)[:, None, None, None], earlier, target)
        gap = self._picture(seen, now, prompt, scale) - target
        return ((gap.square() + 1e-6).sqrt() - 1e-3).mean(), {"gap": gap.detach().square().mean()}

    def _picture(self, latents: Tensor, times: Tensor, prompt: Tensor, scale: Tensor) -> Tensor:
        told = embed_guidance(scale, self.student.config.time_cond_proj_dim, len(latents)).to(latents)
        said = self.student(latents, times, prompt, timestep_cond=told).sample.float()
        return lcm_step(latents, said, times, times, self.abar).denoised


class JudgeFit(nn.Module):
    """A classifier of pictures: which phrase of each group the prompt says, by cross-entropy.

    Batches hold ``images`` ``(B, 3, H, W)`` in [0, 1] and ``said`` ``(B, G)`` int64, -1 where a prompt says none.
    """

    def __init__(self, classifier: nn.Module, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.classifier, self.sizes = classifier, sizes

    def log_prob(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the share of prompts of which all was seen."""
        said = batch["said"]
        parts = self.classifier(batch["images"]).float().split(self.sizes, 1)
        losses = [F.cross_entropy(part, said[:, k], ignore_index=-1) for k, part in enumerate(parts)]
        seen = torch.stack([part.argmax(1) for part in parts], 1)
        right = ((seen == said) | (said < 0)).all(1).float().mean()
        return torch.stack(losses).sum(), {"accuracy": right}
