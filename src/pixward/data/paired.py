"""Photos with the picture that somebody made of each: files on disk, found by layout and paired by name.

Only names are looked at here; nothing is opened. ``docs/guides/datasets.md`` shows the layouts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixward.data.pairs import photo_files
from pixward.decode import RAW
from pixward.errors import PixwardError

LAYOUTS = ("folders", "fivek", "hdrplus")
"""What :func:`pairs_of` knows; ``fivek:a`` to ``fivek:e`` name the expert, ``hdrplus:frame`` a frame of the burst."""
_NAMED = 3


@dataclass(frozen=True)
class PhotoPair:
    """A photo and its goal.

    Attributes:
        name: what tells the pair from the others of its folder; no ending.
        source: the photo, maybe a camera raw file.
        goal: what it should look like.
    """

    name: str
    source: Path
    goal: Path


def pairs_of(folder: Path, layout: str) -> list[PhotoPair]:
    """The pairs of a data set that lies in ``folder``, sorted by name.

    Args:
        folder: where it was unpacked.
        layout: ``folders`` (``source/`` and ``goal/`` with equal stems), ``fivek`` (expert C; ``fivek:a`` for another)
            or ``hdrplus`` (the merged raw file; ``hdrplus:frame`` for the burst's reference frame). ``@FILE`` behind
            it, as in ``fivek:c@test.txt``, takes only what a text file lists, one name a line, in that order; the file
            is looked for in ``folder`` too.

    Raises:
        PixwardError: an unknown layout, another layout in the folder, no such list, names without a partner.
    """
    layout, at, name = layout.partition("@")
    ids = _list_file(folder, name) if at else None
    kind, _, choice = layout.partition(":")
    if kind == "fivek":
        from pixward.data import fivek

        return fivek.list_pairs(folder, choice or "c", ids)
    if kind == "hdrplus":
        from pixward.data import hdrplus

        return hdrplus.list_pairs(folder, choice or "merged", ids)
    if layout != "folders":
        raise PixwardError(f"unknown layout {layout!r}; choose from: {', '.join(LAYOUTS)}")
    for part in ("source", "goal"):
        if not (folder / part).is_dir():
            raise PixwardError(f"{folder} has no folder {part}: layout folders wants source/ and goal/, equal stems")
    sources, goals = by_stem(_photos(folder / "source")), by_stem(photo_files([folder / "goal"]))
    return join(sources, goals, f"{folder / 'goal'} has no picture", None if ids is None else listed(ids))


def _list_file(folder: Path, name: str) -> Path:
    found = [path for path in (Path(name), folder / name) if path.is_file()]
    if not found:
        raise PixwardError(f"there is no list {name or 'of names'}, neither here nor in {folder}: name a text file")
    return found[0]


def _photos(folder: Path) -> list[Path]:
    """Pictures and camera raw files."""
    raws = [path for path in sorted(folder.rglob("*")) if RAW.search(path.name)]
    try:
        return [*photo_files([folder]), *raws]
    except FileNotFoundError:
        if raws:
            return raws
        raise


def join(
    sources: dict[str, Path], goals: dict[str, Path], lacking: str, names: Sequence[str] | None = None
) -> list[PhotoPair]:
    """Pairs of equal names, sorted, or as ``names`` lists them; goals without a source are passed over.

    ``lacking`` begins the error for sources without a goal; their names follow.

    Raises:
        PixwardError: a source without a goal, a listed name without a source.
    """
    wanted = sorted(sources) if names is None else names
    strangers = [name for name in wanted if name not in sources]
    if strangers:
        raise PixwardError(f"the list names {few(strangers)}, and no such photo is there: take it out of the list")
    alone = [name for name in wanted if name not in goals]
    if alone:
        raise PixwardError(
            f"{lacking} {few(alone)}: add what is missing, or list the names to take in a text file (LAYOUT@FILE)"
        )
    return [PhotoPair(name, sources[name], goals[name]) for name in wanted]


def by_stem(files: Iterable[Path]) -> dict[str, Path]:
    """Files by their names without ending.

    Raises:
        PixwardError: two files of one stem.
    """
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise PixwardError(f"{found[path.stem]} and {path} have one stem: pairs are told by it, remove one of them")
        found[path.stem] = path
    return found


def listed(ids: Path) -> list[str]:
    """The names of a text file, one a line; empty lines are allowed.

    Raises:
        FileNotFoundError: no such file.
        PixwardError: a name twice, no names, or no text.
    """
    try:
        lines = ids.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise PixwardError(f"{ids} is no text file: it should hold one name a line") from None
    names = [line.strip() for line in lines if line.strip()]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice or not names:
        raise PixwardError(f"{ids} names {min(twice)} twice" if twice else f"{ids} names no pictures")
    return names


def split(pairs: Sequence[PhotoPair], held_out: int, seed: int = 0) -> tuple[list[PhotoPair], list[PhotoPair]]:
    """Pairs to learn from and ``held_out`` pairs that are never learnt from, both in the order of ``pairs``.

    The held-out ones are the first of NumPy's ``default_rng(seed).permutation(n)``, with the pairs sorted by name: who
    has the same names gets the same split. RLPixTuner held 500 of FiveK's 5,000 out and did not publish which.

    Raises:
        PixwardError: fewer pairs than are to be held out, or none left to learn from.
    """
    if not 0 < held_out < len(pairs):
        raise PixwardError(f"cannot hold out {held_out} of {len(pairs)} pairs: some must stay on either side")
    names = sorted(pair.name for pair in pairs)
    held = {names[k] for k in np.random.default_rng(seed).permutation(len(names))[:held_out]}
    return [pair for pair in pairs if pair.name not in held], [pair for pair in pairs if pair.name in held]


def few(names: Sequence[str]) -> str:
    """The first names and how many more there are."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
