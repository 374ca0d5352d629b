"""Panoptic maps as a task of tokens: the codes of a small VQ-VAE, the reward for its maps, and panoptic quality.

A map is as many codes as the VQ-VAE (:class:`pixward.policies.vqvae.PanopticCodes`) has places, never fewer; what a
policy says is decoded, without gradients, and compared with the truth. No policy can be better than the codes are:
:func:`ceiling` is the quality of the truth, encoded and decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.boxes import Segments
from pixward.data.tokens import END
from pixward.metrics.vision import PanopticCounts, match_segments, panoptic_counts, panoptic_quality
from pixward.policies.vqvae import PanopticCodes, VqSettings
from pixward.predict.drawing import draw_segments
from pixward.predict.task import Shown, Source
from pixward.rewards.vision import panoptic
from pixward.train.task import RewardTask
from pixward.train.workers import Batch, Precision
from pixward.types import Decoding, Samples

LARGEST = 512
"""Maps are drawn for at most so many pixels a side, and then enlarged."""


@dataclass(frozen=True)
class CodeTokens:
    """What a policy may say of a map: any code in any place, and never the end; code ``k`` is token ``k + 1``.

    Attributes:
        codes: size of the dictionary.
        length: tokens of a map.
    """

    codes: int
    length: int

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, the end included."""
        return self.codes + 1

    def allowed(self, tokens: Tensor) -> Tensor:
        """Which tokens may follow ``tokens`` ``(N, t)``: every code; ``(N, vocabulary)`` bool."""
        return (torch.arange(self.vocabulary, device=tokens.device) != END).expand(len(tokens), -1)

    def allowed_along(self, tokens: Tensor) -> Tensor:
        """The same for each place of ``tokens`` ``(N, L)``: ``(N, L, vocabulary)``."""
        return self.allowed(tokens)[:, None].expand(-1, tokens.shape[1], -1)


# --- rewards ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PanopticOutcome:
    """What maps earn and why, ``(N,)`` each.

    Attributes:
        reward: see :func:`pixward.rewards.vision.panoptic`.
        segments: that the map has.
        matches: of those, which match a true one.
        false_positives: which match none; each costs.
        false_negatives: true ones that no segment matches.
        worth: of each segment, ``(N, P)``: its overlap if it matches, else minus its cost; they add up to the reward.
    """

    reward: Tensor
    segments: Tensor
    matches: Tensor
    false_positives: Tensor
    false_negatives: Tensor
    worth: Tensor


def outcome_of(output: Segments, target: Segments, cost: float = 0.3) -> PanopticOutcome:
    """The reward of each map and what it is made of.

    Raises:
        ValueError: see :func:`pixward.metrics.vision.match_segments`.
    """
    match = match_segments(output, target)
    return PanopticOutcome(
        panoptic(output, target, cost).float(),
        areas(output).gt(0).sum(1),
        (match.iou > 0).sum(1),
        match.false_positive.sum(1),
        match.false_negative.sum(1),
        (match.iou - cost * match.false_positive).float(),
    )


def areas(segments: Segments) -> Tensor:
    """Pixels of each segment, ``(B, S)`` int64; 0 for padding."""
    count, width = len(segments), segments.labels.shape[1] + 1
    index = segments.ids + width * torch.arange(count, device=segments.ids.device)[:, None, None]
    return index.flatten().bincount(minlength=count * width).view(count, width)[:, 1:]


