from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from tests.editors.programs import alive, calls, write_gain

from pixward.checks import check_editor
from pixward.editors import external
from pixward.editors.external import ExternalEditor, FrameEditor, as_tensor, stack
from pixward.editors.pool import Frame, Job
from pixward.errors import PixwardError
from pixward.params import ParamSpace, ParamSpec


class Gain:
    """A program without processes: reads its frame and multiplies it."""

    name = "gain"
    space = ParamSpace([ParamSpec("gain", 0.5, 2, 1, "x", ""), ParamSpec("offset", -0.2, 0.2, 0, "", "")])

    def __init__(self) -> None:
        self.crop = 0

    def sidecar(self, setting: Mapping[str, float], frame: Frame) -> str:
        return json.dumps(dict(setting))

    def start(self, *, raw: bool, seconds: float = 60.0) -> Gain:
        return self

    def render(self, job: Job, seconds: float) -> np.ndarray:
        setting = json.loads(job.sidecar)
        pixels = tifffile.imread(job.frame.path) / 65535 * setting["gain"] + setting["offset"]
        return (pixels.clip(0, 1) * 65535).round().astype(np.uint16)[self.crop :]

    def close(self) -> None:
        pass


def test_frames_hold_8_bit_values_exactly() -> None:
    eight = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    with ExternalEditor(Gain()) as editor:
        frame = editor.frame(torch.from_numpy(eight.astype(np.float32) / 255).permute(2, 0, 1))
        stored = tifffile.imread(frame.path)
        assert stored.dtype == np.uint16 and np.array_equal(stored, eight.astype(np.uint16) * 257)
        assert (frame.longest, frame.raw, frame.scale) == (16, False, 1.0)
        # What comes back is the image it was, to float32.
        image = as_tensor(stored)
        assert torch.equal((image * 255).round().to(torch.uint8).permute(1, 2, 0), torch.from_numpy(eight))


def test_frames_are_written_once_and_told_apart_by_what_they_show() -> None:
    with ExternalEditor(Gain()) as editor:
        image = torch.rand(3, 4, 6)
        one = editor.frame(image)
        assert editor.frame(image.clone()) is one
        assert editor.frame(image.reshape(3, 6, 4)).key != one.key  # the same samples, another shape
        assert editor.frame(1 - image).key != one.key
        assert one.longest == 6
        wild = torch.tensor([-1.0, 2.0, 0.5]).reshape(3, 1, 1)
        assert tifffile.imread(editor.frame(wild).path).ravel().tolist() == [0, 65535, 32768]


def test_old_frames_are_removed_but_not_those_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "_FRAMES", 3)
    with ExternalEditor(Gain(), workers=2) as editor:
        images = torch.rand(8, 3, 4, 4)
        out = editor(images, editor.space.defaults())
        assert float((out - images).abs().max()) < 1e-5
        assert len(list(editor._folder.iterdir())) == 3
        # The newest are kept, and the others written again when they are needed.
        assert torch.equal(
            editor(images, torch.tensor([[0.5, 0.0]]))[0], editor(images[:1], torch.tensor([[0.5, 0.0]]))[0]
        )


def test_it_keeps_the_contract_of_editors() -> None:
    with ExternalEditor(Gain(), workers=2) as editor:
        check_editor(editor, tolerance=1 / 65535)
        images = torch.rand(2, 3, 4, 5)
        out = editor(images, torch.tensor([[2.0, 0.0], [0.5, 0.1]]))
        assert torch.allclose(out[0], (images[0] * 2).clamp(0, 1), atol=3e-5)
        assert torch.allclose(out[1], images[1] * 0.5 + 0.1, atol=3e-5)
        assert torch.allclose(editor(images, torch.tensor([[0.5, 0.0]])), images * 0.5, atol=3e-5)
        assert editor.name == "gain" and editor.space is Gain.space and not editor.differentiable


def test_renders_are_counted_and_repeats_are_free() -> None:
    with ExternalEditor(Gain()) as editor:
        image = torch.rand(1, 3, 4, 4)
        rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.0]])
        editor(image.expand(3, -1, -1, -1), rows)
        editor(image, rows[:1])
        assert (editor.counts.renders, editor.counts.repeated) == (2, 2)


