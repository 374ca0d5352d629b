"""``pixward pixel saliency``, as a user runs it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.policies.pixel import PixelPolicy, PixelSettings, save_pixel_policy
from pixward.policies.saliency import SaliencyNet, save_saliency


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(3)
    net = PixelPolicy(PixelSettings(actions="saliency", horizon=2, width=4, design="context", condition=2))
    torch.nn.init.zeros_(net.net.head.weight)
    net.net.head.bias.data[2] = 1.0  # brighter, everywhere
    save_pixel_policy(tmp_path / "net.safetensors", net.settings, net.state_dict())
    return tmp_path / "net.safetensors"


@pytest.fixture
def model(tmp_path):
    (tmp_path / "own_model.py").write_text(
        "def bright(images):\n    return images.mean(1)\n\n\ndef wrong(images):\n    return images\n\n\n"
        "def breaks(images):\n    raise RuntimeError('no luck')\n\n\ndef half(images):\n    return images[..., 20:40]\n"
        "\n\nnumber = 3\n"
    )
    return "own_model:bright"


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(60, 180, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "photo.png"


def run(pixward, photo, *more, mask="mask.png"):
    folder = photo.parent
    return pixward("pixel", "saliency", photo, "--mask", folder / mask, "--out", folder / "out", *more)


def test_saliency_inside_and_outside(pixward, photo, weights, model, monkeypatch):
    monkeypatch.chdir(photo.parent)
    # What is brighter inside than outside gains nothing by a change of all, but for tones: keep what is lit.
    frozen = 255 - np.asarray(Image.open(photo.parent / "mask.png"))
    Image.fromarray(frozen).save(photo.parent / "outside.png")
    more = ["--weights", weights, "--saliency", model, "--freeze", photo.parent / "outside.png", "--maps", "--json"]
    done = run(pixward, photo, *more)
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    (row,) = told["pictures"]
    assert (told["saliency"], told["steps"], told["lower"]) == (model, 2, False)
    assert row["kept"] == 2 and row["distance"] > 0.5
    before, after = (np.asarray(Image.open(path)) / 255 for path in (photo, row["output"]))
    inside = np.asarray(Image.open(photo.parent / "mask.png")) > 0
    for side, where in (("inside", inside), ("outside", ~inside)):
        expected = [image.mean(2)[where].mean() for image in (before, after)]
        assert row["saliency"][side] == pytest.approx(expected, abs=3e-3)
    assert row["saliency"]["inside"][1] > row["saliency"]["inside"][0]
    drawn = Image.open(row["maps"])
    assert min(drawn.size) > 700


def test_lower_leaves_alone_what_does_not_help(pixward, photo, weights, model, monkeypatch):
    """All a bit brighter: with --lower no step helps, and the photo stays as it was, with a note."""
    monkeypatch.chdir(photo.parent)
    frozen = 255 - np.asarray(Image.open(photo.parent / "mask.png"))
    Image.fromarray(frozen).save(photo.parent / "outside.png")
    more = ["--weights", weights, "--saliency", model, "--lower", "--freeze", photo.parent / "outside.png"]
    done = run(pixward, photo, *more)
    assert done.code == 0 and "no step was an improvement" in done.err
    assert np.array_equal(np.asarray(Image.open(photo)), np.asarray(Image.open(photo.parent / "out" / "photo.png")))
    assert "saliency inside the mask" in done.out


def test_a_mask_of_another_size_is_resized_with_a_note(pixward, photo, weights):
    mask = Image.open(photo.parent / "mask.png").resize((120, 80))
    mask.save(photo.parent / "large.png")
    done = run(pixward, photo, "--weights", weights, mask="large.png")
    assert done.code == 0 and done.err.count("the mask is resized") == 1


@pytest.mark.parametrize(
    "pixels, told",
    [
        (np.zeros((40, 60), np.uint8), "marks nothing"),
        (np.full((40, 60), 255, np.uint8), "marks the whole picture"),
        (np.full((60, 40), 255, np.uint8), "same framing"),
    ],
)
def test_masks_that_make_no_sense(pixward, photo, weights, pixels, told):
    Image.fromarray(pixels).save(photo.parent / "bad.png")
    done = run(pixward, photo, "--weights", weights, mask="bad.png")
    assert done.code == 1 and told in done.err and done.err.count("\n") == 1
    assert not (photo.parent / "out").exists()


def test_a_mask_that_is_not_there(pixward, photo, weights):
    done = run(pixward, photo, "--weights", weights, mask="none.png")
    assert done.code == 1 and "none.png does not exist" in done.err


@pytest.mark.parametrize(
    "name, told",
    [
        ("nothing", "unknown saliency model 'nothing'"),
        ("own_model:gone", "cannot import the saliency model own_model:gone"),
        ("own_model:number", "own_model:number cannot be called"),
        ("own_model:wrong", "must return a tensor (B, H, W)"),
        ("own_model:half", "must return a tensor (B, H, W)"),
        ("own_model:breaks", "own_model:breaks failed: RuntimeError: no luck"),
    ],
)
def test_models_that_make_no_sense(pixward, photo, weights, model, name, told, monkeypatch):
    monkeypatch.chdir(photo.parent)
    done = run(pixward, photo, "--weights", weights, "--saliency", name)
    assert done.code == 1 and told in done.err and done.err.count("\n") == 1


def test_a_network_of_ones_own(pixward, photo, weights, tmp_path):
    torch.manual_seed(0)
    save_saliency(tmp_path / "eyes.safetensors", SaliencyNet())
    done = run(pixward, photo, "--weights", weights, "--saliency", tmp_path / "eyes.safetensors", "--json")
    assert done.code == 0 and json.loads(done.out)["saliency"].endswith("eyes.safetensors")


def test_weights_for_something_else(pixward, photo, tmp_path):
    net = PixelPolicy(PixelSettings(actions="saliency", horizon=2, width=4, design="context"))
    save_pixel_policy(tmp_path / "plain.safetensors", net.settings, net.state_dict())
    done = run(pixward, photo, "--weights", tmp_path / "plain.safetensors")
    assert done.code == 1 and "not told a mask" in done.err
