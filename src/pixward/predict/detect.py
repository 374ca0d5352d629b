"""Detection as a task of tokens: lessons with false boxes, rewards, the confidence's loss, monitors, evaluation.

A box is six tokens, the last of which says whether it is right (:class:`pixward.data.tokens.BoxTokens`); the
probability of that token is the box's score. Pinto et al. (ICML 2023) learn it while rewards are learnt; here it is
learnt from the first lesson on, since a loss for tokens that were never seen outweighs every reward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pixward.boxes import Boxes
from pixward.data.false_boxes import lesson
from pixward.data.tokens import END, BoxTokens
from pixward.image import resize_to
from pixward.metrics.vision import coco_map
from pixward.predict.draw_boxes import boxes_said, draw_boxes
from pixward.predict.task import Shown, Source
from pixward.rewards.vision import RECALL, DetectionOutcome, DetectionSettings, detection_outcome
from pixward.train.task import RewardTask
from pixward.train.workers import mixed
from pixward.types import Decoding, Samples, Scores

Batch = Mapping[str, Any]

Rank = Literal["confidence", "class", "both", "none"]
"""What a box's score is: the probability of "right", that of its class, their product, or 1 for all."""


def lessons(kind: BoxTokens, scenes: Source, batch: int, seed: int = 0) -> Callable[[int], Batch]:
    """Batches for :func:`pixward.train.likelihood.likelihood`: ``batch`` new scenes each.

    The first half of a batch has the true boxes in random order and then the end. The second half has false boxes
    among them, of which only the confidence is learnt; there the end is not, or it would come late. Whether
    a box is called right is drawn with the probability that a confidence should have.
    """

    def draw(index: int) -> Batch:
        generator = torch.Generator().manual_seed(mixed(seed, index))
        shown = scenes.batch(range(index * batch, (index + 1) * batch))
        half = batch // 2
        clean = lesson(kind, shown.boxes.select(slice(0, half)), generator, jittered=0.0, extra=0)
        among = lesson(kind, shown.boxes.select(slice(half, batch)), generator)
        tokens, weights = torch.cat([clean.tokens, among.tokens]), torch.cat([clean.weights, among.weights])
        weights[half:] *= among.tokens != END
        sure = torch.cat([clean.confidence, among.confidence])
        valid = torch.cat([clean.valid, among.valid])
        right = torch.rand(sure.shape, generator=generator) < sure
        boxes = tokens.unflatten(1, (kind.boxes, 6))
        boxes[..., 5] = torch.where(valid, kind.WRONG + right.long(), boxes[..., 5])
        return {"images": shown.images, "tokens": tokens, "weights": weights}

    return draw


def pictures(scenes: Source, batch: int) -> Callable[[int], Batch]:
    """Batches for :func:`pixward.train.reinforce.reinforce`: ``images`` and the true ``boxes``."""

    def draw(index: int) -> Batch:
        shown = scenes.batch(range(index * batch, (index + 1) * batch))
        return {"images": shown.images, "boxes": shown.boxes}

    return draw


# --- rewards ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DetectionReward:
    """A reward for tokens ``(B, K, L)`` and a batch with ``boxes``; see :mod:`pixward.rewards.vision`.

    Attributes:
        kind: how boxes are told.
        settings: recall or mAP, and what duplicates and false boxes cost.
    """

    kind: BoxTokens
    settings: DetectionSettings = RECALL

    @property
    def __name__(self) -> str:
        """What the log calls it."""
        return "detection_recall" if self.settings.class_weights is None else "detection_map"

    def __call__(self, tokens: Tensor, batch: Batch) -> Tensor:
        """``(B, K)``."""
        return self.outcome(tokens, batch).reward.view(tokens.shape[:2])

    def marginal(self, tokens: Tensor, batch: Batch) -> Tensor:
        """What each box adds to the reward of those before it, ``(B, K, boxes)``; they add up to the reward."""
        flat = tokens.flatten(0, 1)
        places = torch.arange(flat.shape[1], device=flat.device) // 6
        # Sequence j is cut after j boxes.
        cut = torch.stack([torch.where(places < j, flat, END) for j in range(self.kind.boxes + 1)], 1)
        truth = batch["boxes"].repeat(tokens.shape[1] * (self.kind.boxes + 1))
        rewards = detection_outcome(self.kind.decode(cut.flatten(0, 1)), truth, self.settings).reward
        return rewards.view(*tokens.shape[:2], -1).diff(dim=2)

    def outcome(self, tokens: Tensor, batch: Batch) -> DetectionOutcome:
        """Of all ``B * K`` sequences."""
        said = self.kind.decode(tokens.flatten(0, 1))
        return detection_outcome(said, batch["boxes"].repeat(tokens.shape[1]), self.settings)


