"""Any encoder-decoder of the Hugging Face hub as a policy: ``load_hub("a/name")``, with LoRA where asked.

The model is one of ``transformers``' that reads ``pixel_values`` and says tokens, such as ``VisionEncoderDecoderModel``
or what ``AutoModelForImageTextToText`` finds for it. Only its forward pass is used: drawing and re-scoring are
:mod:`pixward.policies.decoding`'s, so that log-probabilities agree, which ``generate`` does not promise.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.errors import PixwardError
from pixward.policies.decoding import PLAIN, distribution, draw, mask_of, permitted, permitted_everywhere, scores
from pixward.types import Decoding, Grammar, Samples, Scores, TokenPolicy


@dataclass(frozen=True)
class HubSettings:
    """What a model of the hub asks of its input and means by its tokens.

    Attributes:
        start: token that a sequence begins after; it is not part of ours.
        end: token that ends it.
        length: most tokens of a sequence.
        size: height and width that pictures are resized to.
        mean: subtracted from each channel of pictures in [0, 1].
        std: divided by after that.
    """

    start: int
    end: int
    length: int
    size: tuple[int, int]
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Lora:
    """Train small matrices beside the model's own, which stay as they are (Hu et al. 2022).

    Attributes:
        rank: of the matrices.
        alpha: their product counts ``alpha / rank``.
        targets: the ends of the names of the layers that get them, ``all-linear``, or ``usual``: for diffusion models
            the four of attention, as DDPO and RLCM have it, for others all linear ones.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: str | tuple[str, ...] = "usual"


