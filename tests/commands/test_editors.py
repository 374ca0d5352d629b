"""Editors of one's own on the command line: whatever they do wrong, one line names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.commands.conftest import Pixward

OWN = """
import numpy as np, torch
from pixward.params import ParamSpace, ParamSpec

class Own:
    name = "mine"
    space = ParamSpace([
        ParamSpec("gain", 0.2, 5, 1, "x", "Brightness.", "log"),
        ParamSpec("lift", -50, 50, 0, "%", "Added to every value."),
    ])
    differentiable = False

    def __call__(self, images, params):
        rows = zip(images.numpy(), params.numpy(), strict=True)
        return torch.from_numpy(np.stack([np.clip(image * gain + lift / 100, 0, 1) for image, (gain, lift) in rows]))

class In(Own):
    def __call__(self, images, params):
        return images.mul_(params[:, :1, None, None]).add_(params[:, 1:, None, None] / 100)

class Space(Own):
    space = ["gain"]

def spoiled(how):
    class Spoiled(Own):
        def __call__(self, images, params):
            return how(super().__call__(images, params))
    return Spoiled()

def fail(images):
    raise KeyError("lens")

own, inplace, space = Own(), In(), Space()
raises = spoiled(fail)
narrow = spoiled(lambda images: images[..., :-1])
one = spoiled(lambda images: images[0])
array = spoiled(lambda images: images.numpy())
bytes_ = spoiled(lambda images: (images * 255).byte())
nan = spoiled(lambda images: images * float("nan"))
double = spoiled(lambda images: images.double())
dark = spoiled(lambda images: images / 2)
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_editors.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "own_editors", raising=False)


@pytest.mark.parametrize(
    ("editor", "says"),
    [
        ("raises", "the editor own_editors:raises failed: KeyError: 'lens'"),
        ("narrow", "the same shape"),
        ("one", "the same shape"),
        ("array", "returned ndarray: it must return a float tensor"),
        ("bytes_", "returned torch.uint8: it must return a float tensor"),
        ("nan", "not numbers"),
        ("space", "its space is a list, not a ParamSpace"),
        ("Own", "not an editor"),
    ],
)
def test_faults_are_the_editors_and_said_in_one_line(pixward: Pixward, photo: Path, goal: Path, editor: str, says: str):
    done = pixward("match", photo, "--goal", goal, "--editor", f"own_editors:{editor}", "--out", "out")
    assert done.code == 1
    assert says in done.line
    assert "bug" not in done.line
    assert not Path("out").exists()


@pytest.mark.parametrize("editor", ["own", "inplace", "double"])
def test_editors_that_keep_the_contract_match(pixward: Pixward, photo: Path, goal: Path, editor: str):
    done = pixward("match", photo, "--goal", goal, "--editor", f"own_editors:{editor}", "--out", "out", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert set(told["setting"]) == {"gain", "lift"}
    assert told["distance"]["psnr"] > told["source_distance"]["psnr"] + 3


def test_an_editor_that_changes_the_photo_at_its_defaults_says_so(pixward: Pixward, photo: Path):
    arguments = ("match", photo, "--goal", photo, "--editor", "own_editors:dark", "--force", "--out", "out")
    done = pixward(*arguments, "--strategy", "random", "--renders", "2")
    assert done.code == 0, done.err
    assert "own_editors:dark changes the photo even at its defaults" in done.out
    assert "2 renders in" in done.out
    told = json.loads(pixward(*arguments, "--strategy", "random", "--renders", "2", "--json").out)
    assert told["distance"]["psnr"] < told["source_distance"]["psnr"] == 100
