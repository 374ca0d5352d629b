"""``pixward match`` for many photos: one that fails stops no other, and a stopped run goes on where it was."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixward.commands.batch_journal import Journal
from pixward.commands.batch_plan import Entry, in_the_way, plan, with_setting
from pixward.commands.batch_series import Shared, find_setting
from pixward.commands.batch_work import Outcome, work
from pixward.commands.match_job import Order, Wish
from pixward.commands.outputs import sweep
from pixward.errors import PixwardError

SHEET = "contact.jpg"
"""The contact sheet, in the folder of the results."""


@dataclass(frozen=True)
class Batch:
    """A command line for many photos, see :func:`pixward.commands.match.command`."""

    order: Order
    photos: tuple[Path, ...]
    wish: Wish
    one_setting: bool
    jobs: int
    sheet: int

    @property
    def contact(self) -> Path:
        """The contact sheet."""
        return self.order.out / SHEET


@dataclass
class Row:
    """One photo of the summary.

    Attributes:
        entry: the photo.
        outcome: what became of it; None while nothing has.
        kept: whether an earlier run did it.
    """

    entry: Entry
    outcome: Outcome | None = None
    kept: bool = False

    @property
    def answer(self) -> dict[str, Any] | None:
        """What was found; None where nothing was."""
        return self.outcome.answer if self.outcome is not None else None


def run_batch(batch: Batch, *, as_json: bool) -> bool:
    """Do it; whether every photo is done.

    Raises:
        PixwardError: what makes no sense for the batch as a whole; nothing is written then. A full disk, when what is
            done stays.
        KeyboardInterrupt: the same, with a line that says what is kept.
    """
    from pixward.commands.batch_summary import tell

    start, order = time.perf_counter(), batch.order
    shared = Shared.of(order).paths() if batch.one_setting else []
    together = [batch.contact, *shared] if batch.sheet else shared
    entries = plan(order, batch.photos, batch.wish, one_setting=batch.one_setting, shared=together)
    _check_whole(batch, entries)
    with Journal(order.out) as journal:
        if batch.sheet and (said := in_the_way([batch.contact], journal, force=order.force)):
            raise PixwardError(said)
        sweep(order.out)
        rows = [Row(entry) for entry in entries]
        series: dict[str, Any] | None = None
        try:
            if batch.one_setting:
                series = find_setting(order, entries, journal, quiet=as_json)
                for row in rows:
                    row.entry = with_setting(row.entry, series["setting"])
            _do(batch, rows, journal, quiet=as_json)
        except KeyboardInterrupt:
            _say_kept(rows, journal)
            raise
        sheet = _draw_sheet(batch, rows, journal)
    tell(batch, rows, series, sheet, time.perf_counter() - start, as_json=as_json)
    return all(row.answer is not None for row in rows)


def _check_whole(batch: Batch, entries: Sequence[Entry]) -> None:
    """PixwardError for what would fail for every photo: an editor, slider, lock or strategy that there is not."""
    from pixward.commands.editors import is_real, load_editor, real_program
    from pixward.commands.matching import check_locks, solver_for
    from pixward.strategies import STRATEGIES

    order = batch.order
    job = next((entry.job for entry in entries if entry.job is not None), None)
    if job is None:
        raise PixwardError(entries[0].error)
    if order.cube is not None and not batch.one_setting and order.cube.is_file():
        raise PixwardError(f"{order.cube} is a file: name a folder for the tables of many photos with --cube")
    if order.strategy not in STRATEGIES:
        raise PixwardError(f"unknown strategy {order.strategy!r}; choose from: {', '.join(STRATEGIES)}")
    if is_real(order.editor):
        _ = real_program(order.editor, extra=order.extra).version  # Missing or too old: said once, not for each photo.
        return
    if order.extra or order.sidecar:
        raise PixwardError(f"--slider and --sidecar are for real editors, and {order.editor} is none")
    editor = load_editor(order.editor)
    check_locks(order.locked, editor)
    if len(order.locked) == len(editor.space):
        raise PixwardError("every slider is locked: nothing is left to search")
    solver_for(job, editor)


def _do(batch: Batch, rows: Sequence[Row], journal: Journal, *, quiet: bool) -> None:
    """Do what is left to do, and fill ``rows`` in."""
    from pixward.commands.console import countdown

    left = []
    for number, row in enumerate(rows):
        if row.entry.job is None:
            row.outcome = Outcome(error=row.entry.error)
        elif (answer := journal.finished(row.entry.key)) is not None:
            row.outcome, row.kept = Outcome(answer), True
        else:
            left.append((number, row.entry))
    with countdown("photos", "{task.fields[note]}", quiet=quiet) as display:
        failed = sum(row.outcome is not None and row.answer is None for row in rows)
        task = display.add_task("Matching", total=len(rows), completed=len(rows) - len(left), note=_note(failed))
        doing = work(left, journal, batch.jobs)
        try:
            for number, outcome in doing:
                rows[number].outcome = outcome
                failed += outcome.answer is None
                display.update(task, advance=1, note=_note(failed))
                if outcome.hopeless:
                    done = sum(row.answer is not None for row in rows)
                    raise PixwardError(
                        f"{outcome.error}; {done} of {len(rows)} photos are done and stay: "
                        "give the same command again when there is room"
                    )
        finally:
            doing.close()


def _note(failed: int) -> str:
    return f"{failed} failed" if failed else ""


def _say_kept(rows: Sequence[Row], journal: Journal) -> None:
    journal.refresh()  # A photo may have been finished just before its process was told to stop.
    done = sum(journal.finished(row.entry.key) is not None for row in rows)
    place = journal.path.parent
    text = f"pixward: {done} of {len(rows)} photos are done and kept in {place}; the same command goes on from there"
    print(text.encode("utf-8", "replace").decode(), file=sys.stderr)


def _draw_sheet(batch: Batch, rows: Sequence[Row], journal: Journal) -> Path | None:
    """The contact sheet of what is done, spread evenly over the photos; None where there is nothing to show."""
    from pixward.commands.batch_summary import draw_sheet

    done = [row for row in rows if row.answer is not None]
    if not batch.sheet or not done:
        return None
    step = max(1.0, len(done) / batch.sheet)
    chosen = [done[int(k * step)] for k in range(min(batch.sheet, len(done)))]
    key = " ".join(["sheet", *(row.entry.key for row in chosen)])
    if journal.finished(key) is None:
        draw_sheet(batch.contact, chosen, len(rows), lambda places: journal.write(key, batch.contact, {}, places))
    return batch.contact
