"""A darktable-cli that hangs, dies, is killed or writes nonsense: one clear line, and nothing left behind."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from tests.editors.programs import alive

from pixward.editors import darktable_worker, processes
from pixward.editors.darktable import Darktable
from pixward.editors.darktable_modules import Installation
from pixward.editors.external import ExternalEditor
from pixward.editors.pool import Frame, Job, Pool, WorkerLost
from pixward.errors import PixwardError

needs = pytest.mark.skipif(not shutil.which("darktable-cli"), reason="needs darktable-cli")
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see who still runs")
PIPES = 'exec 3>"$PIXWARD_DARKTABLE/replies" 4<"$PIXWARD_DARKTABLE/requests"\necho ready >&3\n'
JOB = PIPES + "IFS='\t' read -r source result <&4\n"


@pytest.fixture
def shm(tmp_path, monkeypatch):
    """Where scratch folders are made: here, so that what is left shows."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(processes, "_MEMORY_DISK", folder)
    monkeypatch.setattr(processes, "_ROOM", 0)
    return folder


@pytest.fixture
def fake(tmp_path):
    """``fake(script)``: a Darktable whose darktable-cli is a shell script."""

    def make(script):
        path = tmp_path / "darktable-cli"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        program = Darktable()
        program.__dict__["where"] = Installation(path, "4.2.1", tmp_path)
        return program

    return make


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((16, 24, 3), 30000, np.uint16), photometric="rgb")
    return Frame(path, "a", False, 24)


