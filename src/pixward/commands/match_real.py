"""``pixward match`` with a real editor: a sidecar that the editor opens, beside the files that every match writes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.align import Alignment
    from pixward.commands.match_job import Files, Found, Job, Watch
    from pixward.real import Opened, RealProgram
    from pixward.search.problem import Goal, Look


def run_real(job: Job, watch: Watch) -> Found:
    """Search, write the sidecar, let the editor render the photo once at full size from it.

    Raises:
        PixwardError: an editor, file, slider or strategy that will not do; nothing is written then.
    """
    from pixward.commands.editors import real_program
    from pixward.commands.match_job import Finish, Found
    from pixward.commands.match_run import outputs_of, write_cube, write_pictures
    from pixward.commands.matching import check_locks, search
    from pixward.commands.outputs import staged
    from pixward.decode import check_readable
    from pixward.editors.external import ExternalEditor
    from pixward.files import save_atomic
    from pixward.image import load
    from pixward.raw import is_raw
    from pixward.real import FULL_SECONDS, RENDER_SECONDS, agreement, check_opens, open_photo

    files = job.files
    check_readable(files.photo)
    program = real_program(job.editor, raw=is_raw(files.photo), extra=job.extra)
    version = program.version  # A missing or too old editor is told of before anything else is done.
    sidecar = _sidecar_path(job, program)
    full_seconds = job.seconds * FULL_SECONDS / RENDER_SECONDS
    # With our process id in its name: a later run sweeps what a killed one has left.
    small = tempfile.TemporaryDirectory(prefix=f"pixward-{os.getpid()}-")
    with ExternalEditor(program, seconds=job.seconds) as editor, small as folder:
        check_locks(job.locked, editor)
        opened, goal, alignment = open_real(files, lambda: open_photo(files.photo, program, editor, Path(folder)))
        if opened.loaded is not None and job.fixed is None:
            check_opens(opened, Path(folder), full_seconds)
        result = search(job, opened.editor, opened.source, goal, quiet=watch.quiet)
        text = opened.sidecar(result.setting)
        with staged(outputs_of(job)) as place:
            start = time.perf_counter()
            image = place[files.outputs.image]
            program.final(files.photo, text, image, bits=_bits(job, opened.loaded), seconds=full_seconds)
            seconds = time.perf_counter() - start
            agrees = agreement(opened, result.setting, load(image))
            write_pictures(job, place, (opened.source, goal), result, opened.editor)
            lost = write_cube(job, place, editor, result.setting, opened.source)
            save_atomic(sidecar, lambda part: _write(part, text), force=files.force)
            finish = Finish(seconds, sidecar, version, agrees, alignment, lost)
            found = Found(result, program.space, finish)
            watch.written(found, {**place, sidecar: sidecar})
    return found


def open_real(files: Files, opening: Callable[[], Opened]) -> tuple[Opened, Tensor | Goal | Look, Alignment | None]:
    """The photo opened by ``opening``, once its goal is known to be a picture, and the goal laid over it.

    Raises:
        PixwardError: a goal that is no picture or framed differently, a photo that the editor cannot open.
    """
    from pixward.commands.photos import load_goal, unframed_goal
    from pixward.real import lay_goal

    free = unframed_goal(files)
    target = load_goal(files.photo, files.goal) if free is None else None
    opened = opening()
    if free is not None:
        return opened, free(opened.source), None
    assert target is not None
    return opened, *lay_goal(opened, target)


def _sidecar_path(job: Job, program: RealProgram) -> Path:
    """Where the sidecar goes; PixwardError, before any work, where nothing can be written."""
    files = job.files
    folder = files.sidecar if files.sidecar is not None else files.photo.absolute().parent
    if not folder.is_dir():
        raise PixwardError(f"cannot write a sidecar to {folder}: there is no such folder; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PixwardError(f"cannot write a sidecar to {folder}: no permission; name another place with --sidecar DIR")
    return program.sidecar_path(folder / files.photo.name, force=files.force)


def _bits(job: Job, loaded: object) -> int:
    """Of the full-size render: as asked, else 16 for raw files and deep photos where the format can."""
    if job.files.bits:
        return job.files.bits
    deep = loaded is None or getattr(loaded, "bits", 8) > 8
    return 16 if deep and job.files.outputs.image.suffix != ".jpg" else 8


def _write(place: Path, text: str) -> None:
    place.write_text(text, encoding="utf-8")
