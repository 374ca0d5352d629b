"""A pipeline's LoRA learns the same on two processes, stopped and resumed, as on one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

from tests.denoise import painting

from pixward.run import read_log

ROOT = Path(__file__).resolve().parents[2]


def rows_of(folder):
    timed = ("seconds", "cpu_seconds")
    return [{key: row[key] for key in row if key not in timed} for row in read_log(folder / "log.jsonl")]


def test_two_processes_leave_the_trace_of_one(tmp_path):
    painting.learn(tmp_path / "one")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    plain = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    script = [str(ROOT / "tests" / "denoise" / "painting.py"), str(tmp_path / "two")]
    done = subprocess.run(launch + plain + script, env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["2", "processes"]
    one, two = rows_of(tmp_path / "one"), rows_of(tmp_path / "two")
    assert [list(row) for row in one] == [list(row) for row in two]
    assert [row["step"] for row in one] == [0, 1, 2] and one[-1]["queries"] == 16 and one[-1]["kl"] > 0
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-3, atol=1e-5)
    saved = [torch.load(folder / "checkpoint.pt")["state"] for folder in (tmp_path / "one", tmp_path / "two")]
    for part in ("policy", "mean"):
        assert all(".pixward." in key for key in saved[0][part])
        for key, value in saved[0][part].items():
            torch.testing.assert_close(saved[1][part][key], value, rtol=1e-3, atol=1e-4)
