"""Text-to-image pipelines of diffusers, taken apart into what a policy and its environment are made of.

What works: ``LatentConsistencyModelPipeline``, ``StableDiffusionPipeline`` and ``StableDiffusionXLPipeline``. Times,
noise, the form of the prediction, guidance and the scale of latents are read off the pipeline, not assumed. Safety
checkers and watermarks are not used: a reward has to see what the network makes. :mod:`pixward.denoise.painter` puts
the parts together.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pixward.errors import PixwardError
from pixward.ops.denoise import Clip, Form, lcm_timesteps
from pixward.ops.sampler import Last, Sampler, ddim_sampler, euler_ancestral_sampler, lcm_sampler
from pixward.policies.denoiser import DDPO_GUIDANCE, RLCM_GUIDANCE, Guidance
from pixward.policies.hub import Lora

NEEDS = "pipelines need diffusers, transformers and peft: pip install 'pixward[denoise]'"

KINDS = ("LatentConsistencyModelPipeline", "StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""Classes of diffusers that work, and classes made from them."""

Steps = Literal["lcm", "ddim", "euler"]


@dataclass(frozen=True)
class PainterSettings:
    """How a pipeline draws, and which of its weights are tuned.

    Attributes:
        sampler: ``auto`` goes by the pipeline: ``lcm`` for consistency models, else ``ddim``.
        steps: 0 for the papers': 8 of lcm, 50 of ddim; 20 of euler.
        guidance: how strongly prompts are followed. None for the papers': 8 where the network is told its guidance
            (RLCM), 5 by two calls (DDPO); 1 for consistency models that are not told theirs.
        last: what becomes of the last step; see :data:`pixward.ops.sampler.Last`. To ``keep`` it, DDIM goes to the
            noise of time 0 as DDPO does, also where the scheduler says ``set_alpha_to_one``. Where the last step draws
            nothing, as Euler's and DDIM's from time 0, ``keep`` is ``drop``.
        height, width: of pictures, in pixels; 0 for the pipeline's own.
        lora: which small matrices are trained beside the UNet; None for all weights of the UNet.
        eta: of DDIM; 1 for DDPM's noise, 0 for none, from which nothing can be learnt.
        grid: times of consistency sampling: the paper's, or those of today's diffusers, which differ.
        checkpointing: compute parts of the network twice in training instead of keeping them in memory.
    """

    sampler: Literal["auto", "lcm", "ddim", "euler"] = "auto"
    steps: int = 0
    guidance: float | None = None
    last: Last = "keep"
    height: int = 0
    width: int = 0
    lora: Lora | None = None
    eta: float = 1.0
    grid: Literal["rlcm", "diffusers"] = "rlcm"
    checkpointing: bool = False


# --- loading ----------------------------------------------------------------------------------------------------------


