from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixward.errors import PixwardError
from pixward.run import Run, read_log
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.workers import Workers
from pixward.types import Decoding

HERE = Path(__file__).parent


def rows_of(folder):
    return [{key: row[key] for key in row if key != "seconds"} for row in read_log(Path(folder) / "log.jsonl")]


def flat(policy):
    return torch.cat([weight.detach().flatten() for weight in policy.parameters()])


# Made by this file on a CPU with torch 2.13: the loss of each of 20 updates.
GOLDEN = [
    1.791759,
    1.787198,
    1.787219,
    1.771581,
    1.758841,
    1.722652,
    1.727243,
    1.687192,
    1.67433,
    1.658247,
    1.62033,
    1.609257,
    1.59759,
    1.583625,
    1.577237,
    1.566621,
    1.552003,
    1.550332,
    1.541,
    1.538916,
]


def test_golden_trace(tokens, tmp_path):
    tokens.learn("likelihood", tmp_path, tokens.SETTINGS["likelihood"])
    np.testing.assert_allclose([row["loss"] for row in rows_of(tmp_path)], GOLDEN, rtol=1e-3)


@pytest.mark.parametrize("kind", ["likelihood", "reinforce"])
def test_resumed_equals_straight(tokens, tmp_path, kind):
    settings = tokens.SETTINGS[kind]
    straight, _ = tokens.learn(kind, tmp_path / "straight", settings)
    # Stopped after the first of two checkpoints, as a person or a time limit would.
    made, workers = tokens.policy(), Workers()
    with Run(tmp_path / "halves", tensorboard=False) as run:
        trainer = (
            likelihood(made, tokens.batches, settings, run, workers)
            if kind == "likelihood"
            else tokens.reinforce(made, tokens.TASK, settings, run, workers)
        )
        assert next(trainer)["step"] == 10
    torch.manual_seed(9)
    resumed, _ = tokens.learn(kind, tmp_path / "halves", settings, resume=True)
    assert rows_of(tmp_path / "halves") == rows_of(tmp_path / "straight")
    assert torch.equal(flat(resumed), flat(straight))


@pytest.mark.slow
def test_two_processes_leave_the_trace_of_one(tokens, tmp_path):
    names = ["likelihood", "reinforce"]
    for name in names:
        tokens.learn(name, tmp_path / name, replace(tokens.SETTINGS[name], steps=10))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    plain = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    script = [str(HERE / "tokens.py"), *(str(tmp_path / f"two-{name}") for name in names)]
    source = str(HERE.parents[1] / "src")
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    done = subprocess.run(launch + plain + script, env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["2", "processes"]
    for name in names:
        one, two = rows_of(tmp_path / name), rows_of(tmp_path / f"two-{name}")
        assert [list(row) for row in one] == [list(row) for row in two]
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4, atol=1e-5)
        saved = [torch.load(tmp_path / f / "checkpoint.pt")["state"]["policy"] for f in (name, f"two-{name}")]
        for key, value in saved[0].items():
            torch.testing.assert_close(saved[1][key], value, rtol=1e-4, atol=1e-5)


def test_it_learns_and_several_sequences_and_weights_count(tokens, tmp_path):
    def two_each(index):
        """The word twice, and beside it a sequence of which only the end is to be learnt."""
        batch = tokens.batches(index, 16)
        noise = torch.full_like(batch["tokens"], 5)
        noise[:, 2] = 0
        weights = torch.ones(16, 2, 3)
        weights[:, 1, :2] = 0
        return {**batch, "tokens": torch.stack([batch["tokens"], noise], 1), "weights": weights}

    settings = LikelihoodSettings(steps=100, learning_rate=5e-3, warmup=10, checkpoint_every=100)
    made = tokens.policy()
    with Run(tmp_path, tensorboard=False) as run:
        lines = list(likelihood(made.train(), two_each, settings, run, Workers(), lambda step: {"asked": step}))
    assert lines[-1]["asked"] == 100
    made.eval()
    batch = tokens.batches(5000, 64)
    drawn = made.sample(batch["images"], 1, Decoding(0)).tokens[:, 0]
    assert float((drawn == batch["tokens"]).all(1).float().mean()) > 0.95
    # Never learnt as words, 5s are rare; but after them comes the end.
    after = made.log_prob(batch["images"], torch.tensor([[[5, 5, 0]]]).expand(64, 1, 3)).log_probs[:, 0].detach()
    assert float(after[:, 0].max()) < -2
    assert float(after[:, 2].mean()) > -0.3


def test_small_batches_add_up_to_a_large_one(tokens, tmp_path):
    def halves(index):
        whole = tokens.batches(index // 2, 8)
        return {key: value[index % 2 * 4 :][:4] for key, value in whole.items()}

    settings = LikelihoodSettings(steps=4, learning_rate=1e-3, warmup=0, log_every=1, checkpoint_every=4)
    for folder, batches, count in (("whole", lambda i: tokens.batches(i, 8), 1), ("halves", halves, 2)):
        with Run(tmp_path / folder, tensorboard=False) as run:
            list(likelihood(tokens.policy(), batches, replace(settings, accumulate=count), run, Workers()))
    # Not the weights: Adam makes steps of full size out of gradients that are nothing but rounding.
    for whole, parts in zip(rows_of(tmp_path / "whole"), rows_of(tmp_path / "halves"), strict=True):
        assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-4)
        assert parts["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-3)


def test_half_precision_learns_too(tokens, tmp_path):
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    try:
        _, lines = tokens.learn(
            "likelihood", tmp_path, replace(tokens.SETTINGS["likelihood"], steps=60), precision="bf16"
        )
    finally:
        AcceleratorState._reset_state(True)
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.05
    saved = torch.load(tmp_path / "checkpoint.pt")["state"]["policy"]
    assert all(value.dtype == torch.float32 for value in saved.values())


def test_faults_are_named(tokens, tmp_path):
    settings = replace(tokens.SETTINGS["likelihood"], steps=10)
    tokens.learn("likelihood", tmp_path, settings)
    with pytest.raises(PixwardError, match=r"accumulate=2, not 4"):
        tokens.learn("likelihood", tmp_path, replace(settings, accumulate=4), resume=True)
    with pytest.raises(PixwardError, match="another algorithm than reinforce"):
        tokens.learn("reinforce", tmp_path, tokens.SETTINGS["reinforce"], resume=True)
    workers = Workers()
    workers.count = 3
    with pytest.raises(PixwardError, match="3 processes cannot share 2 batches"):
        workers.mine(2)
    bad = {**tokens.batches(0), "images": torch.full((4, 3, 8, 8), torch.nan)}
    with Run(tmp_path / "nan", tensorboard=False) as run:
        training = likelihood(tokens.policy(), lambda _: bad, settings, run, Workers())
        with pytest.raises(PixwardError, match="diverged before step 1"):
            next(training)
