"""A user's own results by the rewards and metrics of Predict: one function for each, from files to figures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pixward.bench.coco_boxes import box_items, read_box_files
from pixward.bench.coco_files import read_captions_said, read_panoptic_files, read_references
from pixward.boxes import Segments
from pixward.data.labels import box_batch
from pixward.data.pairs import photo_files
from pixward.errors import PixwardError
from pixward.image import load, to_tensor
from pixward.metrics.coco import Detections, DetectionScores, Objects
from pixward.metrics.precision import evaluate
from pixward.metrics.text import DocumentFrequencies, cider_d, tokenise, word_ids
from pixward.metrics.vision import PanopticCounts, panoptic_counts, panoptic_quality
from pixward.rewards.image import colourfulness
from pixward.rewards.vision import RECALL, DetectionSettings, detection_outcome

_BATCH = 128  # pictures at a time
_Table = TypeVar("_Table", Detections, Objects)


@dataclass(frozen=True)
class Scored:
    """What results are worth.

    Attributes:
        value: the figure that the reward is named after.
        pictures: how many were scored.
        figures: others; None where there is nothing to measure, such as no small object.
        by_class: figures of each class that occurs, by its name.
        by_picture: the reward of each picture, by its id or file name, where it is one of pictures.
    """

    value: float
    pictures: int
    figures: dict[str, float | None] = field(default_factory=dict)
    by_class: dict[str, dict[str, float | None]] = field(default_factory=dict)
    by_picture: dict[str, float] = field(default_factory=dict)


# --- boxes ----------------------------------------------------------------------------------------------------------


def score_boxes(predictions: Path, targets: Path) -> Scored:
    """COCO's average precision (``value``) and its other eleven figures, in [0, 1], as pycocotools has them.

    Args:
        predictions: results JSON of boxes.
        targets: instances JSON. The 100 surest boxes of a class count in a picture; crowds cost nothing.

    Raises:
        PixwardError: files that do not fit, see :mod:`pixward.bench.coco_boxes`; nothing to find.
    """
    files = read_box_files(predictions, targets)
    detections, objects = files.detections, files.objects
    if not (~objects.crowd).any():
        raise PixwardError(f"{targets} has no boxes to find (crowds do not count), so that there is no precision")
    overall = evaluate(detections, objects)
    by_class: dict[str, dict[str, float | None]] = {}
    for category, name in zip(files.annotations.categories, files.annotations.names(), strict=True):
        mine, true = detections.label == category.number, objects.label == category.number
        if (true & ~objects.crowd).any():
            part = evaluate(_rows(detections, mine), _rows(objects, true))
            by_class[name] = {"ap": part.ap, "ap50": part.ap50, "ar100": part.ar100}
    counts = {"boxes": len(detections.score), "objects": int((~objects.crowd).sum())}
    return Scored(overall.ap, len(files.annotations.images), {**_known(overall), **counts}, by_class)


def score_recall(predictions: Path, targets: Path, settings: DetectionSettings = RECALL) -> Scored:
    """The mean over pictures of :func:`pixward.rewards.vision.detection_recall`, and what it is made of.

    The 100 surest boxes of a picture count. All boxes are cut at the picture's rim, since rewards know nothing beyond.
    The parts (``found``, ``duplicates``, ``false_boxes``, ``objects``) are means over pictures.

    Args:
        predictions: results JSON of boxes.
        targets: instances JSON, with the pictures' sizes.
        settings: the reward's, without weights of classes.

    Raises:
        PixwardError: files that do not fit, see :mod:`pixward.bench.coco_boxes`.
    """
    said, true = box_items(read_box_files(predictions, targets))
    sums = dict.fromkeys(("found", "duplicates", "false_boxes"), 0.0)
    rewards: list[float] = []
    for first in range(0, len(said), _BATCH):
        part = slice(first, first + _BATCH)
        outcome = detection_outcome(box_batch(said[part]), box_batch(true[part]), settings)
        rewards += outcome.reward.tolist()
        for name, values in zip(sums, (outcome.matches, outcome.duplicates, outcome.false_positives), strict=True):
            sums[name] += values.sum().item()
    count = len(said)
    figures: dict[str, float | None] = {name: total / count for name, total in sums.items()}
    figures["objects"] = sum(int((~item.crowd).sum()) for item in true) / count
    by_picture = {str(item.picture.number): reward for item, reward in zip(said, rewards, strict=True)}
    return Scored(sum(rewards) / count, count, figures, by_picture=by_picture)


def _rows(table: _Table, chosen: np.ndarray) -> _Table:
    return type(table)(**{name: values[chosen] for name, values in vars(table).items()})


def _known(scores: DetectionScores) -> dict[str, float | None]:
    return {name: value if value >= 0 else None for name, value in asdict(scores).items()}


# --- panoptic maps --------------------------------------------------------------------------------------------------


def score_panoptic(
    predictions: Path, targets: Path, prediction_maps: Path | None = None, target_maps: Path | None = None
) -> Scored:
    """Panoptic quality (``value``), its factors, and those of things and of stuff, in [0, 1], by COCO's rules.

    Args:
        predictions: panoptic JSON; every picture has a map, or none has.
        targets: panoptic JSON.
        prediction_maps: folder of PNGs; by default the JSON's name without its ending.
        target_maps: the same of the targets.

    Raises:
        PixwardError: files that do not fit, see :mod:`pixward.bench.coco_files`; a map that cannot be read, of another
            size than its picture, or with a segment that the JSON lacks.
    """
    annotations, items = read_panoptic_files(predictions, targets, prediction_maps, target_maps)
    classes = len(annotations.categories)
    counts = PanopticCounts(*(torch.zeros(classes, dtype=torch.float64) for _ in range(4)))
    for said, true in items:
        target = true.segments()
        counts += panoptic_counts(said.segments() if said else _blank(target), target, classes)
    whole = panoptic_quality(counts)
    figures: dict[str, float | None] = {"sq": whole.sq, "rq": whole.rq}
    thing = torch.tensor([category.thing for category in annotations.categories])
    for name, chosen in (("things", thing), ("stuff", ~thing)):
        occurs = bool(_occurs(counts)[chosen].any())
        part = panoptic_quality(PanopticCounts(*(values[chosen] for values in vars(counts).values())))
        for key in ("pq", "sq", "rq"):
            figures[f"{name}_{key}"] = getattr(part, key) if occurs else None
    by_class = {
        name: dict(zip(("pq", "sq", "rq"), row, strict=True))
        for name, row, occurs in zip(
            annotations.names(), whole.by_class.tolist(), _occurs(counts).tolist(), strict=True
        )
        if occurs
    }
    return Scored(whole.pq, len(items), figures, by_class)


def _occurs(counts: PanopticCounts) -> Tensor:
    return counts.true_positives + counts.false_positives + counts.false_negatives > 0


def _blank(like: Segments) -> Segments:
    """A map of nothing."""
    return replace(like, ids=torch.zeros_like(like.ids), crowd=None)


# --- captions -------------------------------------------------------------------------------------------------------


def score_captions(predictions: Path, targets: Path, frequencies: Path | None = None) -> Scored:
    """CIDEr-D, the mean over the pictures that have a caption in ``predictions`` (``value``), in [0, 10].

    Args:
        predictions: results JSON, one caption for a picture.
        targets: captions JSON, what people wrote.
        frequencies: captions JSON of which document frequencies are counted; by default ``targets``, of the pictures
            that are scored, as pycocoevalcap counts them.

    Raises:
        PixwardError: files that do not fit, see :mod:`pixward.bench.coco_files`; a picture without references.
    """
    annotations, references = read_references(targets)
    said = read_captions_said(predictions, annotations)
    if not said:
        return Scored(0.0, 0)
    for number in said:
        if not any(tokenise(text) for text in references.get(number, ())):
            raise PixwardError(f"{targets} has no caption of image {number}, which {predictions} has one of")
    known: dict[str, int] = {}
    target = _ids([references[number] for number in said], known)
    corpus = target if frequencies is None else _ids(list(read_references(frequencies)[1].values()), known, frequencies)
    left = len(annotations.images) - len(said)
    if left:
        _note(f"{left} of {len(annotations.images)} pictures of {targets} have no caption in {predictions}: not scored")
    if len(corpus) == 1:
        _note(
            "the document frequencies come from one picture, so that every weight is ln 1 = 0 and so is the score: "
            "give more pictures, or --frequencies FILE"
        )
    output, counted = word_ids([tokenise(text) for text in said.values()], known), DocumentFrequencies.of(corpus)
    scores = [
        cider_d(output[first : first + _BATCH], target[first : first + _BATCH], counted)
        for first in range(0, len(output), _BATCH)
    ]
    values = torch.cat(scores).tolist()
    by_picture = {str(number): value for number, value in zip(said, values, strict=True)}
    return Scored(sum(values) / len(values), len(values), {"documents": counted.documents}, by_picture=by_picture)


def _ids(texts: Sequence[Sequence[str]], known: dict[str, int], path: Path | None = None) -> Tensor:
    """References to word ids ``(pictures, most references, most words)``."""
    if not texts:
        raise PixwardError(f"{path} has no captions to count words in")
    most = max(len(row) for row in texts)
    rows = word_ids([tokenise(text) for row in texts for text in [*row, *[""] * (most - len(row))]], known)
    return rows.view(len(texts), most, -1)


# --- pictures -------------------------------------------------------------------------------------------------------


def score_colourfulness(pictures: Path) -> Scored:
    """The mean colourfulness (``value``), in [0, ln 7], of a picture or of all pictures below a folder.

    Raises:
        PixwardError: there is none, or one that cannot be read.
    """
    if not pictures.exists():
        raise PixwardError(f"there is no picture or folder {pictures}")
    files = [pictures] if pictures.is_file() else photo_files([pictures])
    values = {
        path.relative_to(pictures).as_posix() if path != pictures else path.name: colourfulness(
            to_tensor(load(path).pixels)
        ).item()
        for path in files
    }
    ends: dict[str, float | None] = {"lowest": min(values.values()), "highest": max(values.values())}
    return Scored(sum(values.values()) / len(values), len(values), ends, by_picture=values)


def _note(text: str) -> None:
    warnings.warn(text, stacklevel=3)
