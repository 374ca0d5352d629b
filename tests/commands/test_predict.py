"""``pixward predict`` and ``pixward bench predict``, as a user runs them, with weights that know nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands.conftest import picture
from tests.predict.coco import coco_folder

from pixward.data.synth import Scenes
from pixward.policies.weights import save_weights
from pixward.predict.folders import read_folder
from pixward.predict.task import new_policy
from pixward.predict.tasks import new_codes, task_named
from pixward.predict.weights import save_policy


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weight file for each task; its head is random, so that it says something."""
    root = tmp_path_factory.mktemp("weights")
    folder = coco_folder(root / "mini")
    codes = new_codes(Scenes(seed=1), 0, seed=0)
    made = {}
    for name in ("detect", "panoptic", "colour", "caption"):
        data = read_folder("caption", folder) if name == "caption" else None
        task = task_named(name, data, codes)
        torch.manual_seed(0)
        policy = new_policy(task, width=16)
        torch.nn.init.normal_(policy.head.weight)
        made[name] = root / f"{name}.safetensors"
        save_policy(made[name], policy, task)
    return made


@pytest.fixture
def photos(tmp_path):
    Image.fromarray(picture(90, 60)).save(tmp_path / "a.jpg")
    Image.fromarray(picture(30, 80, 1)).convert("L").save(tmp_path / "b.png")
    return tmp_path / "a.jpg", tmp_path / "b.png"


@pytest.mark.parametrize("task", ["detect", "panoptic", "colour", "caption"])
def test_says_and_draws(tmp_path, pixward, weights, photos, task):
    out = tmp_path / "seen"
    run = ("predict", *photos, "--weights", weights[task], "--out", out)
    done = pixward(*run, "--task", task, "--temperature", 1)
    assert (done.code, done.err) == (0, "")
    assert f"{out / 'a.png'}: 90 x 60" in done.out and f"{out / 'b.png'}: 30 x 80" in done.out
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]
    told = json.loads(pixward(*run, "--temperature", 1, "--json", "--force").out)
    assert (told["task"], told["weights"], told["temperature"]) == (task, str(weights[task]), 1.0)
    first, second = told["pictures"]
    assert (first["input"], first["output"]) == (str(photos[0]), str(out / "a.png"))
    assert (second["width"], second["height"]) == (30, 80)
    key = {"detect": "boxes", "panoptic": "segments", "colour": "colours", "caption": "caption"}[task]
    assert first[key]
    drawn = np.asarray(Image.open(out / "a.png"))
    assert drawn.shape[1:] == (90, 3) and drawn.shape[0] >= 60
    assert float(np.abs(drawn[:60].astype(int) - picture(90, 60)).max()) > 60 or task == "caption"
    if task == "detect":
        assert set(first[key][0]) == {"label", "score", "box"}
        scores = [box["score"] for box in first[key]]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= box["box"][0] <= box["box"][2] <= 90 and box["box"][3] <= 60 for box in first[key])
        assert all(f" {score:.4g} " in done.out for score in scores)


def test_the_likeliest_answer_is_the_default_and_a_nucleus_changes_it(tmp_path, pixward, weights, photos):
    def said(*more):
        run = ("predict", photos[0], "--weights", weights["caption"], "--out", tmp_path / "o", "--json", "--force")
        return json.loads(pixward(*run, *more).out)["pictures"][0]["caption"]

    assert said() == said() == said("--temperature", 0) == said("--temperature", 1, "--top-p", 0.0001)
    assert said() != said("--temperature", 3)


def test_nothing_is_overwritten_and_nothing_half_done_stays(tmp_path, pixward, weights, photos):
    known = ("--weights", weights["detect"])
    before = photos[1].read_bytes()
    done = pixward("predict", photos[1], *known, "--out", tmp_path, "--force")
    assert done.code == 1 and "would overwrite" in done.line
    assert photos[1].read_bytes() == before
    out = tmp_path / "out"
    assert pixward("predict", photos[0], *known, "--out", out).code == 0
    assert "exists already" in pixward("predict", photos[0], *known, "--out", out).line
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    done = pixward("predict", photos[0], tmp_path / "broken.jpg", *known, "--out", tmp_path / "new")
    assert done.code == 1 and "broken.jpg" in done.line
    assert not (tmp_path / "new").exists()


def test_what_is_wrong_is_said(tmp_path, pixward, weights, photos):
    save_weights(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, "pixel", {})
    cases = {
        (): "say what to predict: --task detect",
        ("--task", "colour"): "make some with `pixward train predict --task colour --out RUN`",
        ("--weights", tmp_path / "gone"): "there is no weight file",
        ("--weights", tmp_path / "other.safetensors"): "does not hold a pixward predict",
        ("--weights", weights["detect"], "--task", "colour"): "is for the task detect, not for colour",
        ("--weights", weights["detect"], "--temperature", 1, "--top-p", 0): "top_p must lie in (0, 1]",
    }
    for arguments, says in cases.items():
        done = pixward("predict", photos[0], *arguments, "--out", tmp_path / "out")
        assert done.code == 1, says
        assert says in done.line
    assert not (tmp_path / "out").exists()


def test_weights_that_ship_are_found_by_the_task(tmp_path, pixward, weights, photos, monkeypatch):
    from importlib import resources

    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "detect.predict.safetensors").write_bytes(weights["detect"].read_bytes())
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    done = pixward("predict", photos[0], "--task", "detect", "--out", tmp_path / "out", "--json")
    assert done.code == 0
    assert json.loads(done.out)["weights"].endswith("detect.predict.safetensors")
    assert "by name there are: detect" in pixward("predict", photos[0], "--weights", "x", "--out", tmp_path / "p").line


def test_bench_measures_beside_those_that_know_nothing(tmp_path, pixward, weights):
    kept = tmp_path / "figures" / "detect.json"
    run = ("bench", "predict", "--weights", weights["detect"], "--count", 2, "--top-p", 0.9)
    done = pixward(*run, "--temperature", 0.5, "--temperature", 2, "--out", kept)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("detect, 2 held-out pictures\n")
    rows = [line.split("  ")[0] for line in done.out.splitlines()]
    assert rows.count("empty") == rows.count("random") >= 2
    assert "temperature 2, top-p 0.9" in done.out
    result = json.loads(kept.read_text())
    assert [row["temperature"] for row in result["rows"]] == [0, 1, 0, 0.5, 2]
    alone = json.loads(pixward(*run, "--json").out)
    assert [(row["temperature"], row["top_p"]) for row in alone["rows"]][-1] == (1, 0.9)
    assert alone["rows"][0] | {"seconds": 0} == result["rows"][0] | {"seconds": 0}


def test_bench_on_ones_own_pictures(tmp_path, pixward, weights):
    folder = coco_folder(tmp_path / "mini")
    done = pixward("bench", "predict", "--weights", weights["caption"], "--data", folder, "--json")
    assert json.loads(done.out)["pictures"] == 1
    bad = {
        ("--weights", weights["detect"], "--data", folder): "has no class cat",
        ("--weights", weights["detect"], "--baseline", weights["caption"]): "compare like",
        ("--weights", weights["detect"], "--temperature", 0): "give temperatures above 0",
        ("--weights", weights["detect"], "--mend"): "are about --data",
        (): "say what to predict",
    }
    for arguments, says in bad.items():
        done = pixward("bench", "predict", "--count", 1, *arguments)
        assert done.code == 1, says
        assert says in done.line
