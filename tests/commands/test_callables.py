from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pixward.commands.callables import load_callable, load_named
from pixward.errors import PixwardError

KNOWN = "known are jpeg, or module:callable for your own"
OWN = """
size = 3
class Scorer:
    def __call__(self, images):
        return size
scorer = Scorer()
def longest(images):
    return max(images)
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_scores.py").write_text(OWN)
    (tmp_path / "own_fault.py").write_text("raise OSError('no disk')")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    # The current folder is added by the code itself, and taken away again after the test.
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    for name in ("own_scores", "own_fault", "folder", "folder.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_functions_and_objects_of_the_current_folder():
    assert load_callable("own_scores:longest", "reward", KNOWN)([1, 4, 2]) == 4
    assert load_callable("own_scores:scorer", "reward", KNOWN)(None) == 3
    assert load_callable("folder.inner:longest", "reward", KNOWN)([1, 4]) == 4
    assert load_named("own_scores:size", "reward", KNOWN) == 3
    assert sys.path.count(str(Path.cwd())) == 1


@pytest.mark.parametrize(
    "name, told",
    [
        *[
            (name, f"unknown reward {name!r}: {KNOWN}")
            for name in ("jpg", "own_scores", ":longest", "own_scores:", "own_scores:a b", "../x:y", "own_scores:a.b")
        ],
        ("own_scores:gone", "cannot import the reward own_scores:gone: AttributeError: module 'own_scores' has no"),
        ("own_missing:f", "cannot import the reward own_missing:f: ModuleNotFoundError: No module named 'own_missing'"),
        ("own_fault:f", "cannot import the reward own_fault:f: OSError: no disk; known are jpeg"),
        ("own_scores:Scorer", "the reward own_scores:Scorer is a class: name a function, or an object made of it"),
        ("own_scores:size", "the reward own_scores:size cannot be called: it is of type int"),
    ],
)
def test_faults_are_one_line(name, told):
    with pytest.raises(PixwardError) as caught:
        load_callable(name, "reward", KNOWN)
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)
