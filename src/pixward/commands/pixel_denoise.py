"""``pixward pixel denoise``: every pixel picks its filters until the noise is gone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.commands.noisy import Noisy
    from pixward.pixel.trace import Trace
    from pixward.policies.pixel import PixelPolicy

LEAST, MOST = 1.0, 100.0
"""The noise that makes sense, standard deviation on the scale of 0 to 255."""


def command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Noisy pictures, .npy arrays, or folders.")],
    sigma: Annotated[float, typer.Option(metavar="S", help="How strong the noise is, of 255.")] = 25.0,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="From pixward pixel import.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; made if missing.")] = Path(
        "pixward-out"
    ),
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=100, help="Default: as many as it was trained to take.")
    ] = None,
    luma: Annotated[bool, typer.Option("--luma", help="Clean the brightness of colour pictures only.")] = False,
    maps: Annotated[bool, typer.Option("--maps", help="Also draw who did what: STEM.maps.png.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files of an earlier run.")] = False,
) -> None:
    """Remove noise from grey and colour pictures of any size.

    Takes 8 and 16 bit, float TIFF, and .npy arrays of floats in [0, 1], whose noise may leave that range. Writes
    DIR/STEM.png, and DIR/STEM.npy where the input was an array. All files appear, or none.

    Example:  pixward pixel denoise noisy/ --weights denoise25.safetensors --out clean --maps
    """
    from pixward.commands.noisy import pictures_in, read_noisy
    from pixward.commands.outputs import check_outputs, staged

    if not LEAST <= sigma <= MOST:  # NaN as well
        raise PixwardError(f"--sigma {sigma:g}: the noise must lie between {LEAST:g} and {MOST:g}, of 255")
    pictures = [Targets.of(path, out, maps) for path in pictures_in(inputs)]
    outputs = [path for picture in pictures for path in picture.paths()]
    check_outputs(outputs, [*inputs, *(picture.source for picture in pictures)], force=force)
    policy = _policy(weights, sigma)
    for picture in pictures:
        read_noisy(picture.source)  # What cannot be read is said before any work is done.
    with staged(outputs) as place:
        rows = _all(policy, pictures, Wish(steps, luma, as_json, Path(str(weights)).name), place)
    if as_json:
        from pixward.commands.console import print_json

        taken = steps or policy.settings.horizon
        print_json({"weights": str(weights), "sigma": sigma, "steps": taken, "pictures": rows})
        return
    for row in rows:
        typer.echo(f"{row['output']}: {row['width']} x {row['height']}, {row['mode']}, {row['seconds']:.1f} s")


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


@dataclass(frozen=True)
class Wish:
    """How all pictures are to be treated."""

    steps: int | None
    luma: bool
    quiet: bool
    weights: str


def _policy(weights: str | None, sigma: float) -> PixelPolicy:
    """The policy of a weight file that fits the task."""
    from pixward.policies.pixel import load_pixel_policy

    how = "make one with `pixward pixel import WEIGHTS.npz --out FILE.safetensors`"
    if weights is None:
        raise PixwardError(f"no weights come with pixward yet: give a file with --weights FILE; {how}")
    if not Path(weights).is_file():
        raise PixwardError(f"there is no weight file {weights}: {how}")
    if Path(weights).suffix.lower() == ".npz":
        raise PixwardError(f"{weights} is a file of PixelRL's authors: {how}")
    policy = load_pixel_policy(weights)
    if policy.actions.channels != 1:
        raise PixwardError(f"{weights} is for the task {policy.actions.name}, not for noise")
    trained = policy.settings.sigma
    if trained is not None and abs(trained - sigma) > 0.5:
        warnings.warn(f"{weights} was trained for sigma {trained:g}, not {sigma:g}", stacklevel=2)
    return policy


def _all(policy: PixelPolicy, pictures: Sequence[Targets], wish: Wish, place: Any) -> list[dict[str, Any]]:
    from pixward.commands.console import progress
    from pixward.commands.noisy import read_noisy, write_array, write_png

    rows = []
    with progress("{task.fields[name]}", quiet=wish.quiet) as shown:
        task = shown.add_task("denoise", total=len(pictures), name="")
        for picture in pictures:
            shown.update(task, name=picture.source.name)
            noisy = read_noisy(picture.source)
            began = time.perf_counter()
            result, trace, mode = _clean(policy, noisy, wish)
            seconds = time.perf_counter() - began
            write_png(place[picture.png], result, noisy)
            if picture.array is not None and noisy.shape is not None:
                write_array(place[picture.array], result, noisy.shape)
            if picture.maps is not None:
                _draw(place[picture.maps], noisy, result, trace, (mode, wish.weights))
            rows.append(_row(picture, noisy, trace, mode, seconds))
            shown.advance(task)
    return rows


def _clean(policy: PixelPolicy, noisy: Noisy, wish: Wish) -> tuple[Tensor, Trace, str]:
    """The result ``(C, H, W)``, unclipped; what was done; and how colours were treated."""
    import torch

    from pixward.ops.color import luma
    from pixward.pixel.run import improve

    values = torch.from_numpy(noisy.values)
    if len(values) == 1:
        trace = improve(policy, values[None], wish.steps)
        return trace.result[0], trace, "grey"
    if wish.luma:
        trace = improve(policy, luma(values[None]), wish.steps)
        # The same shift for all channels: the differences between them, the colour, stay.
        return values + (trace.result - trace.start)[0], trace, "luma"
    trace = improve(policy, values[:, None], wish.steps)
    return trace.result[:, 0], trace, "per channel"


def _draw(place: Path, noisy: Noisy, result: Tensor, trace: Trace, words: tuple[str, str]) -> None:
    import torch

    from pixward.pixel.maps import MapsText, draw_maps

    mode, weights = words
    items = ("red", "green", "blue") if mode == "per channel" else (mode,)
    height, width = noisy.values.shape[1:]
    facts = f"{width} x {height}   |   {mode}   |   {len(trace.maps)} steps   |   {weights}"
    picture = draw_maps(
        torch.from_numpy(noisy.values)[None], result[None], trace, MapsText(noisy.path.name, facts, items)
    )
    picture.save(place)


def _row(picture: Targets, noisy: Noisy, trace: Trace, mode: str, seconds: float) -> dict[str, Any]:
    """What --json says of one picture."""
    height, width = noisy.values.shape[1:]
    return {
        "input": str(picture.source),
        "output": str(picture.png),
        "array": None if picture.array is None else str(picture.array),
        "maps": None if picture.maps is None else str(picture.maps),
        "width": width,
        "height": height,
        "mode": mode,
        "seconds": round(seconds, 3),
        "shares": [{name: round(share, 4) for name, share in step.items()} for step in trace.shares()],
        "changes": [round(change, 4) for change in trace.changes()],
    }
