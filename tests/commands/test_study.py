"""``pixward study`` as a user runs it. The people are made up."""

from __future__ import annotations

import json

import pytest
from tests.study.studies import METHODS, picks_file, study_folder

GOOD, FAIR, BAD = METHODS


@pytest.fixture
def folder(tmp_path):
    return study_folder(tmp_path / "tasks")


def test_a_page_and_its_key(pixward, folder):
    done = pixward("study", folder)
    assert done.code == 0 and done.err == ""
    assert "3 questions, 3 methods" in done.out and "Keep" in done.out
    key = json.loads((folder / "study.key.json").read_text())
    page = (folder / "study.html").read_text(encoding="utf-8")
    assert key["study"] in page and not [method for method in METHODS if method in page]


def test_an_older_page_stays_unless_forced(pixward, folder):
    assert pixward("study", folder).code == 0
    before = (folder / "study.html").read_bytes()
    assert (
        "exists already: remove it, choose another place, or pass --force" in pixward("study", folder, "--seed", 1).line
    )
    assert (folder / "study.html").read_bytes() == before
    done = pixward("study", folder, "--seed", 1, "--force", "--json")
    assert done.code == 0 and json.loads(done.out)["questions"] == 3
    assert (folder / "study.html").read_bytes() != before


def test_another_place_and_other_words(pixward, folder, tmp_path):
    out = tmp_path / "give" / "ask.html"
    done = pixward(
        "study", folder, "--out", out, "--picks", 1, "--title", "Looks", "--question", "Which?", "--side", 64
    )
    assert done.code == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["ask.html", "ask.key.json"]
    assert json.loads((out.parent / "ask.key.json").read_text())["picks"] == 1
    assert '"question": "Which?"' in out.read_text(encoding="utf-8")


def test_a_broken_picture_leaves_nothing_behind(pixward, folder):
    (folder / "very-secret-task-1" / f"{BAD}.jpg").write_bytes(b"\xff\xd8\xff nothing")
    done = pixward("study", folder)
    assert done.code == 1 and f"{BAD}.jpg cannot be read" in done.line
    assert not list(folder.glob("study*")) and not list(folder.glob(".pixward*"))


def test_a_missing_target_is_one_line(pixward, folder):
    (folder / "very-secret-task-1" / "goal.png").unlink()
    done = pixward("study", folder)
    assert done.code == 1 and "has no target: add goal.jpg" in done.line


@pytest.fixture
def picks(pixward, folder):
    assert pixward("study", folder).code == 0
    key = json.loads((folder / "study.key.json").read_text())
    for k in range(12):
        picks_file(
            folder / "picks" / f"{k:02d}.json", key, f"person{k}", lambda n, k=k: {GOOD} if (k + n) % 4 else {FAIR}, k
        )
    return sorted((folder / "picks").iterdir())


def test_counting(pixward, picks):
    done = pixward("study", "--score", *picks)
    assert done.code == 0 and done.err == ""
    assert [line.split()[0] for line in done.out.splitlines()[:4]] == ["Method", GOOD, FAIR, BAD]
    assert "12 people, 36 answers" in done.out and "sign test p" in done.out and "Cochran's Q" in done.out
    assert "very-secret-task-2" in done.out and "fewer than 10" not in done.out
    told = json.loads(pixward("study", "--score", *picks, "--json").out)
    assert told["methods"][0]["votes"] == 27 and told["methods"][1]["votes"] == 9 and told["left_out"] == []


def test_a_folder_of_picks(pixward, picks, folder):
    told = json.loads(pixward("study", "--score", folder / "picks", "--json").out)
    assert told == json.loads(pixward("study", "--score", *picks, "--json").out)
    (folder / "study.key.json").rename(folder / "picks" / "study.key.json")
    assert json.loads(pixward("study", "--score", folder / "picks", "--json").out) == told
    assert "holds no picks" in pixward("study", "--score", folder, "--key", folder / "picks" / "study.key.json").line


def test_counting_names_what_it_leaves_out(pixward, picks, folder):
    picks[0].write_text("{")
    done = pixward("study", "--score", *picks, "--key", folder / "study.key.json")
    assert done.code == 0 and "11 people" in done.out and "1 file left out" in done.out
    assert done.err == f"pixward: {picks[0]} left out: no JSON, or cut short\n"
    done = pixward("study", "--score", picks[0], picks[0])
    assert done.code == 1 and done.err.count("\n") == 3 and "none of 2 files counts" in done.err


def test_a_key_is_needed(pixward, picks, folder, tmp_path):
    moved = picks[0].rename(tmp_path / "alone.json")
    assert "there is no study.key.json beside" in pixward("study", "--score", moved).line
    assert "is no key of a study" in pixward("study", "--score", picks[1], "--key", picks[2]).line


def test_words_that_make_no_sense(pixward, folder):
    assert "name one folder of tasks" in pixward("study", folder, folder).line
    assert "name one folder of tasks" in pixward("study", folder, "--key", folder / "key.json").line
    assert pixward("study").code == 2
