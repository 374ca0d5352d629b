"""What the commands of ``pixward pixel`` have in common: pictures in, a policy on each, files and figures out.

A command says how a picture is read, worked on and written (:class:`PixelJob`); the rest is here: names of files, edits
from the command line, progress, all files or none, JSON.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from torch import Tensor

from pixward import icc
from pixward.commands.console import print_json, progress
from pixward.commands.noisy import Noisy, pictures_in, read_noisy, write_array, write_png
from pixward.commands.outputs import check_outputs, staged
from pixward.errors import PixwardError
from pixward.ops.color import luma
from pixward.ops.pixel import ActionSet
from pixward.pixel.edits import Edits
from pixward.pixel.maps import MapsText, draw_maps
from pixward.pixel.run import improve
from pixward.pixel.trace import Trace
from pixward.policies.pixel import PixelPolicy

Condition = Callable[[Tensor], Tensor | None]
"""What a policy is told beside images ``(B, C, H, W)``: ``(B, K, H, W)``, or None."""


@dataclass(frozen=True)
class Targets:
    """One picture's files."""

    source: Path
    png: Path
    array: Path | None
    maps: Path | None

    @classmethod
    def of(cls, source: Path, folder: Path, maps: bool) -> Targets:
        """Their names in ``folder``."""
        array = folder / f"{source.stem}.npy" if source.suffix.lower() == ".npy" else None
        return cls(source, folder / f"{source.stem}.png", array, folder / f"{source.stem}.maps.png" if maps else None)

    def paths(self) -> list[Path]:
        """What will be written."""
        return [path for path in (self.png, self.array, self.maps) if path is not None]


def targets(
    inputs: Sequence[Path], out: Path, *, maps: bool, force: bool, others: Iterable[Path] = ()
) -> list[Targets]:
    """The pictures that ``inputs`` name and the files that they become in ``out``.

    ``others`` are further inputs, such as masks, which must not be overwritten either.

    Raises:
        PixwardError: no pictures, names that clash, or files that cannot or must not be written.
    """
    pictures = [Targets.of(path, out, maps) for path in pictures_in(inputs)]
    outputs = [path for picture in pictures for path in picture.paths()]
    check_outputs(outputs, [*inputs, *(picture.source for picture in pictures), *others], force=force)
    return pictures


@dataclass(frozen=True)
class EditWords:
    """Edits as the command line gives them.

    Attributes:
        forbid: actions that no pixel may take.
        replace: texts ``OLD=NEW``.
        freeze: a mask, or a folder of masks named like the pictures.
    """

    forbid: Sequence[str] = ()
    replace: Sequence[str] = ()
    freeze: Path | None = None

    @classmethod
    def of(cls, forbid: Sequence[str] | None, replace: Sequence[str] | None, freeze: Path | None) -> EditWords:
        """From options, which are None where they were not given."""
        return cls(forbid or (), replace or (), freeze)

    def edits(self, actions: ActionSet, noisy: Noisy) -> Edits:
        """The same for one picture.

        Raises:
            PixwardError: an action that does not exist, all forbidden, no ``=``, or a mask that does not fit.
        """
        mask = None if self.freeze is None else read_mask(mask_for(self.freeze, noisy.path), noisy)
        try:
            return Edits.of(actions, forbid=self.forbid, replace=dict(map(_pair, self.replace)), freeze=mask)
        except ValueError as error:
            raise PixwardError(str(error)) from None


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign:
        raise PixwardError(f"--replace {text}: say it as OLD=NEW, two actions")
    return old.strip(), new.strip()


def mask_for(given: Path, picture: Path) -> Path:
    """``given`` itself, or the mask of ``picture`` in it where it is a folder.

    Raises:
        PixwardError: a folder that holds none, or several, of the picture's name.
    """
    if not given.is_dir():
        return given
    found = sorted(path for path in given.iterdir() if path.stem == picture.stem and path.is_file())
    if len(found) != 1:
        raise PixwardError(f"{given} holds {len(found) or 'no'} masks named {picture.stem}: one is needed")
    return found[0]


