"""A whole way from noise to a picture: which times, which step, and what becomes of the last one.

A :class:`Sampler` holds numbers only, no network and no weights. By default :func:`lcm_sampler` makes RLCM's and
:func:`ddim_sampler` DDPO's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pixward.ops.denoise import (
    CLEAN,
    Clip,
    Form,
    Step,
    ddim_step,
    euler_ancestral_step,
    even_timesteps,
    lcm_step,
    lcm_timesteps,
    scaled_linear,
    sigmas_at,
)

Last = Literal["keep", "drop", "head"]
"""The last step: ``keep`` learns from it as from the others, ``drop`` does not, ``head`` draws the picture itself,
around what the network sees, with a standard deviation of one's own."""

Moments = Callable[[Tensor, Tensor, Tensor], Step]
"""``(latents (B, C, H, W), prediction, index (B,) int64) -> Step``."""


@dataclass(frozen=True, eq=False)
class Sampler:
    """The numbers of one way of sampling.

    Attributes:
        timesteps: what the network is told at each step, ``(N,)``.
        moments: the Gaussian of a step.
        scales: what latents are multiplied with before the network sees them, ``(N,)``.
        first_std: standard deviation of the noise that it begins with.
        shows: where the finished picture is: in the last ``latents``, or in what was ``denoised`` at the last step,
            which then draws noise that reaches nothing, as rlcm's does.
        last: see :data:`Last`.
        head_std: standard deviation of the last step if ``last`` is ``head``.
    """

    timesteps: Tensor
    moments: Moments
    scales: Tensor
    first_std: float
    shows: Literal["latents", "denoised"]
    last: Last = "keep"
    head_std: float = 0.1

    def __post_init__(self) -> None:
        """Raises ValueError for a head without noise, or where the last step that is to be learnt draws nothing."""
        if self.last == "head" and not self.head_std > 0:
            raise ValueError(f"head_std must be above 0, got {self.head_std}")
        stds = self.stds
        if self.last == "keep" and bool((stds[:-1] > 0).any()) and not float(stds[-1]) > 0:
            raise ValueError("the last step draws no noise, so there is nothing to keep: set last to drop or head")

    @property
    def steps(self) -> int:
        """N, how many times the network is asked for one picture (twice as often with guidance by two calls)."""
        return len(self.timesteps)

    @property
    def stds(self) -> Tensor:
        """Standard deviation of each step, ``(N,)``: it hangs on the times alone, not on the network."""
        nothing = torch.zeros(self.steps, 1, 1, 1)
        return self.step(nothing, nothing, torch.arange(self.steps)).std.flatten()

    @property
    def learnt(self) -> tuple[int, ...]:
        """The steps that a policy gradient can learn from: those that draw, without the last one if it is dropped."""
        most = self.steps - (self.last == "drop")
        return tuple(index for index, std in enumerate(self.stds.tolist()) if std > 0 and index < most)

    def scaled(self, latents: Tensor, index: Tensor) -> Tensor:
        """``latents`` as the network is to see them at steps ``index`` ``(B,)``."""
        return latents * self.scales.to(latents)[index][:, None, None, None]

    def times(self, index: Tensor) -> Tensor:
        """What the network is told at steps ``index`` ``(B,)``."""
        return self.timesteps.to(index.device)[index]

    def step(self, latents: Tensor, prediction: Tensor, index: Tensor) -> Step:
        """The distribution of the next latents at steps ``index`` ``(B,)`` int64, each in [0, N)."""
        step = self.moments(latents, prediction, index)
        if self.last != "head":
            return step
        ends = (index == self.steps - 1)[:, None, None, None]
        head = torch.full_like(step.std, self.head_std)
        return Step(torch.where(ends, step.denoised, step.mean), torch.where(ends, head, step.std), step.denoised)


