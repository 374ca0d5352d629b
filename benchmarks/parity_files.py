"""Results as files in COCO's formats: ``pixward reward`` on them beside the tools that read them themselves."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from detectors import Found
from PIL import Image

from pixward.boxes import Segments
from pixward.data.entries import Category
from pixward.data.panoptic import ids_to_colours
from pixward.metrics.coco import DetectionScores


def command(name: str, folder: Path) -> dict[str, Any]:
    """``pixward reward NAME`` on ``said.json`` and ``true.json``, a process of its own."""
    words = ["reward", name, "--predictions", str(folder / "said.json"), "--targets", str(folder / "true.json")]
    done = subprocess.run(
        [sys.executable, "-m", "pixward.cli", *words, "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return {key: value for key, value in told.items() if key not in ("by_class", "by_picture")}


def write(folder: Path, said: object, true: object) -> None:
    (folder / "said.json").write_text(json.dumps(said))
    (folder / "true.json").write_text(json.dumps(true))


# --- boxes ----------------------------------------------------------------------------------------------------------


def coco_boxes_with_crowds(data: Path) -> dict[str, Any]:
    """COCO's own boxes of a hundred pictures, with its ids, areas of masks and crowds: from its panoptic file."""
    folder = data / "coco" / "panoptic_segmentation" / "annotations"
    panoptic = json.loads((folder / "panoptic_val2017.json").read_text())
    things = sorted((c for c in panoptic["categories"] if c["isthing"]), key=lambda c: c["id"])
    known = {category["id"] for category in things}
    rows = [
        {"image_id": entry["image_id"], **{key: row[key] for key in ("category_id", "bbox", "area", "iscrowd")}}
        for entry in panoptic["annotations"]
        for row in entry["segments_info"]
        if row["category_id"] in known
    ]
    annotations = [{"id": i, **row} for i, row in enumerate(rows, 1)]  # pycocotools takes 0 for no match
    return {"images": panoptic["images"], "categories": things, "annotations": annotations}


def coco_results(found: Mapping[int, Found], true: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A detector's boxes in COCO's form; its labels are places in the list of categories."""
    numbers = sorted(category["id"] for category in true["categories"])
    said = []
    for image in true["images"]:
        boxes, labels, scores = found[image["id"]]
        corners = boxes * torch.tensor([image["width"], image["height"]] * 2)
        for (x0, y0, x1, y1), label, score in zip(corners.tolist(), labels.tolist(), scores.tolist(), strict=True):
            row = {"image_id": image["id"], "category_id": numbers[label], "bbox": [x0, y0, x1 - x0, y1 - y0]}
            said.append({**row, "score": score})
    return said


def precision_of_files(folder: Path, found: Mapping[int, Found], true: dict[str, Any]) -> dict[str, Any]:
    """``pixward reward coco-map`` and pycocotools, both from the files."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    write(folder, coco_results(found, true), true)
    told = command("coco-map", folder)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "true.json"))
        run = COCOeval(truth, truth.loadRes(str(folder / "said.json")), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    theirs = asdict(DetectionScores(*run.stats.tolist()))
    ours = {key: told[key] for key in theirs}
    return {
        "pictures": told["pictures"],
        "objects": told["objects"],
        "crowds": sum(row["iscrowd"] for row in true["annotations"]),
        "detections": told["boxes"],
        "pixward reward coco-map": ours,
        "pycocotools": theirs,
        "largest difference": max(abs(ours[key] - theirs[key]) for key in theirs),
    }


# --- panoptic maps --------------------------------------------------------------------------------------------------


def write_panoptic(
    folder: Path, stem: str, maps: Mapping[int, Segments], categories: Sequence[Category], *, whole: bool
) -> None:
    """COCO's panoptic JSON and PNGs of maps; ``whole`` with pictures and categories, as targets have them."""
    (folder / stem).mkdir()
    rows = []
    for number, segments in maps.items():
        ids = segments.ids[0].numpy()
        Image.fromarray(ids_to_colours(ids)).save(folder / stem / f"{number}.png")
        kinds = [categories[label].number for label in segments.labels[0].tolist()]
        shown = sorted(set(ids.flatten().tolist()) - {0})
        segments_info = [{"id": k, "category_id": kinds[k - 1], "iscrowd": 0} for k in shown]
        rows.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments_info})
    data: dict[str, Any] = {"annotations": rows}
    if whole:
        sizes = {number: segments.ids.shape[1:] for number, segments in maps.items()}
        data["images"] = [{"id": number, "height": size[0], "width": size[1]} for number, size in sizes.items()]
        data["categories"] = [{"id": c.number, "name": c.name, "isthing": int(c.thing)} for c in categories]
    (folder / f"{stem}.json").write_text(json.dumps(data))


# --- captions -------------------------------------------------------------------------------------------------------


def cider_of_files(folder: Path, texts: Sequence[Sequence[str]]) -> dict[str, Any]:
    """``pixward reward cider-d`` of each picture's first caption against its others."""
    rows = [{"image_id": i, "caption": text} for i, row in enumerate(texts) for text in row[1:]]
    true = {"images": [{"id": i} for i in range(len(texts))], "annotations": rows}
    write(folder, [{"image_id": i, "caption": row[0]} for i, row in enumerate(texts)], true)
    return command("cider-d", folder)