def read_mask(path: Path, noisy: Noisy) -> Tensor:
    """A mask for a picture: bool ``(H, W)``, True where it is white (half or more, all channels together).

    Raises:
        PixwardError: no such picture, or another size.
    """
    values = read_noisy(path).values
    wanted = noisy.values.shape[1:]
    if values.shape[1:] != wanted:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (values.shape[1:], wanted)]
        raise PixwardError(f"the mask {path} is {sizes[0]} pixels, {noisy.path} {sizes[1]}: make them equal")
    return torch.from_numpy(values.mean(0) >= 0.5)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one picture.

    Attributes:
        result: ``(C, H, W)``, unclipped.
        trace: what was done.
        mode: how colours were treated: "grey", "luma", "per channel" or "colour".
        facts: what --json says beside what it says of every picture.
        panels: further pictures ``(1, 1 or 3, H, W)`` for --maps, with their names.
    """

    result: Tensor
    trace: Trace
    mode: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    panels: Sequence[tuple[str, Tensor]] = ()


def nothing_more(image: Tensor) -> None:
    """The condition of a policy that needs none."""


@dataclass(frozen=True, eq=False)
class PixelJob:
    """How a command treats its pictures.

    Attributes:
        verb: of the progress display, e.g. "denoise".
        weights: their name as the user gave it.
        policy: what decides.
        work: one picture and the edits to an outcome.
        edits: from the command line.
        read: a file to a picture.
        write: a place, a result ``(C, H, W)`` and its picture to a PNG.
        quiet: no progress display.
    """

    verb: str
    weights: str
    policy: PixelPolicy
    work: Callable[[Noisy, Edits], Outcome]
    edits: EditWords = EditWords()
    read: Callable[[Path], Noisy] = read_noisy
    write: Callable[[Path, Tensor, Noisy], None] = write_png
    quiet: bool = False


def run_job(job: PixelJob, pictures: Sequence[Targets]) -> list[dict[str, Any]]:
    """Work on all pictures and put their files in place, all or none; what --json says of each.

    Raises:
        PixwardError: a picture or an edit that makes no sense, which is said before any work is done.
    """
    for picture in pictures:
        job.edits.edits(job.policy.actions, job.read(picture.source))
    rows = []
    with (
        staged([path for picture in pictures for path in picture.paths()]) as place,
        progress("{task.fields[name]}", quiet=job.quiet) as shown,
    ):
        task = shown.add_task(job.verb, total=len(pictures), name="")
        for picture in pictures:
            shown.update(task, name=picture.source.name)
            rows.append(_one(job, picture, place))
            shown.advance(task)
    return rows


def _one(job: PixelJob, picture: Targets, place: Mapping[Path, Path]) -> dict[str, Any]:
    noisy = job.read(picture.source)
    began = time.perf_counter()
    outcome = job.work(noisy, job.edits.edits(job.policy.actions, noisy))
    seconds = time.perf_counter() - began
    job.write(place[picture.png], outcome.result, noisy)
    if picture.array is not None and noisy.shape is not None:
        write_array(place[picture.array], outcome.result, noisy.shape)
    if picture.maps is not None:
        _draw(place[picture.maps], noisy, outcome, Path(job.weights).name)
    return _row(picture, noisy, outcome, seconds)


def tell(rows: Sequence[Mapping[str, Any]], head: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was done: JSON that begins with ``head``, or a line for each picture."""
    if as_json:
        print_json({**head, "pictures": list(rows)})
        return
    for row in rows:
        typer.echo(f"{row['output']}: {row['width']} x {row['height']}, {row['mode']}, {row['seconds']:.1f} s")


