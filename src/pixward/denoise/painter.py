"""One pipeline of diffusers as environment and policy: what a trainer takes, what draws, what is kept."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixward.envs.denoise import DenoiseEnv
from pixward.errors import PixwardError
from pixward.policies.denoiser import DenoiserPolicy
from pixward.policies.lora import WithoutLora, add_lora, load_lora, lora_of, merged, save_lora, train_lora
from pixward.policies.pipelines import (
    PainterSettings,
    decoder_of,
    guidance_of,
    latent_of,
    load_pipeline,
    sampler_of,
)
from pixward.policies.prompts import PromptReader

__all__ = ["Painter", "PainterSettings", "load_pipeline", "painter"]


class Painter:
    """A loaded pipeline, ready to draw and to be tuned; made by :func:`painter`.

    Attributes:
        pipeline: diffusers' own, whose UNet is the policy's.
        policy: decides step by step.
        env: what it decides in.
        settings: as they were given, with the LoRA that is there.
    """

    def __init__(self, pipeline: Any, policy: DenoiserPolicy, env: DenoiseEnv, settings: PainterSettings) -> None:
        self.pipeline, self.policy, self.env, self.settings = pipeline, policy, env, settings
        factor = int(pipeline.vae_scale_factor)
        self._reader = PromptReader(pipeline, policy.doubled, (env.latent[1] * factor, env.latent[2] * factor))

    def read(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Prompts as the policy reads them, ``(B, ...)`` each, without gradients.

        ``prompt``; with guidance by two calls ``unconditional``; for SDXL ``pooled``, ``sizes`` and
        ``unconditional_pooled``. This and the prompts is what :class:`pixward.train.pictures.PictureTask` asks for.
        Each prompt is encoded once, by itself, and remembered.
        """
        return self._reader(prompts)

    @torch.no_grad()
    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Pictures ``(B, 3, H, W)`` in [0, 1], those of plain diffusers with one generator on the CPU for each seed.

        A picture's noise hangs on its own seed, not on its neighbours.

        Raises:
            ValueError: there are not as many seeds as prompts, or none.
        """
        if len(prompts) != len(seeds) or not prompts:
            raise ValueError(f"each picture needs a prompt and a seed: {len(prompts)} prompts, {len(seeds)} seeds")
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        device = self.pipeline.unet.device

        def noise() -> Tensor:
            return torch.cat([self.env.noise(1, generator) for generator in generators]).to(device)

        told = {name: value.to(device) for name, value in self.read(prompts).items()}
        state = self.env.reset({"noise": noise(), **told})
        for _ in range(self.env.horizon):
            step = self.policy.step(state)
            state, _ = self.env.step({**state, "denoised": step.denoised}, step.draw(noise()))
        return self.env.image(state)

    def start(self) -> DenoiserPolicy | None:
        """The policy without its LoRA, sharing its weights: what a divergence is measured from. None without LoRA.

        Of a LoRA that was loaded to go on tuning it, this is the model before that as well.
        """
        if self.settings.lora is None:
            return None
        return DenoiserPolicy(WithoutLora(self.policy.unet), self.policy.sampler, self.policy.guidance).eval()

    def save_lora(self, folder: str | Path) -> Path:
        """Write ``pytorch_lora_weights.safetensors`` into ``folder``, whole or not at all; the path of the file.

        Plain diffusers loads it, by ``pipeline.load_lora_weights(folder)``, and draws the same pictures.

        Raises:
            PixwardError: there is no LoRA, or the place cannot be written.
        """
        return save_lora(self.pipeline, folder)

    def load_lora(self, path: str | Path) -> None:
        """Take a LoRA from a file, its folder or the hub, in place of the one that is there; only it is tuned then.

        Raises:
            PixwardError: there is none, or it does not fit.
        """
        self.settings = replace(self.settings, lora=load_lora(self.pipeline, path))
        self._reader.forget()

    def save(self, folder: str | Path) -> Path:
        """Write the whole pipeline, LoRA worked into its weights, for ``from_pretrained``; the folder's path.

        A folder of that name is replaced only when the new one is whole.

        Raises:
            PixwardError: the place cannot be written, or holds something else than a pipeline.
        """
        target = Path(folder)
        if target.exists() and not (target / "model_index.json").is_file() and any(_entries(target)):
            raise PixwardError(f"{target} holds something else than a pipeline: choose another folder")
        mark = secrets.token_hex(6)
        fresh, old = (target.with_name(f".pixward-{mark}{end}") for end in ("", "-old"))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            merged(self.pipeline).save_pretrained(fresh)
            if target.exists():
                os.replace(target, old)
            try:
                os.replace(fresh, target)
            except OSError:
                os.replace(old, target)
                raise
        except OSError as error:
            raise PixwardError(f"cannot write {target}: {error.strerror or error}") from None
        except Exception as error:
            if type(error).__name__ != "SafetensorError":  # what safetensors makes of a full disk
                raise
            raise PixwardError(f"cannot write {target}: {error}") from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)
        return target


def _entries(target: Path) -> list[str]:
    if not target.is_dir():
        raise PixwardError(f"{target} is a file: give the name of a folder")
    return os.listdir(target)


def painter(pipeline: Any, settings: PainterSettings | None = None) -> Painter:
    """Environment and policy of a pipeline, which :func:`pixward.policies.pipelines.load_pipeline` loads or checks.

    Its text encoders and its autoencoder learn nothing from now on. Where ``settings.lora`` is set, the UNet gets it; a
    LoRA that it was given by an earlier call stays and is tuned on.

    Raises:
        PixwardError: diffusers or peft is missing, or settings and pipeline do not go together.
    """
    pipeline, settings = load_pipeline(pipeline), settings or PainterSettings()
    sampler = sampler_of(pipeline, settings)
    latent = latent_of(pipeline, settings)
    known = lora_of(pipeline)
    for name in ("vae", "text_encoder", "text_encoder_2"):
        if getattr(pipeline, name, None) is not None:
            getattr(pipeline, name).requires_grad_(False).eval()
    if known is not None:
        train_lora(pipeline)
    elif settings.lora is not None:
        add_lora(pipeline, settings.lora)
    if settings.checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
    policy = DenoiserPolicy(pipeline.unet, sampler, guidance_of(pipeline, settings)).eval()
    env = DenoiseEnv(sampler, latent, decoder_of(pipeline))
    return Painter(pipeline, policy, env, replace(settings, lora=known or settings.lora))
