"""Metrics and rewards of Predict beside the tools that everybody uses, on real COCO pictures, and their time.

    python benchmarks/predict_parity.py --data ../shared/data --out docs/results

The detection reward against the released file's outputs and against a loop in Python; mean average precision of two
detectors, YOLOX-nano and FastestDet, on 128 pictures of val2017, and on the 100 of them of which COCO's own boxes are
here, with crowds, against pycocotools; CIDEr-D of each picture's first caption against its others, on 128 and on all
5,000 pictures, against pycocoevalcap with its own tokeniser (Java; without it, with our words); panoptic quality of a
map made of YOLOX-nano's boxes, painted over the true map moved by some pixels, against torchmetrics on 100 pictures of
a third of the size. Each of them also by ``pixward reward`` on files in COCO's formats, which pycocotools reads itself.
Differences above 1e-6 are an error. Times are seconds of CPU, so that a busy machine shows less: the median of five,
or one where it is long. Needs the dev extra. About two minutes of one core. Writes ``predict_parity.json``.
"""

from __future__ import annotations

import argparse
import json
import operator
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectors import Detector, FastestDet, Found, Yolox
from parity_files import (
    cider_of_files,
    coco_boxes_with_crowds,
    command,
    precision_of_files,
    write_panoptic,
)
from parity_rewards import released, reward_times, seconds

from pixward.bench.provenance import commit, hardware, today
from pixward.boxes import Boxes, Segments
from pixward.data.labels import BoxItem, box_batch, read_captions, read_panoptic, read_yolo
from pixward.data.panoptic import VOID, split_segments
from pixward.files import save_text
from pixward.metrics.coco import evaluate_with_pycocotools, read_coco
from pixward.metrics.precision import evaluate
from pixward.metrics.text import cider_d_of_texts, tokenise
from pixward.metrics.vision import coco_map, panoptic_counts, panoptic_quality

LIMIT = 1e-6
MOVED, SPARSE = 3, 3
"""Pixels by which the true map is moved, to be a prediction, once every third row and column of it is left."""


def true_boxes(data: Path, count: int) -> list[BoxItem]:
    """The first ``count`` pictures of val2017, by YOLO's files."""
    coco = data / "coco"
    names = (data / "models" / "coco.names").read_text().split("\n")[:80]
    labels = read_yolo(coco / "object_detection" / "labels" / "val2017", coco / "images" / "val2017", names, "mend")
    return list(labels.items[:count])


def coco_boxes(data: Path, count: int) -> tuple[Boxes, list[BoxItem]]:
    """YOLOX-nano's boxes for the first ``count`` pictures of val2017, and what is true of them."""
    items = true_boxes(data, count)
    detector = Yolox(data / "models" / "yolox_nano_coco.onnx")
    return padded([detector(item.picture.path) for item in items]), items


def padded(found: Sequence[Found]) -> Boxes:
    return Boxes.pad(*(list(part) for part in zip(*found, strict=True)))


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


def precision(detector: Detector, data: Path, folder: Path, count: int = 128) -> dict[str, Any]:
    items = true_boxes(data, count)
    found = {item.picture.number: detector(item.picture.path) for item in items}
    output, target = padded(list(found.values())), box_batch(items)
    ours = asdict(coco_map(output, target, torch.tensor([item.picture.size[::-1] for item in items])))
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
        "files, COCO's own boxes": precision_of_files(folder, found, coco_boxes_with_crowds(data)),
    }


def painted(truth: Segments, boxes: Found, filled: bool, least: float = 0.3) -> Segments:
    """A predicted map: the true one moved, and over it every sure box as a segment, surest on top; crowds are void.

    ``filled``: what would be blank belongs to the largest segment, so that COCO's rule and torchmetrics' are one.
    """
    height, width = truth.ids.shape[1:]
    ids = torch.roll(truth.ids, (MOVED, MOVED), (1, 2))[0]
    if filled:
        ids = torch.where(ids > 0, ids, ids[ids > 0].mode().values)
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


def panoptic(data: Path, folder: Path, count: int = 100) -> dict[str, Any]:
    coco = data / "coco" / "panoptic_segmentation" / "annotations"
    labels = read_panoptic(
        coco / "panoptic_val2017.json", coco / "panoptic_val2017", data / "coco" / "images" / "val2017", "mend"
    )
    detector = Yolox(data / "models" / "yolox_nano_coco.onnx")
    found, truths = {}, {}
    for item in labels.items[:count]:
        whole = item.segments()
        found[item.picture.number] = detector(item.picture.path)
        truths[item.picture.number] = without_crowds(replace(whole, ids=whole.ids[:, ::SPARSE, ::SPARSE]))
    result: dict[str, Any] = {"pictures": len(truths)}
    for name, filled in (("with blank pixels", False), ("without", True)):
        said = {
            number: merged(painted(truth, found[number], filled), labels.things) for number, truth in truths.items()
        }
        result[name] = quality(said, truths, labels.things)
    write_panoptic(folder, "said", said, labels.categories, whole=False)
    write_panoptic(folder, "true", truths, labels.categories, whole=True)
    told = command("panoptic-quality", folder)
    theirs = result["without"]["torchmetrics"]
    told["largest difference"] = max(abs(told[a] - theirs[b]) for a, b in (("value", "pq"), ("sq", "sq"), ("rq", "rq")))
    return {**result, "files, pixward reward panoptic-quality": told}


