from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from pixward.errors import PixwardError
from pixward.run import Run, read_log, seed_everything


def draws():
    numpy = [np.random.rand(), np.random.randn()]  # noqa: NPY002 - the global generator is what is tested
    return [random.random(), random.gauss(0, 1), float(torch.rand(())), *numpy]


def test_seeds_decide_everything():
    seed_everything(7)
    first = draws()
    seed_everything(7)
    assert draws() == first
    seed_everything(8)
    assert draws() != first


def test_resume_restores_state_log_and_generators(tmp_path):
    seed_everything(1)
    with Run(tmp_path, tensorboard=False) as run:
        run.log(1, {"loss": 0.5})
        # One normal number, so that NumPy and Python hold a second in store.
        draws()
        run.save({"weights": {"a": torch.arange(3)}, "step": 1, "names": ["x"]})
        run.log(2, {"loss": 0.25})
        after = draws()
    with Run(tmp_path, resume=True, tensorboard=False) as run:
        state = run.load()
        assert draws() == after
        run.log(2, {"loss": 0.125})
    assert state["step"] == 1
    assert state["names"] == ["x"]
    assert torch.equal(state["weights"]["a"], torch.arange(3))
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.125}]


def test_nothing_to_resume_starts_over(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n')
    with Run(tmp_path, resume=True, tensorboard=False) as run:
        assert run.load() is None
        run.log(1, {})
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1}]


def test_log_is_on_disk_at_once_and_half_a_line_is_forgiven(tmp_path):
    run = Run(tmp_path, tensorboard=False)
    run.log(1, {"loss": 1.0})
    path = tmp_path / "log.jsonl"
    assert read_log(path) == [{"step": 1, "loss": 1.0}]
    run.save({})
    run.close()
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    assert read_log(path) == [{"step": 1, "loss": 1.0}]
    with Run(tmp_path, resume=True, tensorboard=False) as run:
        run.log(2, {"loss": 2.0})
    assert [row["step"] for row in read_log(path)] == [1, 2]


def test_damage_inside_a_log_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\nrubbish\n{"step": 3}\n')
    with pytest.raises(PixwardError, match="line 2"):
        read_log(path)


def test_a_run_is_not_overwritten(tmp_path):
    Run(tmp_path, tensorboard=False).close()
    with pytest.raises(PixwardError, match="holds a run already"):
        Run(tmp_path, tensorboard=False)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PixwardError, match="cannot write the run folder"):
        Run(tmp_path / "file" / "run", tensorboard=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_failed_save_leaves_the_old_checkpoint(tmp_path, monkeypatch, error):
    run = Run(tmp_path, tensorboard=False)
    run.save({"step": 1})

    def half(content, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises((KeyboardInterrupt, PixwardError)):
        run.save({"step": 2})
    run.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    with Run(tmp_path, resume=True, tensorboard=False) as run:
        assert run.load()["step"] == 1


def test_damaged_checkpoint_is_named(tmp_path):
    with Run(tmp_path, tensorboard=False) as run:
        run.save({"step": 1})
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:100])
    with Run(tmp_path, resume=True, tensorboard=False) as run, pytest.raises(PixwardError, match="no whole checkpoint"):
        run.load()


def test_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({"state": Evil(), "rng": {}, "log_bytes": 0}, tmp_path / "checkpoint.pt")
    with Run(tmp_path, resume=True, tensorboard=False) as run, pytest.raises(PixwardError, match="no whole checkpoint"):
        run.load()
    assert not (tmp_path / "pwned").exists()


SAVING = """
import signal, sys, torch
# A shell starts jobs in the background with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pixward.run import Run
run = Run(sys.argv[1], tensorboard=False)
step = 0
while True:
    step += 1
    run.log(step, {"x": 1})
    run.save({"step": step, "weights": torch.zeros(300_000)})
    if step == 2:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_killed_while_saving(tmp_path, kind):
    child = subprocess.Popen(
        [sys.executable, "-c", SAVING, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout.readline() == b"ready\n"
    time.sleep(0.05)
    child.send_signal(kind)
    assert child.wait(20) != 0
    with Run(tmp_path, resume=True, tensorboard=False) as run:
        step = run.load()["step"]
        assert step >= 2
        assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == list(range(1, step + 1))
    if kind == signal.SIGINT:
        assert not list(tmp_path.glob(".*.part"))


def test_tensorboard_gets_the_figures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Run(tmp_path) as run:
        run.log(3, {"loss": 0.5, "note": "text"})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (point,) = events.Scalars("loss")
    assert (point.step, point.value) == (3, 0.5)
    assert events.Tags()["scalars"] == ["loss"]


def test_what_was_logged_before_the_first_update_outlives_a_start_over(tmp_path):
    for reward in (0.5, 0.25):  # the second start finds no checkpoint and begins anew
        with Run(tmp_path, resume=True, tensorboard=False) as run:
            run.log(0, {"reward": reward})
            assert run.load() is None
            run.log(1, {"loss": 1.0})
    assert read_log(tmp_path / "log.jsonl") == [{"step": 0, "reward": 0.5}, {"step": 1, "loss": 1.0}]


def test_pictures_go_to_tensorboard(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Run(tmp_path) as run:
        run.show(3, "samples", np.zeros((8, 8, 3), np.uint8))
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.width, event.height) for event in events.Images("samples")] == [(3, 8, 8)]
    with Run(tmp_path / "plain", tensorboard=False) as run:
        run.show(3, "samples", np.zeros((8, 8, 3), np.uint8))
    assert not list((tmp_path / "plain").glob("events*"))
