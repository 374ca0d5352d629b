"""Where a training run stands, and what it says of itself: sums of figures, lines, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

from pixward.errors import PixwardError
from pixward.run import Run
from pixward.train.workers import Learner, resume, save


class Steps(Protocol):
    """Settings, a dataclass, of a run of ``steps`` steps, with a line and a checkpoint every so many."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def steps(self) -> int:
        """How many there are."""
        ...

    @property
    def log_every(self) -> int:
        """Steps between log lines."""
        ...

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints, each with a log line."""
        ...


class Progress:
    """One run between its first step and its last, or from its checkpoint on.

    A trainer goes through :meth:`steps`, hands the figures of each step to :meth:`add` and then passes on what
    :meth:`done` yields.

    Attributes:
        step: how many steps are done.
    """

    def __init__(
        self,
        learner: Learner,
        run: Run | None,
        algorithm: str,
        settings: Steps,
        free: Set[str],
        evaluate: Callable[[int], Mapping[str, float]] | None,
        totals: Sequence[str] = (),
    ) -> None:
        """Go on from the checkpoint of ``run``, if it has one.

        Args:
            learner: what learns.
            run: where log and checkpoints go, and come from; None in all processes but the first.
            algorithm: its name, so that none goes on with another's checkpoint.
            settings: all that a checkpoint was made with.
            free: names of settings that may differ when a run is resumed.
            evaluate: figures to log before each checkpoint, from the number of steps; asked in the first process only.
            totals: figures that count something, to be told as whole numbers since the start over all processes; the
                others are means over steps and processes.

        Raises:
            PixwardError: the checkpoint is another algorithm's, or was made with other settings.
        """
        self._learner, self._run, self._evaluate = learner, run, evaluate
        self._algorithm, self._settings = algorithm, settings
        self.step = resume(run, learner, algorithm, asdict(settings), free)
        self._totals: dict[str, int] = {}
        if totals:
            self._totals = learner.beside.setdefault("totals", dict.fromkeys(totals, 0))
        self._begin()

    def steps(self) -> Iterator[int]:
        """The numbers of the steps that are left, each with the weights to go on with."""
        while self.step < self._settings.steps:
            self._learner.show_mean(False)
            yield self.step

    def add(self, figures: Mapping[str, float]) -> None:
        """Take note of figures of the step under way; what is added under one name adds up."""
        add(self._sums, figures, 1.0)

    def done(self, remedy: str, watched: Sequence[str] = ("loss",)) -> Iterator[dict[str, float]]:
        """The step is over: log and save where it is time to, and yield the line of a checkpoint after that.

        Args:
            remedy: what may keep a run from diverging, for the message.
            watched: figures that must be finite.

        Raises:
            PixwardError: training diverged, or the disk refuses.
        """
        settings, learner, workers = self._settings, self._learner, self._learner.workers
        self.step += 1
        halt = self.step % settings.checkpoint_every == 0 or self.step == settings.steps
        if not halt and self.step % settings.log_every:
            return
        line = self._line(remedy, watched)
        learner.show_mean(halt)
        if halt and self._evaluate is not None:
            learner.policy.eval()
            line |= workers.share(dict(self._evaluate(self.step)) if workers.first else None)
        self._begin()
        if self._run is not None:
            self._run.log(self.step, line)
        if halt:
            save(self._run, learner, self._algorithm, asdict(settings), self.step)
            yield {"step": self.step, **line}
            self._began = time.monotonic()  # what was done with the checkpoint is no part of the next step's seconds

    def _begin(self) -> None:
        self._sums: dict[str, float] = {}
        self._logged, self._began = self.step, time.monotonic()

    def _line(self, remedy: str, watched: Sequence[str]) -> dict[str, float]:
        workers, count = self._learner.workers, self.step - self._logged
        line = workers.mean({name: value / count for name, value in self._sums.items()})
        if not all(math.isfinite(line[name]) for name in watched):
            raise PixwardError(f"training diverged before step {self.step}: {remedy}")
        for name in self._totals:
            self._totals[name] += round(line.pop(name) * count * workers.count)
        seconds = round((time.monotonic() - self._began) / count, 4)
        return {**line, **self._totals, "seconds": seconds}


def add(sums: dict[str, float], figures: Mapping[str, float], share: float) -> None:
    """Add ``share`` of each of ``figures`` to ``sums``."""
    for name, value in figures.items():
        sums[name] = sums.get(name, 0.0) + value * share
