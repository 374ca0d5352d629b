"""TD3: twin critics, a delayed policy and smoothed targets, for policies that answer with numbers in [-1, 1].

Fujimoto, van Hoof, Meger: Addressing Function Approximation Error in Actor-Critic Methods, ICML 2018. The defaults are
RLPixTuner's (NeurIPS 2024). Two additions keep a pretrained actor from harm: the critics may learn alone first
(``critic_warmup``), and the actor may be held near where it started (``lambda_anchor``; TD3+BC, Fujimoto & Gu 2021).

Read from top to bottom: settings, what is learnt, one update, the loop.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from pixward import objectives
from pixward.errors import PixwardError
from pixward.rollout import Replay
from pixward.run import Run
from pixward.types import Env, State

_Module = TypeVar("_Module", bound=nn.Module)


@dataclass(frozen=True)
class TD3Settings:
    """Everything that decides the outcome, beside the networks and the tasks.

    Attributes:
        steps: environment steps in all; each moves the whole batch of tasks on by one action.
        seed: of exploration, target noise and replay sampling.
        lr_actor: Adam's learning rate.
        lr_critic: of both critics.
        batch: transitions per update.
        gamma: discount per step.
        tau: how far targets move per policy update; the paper's moving average of .99 is 0.01.
        policy_delay: critic updates per actor update.
        explore_sigma: exploration noise, in units of the action.
        target_sigma: target-policy smoothing noise.
        target_clip: largest smoothing noise.
        replay: transitions kept.
        start_steps: environment steps before the first update.
        random_steps: of those at the start, how many act uniformly at random instead of by the actor.
        updates_per_step: critic updates per environment step.
        critic_warmup: critic updates before the actor first moves.
        lambda_anchor: weight of staying near the starting actor; 0 is plain TD3.
        clip_grad: largest L2 norm of a gradient, for actor and critics each; 0 does not clip.
        reward_scale: factor on rewards before they are learnt from; the log has them unscaled.
        at_horizon: ``stop``: the horizon is part of the task (ten edits, and the state says which one this is), so no
            value lies beyond the last step. ``bootstrap``: the horizon merely cuts an endless task, as gymnasium's
            time limits do, so the critic's value of the last state counts.
        image_keys: state entries with values in [0, 1] that the replay keeps as 8 bit.
        log_every: episodes between log lines.
        checkpoint_every: environment steps between checkpoints; a checkpoint holds the replay too.
        eval_every: environment steps between calls of ``evaluate``.
    """

    steps: int = 20_000
    seed: int = 0
    lr_actor: float = 1e-4
    lr_critic: float = 2e-4
    batch: int = 64
    gamma: float = 0.9
    tau: float = 0.01
    policy_delay: int = 2
    explore_sigma: float = 0.1
    target_sigma: float = 0.2
    target_clip: float = 0.5
    replay: int = 16_384
    start_steps: int = 100
    random_steps: int = 0
    updates_per_step: int = 1
    critic_warmup: int = 0
    lambda_anchor: float = 0.0
    clip_grad: float = 0.0
    reward_scale: float = 1.0
    at_horizon: Literal["stop", "bootstrap"] = "stop"
    image_keys: tuple[str, ...] = ("source", "goal", "image")
    log_every: int = 1
    checkpoint_every: int = 1_000
    eval_every: int = 1_000


# --- what is learnt -----------------------------------------------------------------------------------------------


class _Learner:
    """Networks, their targets, their optimisers, and one update."""

    def __init__(self, actor: nn.Module, critics: tuple[nn.Module, nn.Module], settings: TD3Settings) -> None:
        self.settings = settings
        self.actor, self.critics = actor, nn.ModuleList(critics)
        # One copy of the list, not of each: critics that share a feature extractor still share it afterwards.
        self.actor_target, self.critics_target = _frozen(actor), _frozen(self.critics)
        self.anchor = _frozen(actor) if settings.lambda_anchor > 0 else None
        self.actor_optimizer = torch.optim.Adam(actor.parameters(), lr=settings.lr_actor)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), lr=settings.lr_critic)
        self.updates = 0

    def update(self, sample: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, float]:
        """One update of the critics from transitions, and of actor and targets when their turn has come."""
        settings = self.settings
        state, action, following = _unpack(sample)
        with torch.no_grad():
            noise = settings.target_sigma * _normal(action, generator)
            smoothed = objectives.td3_target_action(self.actor_target(following), noise, settings.target_clip)
            next_q1, next_q2 = (critic(following, smoothed) for critic in self.critics_target)
            reward = settings.reward_scale * sample["reward"]
            target = objectives.td3_target(reward, sample["continues"], next_q1, next_q2, settings.gamma)
        q1, q2 = (critic(state, action) for critic in self.critics)
        loss = objectives.td3_critic_loss(q1, q2, target)
        _descend(loss, self.critic_optimizer, settings.clip_grad)
        figures = {"critic_loss": float(loss.detach()), "q": float(q1.detach().mean())}
        self.updates += 1
        if self.updates % settings.policy_delay == 0:
            if self.updates > settings.critic_warmup:
                figures["actor_loss"] = self._update_actor(state)
                _follow(self.actor_target, self.actor, settings.tau)
            _follow(self.critics_target, self.critics, settings.tau)
        return figures

    def _update_actor(self, state: State) -> float:
        weight = self.settings.lambda_anchor
        action = self.actor(state)
        with torch.no_grad():
            anchor = self.anchor(state) if self.anchor is not None else None
        # The critics only pass the gradient on here; asking for none of theirs saves half the backward pass.
        self.critics.requires_grad_(False)
        loss = objectives.td3_actor_loss(self.critics[0](state, action), action, anchor, weight)
        _descend(loss, self.actor_optimizer, self.settings.clip_grad)
        self.critics.requires_grad_(True)
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """All that an exact resume needs."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {**parts, "updates": self.updates}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.updates = saved["updates"]

    def _parts(self) -> dict[str, Any]:
        names = ("actor", "critics", "actor_target", "critics_target", "anchor", "actor_optimizer", "critic_optimizer")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def _frozen(network: _Module) -> _Module:
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def _follow(target: nn.Module, network: nn.Module, tau: float) -> None:
    """Algorithm 1: theta' <- tau theta + (1 - tau) theta'; buffers such as running means are copied."""
    for old, new in zip(target.parameters(), network.parameters(), strict=True):
        old.lerp_(new, tau)
    for kept, newest in zip(target.buffers(), network.buffers(), strict=True):
        kept.copy_(newest)


