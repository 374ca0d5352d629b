"""The models that ship: ``emoji``, a diffusion model, ``emoji-lcm``, distilled from it, and a judge of what they draw.

They know 42 animals, plain and on five grounds: "a tiger", "a fox on sand". :mod:`recipes.denoise` trained them.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import torch

from pixward.data.emoji import ANIMALS, animal_prompts
from pixward.data.worlds import GROUNDS, WorldSplit
from pixward.denoise.modules import NEEDS
from pixward.errors import PixwardError
from pixward.rewards.alignment import ClassAlignment, small_classifier

BUILTIN = ("emoji", "emoji-lcm")
"""Names of the models that ship."""

JUDGE_WIDTH = 24


def builtin_folder() -> Path:
    """Where the modules lie: vae, unet, unet_lcm, text_encoder, tokenizer, judge.safetensors."""
    return Path(str(resources.files("pixward") / "weights" / "emoji"))


def builtin_pipeline(name: str, folder: Path | None = None) -> Any:
    """One of :data:`BUILTIN` as a pipeline of diffusers, float32 on the CPU; ``save_pretrained`` makes a folder of it.

    Args:
        name: ``emoji`` for a ``StableDiffusionPipeline``, ``emoji-lcm`` for a ``LatentConsistencyModelPipeline``.
        folder: where modules are read from; what ships if None.

    Raises:
        PixwardError: another name, a missing extra, or a missing module.
    """
    if name not in BUILTIN:
        raise PixwardError(f"no model {name} ships with pixward: choose {' or '.join(BUILTIN)}, a folder or a hub id")
    try:
        from diffusers import (
            AutoencoderKL,
            DDIMScheduler,
            LatentConsistencyModelPipeline,
            LCMScheduler,
            StableDiffusionPipeline,
            UNet2DConditionModel,
        )
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError:
        raise PixwardError(NEEDS) from None
    folder = folder or builtin_folder()
    lcm = name == "emoji-lcm"
    try:
        unet = UNet2DConditionModel.from_pretrained(folder / ("unet_lcm" if lcm else "unet"))
        vae = AutoencoderKL.from_pretrained(folder / "vae")
        words = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    except (OSError, ValueError) as error:
        raise PixwardError(f"{folder} does not hold the model {name}: {str(error).splitlines()[0]}") from error
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    scheduler = (
        LCMScheduler(**betas)
        if lcm
        else DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    )
    kind = LatentConsistencyModelPipeline if lcm else StableDiffusionPipeline
    pipeline = kind(
        vae=vae.float().eval(),
        text_encoder=words.eval(),
        tokenizer=tokenizer,
        unet=unet.float().eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)  # type: ignore[union-attr]
    return pipeline


def builtin_prompts(split: WorldSplit = "train", plain: bool = True) -> tuple[str, ...]:
    """What the models were shown: 33 animals to tune on, 9 that are ``held-out``; all 42 are known to the models.

    Args:
        split: which animals.
        plain: without grounds, as DDPO's prompts are; else on each ground and on none, six times as many.
    """
    return tuple(prompt.text for prompt in animal_prompts(() if plain else GROUNDS, split))


def builtin_judge(folder: Path | None = None) -> ClassAlignment:
    """The log-probability that a small classifier gives to the animal and the ground of a prompt.

    Raises:
        PixwardError: its weights are missing.
    """
    from safetensors.torch import load_file

    place = (folder or builtin_folder()) / "judge.safetensors"
    if not place.is_file():
        raise PixwardError(f"there is no judge at {place}: train it by recipes/denoise.py")
    groups = (tuple(ANIMALS), GROUNDS)
    classifier = small_classifier(sum(len(group) for group in groups), JUDGE_WIDTH)
    classifier.load_state_dict({name: value.float() for name, value in load_file(place).items()})
    return ClassAlignment(classifier.eval().requires_grad_(False), groups)
