"""``pixward bench predict``: policies on held-out pictures, beside those that know nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixward.commands.pixel_options import AsJson
from pixward.commands.predict import Weights
from pixward.commands.train_predict import Data, Images, Mend, OptionalTask
from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.types import Decoding

_MANY = "May be given several times."


def command(
    task: OptionalTask = None,
    weights: Weights = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE", help=f"Weights to compare with, e.g. those before the reward. {_MANY}"),
    ] = None,
    temperature: Annotated[
        list[float] | None, typer.Option(metavar="T", help=f"Draw answers as well, with this temperature. {_MANY}")
    ] = None,
    top_p: Annotated[
        list[float] | None, typer.Option("--top-p", metavar="P", help=f"And from this share of the tokens. {_MANY}")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Held-out pictures.")] = 500,
    data: Data = None,
    images: Images = None,
    mend: Mend = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also keep the figures, as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score weights on pictures that no policy was trained on, beside an empty answer and random ones.

    Each --temperature is tried with each --top-p. Of --data every tenth picture is scored, those that training leaves
    out.

    Example:  pixward bench predict --weights runs/detect-reward --baseline runs/detect --temperature 0.5 --top-p 0.9
    """
    from pixward.bench.predict import PredictBench, run_predict_bench
    from pixward.commands.console import print_json, progress
    from pixward.commands.predict_weights import predictor, weights_file
    from pixward.files import save_text
    from pixward.predict.folders import read_folder

    drawn = decodings(temperature or [], top_p or [])
    _, known, path = predictor(weights, None if task is None else task.value)
    if data is None and (images is not None or mend):
        raise PixwardError("--images and --mend are about --data: give that as well")
    own = None if data is None else read_folder(known.name, data, images, faults="mend" if mend else "error")
    settings = PredictBench(path, tuple(map(weights_file, baseline or [])), drawn, count, own)
    with progress("{task.fields[name]}", quiet=as_json) as bar:
        total = 2 + (1 + len(settings.baselines)) * (1 + len(drawn))
        shown = bar.add_task("measure", total=total, completed=-1, name="")
        result = run_predict_bench(settings, lambda name: bar.update(shown, advance=1, name=name))
    if out is not None:
        save_text(out, json.dumps(result, indent=1) + "\n")
    if as_json:
        print_json(result)
        return
    _show(result)


def decodings(temperatures: list[float], top_ps: list[float]) -> tuple[Decoding, ...]:
    """Every temperature with every share; a share alone goes with temperature 1.

    Raises:
        PixwardError: one that is out of range, or a temperature of 0, which is what always comes first.
    """
    from pixward.types import Decoding

    if 0 in temperatures:
        raise PixwardError("the likeliest answer, temperature 0, is always measured: give temperatures above 0")
    try:
        return tuple(
            Decoding(warm, share) for warm in (temperatures or ([1.0] if top_ps else [])) for share in (top_ps or [1.0])
        )
    except ValueError as error:
        raise PixwardError(str(error)) from None


def _show(result: dict) -> None:
    from rich.table import Table
    from rich.text import Text

    from pixward.bench.predict import told
    from pixward.commands.console import stdout

    console = stdout()
    console.print(f"{result['task']}, {result['pictures']} held-out pictures")
    for head, *rows in told(result):
        table = Table(*head, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
        console.print()
