from __future__ import annotations

import pytest

from pixward.data.paired import PhotoPair, listed, pairs_of, split
from pixward.errors import PixwardError


def touch(*paths):
    """Files with nothing in them: only names are looked at."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def folder(tmp_path):
    touch(*(tmp_path / "source" / name for name in ("b.jpg", "a.png", "deep/c.dng")))
    touch(*(tmp_path / "goal" / name for name in ("a.tif", "b.webp", "c.jpg", "nobody.jpg")))
    return tmp_path


def test_folders_are_joined_by_stem(folder):
    source, goal = folder / "source", folder / "goal"
    assert pairs_of(folder, "folders") == [
        PhotoPair("a", source / "a.png", goal / "a.tif"),
        PhotoPair("b", source / "b.jpg", goal / "b.webp"),
        PhotoPair("c", source / "deep" / "c.dng", goal / "c.jpg"),
    ]


def test_a_list_chooses_and_orders(folder):
    ids = folder / "ids.txt"
    ids.write_bytes(b"\xef\xbb\xbfc\r\n\r\na\r\n")
    assert [pair.name for pair in pairs_of(folder, f"folders@{ids}")] == ["c", "a"]
    assert [pair.name for pair in pairs_of(folder, "folders@ids.txt")] == ["c", "a"]  # in the data set's folder
    (folder / "goal" / "b.webp").unlink()  # not asked for
    assert len(pairs_of(folder, f"folders@{ids}")) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nghost\n", "the list names ghost, and no such photo is there"),
        ("a\nb\na\n", "names a twice"),
        (" \n", "names no pictures"),
        ("\ufffe", "names"),
    ],
)
def test_lists_that_do_not_fit_are_refused(folder, content, message):
    ids = folder / "ids.txt"
    ids.write_text(content, encoding="utf-8")
    with pytest.raises(PixwardError, match=message):
        pairs_of(folder, f"folders@{ids}")


def test_a_picture_is_no_list(tmp_path):
    (tmp_path / "ids.txt").write_bytes(b"\x89PNG\xff\x00")
    with pytest.raises(PixwardError, match="is no text file"):
        listed(tmp_path / "ids.txt")


def test_what_has_no_goal_is_named_but_not_without_end(folder):
    touch(*(folder / "source" / f"x{k}.jpg" for k in range(6)))
    with pytest.raises(PixwardError, match=r"goal has no picture x0, x1, x2 and 3 more: add what is missing"):
        pairs_of(folder, "folders")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("folder", "unknown layout 'folder'; choose from: folders, fivek, hdrplus"),
        ("folders:x", "unknown layout"),
        ("folders@nowhere.txt", "there is no list nowhere.txt, neither here nor in"),
        ("folders@", "there is no list of names"),
        ("fivek:f", "experts a to e, not 'f'"),
        ("hdrplus:raw", "sources merged and frame, not 'raw'"),
    ],
)
def test_layouts_that_are_none(folder, layout, message):
    with pytest.raises(PixwardError, match=message):
        pairs_of(folder, layout)


def test_the_two_folders_are_asked_for(tmp_path):
    touch(tmp_path / "source" / "a.jpg")
    with pytest.raises(PixwardError, match="has no folder goal: layout folders wants source/ and goal/"):
        pairs_of(tmp_path, "folders")
    (tmp_path / "goal").mkdir()
    with pytest.raises(FileNotFoundError, match="no pictures in"):
        pairs_of(tmp_path, "folders")


def test_one_stem_twice(folder):
    touch(folder / "source" / "a.nef")
    with pytest.raises(PixwardError, match="have one stem"):
        pairs_of(folder, "folders")


def test_a_split_depends_on_names_and_seed_alone(tmp_path):
    pairs = [PhotoPair(f"{k:04d}", tmp_path / f"{k}", tmp_path / f"{k}") for k in range(50)]
    learn, held = split(pairs, 5, seed=1)
    assert len(learn) == 45 and len(held) == 5
    assert sorted([*learn, *held], key=lambda pair: pair.name) == pairs
    assert [pair.name for pair in held] == sorted(pair.name for pair in held)  # the order given
    turned = split(pairs[::-1], 5, seed=1)
    assert set(turned[1]) == set(held) and turned[1][0] == held[-1]
    assert set(split(pairs, 5, seed=2)[1]) != set(held)


@pytest.mark.parametrize("count", [0, 3, 4, -1])
def test_a_split_leaves_some_on_either_side(count, tmp_path):
    pairs = [PhotoPair(name, tmp_path, tmp_path) for name in "abc"]
    with pytest.raises(PixwardError, match=f"cannot hold out {count} of 3"):
        split(pairs, count)