def reward_task(
    reward: DetectionReward, batches: Callable[[int], Batch], confidence: float = 0.3, discount: float | None = None
) -> RewardTask:
    """Everything that :func:`pixward.train.reinforce.reinforce` wants to know.

    The tokens of confidence are not reached by the policy gradient (in the paper's code they are, which its author
    calls a mistake without effect) but learn, with weight ``confidence``, how well a box fits. With ``discount`` a
    token is judged by what its own box adds to the reward, and by what later boxes add, discounted once for each box
    between: 1 leaves the gradient what it is on average, with less noise; 0 looks at the own box alone.
    """

    def returns(tokens: Tensor, batch: Batch) -> Tensor:
        ahead = reward.marginal(tokens, batch)
        for place in range(ahead.shape[2] - 2, -1, -1):
            ahead[..., place] += (discount or 0.0) * ahead[..., place + 1]
        return ahead.repeat_interleave(6, 2)

    def count(name: str) -> Callable[[Samples, Batch], Tensor]:
        return lambda samples, batch: getattr(reward.outcome(samples.tokens, batch), name)

    def not_confidence(tokens: Tensor) -> Tensor:
        return (torch.arange(tokens.shape[-1], device=tokens.device) % 6 != 5).expand_as(tokens)

    def auxiliary(batch: Batch, samples: Samples, scores: Scores) -> Tensor:
        return confidence * confidence_loss(reward, batch, samples, scores)

    monitors: dict[str, Callable[[Samples, Batch], Tensor]] = {
        "boxes": lambda samples, _: samples.mask.sum(2) // 6,
        "found": count("matches"),
        "duplicates": count("duplicates"),
        "false_boxes": count("false_positives"),
    }
    judged = None if discount is None else returns
    return RewardTask(batches, [reward], (), monitors, not_confidence, auxiliary if confidence > 0 else None, judged)


def confidence_loss(reward: DetectionReward, batch: Batch, samples: Samples, scores: Scores) -> Tensor:
    """Cross-entropy of the tokens of confidence with the overlap of each box and its object; a scalar.

    0 of (1 - q) for "wrong" and q for "right", q the intersection over union of a matched box and 0 of any other.
    """
    kind = reward.kind
    target = reward.outcome(samples.tokens, batch).confidence.view(*samples.tokens.shape[:2], kind.boxes)
    table, there = scores.table[..., 5::6, :], samples.mask[..., 5::6]
    right, wrong = (table[..., token].masked_fill(~there, 0) for token in (kind.RIGHT, kind.WRONG))
    return -(target * right + (1 - target) * wrong).sum() / there.sum().clamp_min(1)


# --- the task as a whole --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DetectTask:
    """Boxes, classes and confidences; a :class:`pixward.predict.task.PredictTask`.

    Attributes:
        names: of the classes.
        boxes: the most that a policy can say.
        steps: coordinates are multiples of ``1 / steps``.
        settings: the reward's.
        confidence: weight of the confidence's loss while rewards are learnt.
        discount: see :func:`reward_task`; None is the paper's.
    """

    names: tuple[str, ...]
    boxes: int = 10
    steps: int = 64
    settings: DetectionSettings = RECALL
    confidence: float = 0.3
    discount: float | None = None

    name = "detect"
    channels = 3

    @property
    def kind(self) -> BoxTokens:
        """How boxes are told."""
        return BoxTokens(len(self.names), self.boxes, self.steps)

    @property
    def reward(self) -> DetectionReward:
        """What found boxes earn."""
        return DetectionReward(self.kind, self.settings)

    def lessons(self, source: Source, batch: int, seed: int = 0) -> Callable[[int], Batch]:
        """See :func:`lessons`."""
        return lessons(self.kind, source, batch, seed)

    def rewarded(self, source: Source, batch: int) -> RewardTask:
        """See :func:`reward_task`."""
        return reward_task(self.reward, pictures(source, batch), self.confidence, self.discount)

    def evaluate(
        self, policy: nn.Module, source: Source, count: int = 500, decoding: Decoding | None = None
    ) -> dict[str, float]:
        """See :func:`evaluate`."""
        return evaluate(policy, self.reward, source, count, decoding)

    def show(self, policy: nn.Module, image: Tensor, decoding: Decoding | None = None) -> Shown:
        """The boxes that ``policy`` sees in ``image`` ``(3, H, W)``, any size, drawn on it.

        ``said["boxes"]`` has ``label``, ``score`` (the confidence) and ``box`` in pixels, ``x0 y0 x1 y1``; the surest
        first.
        """
        side = policy.settings.image  # type: ignore[union-attr]
        small = resize_to(image[None], (side, side)).clamp(0, 1).to(next(policy.parameters()).device)  # type: ignore[arg-type]
        found = detect(policy, self.kind, small, decoding).to("cpu")
        said = boxes_said(found, self.names, (image.shape[2], image.shape[1]))
        return Shown(draw_boxes(image, said, self.names), {"task": self.name, "boxes": said})

    def describe(self) -> dict[str, Any]:
        """Names and sizes."""
        return {"task": self.name, "names": list(self.names), "boxes": self.boxes, "steps": self.steps}


