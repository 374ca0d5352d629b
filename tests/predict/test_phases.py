"""Phases as the recipe and the command line run them. Also run by itself, under a launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixward.data.colours import ColourTokens
from pixward.data.synth import Scenes, SceneSettings
from pixward.predict.colour import ColourTask
from pixward.predict.detect import DetectTask
from pixward.predict.phases import Phase, begun, run_phase
from pixward.predict.task import new_policy
from pixward.predict.weights import load_policy, save_policy
from pixward.run import read_log
from pixward.train.likelihood import LikelihoodSettings
from pixward.train.reinforce import ReinforceSettings
from pixward.train.workers import Workers

TASK = DetectTask(SceneSettings().classes, boxes=7, steps=16)
SOURCE, HELD_OUT = Scenes(seed=3), Scenes(seed=0, split="held-out")
OFTEN = {"steps": 4, "accumulate": 2, "learning_rate": 3e-3, "warmup": 0, "log_every": 1, "checkpoint_every": 2}
WIDTH = 16


def start(place):
    """Weights to begin from, so large that samples differ."""
    torch.manual_seed(1)
    policy = new_policy(TASK, WIDTH)
    torch.nn.init.normal_(policy.head.weight, std=0.5)
    save_policy(place, policy, TASK)
    return place


def phase(kind, folder, begin=None):
    lessons, rewards = LikelihoodSettings(**OFTEN), ReinforceSettings(**OFTEN, samples=3)
    return Phase(kind, folder, begin, lessons, rewards, batch=2, held_out=2)


def run(made):
    return list(run_phase(TASK, begun(TASK, made, WIDTH), made, SOURCE, HELD_OUT, Workers()))


def trace(folder):
    return [{name: row[name] for name in row if name != "seconds"} for row in read_log(folder / "log.jsonl")]


def weights(folder):
    return load_policy(folder / "policy.safetensors", TASK).state_dict()


@pytest.fixture(scope="module")
def begin(tmp_path_factory):
    return start(tmp_path_factory.mktemp("begin") / "policy.safetensors")


@pytest.mark.parametrize("kind", ["mle", "reward"])
def test_a_phase_that_stopped_goes_on_to_the_same_trace(tmp_path, begin, kind):
    straight, halves = (phase(kind, tmp_path / name, begin) for name in ("straight", "halves"))
    assert [line["step"] for line in run(straight)] == [2, 4]
    # No time at all is time until the first checkpoint.
    assert [line["step"] for line in run(replace(halves, minutes=0))] == [2]
    torch.manual_seed(9)
    assert [line["step"] for line in run(halves)] == [4]
    assert trace(halves.folder) == trace(straight.folder)
    assert len(trace(halves.folder)) == 4
    one, two = weights(straight.folder), weights(halves.folder)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_finished_phase_is_not_run_again(tmp_path, begin):
    made = phase("reward", tmp_path, begin)
    run(made)
    before = (tmp_path / "policy.safetensors").read_bytes()
    assert run(made) == []
    assert (tmp_path / "policy.safetensors").read_bytes() == before


def test_reward_and_its_control_begin_alike_and_part(tmp_path, begin):
    reward, more = (phase(kind, tmp_path / kind, begin) for kind in ("reward", "more"))
    first, second = (begun(TASK, each).state_dict() for each in (reward, more))
    assert all(torch.equal(first[name], second[name]) for name in first)
    tuned, taught = run(reward)[-1], run(more)[-1]
    assert "reward/detection_recall" in tuned and "nll" not in tuned
    assert "nll" in taught and "reward" not in taught
    # Both are measured on the same held-out scenes.
    assert {"ap_confidence", "ar", "greedy_reward"} <= set(tuned) & set(taught)
    assert any(not torch.equal(value, first[name]) for name, value in weights(more.folder).items())


@pytest.mark.parametrize("kind", ["reward", "more"])
def test_they_need_a_beginning(tmp_path, kind):
    with pytest.raises(ValueError, match=f"the phase {kind} starts from trained weights: set begin"):
        begun(TASK, phase(kind, tmp_path))


def test_likelihood_begins_with_the_encoder_of_another(tmp_path, begin):
    fresh, taken = (begun(TASK, phase("mle", tmp_path, each), WIDTH).state_dict() for each in (None, begin))
    encoder = load_policy(begin).encoder_state()
    for name, value in taken.items():
        assert torch.equal(value, encoder.get(name, fresh[name])), name
    assert any(not torch.equal(value, fresh[name]) for name, value in encoder.items())
    assert set(encoder) < set(taken) and "head.weight" not in encoder


def test_a_grey_encoder_sees_what_the_coloured_one_saw(tmp_path, begin):
    grey_task = ColourTask(ColourTokens(((0.0, 0.0), (40.0, 20.0)), 8))
    grey = begun(grey_task, phase("mle", tmp_path, begin), WIDTH).eval()
    assert grey.settings.channels == 1
    # Its first layer reads 2 x - 1, of one channel for three.
    shown = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(grey.features(shown), load_policy(begin).features(shown.expand(-1, 3, -1, -1)))


@pytest.mark.slow
def test_two_processes_leave_the_trace_of_one_and_resume_to_it(tmp_path, begin):
    one = phase("reward", tmp_path / "one", begin)
    run(one)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    plain = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    source = str(Path(__file__).parents[2] / "src")
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    script = [__file__, str(begin), str(tmp_path / "two")]
    done = subprocess.run(launch + plain + script, env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["2", "processes:", "[2]", "[4]"]
    rows = trace(one.folder), trace(tmp_path / "two")
    assert [list(row) for row in rows[0]] == [list(row) for row in rows[1]]
    for a, b in zip(*rows, strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4, atol=1e-5)
    for name, value in weights(one.folder).items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    torch.set_num_threads(1)
    both = phase("reward", Path(sys.argv[2]), Path(sys.argv[1]))
    stopped = [row["step"] for row in run(replace(both, minutes=0))]
    rest = [row["step"] for row in run(both)]
    if Workers().first:
        print(Workers().count, "processes:", stopped, rest)
