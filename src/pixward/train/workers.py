"""The processes of one training run: one by itself, or as many as ``accelerate launch`` started.

An update is the mean over ``accumulate`` small batches, numbered through the whole run. Number ``i`` holds the same
tasks and draws the same random numbers whichever process takes it, so a run is the same on one process as on several,
and a checkpoint needs no generator's state: the number of the next update says it all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.run import Run

Batch = Mapping[str, Any]
"""One small batch: ``images`` ``(B, C, H, W)``, the targets under names of the task's own, and perhaps ``name``, a list
of ``B`` names for error messages. Tensors and what else has a ``to`` move to the device."""

Precision = Literal["no", "bf16", "fp16"]


class Workers:
    """What a trainer asks of Accelerate.

    Attributes:
        index: which process this is, from 0.
        count: how many there are.
        device: where this one computes.
        precision: of matrix products; ``no`` is float32.
    """

    def __init__(self, precision: Precision = "no") -> None:
        """Join the processes that the launcher started, or be the only one.

        Raises:
            PixwardError: Accelerate is missing.
        """
        try:
            from accelerate import Accelerator
        except ImportError:
            raise PixwardError("training by reward needs Accelerate: pip install 'pixward[train]'") from None
        self.accelerator = Accelerator(mixed_precision=precision)
        self.index, self.count = self.accelerator.process_index, self.accelerator.num_processes
        self.device, self.precision = self.accelerator.device, precision

    @property
    def first(self) -> bool:
        """Whether this is the process that writes: the one to give a :class:`pixward.run.Run` to."""
        return self.index == 0

    def mine(self, accumulate: int) -> range:
        """Which of an update's small batches this process takes.

        Raises:
            PixwardError: they cannot be shared out evenly.
        """
        if accumulate % self.count:
            raise PixwardError(
                f"{self.count} processes cannot share {accumulate} batches per update: set accumulate to a multiple"
            )
        return range(self.index, accumulate, self.count)

    def place(self, batch: Batch) -> dict[str, Any]:
        """``batch`` on this process's device."""
        return {name: value.to(self.device) if hasattr(value, "to") else value for name, value in batch.items()}

    def share(self, value: Any) -> Any:
        """What the first process calls ``value``, in all of them."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def gather(self, value: Any) -> list[Any]:
        """What every process calls ``value``, in the order of their indices, in all of them."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return list(gather_object([value]))

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Means over the processes."""
        names = sorted(figures)
        values = torch.tensor([figures[name] for name in names], dtype=torch.float64, device=self.device)
        means = values if self.count == 1 else self.accelerator.reduce(values, "mean")
        return dict(zip(names, means.tolist(), strict=True))

    @contextlib.contextmanager
    def seeded(self, seed: int, number: int) -> Iterator[torch.Generator]:
        """Random numbers of small batch ``number``: a generator, and the global ones for layers that draw (dropout)."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(mixed(seed, number))
            yield torch.Generator().manual_seed(mixed(seed, number))


def mixed(seed: int, number: int) -> int:
    """One seed for place ``number`` of a run with ``seed``: torch's generator on the CPU looks at 32 bits only."""
    return (seed * 1_000_003 + number) % 2**32


