"""Tiny random pipelines with a real tokeniser, and what plain diffusers draws with them."""

from __future__ import annotations

import diffusers
import torch
import transformers

from pixward.denoise.modules import WORDS, new_words
from pixward.policies.hub import Lora
from pixward.policies.pipelines import PainterSettings

PROMPTS = ["a red tiger", "a green unheard-of fish"]
SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def unet(**more):
    made = diffusers.UNet2DConditionModel(
        **{
            "sample_size": 8,
            "down_block_types": ("CrossAttnDownBlock2D",),
            "up_block_types": ("CrossAttnUpBlock2D",),
            "mid_block_type": None,
            "block_out_channels": (16,),
            "layers_per_block": 1,
            "cross_attention_dim": WORDS,
            "attention_head_dim": 8,
            "norm_num_groups": 4,
            **more,
        }
    )
    return made.eval()


def vae(**more):
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        mid_block_add_attention=False,
        **more,
    ).eval()


def pipeline(kind, scheduler=None, **unets):
    """A tiny random pipeline, with a real tokeniser."""
    torch.manual_seed(0)
    tokenizer, words = new_words([*PROMPTS, "blue cat"])
    if kind == "xl":
        config = {**words.config.to_dict(), "hidden_size": WORDS // 2, "num_attention_heads": 2}
        first = transformers.CLIPTextModel(transformers.CLIPTextConfig(**config))
        second = transformers.CLIPTextModelWithProjection(
            transformers.CLIPTextConfig(**config | {"projection_dim": 24, "hidden_act": "gelu"})
        )
        told = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 24 + 6 * 4,
        }
        made = diffusers.StableDiffusionXLPipeline(
            vae=vae(scaling_factor=0.13, latents_mean=[0.1] * 4, latents_std=[1.5] * 4),
            text_encoder=first.eval(),
            text_encoder_2=second.eval(),
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=unet(**told, **unets),
            scheduler=scheduler or diffusers.EulerDiscreteScheduler(**SCALED, steps_offset=1),
            add_watermarker=False,
        )
    else:
        parts = {
            "vae": vae(scaling_factor=0.3),
            "text_encoder": words.eval(),
            "tokenizer": tokenizer,
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
        if kind == "lcm":
            scheduler = scheduler or diffusers.LCMScheduler(**SCALED)
            net = unet(time_cond_proj_dim=32, **unets)
            made = diffusers.LatentConsistencyModelPipeline(unet=net, scheduler=scheduler, **parts)
        else:
            scheduler = scheduler or diffusers.PNDMScheduler(**SCALED, steps_offset=1, skip_prk_steps=True)
            made = diffusers.StableDiffusionPipeline(unet=unet(**unets), scheduler=scheduler, **parts)
    made.set_progress_bar_config(disable=True)
    return made


def to_ddim(pipe):
    own = {"clip_sample": False, **pipe.scheduler.config}
    own.pop("_use_default_values", None)  # as if read from a file
    pipe.scheduler = diffusers.DDIMScheduler.from_config(own)
    return pipe


def theirs(pipe, prompts=PROMPTS, seeds=(3, 4), **more):
    """What plain diffusers draws."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipe(list(prompts), generator=generators, output_type="pt", **more).images


def shaken(made):
    """LoRA that does something: as it is made, it does not."""
    torch.manual_seed(5)
    for name, weight in made.policy.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return made


OPTIONS = {
    "lcm": {"timesteps": [999, 499], "guidance_scale": 8.0},
    "sd": {"num_inference_steps": 2, "guidance_scale": 5.0, "eta": 1.0},
    "xl": {"num_inference_steps": 2, "guidance_scale": 5.0, "eta": 1.0},
}
TWO = PainterSettings(steps=2, last="drop", lora=Lora(3, 7.0))


def plain(kind):
    """The same weights in plain diffusers, with the scheduler that ours stands for."""
    return pipeline(kind) if kind == "lcm" else to_ddim(pipeline(kind))
