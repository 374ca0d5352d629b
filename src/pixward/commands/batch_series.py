"""``--one-setting``: all photos of a batch searched on together, for one setting that suits them all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixward.commands.batch_journal import Journal
from pixward.commands.batch_plan import Entry, in_the_way
from pixward.commands.match_job import Job, Order
from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.match import MatchResult
    from pixward.search.problem import Goal, Look
    from pixward.series import Part, Series

NAME = "series"
"""What the files of all photos together are called."""


@dataclass(frozen=True)
class Shared:
    """What a series writes beside what each photo gets."""

    setting: Path
    film: Path
    cube: Path | None

    @classmethod
    def of(cls, order: Order) -> Shared:
        """Their names."""
        from pixward.commands.cubes import cube_path

        return cls(
            order.out / f"{NAME}.setting.json",
            order.out / f"{NAME}.film.png",
            cube_path(order.cube, NAME, many=False),
        )

    def paths(self) -> list[Path]:
        """Those that are written."""
        return [path for path in (self.setting, self.film, self.cube) if path is not None]


def find_setting(order: Order, entries: Sequence[Entry], journal: Journal, *, quiet: bool) -> dict[str, Any]:
    """The setting of all photos, searched for or as an earlier run has left it; what ``--json`` says of it.

    Photos that cannot be opened are left out; they fail by themselves later on.

    Raises:
        PixwardError: no photo can be opened, or all files cannot be written.
    """
    shared = Shared.of(order)
    words = "".join(entry.key or f"{entry.photo}: {entry.error}" for entry in entries)
    key = hashlib.sha256(f"{words} {shared} {order.cube_size}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    known = journal.finished(key)
    if known is not None:
        return known
    said = in_the_way(shared.paths(), journal, force=order.force)
    if said:
        raise PixwardError(said)
    jobs = [entry.job for entry in entries if entry.job is not None]
    if not jobs:
        raise PixwardError(f"none of {len(entries)} photos has a goal: {entries[0].error}")
    with _opened(jobs, quiet=quiet) as (laid, parts):
        from pixward.commands.matching import search

        result = search(jobs[0], laid.editor, laid.source, laid.goal, quiet=quiet)
        return _finish(order, shared, journal, key, laid, parts, result)


def _finish(
    order: Order, shared: Shared, journal: Journal, key: str, laid: Series, parts: Sequence[Part], result: MatchResult
) -> dict[str, Any]:
    """Write the files of all photos together."""
    from pixward.commands.cubes import bake_to
    from pixward.commands.match_run import save_png
    from pixward.commands.outputs import staged
    from pixward.commands.photos import shown_goal
    from pixward.report import film
    from pixward.settings import setting_text

    answer: dict[str, Any] = {
        "setting": result.setting,
        "photos": len(parts),
        "renders": result.renders,
        "photo_renders": result.renders * len(parts),
        "distance": result.distance,
        "source_distance": result.source_distance,
        "seconds": round(result.seconds, 4),
        "unreached": result.unreached,
        "outputs": {"setting": str(shared.setting), "film": str(shared.film)},
    }
    with staged(shared.paths()) as place:
        place[shared.setting].write_text(setting_text(order.editor, result.setting), encoding="utf-8")
        names = (f"{len(parts)} photos", "their goals" if "psnr" in result.distance else "reference")
        save_png(place[shared.film], film(laid.source, shown_goal(laid.goal)[0], result, laid.editor.space, names))
        if shared.cube is not None:
            first = parts[0]
            answer["cube"] = bake_to(
                place[shared.cube], first.editor, result.setting, first.source, size=order.cube_size, title=NAME
            )
            answer["outputs"]["cube"] = str(shared.cube)
        journal.write(key, order.out / NAME, answer, place)
    return answer


@contextmanager
def _opened(jobs: Sequence[Job], *, quiet: bool) -> Iterator[tuple[Series, list[Part]]]:
    """Every photo that can be opened, laid side by side."""
    from pixward.commands.batch_work import reason
    from pixward.commands.console import progress
    from pixward.series import series, tile_side

    side, parts, errors = tile_side(len(jobs)), [], []
    look: Look | None = None
    with ExitStack() as stack:
        opener = _Opener(jobs, stack)
        with progress("photos", quiet=quiet) as display:
            for job in display.track(jobs, description="Opening"):
                try:
                    part, look = opener(job, side)
                    parts.append(part)
                except Exception as error:
                    errors.append(reason(error))
        if not parts:
            raise PixwardError(f"none of {len(jobs)} photos can be opened: {errors[0]}")
        yield series(parts, None if look is None else look.reference), parts


class _Opener:
    """Opens photos for one editor."""

    def __init__(self, jobs: Sequence[Job], stack: ExitStack) -> None:
        from pixward.commands.editors import is_real, load_editor, real_program
        from pixward.raw import is_raw

        first = jobs[0]
        self.program = None
        if not is_real(first.editor):
            self.editor = load_editor(first.editor)
            return
        raw = {is_raw(job.files.photo) for job in jobs if job.files.photo.is_file()}
        if len(raw) > 1:
            raise PixwardError("raw files and pictures have different sliders: match each kind by itself")
        from pixward.editors.external import ExternalEditor

        self.program = real_program(first.editor, raw=True in raw, extra=first.extra)
        self.external = stack.enter_context(ExternalEditor(self.program, seconds=first.seconds))
        small = tempfile.TemporaryDirectory(prefix=f"pixward-{os.getpid()}-")
        self.folder = Path(stack.enter_context(small))

    def __call__(self, job: Job, side: int) -> tuple[Part, Look | None]:
        """One photo at ``side`` pixels, and the look that is wanted, if one is."""
        from pixward.search.problem import Look
        from pixward.series import Part, reduced

        editor, source, goal = self._real(job) if self.program is not None else self._picture(job)
        small = reduced(source, side)
        if isinstance(goal, Look):
            return Part(small, None, editor), goal
        return Part(small, _reduced_goal(goal, side), editor), None

    def _picture(self, job: Job) -> tuple[Any, Tensor, Tensor | Goal | Look]:
        from pixward.commands.photos import open_pair

        _, source, goal, _ = open_pair(job.files)
        return self.editor, source, goal

    def _real(self, job: Job) -> tuple[Any, Tensor, Tensor | Goal | Look]:
        from pixward.commands.match_real import open_real
        from pixward.decode import check_readable
        from pixward.real import open_photo

        assert self.program is not None
        program, photo = self.program, job.files.photo
        check_readable(photo)
        place = Path(tempfile.mkdtemp(dir=self.folder))
        opened, goal, _ = open_real(job.files, lambda: open_photo(photo, program, self.external, place))
        return opened.editor, opened.source, goal


def _reduced_goal(goal: Tensor | Goal, side: int) -> Tensor | Goal:
    from pixward.image import quantize
    from pixward.search.problem import Goal
    from pixward.series import reduced

    if isinstance(goal, Goal):
        return Goal(quantize(reduced(goal.image, side)), reduced(goal.weight, side))
    return quantize(reduced(goal, side))
