"""Photos in a real editor: opened, given a goal, and compared with their full-size render."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands.conftest import picture
from tests.commands.test_match_real import raw_file
from tests.editors.programs import write_gain

from pixward.editors.command import CommandEditor
from pixward.editors.external import ExternalEditor
from pixward.editors.pool import Frame
from pixward.errors import PixwardError
from pixward.image import Photo, from_tensor, load, preview, to_tensor
from pixward.real import Opened, agreement, lay_goal, open_photo
from pixward.search.problem import Goal


def photo_of(pixels: np.ndarray) -> Photo:
    return Photo(pixels, None, None, None, Path("made.png"))


def developed(path: Path, program: CommandEditor, editor: ExternalEditor) -> Opened:
    """A raw file as it is opened, but by an editor of pictures: plainly developed."""
    return Opened(path, program, editor, preview(load(path)), Frame(path, "", True, 240), None)


def test_a_picture_is_searched_on_its_upright_preview(tmp_path: Path):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(picture(600, 400)).save(tmp_path / "photo.jpg", quality=95, exif=turned)
    program = CommandEditor.load(write_gain(tmp_path))
    with ExternalEditor(program) as editor:
        opened = open_photo(tmp_path / "photo.jpg", program, editor, tmp_path)
        assert opened.loaded is not None and opened.loaded.size == (400, 600) and opened.frame.longest == 600
        assert opened.editor is editor and opened.source.shape == (1, 3, 256, 171)
        assert torch.equal(opened.source, preview(opened.loaded))
        goal, alignment = lay_goal(opened, photo_of(np.full((60, 40, 3), 128, np.uint8)))
        assert isinstance(goal, torch.Tensor) and goal.shape == opened.source.shape and alignment is None
        assert float((goal - 128 / 255).abs().max()) < 1e-6
        with pytest.raises(PixwardError, match="they must show the same framing; turn one of them"):
            lay_goal(opened, photo_of(np.zeros((40, 60, 3), np.uint8)))


def test_agreement_is_high_for_the_editors_own_render_and_low_for_another(tmp_path: Path):
    Image.fromarray(picture(96, 64)).save(tmp_path / "photo.png")
    program = CommandEditor.load(write_gain(tmp_path))
    with ExternalEditor(program) as editor:
        opened = open_photo(tmp_path / "photo.png", program, editor, tmp_path)
        setting = {"exposure": 0.5}
        program.final(opened.photo, opened.sidecar(setting), tmp_path / "full.png", bits=16, seconds=30)
        full = load(tmp_path / "full.png")
        assert agreement(opened, setting, full) == 100  # one size, so that nothing was reduced
        assert agreement(opened, setting, photo_of(np.ascontiguousarray(full.pixels[:, ::-1]))) < 25
        # By hand: the untouched photo against the photo times the root of 2, 8 bit.
        before = picture(96, 64).astype(float) / 255
        error = np.mean((np.round(np.clip(before * 2**0.5, 0, 1) * 255) / 255 - before) ** 2)
        assert agreement(opened, setting, load(opened.photo)) == pytest.approx(-10 * np.log10(error), abs=0.1)


def test_one_pixel(tmp_path: Path):
    Image.fromarray(np.full((1, 1, 3), 100, np.uint8)).save(tmp_path / "photo.png")
    program = CommandEditor.load(write_gain(tmp_path))
    with ExternalEditor(program) as editor:
        opened = open_photo(tmp_path / "photo.png", program, editor, tmp_path)
        goal, _ = lay_goal(opened, photo_of(picture(64, 64)))
        assert isinstance(goal, torch.Tensor) and goal.shape == (1, 3, 1, 1)
        assert agreement(opened, {"exposure": 0.0}, load(opened.photo)) == 100


def test_the_goal_of_a_raw_file_is_aligned_and_masked(tmp_path: Path):
    pytest.importorskip("rawpy")
    raw_file(tmp_path / "shot.dng")
    program = CommandEditor.load(write_gain(tmp_path))
    with ExternalEditor(program) as editor:
        with pytest.raises(PixwardError, match="takes no camera raw files"):
            open_photo(tmp_path / "shot.dng", program, editor, tmp_path)
        opened = developed(tmp_path / "shot.dng", program, editor)
        small = opened.source
        moved = torch.zeros_like(small)
        moved[:, :, :, :-6] = small[:, :, :, 6:]  # six pixels to the left; what it does not show is black
        goal, alignment = lay_goal(opened, photo_of(from_tensor(moved, 16)))
        assert isinstance(goal, Goal) and alignment is not None
        assert abs(alignment.shift[0] + 6) < 0.3 and abs(alignment.shift[1]) < 0.3
        assert float(goal.weight[..., :5].max()) == 0 and float(goal.weight[..., 40:200].mean()) > 0.95
        counts = goal.weight.expand_as(small) > 0.9
        assert float((goal.image - small)[counts].abs().mean()) < 0.01
        with pytest.raises(PixwardError, match="same scene"):
            lay_goal(opened, photo_of(np.random.default_rng(0).integers(0, 256, (160, 240, 3), dtype=np.uint8)))


def test_agreement_of_a_raw_file_forgives_edges_and_flat_pictures(tmp_path: Path):
    pytest.importorskip("rawpy")
    raw_file(tmp_path / "shot.dng")
    program = CommandEditor.load(write_gain(tmp_path))
    with ExternalEditor(program) as editor:
        opened = developed(tmp_path / "shot.dng", program, editor)
        full = load(tmp_path / "shot.dng").pixels
        assert agreement(opened, {"exposure": 0.0}, photo_of(full)) > 45
        assert agreement(opened, {"exposure": 0.0}, photo_of(np.ascontiguousarray(full[3:-3, 4:-4]))) > 35
        black = photo_of(np.zeros_like(full))
        expected = -10 * float((to_tensor(full) ** 2).mean().log10())
        assert agreement(opened, {"exposure": 0.0}, black) == pytest.approx(expected, abs=0.3)
