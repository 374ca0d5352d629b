"""``pixward reward``, as a user runs it, on small files in COCO's formats and on real ones."""

from __future__ import annotations

import contextlib
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from pixward.data.panoptic import ids_to_colours
from pixward.image import to_tensor
from pixward.rewards.image import colourfulness

IDS = (3, 17, 90)
"""Categories need not be numbered from 0 or without gaps."""


@pytest.fixture
def scored(pixward, tmp_path):
    """``scored("cider-d", predictions, targets, ...)`` -> the command's JSON; data are written to files."""

    def run(name, predictions, targets=None, *more, note=""):
        words = ["reward", name, "--json", "--predictions", written(predictions, tmp_path / "said.json")]
        if targets is not None:
            words += ["--targets", written(targets, tmp_path / "true.json")]
        done = pixward(*words, *more)
        assert done.code == 0, done.err
        assert (note in done.err and done.err.startswith("pixward: note: ")) if note else done.err == ""
        told = json.loads(done.out)
        assert told["reward"] == name
        return told

    return run


def written(data, path):
    if isinstance(data, (dict, list)):
        path.write_text(json.dumps(data))
        return path
    return data


def instances(boxes, pictures=2, size=(200, 100)):
    """COCO's instances; ``boxes`` are ``(picture, place of the category, [x, y, width, height])``."""
    rows = [
        {"id": i + 1, "image_id": image, "category_id": IDS[k], "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, (image, k, box) in enumerate(boxes)
    ]
    return {
        "images": [{"id": i + 1, "width": size[0], "height": size[1]} for i in range(pictures)],
        "categories": [{"id": number, "name": f"kind {number}"} for number in IDS],
        "annotations": rows,
    }


def results(boxes):
    """``(picture, place of the category, box, score)`` in COCO's form."""
    return [{"image_id": i, "category_id": IDS[k], "bbox": box, "score": score} for i, k, box, score in boxes]


def pycocotools(true, said):
    """Its twelve figures, from files, as COCO's own demo does it."""
    coco, evaluation = (pytest.importorskip(f"pycocotools.{name}") for name in ("coco", "cocoeval"))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(true))
        run = evaluation.COCOeval(truth, truth.loadRes(str(said)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [None if value < 0 else value for value in run.stats.tolist()]


NAMES = ["value", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100"]
NAMES += ["ar_small", "ar_medium", "ar_large"]


# --- boxes ----------------------------------------------------------------------------------------------------------


def crowded(seed):
    """Objects of every size, some of them crowds, in pictures of odd ids; near, doubled and wrong predictions."""
    rng = np.random.default_rng(seed)
    low, span = rng.uniform(0, 300, (60, 2)), rng.uniform(10, 200, (60, 2))
    boxes = np.concatenate([low, span], 1)
    data = instances(
        [(int(rng.integers(1, 6)), int(rng.integers(3)), box.tolist()) for box in boxes], pictures=7, size=(500, 500)
    )
    for row in data["annotations"]:
        row["iscrowd"] = int(rng.random() < 0.15)
        row["area"] *= 0.6  # COCO's area is the mask's
    rows = []
    for row in data["annotations"] * 3:
        near = np.clip(np.array(row["bbox"]) + rng.normal(0, 8, 4), 1, 290).tolist()
        kind = row["category_id"] if rng.random() < 0.8 else IDS[int(rng.integers(3))]
        score = round(float(rng.random()), 1)  # with ties
        rows.append({"image_id": row["image_id"], "category_id": kind, "bbox": near, "score": score})
    return data, rows


@pytest.mark.parametrize("seed", range(3))
def test_coco_map_equals_pycocotools(scored, tmp_path, seed):
    told = scored("coco-map", *reversed(crowded(seed)))
    want = pycocotools(tmp_path / "true.json", tmp_path / "said.json")
    assert [told["ap"] if name == "value" else told[name] for name in NAMES] == pytest.approx(want, abs=1e-9)
    assert told["value"] == told["ap"] and told["pictures"] == 7 and told["boxes"] == 180
    # The mean over classes is the mean of what is told of each.
    assert np.mean([row["ap"] for row in told["by_class"].values()]) == pytest.approx(told["value"])
    assert set(told["by_class"]) == {f"kind {number}" for number in IDS}


def test_coco_map_by_hand(scored):
    """Two objects of one class, one of another; one found exactly, one missed, the other class only doubled."""
    true = instances([(1, 0, [0, 0, 50, 50]), (2, 0, [0, 0, 50, 50]), (1, 1, [100, 0, 40, 40])])
    said = results([(1, 0, [0, 0, 50, 50], 0.9), (1, 1, [100, 0, 40, 40], 0.4), (1, 1, [100, 0, 40, 40], 0.8)])
    told = scored("coco-map", said, true)
    assert told["by_class"]["kind 3"]["ap"] == pytest.approx(51 / 101)  # recalls 0 to 0.5 of 101
    assert told["by_class"]["kind 17"]["ap"] == pytest.approx(1)
    assert told["value"] == pytest.approx((51 / 101 + 1) / 2)
    assert told["ar100"] == pytest.approx(0.75)
    assert told["ap_large"] is None
    assert told["objects"] == 3


def test_more_than_a_hundred_of_a_class_in_a_picture_do_not_count(scored, tmp_path):
    true = instances([(1, 0, [0, 0, 50, 50])])
    said = results([(1, 0, [100, 50, 20, 20], 0.9)] * 100 + [(1, 0, [0, 0, 50, 50], 0.1)])
    assert scored("coco-map", said, true)["ar100"] == 0
    assert pycocotools(tmp_path / "true.json", tmp_path / "said.json")[8] == 0
    assert scored("coco-map", said[1:], true)["ar100"] == 1


def test_a_table_for_people(pixward, tmp_path):
    true, said = written(instances([(1, 0, [0, 0, 50, 50])]), tmp_path / "t.json"), tmp_path / "s.json"
    written(results([(1, 0, [0, 0, 50, 50], 0.5)]), said)
    done = pixward("reward", "coco-map", "--predictions", said, "--targets", true)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("coco-map  1.0000  (2 pictures)\n")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["ap50", "1.0000"] in rows and ["ap", "large", "-"] in rows and ["objects", "1"] in rows
    assert ["kind", "3", "1.0000", "1.0000", "1.0000"] in rows


@pytest.mark.parametrize("mode", ["paper_text", "paper_code"])
def test_detection_recall_by_hand(scored, mode):
    """Picture 1: found, doubled, and one box that fits nothing; picture 2 has a miss; picture 3 is empty."""
    true = instances([(1, 0, [10, 10, 50, 50]), (2, 1, [0, 0, 30, 30])], pictures=3)
    found = (1, 0, [10, 10, 50, 50], 0.9)
    said = results([found, found, (1, 2, [10, 10, 50, 50], 0.3)])
    told = scored("detection-recall", said, true, "--mode", mode, "--false-cost", "0.2")
    assert told["by_picture"] == pytest.approx({"1": 1 - 0.3 - 0.2, "2": 0, "3": 0}, abs=1e-6)
    assert told["value"] == pytest.approx(0.5 / 3, abs=1e-6)
    parts = [told[name] * 3 for name in ("found", "duplicates", "false_boxes", "objects")]
    assert parts == pytest.approx([1, 1, 1, 2])


def test_the_modes_of_detection_recall_differ(scored):
    true, said = instances([(1, 0, [0, 0, 100, 100])], 1), results([(1, 0, [0, 0, 82.5, 100], 1)])
    assert scored("detection-recall", said, true)["value"] == pytest.approx(0.7)
    assert scored("detection-recall", said, true, "--mode", "paper_code")["value"] == pytest.approx(0.5)


def test_detection_recall_with_crowds_and_a_box_that_sticks_out(scored):
    true = instances([(1, 0, [150, 0, 50, 100]), (1, 1, [0, 0, 50, 50])], 1)
    true["annotations"][1]["iscrowd"] = 1
    said = results([(1, 0, [150, 0, 80, 100], 1), (1, 1, [0, 0, 20, 20], 1)])
    note = "boxes stick out of their pictures (1; the first: "
    told = scored("detection-recall", said, true, "--false-cost", "1", note=note)
    assert told["value"] == pytest.approx(1)  # cut at the rim it fits; what lies in a crowd costs nothing
    assert told["objects"] == 1


def test_a_box_that_sticks_out_is_scored_as_pycocotools_does(scored, tmp_path):
    true, said = instances([(1, 0, [150, 0, 50, 100])], 1), results([(1, 0, [150, 0, 80, 100], 1)])
    told = scored("coco-map", said, true, note="said.json, result at place 0 (image 1): 150 0 80 100")
    assert told["value"] == pytest.approx(pycocotools(tmp_path / "true.json", tmp_path / "said.json")[0])
    assert 0 < told["value"] < 0.5


def test_unknown_categories_are_never_right(scored):
    true = instances([(1, 0, [0, 0, 50, 50])])
    said = [*results([(1, 0, [0, 0, 50, 50], 0.5)]), {**results([(1, 0, [0, 0, 50, 50], 1)])[0], "category_id": 0}]
    note = "none of them is right (1; the first: "
    assert scored("coco-map", said, true, note=note)["value"] == pytest.approx(1)
    assert scored("detection-recall", said, true, "--false-cost", "1", note=note)["value"] == pytest.approx(0)


# --- panoptic maps --------------------------------------------------------------------------------------------------


def panoptic(folder, maps, classes, crowd=None):
    """COCO's panoptic JSON and its PNGs; ``classes`` say what each id of a map is, ``IDS[2]`` is stuff."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number, ids in maps.items():
        Image.fromarray(ids_to_colours(np.array(ids))).save(folder / f"{number:012}.png")
        found = [int(k) for k in np.unique(ids) if k]
        segments = [{"id": k, "category_id": IDS[classes[k]], "iscrowd": int(k == crowd)} for k in found]
        rows.append({"image_id": number, "file_name": f"{number:012}.png", "segments_info": segments})
    height, width = np.array(next(iter(maps.values()))).shape
    data = {
        "images": [{"id": number, "width": width, "height": height} for number in maps],
        "categories": [{"id": k, "name": f"kind {k}", "isthing": int(k != IDS[2])} for k in IDS],
        "annotations": rows,
    }
    return written(data, folder.with_suffix(".json"))


CLASSES = {300: 0, 70000: 0, 5: 2, 6: 1}
TRUE = {7: [[300, 300, 300, 300], [5, 5, 0, 70000]], 8: [[5, 5, 5, 5], [5, 5, 5, 5]]}


def test_panoptic_quality_by_hand(scored, tmp_path):
    """Picture 7: a thing with 3 of 4 pixels found, one missed, stuff exact with void free; picture 8: stuff half."""
    said = {7: [[300, 300, 300, 0], [5, 5, 5, 0]], 8: [[5, 5, 5, 5], [5, 5, 6, 6]]}
    true, found = panoptic(tmp_path / "true", TRUE, CLASSES), panoptic(tmp_path / "said", said, CLASSES)
    told = scored("panoptic-quality", found, true)
    # kind 3: overlap 3/4, one missed. kind 90: overlaps 1 (void counts not) and 6/8. kind 17: one false.
    want = {"kind 3": 0.75 / 1.5, "kind 90": (1 + 0.75) / 2, "kind 17": 0.0}
    assert {name: row["pq"] for name, row in told["by_class"].items()} == pytest.approx(want)
    assert told["value"] == pytest.approx(sum(want.values()) / 3)
    assert told["things_pq"] == pytest.approx(0.75 / 1.5 / 2) and told["stuff_pq"] == pytest.approx(0.875)
    assert told["sq"] == pytest.approx((0.75 + 0.875) / 3) and told["pictures"] == 2
    assert scored("panoptic-quality", true, true)["value"] == 1


def test_what_lies_in_a_crowd_is_no_error(scored, tmp_path):
    maps = {7: [[300, 300, 300, 0], [6, 6, 5, 5]]}
    true, said = panoptic(tmp_path / "true", maps, CLASSES, crowd=6), panoptic(tmp_path / "said", maps, CLASSES)
    told = scored("panoptic-quality", said, true)
    assert told["value"] == 1 and set(told["by_class"]) == {"kind 3", "kind 90"}


def test_panoptic_maps_may_lie_elsewhere(scored, tmp_path):
    true = panoptic(tmp_path / "true", TRUE, CLASSES)
    copy = written(json.loads(true.read_text()), tmp_path / "copy.json")
    more = ("--prediction-maps", tmp_path / "true", "--target-maps", tmp_path / "true")
    assert scored("panoptic-quality", copy, copy, *more)["value"] == 1


# --- captions -------------------------------------------------------------------------------------------------------

TOLD = {
    11: ["a man rides a red horse", "the man sits on a horse", "someone rides along the beach"],
    12: ["two dogs play in the snow", "a dog runs after another dog"],
    13: ["a plate of food on a table", "the table has food and a glass", "dinner on a wooden table"],
}


def captions(texts):
    rows = [{"image_id": number, "caption": text} for number, row in texts.items() for text in row]
    return {"images": [{"id": number} for number in texts], "annotations": rows}


def test_cider_d_equals_pycocoevalcap(scored):
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    said = {11: "a man on a red horse", 12: "dogs play with a glass", 13: "food on a table"}
    rows = [{"image_id": number, "caption": said[number]} for number in (13, 11, 12)]
    told = scored("cider-d", rows, captions(TOLD))
    mean, each = cider.Cider().compute_score(TOLD, {number: [text] for number, text in said.items()})
    assert told["value"] == pytest.approx(mean, abs=1e-9)
    assert [told["by_picture"][str(number)] for number in TOLD] == pytest.approx(each.tolist(), abs=1e-9)
    assert told["documents"] == told["pictures"] == 3
    # Of fewer pictures the frequencies are those of these, as pycocoevalcap has them when it is given these alone.
    some = {number: TOLD[number] for number in (11, 13)}
    told = scored("cider-d", rows[:2], captions(TOLD), note="1 of 3 pictures of")
    mean, _ = cider.Cider().compute_score(some, {number: [said[number]] for number in some})
    assert told["value"] == pytest.approx(mean, abs=1e-9)


def test_one_picture_scores_nothing_and_says_so(scored, tmp_path):
    one, rows = captions({11: TOLD[11]}), [{"image_id": 11, "caption": TOLD[11][0]}]
    told = scored("cider-d", rows, one, note="come from one picture, so that every weight is ln 1 = 0")
    assert told["value"] == 0
    corpus = written(captions(TOLD), tmp_path / "corpus.json")
    told = scored("cider-d", rows, one, "--frequencies", corpus)
    assert told["value"] > 3 and told["documents"] == 3


# --- pictures -------------------------------------------------------------------------------------------------------


def test_colourfulness_of_a_folder(scored, pixward, tmp_path):
    rng = np.random.default_rng(0)
    pixels = {"grey": np.full((8, 8, 3), 90, np.uint8), "vivid": rng.integers(0, 256, (8, 12, 3), np.uint8)}
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    Image.fromarray(pixels["grey"]).save(tmp_path / "pictures" / "grey.png")
    Image.fromarray(pixels["vivid"]).save(tmp_path / "pictures" / "more" / "vivid.png")
    told = scored("colourfulness", tmp_path / "pictures")
    vivid = colourfulness(to_tensor(pixels["vivid"])).item()
    assert told["by_picture"] == pytest.approx({"grey.png": 0, "more/vivid.png": vivid})
    assert told["value"] == pytest.approx(vivid / 2) and 1 < vivid <= math.log(7)
    one = scored("colourfulness", tmp_path / "pictures" / "more" / "vivid.png")
    assert (one["value"], one["pictures"]) == (pytest.approx(vivid), 1)
    table = pixward("reward", "colourfulness", "--predictions", tmp_path / "pictures").out.splitlines()
    assert table[0] == f"colourfulness  {vivid / 2:.4f}  (2 pictures)"


# --- the real subset ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coco(shared_data):
    folder = shared_data / "coco"
    if not (folder / "panoptic_segmentation").is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.fixture(scope="module")
def real_panoptic(coco):
    """The file of 100 pictures of val2017, and their PNGs."""
    path = coco / "panoptic_segmentation" / "annotations" / "panoptic_val2017.json"
    return json.loads(path.read_text()), path.with_suffix("")


def test_coco_map_on_real_objects_and_crowds(scored, tmp_path, real_panoptic):
    """COCO's own ids, areas and crowds of 100 pictures; predictions are jittered truth, scored by chance."""
    data, rng = real_panoptic[0], np.random.default_rng(0)
    things = [category for category in data["categories"] if category["isthing"]]
    known = {category["id"] for category in things}
    segments = [
        (a["image_id"], s) for a in data["annotations"] for s in a["segments_info"] if s["category_id"] in known
    ]
    rows = [
        {"id": i + 1, "image_id": number, **{key: s[key] for key in ("category_id", "bbox", "area", "iscrowd")}}
        for i, (number, s) in enumerate(segments)
    ]
    said = []
    for row in rows + rows[::3]:
        x, y, width, height = row["bbox"]
        noise = 1 + rng.normal(0, 0.1, 2)
        box = [max(x + 1, 0), y, *(np.array([width, height]) * np.minimum(noise, 1)).tolist()]
        said.append({**{key: row[key] for key in ("image_id", "category_id")}, "bbox": box, "score": rng.random()})
    assert sum(row["iscrowd"] for row in rows) == 5
    told = scored("coco-map", said, {"images": data["images"], "categories": things, "annotations": rows})
    want = pycocotools(tmp_path / "true.json", tmp_path / "said.json")
    assert [told["ap"] if name == "value" else told[name] for name in NAMES] == pytest.approx(want, abs=1e-6)
    assert 0.3 < told["value"] < 0.9


def test_real_maps_equal_themselves(scored, tmp_path, real_panoptic):
    data, maps = real_panoptic
    rows = data["annotations"][:8]
    numbers = {row["image_id"] for row in rows}
    images = [image for image in data["images"] if image["id"] in numbers]
    written({**data, "images": images, "annotations": rows}, tmp_path / "some.json")
    more = ("--prediction-maps", maps, "--target-maps", maps)
    told = scored("panoptic-quality", tmp_path / "some.json", tmp_path / "some.json", *more)
    assert told["value"] == told["things_pq"] == told["stuff_pq"] == 1
    assert told["pictures"] == 8 and len(told["by_class"]) > 15


def test_cider_d_on_real_captions(scored, coco):
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    from pixward.metrics.text import tokenise

    data = json.loads((coco / "captions" / "captions_val2017.json").read_text())
    texts: dict[int, list[str]] = {}
    for row in data["annotations"]:
        texts.setdefault(row["image_id"], []).append(row["caption"])
    some = {number: texts[number] for number in sorted(texts)[:60]}
    told = scored(
        "cider-d",
        [{"image_id": number, "caption": row[0]} for number, row in some.items()],
        captions({number: row[1:] for number, row in some.items()}),
    )
    words = {number: [" ".join(tokenise(text)) for text in row] for number, row in some.items()}
    mean, _ = cider.Cider().compute_score(
        {number: row[1:] for number, row in words.items()}, {number: row[:1] for number, row in words.items()}
    )
    assert told["value"] == pytest.approx(mean, abs=1e-6) and mean > 0.5
