from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.data.labels import box_batch, read_boxes, read_captions, read_panoptic, read_yolo
from pixward.data.panoptic import ids_to_colours
from pixward.errors import PixwardError


def coco(**changes: Any) -> dict[str, Any]:
    """Two pictures of 40 x 20 and 10 x 10 pixels, two boxes in the first."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 20},
            {"id": 3, "file_name": "b.png", "width": 10, "height": 10},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [4, 5, 10, 10], "area": 60, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [20, 0, 20.5, 10], "iscrowd": 1},
        ],
        **changes,
    }


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (40, 20), "red").save(folder / "a.png")
    Image.new("RGB", (10, 10)).save(folder / "b.png")
    return folder


def written(folder: Path, data: object) -> Path:
    path = folder / "labels.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_boxes_by_hand(tmp_path: Path, pictures: Path) -> None:
    labels = read_boxes(written(tmp_path, coco()), pictures)
    assert [(c.number, c.name) for c in labels.categories] == [(1, "person"), (18, "dog")] and labels.mended == ()
    first, empty = labels.items
    assert first.boxes.tolist() == [[4, 5, 14, 15], [20, 0, 40, 10]]  # half a pixel outside is rounding
    assert first.labels.tolist() == [1, 0] and first.crowd.tolist() == [False, True]
    assert first.areas.tolist() == [60, 205] and first.picture.size == (40, 20)
    assert empty.boxes.shape == (0, 4) and empty.picture.number == 3
    batch = box_batch(labels.items)
    assert batch.boxes[0].tolist() == [[0.1, 0.25, 0.35, 0.75], [0.5, 0, 1, 0.5]] and batch.boxes.dtype == torch.float64
    assert batch.valid.tolist() == [[True, True], [False, False]] and batch.crowd is not None
    assert batch.crowd.tolist() == [[False, True], [False, False]]
    assert first.picture.image().shape == (1, 3, 20, 40) and first.picture.image(8).shape == (1, 3, 8, 8)


def box(**changes: Any) -> dict[str, Any]:
    entry = {"id": 5, "image_id": 3, "category_id": 1, "bbox": [1, 1, 5, 5], **changes}
    return coco(annotations=[{key: value for key, value in entry.items() if value is not None}])


MENDABLE = [
    (box(image_id=99), "annotation 5 is of image 99, which the file does not list", 0),
    (box(bbox=[1, 1, 0, 5]), "annotation 5: the box has no size, 0 x 5", 0),
    (box(bbox=[-4, 1, 6, 5]), "annotation 5: the box -4 1 2 6 is not inside image 3, which has 10 x 10", 1),
    (box(bbox=[20, 1, 6, 5]), "annotation 5: the box 20 1 26 6 is not inside image 3", 0),
    (box(bbox=[10.2, 1, 0.3, 5]), "annotation 5: the box 10.2 1 10.5 6 is not inside image 3", 0),
    (
        coco(images=[*coco()["images"], {"id": 4, "file_name": "c.png", "width": 9, "height": 9}]),
        "image 4 is missing",
        2,
    ),
]


@pytest.mark.parametrize("data, message, left", MENDABLE)
def test_faults_that_can_be_mended(data: dict, message: str, left: int, tmp_path: Path, pictures: Path) -> None:
    path = written(tmp_path, data)
    with pytest.raises(PixwardError) as error:
        read_boxes(path, pictures)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
    labels = read_boxes(path, pictures, "mend")
    assert len(labels.mended) == 1 and message in labels.mended[0]
    assert sum(len(item.boxes) for item in labels.items) == left
    box_batch(labels.items).check("mended")


def test_a_box_outside_is_cut_when_mended(tmp_path: Path, pictures: Path) -> None:
    labels = read_boxes(written(tmp_path, box(bbox=[-4, 1, 6, 50])), pictures, "mend")
    assert labels.items[1].boxes.tolist() == [[0, 1, 2, 10]]


@pytest.mark.parametrize(
    "data, message",
    [
        ("{", "not valid JSON: .* line 1"),
        ("[]", "not in COCO's format"),
        (coco(annotations={"a": 1}), '"annotations" must be a list'),
        ({"images": []}, 'has no "categories"'),
        (box(category_id=2), "annotation 5 is of category 2, which the file does not list"),
        (box(bbox=None), 'annotation 5 has no "bbox"'),
        (box(bbox=[1, 1, float("nan"), 5]), "annotation 5: bbox: expected 4 finite numbers"),
        (box(bbox=[1, 2, 3]), "annotation 5: bbox: expected 4 finite numbers"),
        (box(bbox=[5, 5, -2, 3]), "annotation 5: the box has a negative size, -2 x 3"),
        (coco(images=[{"id": 7, "file_name": "a.png", "width": 0, "height": 20}]), "image 7 is empty: it has 0 x 20"),
        (coco(images=[{"id": 7, "width": 4, "height": 20}]), 'image 7 has no "file_name"'),
        (coco(images=[coco()["images"][0]] * 2), "image 7 is listed twice"),
        (coco(categories=[{"id": 1, "name": "x"}] * 2), "two categories have the same id"),
    ],
)
def test_faults_that_cannot(data: object, message: str, tmp_path: Path, pictures: Path) -> None:
    for faults in ("error", "mend"):
        with pytest.raises(PixwardError, match=message):
            read_boxes(written(tmp_path, data), pictures, faults)  # type: ignore[arg-type]


def test_missing_files_and_pictures_of_another_size(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(PixwardError, match=r"cannot read .*absent\.json"):
        read_boxes(tmp_path / "absent.json", pictures)
    with pytest.raises(PixwardError, match="the folder of pictures .* does not exist"):
        read_boxes(written(tmp_path, coco()), tmp_path / "absent")
    item = read_boxes(written(tmp_path, coco()), pictures).items[0]
    Image.new("RGB", (20, 40)).save(pictures / "a.png")
    with pytest.raises(PixwardError, match=r"a\.png has 20 x 40 pixels, its labels are for 40 x 20"):
        item.picture.image()
    (pictures / "a.png").write_bytes(b"")
    with pytest.raises(PixwardError, match=r"a\.png is empty"):
        item.picture.image()


def test_yolo_by_hand(tmp_path: Path, pictures: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    with pytest.raises(PixwardError, match=r"no labels in .*texts: it has no \.txt"):
        read_yolo(texts, pictures, ["x"])
    (texts / "a.txt").write_text("1 0.5 0.5 0.5 0.2\n\n0 0.1 0.5 0.2 1\n")
    labels = read_yolo(texts, pictures, ["x", "y"])
    first, empty = labels.items  # b.png has no text file: a picture without boxes
    assert torch.allclose(first.boxes, torch.tensor([[10.0, 8, 30, 12], [0, 0, 8, 20]], dtype=torch.float64))
    assert first.labels.tolist() == [1, 0] and len(empty.boxes) == 0
    for text, message in {
        "2 0.5 0.5 1 1": r"a\.txt, line 1: class 2 is not in 0 \.\.\. 1",
        "0 0.5 0.5 1": r"a\.txt, line 1: expected 5 finite numbers",
        "\n0 0.5 x 1 1": r"a\.txt, line 2: expected 5 finite numbers",
        "0 0.9 0.5 0.6 0.6": r"a\.txt, line 1: the box 24 4 48 16 is not inside image 0",
        "0 0.9 0.5 0 0.6": r"a\.txt, line 1: the box has no size",
    }.items():
        (texts / "a.txt").write_text(text)
        with pytest.raises(PixwardError, match=message):
            read_yolo(texts, pictures, ["x", "y"])
    (texts / "a.txt").write_text("")
    (texts / "z.txt").write_text("0 0.5 0.5 1 1")
    with pytest.raises(PixwardError, match=r"z\.txt is about a missing picture"):
        read_yolo(texts, pictures, ["x"])
    assert len(read_yolo(texts, pictures, ["x"], "mend").mended) == 1
    (pictures / "b.png").write_bytes(b"")
    with pytest.raises(PixwardError, match=r"b\.png is empty"):
        read_yolo(texts, pictures, ["x"], "mend")


def panoptic(folder: Path, ids: np.ndarray, rows: list[dict[str, Any]], images: list[int] = [7]) -> Path:  # noqa: B006
    maps = folder / "maps"
    maps.mkdir(exist_ok=True)
    Image.fromarray(ids_to_colours(ids)).save(maps / "a.png")
    entries = [{"image_id": number, "file_name": "a.png", "segments_info": rows} for number in images]
    categories = [{"id": 1, "name": "person", "isthing": 1}, {"id": 200, "name": "rug", "isthing": 0}]
    return written(folder, coco(images=coco()["images"][:1], categories=categories, annotations=entries))


def test_panoptic_by_hand(tmp_path: Path, pictures: Path) -> None:
    ids = np.zeros((20, 40), np.int64)
    ids[:, :20], ids[10:, 20:30] = 70000, 300
    rows = [{"id": 300, "category_id": 1, "iscrowd": 1}, {"id": 70000, "category_id": 200}]
    labels = read_panoptic(panoptic(tmp_path, ids, rows), tmp_path / "maps", pictures)
    assert labels.things.tolist() == [True, False]
    segments = labels.items[0].segments()
    segments.check("panoptic")
    assert segments.labels.tolist() == [[0, 1]] and segments.crowd is not None
    assert segments.crowd.tolist() == [[True, False]]
    expected = np.where(ids == 70000, 2, np.where(ids == 300, 1, 0))
    assert np.array_equal(segments.ids[0].numpy(), expected)
    assert np.array_equal(labels.items[0].segments(20).ids[0].numpy(), expected[:, 1::2])

    item = read_panoptic(panoptic(tmp_path, ids, rows[:1]), tmp_path / "maps", pictures).items[0]
    with pytest.raises(PixwardError, match=r"a\.png: segment 70000 is in the map, but not in the JSON"):
        item.segments()
    item = read_panoptic(panoptic(tmp_path, ids[:, :30], rows), tmp_path / "maps", pictures).items[0]
    with pytest.raises(PixwardError, match=r"a\.png has 30 x 20 pixels, its picture 40 x 20"):
        item.segments()


def test_panoptic_faults(tmp_path: Path, pictures: Path) -> None:
    ids, row = np.full((20, 40), 5), {"id": 5, "category_id": 1}
    for rows, images, message in (
        ([row, row], [7], "image 7.*: two segments have the same id"),
        ([{"id": 5, "category_id": 3}], [7], "image 7.*segment 5 is of category 3"),
        ([row], [7, 7], "image 7.*: the image has a map already"),
        ([row], [], "image 7 has no panoptic map"),
        ([row], [7, 8], "is of image 8, which the file does not list"),
    ):
        with pytest.raises(PixwardError, match=message):
            read_panoptic(panoptic(tmp_path, ids, rows, images), tmp_path / "maps", pictures)
    path = panoptic(tmp_path, ids, [row])
    (tmp_path / "maps" / "a.png").unlink()
    with pytest.raises(PixwardError, match=r"the map .*a\.png is missing"):
        read_panoptic(path, tmp_path / "maps", pictures)
    mended = read_panoptic(path, tmp_path / "maps", pictures, "mend")
    assert mended.items == () and len(mended.mended) == 2


def test_captions_by_hand(tmp_path: Path, pictures: Path) -> None:
    notes = [
        {"id": 1, "image_id": 3, "caption": " A dog. "},
        {"id": 2, "image_id": 7, "caption": "Two dogs"},
        {"id": 3, "image_id": 3, "caption": "One dog"},
    ]
    items = read_captions(written(tmp_path, coco(annotations=notes)), pictures).items
    assert [(item.picture.number, item.captions) for item in items] == [(7, ("Two dogs",)), (3, ("A dog.", "One dog"))]
    with pytest.raises(PixwardError, match="image 7 has no caption"):
        read_captions(written(tmp_path, coco(annotations=notes[:1])), pictures)
    with pytest.raises(PixwardError, match="annotation 9: the caption is empty"):
        read_captions(written(tmp_path, coco(annotations=[*notes, {"id": 9, "image_id": 3, "caption": " "}])), pictures)


# --- the real thing ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def real(shared_data: Path) -> Path:
    folder = shared_data / "coco"
    if not (folder / "panoptic_segmentation").is_dir():
        pytest.skip(f"needs the COCO subset in {folder}")
    return folder


def real_panoptic(real: Path) -> Any:
    folder = real / "panoptic_segmentation" / "annotations"
    return read_panoptic(folder / "panoptic_val2017.json", folder / "panoptic_val2017", real / "images" / "val2017")


def test_real_panoptic_maps(real: Path) -> None:
    labels = real_panoptic(real)
    raw = json.loads((real / "panoptic_segmentation/annotations/panoptic_val2017.json").read_text())
    assert len(labels.items) == 100 and len(labels.categories) == 133 and int(labels.things.sum()) == 80
    truth = {entry["image_id"]: entry["segments_info"] for entry in raw["annotations"]}
    for item in labels.items[:12]:
        segments = item.segments()
        segments.check("real")
        rows = truth[item.picture.number]
        assert segments.ids.shape[1:] == item.picture.size[::-1]
        assert segments.ids.flatten().bincount(minlength=len(rows) + 1)[1:].tolist() == [row["area"] for row in rows]
        numbers = [labels.categories[k].number for k in segments.labels[0].tolist()]
        assert numbers == [row["category_id"] for row in rows]


def test_real_boxes_of_both_formats_agree(real: Path, tmp_path: Path) -> None:
    """The instances JSON is not in the subset: made here of the panoptic file's things, and read by pycocotools too."""
    labels = real_panoptic(real)
    raw = json.loads((real / "panoptic_segmentation/annotations/panoptic_val2017.json").read_text())
    things = {c["id"] for c in raw["categories"] if c["isthing"]}
    rows = [(entry["image_id"], row) for entry in raw["annotations"] for row in entry["segments_info"]]
    entries = [{**row, "id": i + 1, "image_id": n} for i, (n, row) in enumerate(rows) if row["category_id"] in things]
    categories = [c for c in raw["categories"] if c["isthing"]]
    path = written(tmp_path, {"images": raw["images"], "categories": categories, "annotations": entries})
    boxes = read_boxes(path, real / "images" / "val2017")
    assert len(boxes.items) == 100 and sum(len(item.boxes) for item in boxes.items) == len(entries)
    names = [category.name for category in labels.categories if category.thing]
    assert names == [category.name for category in boxes.categories]
    yolo = read_yolo(real / "object_detection/labels/val2017", real / "images" / "val2017", names)
    assert len(yolo.items) == 128
    by_number = {item.picture.number: item for item in yolo.items}
    near = every = 0
    for item in boxes.items:
        other = by_number[item.picture.number]
        assert other.picture == item.picture
        for corner, label in zip(item.boxes[~item.crowd], item.labels[~item.crowd], strict=True):
            gaps = (other.boxes[other.labels == label] - corner).abs().amax(1)
            near += bool(len(gaps) and gaps.min() < 3)  # panoptic boxes are whole pixels of what is seen
            every += 1
    assert near / every > 0.8

    coco_api = pytest.importorskip("pycocotools.coco").COCO(str(path))
    for item in boxes.items:
        theirs = coco_api.loadAnns(coco_api.getAnnIds(imgIds=item.picture.number))
        corners = [[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in theirs)]
        assert torch.equal(item.boxes, torch.tensor(corners, dtype=torch.float64).view(-1, 4))
        assert item.areas.tolist() == [row["area"] for row in theirs]
        assert [boxes.categories[k].number for k in item.labels.tolist()] == [row["category_id"] for row in theirs]


