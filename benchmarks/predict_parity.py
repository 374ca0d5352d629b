"""Metrics and rewards of Predict beside the tools that everybody uses, on real COCO pictures, and their time.

    python benchmarks/predict_parity.py --data ../shared/data --out docs/results

The detection reward against a loop in Python; mean average precision of YOLOX-nano on 128 pictures of val2017 against
pycocotools; CIDEr-D of each picture's first caption against its others, on 128 and on all 5,000 pictures, against
pycocoevalcap with its own tokeniser (Java; without it, with our words); panoptic quality of a map made of the same
detector's boxes, painted over the true map moved by some pixels, against torchmetrics on 100 pictures of a third of the
size. Times are seconds of CPU, so that a busy machine shows less: the median of five, or one where it is long. Needs
the dev extra. About four minutes of one core. Writes ``predict_parity.json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from pixward.bench.provenance import commit, hardware, today
from pixward.boxes import Boxes, Segments
from pixward.data.labels import BoxItem, box_batch, read_captions, read_panoptic, read_yolo
from pixward.data.panoptic import VOID, split_segments
from pixward.files import save_text
from pixward.metrics.coco import evaluate_with_pycocotools, read_coco
from pixward.metrics.precision import evaluate
from pixward.metrics.text import cider_d_of_texts, tokenise
from pixward.metrics.vision import PanopticCounts, coco_map, panoptic_counts, panoptic_quality
from pixward.rewards.vision import RECALL, detection_recall

ROOT = Path(__file__).resolve().parents[1]
SIDE, STRIDES = 416, (8, 16, 32)
MOVED, SPARSE = 3, 3
"""Pixels by which the true map is moved, to be a prediction, once every third row and column of it is left."""


class Detector:
    """YOLOX-nano of 80 classes, through onnxruntime."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        grids = [np.stack(np.meshgrid(np.arange(SIDE // s), np.arange(SIDE // s)), -1).reshape(-1, 2) for s in STRIDES]
        self.grid = np.concatenate(grids)
        self.stride = np.concatenate([np.full((len(grid), 1), s) for grid, s in zip(grids, STRIDES, strict=True)])

    def __call__(self, path: Path, least: float = 0.01) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes ``(n, 4)`` as shares of the picture, labels and scores, at most 100, surest first."""
        picture = Image.open(path).convert("RGB")
        ratio = min(SIDE / picture.height, SIDE / picture.width)
        small = picture.resize((int(picture.width * ratio), int(picture.height * ratio)), Image.Resampling.BILINEAR)
        canvas = np.full((SIDE, SIDE, 3), 114, np.float32)
        canvas[: small.height, : small.width] = np.asarray(small)[..., ::-1]
        (out,) = self.session.run(None, {"images": canvas.transpose(2, 0, 1)[None]})
        centre, size = (out[0, :, :2] + self.grid) * self.stride, np.exp(out[0, :, 2:4]) * self.stride
        boxes = np.concatenate([centre - size / 2, centre + size / 2], 1) / ratio
        scores = out[0, :, 4:5] * out[0, :, 5:]
        rows, labels = (scores > least).nonzero()
        kept = suppress(boxes[rows], labels, scores[rows, labels])[:100]
        shares = boxes[rows][kept] / np.tile([picture.width, picture.height], 2)
        found = scores[rows, labels][kept].astype(np.float64)
        return torch.from_numpy(shares.clip(0, 1)), torch.from_numpy(labels[kept]), torch.from_numpy(found)


def suppress(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, limit: float = 0.65) -> np.ndarray:
    """Indices that non-maximum suppression within each class leaves, surest first."""
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        low, high = np.maximum(boxes[first, :2], boxes[rest, :2]), np.minimum(boxes[first, 2:], boxes[rest, 2:])
        inside = (high - low).clip(0).prod(1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        order = rest[(inside / (area[first] + area[rest] - inside) <= limit) | (labels[rest] != labels[first])]
    return np.array(kept, int)


def coco_boxes(data: Path, count: int) -> tuple[Boxes, list[BoxItem]]:
    """The detector's boxes for the first ``count`` pictures of val2017, and what is true of them."""
    coco, models = data / "coco", data / "models"
    names = (models / "coco.names").read_text().split("\n")[:80]
    labels = read_yolo(coco / "object_detection" / "labels" / "val2017", coco / "images" / "val2017", names, "mend")
    items = list(labels.items[:count])
    detector = Detector(models / "yolox_nano_coco.onnx")
    found = [detector(item.picture.path) for item in items]
    return Boxes.pad(*(list(part) for part in zip(*found, strict=True))), items


