"""A2C for one agent per pixel: the learning of PixelRL, and an all-action gradient that uses what it leaves lying.

PixelRL (Furuta, Inoue and Yamasaki, AAAI 2019, eq. 5 to 13): every pixel draws an action, its return is discounted over
time and convolved over its neighbours, and one loss updates policy, value and the convolution.

The environment is deterministic and each action's next image is cheap, so the immediate reward of *every* action is
known, not only of the one drawn. ``gradient="all"`` sums over them (the counterfactual, or expected, policy gradient:
Ciosek and Whiteson, AAAI 2018), and leaves only what comes later to the sample, so that the baseline predicts that::

    L = -sum_a pi(a) r(a) - log pi(a_t) (F_t - V_t) + value loss of V_t against F_t,    F_t = w * gamma R_{t+1}

Both gradients have the same mean; the sampled one is L = -log pi(a_t) (r_t + F_t - V_t) with V_t against r_t + F_t.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.objectives import draw_categorical
from pixward.run import Run
from pixward.train.pretrain import Restorable, restore
from pixward.types import State

KERNEL = 33
"""Side of the reward-map convolution, in pixels: the authors'."""


@dataclass(frozen=True)
class A2CSettings:
    """Defaults are the paper's, but for the gradient, the batch and the number of updates.

    Attributes:
        updates: optimiser updates; each plays one episode per item.
        batch: episodes played at once.
        learning_rate: of Adam at the start; falls as (1 - progress) ** 0.9.
        gamma: discount per step.
        entropy: weight of the policy's entropy, in units of the reward.
        gradient: "all" or "sampled".
        kernel: the reward-map convolution: "identity" (none), "gaussian" (fixed, sigma 1, adds up to 1), "learned"
            (starts as identity and follows the value loss, as the authors' code does), or "zero" (later rewards do not
            count).
        bfloat16: compute convolutions in half precision, where that is faster.
        clip: largest norm of the gradient.
        checkpoint_every: updates between checkpoints and log lines.
    """

    updates: int = 2_000
    batch: int = 16
    learning_rate: float = 1e-3
    gamma: float = 0.95
    entropy: float = 0.01
    gradient: Literal["all", "sampled"] = "all"
    kernel: Literal["identity", "gaussian", "learned", "zero"] = "identity"
    bfloat16: bool = False
    clip: float = 5.0
    checkpoint_every: int = 100