def quality(said: Mapping[int, Segments], truths: Mapping[int, Segments], things: torch.Tensor) -> dict[str, Any]:
    """Ours and torchmetrics', which knows neither crowds nor a cost of what is left blank."""
    from torchmetrics.detection import PanopticQuality

    metric = PanopticQuality(
        things=set(things.nonzero()[:, 0].tolist()),
        stuffs=set((~things).nonzero()[:, 0].tolist()),
        allow_unknown_preds_category=True,
        return_sq_and_rq=True,
    )
    counts, strict = [], []
    spent = {"ours": 0.0, "torchmetrics": 0.0}
    for number, truth in truths.items():
        output = said[number]
        pairs = [coloured(part, things, len(things)) for part in (output, truth)]
        start = time.process_time()
        metric.update(*pairs)
        spent["torchmetrics"] += time.process_time() - start
        start = time.process_time()
        counts.append(panoptic_counts(output, truth, len(things), forgive_blank=True))
        spent["ours"] += time.process_time() - start
        strict.append(panoptic_counts(output, truth, len(things)))
    ours, theirs = panoptic_quality(reduce(operator.add, counts)), metric.compute().tolist()
    figures = [ours.pq, ours.sq, ours.rq]
    return {
        "ours": dict(zip(("pq", "sq", "rq"), figures, strict=True)),
        "torchmetrics": dict(zip(("pq", "sq", "rq"), theirs, strict=True)),
        "largest difference": max(abs(a - b) for a, b in zip(figures, theirs, strict=True)),
        "pq by COCO's rule for what a prediction leaves blank": panoptic_quality(reduce(operator.add, strict)).pq,
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


def captions(data: Path, folder: Path, count: int) -> dict[str, Any]:
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
    value = cider_of_files(folder, rows)["value"]
    return {
        "pictures": len(rows),
        "ours": float(ours.mean()),
        "pycocoevalcap": float(theirs.mean()),
        "files, pixward reward cider-d": {"value": value, "largest difference": abs(value - float(theirs.mean()))},
        "pycocoevalcap's own tokeniser": java,
        "captions with other words": sum(
            tokenise(text) != said.split()
            for row, line in zip(rows, words, strict=True)
            for text, said in zip(row, line, strict=True)
        ),
        "largest difference": float(np.abs(ours - theirs).max()),
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


def differences(part: Any) -> list[float]:
    """All that a part of the result calls its largest difference."""
    if isinstance(part, list):
        return [value for row in part for value in differences(row)]
    if not isinstance(part, dict):
        return []
    below = [value for row in part.values() for value in differences(row)]
    return below + [part[key] for key in part if key == "largest difference"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, models = options.data, options.data / "models"
    result: dict[str, Any] = {
        "command": "python benchmarks/predict_parity.py --data ../shared/data --out docs/results",
        "date": today(),
        "commit": commit(),
        "hardware": hardware(),
    }
    parts: dict[str, Callable[[Path], Any]] = {
        "detection reward, released outputs": lambda _: released(),
        "detection reward": lambda _: reward_times(),
        "mean average precision, YOLOX-nano": lambda folder: precision(
            Yolox(models / "yolox_nano_coco.onnx"), data, folder
        ),
        "mean average precision, FastestDet": lambda folder: precision(
            FastestDet(models / "fastestdet_coco_ap50_0.253.pth"), data, folder
        ),
        "CIDEr-D": lambda folder: [captions(data, folder, count) for count in (128, 5000)],
        "panoptic quality": lambda folder: panoptic(data, folder),
    }
    for name, part in parts.items():
        with tempfile.TemporaryDirectory() as folder:
            result[name] = part(Path(folder))
        print(name, json.dumps(result[name]), flush=True)
    result["largest difference of all"] = max(differences(result))
    save_text(options.out / "predict_parity.json", json.dumps(result, indent=1) + "\n")
    if not result["largest difference of all"] <= LIMIT:
        raise SystemExit(f"they differ by {result['largest difference of all']}, more than {LIMIT}")


if __name__ == "__main__":
    main()
