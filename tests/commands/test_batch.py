"""``pixward match`` for many photos, as a user runs it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.commands.conftest import Pixward, picture
from tests.commands.many import ENDS, NAMES, QUICK, lines, photos, place, states, times, told

__all__ = ["place"]


def test_each_photo_gets_its_files_and_its_row(pixward: Pixward, place: Path):
    done = pixward("match", *photos(), "--goal-dir", "goals", "--strategy", "least-squares", "--renders", 20, "--json")
    assert (done.code, done.err) == (0, "")
    result = told(done)
    assert result["counts"] == {"done": 3, "kept": 0, "failed": 0}
    assert set(times()) == {f"{name}{end}" for name in NAMES for end in ENDS} | {"contact.jpg"}
    for photo in result["photos"]:
        assert photo["distance"]["psnr"] > photo["source_distance"]["psnr"] + 10
        assert Path(photo["outputs"]["residual"]).is_file()
    assert result["summary"]["psnr"]["mean"] == pytest.approx(
        np.mean([photo["distance"]["psnr"] for photo in result["photos"]]), abs=1e-5
    )
    assert result["summary"]["psnr"]["worst_twentieth"] == pytest.approx(
        np.percentile([photo["distance"]["psnr"] for photo in result["photos"]], 5), abs=1e-5
    )
    # The same as each by itself.
    alone = pixward(
        "match",
        photos()[1],
        "--goal",
        "goals/b.jpg",
        "--strategy",
        "least-squares",
        "--renders",
        20,
        "--out",
        "o",
        "--json",
    )
    assert json.loads(alone.out)["setting"] == result["photos"][1]["setting"]
    assert Path("o/b.jpg").read_bytes() == Path("pixward-out/b.jpg").read_bytes()


def test_the_table_for_people(pixward: Pixward, place: Path):
    Path("photos/bad.png").write_text("no picture")
    done = pixward("match", *photos(), "photos/bad.png", "--goal-dir", "goals", *QUICK)
    assert done.code == 1
    assert "PSNR before" in done.out and "worst twentieth" in done.out
    assert "failed: photos/bad.png: there is no goal for bad.png in goals" in done.out
    assert "3 of 4 photos are done; 1 failed" in done.out


def _break(kind: str) -> str:
    """Make photo ``x`` with a fault; what is said of it."""
    good = picture(60, 40, seed=9)
    Image.fromarray(good).save("photos/x.png")
    Image.fromarray(good).save("goals/x.png")
    data = Path("photos/x.png").read_bytes()
    if kind == "missing":
        Path("photos/x.png").unlink()
    elif kind == "cut":
        Path("photos/x.png").write_bytes(data[: len(data) // 2])
    elif kind == "text":
        Path("photos/x.png").write_text("no picture")
    elif kind == "empty":
        Path("photos/x.png").write_bytes(b"")
    elif kind == "framing":
        Image.fromarray(good[:, :30]).save("goals/x.png")
    elif kind == "no goal":
        Path("goals/x.png").unlink()
    elif kind == "two goals":
        Image.fromarray(good).save("goals/x.jpg")
    elif kind == "broken goal":
        Path("goals/x.png").write_bytes(data[: len(data) // 2])
    elif kind == "nan":
        import tifffile

        Path("photos/x.png").unlink()
        tifffile.imwrite("photos/x.png", np.full((40, 60, 3), np.nan, np.float32), photometric="rgb")
    elif kind == "in the way":
        Path("pixward-out").mkdir()
        Path("pixward-out/x.jpg").write_text("precious")
    return {
        "missing": "x.png",
        "framing": "must show the same framing",
        "no goal": "there is no goal for x.png",
        "two goals": "several goals for x.png in goals: x.jpg and x.png",
        "broken goal": "goals/x.png",
        "in the way": "x.jpg exists already: remove it, choose another place, or pass --force",
    }.get(kind, "photos/x.png")


@pytest.mark.parametrize(
    "kind",
    ["missing", "cut", "text", "empty", "framing", "no goal", "two goals", "broken goal", "nan", "in the way"],
)
@pytest.mark.parametrize("together", [(), ("--one-setting",)])
def test_one_bad_file_never_stops_the_rest(pixward: Pixward, place: Path, kind: str, together: tuple[str, ...]):
    said = _break(kind)
    done = pixward("match", "photos/x.png", *photos(), "--goal-dir", "goals", *QUICK, *together, "--json")
    assert (done.code, done.err) == (1, "")
    assert states(done) == {"x.png": "failed", "a.png": "done", "b.png": "done", "c.png": "done"}
    error = told(done)["photos"][0]["error"]
    assert said in error and "\n" not in error and "bug" not in error
    if kind == "in the way":
        assert Path("pixward-out/x.jpg").read_text() == "precious"
    else:
        assert not [name for name in times() if name.startswith("x.")]


def test_the_same_command_again_does_nothing_twice(pixward: Pixward, place: Path):
    words = ("match", *photos(), "--goal-dir", "goals", "--strategy", "random", "--renders", 2, "--json")
    first = pixward(*words)
    before, count = times(), len(lines())
    again = pixward(*words)
    assert set(states(again).values()) == {"kept"}
    assert times() == before and len(lines()) == count
    assert told(again)["photos"][0] == {**told(first)["photos"][0], "state": "kept"}


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        (("--seed", 1), NAMES),
        (("--renders", 3), NAMES),
        (("--lock", "exposure=-1"), NAMES),
        (("--editor", "chain:paper"), NAMES),
        ("photo", ("b",)),
        ("goal", ("b",)),
        ("output gone", ("b",)),
        (("--force",), ()),
        (("--jobs", 1), ()),
    ],
)
def test_what_changed_is_done_again_and_nothing_else(pixward: Pixward, place: Path, change: Any, anew: tuple[str, ...]):
    words = ["match", *photos(), "--goal-dir", "goals", *QUICK, "--json"]
    assert pixward(*words).code == 0
    if change == "photo":
        Image.fromarray(picture(32, 48, seed=7)).save("photos/b.png")
    elif change == "goal":
        Image.fromarray(picture(32, 48, seed=7)).save("goals/b.jpg")
    elif change == "output gone":
        Path("pixward-out/b.film.png").unlink()
    else:
        words += change
    done = pixward(*words)
    assert done.code == 0, done.out
    assert {name for name in NAMES if states(done)[f"{name}.png"] == "done"} == set(anew)


def test_a_result_that_somebody_changed_is_not_overwritten(pixward: Pixward, place: Path):
    words = ("match", *photos(), "--goal-dir", "goals", *QUICK, "--json")
    pixward(*words)
    Path("pixward-out/b.setting.json").write_text("my own numbers")
    done = pixward(*words)
    assert states(done) == {"a.png": "kept", "b.png": "failed", "c.png": "kept"}
    assert "b.setting.json exists already" in told(done)["photos"][1]["error"]
    assert Path("pixward-out/b.setting.json").read_text() == "my own numbers"
    assert states(pixward(*words, "--force"))["b.png"] == "done"


def test_a_torn_last_line_is_ignored(pixward: Pixward, place: Path):
    words = ("match", *photos(), "--goal-dir", "goals", *QUICK, "--json")
    pixward(*words)
    journal = Path("pixward-out/batch.jsonl")
    journal.write_bytes(journal.read_bytes()[:-40])
    done = pixward(*words, "--force")
    assert sorted(states(done).values()) == ["done", "kept", "kept"]
    assert set(states(pixward(*words)).values()) == {"kept"}


def test_processes_give_the_same(pixward: Pixward, place: Path):
    _break("cut")
    words = ("match", "photos/x.png", *photos(), "--goal-dir", "goals", *QUICK, "--json")
    one, two = pixward(*words, "--out", "one"), pixward(*words, "--out", "two", "--jobs", 2)
    assert (one.code, two.code, two.err) == (1, 1, "")
    assert states(one) == states(two)
    for name in NAMES:
        assert Path(f"one/{name}.jpg").read_bytes() == Path(f"two/{name}.jpg").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("photos/a.png", "more/a.jpg", "--goal-dir", "goals"), "photos/a.png and more/a.jpg would both write"),
        (("photos/a.png", "photos/A.png", "--like", "goals/a.jpg"), "photos/a.png and photos/A.png would both write"),
        (("photos/a.png", "photos/b.png", "--goal", "goals/a.jpg"), "name a folder of goals with --goal-dir"),
        (("photos/a.png", "--goal-dir", "nowhere"), "nowhere is no folder of goals"),
        (("photos/a.png", "photos/b.png", "--like", "nowhere.jpg"), "cannot read nowhere.jpg"),
        (("photos/a.png", "photos/b.png", "--like", "photos/contact.png", "--format", "png"), "which is an input"),
        (("photos/contact.png", "photos/b.png", "--like", "goals/a.jpg", "--sheet", 3), "what the batch itself writes"),
        (("photos/a.png", "photos/b.png", "--like", "goals/a.jpg", "--cube", "x.cube"), "or add --one-setting"),
        (("photos/a.png", "photos/b.png", "--like", "goals/a.jpg", "--cube", "goals/a.jpg"), "name a folder"),
        (("photos/a.png", "photos/b.png", "--like", "goals/a.jpg", "--lock", "bright=1"), "--lock: unknown slider"),
        (("photos/a.png", "photos/b.png", "--like", "goals/a.jpg", "--strategy", "magic"), "unknown strategy 'magic'"),
        (("photos/a.png", "photos/b.png", "--like", "goals/a.jpg", "--editor", "chain:foto"), "chain:photo"),
        (("photos/a.png", "photos/b.png", "--like", "goals/a.jpg", "--slider", "a.b"), "are for real editors"),
        (("photos/a.png", "photos/b.png", "--like", "goals/a.jpg", "--out", "photos/a.png"), "is not a folder"),
    ],
)
def test_mistakes_are_one_line_before_any_work(pixward: Pixward, place: Path, words: tuple[Any, ...], said: str):
    Path("more").mkdir()
    for name in ("more/a.jpg", "photos/A.png", "photos/contact.png"):
        Image.fromarray(picture()).save(name)
    out = () if "--out" in words else ("--out", "photos" if "which is an input" in said else "new")
    before = sorted(Path("photos").iterdir())
    done = pixward("match", *words, *out)
    assert done.code == 1
    assert said in done.line
    assert not Path("new").exists() and sorted(Path("photos").iterdir()) == before


@pytest.mark.parametrize(
    "given", [(), ("--goal", "g.jpg", "--like", "l.jpg"), ("--goal", "g.jpg", "--goal-dir", "goals")]
)
@pytest.mark.parametrize("count", [1, 2])
def test_exactly_one_kind_of_goal(pixward: Pixward, place: Path, given: tuple[str, ...], count: int):
    done = pixward("match", *photos()[:count], *given)
    assert done.code == 2
    assert "name one of --goal GOAL, --goal-dir DIR and --like REF" in done.line
    assert "pixward match --help" in done.line


def test_a_full_disk_stops_and_keeps_what_is_done(pixward: Pixward, place: Path, monkeypatch: pytest.MonkeyPatch):
    from pixward.commands import match_run

    write = match_run.save_png

    def full(path: Path, drawn: Image.Image) -> None:
        if path.name.startswith("b."):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, drawn)

    words = ("match", *photos(), "--goal-dir", "goals", *QUICK, "--json")
    monkeypatch.setattr(match_run, "save_png", full)
    line = pixward(*words).line
    assert "no space left on device" in line and "1 of 3 photos are done and stay" in line
    assert {name.split(".")[0] for name in times()} == {"a"}
    monkeypatch.setattr(match_run, "save_png", write)
    assert states(pixward(*words)) == {"a.png": "kept", "b.png": "done", "c.png": "done"}


def test_a_folder_that_cannot_be_written(pixward: Pixward, place: Path, monkeypatch: pytest.MonkeyPatch):
    # chmod does not stop root, who may well run these tests.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert "no permission" in pixward("match", *photos(), "--goal-dir", "goals", *QUICK).line


def test_two_at_once_in_one_folder(pixward: Pixward, place: Path):
    from pixward.commands.batch_journal import Journal

    with Journal(Path("pixward-out")):
        line = pixward("match", *photos(), "--goal-dir", "goals", *QUICK).line
    assert "another pixward match is at work in pixward-out" in line
    assert pixward("match", *photos(), "--goal-dir", "goals", *QUICK).code == 0


def test_photos_beside_their_goals_and_given_twice(pixward: Pixward, place: Path):
    for name in NAMES:
        Path(f"goals/{name}.png").write_bytes(Path(f"photos/{name}.png").read_bytes())
    given = ["goals/a.png", "goals/b.png", "./goals/a.png"]
    done = pixward("match", *given, "--goal-dir", "goals", *QUICK, "--json")
    assert states(done) == {"a.png": "done", "b.png": "done"}