def clean_grey(
    policy: PixelPolicy, steps: int | None, light: bool, condition: Callable[[Tensor, bool], Tensor | None]
) -> Callable[[Noisy, Edits], Outcome]:
    """How policies for grey pictures work on any: colours channel by channel, or, if ``light``, on their luma.

    ``condition(image, light)`` is what the policy is told.
    """

    def work(noisy: Noisy, edits: Edits) -> Outcome:
        values = torch.from_numpy(noisy.values)
        if len(values) == 1:
            trace = improve(policy, values[None], steps, edits, condition=condition(values[None], False))
            return Outcome(trace.result[0], trace, "grey")
        if light:
            grey = luma(values[None])
            trace = improve(policy, grey, steps, edits, condition=condition(grey, True))
            # The same shift for all channels: the differences between them, the colour, stay.
            return Outcome(values + (trace.result - trace.start)[0], trace, "luma")
        planes = values[:, None]
        trace = improve(policy, planes, steps, edits, condition=condition(planes, False))
        return Outcome(trace.result[:, 0], trace, "per channel")

    return work


def clean_colour(
    policy: PixelPolicy, steps: int | None, condition: Condition = nothing_more
) -> Callable[[Noisy, Edits], Outcome]:
    """How policies for colour pictures work on one."""

    def work(noisy: Noisy, edits: Edits) -> Outcome:
        values = torch.from_numpy(noisy.values)[None]
        trace = improve(policy, values, steps, edits, condition=condition(values))
        return Outcome(trace.result[0], trace, "colour")

    return work


def read_rgb(path: Path) -> Noisy:
    """A colour picture in sRGB, its own profile kept for :func:`write_rgb`; arrays count as sRGB.

    Raises:
        PixwardError: a grey picture, or one that cannot be read.
    """
    noisy = read_noisy(path)
    if len(noisy.values) != 3:
        raise PixwardError(f"{path} is grey: this needs a picture in colour (RGB)")
    if noisy.icc is None:
        return noisy
    values = icc.to_srgb(np.ascontiguousarray(noisy.values.transpose(1, 2, 0)), noisy.icc)
    return dataclasses.replace(noisy, values=np.ascontiguousarray(values.transpose(2, 0, 1)))


def write_rgb(place: Path, result: Tensor, noisy: Noisy) -> None:
    """An sRGB ``result`` ``(3, H, W)`` as a PNG in the profile that the picture came with, clipped."""
    pixels = np.ascontiguousarray(result.clamp(0, 1).cpu().numpy().transpose(1, 2, 0))
    pixels, profile = icc.from_srgb(pixels, noisy.icc)
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    write_png(place, planes, dataclasses.replace(noisy, icc=profile))


def _draw(place: Path, noisy: Noisy, outcome: Outcome, weights: str) -> None:
    mode, trace = outcome.mode, outcome.trace
    items = ("red", "green", "blue") if mode == "per channel" else (mode,)
    height, width = noisy.values.shape[1:]
    facts = f"{width} x {height}   |   {mode}   |   {len(trace.maps)} steps   |   {weights}"
    before, after = torch.from_numpy(noisy.values)[None], outcome.result[None]
    draw_maps(before, after, trace, MapsText(noisy.path.name, facts, items), outcome.panels).save(place)


def _row(picture: Targets, noisy: Noisy, outcome: Outcome, seconds: float) -> dict[str, Any]:
    """What --json says of one picture."""
    height, width = noisy.values.shape[1:]
    return {
        "input": str(picture.source),
        "output": str(picture.png),
        "array": None if picture.array is None else str(picture.array),
        "maps": None if picture.maps is None else str(picture.maps),
        "width": width,
        "height": height,
        "mode": outcome.mode,
        "seconds": round(seconds, 3),
        "shares": [{name: round(share, 4) for name, share in step.items()} for step in outcome.trace.shares()],
        "changes": [round(change, 4) for change in outcome.trace.changes()],
        **outcome.facts,
    }
