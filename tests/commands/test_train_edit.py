from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.commands.conftest import Pixward, picture
from tests.editors.programs import calls, write_gain

from pixward.policies.goal import GoalPolicy, GoalSettings, describe_policy, load_policy
from pixward.policies.response import load_response
from pixward.policies.weights import save_weights
from pixward.run import read_log

PAPER = ("--editor", "chain:paper")


@pytest.fixture
def photos(tmp_path):
    """A folder of two photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(picture(64, 56, seed)).save(folder / f"{seed}.png")
    return folder


def put_policy(folder, sliders=9):
    """A policy that was hardly trained, small."""
    torch.manual_seed(0)
    policy = GoalPolicy(GoalSettings(sliders, horizon=3, features=("local", "history"), width=16, points=8))
    folder.mkdir(exist_ok=True)
    save_weights(folder / "policy.safetensors", policy.state_dict(), "policy", describe_policy(policy))


def steps(run):
    return [row["step"] for row in read_log(run / "log.jsonl")]


def test_pretrains_and_resumes(pixward, photos, tmp_path):
    out = tmp_path / "run"
    train = ("train", "edit", "--photos", photos, "--out", out, *PAPER, "--features", "local,history")
    done = pixward(*train, "--steps", 1)
    assert done.code == 0
    assert done.out == f"weights: {out / 'policy.safetensors'}\n"
    assert done.err.startswith("step 1  parameter ") and "psnr" in done.err
    first = load_policy(out / "policy.safetensors")
    assert (first.settings.sliders, first.settings.features) == (9, ("local", "history"))
    assert steps(out / "pretrain") == [1]

    assert pixward(*train, "--steps", 2).line == (
        f"pixward: {out / 'pretrain'} holds a run already: resume it (--resume) or choose another folder"
    )
    assert pixward(*train, "--steps", 2, "--resume").code == 0
    assert steps(out / "pretrain") == [1, 2]
    second = load_policy(out / "policy.safetensors")
    moved = [not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert any(moved)
    # Nothing is left to do: the same weights once more.
    assert pixward(*train, "--steps", 2, "--resume").code == 0
    assert steps(out / "pretrain") == [1, 2]

    wrong = pixward(*train[:-2], "--features", "history", "--steps", 3, "--resume").line
    assert "has another shape: resume it with the editor and features of its start" in wrong
    # One folder takes all networks of an editor; td3 starts from the policy that lies there.
    assert pixward(*train, "--algorithm", "response", "--steps", 1).code == 0
    assert pixward(*train, "--algorithm", "td3", "--steps", 3).code == 0
    assert {path.name for path in out.glob("*.safetensors")} == {
        "policy.safetensors",
        "response.safetensors",
        "reinforced.safetensors",
    }


def test_a_response_with_json(pixward, photos, tmp_path):
    out = tmp_path / "run"
    train = ("train", "edit", "--photos", photos, "--out", out, *PAPER, "--algorithm", "response", "--json")
    done = pixward(*train, "--steps", 2)
    assert (done.code, done.err) == (0, "")
    line, last = map(json.loads, done.out.splitlines())
    assert set(line) == {"step", "value", "slope", "true_slope"}
    assert line == read_log(out / "response" / "log.jsonl")[0]
    assert last == {"weights": str(out / "response.safetensors")}
    assert load_response(out / "response.safetensors").settings.sliders == 9
    assert pixward(*train, "--steps", 3, "--resume").code == 0
    assert steps(out / "response") == [2, 3]


def test_td3_goes_on_from_the_run_folders_policy(pixward, photos, tmp_path):
    out = tmp_path / "run"
    put_policy(out)
    train = ("train", "edit", "--photos", photos, "--out", out, *PAPER, "--algorithm", "td3", "--json")
    done = pixward(*train, "--steps", 21)
    assert (done.code, done.err) == (0, "")
    first, last, weights = map(json.loads, done.out.splitlines())
    assert first["step"] == 0 and last["step"] == 21
    assert set(first) == {"step", "psnr_1", "psnr_3"}
    # The critics learn before the actor moves.
    assert last == {**first, "step": 21}
    assert weights == {"weights": str(out / "reinforced.safetensors")}
    assert load_policy(out / "reinforced.safetensors").settings == load_policy(out / "policy.safetensors").settings
    assert pixward(*train, "--steps", 22, "--resume").code == 0


def test_td3_says_what_it_lacks_before_it_takes_the_folder(pixward, photos, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\nfrom pixward.editors.chain import PAPER\n"
        "OWN = replace(PAPER, name='mine:OWN')\n"
    )
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.syspath_prepend(tmp_path)
        train = ("train", "edit", "--photos", photos, "--out", out, "--algorithm", "td3", "--editor", "mine:OWN")
        assert pixward(*train).line == (
            "pixward: td3 starts from a pretrained policy and mine:OWN has none: "
            f"train one first and put its policy.safetensors into {out}"
        )
        assert not out.exists()
        put_policy(out, sliders=4)
        assert "knows 4 sliders, and mine:OWN has 9" in pixward(*train).line
        put_policy(out)
        assert pixward(*train, "--minutes", 1).line == (
            "pixward: td3 does not stop by the clock: give --steps in place of --minutes"
        )
        (out / "policy.safetensors").write_bytes(b"damaged")
        assert "policy.safetensors is no whole file of weights" in pixward(*train).line
        assert [path.name for path in out.iterdir()] == ["policy.safetensors"]


def test_photos_that_are_none_are_named(pixward, photos, tmp_path):
    out, empty = tmp_path / "run", tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "nowhere"):
        line = pixward("train", "edit", "--photos", photos, "--photos", folder, "--out", out, "--steps", 1).line
        assert line == f"pixward: cannot read training photos: no pictures in {folder}"
    (photos / "broken.jpg").write_bytes(b"no picture")
    line = pixward("train", "edit", "--photos", photos, "--out", out, "--steps", 1).line
    assert "broken.jpg is not a JPEG, PNG, TIFF or WebP picture" in line
    assert not out.exists()


@pytest.mark.parametrize(
    "options, said",
    [
        (("--features", "local,smell"), "unknown feature smell; known are local, global, statistics, history"),
        (("--features", "local,local"), "a feature is named twice: local, local"),
        (("--device", "abacus"), "cannot use the device abacus"),
        (("--editor", "chain:nothing"), "unknown editor 'chain:nothing'"),
    ],
)
def test_what_cannot_work_is_said_before_the_folder_is_taken(pixward, photos, tmp_path, options, said):
    done = pixward("train", "edit", "--photos", photos, "--out", tmp_path / "run", "--steps", 1, *options)
    assert (done.code, said in done.line) == (1, True), done.err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_named(pixward, photos):
    out = photos / "0.png" / "run"
    line = pixward("train", "edit", "--photos", photos, "--out", out, "--steps", 1).line
    assert line == f"pixward: cannot write the run folder {out / 'pretrain'}: Not a directory"


def test_the_networks_of_a_program_of_ones_own(pixward: Pixward, photos: Path, tmp_path: Path):
    """Renders once, then response, map, and a policy that is trained on what the response says."""
    editor, out = f"command:{write_gain(tmp_path)}", tmp_path / "run"
    words = ("train", "edit", "--photos", photos, "--editor", editor, "--out", out, "--renders", 32)
    for algorithm in ("response", "map"):
        done = pixward(*words, "--algorithm", algorithm, "--steps", 3)
        assert done.code == 0, done.err
        assert (out / f"{algorithm}.safetensors").is_file()
    assert len(calls(tmp_path)) == 32  # The map was fitted on the response's renders.
    done = pixward(*words, "--algorithm", "pretrain", "--simulate", "--steps", 2)
    assert done.code == 0, done.err
    assert len(calls(tmp_path)) == 32
    assert (out / "policy.safetensors").is_file()
    assert pixward(*words, "--algorithm", "pretrain", "--steps", 1, "--resume").code == 0
    other = pixward(*words, "--algorithm", "response", "--seed", 1, "--resume")
    assert "holds renders of another editor, other photos or another seed" in other.line


def test_a_map_is_for_real_editors(pixward: Pixward, photos: Path, tmp_path: Path):
    line = pixward("train", "edit", "--photos", photos, "--out", tmp_path / "run", "--algorithm", "map").line
    assert "name one with --editor" in line