class Learner:
    """A policy's weights, their optimiser, and what a checkpoint holds of both.

    Weights that are frozen when this is made (LoRA: nearly all) are the caller's to bring back: no checkpoint and no
    mean holds them.

    Attributes:
        score: ``log_prob`` of the policy, or another function that uses it, through the wrappers that share gradients
            and set the precision.
        beside: what else an algorithm wants to find in its checkpoint: numbers, strings, lists and dicts of these, the
            same in all processes.
    """

    def __init__(
        self,
        policy: nn.Module,
        workers: Workers,
        weight_decay: float,
        clip_grad: float,
        average: float = 0.0,
        score: Callable[..., Any] | None = None,
    ) -> None:
        """Moves ``policy`` to the workers' device; ``average`` is how much of their mean stays at every step.

        ``score`` is what gradients come from, ``policy.log_prob`` if None.
        """
        policy.to(workers.device)
        self.policy, self.workers, self.clip_grad, self.average = policy, workers, clip_grad, average
        # Tied weights are told under every name that state_dict has for them.
        named = policy.named_parameters(remove_duplicate=False)
        self._frozen = frozenset(name for name, weight in named if not weight.requires_grad)
        self.mean = self._copied() if average else {}
        self.beside: dict[str, Any] = {}
        self._last: dict[str, Tensor] = {}
        trained = [weight for weight in policy.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=weight_decay)
        self.score, self.optimizer = workers.accelerator.prepare(_Scoring(policy, score), optimizer)

    def accumulating(self, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Around forward and backward pass: processes exchange gradients with the ``last`` of an update only."""
        return contextlib.nullcontext() if last else self.workers.accelerator.no_sync(self.score)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss``, scaled where half precision asks for it."""
        self.workers.accelerator.backward(loss)

    def step(self, rate: float) -> float:
        """One update at learning rate ``rate``; the gradient's norm before it was clipped."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        limit = self.clip_grad if self.clip_grad > 0 else float("inf")
        norm = self.workers.accelerator.clip_grad_norm_(self.score.parameters(), limit)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for name, weight in self._learnt().items() if self.average else ():
                if weight.is_floating_point():
                    self.mean[name].lerp_(weight, 1 - self.average)
        return float(norm)

    def show_mean(self, wanted: bool) -> None:
        """Whether the policy has the mean of its weights, to be looked at, or the last ones, to go on with."""
        if wanted and self.average and not self._last:
            self._last = self._copied()
            self._put(self.mean)
        elif not wanted and self._last:
            self._put(self._last)
            self._last = {}

    def state_dict(self) -> dict[str, Any]:
        """What was learnt of the policy, its buffers, the optimiser, and the scaler of half precision."""
        scaler = self.workers.accelerator.scaler
        return {
            "policy": self._last or self._learnt(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "mean": self.mean,
            "beside": self.beside,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave, or a whole policy, as checkpoints used to hold.

        Raises:
            PixwardError: the saved policy has another shape, or learnt other weights; nothing was changed.
        """
        weights, own = saved["policy"], self.policy.state_dict()
        wrong = [name for name in weights if name not in own or weights[name].shape != own[name].shape]
        wrong += [name for name in self._learnt() if name not in weights]
        if wrong:
            raise PixwardError(
                f"the policy in the run folder has another shape, in {wrong[0]}: "
                "resume it with the settings of its start"
            )
        try:
            self.optimizer.load_state_dict(saved["optimizer"])
        except ValueError:
            raise PixwardError(
                "the run in the run folder trained other weights: resume it with the settings of its start"
            ) from None
        self._put(weights)
        self.mean = {
            name: weight.to(self.workers.device) for name, weight in saved["mean"].items() if name not in self._frozen
        }
        self.beside = dict(saved.get("beside", {}))
        if self.workers.accelerator.scaler is not None and saved["scaler"]:
            self.workers.accelerator.scaler.load_state_dict(saved["scaler"])

    def _learnt(self) -> dict[str, Tensor]:
        """The weights that are trained, and the buffers; not copied."""
        held: dict[str, Tensor] = self.policy.state_dict()
        for name in self._frozen:
            held.pop(name, None)
        return held

    def _copied(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self._learnt().items()}

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        """Into the policy; what is not among them stays."""
        self.policy.load_state_dict(weights, strict=False)


class _Scoring(nn.Module):
    """Gradients are shared by whoever wraps ``forward``, and ours is called ``log_prob``."""

    def __init__(self, policy: nn.Module, score: Callable[..., Any] | None) -> None:
        super().__init__()
        self.policy, self._score = policy, score

    def forward(self, *arguments: Any) -> Any:
        score: Any = self._score or self.policy.log_prob
        return score(*arguments)


def save(run: Run | None, learner: Learner, algorithm: str, settings: Mapping[str, Any], step: int) -> None:
    """Write the checkpoint after update ``step``, in the process that has the run."""
    if run is not None:
        run.save({**learner.state_dict(), "algorithm": algorithm, "settings": dict(settings), "step": step})


def resume(run: Run | None, learner: Learner, algorithm: str, settings: Mapping[str, Any], free: Set[str]) -> int:
    """Load the checkpoint, which the first process reads, into every process; the number of updates it has seen.

    Settings in ``free`` may have changed since.

    Raises:
        PixwardError: the checkpoint is another algorithm's, or was made with other settings.
    """
    saved = learner.workers.share(run.load() if run is not None else None)
    if saved is None:
        return 0
    if saved.get("algorithm") != algorithm:
        raise PixwardError(f"the run folder holds a run of another algorithm than {algorithm}: choose another folder")
    for name, value in settings.items():
        if name not in free and saved["settings"].get(name) != value:
            raise PixwardError(
                f"the checkpoint was trained with {name}={saved['settings'].get(name)}, not {value}: "
                f"use the same settings to resume, or another run folder"
            )
    learner.load_state_dict(saved)
    return int(saved["step"])
