"""A batch that is stopped, or whose processes die, goes on where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.commands.conftest import Pixward
from tests.commands.many import ENDS, NAMES, QUICK, lines, photos, place, states, times

__all__ = ["place"]

SLOW = """
import pathlib, time
from pixward.editors.chain import PHOTO

class Slow:
    name, space, differentiable = "slow", PHOTO.space, False

    def __call__(self, images, params):
        time.sleep({seconds})
        return PHOTO(images, params)

editor = Slow()
"""


def _start(jobs: int, seconds: float) -> subprocess.Popen[str]:
    Path("slow.py").write_text(SLOW.replace("{seconds}", str(seconds)))
    command = [sys.executable, "-m", "pixward.cli", "match", *photos(), "--goal-dir", "goals", *map(str, QUICK)]
    command += ["--editor", "slow:editor", "--jobs", str(jobs), "--json"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _until_one_is_done(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(Path("pixward-out").glob("*.residual.png")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_says_what_is_kept(place: Path, jobs: int):
    with _start(jobs, 1.0) as process:
        _until_one_is_done(process)
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to all of them.
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    said, stopped = err.splitlines()
    assert stopped == "pixward: stopped"
    kept = len(lines())
    assert 1 <= kept < 3
    assert said == f"pixward: {kept} of 3 photos are done and kept in pixward-out; the same command goes on from there"
    assert len(times()) == kept * len(ENDS)  # No temporary files, no half of a photo's.


@pytest.mark.parametrize(("jobs", "whom"), [(1, "group"), (2, "group"), (2, "parent")])
def test_after_a_kill_nothing_is_done_twice(pixward: Pixward, place: Path, jobs: int, whom: str):
    with _start(jobs, 1.0) as process:
        _until_one_is_done(process)
        (os.killpg if whom == "group" else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()  # Children that outlive their parent would hold the pipe open.
    kept, before = {Path(line["photo"]).name for line in lines()}, times()
    assert 1 <= len(kept) < 3
    words = ("--editor", "slow:editor", "--json")
    done = pixward("match", *photos(), "--goal-dir", "goals", *QUICK, *words)
    assert done.code == 0, done.out
    assert {name for name, state in states(done).items() if state == "kept"} == kept
    assert {name: time for name, time in times().items() if name in before} == {
        name: time for name, time in before.items() if not name.startswith(".")
    }
    assert len(lines()) == 3
    assert not [path for path in Path("pixward-out").iterdir() if path.name.startswith(".")]


def test_a_process_that_dies_costs_one_photo(place: Path):
    Path("dying.py").write_text(
        SLOW.replace("time.sleep({seconds})", "images.shape[2] > images.shape[3] and __import__('os')._exit(9)")
    )
    command = [sys.executable, "-m", "pixward.cli", "match", *photos(), "--goal-dir", "goals", *map(str, QUICK)]
    command += ["--editor", "dying:editor", "--jobs", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    found = {Path(photo["photo"]).name: photo for photo in json.loads(done.stdout)["photos"]}
    assert [found[f"{name}.png"]["state"] for name in NAMES] == ["done", "failed", "done"]
    assert "ended (code 9)" in found["b.png"]["error"]
