from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pixward.editors import pool as pools
from pixward.editors.pool import Frame, Job, Pool, WorkerLost
from pixward.errors import PixwardError

FRAME = Frame(Path("a.tif"), "a", False, 4)
RAW = Frame(Path("a.dng"), "r", True, 4)


def picture(job: Job) -> np.ndarray:
    """One that tells the job: its frame's key and its sidecar, a number."""
    return np.full((2, 2, 3), int(job.sidecar) + (100 if job.frame.key == "b" else 0), np.uint8)


@dataclass(eq=False)
class Fake:
    """A worker of :class:`Program`."""

    program: Program
    raw: bool
    closed: int = 0

    def render(self, job: Job, seconds: float) -> np.ndarray:
        with self.program.lock:
            self.program.rendered.append(job.sidecar)
        return self.program.act(job)

    def close(self) -> None:
        self.closed += 1


@dataclass
class Program:
    """A program of no processes; ``act`` is what a worker does with a job."""

    act: Callable[[Job], np.ndarray] = picture
    name: str = "fake"
    workers: list[Fake] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, *, raw: bool, seconds: float = 60.0) -> Fake:
        with self.lock:
            self.workers.append(Fake(self, raw))
            return self.workers[-1]


def jobs(*numbers: int, frame: Frame = FRAME) -> list[Job]:
    return [Job(frame, str(number)) for number in numbers]


def values(pictures: list[np.ndarray]) -> list[int]:
    return [int(p[0, 0, 0]) for p in pictures]


def test_pictures_come_in_order_and_equal_jobs_are_rendered_once() -> None:
    pool = Pool(program := Program(), workers=3)
    assert values(pool.render(jobs(5, 3, 5, 1, 3))) == [5, 3, 5, 1, 3]
    assert sorted(program.rendered) == ["1", "3", "5"]
    assert (pool.counts.renders, pool.counts.repeated, pool.counts.replaced) == (3, 2, 0)
    assert values(pool.render(jobs(1, 2))) == [1, 2]
    assert (pool.counts.renders, pool.counts.repeated) == (4, 3)
    assert pool.render([]) == []
    pool.close()


def test_another_frame_is_another_picture() -> None:
    pool = Pool(Program(), workers=1)
    other = Frame(FRAME.path, "b", False, 4)
    assert values(pool.render([*jobs(5), *jobs(5, frame=other)])) == [5, 105]
    pool.close()


def test_jobs_run_side_by_side_on_no_more_workers_than_asked() -> None:
    together = threading.Barrier(3)

    def meet(job: Job) -> np.ndarray:
        together.wait(10)  # breaks unless three are here at once
        return picture(job)

    pool = Pool(program := Program(meet), workers=3)
    assert values(pool.render(jobs(*range(9)))) == list(range(9))
    assert len(program.workers) == 3
    pool.close()


def test_workers_are_used_again_raw_and_others_apart() -> None:
    pool = Pool(program := Program(), workers=1)
    for i in range(3):
        pool.render([*jobs(i), *jobs(10 + i, frame=RAW)])
    assert [worker.raw for worker in program.workers] == [False, True]
    pool.close()
    assert all(worker.closed for worker in program.workers)


def test_a_lost_worker_is_replaced_and_the_job_tried_again() -> None:
    lost = ["7"]

    def once(job: Job) -> np.ndarray:
        if job.sidecar in lost:
            lost.remove(job.sidecar)
            raise WorkerLost("did not end within 1 s")
        return picture(job)

    pool = Pool(program := Program(once), workers=1)
    assert values(pool.render(jobs(6, 7, 8))) == [6, 7, 8]
    assert (pool.counts.renders, pool.counts.replaced) == (3, 1)
    assert [worker.closed for worker in program.workers] == [1, 0]
    pool.close()


