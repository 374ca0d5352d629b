"""Models that draw, as people name them: what ships, folders, runs of ``pixward train denoise``, ids of the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.denoise.painter import Painter, PainterSettings

MODEL = "model"
"""Folder of a run that holds the tuned pipeline."""
_NAMES = "emoji-lcm, emoji, the folder of a pipeline or of a run, or an id of the hub."

Model = Annotated[str, typer.Option("--model", metavar="M", help=_NAMES)]
OptionalModel = Annotated[str | None, typer.Option("--model", metavar="M", help=f"{_NAMES} Default: by --algorithm.")]
Guidance = Annotated[
    float | None, typer.Option(metavar="G", min=0, help="How strongly prompts are followed. Default: the model's.")
]
Device = Annotated[str, typer.Option(metavar="D", help="cpu, cuda, ...")]


@dataclass(frozen=True)
class Opened:
    """A loaded model.

    Attributes:
        name: as it was named.
        pipeline: of diffusers.
        small: as small as those that ship.
        consistent: a consistency model, which draws in a few steps, and not a diffusion model.
    """

    name: str
    pipeline: Any
    small: bool
    consistent: bool

    def settings(self, steps: int | None, guidance: float | None) -> PainterSettings:
        """How it draws: None stands for the papers', or for what suits a small model."""
        from pixward.denoise.painter import PainterSettings
        from pixward.denoise.settings import SMALL_GUIDANCE

        usual = SMALL_GUIDANCE if self.small else None
        scale = usual if guidance is None else guidance
        # What a large network keeps for a backward pass would fill most GPUs.
        return PainterSettings(steps=steps or 0, guidance=scale, checkpointing=not self.small)


def open_model(name: str, device: str = "cpu") -> Opened:
    """Load what ``name`` stands for; a folder of that name comes before what ships.

    Raises:
        PixwardError: no such model, one of another kind, a missing extra, or a device that is not there.
    """
    from pixward.commands.training import check_device

    quiet_libraries()
    from pixward.denoise.builtin import BUILTIN, builtin_pipeline
    from pixward.denoise.painter import load_pipeline
    from pixward.denoise.settings import SMALL
    from pixward.policies.pipelines import PainterSettings, steps_of

    check_device(device)
    folder = Path(name)
    if name in BUILTIN and not folder.is_dir():
        pipeline = load_pipeline(builtin_pipeline(name), device)
    elif (folder / MODEL).is_dir() and not (folder / "model_index.json").is_file():
        pipeline = load_pipeline(folder / MODEL, device)
    else:
        if _is_lora(folder):
            raise PixwardError(f"{name} holds a LoRA, not a model: give it as --lora, and its model as --model")
        if "/" not in name and not folder.exists():  # an id of the hub has one
            raise PixwardError(f"there is no model {name}: give {_NAMES[:-1]} such as SimianLuo/LCM_Dreamshaper_v7")
        pipeline = load_pipeline(folder if folder.exists() else name, device)
    pipeline.set_progress_bar_config(disable=True)
    weights = sum(weight.numel() for weight in pipeline.unet.parameters())
    return Opened(name, pipeline, weights < SMALL, steps_of(pipeline, PainterSettings()) == "lcm")


def painter_of(model: Opened, lora: str | None, steps: int | None, guidance: float | None) -> Painter:
    """``model`` ready to draw, with ``lora`` if any: a file, the folder of a run, or an id of the hub.

    Raises:
        PixwardError: no such LoRA, or one that does not fit.
    """
    from pixward.denoise.painter import painter

    if lora is not None and (Path(lora) / MODEL).is_dir() and not _is_lora(Path(lora)):
        raise PixwardError(f"{lora} holds a whole model, not a LoRA: give it as --model")
    made = painter(model.pipeline, model.settings(steps, guidance))
    if lora is not None:
        made.load_lora(lora)
        _note_origin(model, Path(lora))
    return made


def _note_origin(model: Opened, lora: Path) -> None:
    """Say on stderr where a run's LoRA was tuned on another model: it may fit, and what it learnt be lost."""
    from pixward.commands.jobs import NOTE

    try:
        tuned = json.loads(((lora if lora.is_dir() else lora.parent) / NOTE).read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, LookupError, TypeError):  # nobody's run, so nobody knows
        return
    if tuned not in (model.name, str(Path(model.name).resolve())):
        typer.echo(f"note: the LoRA {lora} was tuned on {tuned}, and is used on {model.name}", err=True)


def size_of(made: Painter) -> tuple[int, int]:
    """Height and width of what is drawn, in pixels."""
    factor = int(made.pipeline.vae_scale_factor)
    return made.env.latent[1] * factor, made.env.latent[2] * factor


def note_strangers(model: Opened, prompts: Sequence[str]) -> None:
    """Say on stderr which of ``prompts`` name no animal, where ``model`` is one of those that ship, or tuned from one.

    They draw something for any words, so that nobody would be told otherwise.
    """
    from pixward.data.emoji import ANIMALS
    from pixward.data.worlds import read_prompts

    known = set(model.pipeline.tokenizer.get_vocab()) if model.small else set()
    if not all(f"{word}</w>" in known for animal in ANIMALS for word in animal.split()):
        return
    rows = read_prompts(prompts, (tuple(ANIMALS),)).tolist()
    strange = list(dict.fromkeys(prompt for prompt, (said,) in zip(prompts, rows, strict=True) if said < 0))
    if strange:
        several = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        typer.echo(
            f"note: {model.name} knows {len(ANIMALS)} animals and none in {strange[0][:60]!r}{several}; they are: "
            f"{', '.join(ANIMALS)}",
            err=True,
        )


def seed_in(seed: int, last: int = 2**62) -> int:
    """``seed``, where torch can take it.

    Raises:
        PixwardError: it is above ``last``.
    """
    if seed > last:
        raise PixwardError(f"--seed {seed} is too large: give a number of at most {last}")
    return seed


def prompts_in(path: Path) -> tuple[str, ...]:
    """The prompts of a text file, one a line, each once.

    Raises:
        PixwardError: it is no text, or there is none in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise PixwardError(f"{path} is no text in UTF-8: give a file with a prompt on each line") from None
    prompts = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not prompts:
        raise PixwardError(f"{path} holds no prompt: write one on each line")
    return prompts


def quiet_libraries() -> None:
    """Keep diffusers and transformers from telling people what they load; their errors come as exceptions."""
    # They look at these when they are imported, and speak while they are.
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    with suppress(ImportError):  # whoever needs them says so
        import diffusers.utils.logging as one
        import transformers.utils.logging as other

        one.disable_progress_bar()
        other.disable_progress_bar()


def _is_lora(folder: Path) -> bool:
    return (folder / "pytorch_lora_weights.safetensors").is_file() and not (folder / "model_index.json").is_file()