def test_real_boxes_with_a_missing_picture(real: Path) -> None:
    texts, images = real / "object_detection/labels/train2017", real / "images" / "train2017"
    names = [str(i) for i in range(80)]
    with pytest.raises(PixwardError, match=r"000000000656\.txt is about a missing picture"):
        read_yolo(texts, images, names)
    labels = read_yolo(texts, images, names, "mend")
    assert len(labels.mended) == 2 and len(labels.items) == 100
    lines = sum(
        len((texts / f"{item.picture.path.stem}.txt").read_text().split("\n")) - 1
        for item in labels.items
        if len(item.boxes)
    )
    assert sum(len(item.boxes) for item in labels.items) == lines


def test_real_captions(real: Path) -> None:
    path, images = real / "captions" / "captions_val2017.json", real / "images" / "val2017"
    with pytest.raises(PixwardError, match="image 397133 is missing"):
        read_captions(path, images)
    labels = read_captions(path, images, "mend")
    assert len(labels.items) == 128 and len(labels.mended) == 5000 - 128
    raw: dict[int, list[str]] = {}
    for entry in json.loads(path.read_text())["annotations"]:
        raw.setdefault(entry["image_id"], []).append(entry["caption"].strip())
    for item in labels.items:
        assert list(item.captions) == raw[item.picture.number] and len(item.captions) >= 5
    assert labels.items[0].picture.image(32).shape == (1, 3, 32, 32)
