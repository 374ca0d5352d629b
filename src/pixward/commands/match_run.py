"""One photo matched: opened, searched, rendered, and its files written, all or none."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.commands.editors import is_real, load_editor
from pixward.commands.match_job import Finish, Found, Job, Watch
from pixward.commands.matching import best_picture, check_locks, search
from pixward.commands.outputs import check_outputs, staged
from pixward.commands.photos import open_pair, render_to, shown_goal
from pixward.errors import PixwardError
from pixward.report import film
from pixward.residual import residual
from pixward.settings import setting_text

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from pixward.match import MatchResult
    from pixward.search.problem import Goal, Look
    from pixward.types import Editor


def run_job(job: Job, watch: Watch) -> Found:
    """Do it: check, search, render, write.

    Raises:
        PixwardError: a file, slider, editor or strategy that will not do; nothing is written then.
        ValueError: the same, where the library found it.
    """
    files = job.files
    check_outputs(outputs_of(job), (files.photo, files.goal), force=files.force or files.ours)
    if is_real(job.editor):
        from pixward.commands.match_real import run_real

        return run_real(job, watch)
    if job.extra or files.sidecar:
        raise PixwardError(f"--slider and --sidecar are for real editors, and {job.editor} is none")
    editor = load_editor(job.editor)
    check_locks(job.locked, editor)
    photo, source, goal, alignment = open_pair(files)
    result = search(job, editor, source, goal, quiet=watch.quiet)
    start = time.perf_counter()
    with staged(outputs_of(job)) as place:
        render_to(place[files.outputs.image], photo, editor, result.setting, files.bits)
        seconds = time.perf_counter() - start
        write_pictures(job, place, (source, goal), result, editor)
        lost = write_cube(job, place, editor, result.setting, source)
        found = Found(result, editor.space, Finish(seconds, alignment=alignment, cube=lost))
        watch.written(found, place)
    return found


def outputs_of(job: Job) -> list[Path]:
    """All files of ``job`` but a sidecar, whose name is found when it is written."""
    cube = job.files.cube
    return [*job.files.outputs.paths(), *([cube] if cube is not None else [])]


def write_pictures(
    job: Job,
    place: Mapping[Path, Path],
    pair: tuple[Tensor, Tensor | Goal | Look],
    result: MatchResult,
    editor: Editor,
) -> None:
    """The setting file, and what people look at: the film strip and the map of what is left.

    ``pair``: source and goal as they were searched on.
    """
    files, outputs = job.files, job.files.outputs
    source, goal = pair
    shown, weight = shown_goal(goal)
    if outputs.film is not None:
        strip = film(source, shown, result, editor.space, (files.photo.name, files.goal.name))
        save_png(place[outputs.film], strip)
    if outputs.residual is not None:
        best = best_picture(result, editor, source)
        save_png(place[outputs.residual], residual(best, shown, result.unreached, files.photo.name, weight))
    place[outputs.setting].write_text(setting_text(job.editor, result.setting), encoding="utf-8")


def save_png(place: Path, drawn: Image.Image) -> None:
    """Write a drawn picture."""
    buffer = io.BytesIO()  # Written by Python, not by Pillow, whose error on a full disk does not say so.
    drawn.save(buffer, "PNG", compress_level=3)
    place.write_bytes(buffer.getbuffer())


def write_cube(
    job: Job, place: Mapping[Path, Path], editor: Editor, setting: Mapping[str, float], source: Tensor
) -> dict[str, object] | None:
    """Bake ``setting`` into the .cube that ``job`` asks for, if it does; what that could not hold."""
    files = job.files
    if files.cube is None:
        return None
    from pixward.commands.cubes import bake_to

    return bake_to(place[files.cube], editor, setting, source, size=files.cube_size, title=files.photo.stem)
