from __future__ import annotations

import json

import pytest
import torch
from tests.predict.coco import coco_folder

from pixward.errors import PixwardError
from pixward.predict.folders import MOST, read_folder


@pytest.fixture
def folder(tmp_path):
    return coco_folder(tmp_path / "mini")


def change(folder, name, work):
    path = folder / "annotations" / f"{name}_mini.json"
    content = json.loads(path.read_text())
    work(content)
    path.write_text(json.dumps(content))


def reds(batch):
    """Which pictures these are."""
    return (batch.images[:, 0].mean((1, 2)) * 255 / 10).round().int().tolist()


def test_boxes_are_shares_of_pictures_squeezed_to_a_square(folder):
    data = read_folder("detect", folder)
    assert (data.names, data.things, data.counts, data.most) == (("cat", "dog"), 2, (11, 11), 2)
    assert (len(data.train), len(data.held_out)) == (11, 1)
    shown = data.held_out.batch(range(1))
    assert reds(shown) == [9]  # every tenth
    assert shown.images.shape == (1, 3, 64, 64) and shown.images.dtype == torch.float32
    torch.testing.assert_close(shown.images[0, 0], torch.full((64, 64), 90 / 255))
    want = torch.tensor([[0, 10 / 40, 20 / 80, 30 / 40], [1 / 80, 10 / 40, 22 / 80, 30 / 40]])
    torch.testing.assert_close(shown.boxes.boxes[0], want)
    assert shown.boxes.labels.tolist() == [[0, 1]] and bool(shown.boxes.valid.all())
    assert shown.segments.ids.shape == (1, 64, 64) and not bool(shown.segments.ids.any())
    assert shown.captions == [[]]


def test_every_round_shows_all_pictures_in_an_order_of_its_own(folder):
    source = read_folder("detect", folder, seed=3).train
    rounds = [reds(source.batch(range(11 * k, 11 * k + 11))) for k in range(3)]
    assert all(sorted(shown) == [*range(9), 10, 11] for shown in rounds)
    assert len({tuple(shown) for shown in rounds}) == 3
    again = read_folder("detect", folder, seed=3).train
    assert [reds(again.batch([i]))[0] for i in (40, 4, 12)] == [reds(source.batch([i]))[0] for i in (40, 4, 12)]
    other = read_folder("detect", folder, seed=4).train
    assert reds(other.batch(range(11))) != rounds[0]


def test_of_many_boxes_the_largest_are_learnt_and_all_are_scored(tmp_path):
    folder = coco_folder(tmp_path / "many", boxes=MOST + 3)
    data = read_folder("detect", folder)
    assert data.most == MOST
    assert "11 pictures have more than 20 boxes" in data.notes[0]
    shown = data.train.batch(range(2))
    assert shown.boxes.valid.sum(1).tolist() == [MOST, MOST]
    # Their width grows with their number: the three narrowest are left out.
    assert float(shown.boxes.boxes[0, 0, 0]) == pytest.approx(3 / 80)
    assert int(data.held_out.batch([0]).boxes.valid.sum()) == MOST + 3


def test_crowds_stay_crowds_and_pictures_may_be_empty(folder):
    def work(content):
        content["annotations"][18]["iscrowd"] = 1  # the first box of picture 9
        content["annotations"] = [row for row in content["annotations"] if row["image_id"] not in (3, 4)]

    change(folder, "instances", work)
    data = read_folder("detect", folder)
    assert data.held_out.batch([0]).boxes.crowd.tolist() == [[True, False]]
    assert sorted(data.train.batch(range(11)).boxes.valid.sum(1).tolist()) == [0, 0, *[2] * 9]


def test_maps_have_things_first(folder):
    data = read_folder("panoptic", folder)
    assert (data.names, data.things, data.most) == (("cat", "dog", "sky"), 2, 1)
    shown = data.train.batch(range(3))
    assert shown.segments.ids.shape == (3, 64, 64)
    assert shown.segments.labels[0].tolist() == [2, 1]
    ids = shown.segments.ids[0]
    assert ids[:32].unique().tolist() == [1] and ids[32:, :32].unique().tolist() == [2]
    assert not bool(ids[32:, 32:].any())
    shown.segments.check("maps")


def test_captions_and_colours(folder):
    data = read_folder("caption", folder)
    assert data.held_out.batch([0]).captions == [["A dog, number 9"] * 2]
    assert data.captions[0] == ("A dog, number 0",) * 2
    photos = read_folder("colour", folder / "images")
    assert (len(photos.train), len(photos.held_out), photos.names) == (11, 1, ())


def test_the_files_may_be_named_themselves(folder, tmp_path):
    labels = folder / "annotations" / "instances_mini.json"
    (folder / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(PixwardError, match=r"no picture that .* lists, such as 0\.png, is in .*--images DIR"):
        read_folder("detect", labels)
    assert len(read_folder("detect", labels, tmp_path / "elsewhere").train) == 11
    (tmp_path / "elsewhere").rename(folder / "mini")  # COCO's own layout: a folder named like the file
    assert len(read_folder("detect", folder).train) == 11


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(PixwardError, match="there is no folder"):
        read_folder("detect", tmp_path / "gone")
    (folder / "images" / "3.png").unlink()
    with pytest.raises(PixwardError, match=r"image 4 is missing: no file .*3\.png; correct the file, or pass --mend"):
        read_folder("detect", folder)
    mended = read_folder("detect", folder, faults="mend")
    assert len(mended.train) + len(mended.held_out) == 11
    assert "image 4 is missing" in mended.notes[0]
    (folder / "annotations" / "instances_other.json").write_text("{}")
    with pytest.raises(PixwardError, match=r"has several files of labels: give one of them, --data .*instances_mini"):
        read_folder("detect", folder)
    with pytest.raises(PixwardError, match="lists no pictures"):
        read_folder("detect", folder / "annotations" / "instances_other.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PixwardError, match=r"there is no captions_NAME\.json"):
        read_folder("caption", tmp_path / "empty")
    with pytest.raises(PixwardError, match="no pictures in"):
        read_folder("colour", tmp_path / "empty")


def test_one_picture_is_too_few(tmp_path):
    with pytest.raises(PixwardError, match="takes two or more"):
        read_folder("caption", coco_folder(tmp_path / "one", count=1))
    two = read_folder("caption", coco_folder(tmp_path / "two", count=2))
    assert (len(two.train), len(two.held_out)) == (1, 1)


def test_the_real_subset_of_coco(shared_data):
    labels = shared_data / "coco/panoptic_segmentation/annotations/panoptic_val2017.json"
    data = read_folder("panoptic", labels, shared_data / "coco/images/val2017", faults="mend")
    assert (len(data.names), data.things) == (133, 80)
    assert len(data.train) + len(data.held_out) == 100
    shown = data.held_out.batch(range(2))
    shown.segments.check("maps")
    assert int(shown.segments.ids.max()) > 3