@pytest.mark.parametrize("count", [1, 3])
def test_lost_twice_is_one_line(count: int) -> None:
    def die(job: Job) -> np.ndarray:
        raise WorkerLost("died")

    pool = Pool(program := Program(die), workers=1)
    with pytest.raises(PixwardError, match="^fake died, twice in a row$"):
        pool.render(jobs(*range(count)))
    assert program.rendered[:2] == ["0", "0"] and pool.counts.renders == 0
    pool.close()
    assert all(worker.closed for worker in program.workers)


def test_a_failure_that_the_editor_explains_is_not_tried_again() -> None:
    def fail(job: Job) -> np.ndarray:
        raise PixwardError("no such module")

    pool = Pool(program := Program(fail), workers=1)
    with pytest.raises(PixwardError, match="^no such module$"):
        pool.render(jobs(1))
    assert program.rendered == ["1"] and program.workers[0].closed == 1
    pool.close()


def test_a_pool_goes_on_after_a_failure() -> None:
    def odd(job: Job) -> np.ndarray:
        if int(job.sidecar) % 2:
            raise PixwardError("odd")
        return picture(job)

    pool = Pool(program := Program(odd), workers=1)
    with pytest.raises(PixwardError, match="odd"):
        pool.render(jobs(0, 1, 2))
    assert values(pool.render(jobs(0, 2, 4))) == [0, 2, 4]
    assert program.rendered.count("0") == 1  # what was done when another failed is kept
    pool.close()


def test_a_program_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def missing(*, raw: bool, seconds: float) -> Fake:
        asked.append(raw)
        raise PixwardError("fake is not installed")

    program = Program()
    monkeypatch.setattr(program, "start", missing)
    with pytest.raises(PixwardError, match="^fake is not installed$"):
        Pool(program, workers=1).render(jobs(1))
    assert asked == [False]


def test_workers_are_replaced_when_they_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "LIFETIME", 3)
    pool = Pool(program := Program(), workers=1)
    for i in range(7):
        pool.render(jobs(i))
    assert [worker.closed for worker in program.workers] == [1, 1, 0]
    assert pool.counts.replaced == 0
    pool.close()


def test_the_oldest_pictures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "CACHE_BYTES", 3 * 12)  # three pictures of 2 x 2 x 3 bytes
    pool = Pool(program := Program(), workers=1)
    for number in (0, 1, 2, 0, 3):  # 0 is used again, so 1 is the oldest when 3 comes
        pool.render(jobs(number))
    assert program.rendered == ["0", "1", "2", "3"]
    pool.render(jobs(0, 2, 3))
    assert program.rendered == ["0", "1", "2", "3"]
    pool.render(jobs(1))
    assert program.rendered[-1] == "1"
    assert values(pool.render(jobs(*range(20)))) == list(range(20))  # more than are kept
    pool.close()


@pytest.mark.parametrize("count", [1, 4])
def test_ctrl_c_ends_the_workers(count: int) -> None:
    def interrupt(job: Job) -> np.ndarray:
        raise KeyboardInterrupt

    pool = Pool(program := Program(interrupt), workers=2)
    with pytest.raises(KeyboardInterrupt):
        pool.render(jobs(*range(count)))
    pool.close()
    assert program.workers and all(worker.closed for worker in program.workers)


def test_a_closed_pool_renders_no_more() -> None:
    pool = Pool(program := Program(), workers=2)
    pool.render(jobs(1, 2))
    pool.close()
    pool.close()
    for count in (1, 2):
        with pytest.raises(PixwardError, match="^fake was closed$"):
            pool.render(jobs(*range(3, 3 + count)))
    assert "3" not in program.rendered
    assert all(worker.closed for worker in program.workers)


def test_a_worker_that_starts_while_the_pool_closes_is_ended() -> None:
    program = Program()
    pool = Pool(program, workers=1)
    start = program.start

    def late(*, raw: bool, seconds: float) -> Fake:
        worker = start(raw=raw)
        pool.close()
        return worker

    program.start = late  # type: ignore[method-assign]
    with pytest.raises(PixwardError, match="^fake was closed$"):
        pool.render(jobs(1))
    assert program.rendered == [] and all(worker.closed for worker in program.workers)
