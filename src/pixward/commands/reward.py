"""``pixward reward``: a user's own results by one of Predict's rewards or metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pixward.bench.score import Scored

OPTIONS = {
    "coco-map": {"--targets"},
    "panoptic-quality": {"--targets", "--prediction-maps", "--target-maps"},
    "cider-d": {"--targets", "--frequencies"},
    "colourfulness": set(),
    "detection-recall": {"--targets", "--mode", "--false-cost"},
}
"""What each reward can be told beside --predictions; all that have targets need them."""
MODES = ("paper_text", "paper_code")
DIGITS = 4


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"{', '.join(list(OPTIONS)[:-1])} or {list(OPTIONS)[-1]}.")
    ],
    predictions: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Your results as COCO has them; a folder of pictures for colourfulness."),
    ],
    targets: Annotated[
        Path | None, typer.Option(metavar="FILE", help="COCO's annotations: instances, panoptic or captions.")
    ] = None,
    prediction_maps: Annotated[
        Path | None, typer.Option(metavar="DIR", help="PNGs of the predictions. Default: FILE without .json.")
    ] = None,
    target_maps: Annotated[
        Path | None, typer.Option(metavar="DIR", help="PNGs of the targets. Default: FILE without .json.")
    ] = None,
    frequencies: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Captions to count words in. Default: the targets of the scored pictures."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="M", help="paper_text (default), or paper_code, as its authors' file has it.")
    ] = None,
    false_cost: Annotated[
        float | None, typer.Option(metavar="X", help="What a box that fits nothing costs. Default: 0.", min=0)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Score your own results by a reward or a metric.

    coco-map: boxes, [{"image_id", "category_id", "bbox": [x, y, width, height], "score"}], as pycocotools does.
    detection-recall: the same files; objects found minus duplicates, the mean over pictures.
    panoptic-quality: a panoptic JSON and its folder of PNGs. cider-d: [{"image_id", "caption"}].
    colourfulness: a folder of pictures, no targets.

    Example:  pixward reward coco-map --predictions results.json --targets instances_val2017.json --json
    """
    from pixward.commands.console import print_json

    given = {
        "--targets": targets,
        "--prediction-maps": prediction_maps,
        "--target-maps": target_maps,
        "--frequencies": frequencies,
        "--mode": mode,
        "--false-cost": false_cost,
    }
    _check(name, given)
    scored = _score(name, predictions, given)
    if as_json:
        rest: dict[str, Any] = {"by_class": scored.by_class, "by_picture": scored.by_picture}
        told = {key: values for key, values in rest.items() if values}
        print_json({"reward": name, "value": scored.value, "pictures": scored.pictures, **scored.figures, **told})
    else:
        _show(name, scored)


def _check(name: str, given: dict[str, Any]) -> None:
    if name not in OPTIONS:
        raise typer.BadParameter(f"no reward is called {name!r}: choose from {', '.join(OPTIONS)}", param_hint="NAME")
    for option, value in given.items():
        if value is not None and option not in OPTIONS[name]:
            raise typer.BadParameter(f"{name} does not take it", param_hint=option)
    if "--targets" in OPTIONS[name] and given["--targets"] is None:
        raise typer.BadParameter(f"{name} needs it", param_hint="--targets")
    if given["--mode"] not in (None, *MODES):
        raise typer.BadParameter(f"must be {' or '.join(MODES)}", param_hint="--mode")


def _score(name: str, predictions: Path, given: dict[str, Any]) -> Scored:
    from pixward.bench import score
    from pixward.rewards.vision import DetectionSettings

    targets = given["--targets"]
    if name == "coco-map":
        return score.score_boxes(predictions, targets)
    if name == "panoptic-quality":
        return score.score_panoptic(predictions, targets, given["--prediction-maps"], given["--target-maps"])
    if name == "cider-d":
        return score.score_captions(predictions, targets, given["--frequencies"])
    if name == "colourfulness":
        return score.score_colourfulness(predictions)
    settings = DetectionSettings(given["--mode"] or "paper_text", false_positive_cost=given["--false-cost"] or 0.0)
    return score.score_recall(predictions, targets, settings)


def _show(name: str, scored: Scored) -> None:
    from rich.table import Table

    from pixward.commands.console import stdout

    console = stdout()
    pictures = f"{scored.pictures} picture{'' if scored.pictures == 1 else 's'}"
    console.print(f"[bold]{name}  {scored.value:.{DIGITS}f}[/]  ({pictures})")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for key, value in scored.figures.items():
        table.add_row(key.replace("_", " "), _told(value))
    if scored.figures:
        console.print(table)
    if scored.by_class:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("class")
        columns = list(next(iter(scored.by_class.values())))
        for column in columns:
            table.add_column(column, justify="right")
        for of, figures in scored.by_class.items():
            table.add_row(of, *(_told(figures[column]) for column in columns))
        console.print()
        console.print(table)


def _told(value: float | None) -> str:
    if value is None:
        return "-"
    return str(int(value)) if isinstance(value, int) else f"{value:.{DIGITS}f}"
