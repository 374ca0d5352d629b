from __future__ import annotations

import json

import pytest
from tests.study.studies import METHODS, picture, study_folder

from pixward.errors import PixwardError
from pixward.study.tasks import read_tasks


@pytest.fixture
def folder(tmp_path):
    return study_folder(tmp_path / "study")


def test_folders_become_tasks(folder):
    (folder / "study.html").touch()
    (folder / ".cache").mkdir()
    (folder / "very-secret-task-0" / "notes.txt").touch()
    tasks = read_tasks(folder)
    assert [task.name for task in tasks] == [f"very-secret-task-{k}" for k in range(3)]
    first = folder / "very-secret-task-0"
    assert tasks[0].target == first / "goal.png" and tasks[0].source == first / "source.jpg"
    assert tasks[0].results == {method: first / f"{method}.jpg" for method in sorted(METHODS)}


def test_a_reference_is_a_target_too(folder):
    place = folder / "very-secret-task-1"
    (place / "goal.png").rename(place / "reference.png")
    assert read_tasks(folder)[1].target.name == "reference.png"


def test_a_listing_says_where_pictures_lie(tmp_path):
    for path in ("a/x.png", "b/x.png", "goals/x.png", "photos/x.png"):
        picture(tmp_path / path, 0)
    entry = {"name": "x", "goal": "goals/x.png", "results": {"b": "b/x.png", "a": "a/x.png"}}
    later = {**entry, "name": "y", "source": "photos/x.png"}
    (tmp_path / "study.json").write_text(json.dumps({"tasks": [later, entry]}))
    tasks = read_tasks(tmp_path)
    assert [(task.name, task.source) for task in tasks] == [("x", None), ("y", tmp_path / "photos" / "x.png")]
    assert list(tasks[0].results) == ["a", "b"] and tasks[0].target == tmp_path / "goals" / "x.png"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no list of tasks"),
        ('{"questions": []}', "lacks 'tasks'"),
        ('{"tasks": [{"name": "x", "results": {}}]}', "lacks 'goal'|lacks 'results'"),
        ('{"tasks": [1]}', "no list of tasks"),
        ('{"tasks": []}', "holds no tasks"),
        ('{"tasks": [{"name": "x", "goal": "g", "results": {"a": "b", "c": "d"}}, '
         '{"name": "x", "goal": "g", "results": {"a": "b", "c": "d"}}]}', "two tasks of the name x"),
    ],
)  # fmt: skip
def test_listings_that_say_something_else(tmp_path, content, message):
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(PixwardError, match=message):
        read_tasks(tmp_path)


def test_a_missing_target(folder):
    (folder / "very-secret-task-2" / "goal.png").unlink()
    with pytest.raises(PixwardError, match=r"very-secret-task-2 has no target: add goal.jpg, or reference.jpg"):
        read_tasks(folder)


def test_two_targets(folder):
    picture(folder / "very-secret-task-2" / "reference.jpg", 1)
    with pytest.raises(PixwardError, match=r"has a goal and a reference"):
        read_tasks(folder)


def test_a_task_that_lacks_a_method(folder):
    (folder / "very-secret-task-1" / "lazy-method.jpg").unlink()
    with pytest.raises(
        PixwardError, match="task very-secret-task-1 has no picture of lazy-method, which very-secret-task-0 has"
    ):
        read_tasks(folder)


def test_one_method_is_no_choice(tmp_path):
    with pytest.raises(PixwardError, match="the tasks show only alone: there is nothing to choose"):
        read_tasks(study_folder(tmp_path / "one", methods=("only",)))
    with pytest.raises(PixwardError, match="the tasks show no method"):
        read_tasks(study_folder(tmp_path / "none", methods=()))


def test_ten_methods_are_too_many(tmp_path):
    with pytest.raises(PixwardError, match="10 methods are too many to choose between: show at most 9"):
        read_tasks(study_folder(tmp_path, tasks=1, methods=tuple(f"m{k}" for k in range(10))))


def test_two_pictures_of_one_name(folder):
    picture(folder / "very-secret-task-0" / "lazy-method.png", 1)
    with pytest.raises(PixwardError, match="have one name: which is it"):
        read_tasks(folder)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(PixwardError, match="holds no tasks: make a folder for each"):
        read_tasks(tmp_path)
    with pytest.raises(PixwardError, match="is no folder"):
        read_tasks(tmp_path / "nowhere")
