"""From an environment and a policy to what a trainer learns from; one implementation for all four systems."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixward.types import Env, Policy, Rollout, State


@torch.no_grad()
def rollout(env: Env, policy: Policy, batch: State) -> Rollout:
    """Play one whole episode, ``env.horizon`` steps, for every item of ``batch``.

    Raises:
        ValueError: rewards, log-probabilities and baselines differ in shape: one of them has another ``P``.
    """
    state = env.reset(batch)
    states, actions, rewards = [], [], []
    for _ in range(env.horizon):
        action = policy.sample(state)
        # A recurrent policy's memory is part of the state it decides in, so that `evaluate` needs nothing else.
        state = {**{key: torch.zeros_like(value) for key, value in action.memory.items()}, **state}
        states.append(state)
        # What the policy remembers of its decision may be what the environment shows, as with a denoised picture.
        state, reward = env.step({**state, **action.memory}, action.value)
        state = {**state, **action.memory}
        if not reward.shape == action.log_prob.shape == action.baseline.shape:
            raise ValueError(
                f"reward {tuple(reward.shape)}, log_prob {tuple(action.log_prob.shape)} and baseline "
                f"{tuple(action.baseline.shape)} must have the same shape (B, *P)"
            )
        actions.append(action)
        rewards.append(reward)
    return Rollout(
        states=states,
        actions=torch.stack([action.value for action in actions]),
        log_probs=torch.stack([action.log_prob for action in actions]),
        baselines=torch.stack([action.baseline for action in actions]),
        rewards=torch.stack(rewards),
        last=state,
    )


@dataclass(frozen=True)
class Minibatch:
    """``N`` decisions out of a rollout.

    Attributes:
        states: every value ``(N, ...)``.
        actions: ``(N, ...)``.
        log_probs: ``(N, *P)``.
        baselines: ``(N, *P)``.
        rewards: ``(N, *P)``.
        index: ``(N,)``, positions in the rollout's ``T * B`` decisions: ``advantages.flatten(0, 1)[index]``.
    """

    states: State
    actions: Tensor
    log_probs: Tensor
    baselines: Tensor
    rewards: Tensor
    index: Tensor


def minibatches(rollout: Rollout, size: int, generator: torch.Generator) -> Iterator[Minibatch]:
    """One pass over all ``T * B`` decisions, shuffled, ``size`` at a time; the last minibatch may be smaller.

    ``generator`` is on the CPU, so that a seed means the same on every device.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    steps, count = rollout.rewards.shape[:2]
    order = torch.randperm(steps * count, generator=generator)
    for part in order.split(size):
        # Sorted by time, a minibatch is one gather per step instead of one copy of the whole rollout.
        index = part.sort().values
        rows = [(int(t), index[index // count == t] % count) for t in (index // count).unique()]
        states = {
            key: torch.cat([rollout.states[t][key][row.to(value.device)] for t, row in rows])
            for key, value in rollout.states[0].items()
        }
        index = index.to(rollout.rewards.device)
        yield Minibatch(
            states=states,
            actions=rollout.actions.flatten(0, 1)[index],
            log_probs=rollout.log_probs.flatten(0, 1)[index],
            baselines=rollout.baselines.flatten(0, 1)[index],
            rewards=rollout.rewards.flatten(0, 1)[index],
            index=index,
        )


class Replay:
    """The last ``capacity`` transitions; a transition is a dict of tensors, ``(N, ...)`` for ``N`` at a time.

    Memory is allocated at the first :meth:`add`, on the device of what is added. Keys named in ``images`` hold values
    in [0, 1] and are kept as 8 bit, a quarter of the space; 8-bit-valued pictures come back exactly.
    """

    def __init__(self, capacity: int, images: Collection[str] = ()) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.capacity, self.images = capacity, frozenset(images)
        self._store: dict[str, Tensor] = {}
        self._next = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, transitions: Mapping[str, Tensor]) -> None:
        """Append ``N`` transitions; the oldest make room.

        Raises:
            ValueError: more than the capacity, or other keys or shapes than before.
        """
        count = next(iter(transitions.values())).shape[0]
        if count > self.capacity:
            raise ValueError(f"{count} transitions do not fit a replay of {self.capacity}")
        packed = {key: self._pack(key, value) for key, value in transitions.items()}
        if not self._store:
            self._store = {key: value.new_zeros(self.capacity, *value.shape[1:]) for key, value in packed.items()}
        for key in packed.keys() ^ self._store.keys():
            raise ValueError(f"every transition must have the same keys: {key!r} comes and goes")
        for key, value in packed.items():
            if value.shape != (count, *self._store[key].shape[1:]):
                want = (count, *self._store[key].shape[1:])
                raise ValueError(f"transition {key!r} must be {want}, got {tuple(value.shape)}")
        where = (self._next + torch.arange(count)) % self.capacity
        for key, value in packed.items():
            self._store[key][where.to(value.device)] = value
        self._next = (self._next + count) % self.capacity
        self._size = min(self._size + count, self.capacity)

    def sample(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """``count`` transitions drawn uniformly with replacement; ``generator`` is on the CPU.

        Raises:
            ValueError: the replay is empty.
        """
        if not self._size:
            raise ValueError("the replay is empty: add transitions before sampling")
        index = torch.randint(self._size, (count,), generator=generator)
        return {key: self._unpack(key, value[index.to(value.device)]) for key, value in self._store.items()}

    def state_dict(self) -> dict[str, object]:
        """Everything, for an exact resume: plain numbers and tensors (images still 8 bit)."""
        store = {key: value[: self._size].clone() for key, value in self._store.items()}
        return {"capacity": self.capacity, "next": self._next, "size": self._size, "store": store}

    def load_state_dict(self, saved: Mapping[str, object], device: torch.device | str = "cpu") -> None:
        """Take back what :meth:`state_dict` gave.

        Raises:
            ValueError: it comes from a replay of another capacity.
        """
        if saved["capacity"] != self.capacity:
            raise ValueError(f"the saved replay holds {saved['capacity']} transitions, this one {self.capacity}")
        store, self._next, self._size = saved["store"], saved["next"], saved["size"]  # type: ignore[assignment]
        self._store = {}
        for key, value in store.items():  # type: ignore[attr-defined]
            self._store[key] = torch.zeros(self.capacity, *value.shape[1:], dtype=value.dtype, device=device)
            self._store[key][: self._size] = value.to(device)

    def _pack(self, key: str, value: Tensor) -> Tensor:
        value = value.detach()
        return (value.clamp(0, 1) * 255).round().to(torch.uint8) if key in self.images else value

    def _unpack(self, key: str, value: Tensor) -> Tensor:
        return value.float() / 255 if key in self.images else value
