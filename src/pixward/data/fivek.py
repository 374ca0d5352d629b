"""MIT-Adobe FiveK on a disk of its owner: photos and what one of its five experts made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pixward.data.paired import PhotoPair, by_stem, few, join, listed
from pixward.data.pairs import photo_files
from pixward.errors import PixwardError

EXPERTS = "abcde"
_NUMBER = re.compile(r"a\d{4}(?!\d)")
_ENDING = re.compile(r"\.(tiff?|dng|jpe?g|png)$", re.IGNORECASE)
_INPUT, _TARGET = "-Input", "-Target"
_HINT = (
    "expected raw_photos/HQa*/photos/*.dng with tiff16_{e}/*.tif, or input/ with expert{E}/ "
    "(pictures or JPG/480p/ inside), or *-Input.tif with *-Target.tif (see docs/guides/datasets.md)"
)


def list_pairs(folder: Path, expert: str = "c", ids: Path | None = None) -> list[PhotoPair]:
    """The pairs of a FiveK folder, sorted by name.

    Args:
        folder: one of three layouts. As published: ``raw_photos/HQa*/photos/*.dng`` (or ``raw/CAMERA/*.dng``) with
            ``tiff16_c/*.tif``, in ``folder`` or up to two levels below. As pictures: ``input/`` and ``expertC/`` (or
            ``expertC_gt/``), with the pictures, or ``JPG/480p/``, inside. RLPixTuner's: ``*-Input.tif`` beside
            ``*-Target.tif``, whose goals are what they are, so that no expert can be chosen.
        expert: ``a`` to ``e``; published work mostly takes C.
        ids: a text file with a name a line, ``a0001-jmac_DSC1459`` or only ``a0001``, endings allowed.

    Raises:
        PixwardError: another layout, no such expert, photos without a goal, listed names that are not there.
        FileNotFoundError: no such list.
    """
    expert = expert.lower().removeprefix("expert").strip()
    if expert not in tuple(EXPERTS):
        raise PixwardError(f"FiveK has the experts a to e, not {expert!r}")
    if not folder.is_dir():
        raise PixwardError(f"{folder} is no folder: name the one that FiveK was unpacked to")
    found = _official(folder, expert) or _tagged(folder) or _pictures(folder, expert)
    if found is None:
        inside = few(sorted(path.name for path in folder.iterdir())) or "nothing"
        hint = _HINT.format(e=expert, E=expert.upper())
        raise PixwardError(f"{folder} does not look like FiveK (it holds {inside}): {hint}")
    sources, goals, where = found
    return join(sources, goals, where, None if ids is None else _chosen(sources, ids))


Found = tuple[dict[str, Path], dict[str, Path], str]


def _official(folder: Path, expert: str) -> Found | None:
    """Raw files and 16-bit TIFFs, as the data set's page hands them out."""
    raws = [path for place in _below(folder, ("raw_photos", "raw")) for path in _dngs(place)]
    if not raws:
        return None
    name = f"tiff16_{expert}"
    places = _below(folder, (name,))
    if not places:
        there = sorted({path.name[-1] for path in _below(folder, [f"tiff16_{e}" for e in EXPERTS])})
        have = f"only of {', '.join(there)}" if there else "of no expert"
        raise PixwardError(
            f"{folder} holds the raw photos and results {have}: put expert {expert.upper()}'s in {name}/"
        )
    return by_stem(raws), by_stem(photo_files(places)), f"{places[0]} has no picture"


def _tagged(folder: Path) -> Found | None:
    """RLPixTuner's: ``ExpertC0001-0-Best-Input.tif`` beside ``ExpertC0001-0-Best-Target.tif``."""
    found: dict[str, dict[str, Path]] = {_INPUT: {}, _TARGET: {}}
    for path in sorted(folder.iterdir()):
        for tag, paths in found.items():
            if path.stem.endswith(tag) and path.suffix.lower() in (".tif", ".tiff", ".png", ".jpg", ".jpeg"):
                name = path.stem.removesuffix(tag)
                if name in paths:
                    raise PixwardError(f"{paths[name]} and {path} are one picture twice: remove one of them")
                paths[name] = path
    return (found[_INPUT], found[_TARGET], f"{folder} has no {_TARGET} of") if found[_INPUT] else None


def _pictures(folder: Path, expert: str) -> Found | None:
    """Exported pictures: ``input`` and ``expertC``, flat or with the 480p copies that 3D-LUT work hands out."""
    names = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True) if path.is_dir()}
    source = names.get("input")
    goal = names.get(f"expert{expert}") or names.get(f"expert{expert}_gt")
    if source is None:
        return None
    if goal is None:
        raise PixwardError(f"{folder} has input/ but no expert{expert.upper()}/: export that expert's pictures there")
    return by_stem(photo_files([_inner(source)])), by_stem(photo_files([_inner(goal)])), f"{goal} has no picture"


def _inner(folder: Path) -> Path:
    """Where the 8-bit sRGB copies are: the 16-bit XYZ ones that lie beside them are not display-referred."""
    small = folder / "JPG" / "480p"
    if small.is_dir():
        return small
    if any("XYZ" in path.name for path in folder.glob("*/*")):
        raise PixwardError(f"{folder} has the XYZ copies only: fetch JPG/480p, which is sRGB as a screen shows it")
    return folder


def _below(folder: Path, names: Iterable[str]) -> list[Path]:
    """Folders of these names: ``folder`` itself, or in it, or up to two levels further down."""
    wanted = tuple(names)
    found = [folder] if folder.name in wanted else []
    for level in ("", "*/", "*/*/"):
        found += [path for name in wanted for path in sorted(folder.glob(level + name)) if path.is_dir()]
    return found


def _dngs(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix.lower() == ".dng")


def _chosen(sources: dict[str, Path], ids: Path) -> list[str]:
    """What a list asks for: names in full, or FiveK's numbers alone, as lists made for the 480p copies have them."""
    numbers = {match[0]: name for name in sources if (match := _NUMBER.match(name))}
    names: dict[str, str] = {}
    for line in listed(ids):
        stem = _ENDING.sub("", line.replace("\\", "/").rsplit("/", 1)[-1])
        number = _NUMBER.match(stem)
        name = stem if stem in sources or number is None else numbers.get(number[0], stem)
        if name in names:
            raise PixwardError(f"{ids} names one photo twice, as {names[name]} and as {line}")
        names[name] = line
    return list(names)