def lcm_sampler(
    steps: int = 8,
    last: Last = "keep",
    head_std: float = 0.1,
    alphas_cumprod: Tensor | None = None,
    timesteps: Tensor | None = None,
    form: Form = "epsilon",
    scaling: float = 10.0,
    clip: Clip | None = None,
) -> Sampler:
    """RLCM's: multistep consistency sampling, 8 steps, on its own grid of times.

    In the last step rlcm stays at its time: it draws and scores latents that are never seen, and shows the denoised.

    Args:
        steps: number of times.
        last, head_std: see :class:`Sampler`; ``keep`` is rlcm's.
        alphas_cumprod: ``(T,)``; Stable Diffusion's if None.
        timesteps: ``(N,)`` int64, falling, for a grid of one's own; ``steps`` does not count then.
        form: what the network says.
        scaling: of time in the consistency model's boundary condition.
        clip: of the picture without noise; None for none.
    """
    abar = scaled_linear() if alphas_cumprod is None else alphas_cumprod
    times = lcm_timesteps(steps, count=len(abar)) if timesteps is None else timesteps.long()
    following = torch.cat([times[1:], times[-1:]])

    def moments(latents: Tensor, prediction: Tensor, index: Tensor) -> Step:
        now, then = times.to(index.device)[index], following.to(index.device)[index]
        return lcm_step(latents, prediction, now, then, abar, form, scaling, clip)

    shows: Literal["latents", "denoised"] = "latents" if last == "head" else "denoised"
    return Sampler(times, moments, torch.ones(len(times)), 1.0, shows, last, head_std)


def ddim_sampler(
    steps: int = 50,
    eta: float = 1.0,
    last: Last = "keep",
    alphas_cumprod: Tensor | None = None,
    timesteps: Tensor | None = None,
    form: Form = "epsilon",
    to_clean: bool = False,
    clip: Clip | None = None,
) -> Sampler:
    """DDPO's: 50 steps of DDIM with eta 1; the last action is the picture.

    Args:
        steps: number of times.
        eta: 0 draws nothing and is for looking only.
        last: see :class:`Sampler`; a head has a standard deviation of 0.1.
        alphas_cumprod: ``(T,)``; Stable Diffusion's if None.
        timesteps: ``(N,)`` int64, falling, for a grid of one's own, whose steps must be even; ``steps`` does not count.
        form: what the network says.
        to_clean: go to no noise at all in the end (``set_alpha_to_one`` of diffusers), which draws nothing there;
            Stable Diffusion and DDPO go to time 0.
        clip: of the picture without noise; None for none.
    """
    abar = scaled_linear() if alphas_cumprod is None else alphas_cumprod
    times = even_timesteps(steps, count=len(abar)).long() if timesteps is None else timesteps.long()
    following = times - len(abar) // len(times)
    following = torch.where(following < 0, CLEAN if to_clean else 0, following)

    def moments(latents: Tensor, prediction: Tensor, index: Tensor) -> Step:
        now, then = times.to(index.device)[index], following.to(index.device)[index]
        return ddim_step(latents, prediction, now, then, abar, form, eta, clip)

    return Sampler(times, moments, torch.ones(len(times)), 1.0, "latents", last)


def euler_ancestral_sampler(
    steps: int = 20,
    last: Last = "drop",
    alphas_cumprod: Tensor | None = None,
    spacing: Literal["leading", "trailing", "linspace"] = "linspace",
    offset: int = 0,
    form: Form = "epsilon",
) -> Sampler:
    """Euler ancestral, whose last step draws nothing: it can be dropped or given a head.

    Args:
        steps: number of times.
        last: see :class:`Sampler`; a head has a standard deviation of 0.1.
        alphas_cumprod: ``(T,)``; Stable Diffusion's if None.
        spacing, offset: of the times; see :func:`pixward.ops.denoise.even_timesteps`.
        form: what the network says.
    """
    abar = scaled_linear() if alphas_cumprod is None else alphas_cumprod
    times = even_timesteps(steps, spacing, offset, len(abar)).float()
    sigmas = sigmas_at(abar, times)

    def moments(latents: Tensor, prediction: Tensor, index: Tensor) -> Step:
        here = sigmas.to(latents)
        return euler_ancestral_step(latents, prediction, here[index], here[index + 1], form)

    top = float(sigmas.max())
    first = (top**2 + 1) ** 0.5 if spacing == "leading" else top
    return Sampler(times, moments, (sigmas[:-1].square() + 1).rsqrt(), first, "latents", last)
