"""Any network that predicts noise, as a policy: its action is the next latents, with their log-probability.

The network is called as diffusers' UNets are, ``unet(latents, timesteps, encoder_hidden_states=prompt)``, and may
answer with a tensor, a tuple or an object with ``sample``. A module of one's own that takes these serves as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixward.ops.denoise import Step
from pixward.ops.sampler import Sampler
from pixward.types import Action, State


@dataclass(frozen=True)
class Guidance:
    """How strongly a prompt is followed; in training as in sampling.

    Attributes:
        scale: 1 for the network as it is. By two calls: without + scale (with - without) (Ho and Salimans 2022).
        embedded: width of the embedding that tells a distilled network the scale, in one call: LCM's 256; 0 for none.
    """

    scale: float = 1.0
    embedded: int = 0


RLCM_GUIDANCE = Guidance(8.0, 256)
"""RLCM's, for LCM Dreamshaper v7."""

DDPO_GUIDANCE = Guidance(5.0)
"""DDPO's, for Stable Diffusion 1.4."""


def embed_guidance(scale: float | Tensor, width: int, count: int) -> Tensor:
    """What a distilled network is told of the scale, ``(count, width)``: sines, then cosines, of 1000 (scale - 1).

    ``scale`` is one number, or one for each picture, ``(count,)``.

    Raises:
        ValueError: the width is odd or below 4.
    """
    if width < 4 or width % 2:
        raise ValueError(f"the width of the embedding must be even and at least 4, got {width}")
    half = width // 2
    # In the order in which diffusers rounds: sines of thousands feel it, and the network was trained on them.
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10_000.0) / (half - 1)))
    scales = torch.as_tensor(scale, dtype=torch.float32).reshape(-1, 1)
    angles = 1000.0 * (scales - 1) * rates.to(scales.device)
    return torch.cat([angles.sin(), angles.cos()], 1).expand(count, width)


class DenoiserPolicy(nn.Module):
    """A :class:`pixward.types.Policy` around ``unet``. It reads of the state, every value with the batch first:

    - ``latents``, ``step``: :class:`pixward.envs.denoise.DenoiseEnv`'s.
    - ``prompt``: ``(B, L, D)``, the prompt as the network is shown it; may be missing.
    - ``unconditional``: the same for the empty prompt; needed for guidance by two calls.
    - ``pooled``, ``sizes``, ``unconditional_pooled``: SDXL's ``text_embeds`` ``(B, D)`` and ``time_ids`` ``(B, 6)``.

    Log-probabilities are in nats, the sum over all values of the latents. It has no baseline of its own.

    Attributes:
        unet: the network.
        sampler: times and steps.
        guidance: how strongly prompts are followed.
        calls: how many pictures the network has looked at so far; guidance by two calls counts twice.
    """

    def __init__(self, unet: nn.Module, sampler: Sampler, guidance: Guidance | None = None) -> None:
        super().__init__()
        self.unet: Any = unet
        self.sampler, self.guidance, self.calls = sampler, guidance or Guidance(), 0

    @property
    def doubled(self) -> bool:
        """Whether a decision takes two calls of the network."""
        return not self.guidance.embedded and self.guidance.scale != 1

    def predict(self, state: State) -> Tensor:
        """What the network says of the latents, guided, ``(B, C, H, W)`` float32.

        Raises:
            ValueError: guidance by two calls without ``unconditional``, or an answer of another shape than the latents.
        """
        latents, index, scale = state["latents"], state["step"], self.guidance.scale
        seen, times = self.sampler.scaled(latents, index), self.sampler.times(index)
        if not self.doubled:
            return self._ask(seen, times, state.get("prompt"), state.get("pooled"), state.get("sizes"))
        if "unconditional" not in state or "prompt" not in state:
            raise ValueError(
                f"guidance {scale:g} needs both prompt and unconditional in the state; set it to 1 without"
            )
        both = torch.cat([state["unconditional"], state["prompt"]])
        pooled = torch.cat([state["unconditional_pooled"], state["pooled"]]) if "pooled" in state else None
        sizes = torch.cat([state["sizes"]] * 2) if "sizes" in state else None
        plain, prompted = self._ask(torch.cat([seen] * 2), torch.cat([times] * 2), both, pooled, sizes).chunk(2)
        return plain + scale * (prompted - plain)

    def step(self, state: State) -> Step:
        """The distribution of the next latents."""
        return self.sampler.step(state["latents"].float(), self.predict(state), state["step"])

    @torch.no_grad()
    def sample(self, state: State) -> Action:
        """Draw the next latents, with noise from torch's global generator on the CPU.

        The memory is ``denoised`` ``(B, C, H, W)``: the picture as it is seen now.
        """
        step = self.step(state)
        value = step.draw(torch.randn(step.mean.shape).to(step.mean))
        log_prob = step.log_prob(value)
        return Action(value, log_prob, torch.zeros_like(log_prob), {"denoised": step.denoised})

    def evaluate(self, states: State, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability, with gradients, and the baseline, zeros; ``(B,)`` each."""
        log_prob, _, _ = self.log_prob(states, actions)
        return log_prob, torch.zeros_like(log_prob)

    def log_prob(self, states: State, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability ``(B,)`` of ``actions``, and mean ``(B, C, H, W)`` and std ``(B, 1, 1, 1)`` that it is of."""
        step = self.step(states)
        return step.log_prob(actions), step.mean, step.std

    def _ask(
        self, seen: Tensor, times: Tensor, prompt: Tensor | None, pooled: Tensor | None, sizes: Tensor | None
    ) -> Tensor:
        weight = next(iter(self.unet.parameters()), seen)
        told: dict[str, Any] = {"encoder_hidden_states": None if prompt is None else prompt.to(weight.dtype)}
        if self.guidance.embedded:
            told["timestep_cond"] = embed_guidance(self.guidance.scale, self.guidance.embedded, len(seen)).to(weight)
        if pooled is not None:
            told["added_cond_kwargs"] = {"text_embeds": pooled.to(weight.dtype), "time_ids": sizes}
        said = self.unet(seen.to(weight.dtype), times, **told)
        self.calls += len(seen)
        answer = said[0] if isinstance(said, tuple) else getattr(said, "sample", said)
        if answer.shape != seen.shape:
            raise ValueError(
                f"the network must answer in the shape of the latents, {tuple(seen.shape)}, got {tuple(answer.shape)}"
            )
        return answer.float()
