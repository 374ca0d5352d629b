"""``pixward train predict``, as a user runs it, with a few steps."""

from __future__ import annotations

import json

import pytest
import torch
from tests.predict.coco import coco_folder

from pixward.commands.predict_training import PredictTraining, Seen, train_predict
from pixward.predict.weights import load_policy, load_task
from pixward.run import read_log

TINY = ("--batch", 2, "--held-out", 2)


@pytest.fixture
def folder(tmp_path):
    return coco_folder(tmp_path / "mini")


def weights_of(run):
    return load_policy(run / "policy.safetensors").state_dict()


def test_two_phases_one_after_the_other(tmp_path, pixward):
    first, second = tmp_path / "first", tmp_path / "second"
    done = pixward("train", "predict", "--task", "detect", "--out", first, "--steps", 2, *TINY)
    assert done.code == 0, done.err
    assert [line["step"] for line in read_log(first / "log.jsonl")] == [1, 2]
    assert done.err.count("step ") == 2 and "s left" in done.err
    assert "unclosed" not in done.err
    lines = done.out.splitlines()
    assert lines[0] == "2 updates; on 2 held-out pictures"
    assert lines[1].split() == ["before", "after"]
    assert lines[-1] == f"weights: {first / 'policy.safetensors'}"
    assert load_task(first / "policy.safetensors").name == "detect"
    # Rewards begin where likelihood ended; a run is named by its folder.
    run = ("train", "predict", "--task", "detect", "--phase", "reward", "--start", first, "--out", second)
    done = pixward(*run, "--steps", 1, "--seed", 3, "--json", *TINY)
    assert (done.code, done.err) == (0, "")
    *curve, last = map(json.loads, done.out.splitlines())
    assert curve[0]["step"] == 1 and "reward/detection_map" not in curve[0]
    assert "auxiliary" in curve[0]  # a confidence is learnt
    assert (last["task"], last["phase"], last["steps"], last["held_out"]) == ("detect", "reward", 1, 2)
    assert set(last["before"]) == set(last["after"]) >= {"ap_confidence", "greedy_reward"}
    assert all(last["after"][name] == pytest.approx(curve[0][name], abs=1e-6) for name in last["after"])
    before, after = weights_of(first), weights_of(second)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path, pixward):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    sizes = ("--steps", 3, "--seed", 5, *TINY)
    assert pixward("train", "predict", "--task", "detect", "--out", whole, *sizes).code == 0

    def stop(seen: Seen) -> None:
        if seen.step == 2 and seen.line is not None:
            raise KeyboardInterrupt

    job = PredictTraining(stopped, "detect", steps=3, seed=5, batch=2, held_out=2)
    with pytest.raises(KeyboardInterrupt):
        train_predict(job, stop)
    assert len(read_log(stopped / "log.jsonl")) == 2
    again = pixward("train", "predict", "--task", "detect", "--out", stopped, *sizes)
    assert "holds a run already: resume it (--resume)" in again.line
    resume = ("train", "predict", "--out", stopped, "--resume")
    assert "holds a run with seed 5, not 6" in pixward(*resume, "--seed", 6).line
    assert "holds a run with task detect, not caption" in pixward(*resume, "--task", "caption").line
    # Nothing else has to be said again.
    done = pixward(*resume, "--json")
    assert (done.code, done.err) == (0, "")
    assert [json.loads(line)["step"] for line in done.out.splitlines()[:-1]] == [3]
    logs = [[{k: v for k, v in line.items() if k != "seconds"} for line in read_log(run / "log.jsonl")]
            for run in (whole, stopped)]  # fmt: skip
    assert logs[0] == logs[1]
    one, other = weights_of(whole), weights_of(stopped)
    assert all(torch.equal(one[name], other[name]) for name in one)
    # With nothing left to do, the figures are told once more.
    assert json.loads(pixward(*resume, "--json").out) == json.loads(done.out.splitlines()[-1])


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path, pixward, monkeypatch):
    from pixward.commands import predict_training

    def interrupted(job, watch):
        job.out.mkdir()
        (job.out / "job.json").write_text("{}")
        watch(Seen("mle", 7, 9, {"step": 7}))
        raise KeyboardInterrupt

    monkeypatch.setattr(predict_training, "train_predict", interrupted)
    out = tmp_path / "run"
    done = pixward("train", "predict", "--task", "detect", "--out", out, "--json")
    assert done.code == 130
    assert done.err.splitlines() == [
        f"the checkpoint of step 7 is kept; go on with: pixward train predict --out {out} --resume",
        "pixward: stopped",
    ]


