"""What ``pixward reward`` says of files that do not fit: one line that names the item, and exit code 1."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from PIL import Image

from pixward.data.panoptic import ids_to_colours

INSTANCES = {
    "images": [{"id": 5, "width": 60, "height": 40}, {"id": 6, "width": 60, "height": 40}],
    "categories": [{"id": 3, "name": "cat", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}],
    "annotations": [{"id": 21, "image_id": 5, "category_id": 3, "bbox": [0, 0, 20, 20], "area": 400, "iscrowd": 0}],
}
BOX = {"image_id": 5, "category_id": 3, "bbox": [1, 2, 20, 20], "score": 0.5}
CAPTIONS = {
    "images": [{"id": 5}, {"id": 6}],
    "annotations": [{"id": 1, "image_id": 5, "caption": "a cat"}, {"id": 2, "image_id": 6, "caption": "a sky"}],
}


@pytest.fixture
def line(pixward, tmp_path):
    """The one line of an attempt that fails; data are written to files, which ``SAID`` and ``TRUE`` stand for."""

    def run(name, predictions, targets, *more):
        words = []
        for option, stem, data in (("--predictions", "said", predictions), ("--targets", "true", targets)):
            path = tmp_path / f"{stem}.json"
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_text(data if isinstance(data, str) else json.dumps(data))
            words += [option, path]
        done = pixward("reward", name, *words, *more)
        assert done.code == 1
        told = done.line.replace(str(tmp_path / "said.json"), "SAID").replace(str(tmp_path / "true.json"), "TRUE")
        return told.replace(str(tmp_path), "FOLDER").removeprefix("pixward: ")

    return run


def changed(data, place, **values):
    """``data`` with other values in the row at ``place``, a path of keys."""
    data = copy.deepcopy(data)
    row = data
    for key in place:
        row = row[key]
    row.update(values)
    return data


BAD_TARGETS = [
    ({**INSTANCES, "images": []}, 'TRUE lists no pictures: its "images" is empty'),
    (changed(INSTANCES, ["images", 1], id=5), "TRUE: image 5 is listed twice"),
    (changed(INSTANCES, ["images", 0], width=0), "TRUE, image 5 is empty: it has 0 x 40 pixels"),
    (
        changed(INSTANCES, ["annotations", 0], image_id=77),
        "TRUE, annotation 21 is of image 77, which the file does not list",
    ),
    (
        changed(INSTANCES, ["annotations", 0], category_id=1),
        "TRUE, annotation 21 is of category 1, which the file does not list",
    ),
    ({**INSTANCES, "categories": []}, "TRUE lists no categories, or two with the same id"),
    ({**INSTANCES, "annotations": "none"}, 'TRUE: "annotations" must be a list'),
    ({key: INSTANCES[key] for key in ("images", "categories")}, 'TRUE has no "annotations"'),
    ([], 'TRUE is not in COCO\'s format: expected {"images": [...], "annotations": [...]}'),
    ("{", "TRUE is not valid JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
    (
        changed(INSTANCES, ["annotations", 0], bbox=[70, 0, 20, 20]),
        "TRUE, annotation 21: the box 70 0 20 20 (x y width height, in pixels) lies outside its picture of 60 x 40",
    ),
    (changed(INSTANCES, ["annotations", 0], area="big"), "TRUE, annotation 21: area: expected 1 finite numbers"),
]


@pytest.mark.parametrize("targets, message", BAD_TARGETS)
@pytest.mark.parametrize("name", ["coco-map", "detection-recall"])
def test_instances(line, name, targets, message):
    assert line(name, [BOX], targets).startswith(message)


FIRST = "SAID, result at place 0 (image 5)"
BAD_RESULTS = [
    ({"score": float("nan")}, f"{FIRST}: score: expected 1 finite numbers, got [nan]"),
    ({"score": None}, f"{FIRST}: score: expected 1 finite numbers, got [None]"),
    ({"bbox": [1, 2, 3]}, f"{FIRST}: bbox: expected 4 finite numbers, got [1, 2, 3]"),
    ({"bbox": "1234"}, f"{FIRST}: bbox: expected 4 finite numbers"),
    ({"bbox": [1, 2, 3, float("inf")]}, f"{FIRST}: bbox: expected 4 finite numbers, got [1, 2, 3, inf]"),
    ({"bbox": [30, 30, -10, 5]}, f"{FIRST}: the box has a negative size, -10 x 5; bbox is x y width height"),
    (
        {"bbox": [0, 50, 10, 10]},
        f"{FIRST}: the box 0 50 10 10 (x y width height, in pixels) lies outside its picture of 60 x 40",
    ),
    ({"image_id": 8}, "SAID, result at place 0 (image 8) is of image 8, which TRUE does not list"),
    ({"image_id": "5"}, "SAID, result at place 0 (image 5): \"image_id\" must be a whole number, got '5'"),
    ({"category_id": 2.5}, f'{FIRST}: "category_id" must be a whole number, got 2.5'),
]


@pytest.mark.parametrize("change, message", BAD_RESULTS)
@pytest.mark.parametrize("name", ["coco-map", "detection-recall"])
def test_results_of_boxes(line, name, change, message):
    assert line(name, [{**BOX, **change}], INSTANCES).startswith(message)


def test_results_that_are_no_list_of_objects(line):
    for said, message in [
        ({"boxes": []}, "SAID is not in COCO's format of results"),
        ([[1, 2]], "SAID, result at place 0 must be an object, got [1, 2]"),
        ([{key: BOX[key] for key in ("image_id", "category_id", "bbox")}], f'{FIRST} has no "score"'),
        ("not json", "SAID is not valid JSON"),
        (None, "cannot read SAID: No such file or directory"),
    ]:
        assert line("coco-map", said, INSTANCES).startswith(message)


def test_nothing_found_is_worth_nothing(pixward, tmp_path):
    true, said = tmp_path / "true.json", tmp_path / "said.json"
    said.write_text("[]")
    for name, targets in [("coco-map", INSTANCES), ("detection-recall", INSTANCES), ("cider-d", CAPTIONS)]:
        true.write_text(json.dumps(targets))
        done = pixward("reward", name, "--predictions", said, "--targets", true, "--json")
        assert (done.code, json.loads(done.out)["value"]) == (0, 0)


def test_nothing_to_find(line, pixward, tmp_path):
    """Precision is not defined then; the reward is, and false boxes may cost."""
    crowd = changed(INSTANCES, ["annotations", 0], iscrowd=1)
    for targets in ({**INSTANCES, "annotations": []}, crowd):
        assert line("coco-map", [BOX], targets).startswith("TRUE has no boxes to find (crowds do not count)")
    (tmp_path / "true.json").write_text(json.dumps({**INSTANCES, "annotations": []}))
    words = ("--predictions", tmp_path / "said.json", "--targets", tmp_path / "true.json")
    done = pixward("reward", "detection-recall", *words, "--false-cost", "1", "--json")
    assert json.loads(done.out)["by_picture"] == {"5": -1, "6": 0}


def test_recall_needs_the_sizes_of_pictures(line):
    without = {**INSTANCES, "images": [{"id": 5}, {"id": 6}]}
    assert line("detection-recall", [BOX], without) == 'TRUE, image 5 has no "width" and "height"'


# --- panoptic maps --------------------------------------------------------------------------------------------------


def maps(folder, size=(60, 40), ids=(1, 2)):
    """Two maps, left and right halves."""
    folder.mkdir()
    for number in (5, 6):
        picture = np.full((size[1], size[0]), ids[0])
        picture[:, size[0] // 2 :] = ids[1]
        Image.fromarray(ids_to_colours(picture)).save(folder / f"{number}.png")


SEGMENTS = [{"id": 1, "category_id": 3}, {"id": 2, "category_id": 9}]
PANOPTIC = {
    **INSTANCES,
    "annotations": [{"image_id": n, "file_name": f"{n}.png", "segments_info": SEGMENTS} for n in (5, 6)],
}


def test_panoptic(line, pixward, tmp_path):
    assert line("panoptic-quality", PANOPTIC, PANOPTIC) == "the folder of maps FOLDER/true of TRUE does not exist"
    maps(tmp_path / "true")
    assert line("panoptic-quality", PANOPTIC, PANOPTIC) == "the folder of maps FOLDER/said of SAID does not exist"
    maps(tmp_path / "said", size=(30, 40))
    assert line("panoptic-quality", PANOPTIC, PANOPTIC) == "FOLDER/said/5.png has 30 x 40 pixels, its picture 60 x 40"
    (tmp_path / "said" / "5.png").write_bytes((tmp_path / "true" / "5.png").read_bytes())
    (tmp_path / "said" / "6.png").write_bytes(b"no picture")
    assert line("panoptic-quality", PANOPTIC, PANOPTIC).startswith("FOLDER/said/6.png is not a JPEG")
    (tmp_path / "said" / "6.png").unlink()
    told = line("panoptic-quality", PANOPTIC, PANOPTIC)
    assert told == "SAID, result at place 1 (image 6): the map FOLDER/said/6.png is missing"
    one = {"annotations": PANOPTIC["annotations"][:1]}
    assert line("panoptic-quality", one, PANOPTIC) == "SAID has no map of image 6, which TRUE lists"
    done = pixward("reward", "panoptic-quality", "--predictions", tmp_path / "none.json", "--targets", "x.json")
    assert done.line == "pixward: cannot read x.json: No such file or directory"


def test_panoptic_results_that_do_not_fit(line, tmp_path):
    maps(tmp_path / "true")
    maps(tmp_path / "said", ids=(1, 7))
    told = line("panoptic-quality", PANOPTIC, PANOPTIC)
    assert told == "FOLDER/said/5.png: segment 7 is in the map, but not in the JSON"
    row = "annotations", 0
    for change, message in [
        ({"image_id": 8}, "SAID, result at place 0 (image 8) is of image 8, which TRUE does not list"),
        ({"image_id": 6}, "SAID, result at place 1 (image 6): the image has a map already"),
        ({"segments_info": [SEGMENTS[0]] * 2}, f"{FIRST}: two segments have the same id"),
        ({"segments_info": [{"id": 1, "category_id": 4}]}, f"{FIRST}, segment 1 is of category 4, not in the targets'"),
        ({"segments_info": [3]}, f"{FIRST}, segment at place 0 must be an object, got 3"),
    ]:
        assert line("panoptic-quality", changed(PANOPTIC, row, **change), PANOPTIC).startswith(message)


def test_no_maps_at_all_are_worth_nothing(pixward, tmp_path):
    maps(tmp_path / "true")
    (tmp_path / "true.json").write_text(json.dumps(PANOPTIC))
    (tmp_path / "said.json").write_text("[]")
    words = ("--predictions", tmp_path / "said.json", "--targets", tmp_path / "true.json", "--json")
    told = json.loads(pixward("reward", "panoptic-quality", *words).out)
    assert told["value"] == 0 and told["pictures"] == 2 and set(told["by_class"]) == {"cat", "sky"}


# --- captions and pictures ------------------------------------------------------------------------------------------


def test_captions(line):
    said = {"image_id": 5, "caption": "a cat"}
    for row, message in [
        ({**said, "image_id": 9}, "SAID, result at place 0 (image 9) is of image 9, which TRUE does not list"),
        ({**said, "caption": 3}, f"{FIRST}: the caption must be text, got 3"),
        ({"image_id": 5}, f'{FIRST} has no "caption"'),
    ]:
        assert line("cider-d", [row], CAPTIONS) == message
    assert line("cider-d", [said, said], CAPTIONS).endswith("place 1 (image 5): the image has a caption already")
    silent = changed(CAPTIONS, ["annotations", 0], caption="...")
    assert line("cider-d", [said], silent) == "TRUE has no caption of image 5, which SAID has one of"


def test_an_empty_caption_is_worth_nothing(pixward, tmp_path):
    (tmp_path / "true.json").write_text(json.dumps(CAPTIONS))
    rows = [{"image_id": 5, "caption": ""}, {"image_id": 6, "caption": "a sky"}]
    (tmp_path / "said.json").write_text(json.dumps(rows))
    done = pixward(
        "reward", "cider-d", "--json", "--predictions", tmp_path / "said.json", "--targets", tmp_path / "true.json"
    )
    told = json.loads(done.out)["by_picture"]
    assert told["5"] == 0 and told["6"] > 0


def test_frequencies_of_nothing(line, tmp_path):
    (tmp_path / "none.json").write_text(json.dumps({**CAPTIONS, "annotations": []}))
    told = line("cider-d", [{"image_id": 5, "caption": "a cat"}], CAPTIONS, "--frequencies", tmp_path / "none.json")
    assert told == "FOLDER/none.json has no captions to count words in"


def test_pictures(pixward, tmp_path):
    def told(path):
        return pixward("reward", "colourfulness", "--predictions", path).line.replace(str(tmp_path), "FOLDER")

    assert told(tmp_path / "gone") == "pixward: there is no picture or folder FOLDER/gone"
    (tmp_path / "empty").mkdir()
    assert told(tmp_path / "empty") == "pixward: no pictures in FOLDER/empty"
    (tmp_path / "empty" / "broken.png").write_bytes(b"nothing")
    assert "FOLDER/empty/broken.png" in told(tmp_path / "empty")


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, message",
    [
        (["coco", "--targets", "t"], "no reward is called 'coco': choose from coco-map, panoptic-quality"),
        (["coco-map"], "--targets: coco-map needs it"),
        (["coco-map", "--targets", "t", "--mode", "paper_text"], "--mode: coco-map does not take it"),
        (["colourfulness", "--targets", "t"], "--targets: colourfulness does not take it"),
        (["detection-recall", "--targets", "t", "--mode", "text"], "must be paper_text or paper_code"),
        (["detection-recall", "--targets", "t", "--false-cost", "-1"], "--false-cost"),
        (["detection-recall", "--targets", "t", "--false-cost", "nan"], "--false-cost"),
    ],
)
def test_usage(pixward, words, message):
    done = pixward("reward", *words, "--predictions", "p")
    assert done.code == 2 and message in done.line


def test_help_has_an_example(pixward):
    done = pixward("reward", "--help")
    assert done.code == 0 and "Example:  pixward reward coco-map --predictions" in done.out
