"""Several processes of one editor: jobs shared out, hung and dead ones replaced, nothing rendered twice."""

from __future__ import annotations

import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from pixward.errors import PixwardError

LIFETIME = 2_000
"""Renders after which a process is replaced: editors leak."""
CACHE_BYTES = 256 << 20
"""How much the renders that are kept may take."""


@dataclass(frozen=True)
class Frame:
    """A picture as an editor opens it.

    Attributes:
        path: the file.
        key: stands for its contents: equal keys, equal pictures.
        raw: whether it is a camera raw file.
        longest: its longest side in pixels; radii that are relative to the picture are taken of this.
        scale: its pixels per pixel of the photo it stands for, at most 1; radii that a person gave in pixels of the
            photo are multiplied by it.
    """

    path: Path
    key: str
    raw: bool
    longest: int
    scale: float = 1.0


@dataclass(frozen=True)
class Job:
    """One render: a frame, and the text of the sidecar that says what to do with it."""

    frame: Frame
    sidecar: str


class WorkerLost(Exception):
    """A process of the editor hung, died, or gave no picture; the message says which."""


class Worker(Protocol):
    """One process of an editor, or whatever renders one job after another. Used by one thread at a time."""

    def render(self, job: Job, seconds: float) -> np.ndarray:
        """The picture, ``(H, W, 3)`` uint8 or uint16.

        Raises:
            WorkerLost: it did not come within ``seconds``, or not at all.
        """
        ...

    def close(self) -> None:
        """End the process, if it still lives. May be called twice."""
        ...


class Program(Protocol):
    """Something that starts workers."""

    @property
    def name(self) -> str:
        """What messages call the editor."""
        ...

    def start(self, *, raw: bool, seconds: float = 60.0) -> Worker:
        """A new worker for raw files or for pictures, which must be ready within ``seconds``.

        Raises:
            PixwardError: the editor is missing, too old, or does not start.
            WorkerLost: it hung or died while starting.
        """
        ...


@dataclass
class Counts:
    """What a pool has done.

    Attributes:
        renders: pictures that an editor has really made.
        repeated: pictures that were asked for again and came from memory.
        replaced: processes that hung or died.
    """

    renders: int = 0
    repeated: int = 0
    replaced: int = 0


@dataclass
class _Kept:
    """The newest renders, as many as fit into ``CACHE_BYTES``."""

    pictures: OrderedDict[tuple[str, str], np.ndarray] = field(default_factory=OrderedDict)
    size: int = 0

    def put(self, key: tuple[str, str], picture: np.ndarray) -> None:
        if key in self.pictures:
            self.size -= self.pictures.pop(key).nbytes
        self.pictures[key] = picture
        self.size += picture.nbytes
        while self.size > CACHE_BYTES and len(self.pictures) > 1:
            self.size -= self.pictures.popitem(last=False)[1].nbytes


class Pool:
    """Renders jobs on ``workers`` processes of a program. Processes start when they are first needed."""

    def __init__(self, program: Program, *, workers: int | None = None, seconds: float = 60.0) -> None:
        """``workers``: None for one a core. ``seconds``: what a render or a start may take."""
        self.program, self.seconds = program, seconds
        self.workers = workers or os.cpu_count() or 1
        self.counts = Counts()
        self._kept = _Kept()
        self._idle: dict[bool, queue.LifoQueue[tuple[Worker, int]]] = {
            False: queue.LifoQueue(),
            True: queue.LifoQueue(),
        }
        self._all: set[Worker] = set()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    def render(self, jobs: Sequence[Job]) -> list[np.ndarray]:
        """The pictures of ``jobs``, in order; equal jobs are rendered once.

        Raises:
            PixwardError: the editor is missing, or hung, died or gave no picture twice in a row.
        """
        if self._closed:
            raise PixwardError(f"{self.program.name} was closed")
        keys = [(job.frame.key, job.sidecar) for job in jobs]
        found: dict[tuple[str, str], np.ndarray] = {}
        wanted: dict[tuple[str, str], Job] = {}
        with self._lock:
            for key, job in zip(keys, jobs, strict=True):
                if key in self._kept.pictures:
                    self._kept.pictures.move_to_end(key)
                    found[key] = self._kept.pictures[key]
                else:
                    wanted.setdefault(key, job)
        self.counts.repeated += len(jobs) - len(wanted)
        if len(wanted) == 1:  # In this thread: Ctrl-C is then heard at once.
            found.update((key, self._one(job)) for key, job in wanted.items())
        elif wanted:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="pixward-editor")
            futures = [(key, self._threads.submit(self._one, job)) for key, job in wanted.items()]
            try:
                found.update((key, future.result()) for key, future in futures)
            except BaseException as error:
                for _, future in futures:
                    future.cancel()
                if not isinstance(error, PixwardError):
                    self.close()  # Ctrl-C: Python waits for threads at its end, and they for the editor.
                raise
        return [found[key] for key in keys]

    def close(self) -> None:
        """End every process. The pool renders no more."""
        with self._lock:
            self._closed = True
            workers, self._all = self._all, set()
        for worker in workers:
            worker.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _one(self, job: Job) -> np.ndarray:
        try:
            return self._try(job)
        except WorkerLost:
            with self._lock:
                if self._closed:
                    raise PixwardError(f"{self.program.name} was closed") from None
                self.counts.replaced += 1
        try:
            return self._try(job)
        except WorkerLost as lost:
            again = "" if self._closed else ", twice in a row"
            raise PixwardError(f"{self.program.name} {lost}{again}") from lost

    def _try(self, job: Job) -> np.ndarray:
        worker, used = self._take(job.frame.raw)
        try:
            picture = worker.render(job, self.seconds)
        except BaseException:
            self._drop(worker)
            raise
        with self._lock:
            self.counts.renders += 1
            # Here, not where the batch is put together: what is done stays when another job of the batch fails.
            self._kept.put((job.frame.key, job.sidecar), picture)
        if used + 1 >= LIFETIME:
            self._drop(worker)
        else:
            self._idle[job.frame.raw].put((worker, used + 1))
        return picture

    def _take(self, raw: bool) -> tuple[Worker, int]:
        try:
            return self._idle[raw].get_nowait()
        except queue.Empty:
            worker = self.program.start(raw=raw, seconds=self.seconds)
        with self._lock:
            if not self._closed:
                self._all.add(worker)
                return worker, 0
        worker.close()
        raise WorkerLost("was closed")

    def _drop(self, worker: Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.close()
