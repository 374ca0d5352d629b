"""``pixward train edit``: train the networks of an editor."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pixward.commands.editors import EDITOR_HELP


class Algorithm(StrEnum):
    """How to train."""

    pretrain = "pretrain"
    response = "response"
    map = "map"
    td3 = "td3"
    look = "look"
    look_td3 = "look-td3"
    monolithic = "monolithic"
    cascaded = "cascaded"


def command(
    photos: Annotated[list[Path], typer.Option(metavar="DIR", help="Folder of photos. May be given several times.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run: log, checkpoints, weights.")],
    editor: Annotated[str, typer.Option(metavar="E", help=EDITOR_HELP)] = "chain:photo",
    algorithm: Annotated[
        Algorithm,
        typer.Option(
            help="pretrain: the policy, supervised; response: what the sliders do; map: a real editor's sliders in "
            "those of chain:photo; td3: reinforce the policy; monolithic, cascaded: proxies to compare with."
        ),
    ] = (Algorithm.pretrain),
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Updates; default: the algorithm's own.")
    ] = None,
    renders: Annotated[
        int, typer.Option(metavar="N", min=32, help="Of a real editor, for response and map: made once, kept in RUN.")
    ] = 12_800,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="pretrain on what the response says, without a render of the editor.")
    ] = False,
    minutes: Annotated[float | None, typer.Option(metavar="M", min=0, help="Stop and save after this long.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Fixes photos, tasks and noise.")] = 0,
    features: Annotated[
        str, typer.Option(metavar="LIST", help="What the policy looks at, for ablations.")
    ] = "local,global,statistics,history",
    device: Annotated[str, typer.Option(metavar="D", help="cpu, cuda, ...")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print log lines as JSON.")] = False,
) -> None:
    """Train the networks that know an editor's sliders.

    Example:  pixward train edit --photos photos/ --out runs/mine --minutes 60
    Example:  pixward train edit --photos photos/ --out runs/rt --editor rawtherapee --algorithm response
    """
    from pixward.commands.editors import load_editor
    from pixward.commands.training import EditTraining, train_edit

    job = EditTraining(
        photos=tuple(photos),
        out=out,
        editor=load_editor(editor),
        algorithm=algorithm.value,
        steps=steps,
        minutes=minutes,
        seed=seed,
        device=device,
        resume=resume,
        features=tuple(name for name in features.split(",") if name),
        renders=renders,
        simulate=simulate,
    )

    watch = _as_json if as_json else _Told()

    kept = train_edit(job, watch)
    typer.echo(json.dumps({"weights": str(kept)}) if as_json else f"weights: {kept}")


def _as_json(line: dict[str, float]) -> None:
    typer.echo(json.dumps(line))


class _Told:
    """Prints log lines for a person, with the pace since the first."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def __call__(self, line: dict[str, float]) -> None:
        now, step = time.monotonic(), line["step"]
        self._first = self._first or (now, step)
        pace = (step - self._first[1]) / max(now - self._first[0], 1e-9)
        figures = "  ".join(f"{name} {value:.4g}" for name, value in line.items() if name != "step")
        rest = f"  {60 * pace:.0f} steps/min" if pace else ""
        typer.echo(f"step {step:.0f}  {figures}{rest}", err=True)
