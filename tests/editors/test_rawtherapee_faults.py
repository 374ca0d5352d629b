"""A rawtherapee-cli that is missing, old, stuck, dead or talks nonsense: one clear line, and nothing left behind."""

from __future__ import annotations

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
from PIL import Image

from pixward.editors import rawtherapee_once as once
from pixward.editors import rawtherapee_worker
from pixward.editors.external import ExternalEditor
from pixward.editors.pool import Frame, Job, WorkerLost
from pixward.editors.rawtherapee import RawTherapee
from pixward.errors import PixwardError

needs = pytest.mark.skipif(not shutil.which("rawtherapee-cli"), reason="needs rawtherapee-cli")
RT = RawTherapee()
HELLO = 'echo "RawTherapee, version 5.9, command line."\n[ $# = 0 ] && exit\n'


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """``fake(script)`` puts a rawtherapee-cli of our own on the PATH, alone but for the shell's tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(once, "_QUESTION_SECONDS", 1.0)

    def make(script):
        path = folder / "rawtherapee-cli"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

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


def test_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (lambda: RT.version, lambda: RT.start(raw=False)):
        with pytest.raises(PixwardError, match="not installed; on Debian and Ubuntu: sudo apt install rawtherapee"):
            call()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ('echo "RawTherapee, version 4.2, command line."', "RawTherapee 4.2, too old"),
        ("echo hello", r"does not say its version \(hello\)"),
        ("exit 127", "does not say its version"),
        ("sleep 60", "does not answer"),
    ],
)
def test_no_good_version(fake, script, says):
    fake(script)
    with pytest.raises(PixwardError, match=says):
        _ = RT.version


def test_a_newer_version_is_fine(fake):
    fake('echo "RawTherapee, version 5.10-rc1, command line."')
    assert RT.version == "5.10-rc1"


@pytest.mark.parametrize(
    ("script", "says"),
    [("sleep 60", "did not answer in time"), ("exit 3", "died"), ("echo no room; exit 1", r"died \(no room\)")],
)
def test_does_not_start(fake, picture, script, says):
    fake(HELLO + script)
    with pytest.raises(WorkerLost, match=says):
        RT.start(raw=False, seconds=3 if "sleep" in script else 30)
    with (
        ExternalEditor(RT, workers=1, seconds=3 if "sleep" in script else 30) as editor,
        pytest.raises(PixwardError, match=f"rawtherapee {says}.*twice"),
    ):
        editor.pool.render([Job(picture, "")])


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sleep 60", "did not answer in time"),
        ("cat h0.jpg.pp3; exit 3", "died"),
        ("cat h0.jpg.pp3; sleep 60", "did not answer in time"),
        (
            "cat h0.jpg.pp3; echo cannot read it; echo Processing: h1.jpg; sleep 60",
            r"gave no picture \(cannot read it\)",
        ),
        ("cat h0.jpg.pp3; echo x > out/j0.tif; echo Processing: h1.jpg; sleep 60", "gave no picture"),
    ],
)
def test_does_not_render(fake, picture, script, says):
    fake(HELLO + "echo Processing: h0.jpg\n" + script)
    worker = RT.start(raw=False)
    try:
        with pytest.raises(WorkerLost, match=says):
            worker.render(Job(picture, ""), 0.5)
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("sleep 60", "did not render .* within 1 s"),
        ("echo out of memory; exit 9", "status 9: out of memory"),
        ("exit 0", "rendered nothing"),
        ('while [ "$1" != -o ]; do shift; done; echo garbage > "$2"', "wrote no picture"),
    ],
)
def test_final_fails_in_one_line(fake, picture, tmp_path, script, says):
    fake(HELLO + script)
    with pytest.raises(PixwardError, match=says) as caught:
        RT.final(picture.path, "", tmp_path / "o.png", bits=8, seconds=1)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.png"))


def test_final_into_a_folder_that_cannot_be_written(fake, picture, tmp_path):
    fake(HELLO + f'while [ "$1" != -o ]; do shift; done; cp "{tmp_path}/ok.png" "$2"')
    Image.new("RGB", (2, 2)).save(tmp_path / "ok.png")
    with pytest.raises(PixwardError, match=r"no/o\.png"):
        RT.final(picture.path, "", tmp_path / "no" / "o.png", bits=8, seconds=5)


# --- the real one -------------------------------------------------------------------------------------------------


@needs
def test_a_killed_process_is_replaced():
    with ExternalEditor(RT, workers=1) as editor:
        image = torch.rand(1, 3, 16, 24)
        editor(image, RT.space.defaults())
        inner = [pid for pid in children(os.getpid()) if "rawtherapee" in Path(f"/proc/{pid}/comm").read_text()]
        assert len(inner) == 1
        os.kill(inner[0], signal.SIGKILL)
        changed = editor(image, RT.space.from_dict({"exposure": 1.0})[None])
        assert changed.mean() > image.mean()
        assert editor.counts.replaced == 1


@needs
def test_a_sidecar_it_cannot_read_costs_one_job(picture):
    worker = RT.start(raw=False)
    with pytest.raises(WorkerLost, match="gave no picture"):
        worker.render(Job(picture, "[White Balance]\nTemperature=5000.5\n"), 20)
    assert worker.render(Job(picture, RT.sidecar({}, picture)), 20).shape == (16, 24, 3)
    worker.close()


@needs
def test_the_list_of_files_is_renewed(picture, monkeypatch):
    monkeypatch.setattr(rawtherapee_worker, "JOBS", 2)
    worker = RT.start(raw=False)
    means = [worker.render(Job(picture, RT.sidecar({"exposure": i / 5}, picture)), 20).mean() for i in range(5)]
    worker.close()
    assert means == sorted(means)
    assert len(set(means)) == 5


@needs
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see who still runs")
def test_nothing_is_left_behind(picture):
    before = set(children(os.getpid()))
    worker = RT.start(raw=False)
    folder = worker._folder
    running = set(children(os.getpid())) - before
    assert len(running) == 2  # the guard and RawTherapee
    thread = threading.Thread(target=lambda: (time.sleep(0.2), worker.close()))
    thread.start()
    job = Job(picture, RT.sidecar({}, picture))

    def render_on():
        while True:
            worker.render(job, 20)

    with pytest.raises(WorkerLost):
        render_on()
    thread.join()
    worker.close()
    assert not [pid for pid in running if Path(f"/proc/{pid}").exists()]
    assert not folder.exists()


@needs
def test_the_users_settings_are_left_alone(tmp_path, monkeypatch, picture):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    worker = RT.start(raw=False)
    worker.render(Job(picture, RT.sidecar({}, picture)), 20)
    worker.close()
    RT.final(picture.path, "", tmp_path / "o.png", bits=8, seconds=20)
    assert not list((tmp_path / "home").iterdir())
