"""Prompt alignment: does a picture show what its prompt asks for?

DDPO's reward (section 5.3) has a vision-language model say what it sees and compares that with the prompt by
BERTScore: :class:`CaptionAlignment` of :class:`Captioner` and :class:`pixward.metrics.bertscore.BertScore`. Those take
a large GPU. :class:`ClassAlignment`, by a small classifier, and :class:`pixward.rewards.clip.ClipSimilarity` do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pixward.data.worlds import read_prompts
from pixward.errors import PixwardError
from pixward.metrics.bertscore import TextScores

QUESTION = "Answer concisely: what is going on in this image?"
"""What DDPO asks the vision-language model."""
REFERENCE = "The image contains {prompt}"
"""What DDPO holds against the answer."""


@dataclass(frozen=True)
class ClassAlignment:
    """The log-probability that a classifier gives to what the prompt names.

    Attributes:
        classifier: pictures ``(B, 3, H, W)`` in [0, 1] to logits ``(B, n)``, those of the groups side by side.
        groups: phrases of which a prompt says at most one each, such as :attr:`pixward.data.worlds.World.groups`;
            ``n`` in all. The groups are taken as independent, and one of which a prompt says none does not count.
    """

    classifier: Callable[[Tensor], Tensor]
    groups: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Raises ValueError for no groups, or one without phrases."""
        if not self.groups or not all(self.groups):
            raise ValueError(f"alignment needs groups of phrases, none of them empty, got {self.groups}")

    def __call__(self, output: Tensor, target: Sequence[str]) -> Tensor:
        """Scores ``(B,)`` float32, at most 0, of pictures ``(B, 3, H, W)`` for their prompts; gradients flow.

        Raises:
            PixwardError: a prompt that names nothing of any group, or logits of another shape.
        """
        wanted = read_prompts(target, self.groups).to(output.device)
        mute = (wanted < 0).all(1).nonzero()
        if len(mute):
            known = ", ".join(phrase for group in self.groups for phrase in group[:3])
            raise PixwardError(f"the prompt {target[int(mute[0])]!r} names nothing that is known, such as {known}")
        parts = self._log_probs(output, len(target))
        # Where nothing is said, any index will do: its term is replaced by 0.
        terms = [part.gather(1, wanted[:, k : k + 1].clamp_min(0))[:, 0] for k, part in enumerate(parts)]
        return torch.where(wanted >= 0, torch.stack(terms, 1), 0).sum(1)

    def accuracy(self, output: Tensor, target: Sequence[str]) -> Tensor:
        """Whether the likeliest phrases are all those that the prompt says, ``(B,)`` float32, 0 or 1.

        What to watch beside a reward that can be had by pictures of nothing.
        """
        wanted = read_prompts(target, self.groups).to(output.device)
        seen = torch.stack([part.argmax(1) for part in self._log_probs(output, len(target))], 1)
        return ((seen == wanted) | (wanted < 0)).all(1).float()

    def _log_probs(self, output: Tensor, count: int) -> list[Tensor]:
        """One tensor ``(B, n_k)`` for each group."""
        logits, sizes = self.classifier(output), [len(group) for group in self.groups]
        if tuple(logits.shape) != (count, sum(sizes)) or len(output) != count:
            raise PixwardError(
                f"{len(output)} pictures, {count} prompts: the classifier must give {(count, sum(sizes))} logits for "
                f"its phrases, got {tuple(logits.shape)}"
            )
        return [F.log_softmax(part.float(), 1) for part in logits.split(sizes, 1)]