@dataclass(eq=False)
class PanopticReward:
    """A reward for tokens ``(B, K, L)`` and a batch with ``segments``; see :func:`pixward.rewards.vision.panoptic`.

    The outcome of the last tokens is kept: decoding is most of the work, and monitors ask for the same again.

    Attributes:
        decode: tokens ``(N, L)`` to maps.
        cost: of a segment that matches nothing.
    """

    decode: Callable[[Tensor], Segments]
    cost: float = 0.3
    _last: tuple[Tensor, Batch, Segments, PanopticOutcome] | None = field(default=None, init=False, repr=False)

    __name__ = "panoptic"

    def __call__(self, tokens: Tensor, batch: Batch) -> Tensor:
        """``(B, K)``."""
        return self.outcome(tokens, batch).reward.view(tokens.shape[:2])

    def outcome(self, tokens: Tensor, batch: Batch) -> PanopticOutcome:
        """Of all ``B * K`` maps."""
        if self._last is None or self._last[0] is not tokens or self._last[1] is not batch:
            target, said = batch["segments"].repeat(tokens.shape[1]), self.decode(tokens.flatten(0, 1))
            self._last = tokens, batch, said, outcome_of(said, target, self.cost)
        return self._last[3]

    def nearby(self, tokens: Tensor, batch: Batch) -> Tensor:
        """What the segments are worth that can be seen in the cell of each token, ``(B, K, L)``."""
        outcome = self.outcome(tokens, batch)
        assert self._last is not None
        ids, side = self._last[2].ids, math.isqrt(tokens.shape[2])
        there = F.one_hot(ids, outcome.worth.shape[1] + 1)[..., 1:].movedim(3, 1).float()
        shown = F.max_pool2d(there, ids.shape[1] // side)
        return torch.einsum("npij,np->nij", shown, outcome.worth).reshape(tokens.shape)


# --- the task as a whole --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PanopticTask:
    """Panoptic maps; a :class:`pixward.predict.task.PredictTask`.

    Attributes:
        codes: between maps and tokens. It is no part of the policy and does not learn.
        names: of the classes, things first.
        cost: of a segment that matches nothing.
        precision: of the codes' convolutions. ``bf16`` takes a third of the time on processors that know it, and
            decides otherwise for less than one pixel in a hundred.
        local: judge each token by the segments in its own cell alone. The paper judges all of them by the whole map,
            of which one token decides little: a gradient from few samples is noise then.
    """

    codes: PanopticCodes
    names: tuple[str, ...]
    cost: float = 0.3
    precision: Precision = "no"
    local: bool = False

    name = "panoptic"
    channels = 3

    def __post_init__(self) -> None:
        """Raises ValueError unless each class of the codes has its name."""
        if len(self.names) != self.codes.settings.classes:
            raise ValueError(f"the codes have {self.codes.settings.classes} classes, {len(self.names)} names are given")
        self.codes.eval().requires_grad_(False)

    @property
    def kind(self) -> CodeTokens:
        """How maps are told."""
        return CodeTokens(self.codes.settings.codes, self.codes.length)

    @torch.no_grad()
    def encode(self, segments: Segments) -> Tensor:
        """Tokens ``(B, length)`` of maps; raises ValueError as :meth:`PanopticCodes.encode`."""
        with _autocast(segments.ids.device, self.precision):
            return self.codes.to(segments.ids.device).encode(segments)

    @torch.no_grad()
    def decode(self, tokens: Tensor, size: tuple[int, int] | None = None) -> Segments:
        """Maps of ``tokens`` ``(B, length)``, for ``size`` (height, width) or, if None, as large as the codes'."""
        with _autocast(tokens.device, self.precision):
            return self.codes.to(tokens.device).decode(tokens, size)

    def lessons(self, source: Source, batch: int, seed: int = 0) -> Callable[[int], Batch]:
        """Batches of ``batch`` new pictures, ``images`` and ``tokens``; a picture has one map, so ``seed`` is idle."""

        def draw(index: int) -> Batch:
            shown = source.batch(range(index * batch, (index + 1) * batch))
            return {"images": shown.images, "tokens": self.encode(shown.segments)}

        return draw

    def rewarded(self, source: Source, batch: int) -> RewardTask:
        """Pictures with their ``segments``, the reward, and how many segments are said, found, false and missed."""

        def draw(index: int) -> Batch:
            shown = source.batch(range(index * batch, (index + 1) * batch))
            return {"images": shown.images, "segments": shown.segments}

        reward = PanopticReward(self.decode, self.cost)

        def count(name: str) -> Callable[[Samples, Batch], Tensor]:
            return lambda samples, batch: getattr(reward.outcome(samples.tokens, batch), name)

        monitors: dict[str, Callable[[Samples, Batch], Tensor]] = {
            "segments": count("segments"),
            "found": count("matches"),
            "false_segments": count("false_positives"),
            "missed": count("false_negatives"),
        }
        return RewardTask(draw, [reward], (), monitors, returns=reward.nearby if self.local else None)

    @torch.no_grad()
    def evaluate(
        self,
        policy: nn.Module,
        source: Source,
        count: int = 500,
        decoding: Decoding | None = None,
        batch: int = 50,
    ) -> dict[str, float]:
        """Figures on the first ``count`` pictures of ``source``: panoptic quality, reward, segments per picture.

        ``pq``, ``sq`` and ``rq`` are means over classes in [0, 1], with ``_things`` and ``_stuff`` over those only;
        what begins with ``greedy_`` is a mean over pictures.
        """
        policy.eval()
        device = next(policy.parameters()).device
        drawing = decoding or Decoding(0)

        def answers() -> Iterable[tuple[Segments, Segments]]:
            for first in range(0, count, batch):
                shown = source.batch(range(first, min(first + batch, count)))
                generator = torch.Generator().manual_seed(first)
                said = policy.sample(shown.images.to(device), 1, drawing, generator)  # type: ignore[operator]
                yield self.decode(said.tokens[:, 0]).to("cpu"), shown.segments

        return figures(answers(), self.codes.settings, self.cost)

    def show(self, policy: nn.Module, image: Tensor, decoding: Decoding | None = None) -> Shown:
        """The segments that ``policy`` sees in ``image`` ``(3, H, W)``, any size, drawn on it.

        ``said["segments"]`` has ``label``, ``thing``, ``share`` of the picture's pixels and ``box`` in pixels, ends
        exclusive, ``x0 y0 x1 y1``; the largest first.
        """
        side, (height, width) = self.codes.settings.image, image.shape[1:]
        device = next(policy.parameters()).device
        small = F.interpolate(image[None].to(device), (side, side), mode="bilinear", antialias=True).clamp(0, 1)
        generator = torch.Generator().manual_seed(0)
        said = policy.sample(small, 1, decoding or Decoding(0), generator)  # type: ignore[operator]
        scale = min(1.0, LARGEST / max(height, width))
        segments = self.decode(said.tokens[:, 0], (max(1, round(scale * height)), max(1, round(scale * width))))
        ids = F.interpolate(segments.ids[None].double(), (height, width), mode="nearest-exact")[0].long()
        segments = Segments(ids, segments.labels, segments.valid).to("cpu")
        found = [self._told(segments, k) for k in areas(segments)[0].argsort(descending=True).tolist()]
        picture = draw_segments(image.cpu(), segments, self.names)
        return Shown(picture, {"task": self.name, "segments": [told for told in found if told is not None]})

    def describe(self) -> dict[str, Any]:
        """Names, costs and the codes' shape; their weights are :meth:`tensors`."""
        return {
            "task": self.name,
            "names": list(self.names),
            "things": self.codes.settings.things,
            "cost": self.cost,
            "precision": self.precision,
            "codes": asdict(self.codes.settings),
        }

    def tensors(self) -> dict[str, Tensor]:
        """The codes' weights, which travel with a policy's."""
        return self.codes.state_dict()

    @staticmethod
    def from_description(description: dict[str, Any], tensors: dict[str, Tensor]) -> PanopticTask:
        """The inverse of :meth:`describe` and :meth:`tensors`; KeyError, TypeError or RuntimeError if they fit none."""
        codes = PanopticCodes(VqSettings(**description["codes"]))
        codes.load_state_dict(tensors)
        return PanopticTask(codes, tuple(description["names"]), description["cost"], description["precision"])

    def _told(self, segments: Segments, k: int) -> dict[str, Any] | None:
        mask = segments.ids[0] == k + 1
        if not bool(mask.any()):
            return None
        rows, columns = (mask.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
        label = int(segments.labels[0, k])
        return {
            "label": self.names[label],
            "thing": label < self.codes.settings.things,
            "share": round(float(mask.double().mean()), 4),
            "box": [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1],
        }


# --- figures ------------------------------------------------------------------------------------------------------


def figures(answers: Iterable[tuple[Segments, Segments]], settings: VqSettings, cost: float = 0.3) -> dict[str, float]:
    """Figures of maps and their truth, batch by batch; see :meth:`PanopticTask.evaluate`."""
    counts: PanopticCounts | None = None
    sums: dict[str, float] = {}
    pictures = 0
    for output, target in answers:
        more = panoptic_counts(output, target, settings.classes)
        counts = more if counts is None else counts + more
        outcome = outcome_of(output, target, cost)
        for name in ("reward", "segments", "matches", "false_positives", "false_negatives"):
            sums[name] = sums.get(name, 0.0) + getattr(outcome, name).sum().item()
        pictures += len(output)
    if counts is None:
        raise ValueError("there is no picture to measure")
    made: dict[str, float] = {}
    parts = {"": slice(None), "_things": slice(settings.things), "_stuff": slice(settings.things, None)}
    for name, part in parts.items():
        quality = panoptic_quality(_part(counts, part))
        made |= {f"pq{name}": quality.pq, f"sq{name}": quality.sq, f"rq{name}": quality.rq}
    return made | {f"greedy_{name}": value / pictures for name, value in sums.items()}


@torch.no_grad()
def ceiling(
    codes: PanopticCodes, source: Source, count: int = 200, precision: Precision = "no", batch: int = 50
) -> dict[str, float]:
    """What a policy could reach at most: :func:`figures` of the truth of ``count`` pictures, encoded and decoded."""

    def answers() -> Iterable[tuple[Segments, Segments]]:
        for first in range(0, count, batch):
            truth = source.batch(range(first, min(first + batch, count))).segments
            with _autocast(truth.ids.device, precision):
                yield codes.decode(codes.encode(truth)), truth

    return figures(answers(), codes.settings)


def _autocast(device: torch.device, precision: Precision) -> torch.autocast:
    kinds = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(device.type, kinds[precision], enabled=precision != "no")


def _part(counts: PanopticCounts, part: slice) -> PanopticCounts:
    return PanopticCounts(
        counts.iou[part],
        counts.true_positives[part],
        counts.false_positives[part],
        counts.false_negatives[part],
    )
