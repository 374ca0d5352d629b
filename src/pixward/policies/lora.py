"""LoRA on a diffusion pipeline: added, read from files, written as files that plain diffusers loads."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.files import save_atomic
from pixward.policies.hub import Lora
from pixward.policies.pipelines import NEEDS, is_xl

ATTENTION = ("to_k", "to_q", "to_v", "to_out.0")
"""The layers of a UNet that both papers train beside."""

RLCM_LORA = Lora(8, 8.0, ATTENTION)
"""RLCM's for aesthetics; rank 16 and alpha 32 for the other rewards."""

DDPO_LORA = Lora(4, 4.0, ATTENTION)
"""DDPO's."""

NAME = "pixward"
"""Of the adapter that is tuned."""

FILE = "pytorch_lora_weights.safetensors"
"""Name of the file in its folder, as diffusers has it."""


def lora_of(pipeline: Any) -> Lora | None:
    """What the UNet has beside its weights to be tuned; None for nothing.

    Raises:
        PixwardError: it has somebody else's adapters, whose share nobody could tell from ours.
    """
    known = dict(getattr(pipeline.unet, "peft_config", {}))
    config = known.pop(NAME, None)
    if known:
        raise PixwardError(
            f"the pipeline has LoRA loaded already ({', '.join(known)}): merge it with pipeline.fuse_lora() and "
            f"pipeline.unload_lora_weights(), or give its file to load_lora to go on tuning it"
        )
    if config is None:
        return None
    targets = config.target_modules
    return Lora(config.r, float(config.lora_alpha), targets if isinstance(targets, str) else tuple(sorted(targets)))


def add_lora(pipeline: Any, lora: Lora) -> None:
    """Put untrained matrices beside the UNet's layers, which changes nothing yet; only they are trained from now on.

    They are float32 whatever the UNet is. The first of each pair is drawn from a normal (torch's global generator), the
    second is 0.

    Raises:
        PixwardError: peft is missing, or no layer is named so.
    """
    try:
        from peft import LoraConfig
    except ImportError:
        raise PixwardError(NEEDS) from None
    unet, targets = pipeline.unet, lora.targets
    if targets == "usual":
        targets = ATTENTION
    if targets == "all-linear":
        targets = tuple(name for name, module in unet.named_modules() if isinstance(module, nn.Linear))
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft divides it, so any number will do
        lora_dropout=0.0,
        target_modules=targets if isinstance(targets, str) else list(targets),
        init_lora_weights="gaussian",
    )
    try:
        unet.add_adapter(config, NAME)
    except ValueError as error:
        raise PixwardError(f"LoRA does not fit the UNet: {_line(error)}") from None
    train_lora(pipeline)


def train_lora(pipeline: Any) -> None:
    """Let nothing but the UNet's LoRA learn, in float32."""
    for part in _parts(pipeline).values():
        part.requires_grad_(False)
    for name, weight in pipeline.unet.named_parameters():
        if f".{NAME}." in name:
            weight.data = weight.data.float()
            weight.requires_grad_(True)


