from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.editors.programs import alive

from pixward.editors import processes
from pixward.editors.processes import TimedOut, find_program, run, scratch, start, stop
from pixward.errors import PixwardError

PYTHON = [sys.executable, "-I", "-S", "-c"]
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
with open("pids.part", "w") as file: file.write(f"{os.getpid()} {child.pid}")
os.rename("pids.part", "pids")
"""
"""Starts a child of its own, writes down both process ids."""
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see who still runs")


def until(held: Callable[[], object], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not held() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(held())


def family(folder: Path) -> list[int]:
    assert until((folder / "pids").exists)
    return [int(word) for word in (folder / "pids").read_text().split()]


def test_status_and_output_of_both_streams() -> None:
    done = run(
        [*PYTHON, "import sys; print('one', flush=True); print('two\\n ', file=sys.stderr); sys.exit(3)"], seconds=20
    )
    assert (done.status, done.output, done.last_line) == (3, "one\ntwo\n \n", "two")
    assert run([*PYTHON, ""], seconds=20).last_line == ""


def test_the_end_of_long_output_is_kept() -> None:
    done = run([*PYTHON, "print('x' * 2_000_000); print('the end')"], seconds=20)
    assert len(done.output) == 1 << 20 and done.last_line == "the end"


def test_arguments_reach_the_program_as_they_are(tmp_path: Path) -> None:
    odd = ["$(touch x)", "a b", "'", '"', "*", "line\nbreak", "-h", "", "é"]
    done = run([*PYTHON, "import sys; print(ascii(sys.argv[1:]))", *odd], seconds=20, folder=tmp_path)
    assert done.output.strip() == ascii(odd) and list(tmp_path.iterdir()) == []


def test_folder_and_environment(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), os.environ['PIXWARD_A'], 'PATH' in os.environ)"
    done = run([*PYTHON, code], seconds=20, folder=tmp_path, environment={"PIXWARD_A": "b c"})
    assert done.output.strip() == f"{tmp_path.resolve()} b c True"


def test_a_program_hears_no_input() -> None:
    assert run([*PYTHON, "import sys; print(repr(sys.stdin.read()))"], seconds=20).output.strip() == "''"


def test_a_signal_is_128_and_its_number() -> None:
    done = run([*PYTHON, "import os; os.kill(os.getpid(), 11)"], seconds=20)
    assert done.status == 128 + signal.SIGSEGV


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match="did not end within 1.5 s"):
        run([*PYTHON, FAMILY + "time.sleep(600)"], seconds=1.5, folder=tmp_path)
    assert until(lambda: not any(map(alive, family(tmp_path))))


def test_children_that_outlive_the_program_are_ended(tmp_path: Path) -> None:
    assert run([*PYTHON, FAMILY], seconds=20, folder=tmp_path).status == 0
    assert until(lambda: not any(map(alive, family(tmp_path))))


def test_a_program_that_ignores_signals_is_ended(tmp_path: Path) -> None:
    deaf = "import signal\nfor s in (1, 2, 13, 15): signal.signal(s, signal.SIG_IGN)\n"
    with pytest.raises(TimedOut):
        run([*PYTHON, deaf + FAMILY + "time.sleep(600)"], seconds=1.5, folder=tmp_path)
    assert until(lambda: not any(map(alive, family(tmp_path))))


def test_stop_ends_a_running_program_and_may_be_called_again(tmp_path: Path) -> None:
    process = start([*PYTHON, FAMILY + "time.sleep(600)"], output=subprocess.DEVNULL, folder=tmp_path)
    pids = family(tmp_path)
    assert all(map(alive, pids))
    stop(process)
    assert process.poll() is not None and until(lambda: not any(map(alive, pids)))
    stop(process)


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    done = run([str(tmp_path / "none")], seconds=20)
    assert done.status and "No such file" in done.last_line
    with pytest.raises(PixwardError, match="cannot start tool: no such file or directory"):
        start(["tool"], output=subprocess.DEVNULL, folder=tmp_path / "none")


def _ours(folder: Path, code: str) -> subprocess.Popen[bytes]:
    """Another Python, which uses our module to run a program with a child, in ``folder``."""
    call = f"run({[*PYTHON, FAMILY + 'time.sleep(600)']!r}, seconds=600, folder={str(folder)!r})"
    # Under nohup, as tests often run, SIGHUP would be ignored.
    plain = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    script = f"{plain}\nfrom pixward.editors.processes import *\n{code.format(call=call)}"
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_process_is_left_when_our_own_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    us = _ours(tmp_path, "{call}")
    pids = family(tmp_path)
    assert all(map(alive, pids))
    os.kill(us.pid, number)
    us.wait(10)
    assert until(lambda: not any(map(alive, pids)))


def test_no_process_is_left_when_ours_is_killed_with_a_call_in_a_thread(tmp_path: Path) -> None:
    us = _ours(tmp_path, "import threading, time\nthreading.Thread(target=lambda: {call}).start()\ntime.sleep(600)")
    pids = family(tmp_path)
    us.kill()
    us.wait(10)
    assert until(lambda: not any(map(alive, pids)))


def test_ctrl_c_of_the_terminal_does_not_reach_the_program(tmp_path: Path) -> None:
    """The terminal signals our whole group; what becomes of the program is for us to decide."""
    us = _ours(tmp_path, "{call}")
    groups = {os.getpgid(pid) for pid in family(tmp_path)}
    us.kill()
    us.wait(10)
    assert len(groups) == 1 and us.pid not in groups


def test_programs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("tool") is None  # not executable
    tool.chmod(0o755)
    assert find_program("tool") == tool and find_program(str(tool)) == tool and find_program("other") is None


def test_scratch_folders_are_fresh_and_fall_back_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = scratch(), scratch()
    try:
        assert one != two and one.is_dir() and not any(one.iterdir()) and one.stat().st_mode & 0o077 == 0
    finally:
        shutil.rmtree(one)
        shutil.rmtree(two)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(processes, "_MEMORY_DISK", tmp_path / "none")
    assert scratch().parent == tmp_path
    monkeypatch.setattr(processes, "_MEMORY_DISK", tmp_path)
    monkeypatch.setattr(processes, "_ROOM", 1 << 62)
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    assert scratch().parent == tmp_path / "other"
