"""The photos of a batch, worked on one after another here, or side by side in processes of their own."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from pixward.commands.batch_journal import Journal
from pixward.commands.batch_plan import Entry, in_the_way
from pixward.commands.match_job import Found, Watch
from pixward.commands.outputs import late_interrupt
from pixward.errors import PixwardError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_GRACE = 10.0


@dataclass(frozen=True)
class Outcome:
    """What became of a photo.

    Attributes:
        answer: what was found, as plain data; None where it failed.
        error: why, in one line.
        hopeless: no other photo can be written either: the disk is full.
    """

    answer: dict[str, Any] | None = None
    error: str = ""
    hopeless: bool = False


def work(
    entries: Sequence[tuple[int, Entry]], journal: Journal, jobs: int
) -> Generator[tuple[int, Outcome], None, None]:
    """Do ``entries``, each with its number, ``jobs`` at a time; yields what became of them, in any order.

    Leaving early, by an error or Ctrl-C, stops what is under way; that leaves no files.
    """
    if jobs == 1 or len(entries) < 2:
        with _remembered() as pressed:
            for number, entry in entries:
                outcome = do(entry, journal)
                if pressed or late_interrupt():
                    raise KeyboardInterrupt
                yield number, outcome
        return
    yield from _side_by_side(entries, journal, min(jobs, len(entries)))


def do(entry: Entry, journal: Journal) -> Outcome:
    """Match one photo, and write down what came of it."""
    job = entry.job
    assert job is not None
    from pixward.commands.match_run import outputs_of, run_job

    said = in_the_way(outputs_of(job), journal, force=job.files.force)
    if said:
        return Outcome(error=said)
    answers: list[dict[str, Any]] = []

    def written(found: Found, places: Mapping[Path, Path]) -> None:
        from pixward.commands.matching import as_data

        answers.append(as_data(job, found))
        journal.write(entry.key, entry.photo, answers[0], places, theirs=found.finish.sidecar)

    try:
        # What lies in the way is ours or may be replaced: that was looked at above.
        run_job(replace(job, files=replace(job.files, ours=True)), Watch(written=written))
    except Exception as error:
        return Outcome(error=reason(error), hopeless=_hopeless(error))
    return Outcome(answers[0])


def reason(error: Exception) -> str:
    """What went wrong, in one line for a person."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower()
    elif isinstance(error, (PixwardError, ValueError)):
        text = str(error)
    elif isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        text = "out of memory; try a smaller photo, or fewer --jobs"
    else:
        text = f"this is a bug, please report it: {type(error).__name__}: {error}"
    return " ".join(text.split())


def _hopeless(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _remembered() -> Iterator[list[bool]]:
    """Ctrl-C, remembered: a library may turn the exception into one of its own, which would pass for a bad photo."""
    pressed: list[bool] = []
    late_interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.getsignal(signal.SIGINT)

    def remember(number: int, frame: Any) -> None:
        pressed.append(True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


# --- side by side ---------------------------------------------------------------------------------------------------


@dataclass
class _Hand:
    """A process, what it is asked through, and the number of the photo that it has."""

    process: SpawnProcess
    pipe: Connection
    number: int | None = None


def _side_by_side(
    entries: Sequence[tuple[int, Entry]], journal: Journal, count: int
) -> Generator[tuple[int, Outcome], None, None]:
    left = list(reversed(entries))
    context = multiprocessing.get_context("spawn")
    hands: list[_Hand] = []

    def begin() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, journal.path.parent), daemon=True)
        process.start()
        theirs.close()
        hands.append(_Hand(process, ours))
        give(hands[-1])

    def give(hand: _Hand) -> None:
        hand.number = None
        if left:
            hand.number, entry = left.pop()
            with suppress(OSError):  # It has died: its end is seen below.
                hand.pipe.send(entry)

    try:
        for _ in range(count):
            begin()
        while busy := [hand for hand in hands if hand.number is not None]:
            for pipe in wait([hand.pipe for hand in busy]):
                hand = next(hand for hand in busy if hand.pipe is pipe)
                assert hand.number is not None
                number, outcome = hand.number, _hear(hand)
                if outcome is None:
                    hands.remove(hand)
                    yield number, Outcome(error=_end(hand))
                    if left:
                        begin()
                    continue
                give(hand)
                yield number, outcome
    finally:
        _dismiss(hands)


def _hear(hand: _Hand) -> Outcome | None:
    """What a process says of its photo; None if it has died."""
    try:
        outcome = hand.pipe.recv()
    except (EOFError, OSError):
        return None
    assert isinstance(outcome, Outcome)
    return outcome


def _end(hand: _Hand) -> str:
    hand.process.join(_GRACE)
    hand.pipe.close()
    code = hand.process.exitcode
    how = f"signal {-code}" if code is not None and code < 0 else f"code {code}"
    return f"the process that worked on it ended ({how}): the photo may need more memory than there is"


def _dismiss(hands: Sequence[_Hand]) -> None:
    """End every process; what they had begun leaves no files."""
    for hand in hands:
        hand.process.terminate()
    for hand in hands:
        hand.process.join(_GRACE)
        if hand.process.is_alive():
            hand.process.kill()
            hand.process.join()
        hand.pipe.close()


def _serve(pipe: Connection, folder: Path) -> None:
    """A process: photo after photo, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent says when to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _leave_with_parent()
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    journal = Journal(folder)
    while True:
        try:
            entry = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(do(entry, journal))


def _leave_with_parent() -> None:
    """A parent that was killed cannot say stop."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()
