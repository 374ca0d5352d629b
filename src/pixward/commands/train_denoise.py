"""``pixward train denoise``: tune a model that draws towards a reward."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixward.commands.denoise_models import Device, Guidance, OptionalModel
from pixward.commands.train_pixel import pace

if TYPE_CHECKING:
    from pixward.commands.denoise_training import DenoiseTraining, Seen, Tuned


class Algorithm(StrEnum):
    """How it is tuned."""

    rlcm = "rlcm"
    ddpo = "ddpo"
    direct = "direct"


Reward = Annotated[
    str | None,
    typer.Option(
        metavar="R",
        help="jpeg (small files), incompressible (large ones), colour, align (it shows what the prompt says), "
        "aesthetic (needs --scorer), or module:callable, called as (images, prompts, metadata).",
    ),
]
Scorer = Annotated[
    str | None,
    typer.Option(metavar="W", help="Weights of your own: the head for aesthetic, a CLIP or a captioner for align."),
]
ClipModel = Annotated[
    str | None, typer.Option("--clip", metavar="C", help="Of aesthetic: CLIP's folder or id. Default: ViT-L/14.")
]


OptionalAlgorithm = Annotated[
    Algorithm | None,
    typer.Option(
        "--algorithm", help="rlcm for consistency models, ddpo for diffusion models; direct: by the reward's gradient."
    ),
]
Queries = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Pictures to judge. Default: 1600; large models: the paper's.")
]
Seed = Annotated[int | None, typer.Option(metavar="N", min=0, help="Fixes all pictures. Default: 0.")]
Prompts = Annotated[
    Path | None, typer.Option(metavar="FILE.txt", help="Prompts, one a line. Default: 33 animals; 9 are held out.")
]
Rank = Annotated[
    int | None,
    typer.Option("--lora", metavar="RANK", min=0, help="Train a LoRA; 0: all weights. Default: 0, large models 8."),
]
Rate = Annotated[
    float | None, typer.Option(metavar="R", min=0, help="Learning rate. Default: 3e-5; of a LoRA, the paper's.")
]
Kl = Annotated[
    float | None, typer.Option("--kl", metavar="W", min=0, help="What straying from the start costs. Default: 0.")
]
Steps = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Of drawing a picture. Default: 8, or 50 of diffusion.")
]
Pictures = Annotated[
    int | None, typer.Option(metavar="N", min=2, help="Pictures of each evaluation. Default: 66; large models 16.")
]
RunFolder = Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run: log, samples, checkpoint, weights.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN; needs nothing else.")]
Lines = Annotated[bool, typer.Option("--json", help="Print figures as JSON lines; the last: before, after.")]


def command(
    model: OptionalModel = None,
    reward: Reward = None,
    algorithm: OptionalAlgorithm = None,
    queries: Queries = None,
    seed: Seed = None,
    prompts: Prompts = None,
    lora: Rank = None,
    rate: Rate = None,
    kl: Kl = None,
    steps: Steps = None,
    guidance: Guidance = None,
    looks: Pictures = None,
    scorer: Scorer = None,
    clip: ClipModel = None,
    out: RunFolder = Path("pixward-run"),
    resume: Resume = False,
    device: Device = "cpu",
    as_json: Lines = False,
) -> None:
    """Tune an image generator towards a reward, by RLCM, DDPO or the reward's own gradient.

    The same pictures are drawn at every checkpoint: their reward, and whether they still show what prompts say and
    differ, since a reward alone can be had by blank pictures. RUN gets samples/, curve.png and model/ or a LoRA.

    Example:  pixward train denoise --reward jpeg --kl 0.1 --out runs/jpeg
    """
    from pixward.commands.denoise_models import quiet_libraries

    quiet_libraries()
    from pixward.commands.denoise_training import DenoiseTraining
    from pixward.commands.jobs import speaks

    job = DenoiseTraining(
        out=out,
        model=_whole(model),
        reward=reward,
        algorithm=algorithm and algorithm.value,
        queries=queries,
        prompts=None if prompts is None else str(prompts.resolve()),
        lora=lora,
        rate=rate,
        kl=kl,
        steps=steps,
        guidance=guidance,
        looks=looks,
        scorer=_whole(scorer),
        clip=_whole(clip),
        seed=seed,
        device=device,
        resume=resume,
    )
    if as_json:
        made = _kept(job, lambda seen: None if seen.line is None else typer.echo(json.dumps(seen.line)))
        if speaks():
            typer.echo(json.dumps(told(made)))
        return
    made = _shown(job)
    if speaks():
        _show(made)


def told(made: Tuned) -> dict[str, Any]:
    """What --json says at the end; figures that nobody could measure are null."""
    job = made.job
    head = {"weights": str(made.weights), "model": job.model, "reward": job.reward, "algorithm": job.algorithm}
    totals = {"queries": int(made.after["queries"]), "seconds": made.seconds}
    totals["network_calls"] = int(made.after.get("network_calls", 0))
    held = _figures(made, "held-out")
    files = {"samples": str(job.out / "samples"), "curve": str(job.out / "curve.png")}
    shown = _figures(made, "train") or {}
    return {**head, "lora": job.lora, "seed": job.seed, **shown, **totals, "held_out": held, **files}


_FIGURES = ("reward", "accuracy", "diversity", "kilobytes", "blank")


def _figures(made: Tuned, look: str) -> dict[str, float | None] | None:
    if f"{look}/reward" not in made.after:
        return None
    sides = {"before": made.before, "after": made.after}
    found = {}
    for name in _FIGURES:
        for side, line in sides.items():
            value = line.get(f"{look}/{name}")
            found[f"{name}_{side}"] = None if value is None else round(value, 6)
    return found


def _whole(place: str | None) -> str | None:
    """A path that a resume from another folder still finds; names stay names."""
    return place if place is None or not Path(place).exists() else str(Path(place).resolve())


def _kept(job: DenoiseTraining, watch: Callable[[Seen], None]) -> Tuned:
    """Train; on Ctrl-C say what is kept and how to go on."""
    from pixward.commands.denoise_training import train_denoise
    from pixward.commands.jobs import speaks

    try:
        return train_denoise(job, watch)
    except KeyboardInterrupt:
        if speaks() and (job.out / "job.json").is_file():
            kept = "the newest checkpoint is kept" if (job.out / "checkpoint.pt").is_file() else "no checkpoint yet"
            typer.echo(f"{kept}; go on with: pixward train denoise --out {job.out} --resume", err=True)
        raise


def _shown(job: DenoiseTraining) -> Tuned:
    """Train with a progress bar on stderr, or, where that is no terminal, with lines."""
    from pixward.commands.console import progress
    from pixward.commands.jobs import speaks

    with progress("{task.fields[said]}", quiet=not speaks()) as bar:
        shown = bar.add_task("look", total=None, said="")
        first: list[tuple[float, int]] = []

        def watch(seen: Seen) -> None:
            if not first:
                first.append((time.monotonic(), seen.step))
            left = pace(*first[0], seen.step, seen.steps)
            bar.update(shown, description="tune", completed=seen.step, total=seen.steps, said=left)
            if seen.line is not None:
                bar.console.print(f"{_said(seen.line)}  {left}".rstrip(), highlight=False, soft_wrap=True)

        return _kept(job, watch)


def _said(line: dict[str, float]) -> str:
    """What a line of the log says that is of interest, always in one order."""
    ends = ("reward", "accuracy", "diversity")
    names = [*(f"{look}/{end}" for look in ("train", "held-out") for end in ends), "kl"]
    told = (f"{name} {line[name]:.4g}" for name in names if name in line)
    return "  ".join([f"step {line['step']:.0f}", f"queries {line['queries']:.0f}", *told])


def _show(made: Tuned) -> None:
    from rich.table import Table

    from pixward.commands.console import stdout

    job, console = made.job, stdout()
    looks = [look for look in ("train", "held-out") if f"{look}/reward" in made.after]
    table = Table("", *(f"{look}, {side}" for look in looks for side in ("before", "after")), box=None, pad_edge=False)
    for name in _FIGURES:
        sides = [line.get(f"{look}/{name}") for look in looks for line in (made.before, made.after)]
        if None not in sides:
            table.add_row(name, *(f"{value:.4g}" for value in sides))
    console.print(
        f"{job.reward} by {job.algorithm}: {int(made.after['queries'])} pictures judged in {made.seconds:.0f} s, "
        f"{int(made.after.get('network_calls', 0))} network calls",
        soft_wrap=True,
    )
    console.print(table)
    drawn = f"--model {job.model} --lora {job.out}" if job.lora else f"--model {job.out}"
    drawn += "".join(f" --{name} {value:g}" for name, value in _drawing(job).items() if value is not None)
    typer.echo(f"weights: {made.weights}")
    typer.echo(f'draw with them: pixward sample "a tiger" {drawn}')


def _drawing(job: DenoiseTraining) -> dict[str, float | None]:
    return {"steps": job.steps, "guidance": job.guidance}