def load_pipeline(
    source: str | Path | object, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> Any:
    """A pipeline by its folder or its id on the hub, without a safety checker; or a loaded one, checked.

    Args:
        source: a folder that ``save_pretrained`` wrote, an id such as ``SimianLuo/LCM_Dreamshaper_v7``, or a pipeline.
        device: where it is put. None: on the CPU; a loaded pipeline stays where it is.
        dtype: of all weights. None: float32; a loaded pipeline keeps its own. To tune a float16 one, give
            ``Workers("fp16")``: without its scaling gradients may be too small for 16 bits.

    Raises:
        PixwardError: diffusers is missing, there is no pipeline, its files are broken, or it is of a kind unknown here.
    """
    diffusers = _diffusers()
    if not isinstance(source, str | Path):
        _check_kind(source)
        given: Any = source
        return given if device is None and dtype is None else given.to(device, dtype)
    kind = _kind_of(diffusers, source)
    if kind not in KINDS:
        raise PixwardError(f"{source} is a {kind}: {_works()}")
    unused: dict[str, Any] = {} if kind == KINDS[2] else {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipeline = getattr(diffusers, kind).from_pretrained(str(source), torch_dtype=dtype or torch.float32, **unused)
    except Exception as error:  # what a broken file makes diffusers raise is of many kinds
        raise PixwardError(f"cannot load the pipeline {source}: {_line(error)}") from error
    _check_kind(pipeline)
    return pipeline.to(device or "cpu")


def _kind_of(diffusers: Any, source: str | Path) -> str:
    """The class that the pipeline's first file names, before anything large is read."""
    folder = Path(source)
    if folder.is_file():
        raise PixwardError(
            f"{source} is a file: give the folder of a pipeline, as save_pretrained of diffusers writes it"
        )
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise PixwardError(
                f"{source} holds no pipeline: it lacks the model_index.json that save_pretrained of diffusers writes"
            )
        try:
            said = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PixwardError(f"cannot read {folder / 'model_index.json'}: {_line(error)}") from None
    else:
        try:
            said = diffusers.DiffusionPipeline.load_config(str(source))
        except (OSError, ValueError) as error:
            raise PixwardError(
                f"there is no folder {source}, and no such pipeline on the hub: {_line(error)}"
            ) from None
    return str(said.get("_class_name", "pipeline without a name")) if isinstance(said, dict) else "list"


def _check_kind(pipeline: object) -> None:
    diffusers = _diffusers()
    if not isinstance(pipeline, tuple(getattr(diffusers, kind) for kind in KINDS)):
        raise PixwardError(f"this is a {type(pipeline).__name__}: {_works()}")
    parts: Any = pipeline
    for name in ("unet", "vae", "tokenizer", "text_encoder", "scheduler"):
        if getattr(parts, name, None) is None:
            raise PixwardError(f"the pipeline was loaded without its {name}: load all of it")
    if parts.unet.config.in_channels != parts.vae.config.latent_channels:
        raise PixwardError(
            f"the UNet reads {parts.unet.config.in_channels} channels and latents have "
            f"{parts.vae.config.latent_channels}: models that fill in or change pictures do not work"
        )


def _works() -> str:
    return f"only {', '.join(KINDS[:-1])} and {KINDS[-1]} can be tuned"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _diffusers() -> Any:
    try:
        import diffusers
        import transformers  # noqa: F401  # without it diffusers has empty shells for pipelines
    except ImportError:
        raise PixwardError(NEEDS) from None
    return diffusers


def is_xl(pipeline: Any) -> bool:
    """Whether prompts are read by two encoders, and the network is told sizes."""
    return isinstance(pipeline, _diffusers().StableDiffusionXLPipeline)


# --- drawing ----------------------------------------------------------------------------------------------------------


def steps_of(pipeline: Any, settings: PainterSettings) -> Steps:
    """Which kind of step the settings mean for this pipeline."""
    if settings.sampler != "auto":
        return settings.sampler
    diffusers = _diffusers()
    consistent = isinstance(pipeline, diffusers.LatentConsistencyModelPipeline)
    consistent |= isinstance(pipeline.scheduler, diffusers.LCMScheduler)
    return "lcm" if consistent else "ddim"


def guidance_of(pipeline: Any, settings: PainterSettings) -> Guidance:
    """How prompts are followed: by an embedding where the network has a place for it, else by two calls."""
    width = int(pipeline.unet.config.time_cond_proj_dim or 0)
    usual = RLCM_GUIDANCE.scale if width else 1.0 if steps_of(pipeline, settings) == "lcm" else DDPO_GUIDANCE.scale
    return Guidance(usual if settings.guidance is None else settings.guidance, width)


def sampler_of(pipeline: Any, settings: PainterSettings) -> Sampler:
    """Times, noise and form of the prediction from the configuration of the pipeline's scheduler.

    Raises:
        PixwardError: the scheduler is of a model that does not predict noise, or there are more steps than times.
    """
    diffusers, config, kind = _diffusers(), dict(pipeline.scheduler.config), steps_of(pipeline, settings)
    form = config.get("prediction_type", "epsilon")
    if form not in get_args(Form) or not hasattr(pipeline.scheduler, "alphas_cumprod"):
        raise PixwardError(
            f"{type(pipeline.scheduler).__name__} with prediction {form} is no scheduler of a diffusion model: "
            f"one with alphas_cumprod and a prediction of {', '.join(get_args(Form))} is needed"
        )
    # Another kind of scheduler would put its own defaults in place of what this one has but nobody wrote down, and
    # would begin to clip where this one knows nothing of that.
    config.pop("_use_default_values", None)
    config |= {"clip_sample": bool(config.get("clip_sample")), "thresholding": bool(config.get("thresholding"))}
    try:
        if kind == "lcm":
            return _lcm(diffusers.LCMScheduler.from_config(config), settings, form)
        if kind == "ddim":
            return _ddim(diffusers.DDIMScheduler.from_config(config), settings, form)
        euler = diffusers.EulerAncestralDiscreteScheduler.from_config(config)
        return euler_ancestral_sampler(
            settings.steps or 20,
            "drop" if settings.last == "keep" else settings.last,
            euler.alphas_cumprod,
            euler.config.timestep_spacing,
            euler.config.steps_offset,
            form,
        )
    except ValueError as error:
        raise PixwardError(_line(error)) from None


def _lcm(scheduler: Any, settings: PainterSettings, form: Form) -> Sampler:
    config, count = scheduler.config, len(scheduler.alphas_cumprod)
    return lcm_sampler(
        last=settings.last,
        alphas_cumprod=scheduler.alphas_cumprod,
        timesteps=lcm_timesteps(settings.steps or 8, settings.grid, config.original_inference_steps, count),
        form=form,
        scaling=config.timestep_scaling,
        clip=_clip(config),
    )


def _ddim(scheduler: Any, settings: PainterSettings, form: Form) -> Sampler:
    scheduler.set_timesteps(settings.steps or 50)
    # A grid that ends at time 0 has no noise left to draw there.
    last = "drop" if settings.last == "keep" and int(scheduler.timesteps[-1]) == 0 else settings.last
    return ddim_sampler(
        eta=settings.eta,
        last=last,
        alphas_cumprod=scheduler.alphas_cumprod,
        timesteps=scheduler.timesteps,
        form=form,
        to_clean=last != "keep" and float(scheduler.final_alpha_cumprod) == 1,
        clip=_clip(scheduler.config),
    )


def _clip(config: Any) -> Clip | None:
    if config.thresholding:
        return Clip(config.sample_max_value, config.dynamic_thresholding_ratio)
    return Clip(config.clip_sample_range) if config.clip_sample else None


def latent_of(pipeline: Any, settings: PainterSettings) -> tuple[int, int, int]:
    """C, H, W of the latents.

    Raises:
        PixwardError: height or width are no multiple of what a latent stands for.
    """
    own, factor = pipeline.unet.config.sample_size, int(pipeline.vae_scale_factor)
    sides = (own, own) if isinstance(own, int) else tuple(own)
    for name, given in (("height", settings.height), ("width", settings.width)):
        if given % factor or given < 0:
            raise PixwardError(f"{name} must be a multiple of {factor}, got {given}")
    height, width = (
        given // factor or side for given, side in zip((settings.height, settings.width), sides, strict=True)
    )
    return int(pipeline.unet.config.in_channels), int(height), int(width)


def decoder_of(pipeline: Any) -> Callable[[Tensor], Tensor]:
    """Latents ``(B, C, H, W)`` to pictures ``(B, 3, H', W')``, about [0, 1], by the pipeline's autoencoder.

    Gradients flow.
    """
    vae, config = pipeline.vae, pipeline.vae.config
    scale, shift = 1 / config.scaling_factor, getattr(config, "shift_factor", None) or 0.0
    means, stds = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    own = is_xl(pipeline) and means is not None and stds is not None
    wide = is_xl(pipeline) and bool(getattr(config, "force_upcast", False))

    def decode(latents: Tensor) -> Tensor:
        raised = wide and vae.dtype == torch.float16  # where SDXL's overflows, under autocast as well
        if raised:
            vae.to(torch.float32)
        try:
            scaled = latents.to(vae.device) * scale + shift
            if own:
                mean, std = (scaled.new_tensor(value)[:, None, None] for value in (means, stds))
                scaled = latents.to(vae.device) * std * scale + mean
            with torch.autocast(vae.device.type, enabled=False) if wide else nullcontext():
                images: Tensor = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
        finally:
            if raised and not (torch.is_grad_enabled() and latents.requires_grad):  # which would be led back through it
                vae.to(torch.float16)
        return images.float() / 2 + 0.5

    return decode
