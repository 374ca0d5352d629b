"""One step from noise towards a picture, as a Gaussian whose probability is known: LCM, DDIM, Euler ancestral.

``x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise``. ``abar`` ("alphas_cumprod") falls from about 1 at t = 0 to about 0
at the last of its ``T`` entries. Every function is pure and batched; each item may be at a time of its own. Latents are
``(B, C, H, W)`` float, of any range. The steps equal those of diffusers' schedulers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Form = Literal["epsilon", "v_prediction", "sample"]
"""What the network says: the noise, the velocity (Salimans and Ho 2022), or the picture."""

Over = Literal["sum", "mean"]
"""How the log-probabilities of ``C * H * W`` values become one: their sum is the decision's, their mean is what DDPO
and RLCM call it, the logarithm of the (C H W)-th root of the density."""

CLEAN = -1
"""As the time that follows a step: no noise at all, abar = 1."""


@dataclass(frozen=True, eq=False)
class Step:
    """The distribution of the next latents, a Gaussian with one standard deviation for all values of an item.

    Attributes:
        mean: ``(B, C, H, W)``.
        std: ``(B, 1, 1, 1)``; 0 where the step draws nothing.
        denoised: ``(B, C, H, W)``, the picture without noise as the network sees it at this step.
    """

    mean: Tensor
    std: Tensor
    denoised: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """The next latents that standard normal ``noise`` ``(B, C, H, W)`` makes."""
        return self.mean + self.std * noise

    def log_prob(self, value: Tensor, over: Over = "sum") -> Tensor:
        """Of the next latents ``value`` ``(B, C, H, W)``: see :func:`log_prob`."""
        return log_prob(value, self.mean, self.std, over)


def log_prob(value: Tensor, mean: Tensor, std: Tensor, over: Over = "sum") -> Tensor:
    """Log-density of ``value`` ``(B, C, H, W)`` under a Gaussian, ``(B,)``; ``std`` is ``(B, 1, 1, 1)``.

    0 where ``std`` is 0: what is not drawn cannot be learnt. ``value`` and ``std`` carry no gradient.

    Raises:
        ValueError: the shapes differ.
    """
    if value.shape != mean.shape or std.shape != (len(mean), 1, 1, 1):
        raise ValueError(
            f"value {tuple(value.shape)} and mean {tuple(mean.shape)} must be equal and std (B, 1, 1, 1), "
            f"got {tuple(std.shape)}"
        )
    drawn = std.detach() > 0
    safe = torch.where(drawn, std.detach(), 1.0)
    each = -0.5 * ((value.detach() - mean) / safe).square() - safe.log() - 0.5 * math.log(2 * math.pi)
    flat = torch.where(drawn, each, 0.0).flatten(1)
    return flat.sum(1) if over == "sum" else flat.mean(1)


def gaussian_kl(mean: Tensor, other: Tensor, std: Tensor) -> Tensor:
    """Divergence of two Gaussians with the same ``std`` ``(B, 1, 1, 1)``, in nats, ``(B,)``; exact, unlike estimates.

    KL = |mean - other|^2 / (2 std^2), 0 where ``std`` is 0. ``other`` carries no gradient.
    """
    if mean.shape != other.shape:
        raise ValueError(f"shapes must be equal: mean {tuple(mean.shape)}, other {tuple(other.shape)}")
    safe = torch.where(std > 0, std, torch.inf)
    return 0.5 * ((mean - other.detach()) / safe).square().flatten(1).sum(1)


# --- noise over time ------------------------------------------------------------------------------------------------


def scaled_linear(count: int = 1000, first: float = 0.00085, last: float = 0.012) -> Tensor:
    """``abar`` of Stable Diffusion, ``(count,)`` float32: square roots of the betas rise evenly."""
    betas = torch.linspace(first**0.5, last**0.5, count, dtype=torch.float32) ** 2
    return (1 - betas).cumprod(0)


def abar_at(alphas_cumprod: Tensor, timestep: Tensor) -> Tensor:
    """``abar`` at ``timestep`` ``(B,)`` int64, as ``(B, 1, 1, 1)``; 1 at :data:`CLEAN`."""
    here = alphas_cumprod.to(timestep.device)[timestep.clamp_min(0)]
    return torch.where(timestep < 0, torch.ones_like(here), here)[:, None, None, None]


def split(latents: Tensor, prediction: Tensor, abar: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """What the network's ``prediction`` takes ``latents`` apart into: picture and noise, ``(B, C, H, W)`` each.

    ``abar`` is ``(B, 1, 1, 1)``, below 1.
    """
    signal, noise = abar.sqrt(), (1 - abar).sqrt()
    if form == "epsilon":
        return (latents - noise * prediction) / signal, prediction
    if form == "v_prediction":
        return signal * latents - noise * prediction, signal * prediction + noise * latents
    return prediction, (latents - signal * prediction) / noise


@dataclass(frozen=True)
class Clip:
    """How far the picture without noise may be from 0 at every step, as the schedulers of some models are set to.

    Attributes:
        most: values are cut to [-most, most].
        quantile: 0, or which quantile of an item's absolute values takes the place of ``most``, as far as it lies
            between 1 and ``most``; what is left is divided by it: dynamic thresholding (Saharia et al. 2022).
    """

    most: float = 1.0
    quantile: float = 0.0

    def __call__(self, picture: Tensor) -> Tensor:
        """``picture`` ``(B, C, H, W)``, cut."""
        if not self.quantile:
            return picture.clamp(-self.most, self.most)
        limit = picture.abs().flatten(1).float().quantile(self.quantile, 1).clamp(1, self.most)
        limit = limit.to(picture)[:, None, None, None]
        return torch.maximum(torch.minimum(picture, limit), -limit) / limit


def boundary(timestep: Tensor, data: float = 0.5, scaling: float = 10.0) -> tuple[Tensor, Tensor]:
    """``c_skip`` and ``c_out`` of a consistency model, ``(B, 1, 1, 1)`` each: at t = 0 it hands its input back.

    f(x, t) = c_skip x + c_out x_0,  c_skip = d^2 / (s^2 + d^2),  c_out = s / sqrt(s^2 + d^2),  s = scaling t
    (Luo et al. 2023, LCM; ``data`` is d, the standard deviation of the data)
    """
    scaled = scaling * timestep.float()[:, None, None, None]
    spread = scaled.square() + data**2
    return data**2 / spread, scaled / spread.sqrt()


# --- the three steps ------------------------------------------------------------------------------------------------


def lcm_step(
    latents: Tensor,
    prediction: Tensor,
    timestep: Tensor,
    following: Tensor,
    alphas_cumprod: Tensor,
    form: Form = "epsilon",
    scaling: float = 10.0,
    clip: Clip | None = None,
) -> Step:
    """Multistep consistency sampling: jump to the picture, then back to the noise of the ``following`` time.

    mean = sqrt(abar') f(x, t),  std = sqrt(1 - abar')  (Song et al. 2023, algorithm 1; RLCM, Oertell et al. 2024)

    Args:
        latents: ``(B, C, H, W)``.
        prediction: what the network said of them.
        timestep: ``(B,)`` int64.
        following: ``(B,)`` int64, the time to go to; :data:`CLEAN` for the picture itself, std 0.
        alphas_cumprod: ``(T,)``.
        form: what ``prediction`` is.
        scaling: of time in :func:`boundary`.
        clip: of the picture that the network sees; the noise it sees stays as it is.
    """
    picture, _ = split(latents, prediction, abar_at(alphas_cumprod, timestep), form)
    picture = picture if clip is None else clip(picture)
    skip, out = boundary(timestep, scaling=scaling)
    denoised = skip * latents + out * picture
    after = abar_at(alphas_cumprod, following)
    return Step(after.sqrt() * denoised, (1 - after).sqrt(), denoised)


def ddim_step(
    latents: Tensor,
    prediction: Tensor,
    timestep: Tensor,
    following: Tensor,
    alphas_cumprod: Tensor,
    form: Form = "epsilon",
    eta: float = 1.0,
    clip: Clip | None = None,
) -> Step:
    """DDIM, from the deterministic one (``eta`` 0) to DDPM (1).

    std = eta sqrt((1 - abar') / (1 - abar) (1 - abar / abar')),
    mean = sqrt(abar') x_0 + sqrt(1 - abar' - std^2) noise  (Song et al. 2021, eq. 12 and 16)

    The arguments are :func:`lcm_step`'s.
    """
    before, after = abar_at(alphas_cumprod, timestep), abar_at(alphas_cumprod, following)
    picture, noise = split(latents, prediction, before, form)
    picture = picture if clip is None else clip(picture)
    std = eta * ((1 - after) / (1 - before) * (1 - before / after)).clamp_min(0).sqrt()
    along = (1 - after - std.square()).clamp_min(0).sqrt()
    return Step(after.sqrt() * picture + along * noise, std, picture)


def euler_ancestral_step(
    latents: Tensor, prediction: Tensor, sigma: Tensor, following: Tensor, form: Form = "epsilon"
) -> Step:
    """Euler's step down to less noise than wanted, then noise up to it.

    Here ``x = x_0 + sigma noise``, so the network is shown ``x / sqrt(sigma^2 + 1)``, and ``sigma^2 = 1/abar - 1``.

    up^2 = s'^2 (s^2 - s'^2) / s^2,  down^2 = s'^2 - up^2,  mean = x + (down - s) (x - x_0) / s,  std = up
    (Karras et al. 2022, algorithm 1 without churn, with the ancestral noise of k-diffusion)

    Args:
        latents: ``(B, C, H, W)``.
        prediction: what the network said of the scaled latents.
        sigma: ``(B,)``, above 0.
        following: ``(B,)``, the noise to go to, below ``sigma``; 0 for the picture itself, std 0.
        form: what ``prediction`` is.
    """
    now, after = sigma[:, None, None, None].to(latents), following[:, None, None, None].to(latents)
    picture, _ = split(latents / (now.square() + 1).sqrt(), prediction, 1 / (now.square() + 1), form)
    up = (after.square() * (now.square() - after.square()) / now.square()).clamp_min(0).sqrt()
    down = (after.square() - up.square()).clamp_min(0).sqrt()
    return Step(latents + (down - now) * (latents - picture) / now, up, picture)


# --- grids of times -------------------------------------------------------------------------------------------------


def lcm_timesteps(
    steps: int, rule: Literal["rlcm", "diffusers"] = "rlcm", origin: int = 50, count: int = 1000
) -> Tensor:
    """Times of multistep consistency sampling, falling, ``(steps,)`` int64.

    The consistency model was distilled on ``origin`` times, every ``count // origin``-th. ``rlcm`` takes each
    ``origin // steps``-th of them from the top, as diffusers did in 2023: 999, 879, 759, 639, 519, 399, 279, 159 for 8.
    ``diffusers`` spreads evenly to the bottom, as it does since: 999, 879, 759, 639, 499, 379, 259, 139.

    Raises:
        ValueError: more steps than the model was distilled on, or none.
    """
    if not 1 <= steps <= origin:
        raise ValueError(f"steps must lie in 1 to {origin}, the times that the model was distilled on; got {steps}")
    known = (torch.arange(1, origin + 1) * (count // origin) - 1).flip(0)
    if rule == "rlcm":
        return known[:: origin // steps][:steps]
    return known[torch.arange(steps) * origin // steps]


def even_timesteps(
    steps: int, spacing: Literal["leading", "trailing", "linspace"] = "leading", offset: int = 1, count: int = 1000
) -> Tensor:
    """Evenly spaced times, falling, ``(steps,)`` float64: whole numbers but for ``linspace``.

    ``leading`` is Stable Diffusion's: 981, 961, ... 1 for 50 steps (``offset`` 1, which the others do not know).

    Raises:
        ValueError: more steps than times, or none.
    """
    if not 1 <= steps <= count:
        raise ValueError(f"steps must lie in 1 to {count}, got {steps}")
    places = torch.arange(steps, dtype=torch.float64)
    if spacing == "leading":
        return (places * (count // steps)).flip(0) + offset
    if spacing == "trailing":
        return (count - places * count / steps).round() - 1
    return torch.linspace(0, count - 1, steps, dtype=torch.float64).flip(0)


def sigmas_at(alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """Noise ``sqrt((1 - abar) / abar)`` at ``timesteps`` ``(N,)``, read off in between, and 0: ``(N + 1,)`` float32."""
    known = ((1 - alphas_cumprod.double()) / alphas_cumprod.double()).sqrt()
    place = timesteps.double().clamp(0, len(known) - 1)
    lower = place.floor().long().clamp_max(len(known) - 2)
    between = torch.lerp(known[lower], known[lower + 1], place - lower)
    return torch.cat([between, between.new_zeros(1)]).float()
