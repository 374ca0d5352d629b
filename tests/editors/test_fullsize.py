"""Full-size rendering against the editor called on the whole picture."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
import torch

from pixward.editors import fullsize
from pixward.editors.chain import PAPER, PAPER_SPACE, PHOTO, PHOTO_SPACE, Chain
from pixward.editors.fullsize import render_fullsize, render_planes

POINTS = PHOTO_SPACE.from_dict(
    {"exposure": 0.6, "temperature": 25, "tint": -20, "contrast": 40, "highlights": -50, "shadows": 45, "whites": 15}
    | {"blacks": -20, "vibrance": 60, "saturation": -15}
)[None]
EVERYTHING = POINTS.clone()
EVERYTHING[0, 10:] = torch.tensor([70.0, 55.0])
PAPER_SETTING = torch.tensor([[0.3, 1.1, 0.95, 1.05, 0.2, 0.3, -0.2, 0.3, 1.6]])
SCALE = {np.uint8: 255, np.uint16: 65535, np.float32: 1}


def picture(height, width, dtype=np.float32, seed=0):
    """A smooth picture with an edge, fine grain, and both ends of the range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = np.stack([0.5 + 0.6 * np.sin(5 * x + 2 * y), 0.9 * x + 0.1, (x > 0.4) * 0.8 + 0.2 * y], 2)
    planes = np.clip(planes + 0.05 * rng.standard_normal(planes.shape), 0, 1)
    return planes.astype(np.float32) if dtype == np.float32 else np.round(planes * SCALE[dtype]).astype(dtype)


def whole(editor, pixels, params):
    """What the editor itself makes of the picture, ``(H, W, 3)``."""
    images = torch.from_numpy(pixels.astype(np.float32)) / SCALE[pixels.dtype.type]
    with torch.inference_mode():
        return editor(images.permute(2, 0, 1)[None], params)[0].permute(1, 2, 0).clamp(0, 1).numpy()


@pytest.fixture(autouse=True)
def small_strips(monkeypatch):
    """Strips of a few rows, so that small pictures have many seams."""
    monkeypatch.setattr(fullsize, "STRIP_PIXELS", 1200)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("params", [POINTS, EVERYTHING], ids=["points", "everything"])
@pytest.mark.parametrize("shape", [(301, 217), (1100, 37), (45, 1301)])
def test_photo_equals_the_whole_picture(dtype, params, shape):
    pixels = picture(*shape, dtype)
    result = render_fullsize(PHOTO, pixels, params, bits=32, threads=2)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, whole(PHOTO, pixels, params), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_photo_holds_at_the_rims_of_the_sliders(seed):
    generator = torch.Generator().manual_seed(seed)
    action = torch.randint(-1, 2, (1, 12), generator=generator).float()
    params = PHOTO_SPACE.denormalize(action)
    # Evenly spread values, with many near black, where exposure is steepest.
    ramp = np.linspace(0, 1, 30000, dtype=np.float32).reshape(100, 100, 3)
    ramp[:50] **= 4
    result = render_fullsize(PHOTO, ramp, params, bits=32, threads=1)
    np.testing.assert_allclose(result, whole(PHOTO, ramp, params), atol=1e-4, rtol=0)


@pytest.mark.parametrize("blacks", [-100, -3, 0, 100])
def test_the_steepest_tone_stays_exact_near_black(blacks):
    setting = {"exposure": 3, "temperature": 100, "tint": 100, "contrast": -100, "shadows": 100, "blacks": blacks}
    params = PHOTO_SPACE.from_dict(setting)[None]
    pixels = np.geomspace(1e-6, 1, 30000, dtype=np.float32).reshape(100, 100, 3)
    result = render_fullsize(PHOTO, pixels, params, bits=32, threads=1)
    np.testing.assert_allclose(
        result, whole(PHOTO, pixels, params), atol=2e-4, rtol=0
    )  # at the kink where black clips; half an 8-bit step is 2e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("editor, params", [(PHOTO, EVERYTHING), (PAPER, PAPER_SETTING)], ids=["photo", "paper"])
def test_eight_bits_after_rounding(dtype, editor, params):
    pixels = picture(300, 400, dtype)
    result = render_fullsize(editor, pixels, params, bits=8, threads=2)
    expected = np.round(whole(editor, pixels, params) * 255).astype(int)
    difference = np.abs(result.astype(int) - expected)
    assert result.dtype == np.uint8
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.999


def test_sixteen_bits_are_exact_within_one_level():
    pixels = picture(120, 90, np.uint16)
    result = render_fullsize(PHOTO, pixels, POINTS, bits=16, threads=1)
    expected = np.round(whole(PHOTO, pixels, POINTS).astype(np.float64) * 65535)
    assert result.dtype == np.uint16
    assert np.abs(result - expected).max() <= 1


@pytest.mark.parametrize("bits, dtype", [(8, np.uint8), (16, np.uint16), (32, np.float32)])
@pytest.mark.parametrize("editor", [PHOTO, PAPER], ids=["photo", "paper"])
def test_untouched_sliders_give_the_photo_back(editor, bits, dtype):
    pixels = picture(70, 50, dtype)
    result = render_fullsize(editor, pixels, editor.space.defaults(), bits=bits, threads=2)
    np.testing.assert_allclose(result, pixels, atol=2e-5 if bits == 32 else 1 if bits == 16 else 0, rtol=0)


