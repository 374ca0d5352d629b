from __future__ import annotations

import pytest
from PIL import Image
from tests.commands.conftest import edited, picture

from pixward.commands.proxy_training import FILTERS, filters_of, named_filters
from pixward.editors.chain import PAPER, PHOTO, PHOTO_SPACE, Chain
from pixward.policies.proxy import KINDS, load_proxy
from pixward.run import read_log


@pytest.fixture
def photos(tmp_path):
    """A folder of two photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(picture(64, 56, seed)).save(folder / f"{seed}.png")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_trains_and_matches_with_it(pixward, photos, tmp_path, kind):
    out = tmp_path / "run"
    train = ("train", "edit", "--photos", photos, "--out", out, "--algorithm", kind)
    done = pixward(*train, "--steps", 2)
    assert done.code == 0
    assert done.out == f"weights: {out / f'{kind}.safetensors'}\n"
    assert done.err.startswith("step 2  ") and ("render 0." if kind == "monolithic" else "filter 0.") in done.err
    assert load_proxy(out / f"{kind}.safetensors", kind).settings.sliders == len(PHOTO.space)
    assert pixward(*train, "--steps", 3).line == (
        f"pixward: {out / kind} holds a run already: resume it (--resume) or choose another folder"
    )
    assert pixward(*train, "--steps", 3, "--resume").code == 0
    assert [row["step"] for row in read_log(out / kind / "log.jsonl")] == [2, 3]

    photo, goal = tmp_path / "photo.png", tmp_path / "goal.png"
    Image.fromarray(picture()).save(photo)
    Image.fromarray(edited(picture(), exposure=0.5)).save(goal)
    match = ("match", photo, "--goal", goal, "--strategy", kind, "--renders", 2, "--out", tmp_path / "found")
    assert pixward(*match, "--networks", out).code == 0
    assert (tmp_path / "found").is_dir()
    other = next(name for name in KINDS if name != kind)
    line = pixward(*(other if word == kind else word for word in match), "--networks", out, "--force").line
    assert f"no {other} proxy lies in {out}: train one (pixward train edit --editor chain:photo" in line


def test_filters_of_the_built_in_editors_hold_all_of_their_sliders():
    for editor in (PAPER, PHOTO):
        filters = filters_of(editor)
        assert sorted(place for each in filters for place in each.sliders) == list(range(len(editor.space)))
    paper = filters_of(PAPER)
    assert [len(each.sliders) for each in paper] == [1, 3, 1, 1, 1, 1, 1]
    assert [each.areawise for each in paper] == [False] * 6 + [True]
    # The order is the one that the chains render in, by names: a slider may stand elsewhere in the space.
    assert [each.name for each in filters_of(PHOTO)] == [names.split()[0] for names, _ in FILTERS["chain:photo"]]


def test_another_editors_sliders_are_filters_each():
    own = Chain("own:editor", PHOTO.space, PHOTO.render)
    filters = filters_of(own)
    assert [each.sliders for each in filters] == [(place,) for place in range(12)]
    assert [each.name for each in filters if each.areawise] == ["clarity", "sharpness"]
    assert named_filters(PHOTO_SPACE, (("tint exposure", True),))[0].sliders == (2, 0)
