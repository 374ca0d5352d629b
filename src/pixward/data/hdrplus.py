"""Google's HDR+ burst photography data set on a disk of its owner: raw photos and what the phone made of them."""

from __future__ import annotations

from pathlib import Path

from pixward.data.paired import PhotoPair, by_stem, few, join, listed
from pixward.data.pairs import photo_files
from pixward.errors import PixwardError

RESULTS = ("results_20171023", "results_20161014")
"""The pipeline as it was tuned later, and as in the paper; the first that is there is taken."""
_HINT = (
    "expected results_20171023/BURST/merged.dng with final.jpg, or middle_480p/ with output_480p/ "
    "(see docs/guides/datasets.md)"
)


def list_pairs(folder: Path, source: str = "merged", ids: Path | None = None) -> list[PhotoPair]:
    """The pairs of an HDR+ folder, named by burst and sorted.

    Args:
        folder: ``20171106`` or ``20171106_subset`` (153 bursts), a folder above, or the results folder itself:
            ``results_20171023/BURST/final.jpg`` are the goals. Or the reduced copies of 3D-LUT work:
            ``middle_480p/BURST.png`` and ``output_480p/BURST.jpg``.
        source: ``merged``, the burst aligned and merged (``merged.dng`` beside the goal), or ``frame``, the one frame
            that the merge refers to (``bursts/BURST/payload_N000.dng``, the number from ``reference_frame.txt``).
        ids: a text file with one burst a line.

    Raises:
        PixwardError: another layout, a burst without its source or goal, listed bursts that are not there.
        FileNotFoundError: no such list.
    """
    if source not in ("merged", "frame"):
        raise PixwardError(f"HDR+ has the sources merged and frame, not {source!r}")
    if not folder.is_dir():
        raise PixwardError(f"{folder} is no folder: name the one that HDR+ was unpacked to")
    names = None if ids is None else listed(ids)
    if (folder / "middle_480p").is_dir() and (folder / "output_480p").is_dir():
        small, done = (by_stem(photo_files([folder / part])) for part in ("middle_480p", "output_480p"))
        return join(small, done, f"{folder / 'output_480p'} has no picture", names)
    results = _results(folder)
    bursts = {path.name: path for path in sorted(results.iterdir()) if path.is_dir()}
    if names is not None:  # What is not asked for may be incomplete.
        bursts = {name: path for name, path in bursts.items() if name in names}
    goals = {name: path / "final.jpg" for name, path in bursts.items() if (path / "final.jpg").is_file()}
    sources = {name: _source(path, results.parent / "bursts" / name, source) for name, path in bursts.items()}
    lost = [name for name, path in sources.items() if not path.is_file()]
    if lost:
        where = results if source == "merged" else results.parent / "bursts"
        raise PixwardError(
            f"{where} has no {sources[lost[0]].name} of {few(lost)}: fetch it, or list the bursts to take (LAYOUT@FILE)"
        )
    return join(sources, goals, f"{results} has no final.jpg of", names)


def _results(folder: Path) -> Path:
    """The folder with a folder for each burst."""
    if any(folder.glob("*/final.jpg")):
        return folder
    for name in RESULTS:
        for level in ("", "*/", "*/*/"):
            found = [path for path in sorted(folder.glob(level + name)) if path.is_dir()]
            if found:
                return found[0]
    if (folder / "bursts").is_dir() or folder.name == "bursts":
        raise PixwardError(f"{folder} holds the bursts alone: fetch {RESULTS[0]} too, which has the finished photos")
    inside = few(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise PixwardError(f"{folder} does not look like HDR+ (it holds {inside}): {_HINT}")


def _source(result: Path, burst: Path, kind: str) -> Path:
    if kind == "merged":
        return result / "merged.dng"
    try:
        number = int((result / "reference_frame.txt").read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise PixwardError(f"{result} has no reference_frame.txt with a number: use the source merged") from None
    return burst / f"payload_N{number:03d}.dng"
