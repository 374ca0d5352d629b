"""A small folder in COCO's layout: pictures of one colour each, with boxes, maps and captions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 80, 40
CATEGORIES = [
    {"id": 3, "name": "sky", "isthing": 0},
    {"id": 5, "name": "cat", "isthing": 1},
    {"id": 9, "name": "dog", "isthing": 1},
]


def coco_folder(root: Path, count: int = 12, boxes: int = 2) -> Path:
    """Picture ``i`` has red ``10 i`` of 255, ``boxes`` boxes, one map of two segments and two captions."""
    places = root / "annotations" / "panoptic_mini", root / "images"
    for place in places:
        place.mkdir(parents=True)
    images, found, maps, told = [], [], [], []
    for i in range(count):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[..., 0] = 10 * i
        Image.fromarray(pixels).save(places[1] / f"{i}.png")
        images.append({"id": i + 1, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT})
        for k in range(boxes):
            box = {"id": len(found) + 1, "image_id": i + 1, "category_id": 5 + 4 * (k % 2)}
            found.append({**box, "bbox": [k, 10, 20 + k, 20], "area": 20 * (20 + k), "iscrowd": 0})
        ids = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        ids[:20, :, 0], ids[20:, :40, 0] = 7, 8  # the lower right is void
        Image.fromarray(ids).save(places[0] / f"{i}.png")
        segments = [{"id": 7, "category_id": 3}, {"id": 8, "category_id": 9}]
        maps.append({"image_id": i + 1, "file_name": f"{i}.png", "segments_info": segments})
        told += [{"id": 2 * i + k, "image_id": i + 1, "caption": f"A dog, number {i}"} for k in range(2)]
    things = [row for row in CATEGORIES if row["isthing"]]
    files = {
        "instances": {"images": images, "annotations": found, "categories": things},
        "panoptic": {"images": images, "annotations": maps, "categories": CATEGORIES},
        "captions": {"images": images, "annotations": told},
    }
    for name, content in files.items():
        (root / "annotations" / f"{name}_mini.json").write_text(json.dumps(content))
    return root
