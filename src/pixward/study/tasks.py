"""What a study asks about: for each task a target, maybe the photo it began with, and a picture of every method."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixward.errors import PixwardError

TARGETS = ("goal", "reference")
"""Names of the picture that is to be come near; a reference may show another scene."""
SOURCE, LISTING = "source", "study.json"
MOST = 9
"""Results of a question: one for each of the keys 1 to 9."""
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")


@dataclass(frozen=True)
class Task:
    """One question.

    Attributes:
        name: of its folder; people who are asked never see it.
        target: the goal or reference.
        source: the photo before any edit, or None.
        results: ``{method: picture}``, methods sorted.
    """

    name: str
    target: Path
    source: Path | None
    results: dict[str, Path]


def read_tasks(folder: Path) -> list[Task]:
    """The tasks of a study folder, sorted by name; only names are looked at, no picture is opened.

    ``folder/TASK/`` holds ``goal`` or ``reference``, if you like ``source``, and one picture of each method, named by
    the method: JPEG, PNG, WebP or TIFF. Or ``folder/study.json`` lists pictures that lie elsewhere:
    ``{"tasks": [{"name", "goal", "source", "results": {method: path}}]}``, paths relative to ``folder``.

    Raises:
        PixwardError: no tasks; a task without its target, without a method that others have, or with one method only;
            more than nine methods; two pictures of one name; a listing that does not say this.
    """
    if not folder.is_dir():
        raise PixwardError(f"{folder} is no folder: name one with a folder for each task")
    if (folder / LISTING).is_file():
        tasks = _listed(folder / LISTING)
    else:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        tasks = [_task(path) for path in inside]
    if not tasks:
        raise PixwardError(
            f"{folder} holds no tasks: make a folder for each, with goal.jpg and a picture of each method"
        )
    _agree(tasks)
    return tasks


def _task(folder: Path) -> Task:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in _ENDINGS and not path.name.startswith("."):
            if path.stem in found:
                raise PixwardError(f"{found[path.stem]} and {path} have one name: which is it? remove one of them")
            found[path.stem] = path
    targets = [name for name in TARGETS if name in found]
    if len(targets) != 1:
        raise PixwardError(
            f"{folder} has a goal and a reference: a question has one target, remove one of them"
            if targets
            else f"{folder} has no target: add goal.jpg, or reference.jpg if it shows another scene"
        )
    target, source = found.pop(targets[0]), found.pop(SOURCE, None)
    return Task(folder.name, target, source, found)


def _listed(listing: Path) -> list[Task]:
    try:
        entries = json.loads(listing.read_text(encoding="utf-8"))["tasks"]
        tasks = [_entry(listing.parent, entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        wanted = '{"tasks": [{"name": ..., "goal": ..., "results": {"METHOD": ...}}]}'
        raise PixwardError(f"{listing} is no list of tasks ({what}): write {wanted}") from None
    names = [task.name for task in tasks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise PixwardError(f"{listing} has two tasks of the name {min(twice)}: rename one of them")
    return sorted(tasks, key=lambda task: task.name)


def _entry(folder: Path, entry: dict[str, Any]) -> Task:
    source, results = entry.get("source"), entry["results"]
    return Task(
        str(entry["name"]),
        folder / entry["goal"],
        None if source is None else folder / source,
        {method: folder / results[method] for method in sorted(results)},
    )


def _agree(tasks: Iterable[Task]) -> None:
    """Every task shows the same methods, two or more."""
    holder: dict[str, str] = {}
    for task in tasks:
        for method in task.results:
            holder.setdefault(method, task.name)
    if len(holder) < 2:
        have = f"{next(iter(holder))} alone" if holder else "no method"
        raise PixwardError(f"the tasks show {have}: there is nothing to choose between, add another method's pictures")
    if len(holder) > MOST:
        raise PixwardError(f"{len(holder)} methods are too many to choose between: show at most {MOST}")
    for task in tasks:
        for method in sorted(holder.keys() - task.results.keys()):
            raise PixwardError(f"task {task.name} has no picture of {method}, which {holder[method]} has: add it")
