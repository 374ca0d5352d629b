"""System 3, generated images: sampling as a decision process, one decision a step.

DDPO (Black et al. 2024) for diffusion models, RLCM (Oertell et al. 2024) for consistency models: the state is what has
been drawn so far, the action the next latents, the reward that of the finished picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pixward.ops.sampler import Sampler
from pixward.types import State


class DenoiseEnv:
    """Batched episodes of ``sampler.steps`` decisions; a decision is the next latents ``(B, C, H, W)``.

    State, every value with the batch first:

    - ``latents``: ``(B, C, H, W)``, as they are now.
    - ``denoised``: ``(B, C, H, W)``, the picture without noise as the policy saw it when it last decided: its memory.
    - ``step``: ``(B,)`` int64, how many decisions were taken.

    What else a batch or a state holds is handed on untouched: ``prompt``, as :mod:`pixward.policies.denoiser` reads it.
    The reward is 0 up to the last step. There it is what ``reward`` says of the finished picture; without one it is 0
    there as well, and whoever plays the episode judges ``image(last)`` himself: scorers take time, want the prompt in
    words, and may work while the next pictures are drawn (:mod:`pixward.train.ppo` does).
    """

    def __init__(
        self,
        sampler: Sampler,
        latent: tuple[int, int, int],
        decode: Callable[[Tensor], Tensor],
        reward: Callable[[Tensor, State], Tensor] | None = None,
    ) -> None:
        """Describe the process.

        Args:
            sampler: times and steps; the policy's.
            latent: C, H, W of the latents.
            decode: latents ``(B, C, H, W)`` to pictures ``(B, 3, H', W')``, about [0, 1].
            reward: ``(pictures (B, 3, H', W') in [0, 1], state) -> (B,)``.
        """
        self.sampler, self.latent, self.decode, self.reward = sampler, latent, decode, reward
        self.horizon, self.learnt = sampler.steps, sampler.learnt

    def noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """What ``count`` episodes begin with, standard normal ``(count, C, H, W)``; ``generator`` is on the CPU."""
        return torch.randn(count, *self.latent, generator=generator)

    def reset(self, batch: State) -> State:
        """The first state for ``batch``: ``noise`` ``(B, C, H, W)``, standard normal, and what the policy reads.

        Raises:
            ValueError: the noise has another shape than the latents.
        """
        noise = batch["noise"]
        if noise.ndim != 4 or noise.shape[1:] != self.latent:
            raise ValueError(f"noise must be (B, {', '.join(map(str, self.latent))}), got {tuple(noise.shape)}")
        return {
            **{name: value for name, value in batch.items() if name != "noise"},
            "latents": noise * self.sampler.first_std,
            "denoised": torch.zeros_like(noise),
            "step": torch.zeros(len(noise), dtype=torch.int64, device=noise.device),
        }

    @torch.no_grad()
    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """Take the ``action`` ``(B, C, H, W)`` as the next latents. Returns the next state and the reward ``(B,)``.

        Raises:
            ValueError: the action has another shape than the latents.
        """
        if action.shape != state["latents"].shape:
            raise ValueError(f"the action must be {tuple(state['latents'].shape)}, got {tuple(action.shape)}")
        following = {**state, "latents": action, "step": state["step"] + 1}
        reward = torch.zeros(len(action), device=action.device)
        if self.reward is not None:
            done = following["step"] == self.horizon
            if bool(done.any()):
                reward = torch.where(done, self.reward(self.image(following), following).to(reward), reward)
        return following, reward

    @torch.no_grad()
    def image(self, state: State) -> Tensor:
        """The picture ``(B, 3, H', W')`` in [0, 1]: on the way, what the policy saw when it last decided."""
        return self.picture(state)

    def picture(self, state: State) -> Tensor:
        """:meth:`image` with gradients, as far as ``decode`` has them; none where a value was cut to [0, 1]."""
        shown = state["denoised"]
        if self.sampler.shows == "latents":
            done = (state["step"] >= self.horizon)[:, None, None, None]
            shown = torch.where(done, state["latents"], shown)
        return self.decode(shown).float().clamp(0, 1)
