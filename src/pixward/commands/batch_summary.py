"""What a batch tells in the end: a table or JSON, and a contact sheet."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixward.commands.batch_journal import NAME
from pixward.commands.console import print_json, stdout
from pixward.commands.match_tables import print_files
from pixward.commands.outputs import staged

if TYPE_CHECKING:
    from rich.console import Console

    from pixward.commands.batch import Batch, Row
    from pixward.contact import Shot

MOST_ROWS = 30
"""The longest table of all photos; of more, the :data:`WORST` that came least near are shown."""
WORST = 10


def tell(
    batch: Batch,
    rows: Sequence[Row],
    series: Mapping[str, Any] | None,
    sheet: Path | None,
    seconds: float,
    *,
    as_json: bool,
) -> None:
    """Print what became of every photo; ``series``: what ``--one-setting`` found."""
    if as_json:
        print_json(_data(batch, rows, series, sheet, seconds))
        return
    console = stdout()
    if series is not None:
        _print_series(console, batch, series)
    done = [row for row in rows if row.answer is not None]
    if done:
        _print_table(console, done)
    for row in rows:
        if row.outcome is not None and row.answer is None:
            console.print(_text(f"failed: {row.entry.photo}: {row.outcome.error}"), soft_wrap=True)
    kept, failed = sum(row.kept for row in rows), len(rows) - len(done)
    words = f"{len(done)} of {len(rows)} photos are done"
    words += f", {kept} of them by an earlier run" if kept else ""
    words += f"; {failed} failed" if failed else ""
    console.print(f"{words}; {seconds:.1f} s", style="bold" if failed else "")
    files = [path for path in (sheet, batch.order.out / NAME) if path is not None]
    print_files(console, [*(Path(path) for path in (series or {}).get("outputs", {}).values()), *files])


def figures(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean, worst twentieth (5th percentile of what is better when higher, else 95th) of each distance, 6 digits."""
    done = [row.answer for row in rows if row.answer is not None]
    found: dict[str, dict[str, float]] = {}
    for kind in ("source_distance", "distance"):
        for name in done[0][kind] if done else ():
            values = sorted(float(answer[kind][name]) for answer in done)
            worst = _percentile(values, 0.05 if name in ("psnr", "ssim") else 0.95)
            key = f"{name}_before" if kind == "source_distance" else name
            found[key] = {"mean": round(statistics.fmean(values), 6), "worst_twentieth": round(worst, 6)}
    return found


def draw_sheet(place: Path, rows: Sequence[Row], total: int, written: Callable[[Mapping[Path, Path]], None]) -> None:
    """Draw the contact sheet of ``rows``, out of ``total`` photos; ``written`` is told where the whole file lies."""
    from pixward.contact import contact_sheet

    drawn = contact_sheet([_shot(row) for row in rows], f"{len(rows)} of {total} photos: before, after, goal")
    with staged([place]) as places:
        buffer = io.BytesIO()
        drawn.save(buffer, "JPEG", quality=90)
        places[place].write_bytes(buffer.getbuffer())
        written(places)


def _shot(row: Row) -> Shot:
    from pixward.commands.photos import load_goal, shown_goal, unframed_goal
    from pixward.contact import Shot
    from pixward.framing import PREVIEW
    from pixward.image import load, preview

    job, answer = row.entry.job, row.answer
    assert job is not None and answer is not None
    photo, target = job.files.photo, job.files.goal
    before, after = (preview(load(path), PREVIEW) for path in (photo, job.files.outputs.image))
    free = unframed_goal(job.files)
    goal = preview(load_goal(photo, target), PREVIEW) if free is None else shown_goal(free(before))[0]
    words = " to ".join(_figure(answer[kind]) for kind in ("source_distance", "distance"))
    return Shot(job.files.photo.name, words, (before, after, goal))


def _figure(distance: Mapping[str, float]) -> str:
    return f"look {distance['look']:.3f}" if "look" in distance else f"{distance['psnr']:.1f} dB"


def _data(
    batch: Batch, rows: Sequence[Row], series: Mapping[str, Any] | None, sheet: Path | None, seconds: float
) -> dict[str, Any]:
    photos = []
    for row in rows:
        assert row.outcome is not None
        state = "failed" if row.answer is None else "kept" if row.kept else "done"
        known: Mapping[str, Any] = row.answer if row.answer is not None else {"error": row.outcome.error}
        photos.append({"photo": str(row.entry.photo), "state": state, **known})
    states = [photo["state"] for photo in photos]
    answer: dict[str, Any] = {
        "photos": photos,
        "counts": {state: states.count(state) for state in ("done", "kept", "failed")},
        "summary": figures(rows),
        "jobs": batch.jobs,
        "seconds": round(seconds, 3),
        "contact": None if sheet is None else str(sheet),
        "journal": str(batch.order.out / NAME),
    }
    if series is not None:
        answer["one_setting"] = dict(series)
    return answer


def _print_series(console: Console, batch: Batch, series: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("slider")
    table.add_column("value", justify="right")
    for name, value in series["setting"].items():
        note = " (locked)" if name in batch.order.locked else ""
        table.add_row(f"{name}{note}", f"{round(value, 3):g}")
    console.print(table)
    console.print()
    count = f"{series['renders']} settings tried on {series['photos']} photos each"
    near = f"{_figure(series['source_distance'])} before, {_figure(series['distance'])} after"
    console.print(f"one setting for all: {count}; all photos together {near}", soft_wrap=True)
    for part in (series["unreached"], series.get("cube") or {}):
        if "sentence" in part:
            console.print(_text(str(part["sentence"])), soft_wrap=True)
    console.print()


def _print_table(console: Console, done: Sequence[Row]) -> None:
    from rich.table import Table

    answers = [(row, row.answer) for row in done if row.answer is not None]
    look = "look" in answers[0][1]["distance"]
    ranked = sorted(answers, key=lambda pair: _badness(pair[1]["distance"]))
    shown = answers if len(answers) <= MOST_ROWS else ranked[-WORST:][::-1]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("photo" if shown is answers else f"photo ({WORST} that came least near)")
    columns = ("look before", "after") if look else ("PSNR before", "after", "deltaE before", "after")
    for column in (*columns, ""):
        table.add_column(column, justify="right")
    for row, answer in shown:
        table.add_row(_text(str(row.entry.photo)), *_cells(answer, look=look), "kept" if row.kept else "")
    summary = figures(done)
    for label, part in (("mean", "mean"), ("worst twentieth", "worst_twentieth")):
        names = ("look_before", "look") if look else ("psnr_before", "psnr", "delta_e_before", "delta_e")
        values = [summary[name][part] for name in names]
        forms = ("{:.3f}",) * 2 if look else ("{:.2f} dB", "{:.2f} dB", "{:.2f}", "{:.2f}")
        table.add_row(label, *(form.format(value) for form, value in zip(forms, values, strict=True)), style="bold")
    console.print(table)
    console.print()


def _cells(answer: Mapping[str, Any], *, look: bool) -> list[str]:
    before, after = answer["source_distance"], answer["distance"]
    if look:
        return [f"{before['look']:.3f}", f"{after['look']:.3f}"]
    return [
        f"{before['psnr']:.2f} dB",
        f"{after['psnr']:.2f} dB",
        f"{before['delta_e']:.2f}",
        f"{after['delta_e']:.2f}",
    ]


def _badness(distance: Mapping[str, float]) -> float:
    return distance["look"] if "look" in distance else -distance["psnr"]


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values, linear between them."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _text(words: str) -> Any:
    """A text for rich that is no markup, of bytes that may be no text."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() else "?" for c in words).encode("utf-8", "replace").decode())
