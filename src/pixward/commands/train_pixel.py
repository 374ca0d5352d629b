"""``pixward train pixel``: teach pixels to pick their operations."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Task(StrEnum):
    """What the policy learns to put right."""

    noise = "noise"
    text = "text"
    salt_pepper = "salt-pepper"
    colour = "colour"


class Gradient(StrEnum):
    """How A2C weighs actions."""

    all = "all"
    sampled = "sampled"


Photos = Annotated[
    list[Path] | None, typer.Option(metavar="DIR", help="Folder of clean photos. May be given several times.")
]
Start = Annotated[
    str | None, typer.Option(metavar="START", help="Policy or denoiser to begin with. Default: the shipped denoiser.")
]
Side = Annotated[
    int | None, typer.Option(metavar="N", min=8, help="Width of the crops, in pixels. Default: 48, for colour 64.")
]


def command(
    task: Annotated[Task, typer.Argument(help="What it learns to put right.")],
    photos: Photos = None,
    inputs: Annotated[Path | None, typer.Option(metavar="DIR", help="For colour: pictures before the edit.")] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For colour: the same pictures after it, of the same names.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run: log, checkpoint, weights.")] = Path(
        "pixward-run"
    ),
    updates: Annotated[int, typer.Option(metavar="N", min=1, help="Of the optimiser; each plays a batch.")] = 2_000,
    weights: Start = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Fixes first weights, crops, damage, choices.")] = 0,
    gradient: Annotated[
        Gradient, typer.Option(help="all: weigh what every action would bring; sampled: PixelRL's own.")
    ] = Gradient.all,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Episodes played at once.")] = 16,
    side: Side = None,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="Half precision: faster where the processor has it.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="D", help="cpu, cuda, ...")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print log lines and the result as JSON.")] = False,
) -> None:
    """Train a policy for pixward pixel: noise, text (and scratches), salt and pepper, or an edit of colours.

    Damage is made anew all the time, so a folder of clean photos is enough; colour learns from pairs. Every tenth
    picture is held out and scored. A stopped run goes on with --resume. The result is RUN/policy.safetensors.

    Example:  pixward train pixel text --photos photos/ --out runs/text --updates 2000
    """
    from pixward.commands.pixel_training import SIDES, PixelTraining, train_pixel
    from pixward.errors import PixwardError

    if (inputs is None) != (labels is None):
        raise PixwardError("pairs need both folders: --inputs DIR --labels DIR")
    job = PixelTraining(
        task=task.value,
        out=out,
        photos=tuple(photos or ()),
        pairs=None if inputs is None or labels is None else (inputs, labels),
        updates=updates,
        start=weights,
        seed=seed,
        gradient=gradient.value,
        device=device,
        resume=resume,
        bfloat16=bfloat16,
        batch=batch,
        side=side or SIDES.get(task.value, 48),
    )
    if as_json:
        kept, lines = train_pixel(job, lambda line: typer.echo(json.dumps(line)))
        typer.echo(json.dumps({"weights": str(kept), "curve": lines}))
        return
    kept, lines = _shown(job)
    typer.echo(summary(lines))
    typer.echo(f"weights: {kept}")


def _shown(job: Any) -> tuple[Path, list[dict[str, Any]]]:
    """Train with a progress bar on stderr, or, where that is no terminal, with lines."""
    from pixward.commands.console import progress
    from pixward.commands.pixel_training import train_pixel

    with progress("{task.fields[said]}", quiet=False) as bar:
        shown = bar.add_task(f"train {job.task}", total=job.updates, said="")
        first: list[tuple[float, int]] = []

        def watch(line: dict[str, float]) -> None:
            step = int(line["step"])
            if not first:
                first.append((time.monotonic(), step))
            left = pace(*first[0], step, job.updates)
            said = "  ".join(f"{name} {value:.4g}" for name, value in line.items() if name != "step")
            bar.update(shown, completed=step, said=left)
            bar.console.print(f"step {step}  {said}  {left}".rstrip(), highlight=False, soft_wrap=True)

        return train_pixel(job, watch)


def summary(lines: list[dict[str, Any]]) -> str:
    """What a log tells: how long, and from where to where."""
    if not lines:
        return "nothing was left to do"
    last = lines[-1]
    words = f"{last['step']} updates, {last['cpu_seconds'] / 60:.1f} min of processor time"
    for name, unit in (("psnr", " dB"), ("lab", " in Lab")):
        if name in last:
            words += f"; on pictures held out {last[f'{name}_before']:.2f} as they come, {last[name]:.2f}{unit} now"
    curve = lines[:: max(1, len(lines) // 8)]
    key = next((name for name in ("psnr", "lab") if name in last), "return")
    return f"{words}\n{key}: " + ", ".join(f"{line['step']}: {line[key]:.4g}" for line in curve)


def pace(began: float, first: int, step: int, updates: int) -> str:
    """How long the rest will take, in words."""
    if step <= first:
        return ""
    left = (time.monotonic() - began) / (step - first) * (updates - step)
    return f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left"
