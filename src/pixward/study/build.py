"""A study as one HTML file that needs nothing else, and the key that says which picture is whose."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pixward.errors import PixwardError
from pixward.image import Photo, from_tensor, load, preview
from pixward.study.tasks import Task

FORMAT = "pixward-study"
TALLER, LARGER = 0.02, 2.0
"""How far results of a task may differ in aspect ratio and in size; a coarser or cropped one would give itself away."""
QUALITY = 92
_ID_DIGITS = 16


@dataclass(frozen=True)
class StudySettings:
    """How a study asks.

    Attributes:
        picks: how many results a person may pick in a question, 1 or more.
        title: headline of the page.
        question: what stands above the results.
        side: longest side of the pictures in the page, in pixels.
        seed: decides the names that results have in the page, and with the participant the order they are shown in.
    """

    picks: int = 2
    title: str = "Which one comes nearest?"
    question: str = "Which results look most like the target in tone and colour?"
    side: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        if self.picks < 1 or self.side < 16:
            raise PixwardError(f"picks must be at least 1 and side at least 16, got {self.picks} and {self.side}")


@dataclass(frozen=True)
class Study:
    """A page to give away, and what to keep.

    Attributes:
        page: the HTML file; method, task and file names do not occur in it.
        key: ``{"format", "version", "study", "picks", "methods", "questions"}``, see :func:`build`.
    """

    page: str
    key: dict[str, object]


def build(
    tasks: Sequence[Task], settings: StudySettings | None = None, progress: Callable[[], None] | None = None
) -> Study:
    """Read all pictures and write the page.

    Results get names that say nothing, from the seed and the files' bytes; the key has
    ``"questions": [{"id", "task", "results": {name: method}}]``. ``study`` in page and key is a digest of all that is
    shown and asked: picks of another study, or of the same with a picture exchanged, do not fit.

    Args:
        tasks: as of :func:`pixward.study.tasks.read_tasks`.
        settings: how to ask.
        progress: called after each task.

    Raises:
        PixwardError: a picture that cannot be read, results of one task that differ much in size, more picks than
            leave a choice.
    """
    settings = settings or StudySettings()
    if settings.picks >= len(tasks[0].results):
        raise PixwardError(
            f"{settings.picks} picks of {len(tasks[0].results)} results are no choice: allow fewer, or add methods"
        )
    asked, kept = [], []
    for number, task in enumerate(tasks, 1):
        pictures = _results(task, settings.side)
        names = {method: _name(task, method, settings.seed) for method in pictures}
        identity = f"q{number:02d}"
        asked.append(
            {
                "id": identity,
                "target": _encoded(load(task.target), settings.side),
                "source": None if task.source is None else _encoded(load(task.source), settings.side),
                # By their names, so that not even the order in the file tells.
                "results": {names[method]: pictures[method] for method in sorted(pictures, key=names.__getitem__)},
            }
        )
        kept.append({"id": identity, "task": task.name, "results": {names[m]: m for m in sorted(names)}})
        if progress:
            progress()
    shown = {"picks": settings.picks, "title": settings.title, "question": settings.question, "seed": settings.seed}
    digest = hashlib.sha256(json.dumps([shown, asked], sort_keys=True).encode()).hexdigest()[:16]
    data = {"format": FORMAT, "version": 1, "study": digest, **shown, "questions": asked}
    key = {"format": f"{FORMAT}-key", "version": 1, "study": digest, "picks": settings.picks}
    return Study(_page(data, settings.title), {**key, "methods": sorted(tasks[0].results), "questions": kept})


def _name(task: Task, method: str, seed: int) -> str:
    """What a result is called in the page: nobody can work it out who has not got the file that was read."""
    said = f"{seed}/{task.name}/{method}/".encode()
    return hashlib.sha256(said + task.results[method].read_bytes()).hexdigest()[:_ID_DIGITS]


def _results(task: Task, side: int) -> dict[str, str]:
    """``{method: picture}``, all of one size: that of the smallest, at most ``side``."""
    photos = {method: load(path) for method, path in task.results.items()}
    first, *others = photos
    (width, height) = photos[first].size
    for method in others:
        w, h = photos[method].size
        ratio, scale = w * height / (h * width), max(w, h) / max(width, height)
        if max(ratio, 1 / ratio) > 1 + TALLER or max(scale, 1 / scale) > LARGER:
            raise PixwardError(
                f"task {task.name}: {method} is {w} x {h} pixels and {first} {width} x {height}, which would give them "
                "away: render all results of a task at one size"
            )
    longest = min(side, *(max(photo.size) for photo in photos.values()))
    return {method: _encoded(photo, longest) for method, photo in photos.items()}


def _encoded(photo: Photo, longest: int) -> str:
    """A data URI: sRGB, no metadata, chroma at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(from_tensor(preview(photo, longest), 8)).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _page(data: dict[str, object], title: str) -> str:
    # In JSON "<" occurs inside strings only, so that the escape means the same and no tag can end the script.
    parts = {"TITLE": html.escape(title), "STYLE": _asset("style.css"), "SCRIPT": _asset("page.js")}
    parts["STUDY"] = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    return re.sub(r"{{([A-Z]+)}}", lambda match: parts[match[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return (Path(__file__).parent / "page" / name).read_text(encoding="utf-8")
