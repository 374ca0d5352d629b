"""``pixward train predict``: teach a policy to say what is in a picture, then reward it for what counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixward.commands.train_pixel import pace

if TYPE_CHECKING:
    from pixward.commands.predict_training import PredictTraining, Seen, Trained


class Task(StrEnum):
    """What the policy says."""

    detect = "detect"
    panoptic = "panoptic"
    colour = "colour"
    caption = "caption"


class Phase(StrEnum):
    """What it learns from."""

    mle = "mle"
    reward = "reward"
    more = "more"


class Reward(StrEnum):
    """What a box earns."""

    recall = "recall"
    map = "map"


OptionalTask = Annotated[Task | None, typer.Option("--task", help="What it says of a picture.")]
Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR|JSON", help="Your own pictures: COCO's files in a folder. Default: made-up scenes."),
]
Images = Annotated[Path | None, typer.Option(metavar="DIR", help="The pictures of --data, where they lie elsewhere.")]
Mend = Annotated[bool, typer.Option("--mend", help="Leave out entries of --data that have faults, e.g. no picture.")]


OptionalPhase = Annotated[
    Phase | None,
    typer.Option(
        "--phase", help="mle: true answers (default); reward: what answers earn; more: mle from --start, the control."
    ),
]
Start = Annotated[
    str | None, typer.Option(metavar="WEIGHTS", help="Begin with these; mle takes the part that reads pictures only.")
]
Batch = Annotated[int | None, typer.Option(metavar="N", min=2, help="Pictures of each. Default: 32, with rewards 16.")]
Rate = Annotated[float | None, typer.Option(metavar="R", min=0, help="Learning rate. Default: 7e-4, later 1e-4.")]
OptionalReward = Annotated[
    Reward | None,
    typer.Option(
        "--reward", help="Of detect: recall for found boxes; map (default) also learns how sure to be of each."
    ),
]
Kl = Annotated[
    float | None,
    typer.Option("--kl", metavar="W", min=0, help="What straying from --start costs while a reward is learnt."),
]
HeldOut = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Held-out pictures of each evaluation. Default: 200.")
]
Seed = Annotated[int | None, typer.Option(metavar="N", min=0, help="Fixes weights, pictures and samples. Default: 0.")]


def command(
    task: OptionalTask = None,
    phase: OptionalPhase = None,
    start: Start = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Updates. Default: 8000, later 600.")] = None,
    batch: Batch = None,
    rate: Rate = None,
    reward: OptionalReward = None,
    kl: Kl = None,
    data: Data = None,
    images: Images = None,
    mend: Mend = False,
    held_out: HeldOut = None,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run: log, checkpoint, weights.")] = Path(
        "pixward-run"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN; needs nothing else.")] = False,
    device: Annotated[str, typer.Option(metavar="D", help="cpu, cuda, ...")] = "cpu",
    seed: Seed = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print figures as JSON lines; the last: before, after.")
    ] = False,
) -> None:
    """Train a policy that detects, segments, colours or captions: from true answers first, then by reward.

    Pictures are squeezed to 64 x 64. --data DIR has annotations/instances_NAME.json (detect), panoptic_NAME.json with
    its folder of PNGs, or captions_NAME.json, and the pictures in images/; colour needs pictures only. Every tenth is
    held out. Ctrl-C keeps the newest checkpoint. The result is RUN/policy.safetensors, for pixward predict.

    Example:  pixward train predict --task detect --out runs/detect; pixward train predict --task detect --phase reward
    --start runs/detect --out runs/detect-reward
    """
    from pixward.commands.predict_training import PredictTraining

    job = PredictTraining(
        out=out,
        task=task and task.value,
        phase=phase and phase.value,
        start=_whole(start),
        steps=steps,
        batch=batch,
        rate=rate,
        reward=reward and reward.value,
        kl=kl,
        data=None if data is None else str(data.resolve()),
        images=None if images is None else str(images.resolve()),
        mend=mend or None,
        held_out=held_out,
        seed=seed,
        device=device,
        resume=resume,
    )
    if as_json:
        made = _kept(job, lambda seen: None if seen.line is None else typer.echo(json.dumps(seen.line)))
        typer.echo(json.dumps(_told(made)))
        return
    _show(_shown(job))


def _whole(start: str | None) -> str | None:
    """A path that a resume from another folder still finds; names stay names."""
    if start is None or not (Path(start).is_file() or (Path(start) / "policy.safetensors").is_file()):
        return start
    return str(Path(start).resolve())


def _kept(job: PredictTraining, watch: Callable[[Seen], None]) -> Trained:
    """Train; on Ctrl-C say what is kept and how to go on."""
    from pixward.commands.predict_training import train_predict

    last: list[int] = []

    def noted(seen: Seen) -> None:
        if seen.line is not None:
            last[:] = [seen.step]
        watch(seen)

    try:
        return train_predict(job, noted)
    except KeyboardInterrupt:
        if (job.out / "job.json").is_file():
            kept = f"the checkpoint of step {last[0]} is kept" if last else "there is no newer checkpoint yet"
            typer.echo(f"{kept}; go on with: pixward train predict --out {job.out} --resume", err=True)
        raise


def _shown(job: PredictTraining) -> Trained:
    """Train with a progress bar on stderr, or, where that is no terminal, with lines."""
    from pixward.commands.console import progress

    with progress("{task.fields[said]}", quiet=False) as bar:
        shown = bar.add_task("prepare", total=None, said="")
        stages: dict[str, tuple[float, int]] = {}

        def watch(seen: Seen) -> None:
            first = stages.setdefault(seen.stage, (time.monotonic(), seen.step))
            left = pace(*first, seen.step, seen.steps)
            bar.update(shown, description=f"train {seen.stage}", completed=seen.step, total=seen.steps, said=left)
            if seen.line is not None:
                said = "  ".join(f"{name} {value:.4g}" for name, value in seen.line.items() if name != "step")
                bar.console.print(f"step {seen.step}  {said}  {left}".rstrip(), highlight=False, soft_wrap=True)

        return _kept(job, watch)


def _told(made: Trained) -> dict[str, Any]:
    """What --json says at the end."""
    figures = {name: {k: round(v, 6) for k, v in part.items()} for name, part in _parts(made).items()}
    head = {"weights": str(made.weights), "task": made.task, "phase": made.phase, "steps": made.steps}
    return {**head, "held_out": made.held_out, **figures, "notes": list(made.notes)}


def _parts(made: Trained) -> dict[str, dict[str, float]]:
    return {"before": made.before, "after": made.after}


def _show(made: Trained) -> None:
    from rich.table import Table

    from pixward.commands.console import stdout

    for note in made.notes[:5]:
        typer.echo(f"note: {note}", err=True)
    if len(made.notes) > 5:
        typer.echo(f"note: and {len(made.notes) - 5} more of that kind", err=True)
    table = Table("", "before", "after", box=None, pad_edge=False)
    for name, value in made.before.items():
        table.add_row(name, f"{value:.4g}", f"{made.after[name]:.4g}")
    console = stdout()
    console.print(f"{made.steps} updates; on {made.held_out} held-out pictures")
    console.print(table)
    typer.echo(f"weights: {made.weights}")
