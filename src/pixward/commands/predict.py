"""``pixward predict``: what a policy says of pictures, drawn on them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixward.commands.pixel_options import DEFAULT_OUT, AsJson, Force, Out
from pixward.commands.train_predict import OptionalTask
from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.policies.sequence import SequencePolicy
    from pixward.predict.task import PredictTask
    from pixward.types import Decoding

Weights = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Weights of your own: a file, or the folder of a run. Default: as --task."),
]


def command(
    inputs: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Photos, or folders of them.")],
    task: OptionalTask = None,
    weights: Weights = None,
    out: Out = DEFAULT_OUT,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="T", min=0, help="Draw an answer: below 1 surer, above 1 wilder. Default: the likeliest."),
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", metavar="P", help="Draw from the likeliest tokens of this share only.")
    ] = None,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Say what is in pictures: boxes, segments, colours or words, drawn on them.

    The policy reads the whole picture squeezed to 64 x 64; what it says is drawn at the picture's own size. The weights
    tell the task; --task has to agree, or names weights that ship. Writes DIR/STEM.png. All files appear, or none.

    Example:  pixward predict photo.jpg --weights runs/detect --out seen
    """
    from pixward.commands.noisy import pictures_in
    from pixward.commands.outputs import check_outputs
    from pixward.commands.predict_weights import predictor

    pictures = {path: out / f"{path.stem}.png" for path in pictures_in(inputs)}
    check_outputs(pictures.values(), [*inputs, *pictures], force=force)
    policy, known, path = predictor(weights, None if task is None else task.value)
    rows = _say(policy, known, decoding_of(temperature, top_p), pictures, quiet=as_json)
    if as_json:
        from pixward.commands.console import print_json

        head = {"task": known.name, "weights": str(path), "temperature": temperature, "top_p": top_p}
        print_json({**head, "pictures": rows})
        return
    for row in rows:
        _tell(row)


def decoding_of(temperature: float | None, top_p: float | None) -> Decoding | None:
    """How answers are drawn; None for the likeliest.

    Raises:
        PixwardError: a temperature or a share out of range.
    """
    if temperature is None and top_p is None:
        return None
    from pixward.types import Decoding

    try:
        return Decoding(1.0 if temperature is None else temperature, 1.0 if top_p is None else top_p)
    except ValueError as error:
        raise PixwardError(str(error)) from None


def _say(
    policy: SequencePolicy,
    task: PredictTask,
    decoding: Decoding | None,
    pictures: Mapping[Path, Path],
    *,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Work on all ``pictures``, sources to results, and put the results in place, all or none."""
    from pixward.commands.console import progress
    from pixward.commands.outputs import staged
    from pixward.image import from_tensor, load, save, to_tensor

    rows = []
    with (
        staged(list(pictures.values())) as place,
        progress("{task.fields[name]}", quiet=quiet) as bar,
    ):
        shown = bar.add_task(task.name, total=len(pictures), name="")
        for source, target in pictures.items():
            bar.update(shown, name=source.name)
            photo = load(source)
            began = time.perf_counter()
            answer = task.show(policy, to_tensor(photo.pixels)[0], decoding)
            seconds = round(time.perf_counter() - began, 3)
            save(place[target], from_tensor(answer.picture[None]))
            size = {"width": photo.size[0], "height": photo.size[1], "seconds": seconds}
            said = {name: value for name, value in answer.said.items() if name != "task"}
            rows.append({"input": str(source), "output": str(target), **size, **said})
            bar.advance(shown)
    return rows


_HEAD = ("input", "output", "width", "height", "seconds")


def _tell(row: Mapping[str, Any]) -> None:
    """One picture for a person: a line, then what was said, lists as tables."""
    typer.echo(f"{row['output']}: {row['width']} x {row['height']}, {row['seconds']:.1f} s")
    for name, value in row.items():
        if name in _HEAD:
            continue
        if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            _table(name, value)
        elif isinstance(value, list):
            typer.echo(f"  {name}: {len(value)} rows, which --json tells")
        else:
            typer.echo(f"  {name}: {_word(value)}")


def _table(name: str, items: Sequence[Mapping[str, Any]]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from pixward.commands.console import stdout

    if not items:
        typer.echo(f"  no {name}")
        return
    table = Table(*items[0], box=None, pad_edge=False)
    for item in items:
        table.add_row(*(Text(_word(value)) for value in item.values()))
    stdout().print(Padding(table, (0, 0, 0, 2)))


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(_word, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