def _descend(loss: Tensor, optimizer: torch.optim.Optimizer, clip: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip > 0:
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], clip)
    optimizer.step()


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Noise from the CPU's generator, so that a seed means the same on every device."""
    return torch.randn(like.shape, generator=generator).to(like)


# --- transitions as flat dicts ------------------------------------------------------------------------------------


def _pack(state: State, action: Tensor, reward: Tensor, following: State, continues: float) -> dict[str, Tensor]:
    """One step as the replay keeps it; what the environment passed on untouched (source, goal) is kept once."""
    flat = {f"state.{key}": value for key, value in state.items()}
    flat |= {f"next.{key}": value for key, value in following.items() if value is not state.get(key)}
    return {**flat, "action": action, "reward": reward, "continues": torch.full_like(reward, continues)}


def _unpack(sample: Mapping[str, Tensor]) -> tuple[State, Tensor, State]:
    state = {key.removeprefix("state."): value for key, value in sample.items() if key.startswith("state.")}
    changed = {key.removeprefix("next."): value for key, value in sample.items() if key.startswith("next.")}
    return state, sample["action"], {**state, **changed}


# --- the loop -----------------------------------------------------------------------------------------------------


@dataclass
class _Progress:
    """Where the loop stands; all that changes besides the networks and the replay."""

    step: int = 0
    episode: int = 0
    t: int = 0
    total: float = 0.0
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    state: State | None = None