class PerPixel(Restorable, Protocol):
    """A policy that says what it thinks of every action, such as :class:`pixward.policies.pixel.PixelPolicy`."""

    def distribution(self, state: State, memory: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Log-probabilities ``(B, A, H, W)``, baseline ``(B, H, W)``, and the memory for the next step."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the optimiser updates."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        ...


class PixelWorld(Protocol):
    """An environment of pixels, such as :class:`pixward.envs.pixel.PixelEnv`."""

    horizon: int

    def reset(self, batch: State) -> State:
        """The first state."""
        ...

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """The next state and the reward ``(B, H, W)``."""
        ...

    def counterfactual(self, state: State) -> Tensor:
        """The reward of every action, ``(B, A, H, W)``."""
        ...


Tasks = Callable[[int], State]
"""``tasks(count)`` draws a batch for ``env.reset`` from torch's global generator. ``weight`` ``(B,)``, if it is there,
says how much each item counts: strong noise would rule weak noise otherwise."""


def a2c(
    env: PixelWorld,
    policy: PerPixel,
    tasks: Tasks,
    run: Run,
    settings: A2CSettings,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
) -> Iterator[dict[str, float]]:
    """Train ``policy`` in place; yields one log line per ``checkpoint_every`` updates. Resumes from ``run``.

    A line holds the mean over its updates of the return per pixel ("return"), the parts of the loss, the processor
    seconds spent so far, which ``evaluate`` does not count towards, and what ``evaluate`` says.

    Raises:
        PixwardError: the run's checkpoint is another trainer's.
        FloatingPointError: the loss is not finite.
    """
    device = next(policy.parameters()).device
    kernel = RewardKernel(settings.kernel).to(device)
    optimizer = torch.optim.Adam([*policy.parameters(), *kernel.parameters()], settings.learning_rate)
    step, spent = _resume(run, policy, kernel, optimizer)
    sums: dict[str, float] = {}
    logged, began = step, time.process_time()
    while step < settings.updates:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 - step / settings.updates) ** 0.9
        batch = {name: value.to(device) for name, value in tasks(settings.batch).items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
            loss, parts = episode_loss(env, policy, kernel, batch, settings)
        if not bool(loss.isfinite()):
            raise FloatingPointError(f"the loss is {loss.item()} at update {step}: lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([*policy.parameters(), *kernel.parameters()], settings.clip)
        optimizer.step()
        step += 1
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        if step % settings.checkpoint_every == 0 or step == settings.updates:
            line = {name: total / (step - logged) for name, total in sums.items()}
            spent += time.process_time() - began
            line |= {"cpu_seconds": round(spent, 2), **(evaluate() if evaluate is not None else {})}
            sums, logged, began = {}, step, time.process_time()
            run.log(step, line)
            run.save(
                {
                    "step": step,
                    "cpu_seconds": spent,
                    "policy": policy.state_dict(),
                    "kernel": kernel.state_dict(),
                    "optimizer": optimizer.state_dict(),
                }
            )
            yield {"step": step, **line}


def _resume(run: Run, policy: PerPixel, kernel: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    saved = run.load()
    if saved is None:
        return 0, 0.0
    restore(run, saved, policy, "policy")
    restore(run, saved, kernel, "kernel")
    optimizer.load_state_dict(saved["optimizer"])
    return saved["step"], saved["cpu_seconds"]


def episode_loss(
    env: PixelWorld, policy: PerPixel, kernel: RewardKernel, batch: State, settings: A2CSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Play one episode and say what it teaches: the loss, and its parts detached, for the log.

    The sum over steps of the mean over pixels, as in the authors' code.
    """
    steps = _play(env, policy, batch, settings.gradient == "all")
    weight = batch["weight"].view(-1, 1, 1) if "weight" in batch else steps[0].reward.new_ones(())
    following = torch.zeros_like(steps[0].reward)
    actor = critic = entropy = following.new_zeros(())
    for number, step in reversed(list(enumerate(steps))):
        # The authors skip the convolution while there is nothing to convolve.
        later = following if number == len(steps) - 1 else kernel(settings.gamma * following)
        following = step.reward + later
        if step.expected is None:
            target, known = following, torch.zeros_like(step.value)
        else:
            target, known = later, step.expected
        gain = known + step.chosen * (target - step.value).detach()
        actor = actor - (weight * gain).mean()
        critic = critic + 0.5 * (weight * (step.value - target).square()).mean()
        entropy = entropy + (weight * step.entropy).mean()
    loss = actor + 0.5 * critic - settings.entropy * entropy
    total = torch.stack([step.reward for step in steps]).sum(0)
    parts = {"return": total.mean(), "value_loss": critic, "entropy": entropy / len(steps)}
    return loss, {name: value.detach() for name, value in parts.items()}


@dataclass(frozen=True, eq=False)
class _Step:
    """One step of an episode, ``(B, H, W)`` each; gradients flow through all but the reward.

    ``expected`` is the mean over actions of the immediate reward, where all of them are asked.
    """

    chosen: Tensor
    value: Tensor
    entropy: Tensor
    reward: Tensor
    expected: Tensor | None


def _play(env: PixelWorld, policy: PerPixel, batch: State, every: bool) -> list[_Step]:
    state, memory, steps = env.reset(batch), None, []
    for _ in range(env.horizon):
        log_probs, value, memory = policy.distribution(state, memory)
        log_probs, value = log_probs.float(), value.float()
        probs = log_probs.exp()
        expected = (probs * env.counterfactual(state)).sum(1) if every else None
        action = draw_categorical(log_probs)
        state, reward = env.step(state, action)
        chosen = log_probs.gather(1, action.unsqueeze(1)).squeeze(1)
        steps.append(_Step(chosen, value, -(probs * log_probs).sum(1), reward, expected))
    return steps


class RewardKernel(nn.Module):
    """The reward-map convolution: ``(B, H, W)`` returns to the returns that a pixel answers for."""

    def __init__(self, kind: str) -> None:
        """Raises ValueError for a kind that :class:`A2CSettings` does not name."""
        super().__init__()
        if kind not in ("identity", "gaussian", "learned", "zero"):
            raise ValueError(f"there is no reward kernel {kind!r}; choose from: identity, gaussian, learned, zero")
        self.kind = kind
        weight = torch.zeros(1, 1, KERNEL, KERNEL)
        weight[..., KERNEL // 2, KERNEL // 2] = 1
        if kind == "gaussian":
            along = torch.exp(-0.5 * (torch.arange(KERNEL) - KERNEL // 2).float() ** 2)
            weight[0, 0] = torch.outer(along, along) / along.sum() ** 2
        self.weight = nn.Parameter(weight, requires_grad=kind == "learned")

    def forward(self, returns: Tensor) -> Tensor:
        """Zeros outside the image, as in the authors' code."""
        if self.kind == "identity":
            return returns
        if self.kind == "zero":
            return torch.zeros_like(returns)
        return F.conv2d(returns[:, None], self.weight, padding=KERNEL // 2)[:, 0]
