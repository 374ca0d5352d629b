"""FiveK's layouts, made up: the file names are real ones, the files hold nothing."""

from __future__ import annotations

import pytest
from tests.data.test_paired import touch

from pixward.data.fivek import list_pairs
from pixward.data.paired import pairs_of
from pixward.errors import PixwardError

NAMES = ("a0001-jmac_DSC1459", "a0701-_DSC0044", "a4607-050801_080948__I2E5512")
PARTS = ("HQa1to700", "HQa701to1400", "HQa4201to5000")


def raws(folder):
    touch(*(folder / "raw_photos" / part / "photos" / f"{n}.dng" for part, n in zip(PARTS, NAMES, strict=True)))


def experts(folder, letters):
    touch(*(folder / f"tiff16_{letter}" / f"{name}.tif" for letter in letters for name in NAMES))


@pytest.mark.parametrize("place", ["", "fivek_dataset", "MITAboveFiveK/processed"])
def test_as_published(tmp_path, place):
    raws(tmp_path / "fivek_dataset")
    experts(tmp_path / place, "ac")
    pairs = pairs_of(tmp_path, "fivek")
    assert [pair.name for pair in pairs] == list(NAMES)
    for pair, part in zip(pairs, PARTS, strict=True):
        assert pair.source == tmp_path / "fivek_dataset" / "raw_photos" / part / "photos" / f"{pair.name}.dng"
        assert pair.goal == tmp_path / place / "tiff16_c" / f"{pair.name}.tif"
    assert {pair.goal.parent.name for pair in pairs_of(tmp_path, "fivek:a")} == {"tiff16_a"}
    assert pairs_of(tmp_path, "fivek:A") == list_pairs(tmp_path, "expertA")


def test_by_camera(tmp_path):
    touch(tmp_path / "raw" / "Nikon_D70" / f"{NAMES[0]}.DNG", tmp_path / "raw" / "Leica_M8" / f"{NAMES[1]}.dng")
    experts(tmp_path / "processed", "c")
    assert [pair.source.parent.name for pair in list_pairs(tmp_path)] == ["Nikon_D70", "Leica_M8"]


@pytest.mark.parametrize(
    ("source", "goal"),
    [("input/JPG/480p", "expertC/JPG/480p"), ("input", "expertC_gt"), ("Input", "ExpertC"), ("input", "expertc")],
)
def test_as_pictures(tmp_path, source, goal):
    touch(*(tmp_path / source / f"a000{k}.jpg" for k in (2, 1)), *(tmp_path / goal / f"a000{k}.png" for k in (1, 2, 3)))
    touch(tmp_path / "input" / "PNG" / "480p_16bits_XYZ_WB" / "a0001.png") if "480p" in source else None
    assert [(pair.name, pair.source.parent, pair.goal.parent) for pair in list_pairs(tmp_path)] == [
        (name, tmp_path / source, tmp_path / goal) for name in ("a0001", "a0002")
    ]


def test_as_rlpixtuner_has_them(tmp_path):
    names = ("ExpertC0001-0-Best", "ExpertC0002-0-Best")
    touch(*(tmp_path / f"{name}-{kind}" for name in names for kind in ("Input.tif", "Target.tif")))
    touch(
        tmp_path / "image_pairs.json",
        tmp_path / "ExpertC0003-0-Best-Input.tif",
        tmp_path / "ExpertC0003-0-Best-Target.png",
    )
    pairs = list_pairs(tmp_path)
    assert [pair.name for pair in pairs] == [*names, "ExpertC0003-0-Best"]
    assert [pair.goal.suffix for pair in pairs] == [".tif", ".tif", ".png"]
    (tmp_path / f"{names[0]}-Target.tif").unlink()
    with pytest.raises(PixwardError, match=r"has no -Target of ExpertC0001-0-Best: add"):
        list_pairs(tmp_path)


def test_lists_may_give_numbers_endings_and_folders(tmp_path):
    raws(tmp_path)
    experts(tmp_path, "c")
    ids = tmp_path / "test.txt"
    ids.write_text(f"a4607\nJPG/480p/a0001.jpg\n{NAMES[1]}.dng\n")
    assert [pair.name for pair in list_pairs(tmp_path, ids=ids)] == [NAMES[2], NAMES[0], NAMES[1]]
    ids.write_text(f"a0001\n{NAMES[0]}\n")
    with pytest.raises(PixwardError, match="names one photo twice"):
        list_pairs(tmp_path, ids=ids)
    ids.write_text("a0009\n")
    with pytest.raises(PixwardError, match="the list names a0009, and no such photo"):
        list_pairs(tmp_path, ids=ids)


def test_a_download_that_is_not_complete(tmp_path):
    raws(tmp_path)
    with pytest.raises(PixwardError, match=r"results of no expert: put expert C's in tiff16_c/"):
        list_pairs(tmp_path)
    experts(tmp_path, "ae")
    with pytest.raises(PixwardError, match=r"results only of a, e: put expert C's in tiff16_c/"):
        list_pairs(tmp_path)
    (tmp_path / "tiff16_e" / f"{NAMES[1]}.tif").unlink()
    with pytest.raises(PixwardError, match=rf"tiff16_e has no picture {NAMES[1]}: add what is missing, or list"):
        list_pairs(tmp_path, "e")
    ids = tmp_path / "have.txt"
    ids.write_text(NAMES[0])
    assert len(list_pairs(tmp_path, "e", ids)) == 1


def test_another_folder_is_told_what_was_expected(tmp_path):
    touch(tmp_path / "holiday" / "one.jpg")
    with pytest.raises(PixwardError, match=r"does not look like FiveK \(it holds holiday\): expected raw_photos/HQa"):
        list_pairs(tmp_path)
    with pytest.raises(PixwardError, match="is no folder"):
        list_pairs(tmp_path / "nowhere")
    touch(tmp_path / "input" / "a0001.jpg")
    with pytest.raises(PixwardError, match=r"has input/ but no expertB/"):
        list_pairs(tmp_path, "b")


def test_xyz_copies_are_no_photos(tmp_path):
    touch(
        tmp_path / "input" / "PNG" / "480p_16bits_XYZ_WB" / "a0001.png",
        tmp_path / "expertC" / "JPG" / "480p" / "a0001.jpg",
    )
    with pytest.raises(PixwardError, match="has the XYZ copies only: fetch JPG/480p"):
        list_pairs(tmp_path)