@dataclass(frozen=True)
class CaptionAlignment:
    """DDPO's reward: how much of the prompt a caption of the picture says, BERTScore's recall.

    Attributes:
        caption: pictures ``(B, 3, H, W)`` in [0, 1] to a caption each: :class:`Captioner`.
        score: candidates and references to scores: :class:`pixward.metrics.bertscore.BertScore`.
        reference: what the caption is held against; ``{prompt}`` stands for the prompt.
    """

    caption: Callable[[Tensor], Sequence[str]]
    score: Callable[[Sequence[str], Sequence[str]], TextScores]
    reference: str = REFERENCE

    def __call__(self, output: Tensor, target: Sequence[str]) -> Tensor:
        """Scores ``(B,)`` float32, at most 1, of pictures ``(B, 3, H, W)`` for their prompts; no gradients.

        Even noise gets about 0.8 of most language models, so only differences mean something.

        Raises:
            PixwardError: there is not one caption for each picture.
        """
        said = list(self.caption(output))
        if not len(said) == len(output) == len(target):
            raise PixwardError(f"{len(output)} pictures with {len(target)} prompts got {len(said)} captions")
        wanted = [self.reference.replace("{prompt}", prompt) for prompt in target]
        return self.score(said, wanted).recall.to(output.device)


class Captioner:
    """Captions by a vision-language model of ``transformers``, the likeliest word at each place.

    Args:
        model: one that generates text from pictures, such as LLaVA or BLIP.
        processor: its processor; where it has a chat template, the question is put in it, else pictures are captioned.
        question: what is asked.
        tokens: the most of an answer.
    """

    def __init__(self, model: nn.Module, processor: Any, question: str = QUESTION, tokens: int = 64) -> None:
        self.model: Any = model.eval().requires_grad_(False)
        self.processor, self.question, self.tokens = processor, question, tokens

    @staticmethod
    def load(name: str | Path, question: str = QUESTION) -> Captioner:
        """Model and processor from a folder, or by their name on the hub, such as ``llava-hf/llava-1.5-7b-hf``.

        Raises:
            PixwardError: transformers is missing, or there is no such model.
        """
        try:
            from transformers import AutoModelForImageTextToText, AutoProcessor
        except ImportError:
            raise PixwardError("captions need transformers: pip install 'pixward[denoise]'") from None
        try:
            model = AutoModelForImageTextToText.from_pretrained(str(name))
            return Captioner(model, AutoProcessor.from_pretrained(str(name)), question)
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise PixwardError(f"cannot load a model that captions from {name}: {reason}") from error

    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[str]:
        """A caption of each of ``(B, 3, H, W)`` in [0, 1]."""
        eight = (images.detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        pictures = [Image.fromarray(np.ascontiguousarray(picture)) for picture in eight]
        inputs = self._asked(pictures).to(next(self.model.parameters()).device)
        spoken = self.model.generate(**inputs, do_sample=False, max_new_tokens=self.tokens)
        if "input_ids" in inputs and not getattr(self.model.config, "is_encoder_decoder", False):
            spoken = spoken[:, inputs["input_ids"].shape[1] :]  # such models repeat the question first
        return [text.strip() for text in self.processor.batch_decode(spoken, skip_special_tokens=True)]

    def _asked(self, pictures: list[Image.Image]) -> Any:
        if getattr(self.processor, "chat_template", None) is None:
            return self.processor(images=pictures, return_tensors="pt")
        content = [{"type": "image"}, {"type": "text", "text": self.question}]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return self.processor(images=pictures, text=[text] * len(pictures), padding=True, return_tensors="pt")


def small_classifier(outputs: int, width: int = 32) -> nn.Sequential:
    """An untrained classifier of pictures ``(B, 3, H, W)`` in [0, 1], sides of 16 or more: ``(B, outputs)`` logits.

    Four convolutions, each of which halves the sides, then means and maxima over what is left: about 0.25 million
    weights at width 32. For :class:`ClassAlignment` ``outputs`` is the number of phrases of all groups.
    """
    widths = [3, width, 2 * width, 4 * width, 4 * width]
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.GroupNorm(8, outside), nn.SiLU()]
    return nn.Sequential(_Centred(), *layers, _Pooled(), nn.Linear(8 * width, outputs))


class _Centred(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1


class _Pooled(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
