"""``pixward match`` with a real editor: a sidecar that the editor opens, beside the files that every match writes."""

from __future__ import annotations

import io
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.commands.match import Job
    from pixward.real import RealProgram


def run_real(job: Job, *, as_json: bool) -> None:
    """Search, write the sidecar, let the editor render the photo once at full size from it, and tell.

    Raises:
        PixwardError: an editor, file, slider or strategy that will not do; nothing is written then.
    """
    from pixward.commands.editors import real_program
    from pixward.commands.match import Finish
    from pixward.commands.matching import check_locks, search, tell
    from pixward.commands.outputs import staged
    from pixward.commands.photos import load_goal
    from pixward.decode import check_readable
    from pixward.editors.external import ExternalEditor
    from pixward.files import save_atomic
    from pixward.image import load
    from pixward.raw import is_raw
    from pixward.real import FULL_SECONDS, RENDER_SECONDS, agreement, check_opens, lay_goal, open_photo
    from pixward.report import film
    from pixward.search.problem import Goal
    from pixward.settings import setting_text

    files = job.files
    check_readable(files.photo)
    program = real_program(job.editor, raw=is_raw(files.photo), extra=job.extra)
    version = program.version  # A missing or too old editor is told of before anything else is done.
    target = load_goal(files.photo, files.goal)
    sidecar = _sidecar_path(job, program)
    full_seconds = job.seconds * FULL_SECONDS / RENDER_SECONDS
    # With our process id in its name: a later run sweeps what a killed one has left.
    small = tempfile.TemporaryDirectory(prefix=f"pixward-{os.getpid()}-")
    with ExternalEditor(program, seconds=job.seconds) as editor, small as folder:
        check_locks(job.locked, editor)
        opened = open_photo(files.photo, program, editor, Path(folder))
        goal, alignment = lay_goal(opened, target)
        if opened.loaded is not None:
            check_opens(opened, Path(folder), full_seconds)
        result = search(job, opened.editor, opened.source, goal, quiet=as_json)
        text = opened.sidecar(result.setting)
        shown = goal.image if isinstance(goal, Goal) else goal
        with staged(files.outputs.paths()) as place:
            start = time.perf_counter()
            image = place[files.outputs.image]
            program.final(files.photo, text, image, bits=_bits(job, opened.loaded), seconds=full_seconds)
            seconds = time.perf_counter() - start
            agrees = agreement(opened, result.setting, load(image))
            strip = io.BytesIO()
            names = (files.photo.name, files.goal.name)
            film(opened.source, shown, result, program.space, names).save(strip, "PNG", compress_level=3)
            place[files.outputs.film].write_bytes(strip.getbuffer())
            place[files.outputs.setting].write_text(setting_text(job.editor, result.setting), encoding="utf-8")
            save_atomic(sidecar, lambda part: _write(part, text), force=files.force)
    finish = Finish(seconds, sidecar, version, agrees, alignment)
    tell(job, result, program.space, finish, as_json=as_json)


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
