"""The processes that do the work, and which units are left to do."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch

from pixward.bench.goals import Pair, Shot, make_pair
from pixward.bench.measure import Scorer, Unit, measure, time_search
from pixward.bench.settings import BUDGETS, TEACHER, EditBenchSettings, GoalSet, parse_goals
from pixward.bench.units import Key, UnitFile
from pixward.commands.editors import load_editor
from pixward.data.teacher import Teacher
from pixward.editors.strips import one_thread
from pixward.errors import PixwardError
from pixward.search.problem import Problem, Solver
from pixward.types import Editor

TIMED_RENDERS = 10
"""Budget of the timed searches."""


# --- one process ------------------------------------------------------------------------------------------------


class Worker:
    """Does units one after another, keeping what the next one may need."""

    def __init__(self, settings: EditBenchSettings, shots: list[Shot]) -> None:
        self.settings, self.shots = settings, shots
        self.scorer = Scorer(settings.lpips)
        self.solver: Callable[[str, str], Solver] = lru_cache(self._solver)
        self.pair: Callable[[GoalSet, int], Pair] = lru_cache(maxsize=4)(self._pair)
        self.teacher: Teacher | None = None

    def __call__(self, key: Key) -> Unit:
        """Measure one unit."""
        goals, editor = parse_goals(key.goals), load_editor(parse_goals(key.goals).editor)
        pair, solver = self.pair(goals, key.index), self.solver(key.strategy, goals.editor)
        # Solvers draw from their own generators; the global one is fixed for those that forget.
        seed = self.settings.seed * 100_003 + key.index
        torch.manual_seed(seed)
        try:
            if key.timed:
                return time_search(pair, editor, solver, renders=TIMED_RENDERS, seed=seed)
            return measure(
                pair,
                editor,
                solver,
                renders=self.settings.renders,
                budget=min(self.settings.renders, BUDGETS.get(key.strategy, self.settings.renders)),
                seed=seed,
                marks=self.settings.checkpoints,
                scorer=self.scorer,
            )
        except Exception as error:
            raise PixwardError(
                f"strategy {key.strategy} failed on {key.photo}, goals {key.goals}: {type(error).__name__}: {error}"
            ) from error

    def _solver(self, strategy: str, editor: str) -> Solver:
        return build_solver(self.settings.catalogue, strategy, load_editor(editor))

    def _pair(self, goals: GoalSet, index: int) -> Pair:
        if goals.how == TEACHER and self.teacher is None and self.settings.teacher is not None:
            from pixward.data.teacher import load_teacher

            self.teacher = load_teacher(self.settings.teacher)
        settings = self.settings
        return make_pair(
            self.shots[index], index, goals, seed=settings.seed, longest=settings.preview, teacher=self.teacher
        )


def build_solver(catalogue: str, strategy: str, editor: Editor) -> Solver:
    """The solver that ``catalogue`` (``module:NAME``) has for ``strategy``.

    Raises:
        PixwardError: a strategy that it does not have, or that cannot serve this editor.
    """
    if strategy == "identity":
        return _identity
    module, _, name = catalogue.partition(":")
    strategies = getattr(importlib.import_module(module), name)
    if strategy not in strategies:
        raise PixwardError(f"unknown strategy {strategy!r}; choose from: identity, {', '.join(strategies)}")
    solver: Solver = strategies[strategy](editor)
    return solver


def _identity(problem: Problem, seed: int) -> None:
    """The untouched photo."""


# --- many processes ---------------------------------------------------------------------------------------------

_worker: Worker | None = None


def _start(settings: EditBenchSettings, shots: list[Shot]) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent says when to stop.
    parent = multiprocessing.parent_process()
    if parent is not None:

        def leave_with_parent() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _worker = Worker(settings, shots)


def _do(key: Key) -> Unit:
    assert _worker is not None
    return _worker(key)


def do_units(settings: EditBenchSettings, shots: list[Shot], keys: list[Key]) -> Iterator[tuple[Key, Unit]]:
    """Measure ``keys`` in ``settings.jobs`` processes; yields units as they finish, in any order.

    With one job all happens in this process. Timed units do too, whatever ``jobs`` says, one after another at the end.
    """
    alone = [key for key in keys if key.timed or settings.jobs == 1]
    shared = [] if settings.jobs == 1 else [key for key in keys if not key.timed]
    if shared:
        yield from _in_processes(settings, shots, shared)
    with one_thread():
        worker, warm = Worker(settings, shots), set()
        for key in alone:
            if key.timed and (key.goals, key.strategy) not in warm:
                worker(key)  # The first search pays for loading networks and for torch's own start.
                warm.add((key.goals, key.strategy))
            yield key, worker(key)


def _in_processes(settings: EditBenchSettings, shots: list[Shot], keys: list[Key]) -> Iterator[tuple[Key, Unit]]:
    context = multiprocessing.get_context("spawn")
    with _single_thread_environment():
        pool = ProcessPoolExecutor(
            min(settings.jobs, len(keys)), mp_context=context, initializer=_start, initargs=(settings, shots)
        )
        try:
            futures: dict[Future[Unit], Key] = {pool.submit(_do, key): key for key in keys}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _single_thread_environment() -> Iterator[None]:
    """Children read these when they import NumPy and torch."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# --- the whole run ----------------------------------------------------------------------------------------------


