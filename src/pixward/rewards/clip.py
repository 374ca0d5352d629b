"""Rewards by CLIP: how well a picture would be liked (LAION's aesthetic predictor), and how well it fits its prompt.

Weights are the user's: CLIP as ``transformers`` loads it, the head ``sac+logos+ava1-l14-linearMSE.pth`` for ViT-L/14.
Gradients flow to the pictures, so both may be climbed directly as well.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.errors import PixwardError

MEAN = (0.48145466, 0.4578275, 0.40821073)
"""What CLIP's preparation subtracts from each channel in [0, 1]."""
STD = (0.26862954, 0.26130258, 0.27577711)
"""What it divides by after that."""

_HEAD_HELP = "give sac+logos+ava1-l14-linearMSE.pth of LAION's improved-aesthetic-predictor, or one that fits your CLIP"


class Clip(nn.Module):
    """Pictures and texts as directions in one space, by a ``CLIPModel`` of ``transformers``."""

    def __init__(self, model: nn.Module, tokenizer: Any = None) -> None:
        super().__init__()
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer

    @staticmethod
    def load(name: str | Path) -> Clip:
        """The model and its tokeniser from a folder, or by name: ``openai/clip-vit-large-patch14`` is the head's.

        Raises:
            PixwardError: transformers is missing, or there is no such model.
        """
        try:
            from transformers import AutoTokenizer, CLIPModel
        except ImportError:
            raise PixwardError("rewards by CLIP need transformers: pip install 'pixward[denoise]'") from None
        try:
            return Clip(CLIPModel.from_pretrained(str(name)), AutoTokenizer.from_pretrained(str(name)))
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise PixwardError(f"cannot load CLIP from {name}: {reason}") from error

    def images(self, images: Tensor) -> Tensor:
        """Directions ``(B, D)``, length 1, of pictures ``(B, 3, H, W)`` in [0, 1]; gradients flow.

        The shorter side is resized to what the model reads (bicubic, with antialiasing), the middle cut out. Unlike
        CLIP's own preparation nothing is rounded to 8 bits.

        Raises:
            ValueError: another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"CLIP reads pictures (B, 3, H, W), got {tuple(images.shape)}")
        weight = next(self.model.vision_model.parameters())
        pixels = prepared(images.to(weight.device), int(self.model.config.vision_config.image_size))
        pooled = self.model.vision_model(pixel_values=pixels.to(weight.dtype)).pooler_output
        return F.normalize(self.model.visual_projection(pooled).float(), dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Directions ``(B, D)``, length 1, of texts, cut to what the model reads.

        Raises:
            PixwardError: it has no tokeniser.
        """
        if self.tokenizer is None:
            raise PixwardError("this CLIP has no tokeniser, so it reads no texts: give one, or use Clip.load")
        config = self.model.config.text_config
        said = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=config.max_position_embeddings, return_tensors="pt"
        ).to(next(self.model.text_model.parameters()).device)
        pooled = self.model.text_model(input_ids=said["input_ids"], attention_mask=said["attention_mask"]).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=-1)


@dataclass(frozen=True)
class Aesthetic:
    """LAION's aesthetic score: a linear map of a picture's direction; about 1 to 10 for photos.

    Attributes:
        embed: pictures ``(B, 3, H, W)`` in [0, 1] to directions ``(B, D)``: :meth:`Clip.images`.
        head: ``(B, D)`` to ``(B, 1)``: :func:`load_aesthetic_head`.
    """

    embed: Callable[[Tensor], Tensor]
    head: nn.Module

    def __call__(self, output: Tensor, target: object = None) -> Tensor:
        """Scores ``(B,)`` float32 of pictures ``(B, 3, H, W)`` in [0, 1]; ``target`` is not looked at."""
        return self.head(self.embed(output)).squeeze(-1).to(output.device)