def children(pid):
    """Every process below ``pid``."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def running():
    """darktable-cli, as far as we have started it."""
    return [pid for pid in children(os.getpid()) if Path(f"/proc/{pid}/comm").read_text().strip() == "darktable-cli"]


def files_open():
    return len(os.listdir("/proc/self/fd"))


# --- starting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sleep 600", "hung and was ended"),
        ("exit 3", "ended with status 3"),
        ("echo no room; echo WARNING: running darktable as root; exit 1", r"ended with status 1 \(no room\)"),
        ("kill -9 $$", "ended with status 137"),
        ('echo hello > "$PIXWARD_DARKTABLE/replies"; sleep 600', "did not start"),
    ],
)
@needs_proc
def test_does_not_start(fake, picture, shm, script, says):
    program, before = fake(script), files_open()
    with pytest.raises(WorkerLost, match=says):
        program.start(raw=False, seconds=1)
    with pytest.raises(PixwardError, match=f"darktable {says}.*, twice in a row") as caught:
        Pool(program, workers=1, seconds=1).render([Job(picture, "")])
    assert "\n" not in str(caught.value)
    assert files_open() == before
    assert not list(shm.iterdir())


@needs_proc
def test_cannot_be_started(fake, shm, monkeypatch):
    program, before = fake("exit 0"), files_open()

    def no(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkfifo", no)
        with pytest.raises(PixwardError, match="cannot write .*: No space left on device; free some space there"):
            program.start(raw=False)
    with monkeypatch.context() as patch:
        patch.setattr(processes.subprocess, "Popen", no)
        with pytest.raises(PixwardError, match="cannot start .*darktable-cli: no space left on device"):
            program.start(raw=False)
    assert files_open() == before
    assert not list(shm.iterdir())


# --- rendering ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (JOB + "sleep 600", "hung and was ended"),
        (JOB + "echo out of memory; exit 9", r"ended with status 9 \(out of memory\)"),
        (JOB + "echo ok >&3; sleep 600", r"rendered nothing \(ok\)"),
        (JOB + "echo failed no such file >&3; sleep 600", r"rendered nothing \(failed no such file\)"),
        (JOB + 'echo garbage > "$result"; echo ok >&3; sleep 600', "wrote a picture that cannot be read"),
        (JOB + 'head -c 100 "$source" > "$result"; echo ok >&3; sleep 600', "wrote a picture that cannot be read"),
    ],
)
@needs_proc
def test_does_not_render(fake, picture, shm, script, says):
    before = files_open()
    worker = fake(script).start(raw=False)
    with pytest.raises(WorkerLost, match=says):
        worker.render(Job(picture, "text"), 0.5)
    worker.close()
    worker.close()
    with pytest.raises(WorkerLost, match="was closed"):
        worker.render(Job(picture, "text"), 0.5)
    assert files_open() == before
    assert not list(shm.iterdir())


def test_a_full_disk(fake, picture, monkeypatch):
    worker = fake(JOB + "sleep 600").start(raw=False)

    def no(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(darktable_worker, "_link", no)
    with pytest.raises(PixwardError, match="cannot write .*: No space left on device; free some space there"):
        worker.render(Job(picture, "text"), 0.5)
    worker.close()


@needs_proc
def test_closed_by_another_thread(fake, picture, shm):
    worker = fake(JOB + "sleep 600").start(raw=False)
    began = time.monotonic()
    thread = threading.Thread(target=lambda: (time.sleep(0.3), worker.close()))
    thread.start()
    with pytest.raises(WorkerLost):
        worker.render(Job(picture, "text"), 60)
    worker.close()
    thread.join()
    assert time.monotonic() - began < 20
    assert not running()
    assert not list(shm.iterdir())


# --- the whole photo ----------------------------------------------------------------------------------------------

RESULT = 'for name; do case "$name" in */result.*) result=$name;; esac; done\n'


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sleep 600", "did not finish .*a.tif in 0.5 s; it was ended"),
        ("echo out of memory; exit 9", "did not render .*a.tif: out of memory"),
        ("exit 0", "did not render .*a.tif: it said nothing"),
        (RESULT + ': > "$result"', "did not render .*a.tif"),
        (RESULT + 'echo garbage > "$result"', "wrote no picture from .*a.tif"),
    ],
)
def test_final_fails_in_one_line(fake, picture, tmp_path, shm, script, says):
    (tmp_path / "o.png").write_text("older")
    with pytest.raises(PixwardError, match=says) as caught:
        fake(script).final(picture.path, "", tmp_path / "o.png", seconds=0.5)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "o.png").read_text() == "older"
    assert not list(shm.iterdir())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_final_to_places_that_cannot_be(fake, picture, tmp_path, shm):
    program = fake(RESULT + f'cp "{picture.path}" "$result"')
    for out, bits, says in (
        (tmp_path / "o.bmp", 8, "does not write 8 bits to o.bmp: use .jpg, .png or .tiff"),
        (tmp_path / "o.tif", 32, "does not write 32 bits"),
        (tmp_path / "no" / "o.tif", 8, "no/o.tif"),
    ):
        with pytest.raises(PixwardError, match=says):
            program.final(picture.path, "", out, bits=bits, seconds=5)
    with pytest.raises(PixwardError, match="cannot render .*missing.tif: no such file"):
        program.final(tmp_path / "missing.tif", "", tmp_path / "o.tif", seconds=5)
    assert not list(shm.iterdir())


# --- the real one -------------------------------------------------------------------------------------------------


@needs
@needs_proc
def test_a_killed_process_is_replaced_and_nothing_is_left(shm):
    program = Darktable()
    image = torch.rand(1, 3, 400, 600, generator=torch.Generator().manual_seed(0))
    with ExternalEditor(program, workers=1) as editor:
        editor(image, program.space.defaults())
        (victim,) = running()
        threading.Timer(0.15, os.kill, (victim, signal.SIGKILL)).start()
        setting = {"exposure": 1.0, "clarity": 50.0, "vibrance": 20.0, "shadows": 0.5}  # takes longer than that
        assert editor(image, program.space.from_dict(setting)[None]).mean() > image.mean()
        (successor,) = running()
        assert successor != victim
        assert (editor.counts.replaced, editor.counts.renders) == (1, 2)
        everyone = children(os.getpid())
        assert everyone
        assert list(shm.iterdir())
    assert not [pid for pid in everyone if alive(pid)]
    assert not list(shm.iterdir())


@needs
def test_what_it_cannot_open_costs_one_job(tmp_path, picture):
    program = Darktable()
    (tmp_path / "b.tif").write_bytes(b"no picture")
    worker = program.start(raw=False)
    with pytest.raises(WorkerLost, match="rendered nothing"):
        worker.render(Job(Frame(tmp_path / "b.tif", "b", False, 24), program.sidecar({}, picture)), 30)
    assert worker.render(Job(picture, program.sidecar({}, picture)), 30).shape == (16, 24, 3)
    worker.close()
    with pytest.raises(PixwardError, match="darktable did not render .*b.tif: "):
        program.final(tmp_path / "b.tif", program.sidecar({}, picture), tmp_path / "o.png", seconds=60)
    assert not (tmp_path / "o.png").exists()