@pytest.mark.parametrize(
    ("images", "params", "message"),
    [
        (torch.zeros(3, 4, 4), torch.ones(1, 2), r"images must be \(B, 3, H, W\), got \(3, 4, 4\)"),
        (torch.zeros(1, 1, 4, 4), torch.ones(1, 2), r"images must be \(B, 3, H, W\)"),
        (torch.zeros(2, 3, 4, 4), torch.ones(1, 3), r"params must be \(2, 2\), got \(1, 3\)"),
        (torch.zeros(2, 3, 4, 4), torch.ones(3, 2), r"params must be \(2, 2\), got \(3, 2\)"),
        (torch.zeros(2, 3, 4, 4), torch.ones(2), r"params must be \(2, 2\), got \(2,\)"),
    ],
)
def test_shapes_that_do_not_fit(images: torch.Tensor, params: torch.Tensor, message: str) -> None:
    with ExternalEditor(Gain()) as editor, pytest.raises(ValueError, match=message):
        editor(images, params)


def test_a_picture_of_another_size_is_refused() -> None:
    program = Gain()
    program.crop = 1
    with (
        ExternalEditor(program) as editor,
        pytest.raises(PixwardError, match="gain returned a picture of 5 x 3 pixels"),
    ):
        editor(torch.rand(1, 3, 4, 5), editor.space.defaults())


def test_pictures_of_both_depths_become_tensors() -> None:
    eight = np.array([[[0, 128, 255]]], np.uint8)
    assert as_tensor(eight).flatten().tolist() == pytest.approx([0, 128 / 255, 1])
    assert as_tensor(eight.astype(np.uint16) * 257).flatten().tolist() == pytest.approx([0, 128 / 255, 1])
    like = torch.zeros(2, 3, 1, 1, dtype=torch.float64)
    assert stack("e", [eight, eight], like).dtype == torch.float64


def test_files_go_when_the_editor_goes() -> None:
    editor = ExternalEditor(Gain())
    editor.frame(torch.rand(3, 4, 4))
    folder = editor._folder
    editor.close()
    editor.close()
    assert not folder.exists()
    forgotten = ExternalEditor(Gain())
    folder = forgotten._folder
    assert folder.is_dir()
    del forgotten
    gc.collect()
    assert not folder.exists()


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with ExternalEditor(Gain()) as editor:
        monkeypatch.setattr(external.tifffile, "imwrite", full)
        with pytest.raises(PixwardError, match="^cannot write .*No space left on device; free some space$"):
            editor.frame(torch.rand(3, 4, 4))


def test_an_editor_on_a_file_of_its_own(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 30_000, (4, 6, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "frame.tif", pixels, photometric="rgb")
    with ExternalEditor(Gain()) as inner:
        editor = FrameEditor(inner, Frame(tmp_path / "frame.tif", "f", False, 6))
        assert (editor.name, editor.space, editor.differentiable) == ("gain", Gain.space, False)
        own = as_tensor(pixels)
        assert torch.allclose(editor.picture(), own[None], atol=2e-5)
        assert torch.allclose(editor.picture({"gain": 2.0, "offset": 0.0}), 2 * own[None], atol=4e-5)
        # What the images show does not matter.
        out = editor(torch.rand(2, 3, 4, 6), torch.tensor([[1.0, 0.0], [0.5, 0.0]]))
        assert torch.allclose(out, torch.stack([own, own / 2]), atol=2e-5)
        assert inner.counts.renders == 3 and inner.counts.repeated == 1
        with pytest.raises(ValueError, match=r"params must be \(2, 2\)"):
            editor(torch.rand(2, 3, 4, 6), torch.ones(2, 1))
        with pytest.raises(PixwardError, match="6 x 4 pixels, of another shape"):
            editor(torch.rand(1, 3, 4, 4), torch.ones(1, 2))


# --- with real processes -----------------------------------------------------------------------------------------

HANG = """
import sys, torch
from pixward.editors.command import CommandEditor
from pixward.editors.external import ExternalEditor
editor = ExternalEditor(CommandEditor.load(sys.argv[1]), workers=2, seconds=600)
count = int(sys.argv[2])
try:
    editor(torch.rand(count, 3, 4, 4), editor.space.defaults())
except KeyboardInterrupt:
    raise SystemExit(130)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see who still runs")
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left(tmp_path: Path, number: signal.Signals, count: int) -> None:
    (tmp_path / "tmp").mkdir()
    us = subprocess.Popen(
        [sys.executable, "-c", HANG, str(write_gain(tmp_path, mode="hang")), str(count)],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 120
        while len(calls(tmp_path)) < min(2, count) and time.monotonic() < end:
            time.sleep(0.05)
        pids = calls(tmp_path)
        assert pids and all(map(alive, pids))
        os.kill(us.pid, number)
        assert us.wait(120) == (130 if number == signal.SIGINT else -number)  # soon, not when the time limit comes
    finally:
        us.kill()
        us.wait()
    end = time.monotonic() + 20
    while any(map(alive, calls(tmp_path))) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, calls(tmp_path)))