@pytest.mark.parametrize("task", ["detect", "panoptic", "caption", "colour"])
def test_a_folder_of_ones_own(tmp_path, pixward, folder, task):
    data = folder / "images" if task == "colour" else folder
    out = tmp_path / "run"
    run = ("train", "predict", "--task", task, "--data", data, "--out", out, "--steps", 1, "--json", *TINY)
    done = pixward(*run)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out.splitlines()[-1])["held_out"] == 1
    known = load_task(out / "policy.safetensors").describe()
    names = {"detect": ["cat", "dog"], "panoptic": ["cat", "dog", "sky"]}
    assert known.get("names") == names.get(task)
    if task == "panoptic":
        # The weights bring their codes along, for the rewards; and a resume finds those of the run.
        tuned = ("train", "predict", "--task", task, "--phase", "reward", "--start", out, "--data", data)
        assert pixward(*tuned, "--out", tmp_path / "tuned", "--steps", 1, *TINY).code == 0
        assert pixward("train", "predict", "--out", out, "--resume").code == 0
    if task == "detect":
        (folder / "images" / "0.png").unlink()
        shorter = pixward(*run, "--out", tmp_path / "b")
        assert "image 1 is missing" in shorter.line and "pass --mend" in shorter.line
        mended = pixward(*run, "--out", tmp_path / "b", "--mend")
        assert "image 1 is missing" in json.loads(mended.out.splitlines()[-1])["notes"][0]


def test_the_encoder_of_other_weights_is_a_start(tmp_path, pixward):
    first, second = tmp_path / "first", tmp_path / "second"
    assert pixward("train", "predict", "--task", "detect", "--out", first, "--steps", 1, *TINY).code == 0
    run = ("train", "predict", "--task", "colour", "--start", first, "--out", second, "--steps", 1)
    assert pixward(*run, "--rate", 1e-9, *TINY).code == 0
    one, other = weights_of(first), weights_of(second)
    torch.testing.assert_close(one["places"], other["places"])
    torch.testing.assert_close(one["stem.0.weight"].sum(1, keepdim=True), other["stem.0.weight"])


def test_bad_input(tmp_path, pixward, folder):
    mle = tmp_path / "mle"
    assert pixward("train", "predict", "--task", "detect", "--out", mle, "--steps", 1, *TINY).code == 0
    (tmp_path / "photo.safetensors").write_bytes(b"no weights")
    run = ("train", "predict", "--out", tmp_path / "run", "--task")
    cases = {
        ("train", "predict", "--out", tmp_path / "run"): "say what to train: --task detect",
        (*run, "detect", "--phase", "reward"): "starts from trained weights: give --start WEIGHTS",
        (*run, "detect", "--phase", "reward", "--start", "gone"): "there is no weight file gone",
        (*run, "detect", "--phase", "reward", "--start", "caption"): "is for the task caption, not for detect",
        (*run, "detect", "--phase", "more", "--start", tmp_path / "photo.safetensors"): "no whole file of weights",
        (*run, "caption", "--phase", "reward", "--start", mle): "is for the task detect, not for caption",
        (*run, "detect", "--phase", "reward", "--start", mle, "--data", folder): "has no class cat",
        (*run, "caption", "--reward", "map"): "--reward is for --task detect --phase reward",
        (*run, "detect", "--device", "abacus"): "cannot use the device abacus",
        (*run, "detect", "--data", tmp_path / "gone"): "there is no folder",
        (*run, "detect", "--mend"): "--images and --mend are about --data",
    }
    for arguments, says in cases.items():
        done = pixward(*arguments)
        assert done.code == 1, says
        assert says in done.line
    assert pixward(*run, "guess").code == 2
    assert not (tmp_path / "run").exists()


def test_without_accelerate_the_extra_is_named(tmp_path, pixward, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    done = pixward("train", "predict", "--task", "detect", "--out", tmp_path / "run")
    assert done.code == 1 and "pip install 'pixward[train]'" in done.line