def train(
    env: Env,
    actor: nn.Module,
    critics: tuple[nn.Module, nn.Module],
    batches: Callable[[int], State],
    settings: TD3Settings,
    run: Run,
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None,
) -> nn.Module:
    """Improve ``actor`` in place and return it; goes on from ``run``'s checkpoint if there is one.

    Args:
        env: any environment with one reward per item, ``(B,)``.
        actor: ``actor(state) -> (B, d)`` in [-1, 1].
        critics: two modules, ``critic(state, action (B, d)) -> (B,)``; they may share parameters.
        batches: ``batches(i)`` are the tasks of episode ``i``, on the networks' device; a function of ``i`` alone, so
            that a resumed run sees the same ones. The env's states must not change shape between batches.
        settings: see :class:`TD3Settings`.
        run: where log and checkpoints go.
        evaluate: figures to log every ``eval_every`` steps. It must not draw from torch's global generator if the
            networks do (dropout), or it changes the run it watches.

    Raises:
        PixwardError: the checkpoint was made with other settings (only ``steps`` may grow), or training diverged.
    """
    learner = _Learner(actor, critics, settings)
    replay = Replay(settings.replay, [f"{side}.{key}" for key in settings.image_keys for side in ("state", "next")])
    generator = torch.Generator().manual_seed(settings.seed)
    at = _resume(run, learner, replay, generator)
    began = time.monotonic() - at.seconds

    while at.step < settings.steps:
        if at.state is None:
            at.state, at.t, at.total = env.reset(batches(at.episode)), 0, 0.0
        action = _explore(actor, at.state, settings, at.step, generator)
        following, reward = env.step(at.state, action)
        at.step, at.t, at.total = at.step + 1, at.t + 1, at.total + float(reward.mean())
        over = at.t == env.horizon
        continues = 0.0 if over and settings.at_horizon == "stop" else 1.0
        replay.add(_pack(at.state, action, reward, following, continues))
        at.state, at.episode = (None, at.episode + 1) if over else (following, at.episode)

        if at.step > settings.start_steps:
            for _ in range(settings.updates_per_step):
                at.figures |= learner.update(replay.sample(settings.batch, generator), generator)
            if not math.isfinite(at.figures["critic_loss"]):
                raise PixwardError(f"training diverged at step {at.step}: lower the learning rates or set clip_grad")

        at.seconds = time.monotonic() - began
        if over and at.episode % settings.log_every == 0:
            figures = {"episode": at.episode, "return": at.total, **at.figures, "seconds": round(at.seconds, 3)}
            run.log(at.step, figures)
        if evaluate is not None and at.step % settings.eval_every == 0:
            run.log(at.step, evaluate(actor))
        if at.step % settings.checkpoint_every == 0 or at.step == settings.steps:
            run.save(_checkpoint(at, learner, replay, generator))
    return actor


@torch.no_grad()
def _explore(actor: nn.Module, state: State, settings: TD3Settings, step: int, generator: torch.Generator) -> Tensor:
    action: Tensor = actor(state)
    if step < settings.random_steps:
        return (2 * torch.rand(action.shape, generator=generator) - 1).to(action)
    return (action + settings.explore_sigma * _normal(action, generator)).clamp(-1, 1)


# --- stop and resume ----------------------------------------------------------------------------------------------


def _plain(settings: TD3Settings) -> dict[str, Any]:
    return {**asdict(settings), "image_keys": list(settings.image_keys)}


def _checkpoint(at: _Progress, learner: _Learner, replay: Replay, generator: torch.Generator) -> dict[str, Any]:
    # vars, not asdict: asdict would copy every picture in the environment's state.
    return {
        "at": dict(vars(at)),
        "learner": learner.state_dict(),
        "replay": replay.state_dict(),
        "generator": generator.get_state(),
        "settings": _plain(learner.settings),
    }


def _resume(run: Run, learner: _Learner, replay: Replay, generator: torch.Generator) -> _Progress:
    saved = run.load()
    if saved is None:
        return _Progress()
    if "learner" not in saved:
        raise PixwardError(f"{run.folder} holds a run of another algorithm: choose another folder")
    for name, value in _plain(learner.settings).items():
        if name not in _FREE and saved["settings"].get(name) != value:
            raise PixwardError(
                f"the checkpoint was trained with {name}={saved['settings'].get(name)}, not {value}: "
                f"use the same settings to resume, or another run folder"
            )
    device = next(learner.actor.parameters()).device
    learner.load_state_dict(saved["learner"])
    replay.load_state_dict(saved["replay"], device)
    generator.set_state(saved["generator"])
    at = _Progress(**saved["at"])
    if at.state is not None:
        at.state = {key: value.to(device) for key, value in at.state.items()}
    return at


_FREE = {"steps", "log_every", "checkpoint_every", "eval_every"}
"""Settings that may differ when a run is resumed: they change nothing that is learnt."""
