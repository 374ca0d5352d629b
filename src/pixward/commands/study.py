"""``pixward study``: ask people which result comes nearest, and count what they say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.study import StudySettings

PAGE, KEY = "study.html", "study.key.json"
_P_DIGITS = 4


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR", help="A folder with a folder for each task; with --score: files or folders of picks."
        ),
    ],
    counting: Annotated[bool, typer.Option("--score", help="Count the picks in the files PICKS.json ...")] = False,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --score: the page's key. Default: study.key.json beside the picks."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; its key goes beside it. Default: DIR/study.html.")
    ] = None,
    picks: Annotated[int, typer.Option(metavar="K", min=1, help="How many results may be picked in a question.")] = 2,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Headline of the page.")] = None,
    question: Annotated[str | None, typer.Option(metavar="TEXT", help="What is asked above the results.")] = None,
    side: Annotated[int, typer.Option(metavar="N", min=64, help="Longest side of its pictures in pixels.")] = 800,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Decides anonymous names and the random order.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an older page and its key.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Write one HTML page that shows a target and the methods' results blind, and count the picks it collects.

    DIR/TASK/ holds goal.jpg (or reference.jpg, of another scene), if you like source.jpg, and METHOD.jpg of every
    method. The page needs no server and no network; people save a file of picks and send it to you.

    Example:  pixward study tasks/

    Then:  pixward study --score picks/ --key tasks/study.key.json
    """
    if counting:
        _count(paths, key, as_json)
        return
    if len(paths) != 1 or key is not None:
        raise PixwardError("name one folder of tasks; --key and more files go with --score")
    from pixward.study import StudySettings

    words = {name: text for name, text in (("title", title), ("question", question)) if text is not None}
    page = out or paths[0] / PAGE
    _write(paths[0], page, StudySettings(picks=picks, side=side, seed=seed, **words), force=force, as_json=as_json)


def _write(folder: Path, page: Path, settings: StudySettings, *, force: bool, as_json: bool) -> None:
    from pixward.commands.console import print_json, progress
    from pixward.commands.outputs import check_outputs, staged
    from pixward.study import build, read_tasks

    tasks = read_tasks(folder)
    key = page.with_name(f"{page.stem}.key.json")
    inputs = [path for task in tasks for path in (task.target, task.source, *task.results.values()) if path is not None]
    check_outputs([page, key], inputs, force=force)
    with progress(quiet=as_json) as display:
        bar = display.add_task("Reading", total=len(tasks))
        study = build(tasks, settings, lambda: display.advance(bar))
    with staged([page, key]) as places:
        import json

        places[page].write_text(study.page, encoding="utf-8")
        places[key].write_text(json.dumps(study.key, indent=1) + "\n", encoding="utf-8")
    size = page.stat().st_size
    if as_json:
        told = {"page": str(page), "key": str(key), "bytes": size, "study": study.key["study"]}
        print_json({**told, "questions": len(tasks), "methods": study.key["methods"]})
        return
    print(f"{len(tasks)} questions, {len(tasks[0].results)} methods: {page} ({size / 1e6:.1f} MB), to give to people")
    print(f"Keep {key} to yourself: it says which result is whose.")


def _count(paths: list[Path], key: Path | None, as_json: bool) -> None:
    from pixward.commands.console import print_json
    from pixward.study import read_key, read_picks, score

    known = read_key(key or _beside(paths[0]))
    files = [file for path in paths for file in (_files(path) if path.is_dir() else [path])]
    people, faults = read_picks(files, known)
    for fault in faults:
        print(f"pixward: {fault}", file=sys.stderr)
    if not people:
        raise PixwardError(f"none of {len(files)} files counts: check that they belong to this key")
    result = {**score(people, known), "left_out": faults}
    if as_json:
        print_json(result)
    else:
        _show(result)


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*.json") if not path.name.endswith(".key.json"))
    if not found:
        raise PixwardError(f"{folder} holds no picks: name the folder with the .json files that people sent")
    return found


def _beside(picks: Path) -> Path:
    for folder in ([picks] if picks.is_dir() else []) + [picks.parent, picks.parent.parent]:
        if (folder / KEY).is_file():
            return folder / KEY
    raise PixwardError(f"there is no {KEY} beside {picks}: name the page's key with --key FILE")


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    from pixward.commands.console import stdout

    console = stdout()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("Method", "Votes", "Of votes", "Picked in", "95 %"):
        table.add_column(name, justify="left" if name == "Method" else "right")
    for row in result["methods"]:
        among = f"{row['of_votes']:.1%}", f"{row['share']:.1%}"
        table.add_row(row["method"], str(row["votes"]), *among, _range(row["low"], row["high"]))
    console.print(table)
    for line in _told(result):
        print(line)
    print()
    table = Table(box=None, header_style="bold", pad_edge=False)
    methods = [row["method"] for row in result["methods"]]
    for name in ("Task", "Answers", *methods):
        table.add_column(name, justify="left" if name == "Task" else "right")
    for row in result["questions"]:
        table.add_row(row["task"], str(row["answers"]), *(str(row["votes"][method]) for method in methods))
    console.print(table)


def _told(result: dict[str, Any]) -> list[str]:
    first, place = result["first"], result["position"]
    people, left = result["people"], len(result["left_out"])
    noun = "person" if people == 1 else "people"
    some = f"{people} {noun}, {result['answers']} answers, up to {result['picks_allowed']} picks each; "
    some += f"{result['cannot_tell']} times nobody could be picked; median {result['seconds_median']:.0f} s a question"
    ahead = f"{first['winner']} before {first['second']}: {first['difference']:+.1%} of answers"
    if first["low"] is not None:
        ahead += f" ({_range(first['low'], first['high'])})"
    counts = f"{first['people_for_winner']} against {first['people_for_second']}, {first['people_for_neither']} even"
    lines = [
        "",
        some + (f"; {left} {'file' if left == 1 else 'files'} left out" if left else ""),
        f"{ahead}; people {counts}, sign test p {_p(first['p'])}",
        f"picks by place {', '.join(map(str, place['picks']))}: Cochran's Q {place['q']:.2f}, p {_p(place['p'])}",
    ]
    if result["incomplete"]:
        lines.append(
            f"{result['incomplete']} of {people} did not answer every question; each counts by what was answered"
        )
    if people < 10:
        lines.append("fewer than 10 people: read the intervals as rough")
    return lines


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.1%} to {high:.1%}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 10**-_P_DIGITS else f"= {value:.{_P_DIGITS}f}"
