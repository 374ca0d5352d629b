"""The steps of Denoise beside diffusers' schedulers, and log-probabilities beside torch's; writes denoise_parity.json.

    python benchmarks/denoise_parity.py

Each sampler is walked from the first noise to the picture with a made-up network, both sides given the same latents and
the same noise; the largest difference of a mean (no noise) and of a sample is reported, relative to the largest value.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from pixward.bench.provenance import commit, hardware, today
from pixward.files import save_text
from pixward.ops.denoise import (
    CLEAN,
    Step,
    ddim_step,
    euler_ancestral_step,
    even_timesteps,
    gaussian_kl,
    lcm_step,
    lcm_timesteps,
    log_prob,
    scaled_linear,
    sigmas_at,
)

PLACE = Path("docs/results/denoise_parity.json")
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ABAR = scaled_linear()
RLCM_GRID = [999, 879, 759, 639, 519, 399, 279, 159]
"""The paper's code, steps of 6 of 50, counted from the end."""
Move = Callable[[Tensor, Tensor, Tensor], Step]


def noise(seed: int) -> Tensor:
    return torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


def walked(name: str, scheduler: Any, move: Move, **more: float) -> dict[str, float]:
    """The largest relative differences of means and of samples along the way."""
    module: Any = importlib.import_module(f"diffusers.schedulers.{name}")
    kept, worst = module.randn_tensor, {"means": 0.0, "samples": 0.0}
    latents = noise(0) * float(getattr(scheduler, "init_noise_sigma", 1.0))
    for index, time in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(latents, time)
        prediction, drawn = torch.sin(seen) * 0.7 + float(time) / 2000, noise(index + 1)
        found, here = move(latents, prediction, torch.full((4,), index)), getattr(scheduler, "_step_index", None)
        for what, added in (("means", torch.zeros_like(drawn)), ("samples", drawn)):
            if hasattr(scheduler, "_step_index"):
                scheduler._step_index = here  # the same step twice
            module.randn_tensor = lambda *_, added=added, **__: added
            theirs = scheduler.step(prediction, time, latents, **more).prev_sample
            worst[what] = max(worst[what], float((found.draw(added) - theirs).abs().max() / theirs.abs().max()))
        latents = theirs
    module.randn_tensor = kept
    return worst


def steps() -> list[dict[str, Any]]:
    """One row for each sampler and grid."""
    import diffusers

    rows = []
    for rule in ("rlcm", "diffusers"):
        scheduler, times = diffusers.LCMScheduler(**BETAS), lcm_timesteps(8, rule)
        scheduler.set_timesteps(**({"timesteps": times.tolist()} if rule == "rlcm" else {"num_inference_steps": 8}))
        same = scheduler.timesteps.tolist() == times.tolist() and (rule != "rlcm" or times.tolist() == RLCM_GRID)
        then = torch.cat([times[1:], torch.tensor([CLEAN])])

        def jump(latents: Tensor, said: Tensor, at: Tensor, times: Tensor = times, then: Tensor = then) -> Step:
            return lcm_step(latents, said, times[at], then[at], ABAR)

        found = walked("scheduling_lcm", scheduler, jump)
        rows.append({"sampler": f"LCM, 8 steps, grid of {rule}", **found, "times": times.tolist(), "same times": same})
    for eta in (0.0, 1.0):
        ddim = diffusers.DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        ddim.set_timesteps(50)
        times = even_timesteps(50).long()

        def down(latents: Tensor, said: Tensor, at: Tensor, times: Tensor = times, eta: float = eta) -> Step:
            return ddim_step(latents, said, times[at], (times[at] - 20).clamp_min(0), ABAR, "epsilon", eta)

        found = walked("scheduling_ddim", ddim, down, eta=eta)
        same = ddim.timesteps.tolist() == times.tolist()
        rows.append({"sampler": f"DDIM, 50 steps, eta {eta:g}", **found, "times": "981, 961 ... 1", "same times": same})
    euler = diffusers.EulerAncestralDiscreteScheduler(**BETAS)
    euler.set_timesteps(20)
    sigmas = sigmas_at(ABAR, even_timesteps(20, "linspace"))

    def along(latents: Tensor, said: Tensor, at: Tensor) -> Step:
        return euler_ancestral_step(latents, said, sigmas[at], sigmas[at + 1])

    found = walked("scheduling_euler_ancestral_discrete", euler, along)
    same = bool((euler.timesteps - even_timesteps(20, "linspace")).abs().max() < 1e-3)
    rows.append({"sampler": "Euler ancestral, 20 steps", **found, "times": "999 ... 0", "same times": same})
    return rows


def chances() -> list[dict[str, Any]]:
    """Log-probabilities and the divergence of the 8 steps of RLCM, against torch.distributions in double precision."""
    rows = []
    for time in RLCM_GRID:
        std = (1 - ABAR[time]).sqrt().view(1, 1, 1, 1).expand(4, 1, 1, 1)
        mean, other, value = noise(1), noise(2), noise(1) + std * noise(3)
        ours = log_prob(value, mean, std)
        theirs = Normal(mean.double(), std.double()).log_prob(value.double()).flatten(1).sum(1)
        apart = gaussian_kl(mean, other, std)
        known = torch.distributions.kl_divergence(
            Normal(mean.double(), std.double().expand_as(mean)), Normal(other.double(), std.double().expand_as(mean))
        )
        rows.append(
            {
                "time": time,
                "std": float(std[0, 0, 0, 0]),
                "log-probability, relative": float(((ours - theirs) / theirs).abs().max()),
                "divergence, relative": float(((apart - known.flatten(1).sum(1)) / apart).abs().max()),
            }
        )
    return rows


def main() -> None:
    told = {
        "command": ["python benchmarks/denoise_parity.py"],
        "commit": commit(),
        "date": today(),
        "hardware": hardware(),
        "rows": steps(),
        "log_probabilities": chances(),
        "notes": ["Means and samples are differences relative to the largest value; all float32."],
    }
    save_text(PLACE, json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