# --- use and evaluation -------------------------------------------------------------------------------------------


@torch.no_grad()
def detect(
    policy: nn.Module, kind: BoxTokens, images: Tensor, decoding: Decoding | None = None, rank: Rank = "confidence"
) -> Boxes:
    """The boxes that ``policy`` sees in ``images`` ``(B, 3, H, W)``, with scores; the most probable if ``decoding`` is
    None.
    """
    generator = torch.Generator().manual_seed(0)
    said = policy.sample(images, 1, decoding or Decoding(0), generator)  # type: ignore[operator]
    scores: Scores = policy.log_prob(images, said.tokens, Decoding())  # type: ignore[operator]
    return kind.decode(said.tokens[:, 0], rank_boxes(kind, said.tokens, scores, rank)[:, 0])


def rank_boxes(kind: BoxTokens, tokens: Tensor, scores: Scores, rank: Rank) -> Tensor:
    """A score for each box, ``(B, K, boxes)``, in [0, 1]; meaningless after the end."""
    if rank == "both":
        return rank_boxes(kind, tokens, scores, "confidence") * rank_boxes(kind, tokens, scores, "class")
    if rank == "confidence":
        return scores.table[..., 5::6, kind.RIGHT].exp().nan_to_num(0)
    if rank == "class":
        return scores.log_probs[..., 4::6].exp()
    return torch.ones_like(scores.log_probs[..., 4::6])


@torch.no_grad()
def evaluate(
    policy: nn.Module,
    reward: DetectionReward,
    scenes: Source,
    count: int = 500,
    decoding: Decoding | None = None,
    batch: int = 50,
) -> dict[str, float]:
    """Figures on the first ``count`` of ``scenes``, which should be held out: COCO's AP by three scores, AR, reward.

    AP and AR are shares in [0, 1]; sizes small to large are not told apart.
    """
    kind, device = reward.kind, next(policy.parameters()).device
    found: dict[str, list[Boxes]] = {"confidence": [], "class": [], "none": []}
    truth: list[Boxes] = []
    sums: dict[str, float] = {}
    policy.eval()
    for first in range(0, count, batch):
        shown = scenes.batch(range(first, min(first + batch, count)))
        images = shown.images.to(device)
        said = policy.sample(  # type: ignore[operator]
            images, 1, decoding or Decoding(0), torch.Generator().manual_seed(first)
        )
        scores: Scores = policy.log_prob(images, said.tokens, Decoding())  # type: ignore[operator]
        for rank, kept in found.items():
            ranked = rank_boxes(kind, said.tokens, scores, rank)  # type: ignore[arg-type]
            kept.append(kind.decode(said.tokens[:, 0], ranked[:, 0]).to("cpu"))
        truth.append(shown.boxes)
        outcome = reward.outcome(said.tokens.cpu(), {"boxes": shown.boxes})
        for name in ("reward", "matches", "duplicates", "false_positives"):
            sums[name] = sums.get(name, 0.0) + getattr(outcome, name).sum().item()
    target = _joined(truth)
    by = {rank: coco_map(_joined(kept), target) for rank, kept in found.items()}
    figures = {f"ap_{rank}": scored.ap for rank, scored in by.items()}
    figures |= {"ap50_confidence": by["confidence"].ap50, "ar": by["none"].ar100}
    return figures | {f"greedy_{name}": value / count for name, value in sums.items()}


def _joined(parts: list[Boxes]) -> Boxes:
    """Batches of one width, one after the other."""
    scores = [part.scores for part in parts if part.scores is not None]
    crowds = [part.crowd for part in parts if part.crowd is not None]
    return Boxes(
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.valid for part in parts]),
        torch.cat(scores) if scores else None,
        torch.cat(crowds) if crowds else None,
    )
