"""RLCM and DDPO as one would write them from the papers: a loop over diffusers' schedulers and torch's Adam.

What denoise_speed.py compares ours with. The network, the decoder and the reward are the same; sampling, probabilities,
loss and update are not. Schedulers take one time for all pictures of a call, so there are two ways to learn:

``sample``  decisions are shuffled, as PPO wants them, and the scheduler is asked for one decision at a time;
``time``    a minibatch holds decisions of one time only, for which the scheduler is asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Way = Literal["sample", "time"]


@dataclass(frozen=True)
class Numbers:
    """What both sides agree on.

    Attributes:
        steps: of sampling.
        guidance: scale, told to the network if ``embedded`` is its width, else by two calls.
        embedded: see above; 0 for two calls.
        batch: pictures drawn at once.
        accumulate: such batches in one update.
        minibatch: decisions in one forward and backward pass.
        clip: PPO's, per value of the latents.
        rate: Adam's.
    """

    steps: int
    guidance: float
    embedded: int
    batch: int
    accumulate: int
    minibatch: int
    clip: float = 1e-4
    rate: float = 1e-7


class Plain:
    """One network, one optimiser, one update after the other."""

    def __init__(self, unet: nn.Module, decode: Callable[[Tensor], Tensor], numbers: Numbers, way: Way) -> None:
        import diffusers

        self.unet, self.decode, self.numbers, self.way = unet.eval(), decode, numbers, way
        betas: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
        library: Any = diffusers
        if numbers.embedded:
            self.scheduler = library.LCMScheduler(**betas)
            known = list(range(999, 0, -20))  # of distillation; each of the paper's steps is one of them
            self.scheduler.set_timesteps(timesteps=known[:: 50 // numbers.steps][: numbers.steps])
        else:
            self.scheduler = library.DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
            self.scheduler.set_timesteps(numbers.steps)
        self.times = self.scheduler.timesteps.tolist()
        self.optimizer = torch.optim.Adam(unet.parameters(), numbers.rate)

    def update(self, batches: Sequence[dict[str, Tensor]], reward: Callable[[Tensor], Tensor]) -> float:
        """Draw, reward, compare, learn once; the mean reward. ``batches`` hold noise, prompt, unconditional."""
        drawn = [self.sample(batch) for batch in batches]
        rewards = torch.cat([reward(images) for _, _, images in drawn])
        advantages = ((rewards - rewards.mean()) / (rewards.std(unbiased=False) + 1e-6)).clamp(-10, 10)
        self.optimizer.zero_grad()
        self.learn(batches, drawn, advantages.split(self.numbers.batch))
        nn.utils.clip_grad_norm_(self.unet.parameters(), 5.0)
        self.optimizer.step()
        return float(rewards.mean())

    @torch.no_grad()
    def sample(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """All latents ``(N + 1, B, C, H, W)``, log-probabilities ``(N, B)`` and pictures."""
        latents, log_probs, shown = [batch["noise"]], [], batch["noise"]
        for at, time in enumerate(self.times):
            said = self.predict(latents[-1], torch.full((len(latents[-1]),), time), batch)
            mean, std, shown = self.moments(said, at, latents[-1])
            latents.append(mean + std * torch.randn_like(mean))
            log_probs.append(log_prob(latents[-1], mean, std))
        last = shown if self.numbers.embedded else latents[-1]
        return torch.stack(latents), torch.stack(log_probs), self.decode(last).clamp(0, 1)

    def learn(
        self,
        batches: Sequence[dict[str, Tensor]],
        drawn: Sequence[tuple[Tensor, Tensor, Tensor]],
        advantages: Sequence[Tensor],
    ) -> float:
        """Gradients of the clipped surrogate of all decisions, a minibatch at a time; its value."""
        steps, count, total = len(self.times), self.numbers.batch, 0.0
        for batch, (latents, old, _), advantage in zip(batches, drawn, advantages, strict=True):
            order = torch.randperm(steps * count) if self.way == "sample" else torch.arange(steps * count)
            size = self.numbers.minibatch if self.way == "sample" else min(self.numbers.minibatch, count)
            for part in order.split(size):
                at, item = part // count, part % count
                told = {name: value[item] for name, value in batch.items() if name != "noise"}
                seen, taken = latents[at, item], latents[at + 1, item]
                said = self.predict(seen, torch.tensor(self.times)[at], told)
                if self.way == "sample":
                    singles = [self.moments(said[k][None], int(at[k]), seen[k][None]) for k in range(len(part))]
                    mean, std = torch.cat([one[0] for one in singles]), torch.cat([one[1] for one in singles])
                else:
                    mean, std, _ = self.moments(said, int(at[0]), seen)
                ratio = (log_prob(taken, mean, std) - old[at, item]).exp()
                held = ratio.clamp(1 - self.numbers.clip, 1 + self.numbers.clip)
                loss = -torch.minimum(ratio * advantage[item], held * advantage[item]).sum()
                loss = loss / (steps * count * len(batches))
                loss.backward()
                total += float(loss.detach())
        return total

    def predict(self, seen: Tensor, times: Tensor, told: dict[str, Tensor]) -> Tensor:
        """What the network says, guided."""
        if self.numbers.embedded:
            from diffusers import LatentConsistencyModelPipeline as Pipeline

            scales = torch.full((len(seen),), self.numbers.guidance - 1)
            width = self.numbers.embedded
            embedded = Pipeline.get_guidance_scale_embedding(None, scales, embedding_dim=width)
            said: Tensor = self.unet(seen, times, told["prompt"], timestep_cond=embedded).sample
            return said
        both = torch.cat([told["unconditional"], told["prompt"]])
        plain, prompted = self.unet(torch.cat([seen] * 2), torch.cat([times] * 2), both).sample.chunk(2)
        guided: Tensor = plain + self.numbers.guidance * (prompted - plain)
        return guided

    def moments(self, said: Tensor, at: int, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, std ``(B, 1, 1, 1)`` and the picture without noise, of decision ``at``, by diffusers' scheduler."""
        time, scheduler = self.times[at], self.scheduler
        if self.numbers.embedded:
            scheduler._step_index = at
            shown = scheduler.step(said, time, seen).denoised
            # As rlcm has it, the last step stays at its time.
            after = scheduler.alphas_cumprod[self.times[min(at + 1, len(self.times) - 1)]]
            mean, std = after.sqrt() * shown, (1 - after).sqrt()
        else:
            done = scheduler.step(said, time, seen, eta=1.0, variance_noise=torch.zeros_like(seen))
            mean, shown = done.prev_sample, done.pred_original_sample
            std = scheduler._get_variance(time, time - 1000 // len(self.times)).sqrt()
        return mean, std.expand(len(seen))[:, None, None, None], shown


def log_prob(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """The mean over the values of the latents, as in both papers' code, ``(B,)``."""
    return torch.distributions.Normal(mean, std).log_prob(value).flatten(1).mean(1)
