"""What a batch has to do: each photo with its goal, its job and its key, or the reason why there is none."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixward import __version__
from pixward.commands.batch_journal import Journal, stamp
from pixward.commands.match_job import Job, Order, Wish
from pixward.commands.match_run import outputs_of
from pixward.commands.photos import EMBEDDED, is_cube
from pixward.errors import PixwardError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
"""How the names of goals in a folder end."""


@dataclass(frozen=True)
class Entry:
    """One photo of a batch.

    Attributes:
        photo: the file.
        job: what is to be done; None where that is not known.
        key: stands for the photo, its goal and all options that decide the result.
        error: why there is no job.
    """

    photo: Path
    job: Job | None = None
    key: str = ""
    error: str = ""


def plan(
    order: Order, photos: Sequence[Path], wish: Wish, *, one_setting: bool, shared: Sequence[Path] = ()
) -> list[Entry]:
    """An entry for each photo, in their order; one that is given twice counts once.

    ``shared``: what is written for all together.

    Raises:
        PixwardError: what makes no sense for the batch as a whole: a goal for one of many photos, a folder that is
            missing, two photos whose results would have one name, results that would overwrite a photo or a goal.
    """
    photos = list({os.path.abspath(photo): photo for photo in photos}.values())
    if wish.goal is not None and str(wish.goal) != EMBEDDED and not is_cube(wish.goal) and len(photos) > 1:
        raise PixwardError(
            f"{wish.goal} is the goal of one photo, and there are {len(photos)}: "
            "name a folder of goals with --goal-dir, or a look for all with --like"
        )
    for given in (wish.goal, wish.like):
        if given is not None and str(given) != EMBEDDED and not given.is_file():
            raise PixwardError(f"cannot read {given}: no such file")
    goals = _by_stem(wish.goal_dir) if wish.goal_dir is not None else {}
    entries = [_entry(order, photo, wish, goals, one_setting=one_setting) for photo in photos]
    _check_names(entries, shared)
    return entries


def with_setting(entry: Entry, setting: Mapping[str, float]) -> Entry:
    """The entry, to be rendered with a setting that is known."""
    if entry.job is None:
        return entry
    job = replace(entry.job, fixed=dict(setting))
    return replace(entry, job=job, key=key_of(job))


def key_of(job: Job) -> str:
    """What stands for a photo, its goal and all options that decide the result."""
    files = job.files
    networks = sorted(job.networks.glob("*.safetensors")) if job.networks is not None else []
    described = [Path(job.editor.removeprefix("command:"))] if job.editor.startswith("command:") else []
    goal = [files.photo] if str(files.goal) == EMBEDDED else [files.goal]
    read = {os.path.abspath(path): stamp(path) for path in (files.photo, *goal, *networks, *described)}
    options = {
        "pixward": __version__,
        "read": read,
        "look": files.look,
        "bits": files.bits,
        "cube": [os.path.abspath(files.cube), files.cube_size] if files.cube is not None else None,
        "sidecar": os.path.abspath(files.sidecar) if files.sidecar is not None else None,
        "written": [os.path.abspath(path) for path in files.outputs.paths()],
        "editor": job.editor,
        "strategy": job.strategy,
        "renders": job.renders,
        "locked": job.locked,
        "seed": job.seed,
        "networks": os.path.abspath(job.networks) if job.networks is not None else None,
        "extra": job.extra,
        "fixed": job.fixed,
    }
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:32]


def in_the_way(outputs: Iterable[Path], journal: Journal, *, force: bool) -> str:
    """Why outputs cannot be written: something is there that this batch has not made. "" if nothing is."""
    if force:
        return ""
    for path in outputs:
        if (path.exists() or path.is_symlink()) and not journal.is_ours(path):
            return f"{path} exists already: remove it, choose another place, or pass --force"
    return ""


def _entry(order: Order, photo: Path, wish: Wish, goals: Mapping[str, list[Path]], *, one_setting: bool) -> Entry:
    goal = wish.goal or wish.like
    if goal is None:
        found = [path for path in goals.get(photo.stem, []) if not _same(path, photo)]
        if not found:
            return Entry(photo, error=f"there is no goal for {photo.name} in {wish.goal_dir}")
        if len(found) > 1:
            names = " and ".join(path.name for path in found[:2])
            return Entry(photo, error=f"there are several goals for {photo.name} in {wish.goal_dir}: {names}")
        goal = found[0]
    job = order.job(photo, goal, look=wish.like is not None, many=not one_setting, together=one_setting)
    return Entry(photo, job, key_of(job))


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """The pictures in ``folder`` by the stems of their names."""
    if not folder.is_dir():
        raise PixwardError(f"{folder} is no folder of goals: name one with --goal-dir")
    found: dict[str, list[Path]] = {}
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in PICTURES and path.is_file():
                found.setdefault(path.stem, []).append(path)
    except OSError as error:
        raise PixwardError(f"cannot read {folder}: {(error.strerror or str(error)).lower()}") from None
    return found


def _check_names(entries: Sequence[Entry], shared: Sequence[Path]) -> None:
    """PixwardError where two photos would write one file, or one would overwrite what is read."""
    jobs = [entry.job for entry in entries if entry.job is not None]
    read = {os.path.realpath(path): path for job in jobs for path in (job.files.photo, job.files.goal)}
    written: dict[str, Path | None] = {os.path.realpath(path).casefold(): None for path in shared}
    for path in shared:
        if os.path.realpath(path) in read:
            raise PixwardError(f"{path} would overwrite an input: choose another --out")
    for job in jobs:
        for path in outputs_of(job):
            place = os.path.realpath(path)
            if place in read:
                raise PixwardError(f"{path} would overwrite {read[place]}, which is an input: choose another --out")
            # Upper and lower case are one name on many disks.
            other = written.setdefault(place.casefold(), job.files.photo)
            if other is None:
                raise PixwardError(f"{path} is what the batch itself writes: rename {job.files.photo}")
            if other is not job.files.photo:
                raise PixwardError(
                    f"{other} and {job.files.photo} would both write {path}: give each a run, and an --out, of its own"
                )


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
