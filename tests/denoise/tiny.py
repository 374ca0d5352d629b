"""The small models untrained, in folders as they ship."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from pixward.data.emoji import ANIMALS
from pixward.data.worlds import GROUNDS
from pixward.denoise.builtin import JUDGE_WIDTH, builtin_pipeline, builtin_prompts
from pixward.denoise.modules import new_codec, new_denoiser, new_words
from pixward.rewards.alignment import small_classifier


def tiny_parts(folder: Path) -> Path:
    """``folder`` with the modules of :func:`pixward.denoise.builtin.builtin_folder`, and nothing learnt in them."""
    torch.manual_seed(0)
    tokenizer, words = new_words([*builtin_prompts("all", plain=False)])
    tokenizer.save_pretrained(folder / "tokenizer")
    words.save_pretrained(folder / "text_encoder")
    new_codec().save_pretrained(folder / "vae")
    new_denoiser().save_pretrained(folder / "unet")
    new_denoiser(guided=True).save_pretrained(folder / "unet_lcm")
    judge = small_classifier(len(ANIMALS) + len(GROUNDS), JUDGE_WIDTH)
    save_file(judge.state_dict(), folder / "judge.safetensors")
    return folder


def tiny_pipeline(parts: Path, name: str, folder: Path) -> Path:
    """The pipeline ``name`` of these parts as a user's folder."""
    builtin_pipeline(name, parts).save_pretrained(folder)
    return folder
