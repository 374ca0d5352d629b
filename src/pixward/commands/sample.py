"""``pixward sample``: pictures of what a prompt says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixward.commands.denoise_models import Device, Guidance, Model
from pixward.commands.pixel_options import DEFAULT_OUT, AsJson, Force
from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.denoise.painter import Painter

ALONE = 128
"""Width below which even one picture gets a sheet, on which it is enlarged."""
AT_ONCE = {True: 32, False: 4}
"""Pictures drawn at once, by small models and by others."""
_OTHERS = {".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".gif", ".bmp"}
STEM = 48
"""The most letters of a prompt in a file's name."""


@dataclass(frozen=True)
class Wanted:
    """One picture: its prompt, its seed, and its file; None where only the sheet is kept."""

    prompt: str
    seed: int
    output: Path | None


def command(
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help='What to draw, as in "a fox on sand".')],
    model: Model = "emoji-lcm",
    lora: Annotated[
        str | None, typer.Option(metavar="L", help="A LoRA: its file, the folder of a run, or an id of the hub.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Times the network is asked. Default: 8, or 50 of diffusion.")
    ] = None,
    guidance: Guidance = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures of each prompt.")] = 1,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of a prompt's first picture; the next count on.")] = 0,
    out: Annotated[
        Path, typer.Option(metavar="DIR|FILE.png", help="Where the files go. A FILE gets the picture, or the sheet.")
    ] = DEFAULT_OUT,
    device: Device = "cpu",
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Draw pictures of what prompts say; a picture hangs on its prompt and its seed alone.

    Writes DIR/PROMPT-SEED.png and, of several or small ones, DIR/PROMPT-SEED.sheet.png, enlarged. The models that come
    with pixward draw 42 animals (a tiger, a fox), plain or on sky, grass, sand, tiles or boards, 32 pixels
    wide.

    Example:  pixward sample "a tiger" "a fox on sand" --count 4 --out animals
    """
    from pixward.commands.console import print_json
    from pixward.commands.denoise_models import note_strangers, open_model, painter_of, seed_in, size_of
    from pixward.commands.outputs import check_outputs

    wanted, sheet = planned(prompts, count, seed_in(seed), out)
    check_outputs([*(one.output for one in wanted if one.output is not None), sheet], (), force=force)
    opened = open_model(model, device)
    made = painter_of(opened, lora, steps, guidance)
    note_strangers(opened, prompts)
    small = size_of(made)[1] < ALONE
    if len(wanted) == 1 and (wanted[0].output == sheet or not small):
        sheet = Path()
    began, calls = time.perf_counter(), made.policy.calls
    height, width = _draw(made, wanted, sheet, AT_ONCE[opened.small], quiet=as_json)
    told = {
        "model": model,
        "lora": lora,
        "steps": made.env.horizon,
        "guidance": made.policy.guidance.scale,
        "width": width,
        "height": height,
        "seconds": round(time.perf_counter() - began, 3),
        "network_calls": made.policy.calls - calls,
        "sheet": str(sheet) if sheet.name else None,
        "pictures": [{**asdict(one), "output": one.output and str(one.output)} for one in wanted],
    }
    if as_json:
        print_json(told)
    else:
        _tell(told)


def planned(prompts: Sequence[str], count: int, seed: int, out: Path) -> tuple[list[Wanted], Path]:
    """Every picture in the order of prompts and seeds, and the sheet; of one picture into a file both are that file.

    Raises:
        PixwardError: a file that is no PNG.
    """
    several = len(prompts) * count > 1
    if out.suffix.lower() == ".png":
        return [Wanted(text, seed + i, None if several else out) for text in prompts for i in range(count)], out
    if out.suffix.lower() in _OTHERS and not out.is_dir():
        raise PixwardError(f"{out}: pictures are written as PNG, so that nothing is lost; give FILE.png or a folder")
    stems: dict[str, int] = {}
    wanted = []
    for text in prompts:
        stem = "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())[:STEM].strip("-") or "picture"
        stems[stem] = stems.get(stem, 0) + 1
        again = f"-again{stems[stem]}" if stems[stem] > 1 else ""
        wanted += [Wanted(text, seed + i, out / f"{stem}{again}-{seed + i}.png") for i in range(count)]
    first = wanted[0].output
    assert first is not None
    return wanted, first.with_suffix(".sheet.png")


def _draw(painter: Painter, wanted: Sequence[Wanted], sheet: Path, at_once: int, *, quiet: bool) -> tuple[int, int]:
    """Draw ``wanted``, write them and, where it has a name, the sheet, all or none; height and width of a picture."""
    import torch

    from pixward.commands.console import progress
    from pixward.commands.outputs import staged
    from pixward.denoise.sheets import contact_sheet
    from pixward.image import from_tensor, save

    parts: list[Tensor] = []
    outputs = [one.output for one in wanted if one.output is not None]
    outputs += [sheet] if sheet.name else []
    with progress(quiet=quiet) as bar, staged(outputs) as place:
        shown = bar.add_task("Drawing", total=len(wanted))
        for part in _parts(wanted, at_once):
            parts.append(painter.draw([one.prompt for one in part], [one.seed for one in part]).cpu())
            bar.update(shown, advance=len(part))
        pictures = torch.cat(parts)
        for one, picture in zip(wanted, pictures, strict=True):
            if one.output is not None:
                save(place[one.output], from_tensor(picture[None]))
        if sheet.name:
            told = [f"{one.prompt}, {one.seed}" for one in wanted]
            each = sum(one.prompt == wanted[0].prompt for one in wanted)
            # A row for each prompt, where that makes a sheet of it.
            columns = each if 1 < each < len(wanted) and each <= 8 else 0
            contact_sheet(pictures, told, columns).save(place[sheet], "PNG")
    return int(pictures.shape[2]), int(pictures.shape[3])


def _parts(wanted: Sequence[Wanted], size: int) -> Iterator[Sequence[Wanted]]:
    for at in range(0, len(wanted), size):
        yield wanted[at : at + size]


def _tell(told: dict[str, Any]) -> None:
    for one in told["pictures"]:
        if one["output"]:
            typer.echo(f"{one['output']}: {told['width']} x {told['height']}")
    if told["sheet"]:
        typer.echo(f"{told['sheet']}: all of them" if len(told["pictures"]) > 1 else f"{told['sheet']}: enlarged")
    each = told["seconds"] / len(told["pictures"])
    steps = f"{told['steps']} step{'s' if told['steps'] > 1 else ''}"
    typer.echo(f"{told['model']}, {steps}, guidance {told['guidance']:g}: {each:.2f} s a picture")