def coco_json(output: Boxes, items: Sequence[BoxItem]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same as COCO's files."""
    annotations, results = [], []
    for i, item in enumerate(items):
        size = torch.tensor(item.picture.size).repeat(2).double()
        for corners, label in zip(item.boxes.double().tolist(), item.labels.tolist(), strict=True):
            box = [corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1]]
            annotations.append({"image_id": i, "category_id": label, "bbox": box, "area": box[2] * box[3]})
        shown = output.valid[i]
        assert output.scores is not None
        rows = zip(
            (output.boxes[i] * size)[shown].tolist(), output.labels[i][shown], output.scores[i][shown], strict=True
        )
        for corners, label, score in rows:
            box = [corners[0], corners[1], corners[2] - corners[0], corners[3] - corners[1]]
            results.append({"image_id": i, "category_id": int(label), "bbox": box, "score": float(score)})
    return {"images": [{"id": i} for i in range(len(items))], "annotations": annotations}, results


def precision(data: Path, count: int = 128) -> dict[str, Any]:
    output, items = coco_boxes(data, count)
    sizes = torch.tensor([item.picture.size[::-1] for item in items])
    target = box_batch(items)
    ours = asdict(coco_map(output, target, sizes))
    flat = read_coco(*coco_json(output, items))
    theirs = asdict(evaluate_with_pycocotools(*flat))
    return {
        "pictures": count,
        "detections": int(output.valid.sum()),
        "ours": ours,
        "pycocotools": theirs,
        "largest difference": max(abs(ours[key] - theirs[key]) for key in ours),
        "ours, CPU s": seconds(lambda: evaluate(*flat)),
        "pycocotools, CPU s": seconds(lambda: evaluate_with_pycocotools(*flat), 1),
    }


def painted(truth: Segments, boxes: tuple[torch.Tensor, torch.Tensor, torch.Tensor], least: float = 0.3) -> Segments:
    """A predicted map: the true one moved, and over it every sure box as a segment, surest on top; crowds are void."""
    height, width = truth.ids.shape[1:]
    ids = torch.roll(truth.ids, (MOVED, MOVED), (1, 2))[0]
    labels, places = truth.labels[0].tolist(), [corners for corners, _, _ in zip(*boxes, strict=True)]
    sure = [(corners, int(label)) for corners, label, score in zip(places, *boxes[1:], strict=True) if score > least]
    for corners, label in reversed(sure):
        x0, y0, x1, y1 = (corners * torch.tensor([width, height, width, height])).round().int().tolist()
        labels.append(label)
        ids[y0:y1, x0:x1] = len(labels)
    return Segments(ids[None], torch.tensor([labels]), torch.ones(1, len(labels), dtype=torch.bool))


def without_crowds(segments: Segments) -> Segments:
    """Crowds made void, since torchmetrics knows none."""
    assert segments.crowd is not None
    crowd = torch.nn.functional.pad(segments.crowd, (1, 0))[0]
    ids = torch.where(crowd[segments.ids], 0, segments.ids)
    return Segments(ids, segments.labels, segments.valid)


def panoptic(data: Path, count: int = 100) -> dict[str, Any]:
    from torchmetrics.detection import PanopticQuality

    folder = data / "coco" / "panoptic_segmentation" / "annotations"
    labels = read_panoptic(
        folder / "panoptic_val2017.json", folder / "panoptic_val2017", data / "coco" / "images" / "val2017", "mend"
    )
    things = torch.tensor([category.thing for category in labels.categories])
    metric = PanopticQuality(
        things=set(things.nonzero()[:, 0].tolist()),
        stuffs=set((~things).nonzero()[:, 0].tolist()),
        allow_unknown_preds_category=True,
        return_sq_and_rq=True,
    )
    detector, counts, strict = Detector(data / "models" / "yolox_nano_coco.onnx"), None, None
    spent = {"ours": 0.0, "torchmetrics": 0.0}
    for item in labels.items[:count]:
        whole = item.segments()
        truth = without_crowds(replace(whole, ids=whole.ids[:, ::SPARSE, ::SPARSE]))
        output = merged(painted(truth, detector(item.picture.path)), things)
        pairs = [coloured(part, things, len(things)) for part in (output, truth)]
        start = time.process_time()
        metric.update(*pairs)
        spent["torchmetrics"] += time.process_time() - start
        start = time.process_time()
        part = panoptic_counts(output, truth, len(things), forgive_blank=True)
        spent["ours"] += time.process_time() - start
        counts = part if counts is None else counts + part
        part = panoptic_counts(output, truth, len(things))
        strict = part if strict is None else strict + part
    assert isinstance(counts, PanopticCounts) and isinstance(strict, PanopticCounts)
    ours, theirs = panoptic_quality(counts), metric.compute().tolist()
    figures = [ours.pq, ours.sq, ours.rq]
    return {
        "pictures": min(count, len(labels.items)),
        "ours": dict(zip(("pq", "sq", "rq"), figures, strict=True)),
        "torchmetrics": dict(zip(("pq", "sq", "rq"), theirs, strict=True)),
        "largest difference": max(abs(a - b) for a, b in zip(figures, theirs, strict=True)),
        "pq by COCO's rule for what a prediction leaves blank": panoptic_quality(strict).pq,
        "ours, CPU s": round(spent["ours"], 3),
        "torchmetrics, CPU s": round(spent["torchmetrics"], 3),
    }