@pytest.mark.parametrize("shape", [(301, 217), (2, 900), (3, 900), (900, 2), (1201, 3), (7, 5)])
def test_paper_has_no_seams(shape):
    pixels = picture(*shape)
    result = render_fullsize(PAPER, pixels, PAPER_SETTING, bits=32, threads=2)
    np.testing.assert_allclose(result, whole(PAPER, pixels, PAPER_SETTING), atol=1e-6, rtol=0)


@pytest.mark.parametrize("params", [EVERYTHING, POINTS], ids=["everything", "points"])
def test_neither_strips_nor_threads_change_a_bit(params, monkeypatch):
    pixels = picture(500, 311)
    one = render_fullsize(PHOTO, pixels, params, bits=32, threads=3)
    monkeypatch.setattr(fullsize, "STRIP_PIXELS", 10**9)
    np.testing.assert_array_equal(one, render_fullsize(PHOTO, pixels, params, bits=32, threads=1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 1500), (1500, 1), (2, 2)])
@pytest.mark.parametrize("editor", [PHOTO, PAPER], ids=["photo", "paper"])
def test_tiny_and_thin_pictures(shape, editor):
    params = EVERYTHING if editor is PHOTO else PAPER_SETTING
    pixels = picture(*shape, np.uint8)
    result = render_fullsize(editor, pixels, params, bits=32, threads=2)
    np.testing.assert_allclose(result, whole(editor, pixels, params), atol=1e-4, rtol=0)


@pytest.mark.parametrize("slider", ["vibrance", "saturation", "clarity", "sharpness"])
@pytest.mark.parametrize("value", [-100, 100])
def test_each_slider_alone(slider, value):
    pixels = picture(60, 1200)
    params = PHOTO_SPACE.from_dict({slider: value})[None]
    result = render_fullsize(PHOTO, pixels, params, bits=32, threads=2)
    np.testing.assert_allclose(result, whole(PHOTO, pixels, params), atol=2e-5, rtol=0)
    assert np.abs(result - pixels).max() > 0.02


def test_planes_go_into_the_given_array():
    planes = np.ascontiguousarray(picture(90, 110).transpose(2, 0, 1))
    kept = planes.copy()
    out = np.full_like(planes, np.nan)
    render_planes(PHOTO, planes, EVERYTHING, out, threads=2)
    same = render_fullsize(PHOTO, planes.transpose(1, 2, 0), EVERYTHING, bits=32, threads=2)
    np.testing.assert_array_equal(out.transpose(1, 2, 0), same)
    np.testing.assert_array_equal(planes, kept)


def test_any_other_editor_gets_one_call_on_the_whole_picture():
    calls = []

    def invert(images, params):
        calls.append((tuple(images.shape), threading.current_thread() is threading.main_thread()))
        return 1.2 - images * params[:, 0, None, None, None].exp2()

    editor = Chain("test:invert", PAPER_SPACE, invert)
    pixels = picture(60, 40, np.uint8)
    result = render_fullsize(editor, pixels, PAPER_SPACE.defaults())
    np.testing.assert_array_equal(result, np.minimum(306 - pixels.astype(int), 255))
    assert calls == [((1, 3, 60, 40), True)]


def test_a_strip_that_fails_ends_the_render_and_restores_torch(monkeypatch):
    before = torch.get_num_threads()
    strips = []

    def fail(*_):
        strips.append(torch.get_num_threads())
        raise RuntimeError("no memory")

    monkeypatch.setattr(fullsize, "_color", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        render_fullsize(PHOTO, picture(300, 200), POINTS, threads=2)
    assert len(strips) <= 2
    assert set(strips) == {1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "pixels, params, settings, message",
    [
        (np.zeros((4, 4), np.uint8), POINTS, {}, "pixels must be"),
        (np.zeros((4, 4, 4), np.uint8), POINTS, {}, "pixels must be"),
        (np.zeros((0, 4, 3), np.uint8), POINTS, {}, "must both be"),
        (np.zeros((4, 4, 3), np.float64), POINTS, {}, "uint8, uint16 or float32"),
        (np.zeros((4, 4, 3), np.uint8), POINTS[:, :9], {}, "params must be"),
        (np.zeros((4, 4, 3), np.uint8), POINTS[0], {}, "params must be"),
        (np.zeros((4, 4, 3), np.uint8), POINTS, {"bits": 10}, "bits must be"),
        (np.zeros((4, 4, 3), np.uint8), POINTS, {"threads": 0}, "threads must be"),
    ],
)
def test_what_does_not_fit_is_refused(pixels, params, settings, message):
    with pytest.raises(ValueError, match=message):
        render_fullsize(PHOTO, pixels, params, **settings)


@pytest.mark.parametrize("editor, params", [(PHOTO, EVERYTHING), (PAPER, PAPER_SETTING)], ids=["photo", "paper"])
def test_numpy_memory_is_bounded(editor, params):
    # numpy's arrays are traced: the result and nothing near its size besides.
    pixels = picture(800, 1200, np.uint8)
    tracemalloc.start()
    render_fullsize(editor, pixels, params, threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * pixels.nbytes
