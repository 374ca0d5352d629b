"""Supervised pretraining of a goal-conditioned policy: source, goal and current render -> the sliders.

Targets are free: draw a setting, render it, and the setting is the answer. The states are the policy's own, as in
DAgger (Ross et al. 2011): a pool of episodes runs along, so the policy learns to mend its own near misses as well as
to make a first guess. Where the editor is differentiable the log of the squared error, which is what PSNR counts,
is minimised beside the distance between the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.run import Run
from pixward.types import Editor, Env, State


@dataclass(frozen=True)
class PretrainSettings:
    """How to pretrain.

    Attributes:
        steps: optimiser updates.
        batch: episodes that run side by side.
        learning_rate: peak of AdamW; rises over 200 updates and falls along a half cosine to 1/50.
        restart: share of the episodes that end after each step, beside those that reach the horizon.
        parameter_weight: weight of the settings' Huber distance.
        image_weight: weight of the log of the squared image error; used where the editor is differentiable.
        least_mse: error at which the logarithm stops paying, 3e-6 (55 dB).
        checkpoint_every: updates between checkpoints and log lines.
    """

    steps: int = 7_000
    batch: int = 64
    learning_rate: float = 1e-3
    restart: float = 1 / 6
    parameter_weight: float = 1.0
    image_weight: float = 0.3
    least_mse: float = 3e-6
    checkpoint_every: int = 500


Tasks = Callable[[int], State]
"""``tasks(n)`` draws n tasks: source, goal ``(n, 3, H, W)``, the true ``action`` ``(n, d)`` and whether it is
known exactly, ``known`` ``(n,)`` (0 for goals made by something other than the editor). They draw from torch's
global generator, whose state is part of a checkpoint, so that a resumed run repeats the run that was never stopped."""


class Restorable(Protocol):
    """An ``nn.Module``, as far as a checkpoint sees it."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """As of ``nn.Module``."""
        ...


class Correcting(Restorable, Protocol):
    """What :func:`pretrain` asks of a policy: an ``nn.Module`` that shows its decision before the clamp."""

    def correction(self, state: State) -> Tensor:
        """The unclamped setting ``(B, d)``: beyond the rim the clamp would stop the gradient."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of ``nn.Module``."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """As of ``nn.Module``."""
        ...


ImageError = Callable[[Tensor, Tensor], Tensor]
"""``error(render, truth) -> (B,)`` of images ``(B, 3, H, W)``, lower is better, with gradients."""


def log_error(least: float) -> ImageError:
    """The logarithm of the mean squared error, which stops paying at ``least``."""
    return lambda image, truth: (((image - truth) ** 2).mean((1, 2, 3)) + least).log()


def pretrain(
    env: Env,
    editor: Editor,
    policy: Correcting,
    tasks: Tasks,
    settings: PretrainSettings,
    run: Run,
    error: ImageError | None = None,
) -> Iterator[dict[str, float]]:
    """Train ``policy`` in place; yields one log line per ``checkpoint_every`` updates. Resumes from ``run``.

    ``error``: what is minimised where the editor is differentiable, :func:`log_error` by default. Tasks may have a
    ``truth`` ``(n, 3, H, W)``, the picture to arrive at, where their goal is another one.
    """
    error = error or log_error(settings.least_mse)
    optimizer = torch.optim.AdamW(policy.parameters(), settings.learning_rate, weight_decay=1e-4)
    step, state, answer = _resume(run, policy, optimizer) or (0, *_begin(env, tasks, settings.batch))
    sums: dict[str, float] = {}
    logged = step
    while step < settings.steps:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(step, settings.steps)
        action = policy.correction(state)
        loss, parts = _loss(editor, state, action, answer, settings, error)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        step += 1
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        state, _ = env.step(state, action.detach())
        state, answer = _renew(env, tasks, state, answer, settings)
        if step % settings.checkpoint_every == 0 or step == settings.steps:
            count = step - logged
            line = {name: total / count for name, total in sums.items()}
            sums, logged = {}, step
            run.log(step, line)
            run.save(
                {
                    "step": step,
                    "policy": policy.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "state": state,
                    "answer": answer,
                }
            )
            yield {"step": step, **line}


def _resume(run: Run, policy: Correcting, optimizer: torch.optim.Optimizer) -> tuple[int, State, State] | None:
    """Networks, optimiser and running episodes of ``run``'s checkpoint; the episodes stay on the networks' device."""
    saved = run.load()
    if saved is None:
        return None
    restore(run, saved, policy, "policy")
    optimizer.load_state_dict(saved["optimizer"])
    device = next(policy.parameters()).device
    state, answer = ({name: value.to(device) for name, value in saved[key].items()} for key in ("state", "answer"))
    return saved["step"], state, answer


def restore(run: Run, saved: Mapping[str, Any], network: Restorable, name: str) -> None:
    """Load ``saved[name]`` into ``network``; PixwardError if the checkpoint is another trainer's or network's."""
    if name not in saved:
        raise PixwardError(f"{run.folder} holds a run of another algorithm: choose another folder")
    try:
        network.load_state_dict(saved[name])
    except RuntimeError:
        raise PixwardError(
            f"the {name} in {run.folder} has another shape: resume it with the editor and features of its start"
        ) from None


def schedule(step: int, steps: int, warmup: int = 200, floor: float = 0.02) -> float:
    """Share of the peak learning rate: a rise over ``warmup`` updates, then a half cosine down to ``floor``."""
    warm = min(1.0, (step + 1) / max(1, warmup))
    return warm * (floor + (1 - floor) * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item()))


def _loss(
    editor: Editor, state: State, action: Tensor, answer: State, settings: PretrainSettings, error: ImageError
) -> tuple[Tensor, dict[str, Tensor]]:
    miss = F.huber_loss(action, answer["action"], reduction="none", delta=0.1).mean(1)
    parameter = 10 * (miss * answer["known"]).mean()
    loss, parts = settings.parameter_weight * parameter, {"parameter": parameter}
    if editor.differentiable:
        # The clamp of the sliders would stop the gradient at the rim, where a third of the answers of radius 1 lie:
        # pass it through and let the parameter loss pull strays back.
        inside = action + (action.clamp(-1, 1) - action).detach()
        image = editor(state["source"], editor.space.denormalize(inside))
        truth = state.get("truth", state["goal"])
        gain = error(image, truth).mean()
        loss = loss + settings.image_weight * gain
        mse = ((image - truth) ** 2).mean((1, 2, 3))
        parts["psnr"] = -10 * mse.detach().clamp_min(1e-10).log10().mean()
    return loss, parts


def _begin(env: Env, tasks: Tasks, count: int) -> tuple[State, State]:
    drawn = tasks(count)
    state = env.reset({name: value for name, value in drawn.items() if name in ("source", "goal", "truth")})
    return state, {"action": drawn["action"], "known": drawn["known"]}


def _renew(env: Env, tasks: Tasks, state: State, answer: State, settings: PretrainSettings) -> tuple[State, State]:
    """Replace the episodes that are over by new ones; the others go on."""
    over = (state["step"] >= env.horizon) | (torch.rand(settings.batch, device=state["step"].device) < settings.restart)
    rows = over.nonzero().flatten()
    if len(rows) == 0:
        return state, answer
    fresh_state, fresh_answer = _begin(env, tasks, len(rows))

    def merge(old: State, new: State) -> State:
        return {name: value.index_copy(0, rows, new[name]) for name, value in old.items()}

    return merge(state, fresh_state), merge(answer, fresh_answer)
