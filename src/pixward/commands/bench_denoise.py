"""``pixward bench denoise``: models that draw, tuned and untuned, beside pictures of nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixward.commands.denoise_models import Device, Guidance
from pixward.commands.pixel_options import AsJson
from pixward.commands.train_denoise import ClipModel, Scorer
from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.bench.denoise import DenoiseBench
    from pixward.commands.denoise_models import Opened
    from pixward.denoise.painter import Painter

_MANY = "May be given several times."
STEPS = {True: "1,2,4,8", False: "10,20,50"}
"""Of consistency models, and of diffusion models."""


def command(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="M", help=f"The first is the untuned one. Default: emoji-lcm. {_MANY}"),
    ] = None,
    lora: Annotated[
        list[str] | None, typer.Option(metavar="L", help=f"A LoRA on the first model: file, run or id. {_MANY}")
    ] = None,
    reward: Annotated[str, typer.Option(metavar="R", help="As of pixward train denoise.")] = "align",
    steps: Annotated[
        str | None, typer.Option(metavar="N,N", help="Steps of drawing. Default: 1,2,4,8, or 10,20,50 of diffusion.")
    ] = None,
    guidance: Guidance = None,
    best_of: Annotated[int, typer.Option(metavar="N", min=1, help="Untuned pictures to keep the best of.")] = 4,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE.txt", help="Prompts, one a line. Default: all 42 animals.")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=2, help="Pictures of each prompt.")] = 2,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the first picture.")] = 0,
    scorer: Scorer = None,
    clip: ClipModel = None,
    device: Device = "cpu",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also keep the figures, as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure models at the same prompts and seeds, beside a blank picture, noise and the best of several.

    Reward, accuracy (the share that shows what the prompt says), diversity (how much pictures of a prompt differ), kB,
    seconds and network calls of a picture: a reward that rises while the other two fall was had for nothing.

    Example:  pixward bench denoise --model emoji-lcm --model runs/jpeg --reward jpeg --steps 1,4
    """
    from pixward.commands.console import print_json, progress
    from pixward.commands.denoise_models import quiet_libraries
    from pixward.files import save_text

    quiet_libraries()
    from pixward.bench.denoise import run_denoise_bench

    names = model or ["emoji-lcm"]
    measure = _bench(
        names, lora or [], (reward, scorer, clip), (steps, guidance, best_of), (prompts, count, seed), device
    )
    with progress("{task.fields[name]}", quiet=as_json) as bar:
        total = 2 + len(measure.models) * len(measure.steps) + (best_of > 1)
        shown = bar.add_task("measure", total=total, completed=-1, name="")
        result = run_denoise_bench(measure, lambda name: bar.update(shown, advance=1, name=name))
    result = {"reward": reward, **result}
    if out is not None:
        save_text(out, json.dumps(result, indent=1) + "\n")
    if as_json:
        print_json(result)
        return
    _show(result)


def parse_steps(text: str) -> tuple[int, ...]:
    """``"1,2,4"`` as numbers, each once.

    Raises:
        PixwardError: something else than whole numbers from 1.
    """
    try:
        found = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise PixwardError(f"--steps {text}: give whole numbers from 1 with commas between them, as in 1,2,4,8")
    return found


def _bench(
    names: Sequence[str],
    loras: Sequence[str],
    judged: tuple[str, str | None, str | None],
    drawn: tuple[str | None, float | None, int],
    looked: tuple[Path | None, int, int],
    device: str,
) -> DenoiseBench:
    """Models, and what is asked of them: ``judged`` by reward, --scorer and --clip; ``drawn`` with steps, guidance and
    the best of so many; ``looked`` at with prompts, pictures of each and their first seed.
    """
    from pixward.bench.denoise import DenoiseBench
    from pixward.commands.denoise_models import note_strangers, open_model, prompts_in, seed_in, size_of
    from pixward.commands.denoise_rewards import CLIP, Asked, judge_of, reward_named
    from pixward.denoise.builtin import builtin_prompts
    from pixward.denoise.evaluate import Looks

    (reward, scorer, clip), (steps, guidance, best_of), (prompts, count, seed) = judged, drawn, looked
    texts = builtin_prompts("all") if prompts is None else prompts_in(prompts)
    first = open_model(names[0], device)
    wanted = parse_steps(steps or STEPS[first.consistent])
    makers = {names[0]: _maker(first, None, guidance)}
    makers |= {name: _maker(open_model(name, device), None, guidance) for name in names[1:]}
    makers |= {lora: _maker(open_model(names[0], device), lora, guidance) for lora in loras}
    asked = Asked(size_of(makers[names[0]](wanted[0])), texts, scorer, clip or CLIP, device)
    looks = Looks(texts, count, 1_000_000 + seed_in(seed), 32 if first.small else 4)
    measured = DenoiseBench(makers, wanted, looks, reward_named(reward, asked), judge_of(asked), best_of)
    note_strangers(first, texts)
    return measured


def _maker(opened: Opened, lora: str | None, guidance: float | None) -> Callable[[int], Painter]:
    """Steps to a painter; the LoRA is loaded now, so that one that does not fit is told at once."""
    from pixward.commands.denoise_models import painter_of
    from pixward.denoise.painter import painter

    settings = painter_of(opened, lora, 1, guidance).settings

    def made(steps: int) -> Painter:
        return painter(opened.pipeline, replace(settings, steps=steps))

    return made


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from pixward.bench.denoise import told
    from pixward.commands.console import stdout

    console = stdout()
    console.print(f"{result['reward']}, {result['pictures']} pictures of {len(result['prompts'])} prompts")
    head, *rows = told(result)
    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