def plan(settings: EditBenchSettings, shots: list[Shot]) -> tuple[list[Key], dict[str, str]]:
    """All units of a run, photo by photo, and notes on strategies that are left out or crippled, by goals and name."""
    keys: list[Key] = []
    notes: dict[str, str] = {}
    able: dict[str, list[str]] = {}
    for goals in settings.goal_sets:
        able[goals.name] = []
        for strategy in settings.strategies:
            _check_known(settings, strategy)
            try:
                build_solver(settings.catalogue, strategy, load_editor(goals.editor))
                able[goals.name].append(strategy)
            except PixwardError as error:
                notes[f"{goals.name} {strategy}"] = f"not measured: {error}"
        if "hybrid" in able[goals.name] and _untrained(goals.editor):
            notes[f"{goals.name} hybrid"] = "no networks are shipped for this editor: hybrid does without them"
    for timed, count in ((False, len(shots)), (True, min(settings.timed, len(shots)))):
        for index in range(count):
            for goals in settings.goal_sets:
                if goals.photos is not None and index >= goals.photos:
                    continue
                name = goals.name
                for strategy in able[name]:
                    if not (timed and strategy == "identity"):
                        keys.append(Key(name, strategy, index, shots[index].name, timed))
    return keys, notes


def _untrained(editor: str) -> bool:
    """Whether ``hybrid`` has to do without its networks."""
    from pixward.policies.weights import find_weights

    return find_weights(editor, "policy") is None or find_weights(editor, "response") is None


def _check_known(settings: EditBenchSettings, strategy: str) -> None:
    module, _, name = settings.catalogue.partition(":")
    known = ["identity", *getattr(importlib.import_module(module), name)]
    if strategy not in known:
        raise PixwardError(f"unknown strategy {strategy!r}; choose from: {', '.join(known)}")


def run_units(settings: EditBenchSettings, shots: list[Shot], keys: list[Key], kept: UnitFile) -> dict[Key, Unit]:
    """Measure what is not measured yet, with a progress bar; every finished unit is kept at once."""
    done = {key: unit for key, unit in kept.read().items() if key in set(keys)}
    left = [key for key in keys if key not in done]
    with _progress(len(keys), len(done)) as advance:
        try:
            for key, unit in do_units(settings, shots, left):
                done[key] = kept.append(key, unit)
                advance()
        except KeyboardInterrupt:
            print(f"stopped: {len(done)} of {len(keys)} units are kept; the same command goes on", file=sys.stderr)
            raise
    return done


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[], Any]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("bench edit"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=120) as bar:
        task = bar.add_task("bench edit", total=total, completed=done)
        yield lambda: bar.advance(task)
