from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.data.before_after import BeforeAfter, PairCrops, read_before_after
from pixward.errors import PixwardError


def write(path, pixels):
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path):
    """Three pairs of other formats on either side: what is after is what was before, inverted."""
    rng = np.random.default_rng(0)
    for name in ("b", "a", "c"):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        write(tmp_path / "before" / f"{name}.png", pixels)
        write(tmp_path / "after" / f"{name}.tif", 255 - pixels)
    write(tmp_path / "after" / "nobody.png", pixels)
    return tmp_path / "before", tmp_path / "after"


def ramp(height, width):
    """A pair whose pixels tell their place: red is the row, green the column; after is twice that."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    before = torch.stack([rows, columns, torch.zeros_like(rows)]).to(torch.uint8)
    return BeforeAfter("ramp", before, before * 2)


def test_pairs_are_found_by_stem_and_sorted(folders):
    pairs = read_before_after(*folders)
    assert [pair.name for pair in pairs] == ["a", "b", "c"]
    for pair in pairs:
        expected = np.asarray(Image.open(folders[0] / f"{pair.name}.png")).transpose(2, 0, 1)
        assert np.array_equal(pair.before.numpy(), expected)
        assert torch.equal(pair.after, 255 - pair.before)


def test_a_list_chooses_and_orders(folders, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_bytes(b"c\r\n\r\na\r\n")
    assert [pair.name for pair in read_before_after(*folders, ids)] == ["c", "a"]


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("a\nnobody\n", "before has no picture nobody: add it"),
        ("a\nghost\n", "before has no picture ghost"),
        ("a\nb\na\n", "names a twice"),
        ("\n", "names no pictures"),
    ],
)
def test_lists_that_do_not_fit_are_refused(folders, tmp_path, listed, message):
    ids = tmp_path / "ids.txt"
    ids.write_text(listed)
    with pytest.raises(PixwardError, match=message):
        read_before_after(*folders, ids)


def test_a_missing_partner_is_named(folders):
    (folders[1] / "b.tif").unlink()
    with pytest.raises(PixwardError, match="after has no picture b: add it, or take b out of the pairs"):
        read_before_after(*folders)


def test_two_sizes_are_refused(folders):
    write(folders[1] / "b.tif", np.zeros((24, 20, 3), np.uint8))
    with pytest.raises(PixwardError, match=r"b\.png is 24 x 20 and .*b\.tif 20 x 24: .* of one size"):
        read_before_after(*folders)


def test_one_stem_twice_is_refused(folders):
    write(folders[0] / "b.webp", np.zeros((20, 24, 3), np.uint8))
    with pytest.raises(PixwardError, match="have one stem"):
        read_before_after(*folders)


def test_a_pair_becomes_a_batch_of_one(folders):
    pair = read_before_after(*folders)[0]
    batch = pair.batch()
    assert set(batch) == {"image", "clean"}
    assert batch["image"].shape == (1, 3, 20, 24)
    assert torch.equal((batch["clean"][0] * 255).round().to(torch.uint8), pair.after)


def test_crops_show_the_same_place_in_both():
    torch.manual_seed(0)
    batch = PairCrops([ramp(40, 60)], 16)(512)
    image, clean = (batch[key] * 255 for key in ("image", "clean"))
    assert image.shape == clean.shape == (512, 3, 16, 16)
    assert torch.allclose(clean, 2 * image, atol=1e-4)
    rows, columns = image[:, 0], image[:, 1]
    assert torch.allclose(rows.diff(dim=1), torch.ones(1), atol=1e-4)  # never upside down
    steps = columns.diff(dim=2)
    mirrored = steps[:, 0, 0] < 0
    assert torch.allclose(steps, torch.where(mirrored, -1.0, 1.0)[:, None, None].expand_as(steps), atol=1e-4)
    assert 0 < mirrored.sum() < 512
    # Every place can be drawn: the first and the last row and column too.
    assert rows.min() == 0 and rows.max() == 39 and columns.min() == 0 and columns.max() == 59


def test_zoomed_crops_reach_the_whole_picture():
    torch.manual_seed(0)
    image = PairCrops([ramp(40, 60)], 16, zoom=4)(200)["image"] * 255
    steps = image[:, 0].diff(dim=1).mean((1, 2))  # rows of the picture for a row of the crop
    assert 1 <= steps.min() < 1.1
    assert 2.3 < steps.max() <= 40 / 16  # the picture's height, not four times the crop
    assert torch.allclose(PairCrops([ramp(40, 60)], 16, zoom=1)(1)["image"][0, 0].diff(dim=0) * 255, torch.ones(1))


def test_the_global_generator_decides():
    crops = PairCrops([ramp(40, 60), ramp(30, 30)], 16, zoom=2)
    torch.manual_seed(3)
    first = crops(8)
    assert not torch.equal(first["image"], crops(8)["image"])
    torch.manual_seed(3)
    assert torch.equal(first["image"], crops(8)["image"])


def test_crops_that_cannot_be_are_refused():
    with pytest.raises(PixwardError, match="ramp is only 12 pixels wide or high, less than a crop of 16"):
        PairCrops([ramp(40, 12)], 16)
    with pytest.raises(PixwardError, match="no pairs"):
        PairCrops([], 16)
    with pytest.raises(ValueError, match="zoom must be at least 1"):
        PairCrops([ramp(40, 40)], 16, zoom=0.5)


def test_the_popout_pairs_are_split_70_and_45(shared_data):
    folder = shared_data / "colour_popout"
    parts = {}
    for part, count in (("train", 70), ("test", 45)):
        pairs = read_before_after(folder / "data", folder / "label", folder / f"{part}_ids.txt")
        assert len(pairs) == count
        parts[part] = {pair.name for pair in pairs}
    assert not parts["train"] & parts["test"]
