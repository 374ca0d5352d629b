"""A latent diffusion model small enough for two cores, all of it modules of diffusers and transformers.

Pictures of 32 pixels, latents of 12 x 8 x 8, a text encoder of two layers whose tokeniser knows the words of its world
and spells out all others. 3.8 million weights in all, of which a diffusion model and the consistency model that is
distilled from it have 1.5 million each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pixward.errors import PixwardError

SIZE, LATENT = 32, (12, 8, 8)
"""Pixels a side, and C, H, W of the latents."""
SHARE = (0.8, 0.95)
"""How much of the side an animal takes up; smaller ones are not to be told apart at 32 pixels."""
TOKENS = 16
"""Longest prompt, with its two ends; about thirteen words."""
WORDS = 64
"""Width of the text encoder."""
GUIDANCE = 256
"""Width of the embedding that tells the consistency model its guidance; LCM's."""
CHANNELS = (64, 80)
"""Of the denoiser, at 8 x 8 and at 4 x 4."""

NEEDS = "the small diffusion models need diffusers and transformers: pip install 'pixward[denoise]'"


def new_codec() -> nn.Module:
    """An untrained ``AutoencoderKL``, 0.42 million weights: pictures in [-1, 1] to latents a quarter as wide.

    Raises:
        PixwardError: diffusers is missing.
    """
    try:
        from diffusers import AutoencoderKL
    except ImportError:
        raise PixwardError(NEEDS) from None
    codec: Any = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        layers_per_block=1,
        latent_channels=LATENT[0],
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
        force_upcast=False,
    )
    return codec


def new_denoiser(guided: bool = False) -> nn.Module:
    """An untrained ``UNet2DConditionModel``, 1.5 million weights.

    Args:
        guided: it is told its guidance, as consistency models are; it then is as if that said nothing.

    Raises:
        PixwardError: diffusers is missing.
    """
    try:
        from diffusers import UNet2DConditionModel
    except ImportError:
        raise PixwardError(NEEDS) from None
    unet: Any = UNet2DConditionModel(
        sample_size=LATENT[1],
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        # Attention at 4 x 4 alone: at 8 x 8 it costs as much as all the rest.
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type=None,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        cross_attention_dim=WORDS,
        attention_head_dim=16,
        norm_num_groups=8,
        time_cond_proj_dim=GUIDANCE if guided else None,
    )
    if guided:
        nn.init.zeros_(unet.time_embedding.cond_proj.weight)
    return unet


def new_words(texts: Iterable[str]) -> tuple[Any, nn.Module]:
    """A ``CLIPTokenizer`` in which every word of ``texts`` is one token, and an untrained ``CLIPTextModel`` for it.

    Other words are spelt out in pieces, as in CLIP, so that any text can be read.

    Raises:
        PixwardError: transformers is missing.
    """
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
    except ImportError:
        raise PixwardError(NEEDS) from None
    ends = ["<|startoftext|>", "<|endoftext|>"]
    spelling = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    spelling.normalizer = normalizers.Lowercase()
    spelling.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = sorted({word for text in texts for word in text.lower().split()})
    trainer = trainers.BpeTrainer(
        vocab_size=100_000, min_frequency=1, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    spelling.train_from_iterator(words, trainer)
    learnt = json.loads(spelling.to_str())["model"]
    merges: Any = [tuple(pair) for pair in learnt["merges"]]
    # CLIP's order: letters, letters that end a word, what they were merged to, the two ends.
    names = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), *ends]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=WORDS,
        intermediate_size=4 * WORDS,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        projection_dim=WORDS,
        bos_token_id=vocabulary[ends[0]],
        eos_token_id=vocabulary[ends[1]],
        pad_token_id=vocabulary[ends[1]],
    )
    return tokenizer, CLIPTextModel(config)


def read(tokenizer: Any, texts: Iterable[str]) -> Tensor:
    """Prompts as numbers of tokens, ``(B, TOKENS)`` int64, padded and cut as diffusers' pipelines do."""
    told = tokenizer(list(texts), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    numbers: Tensor = told.input_ids
    return numbers.to(torch.int64)