class WithoutLora(nn.Module):
    """The UNet as it was before its LoRA, sharing the weights."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet: Any = unet

    def forward(
        self,
        latents: Tensor,
        times: Tensor,
        encoder_hidden_states: Tensor | None = None,
        timestep_cond: Tensor | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """What the UNet says with the adapters off."""
        whole = self.unet.is_gradient_checkpointing
        if whole:  # a backward pass would compute parts again, with the adapters on
            self.unet.disable_gradient_checkpointing()
        self.unet.disable_adapters()
        try:
            said: Tensor = self.unet(
                latents,
                times,
                encoder_hidden_states,
                timestep_cond=timestep_cond,
                added_cond_kwargs=added_cond_kwargs,
                return_dict=False,
            )[0]
        finally:
            self.unet.enable_adapters()
            if whole:
                self.unet.enable_gradient_checkpointing()
        return said


# --- files ------------------------------------------------------------------------------------------------------------


def save_lora(pipeline: Any, folder: str | Path) -> Path:
    """Write :data:`FILE` into ``folder``, whole or not at all; ``load_lora_weights(folder)`` of diffusers reads it.

    What a loaded file held for the text encoders is in it as well.

    Raises:
        PixwardError: there is no LoRA, or the place cannot be written.
    """
    if lora_of(pipeline) is None:
        raise PixwardError("there is no LoRA to save: all weights were tuned; save the whole pipeline")
    given: dict[str, Any] = {}
    for name, part in _parts(pipeline).items():
        if _has(part):
            given[f"{name}_lora_layers"] = _weights(part)
            given[f"{name}_lora_adapter_metadata"] = part.peft_config[NAME].to_dict()

    def write(place: Path) -> None:
        pipeline.save_lora_weights(place.parent, weight_name=place.name, **given)

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PixwardError(f"cannot make the folder {folder}: {error.strerror}") from None
    return save_atomic(folder / FILE, write, force=True)


def load_lora(pipeline: Any, path: str | Path) -> Lora:
    """Put a LoRA from a file beside the pipeline's weights, in place of the one that was there, to go on tuning it.

    Args:
        pipeline: of the kind it was made for.
        path: the file, its folder, or an id on the hub; in any form that diffusers reads.

    Raises:
        PixwardError: there is no such file, it is broken, or it does not fit; the pipeline is as it was then.
    """
    where, name = _place(path)
    lora_of(pipeline)
    options = {"weight_name": name} if name else {}
    sizes = {"unet_config": pipeline.unet.config} if is_xl(pipeline) else {}
    try:
        held = pipeline.lora_state_dict(where, **options, **sizes)[0]
    except Exception as error:  # what a broken file makes diffusers raise is of many kinds
        raise PixwardError(f"cannot read the LoRA {path}: {_line(error)}") from None
    _check_fits(pipeline.unet, held, path)
    kept = {name: (part.peft_config[NAME], _weights(part)) for name, part in _parts(pipeline).items() if _has(part)}
    _remove(pipeline)
    try:
        pipeline.load_lora_weights(where, adapter_name=NAME, **options)
    except Exception as error:
        _remove(pipeline)
        for name, (config, weights) in kept.items():
            _put_back(getattr(pipeline, name), config, weights)
        train_lora(pipeline)
        raise PixwardError(f"the LoRA {path} does not fit: {_line(error)}") from None
    train_lora(pipeline)
    found = lora_of(pipeline)
    assert found is not None
    return found


def _place(path: str | Path) -> tuple[str, str | None]:
    """Folder and name of a file; an id of the hub has no name."""
    place = Path(path)
    if place.is_file():
        return str(place.parent), place.name
    if place.is_dir():
        if (place / FILE).is_file():
            return str(place), FILE
        others = sorted(place.glob("*.safetensors"))
        if len(others) != 1:
            raise PixwardError(f"{path} holds no {FILE}: give the file itself")
        return str(place), others[0].name
    if isinstance(path, Path) or path.count("/") != 1 or path.endswith(".safetensors"):
        raise PixwardError(f"there is no LoRA {path}: give a file, or a folder that holds {FILE}")
    return path, None


def _check_fits(unet: nn.Module, held: Mapping[str, Tensor], path: str | Path) -> None:
    from diffusers.utils import convert_unet_state_dict_to_peft

    ours = {key.removeprefix("unet."): weight for key, weight in held.items() if key.startswith("unet.")}
    if not ours or not all("lora" in key for key in held):
        raise PixwardError(f"{path} holds no LoRA of a UNet")
    if not any("lora_A" in key for key in ours):
        ours = convert_unet_state_dict_to_peft(ours)
    modules = dict(unet.named_modules())
    for key, weight in ours.items():
        layer, _, side = key.partition(".lora_")
        if side not in ("A.weight", "B.weight"):
            continue
        own = getattr(modules.get(layer), "weight", None)
        if own is None:
            raise PixwardError(f"the LoRA {path} does not fit: the UNet has no layer {layer}")
        want, have = (own.shape[1:], weight.shape[1:]) if side[0] == "A" else (own.shape[:1], weight.shape[:1])
        if want != have:
            raise PixwardError(
                f"the LoRA {path} does not fit: {layer} is {tuple(own.shape)} here, and the file's {key} is "
                f"{tuple(weight.shape)}; it was made for another model"
            )


def merged(pipeline: Any) -> Any:
    """The pipeline with its LoRA worked into the weights, as one of plain diffusers; itself where there is none.

    The parts with LoRA are copied, on the CPU; the others are shared.
    """
    if lora_of(pipeline) is None:
        return pipeline
    whole = copy.copy(pipeline)
    for name, part in _parts(pipeline).items():
        if _has(part):
            twin = copy.deepcopy(part).to("cpu")
            _merge(twin)
            setattr(whole, name, twin)
    return whole


@torch.no_grad()
def _merge(part: nn.Module) -> None:
    """Replace layers with LoRA by plain ones."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(part.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(part.get_submodule(parent), last, module.get_base_layer())
    part._hf_peft_config_loaded = False  # type: ignore[assignment]
    del part.peft_config


def _remove(pipeline: Any) -> None:
    """Take the adapters away, wherever there are some."""
    pipeline.delete_adapters(NAME)
    for part in _parts(pipeline).values():
        if _has(part):  # the text encoders', which diffusers forgets
            part.peft_config.pop(NAME)


def _put_back(part: Any, config: Any, weights: Mapping[str, Tensor]) -> None:
    from peft import set_peft_model_state_dict

    part.add_adapter(config, NAME)
    set_peft_model_state_dict(part, dict(weights), adapter_name=NAME)


def _weights(part: Any) -> dict[str, Tensor]:
    from peft import get_peft_model_state_dict

    held = get_peft_model_state_dict(part, adapter_name=NAME)
    return {name: weight.detach().cpu().contiguous() for name, weight in held.items()}


def _has(part: Any) -> bool:
    return NAME in getattr(part, "peft_config", {})


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _parts(pipeline: Any) -> dict[str, Any]:
    """The modules that may have LoRA."""
    names = ("unet", "text_encoder", "text_encoder_2")
    return {name: getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None}
