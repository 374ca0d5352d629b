"""``pixward bench edit``: compare the strategies on many photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MANY = "May be given several times."

Photos = Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of photos, taken in the order of their names.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for edit.json, edit.md and the curves.")]
Run = Annotated[Path, typer.Option(metavar="DIR", help="Folder for finished parts; a stopped run goes on from there.")]
Goals = Annotated[
    list[str] | None, typer.Option(metavar="GOALS", help=f"EDITOR@RADIUS, EDITOR@teacher or EDITOR@given. {_MANY}")
]
Strategies = Annotated[list[str] | None, typer.Option(metavar="S", help=f"What to compare. {_MANY}")]
Lpips = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File with LPIPS weights; without it LPIPS is left out.")
]
Teacher = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder with the 3D-LUT weights, for @teacher goals.")
]
Second = Annotated[Path | None, typer.Option(metavar="DIR", help="Photos of another source: the same work once more.")]
Figure = Annotated[int, typer.Option(metavar="N", help="Photos with searches of 500 renders, for one picture.", min=0)]
Pairs = Annotated[
    str | None,
    typer.Option(
        metavar="LAYOUT",
        help="PHOTOS is a data set that has goals: folders, fivek, hdrplus; LAYOUT@LIST takes a list's.",
    ),
]
Keep = Annotated[list[str] | None, typer.Option(metavar="S", help=f"Strategies not to measure again. {_MANY}")]


def command(
    photos: Photos,
    out: Out = Path("docs/results"),
    run: Run = Path("runs/bench-edit"),
    goals: Goals = None,
    strategies: Strategies = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most this many photos.", min=1)] = 100,
    renders: Annotated[int, typer.Option(metavar="N", help="Renders of each search.", min=1)] = 200,
    seed: Annotated[int, typer.Option(metavar="N", help="Fixes goals and searches.", min=0)] = 0,
    jobs: Annotated[int, typer.Option(metavar="N", help="Processes side by side.", min=1)] = 2,
    preview: Annotated[int, typer.Option(metavar="N", help="Longest side in pixels.", min=1)] = 256,
    lpips: Lpips = None,
    teacher: Teacher = None,
    timed: Annotated[int, typer.Option(metavar="N", help="Photos on which searches are timed.", min=0)] = 12,
    second: Second = None,
    figure: Figure = 0,
    pairs: Pairs = None,
    keep: Keep = None,
    page_only: Annotated[bool, typer.Option("--page-only", help="Write the page again, measure nothing.")] = False,
) -> None:
    """Compare the strategies on many photos and goals, and write the page with the figures.

    Example:  pixward bench edit photos/ --limit 20 --renders 30 --goals chain:photo@0.5 --out results

    With goals of your own:  pixward bench edit fivek/ --pairs fivek --goals chain:photo@given --out results
    """
    from pixward.bench import EditBenchSettings, run_edit_bench
    from pixward.bench.edit import told
    from pixward.bench.page import read_beside

    chosen = {"goals": tuple(goals or ()), "strategies": tuple(strategies or ()), "keep": tuple(keep or ())}
    settings = EditBenchSettings(
        photos=photos,
        out=out,
        run=run,
        limit=limit,
        renders=renders,
        seed=seed,
        jobs=jobs,
        preview=preview,
        lpips=lpips,
        teacher=teacher,
        timed=timed,
        second=second,
        figure=figure,
        pairs=pairs,
        page_only=page_only,
        **{name: value for name, value in chosen.items() if value},  # type: ignore[arg-type]
    )
    read_beside(out)  # What is broken there should be said now, not after an hour when the page is written.
    result = run_edit_bench(settings)
    for line in told(result):
        print(line)
    print(f"wrote {out / 'edit.json'}, {out / 'edit.md'} and {len(result['goals'])} curves")