@dataclass(frozen=True)
class ClipSimilarity:
    """The cosine between a picture and its prompt, in [-1, 1]: prompt alignment without a language model.

    CLIPScore (Hessel et al., EMNLP 2021) is 2.5 times its positive part.
    """

    clip: Clip

    def __call__(self, output: Tensor, target: Sequence[str]) -> Tensor:
        """Scores ``(B,)`` float32 of pictures ``(B, 3, H, W)`` in [0, 1] for their prompts ``target``."""
        if len(output) != len(target):
            raise ValueError(f"{len(output)} pictures need as many prompts, got {len(target)}")
        return (self.clip.images(output) * self.clip.texts(target)).sum(-1).to(output.device)


def load_aesthetic(clip: str | Path, head: str | Path, device: str = "cpu") -> Aesthetic:
    """The aesthetic reward from the user's weights: CLIP's folder or name, and the head's file; put on ``device``.

    Raises:
        PixwardError: one of them cannot be loaded, or they do not fit each other.
    """
    model, linear = Clip.load(clip).to(device), load_aesthetic_head(head).to(device)
    width = int(model.model.config.projection_dim)
    if linear.in_features != width:
        raise PixwardError(f"{head} reads {linear.in_features} numbers, the CLIP {clip} gives {width}: {_HEAD_HELP}")
    return Aesthetic(model.images, linear)


def load_aesthetic_head(path: str | Path) -> nn.Linear:
    """LAION's head from its file, ``.pth`` or ``.safetensors``, as the one linear map that it is.

    Its layers, 768 to 1024, 128, 64, 16 and 1, have dropout between them and no activations: once trained they are
    one matrix, which is multiplied out here in double precision.

    Raises:
        PixwardError: no such file, or its layers do not form a chain that ends in one number.
    """
    state = _head_state(Path(path))
    order = sorted({int(key.split(".")[1]) for key in state if key.startswith("layers.") and key.endswith(".weight")})
    if not order or any(f"layers.{i}.bias" not in state for i in order):
        raise PixwardError(f"{path} holds no layers.N.weight and layers.N.bias: {_HEAD_HELP}")
    matrix, offset = state[f"layers.{order[0]}.weight"].double(), state[f"layers.{order[0]}.bias"].double()
    for i in order[1:]:
        weight, bias = state[f"layers.{i}.weight"].double(), state[f"layers.{i}.bias"].double()
        if weight.shape[1] != matrix.shape[0]:
            raise PixwardError(
                f"{path}: layer {i} reads {weight.shape[1]} numbers, not {matrix.shape[0]}: {_HEAD_HELP}"
            )
        matrix, offset = weight @ matrix, weight @ offset + bias
    if matrix.shape[0] != 1 or not bool(matrix.isfinite().all() and offset.isfinite().all()):
        raise PixwardError(f"{path} does not end in one finite number: {_HEAD_HELP}")
    linear = nn.Linear(matrix.shape[1], 1).requires_grad_(False)
    linear.weight.copy_(matrix)
    linear.bias.copy_(offset)
    return linear.eval()


def prepared(images: Tensor, size: int) -> Tensor:
    """CLIP's preparation of ``(B, 3, H, W)`` in [0, 1]: resized, the middle ``(size, size)``, normalised."""
    height, width = images.shape[-2:]
    # The shorter side becomes `size`; the longer is cut down to a whole number, as CLIP's own code does.
    scaled = (max(size, height * size // min(height, width)), max(size, width * size // min(height, width)))
    if scaled != (height, width):
        images = F.interpolate(images, scaled, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    cut = images[..., top : top + size, left : left + size]
    return (cut - cut.new_tensor(MEAN).view(3, 1, 1)) / cut.new_tensor(STD).view(3, 1, 1)


def _head_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise PixwardError(f"there is no aesthetic head at {path}: {_HEAD_HELP}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # Tensors only: a .pth from anywhere may otherwise run any code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise PixwardError(f"{path} cannot be read as weights: {_HEAD_HELP}") from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise PixwardError(f"{path} cannot be read as weights: {_HEAD_HELP}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise PixwardError(f"{path} holds no weights: {_HEAD_HELP}")
    return state
