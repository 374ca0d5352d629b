"""Captions as a task of tokens: words one by one, CIDEr-D as the reward, figures of what they say.

A caption's end is no word: neither the reward nor any figure here counts it. Document frequencies are those of the
training captions, counted once, so that the reward of a caption does not hang on the batch that it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from pixward.data.synth import Scene, Scenes
from pixward.data.tokens import END, WordTokens, words
from pixward.errors import PixwardError
from pixward.image import from_tensor, resize_to, to_tensor
from pixward.metrics.text import DocumentFrequencies, cider_d
from pixward.predict.task import Shown, Source
from pixward.predict.truth import facts
from pixward.train.task import RewardTask
from pixward.train.workers import mixed
from pixward.types import Decoding, Samples

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class CaptionReward:
    """CIDEr-D of tokens ``(B, K, L)`` for a batch with ``references`` ``(B, R, L')``, word ids; in [0, 10].

    Attributes:
        frequencies: of the n-grams of training captions.
    """

    frequencies: DocumentFrequencies

    __name__ = "cider_d"

    def __call__(self, tokens: Tensor, batch: Batch) -> Tensor:
        """``(B, K)``."""
        target = batch["references"].repeat_interleave(tokens.shape[1], 0)
        frequencies = self.frequencies.to(tokens.device)
        return cider_d(tokens.flatten(0, 1), target, frequencies).view(tokens.shape[:2]).float()


@dataclass(frozen=True)
class CaptionTask:
    """A sentence about a picture; a :class:`pixward.predict.task.PredictTask`.

    Attributes:
        kind: the words.
        frequencies: in how many training pictures' captions each n-gram of these words occurs.
        columns: captions of one picture in a lesson. The picture is encoded once for all of them.
    """

    kind: WordTokens
    frequencies: DocumentFrequencies = field(compare=False)
    columns: int = 3

    name = "caption"
    channels = 3

    @staticmethod
    def of(source: Source, count: int = 2_000, length: int = 20, minimum: int = 1, columns: int = 3) -> CaptionTask:
        """The words and frequencies of the first ``count`` pictures of ``source``: the training split.

        Args:
            source: pictures with captions.
            count: how many to read.
            length: tokens of a sequence.
            minimum: times that a word must occur to be known.
            columns: see the class.

        Raises:
            PixwardError: no word is that frequent.
        """
        captions: list[list[str]] = []
        for first in range(0, count, 100):
            captions += source.batch(range(first, min(first + 100, count))).captions
        kind = WordTokens.of((caption for told in captions for caption in told), length, minimum)
        return CaptionTask(kind, DocumentFrequencies.of(references(kind, captions)), columns)

    @staticmethod
    def from_description(description: Mapping[str, Any]) -> CaptionTask:
        """The inverse of :meth:`describe`; raises KeyError or TypeError for what it did not say."""
        ngrams = description["ngrams"]
        keys = torch.tensor(list(map(int, ngrams["keys"])), dtype=torch.int64)
        counts = torch.tensor(list(map(float, ngrams["counts"])), dtype=torch.float64)
        kind = WordTokens(tuple(description["words"]), int(description["length"]))
        return CaptionTask(
            kind, DocumentFrequencies(keys, counts, int(ngrams["pictures"])), int(description["columns"])
        )

    @property
    def reward(self) -> CaptionReward:
        """What a caption earns."""
        return CaptionReward(self.frequencies)

    def lessons(self, source: Source, batch: int, seed: int = 0) -> Callable[[int], Batch]:
        """Batches with ``columns`` of each picture's captions, ``tokens`` ``(B, columns, L)``, drawn by their number.

        A caption with a word that is not known has weight 0, as no policy may say it; a picture with fewer captions has
        rows of weight 0.
        """

        def draw(index: int) -> Batch:
            generator = torch.Generator().manual_seed(mixed(seed, index))
            shown = source.batch(range(index * batch, (index + 1) * batch))
            chosen = [_drawn(told, self.columns, generator) for told in shown.captions]
            tokens = references(self.kind, chosen, self.columns)[..., : self.kind.length]
            tokens = torch.nn.functional.pad(tokens, (0, self.kind.length - tokens.shape[-1]), value=END)
            fine = (tokens != self.kind.UNKNOWN).all(2, keepdim=True) & (tokens != END).any(2, keepdim=True)
            tokens = torch.where(fine, tokens, END)
            return {"images": shown.images, "tokens": tokens, "weights": fine.float().expand_as(tokens)}

        return draw

    def rewarded(self, source: Source, batch: int) -> RewardTask:
        """CIDEr-D; monitors of how long captions are, how much they repeat themselves and how many are true.

        Truth is known of made-up scenes only.
        """

        def draw(index: int) -> Batch:
            shown = source.batch(range(index * batch, (index + 1) * batch))
            told = references(self.kind, shown.captions)
            return {"images": shown.images, "references": told, "scenes": shown.scenes}

        monitors: dict[str, Callable[[Samples, Batch], Tensor]] = {
            "sampled_words": lambda samples, _: (samples.tokens != END).sum(2),
            "sampled_repeated_words": lambda samples, _: repeated_words(samples.tokens),
        }
        if isinstance(source, Scenes):
            classes = source.settings.classes
            monitors["sampled_truth"] = lambda samples, batch: self.truth(samples.tokens, batch["scenes"], classes)[0]
        return RewardTask(draw, [self.reward], (), monitors)

    def truth(self, tokens: Tensor, scenes: Sequence[Scene], classes: Sequence[str]) -> Tensor:
        """Whether captions ``(B, K, L)`` are true, how many facts they tell and how many false ones: ``(3, B, K)``.

        True is a caption that tells a fact and no false one; see :func:`pixward.predict.truth.facts`.
        """
        told = [
            [facts(text, scene, classes) for text in self.kind.decode(rows)]
            for rows, scene in zip(tokens, scenes, strict=True)
        ]
        told_of, false = torch.tensor(told, dtype=torch.float32).unbind(2)
        return torch.stack([((told_of > 0) & (false == 0)).float(), told_of, false])

    @torch.no_grad()
    def evaluate(
        self, policy: nn.Module, source: Source, count: int = 500, decoding: Decoding | None = None, batch: int = 50
    ) -> dict[str, float]:
        """CIDEr-D and what else tells good captions from bad, means over the first ``count`` pictures of ``source``.

        ``reference_cider_d`` is what the first caption of each picture earns against the others. ``truth``, the share
        of captions that tell facts and no false one, and their ``facts`` and ``false_facts`` are known of made-up
        scenes only.
        """
        device = next(policy.parameters()).device
        policy.eval()
        said: list[Tensor] = []
        sums: dict[str, float] = {}
        for first in range(0, count, batch):
            shown = source.batch(range(first, min(first + batch, count)))
            tokens = self._say(policy, shown.images.to(device), decoding, first).cpu()
            target = references(self.kind, shown.captions)
            figures = {
                "cider_d": self.reward(tokens[:, None], {"references": target}),
                "reference_cider_d": _among_themselves(target, self.frequencies),
                "words": (tokens != END).sum(1).float(),
                "repeated_words": repeated_words(tokens),
            }
            if isinstance(source, Scenes):
                known = self.truth(tokens[:, None], shown.scenes, source.settings.classes)
                figures |= dict(zip(("truth", "facts", "false_facts"), known, strict=True))
            for name, values in figures.items():
                sums[name] = sums.get(name, 0.0) + values.sum().item()
            said.append(tokens)
        everything = torch.cat(said)
        distinct = {
            "distinct_words": float(len(everything[everything != END].unique())),
            "distinct_captions": len(everything.unique(dim=0)) / count,
        }
        return {name: value / count for name, value in sums.items()} | distinct

    @torch.no_grad()
    def show(self, policy: nn.Module, image: Tensor, decoding: Decoding | None = None) -> Shown:
        """The words that ``policy`` says of ``image`` ``(3, H, W)``, any size, written below it."""
        side = policy.settings.image  # type: ignore[union-attr]
        device = next(policy.parameters()).device
        small = resize_to(image[None].to(device), (side, side)).clamp(0, 1)  # type: ignore[arg-type]
        text = self.kind.decode(self._say(policy, small, decoding, 0))[0]
        return Shown(write_below(image.cpu(), text), {"task": self.name, "caption": text})

    def describe(self) -> dict[str, Any]:
        """Words, sizes, and the n-grams' frequencies; one that occurs once weighs as much as one that never does."""
        kept = self.frequencies.counts > 1
        return {
            "task": self.name,
            "words": list(self.kind.known),
            "length": self.kind.length,
            "columns": self.columns,
            "ngrams": {
                "pictures": self.frequencies.documents,
                "keys": self.frequencies.keys[kept].tolist(),
                "counts": self.frequencies.counts[kept].long().tolist(),
            },
        }

    def _say(self, policy: nn.Module, images: Tensor, decoding: Decoding | None, seed: int) -> Tensor:
        """One caption's tokens for each picture, ``(B, L)``."""
        generator = torch.Generator().manual_seed(seed)
        samples: Samples = policy.sample(images, 1, decoding or Decoding(0), generator)  # type: ignore[operator]
        return samples.tokens[:, 0]


# --- words --------------------------------------------------------------------------------------------------------


def references(kind: WordTokens, captions: Sequence[Sequence[str]], rows: int = 0) -> Tensor:
    """Word ids ``(B, R, L')`` of each picture's captions, none of them cut; zeros where a picture has fewer.

    Args:
        kind: the words.
        captions: of each picture.
        rows: R; the most that a picture has if 0.

    Raises:
        PixwardError: a picture without a caption that has words, with its item.
    """
    rows = rows or max((len(told) for told in captions), default=0)
    longest = max((len(words(caption)) for told in captions for caption in told), default=0)
    filled = [caption for told in captions for caption in [*told, *[""] * (rows - len(told))]]
    out = replace(kind, length=max(1, longest)).encode(filled).view(len(captions), rows, -1)
    empty = (~(out != END).flatten(1).any(1)).nonzero()
    if len(empty):
        raise PixwardError(f"item {int(empty[0])} has no caption with words: leave it out or write one")
    return out


def repeated_words(tokens: Tensor) -> Tensor:
    """Share of the words of each caption ``(..., L)`` that occurred in it before, in [0, 1]."""
    there = tokens != END
    before = ((tokens[..., :, None] == tokens[..., None, :]) & there[..., None, :]).tril(-1).any(-1)
    return (before & there).sum(-1) / there.sum(-1).clamp_min(1)


def _among_themselves(target: Tensor, frequencies: DocumentFrequencies) -> Tensor:
    """CIDEr-D of each picture's first caption against its others, 0 where it has none; ``(B,)``."""
    others = target[:, 1:]
    fine = (others != END).flatten(1).any(1)
    out = torch.zeros(len(target), dtype=torch.float64)
    if bool(fine.any()):
        out[fine] = cider_d(target[fine, 0], others[fine], frequencies)
    return out


def _drawn(told: Iterable[str], count: int, generator: torch.Generator) -> list[str]:
    """``count`` of the captions in random order, all if there are no more."""
    captions = list(told)
    return [captions[i] for i in torch.randperm(len(captions), generator=generator)[:count].tolist()]


def write_below(image: Tensor, text: str) -> Tensor:
    """The picture ``(3, H, W)`` with ``text`` on a light strip below it, broken into lines: ``(3, H + strip, W)``."""
    width = image.shape[2]
    font = ImageFont.load_default(size=max(8, round(width / 22)))
    pad = max(2, round(width / 60))
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width - 2 * pad or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    step = sum(font.getmetrics()) if isinstance(font, ImageFont.FreeTypeFont) else 12
    strip = Image.new("RGB", (width, len(lines) * step + 2 * pad), (245, 245, 245))
    draw = ImageDraw.Draw(strip)
    for row, line in enumerate(lines):
        draw.text((pad, pad + row * step), line, font=font, fill=(20, 20, 20))
    top = from_tensor(image[None])
    return to_tensor(np.concatenate([top, np.asarray(strip)], 0))[0]
