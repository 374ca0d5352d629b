from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from tests.study.studies import METHODS, picture, study_folder

from pixward.errors import PixwardError
from pixward.study import StudySettings, build, read_tasks


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL)[1])


def decoded(uri: str) -> Image.Image:
    head, code = uri.split(",", 1)
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(code)))


@pytest.fixture
def tasks(tmp_path):
    return read_tasks(study_folder(tmp_path / "study"))


def test_the_page_gives_nothing_away_and_needs_nothing(tasks):
    page = build(tasks).page
    names = [*METHODS, *(task.name for task in tasks), "secret", "goal.png", "source.jpg", "/study"]
    assert not [name for name in names if name in page]
    assert "http:" not in page and "https:" not in page and "src=" not in page and "@import" not in page
    assert "default-src 'none'" in page
    for question in data_of(page)["questions"]:
        assert list(question["results"]) == sorted(question["results"])  # the order in the file tells nothing either
        for uri in question["results"].values():
            assert not decoded(uri).getexif() and len(uri) > 100


def test_the_key_says_what_the_page_does_not(tasks):
    study = build(tasks)
    shown = {question["id"]: question for question in data_of(study.page)["questions"]}
    assert study.key["methods"] == sorted(METHODS) and study.key["study"] == data_of(study.page)["study"]
    for entry, task in zip(study.key["questions"], tasks, strict=True):
        assert entry["task"] == task.name
        assert sorted(entry["results"].values()) == sorted(METHODS)
        for name, method in entry["results"].items():
            inside = np.asarray(decoded(shown[entry["id"]]["results"][name]), int)
            on_disk = np.asarray(Image.open(task.results[method]), int)
            assert np.abs(inside - on_disk).mean() < 4
        target = np.asarray(decoded(shown[entry["id"]]["target"]), int)
        assert np.abs(target - np.asarray(Image.open(task.target), int)).mean() < 4
    names = [name for entry in study.key["questions"] for name in entry["results"]]
    assert len(set(names)) == len(names)


def test_same_input_same_page_and_any_change_another_study(tasks):
    first = build(tasks)
    assert build(tasks) == first
    changed = [build(tasks, StudySettings(**change)) for change in ({"picks": 1}, {"seed": 1}, {"title": "Hm"})]
    picture(tasks[0].results["lazy-method"], 99)
    changed.append(build(tasks))
    before, after = (study.key["questions"][0]["results"] for study in (first, changed[-1]))
    assert len(before.keys() & after.keys()) == 2  # a name hangs on the file: who has only the page cannot tell
    assert len({study.key["study"] for study in [first, *changed]}) == 5
    entries = [entry["results"] for study in (first, changed[1]) for entry in study.key["questions"]]
    orders = {tuple(results[name] for name in sorted(results)) for results in entries}
    assert len(orders) > 1  # methods do not always come in one order


def test_words_of_the_page_are_text_not_code(tasks):
    page = build(tasks, StudySettings(title="<b>A & B</b>", question="</script><i>{{STUDY}}")).page
    assert "<title>&lt;b&gt;A &amp; B&lt;/b&gt;</title>" in page
    assert data_of(page)["question"] == "</script><i>{{STUDY}}"
    assert page.count("<script") == 2


def test_pictures_are_reduced_and_of_one_size(tmp_path):
    folder = tmp_path / "study" / "task"
    for name, size in {"goal": (90, 60), "a": (90, 60), "b": (120, 80)}.items():
        picture(folder / f"{name}.png", 0, size)
    tasks = read_tasks(tmp_path / "study")
    question = data_of(build(tasks, StudySettings(picks=1)).page)["questions"][0]
    assert {decoded(uri).size for uri in question["results"].values()} == {(90, 60)}
    question = data_of(build(tasks, StudySettings(picks=1, side=48)).page)["questions"][0]
    assert {decoded(uri).size for uri in [question["target"], *question["results"].values()]} == {(48, 32)}
    assert question["source"] is None


@pytest.mark.parametrize("size", [(48, 48), (32, 48), (120, 80)])
def test_sizes_that_give_a_method_away(tasks, size):
    picture(tasks[1].results["lazy-method"], 1, size)
    with pytest.raises(
        PixwardError, match=rf"very-secret-task-1: lazy-method is {size[0]} x {size[1]} pixels and hasty"
    ):
        build(tasks)


def test_a_broken_picture_is_named(tasks):
    path = tasks[1].results["lazy-method"]
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(PixwardError, match="lazy-method.jpg cannot be read"):
        build(tasks)


def test_picks_must_leave_a_choice(tasks):
    with pytest.raises(PixwardError, match="3 picks of 3 results are no choice"):
        build(tasks, StudySettings(picks=3))
    with pytest.raises(PixwardError, match="picks must be at least 1"):
        StudySettings(picks=0)