def merged(segments: Segments, things: torch.Tensor) -> Segments:
    """Every class of stuff made one segment, as torchmetrics does by itself."""
    labels = segments.labels[0]
    first = [k if things[label] else labels.tolist().index(label) for k, label in enumerate(labels.tolist())]
    place = torch.tensor([0, *(k + 1 for k in first)])
    return Segments(place[segments.ids], segments.labels, segments.valid)


def coloured(segments: Segments, things: torch.Tensor, unknown: int) -> torch.Tensor:
    """Class and object of each pixel, ``(B, H, W, 2)``, void as the class ``unknown``."""
    classes, objects = split_segments(segments, things)
    return torch.stack([torch.where(classes == VOID, unknown, classes), objects], -1)


def captions(data: Path, count: int) -> dict[str, Any]:
    from pycocoevalcap.cider.cider import Cider

    file = json.loads((data / "coco" / "captions" / "captions_val2017.json").read_text())
    texts: dict[int, list[str]] = {}
    for entry in file["annotations"]:
        texts.setdefault(entry["image_id"], []).append(entry["caption"])
    if count == 128:  # those whose pictures are here
        folder = data / "coco"
        items = read_captions(
            folder / "captions" / "captions_val2017.json", folder / "images" / "val2017", "mend"
        ).items
        texts = {item.picture.number: list(item.captions) for item in items}
    rows = [texts[key] for key in sorted(texts)][:count]
    candidates, references = [row[0] for row in rows], [row[1:] for row in rows]
    words, java = penn_words(rows)
    gts, res = ({i: row[1:] for i, row in enumerate(words)}, {i: row[:1] for i, row in enumerate(words)})
    theirs = Cider().compute_score(gts, res)[1]
    ours = cider_d_of_texts(candidates, references).numpy()
    return {
        "pictures": len(rows),
        "ours": float(ours.mean()),
        "pycocoevalcap": float(theirs.mean()),
        "pycocoevalcap's own tokeniser": java,
        "captions with other words": sum(
            tokenise(text) != said.split()
            for row, line in zip(rows, words, strict=True)
            for text, said in zip(row, line, strict=True)
        ),
        "largest difference of a picture": float(np.abs(ours - theirs).max()),
        "ours with words, CPU s": seconds(lambda: cider_d_of_texts(candidates, references), 1 if count > 500 else 5),
        "pycocoevalcap without words, CPU s": seconds(lambda: Cider().compute_score(gts, res), 1 if count > 500 else 5),
    }


def penn_words(rows: Sequence[Sequence[str]]) -> tuple[list[list[str]], bool]:
    """Every caption's words with spaces between, by pycocoevalcap's tokeniser where Java is there."""
    if shutil.which("java") is None:
        return [[" ".join(tokenise(text)) for text in row] for row in rows], False
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    found = PTBTokenizer().tokenize({i: [{"caption": text} for text in row] for i, row in enumerate(rows)})
    return [found[i] for i in range(len(rows))], True


def reward_times() -> list[dict[str, Any]]:
    loops = load(ROOT / "tests" / "rewards" / "test_vision.py")
    rows = []
    for batch, count, predictions in ((64, 6, 6), (64, 20, 20), (16, 50, 100)):
        output, target = loops.scene(0, count, predictions, batch, classes=10)
        vectorised = partial(detection_recall, output, target)
        loop = partial(loops.loop_rewards, output, target, RECALL)
        rows.append(
            {
                "pictures": batch,
                "objects": count,
                "predictions": predictions,
                "largest difference": float((vectorised() - loop()).abs().max()),
                "vectorised, CPU s": seconds(vectorised),
                "loop, CPU s": seconds(loop, 1),
            }
        )
    return rows


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(work: Callable[[], object], times: int = 5) -> float:
    spent = []
    for _ in range(times):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return round(statistics.median(spent), 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"date": today(), "commit": commit(), "hardware": hardware()}
    parts: dict[str, Callable[[], Any]] = {
        "detection reward": reward_times,
        "mean average precision": lambda: precision(options.data),
        "CIDEr-D": lambda: [captions(options.data, count) for count in (128, 5000)],
        "panoptic quality": lambda: panoptic(options.data),
    }
    for name, part in parts.items():
        result[name] = part()
        print(name, json.dumps(result[name]), flush=True)
    save_text(options.out / "predict_parity.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