class HubPolicy(nn.Module):
    """A :class:`pixward.types.TokenPolicy` around ``model``, an encoder-decoder of ``transformers`` or of ``peft``.

    Pictures are ``(B, 3, H, W)`` in [0, 1], of any size. The encoder runs once for each picture. To keep what was
    learnt call ``policy.model.save_pretrained(folder)``.
    """

    def __init__(self, model: nn.Module, settings: HubSettings, grammar: Grammar | None = None) -> None:
        super().__init__()
        self.model: Any = model
        self.settings, self.grammar = settings, grammar
        for name, weight in model.named_parameters():
            if ".pooler." in name:  # no token passes it, and processes that share gradients would wait for one
                weight.requires_grad_(False)

    def start(self) -> TokenPolicy:
        """The policy as it was before LoRA, sharing its weights: what a divergence is measured from.

        Raises:
            PixwardError: the model has no LoRA; give the trainer no start then, and it keeps a copy.
        """
        if not hasattr(self.model, "disable_adapter"):
            raise PixwardError("the model has no LoRA to switch off: load it with lora=Lora()")
        return _WithoutLora(self)

    def encode(self, images: Tensor) -> Tensor:
        """What the decoder looks at, ``(B, S, width)``."""
        settings = self.settings
        if images.ndim != 4 or images.shape[1] != len(settings.mean):
            raise ValueError(f"images must be (B, {len(settings.mean)}, H, W), got {tuple(images.shape)}")
        if images.shape[2:] != settings.size:
            images = F.interpolate(images, settings.size, mode="bilinear", antialias=True, align_corners=False)
        mean, std = (images.new_tensor(value)[:, None, None] for value in (settings.mean, settings.std))
        return self.model.get_encoder()(pixel_values=(images - mean) / std, return_dict=True).last_hidden_state

    def log_prob(self, images: Tensor, tokens: Tensor, decoding: Decoding = PLAIN) -> Scores:
        """Score ``tokens`` ``(B, K, L)`` as :meth:`sample` did, with gradients; as of :class:`SequencePolicy`."""
        flat = tokens.flatten(0, 1)
        seen = self.encode(images).repeat_interleave(tokens.shape[1], 0)
        before = torch.cat([torch.full_like(flat[:, :1], self.settings.start), flat[:, :-1]], 1)
        logits = self.model(encoder_outputs=(seen,), decoder_input_ids=before, use_cache=False).logits
        mask = mask_of(tokens, self.settings.end)
        allowed = None
        if self.grammar is not None:
            allowed = permitted_everywhere(self.grammar, flat, mask.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        return scores(logits.unflatten(0, tokens.shape[:2]), tokens, mask, allowed, decoding)

    @torch.no_grad()
    def sample(
        self, images: Tensor, count: int, decoding: Decoding = PLAIN, generator: torch.Generator | None = None
    ) -> Samples:
        """Draw ``count`` sequences for each image; ``generator`` is on the CPU."""
        settings, rows = self.settings, len(images) * count
        seen = self.encode(images).repeat_interleave(count, 0)
        tokens = torch.full((rows, settings.length), settings.end, device=images.device)
        log_probs = torch.zeros(rows, settings.length, device=images.device)
        live = torch.ones(rows, dtype=torch.bool, device=images.device)
        last, cache = torch.full((rows, 1), settings.start, device=images.device), None
        for step in range(settings.length):
            said = self.model(
                encoder_outputs=(seen,), decoder_input_ids=last, past_key_values=cache, use_cache=True, return_dict=True
            )
            cache = said.past_key_values
            logits = said.logits[live, -1]
            allowed = None if self.grammar is None else permitted(self.grammar, tokens[live, :step])
            table = distribution(logits, allowed, decoding)
            everyone = table.new_zeros(rows, table.shape[1]).index_put((live,), table)
            drawn = draw(everyone, decoding, generator)
            tokens[live, step] = drawn[live]
            log_probs[live, step] = table.gather(1, drawn[live, None])[:, 0]
            live = live & (tokens[:, step] != settings.end)
            if not live.any():
                break
            last = tokens[:, step : step + 1]
        shape = (len(images), count, settings.length)
        return Samples(tokens.view(shape), log_probs.view(shape), mask_of(tokens, settings.end).view(shape))


class _WithoutLora:
    """The same weights with the adapters off."""

    def __init__(self, policy: HubPolicy) -> None:
        self.policy = policy

    def sample(
        self, images: Tensor, count: int, decoding: Decoding = PLAIN, generator: torch.Generator | None = None
    ) -> Samples:
        with self._off():
            return self.policy.sample(images, count, decoding, generator)

    def log_prob(self, images: Tensor, tokens: Tensor, decoding: Decoding = PLAIN) -> Scores:
        with self._off():
            return self.policy.log_prob(images, tokens, decoding)

    def _off(self) -> contextlib.AbstractContextManager[Any]:
        return self.policy.model.disable_adapter()


def load_hub(name: str | Path, length: int = 32, lora: Lora | None = None, grammar: Grammar | None = None) -> HubPolicy:
    """A model by its name on the hub, or from a folder that ``save_pretrained`` wrote, ready to sample.

    Args:
        name: such as ``"nlpconnect/vit-gpt2-image-captioning"``.
        length: most tokens of a sequence.
        lora: train this beside the model instead of the model.
        grammar: which tokens may follow; None for any.

    Raises:
        PixwardError: the libraries are missing, there is no such model, or it does not read pictures and say tokens.
    """
    try:
        from transformers import AutoConfig, AutoModelForImageTextToText, VisionEncoderDecoderModel
    except ImportError:
        raise PixwardError("models of the hub need transformers and peft: pip install 'pixward[hub]'") from None
    try:
        config = AutoConfig.from_pretrained(str(name))
        known = config.model_type == "vision-encoder-decoder"
        loader: Any = VisionEncoderDecoderModel if known else AutoModelForImageTextToText
        model = loader.from_pretrained(str(name))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PixwardError(f"{name} gives no model that reads pictures and says words: {reason}") from None
    settings = _settings(model, str(name), length)
    return HubPolicy(model if lora is None else _with_lora(model, lora), settings, grammar).eval()


def _with_lora(model: Any, lora: Lora) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise PixwardError("LoRA needs peft: pip install 'pixward[hub]'") from None
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    targets = "all-linear" if targets == "usual" else targets
    # Dropout would make scored and sampled log-probabilities differ while training.
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft divides it, so any number will do
        lora_dropout=0.0,
        target_modules=targets,
        exclude_modules=r".*\.pooler\..*",
    )
    return get_peft_model(model, config)


def _settings(model: Any, name: str, length: int) -> HubSettings:
    """What the model's files say of pictures and tokens."""
    start = _first(model, "decoder_start_token_id", "bos_token_id")
    end = _first(model, "eos_token_id", "sep_token_id", "pad_token_id")
    if start is None or end is None:
        raise PixwardError(f"{name} does not say which tokens start and end a text: set decoder_start_token_id and eos")
    encoder = getattr(model.config, "encoder", None) or getattr(model.config, "vision_config", model.config)
    size = getattr(encoder, "image_size", 224)
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    said: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):  # the file is optional
        from transformers.image_processing_base import ImageProcessingMixin

        said, _ = ImageProcessingMixin.get_image_processor_dict(name)
    mean, std = (tuple(said.get(key) or (0.5, 0.5, 0.5)) for key in ("image_mean", "image_std"))
    return HubSettings(start, end, length, (height, width), mean, std)


def _first(model: Any, *names: str) -> int | None:
    """The first of these tokens that the model, its way of generating or its decoder knows."""
    for name in names:
        for config in (model.config, model.generation_config, getattr(model.config, "decoder", None)):
            value = getattr(config, name, None)
            if value is not None:
                return int(value[0] if isinstance(value, list) else value)
    return None
