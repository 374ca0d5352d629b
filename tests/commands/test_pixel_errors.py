"""Input that no pixel policy can work with: one clear line each. Beside test_pixel.py and test_pixel_tasks.py."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file, save_file

from pixward.editors.chain import PHOTO
from pixward.policies.pixel import PixelPolicy, PixelSettings, save_pixel_policy
from pixward.policies.weights import find_weights


@pytest.fixture
def good(tmp_path):
    """A weight file and a noisy array."""
    torch.manual_seed(3)
    net = PixelPolicy(PixelSettings(width=4, sigma=25))
    save_pixel_policy(tmp_path / "good.safetensors", net.settings, net.state_dict())
    np.save(tmp_path / "x.npy", np.full((4, 5), 0.4, np.float32))
    return tmp_path


def spoilt(folder, name, change, **settings):
    """The good weights with one thing wrong."""
    tensors = load_file(folder / "good.safetensors")
    change(tensors)
    header = {"kind": "pixel", "settings": json.dumps({"width": 4, **settings})}
    save_file(tensors, folder / name, header)
    return folder / name


def test_wrong_weights(good, pixward):
    def nan(tensors):
        tensors["net.head.bias"][2] = torch.nan

    def lacking(tensors):
        del tensors["net.head.bias"]

    def nothing(tensors):
        pass

    (good / "cut.safetensors").write_bytes((good / "good.safetensors").read_bytes()[:-100])
    save_file({"a": torch.zeros(1)}, good / "foreign.safetensors")
    cases = {
        spoilt(good, "nan.safetensors", nan): "nan.safetensors is damaged, net.head.bias holds NaN or infinity",
        spoilt(good, "lack.safetensors", lacking): "lack.safetensors does not fit this version's pixel policy",
        spoilt(good, "wide.safetensors", nothing, width=8): "wide.safetensors does not fit this version's",
        spoilt(good, "magic.safetensors", nothing, actions="magic"): "magic.safetensors does not fit this version's",
        spoilt(good, "shape.safetensors", nothing, design="round"): "shape.safetensors does not fit this version's",
        good / "cut.safetensors": "cut.safetensors is no whole file of weights",
        good / "foreign.safetensors": "foreign.safetensors does not hold a pixward pixel",
        find_weights(PHOTO.name, "policy"): "does not hold a pixward pixel",  # Edit's network
        good: "there is no weight file",
    }
    for file, words in cases.items():
        done = pixward("pixel", "denoise", good / "x.npy", "--weights", file, "--out", good / "o")
        assert done.code == 1 and words in done.line, words
    assert not (good / "o").exists()


@pytest.mark.parametrize("sigma", ["0", "500", "-5", "inf", "nan", "0.5", "100.1"])
def test_noise_that_makes_no_sense(good, pixward, sigma):
    weights = ("--weights", good / "good.safetensors")
    done = pixward("pixel", "denoise", good / "x.npy", *weights, f"--sigma={sigma}", "--out", good / "o")
    assert done.code == 1 and "the noise must lie between 1 and 100, of 255" in done.line
    assert pixward("pixel", "denoise", good / "x.npy", *weights, "--sigma=much", "--out", good / "o").code == 2
    assert not (good / "o").exists()


def test_nan_in_a_float_picture(good, pixward):
    values = np.full((4, 5), 0.4, np.float32)
    values[1, 2], values[3, 3] = np.nan, np.inf
    tifffile.imwrite(good / "n.tif", values)
    done = pixward("pixel", "denoise", good / "n.tif", "--weights", good / "good.safetensors", "--out", good / "o")
    assert done.code == 1 and "n.tif" in done.line and "NaN" in done.line


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2, 3), (1, 1, 3)])
def test_the_smallest_pictures_work(good, pixward, shape):
    np.save(good / "s.npy", np.linspace(-0.2, 1.1, int(np.prod(shape)), dtype=np.float32).reshape(shape))
    done = pixward("pixel", "denoise", good / "s.npy", "--weights", good / "good.safetensors", "--out", good / "o")
    assert (done.code, done.err) == (0, "")
    found = np.load(good / "o" / "s.npy")
    assert found.shape == shape and np.isfinite(found).all()


def test_export_and_what_it_refuses(good, pixward):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    (good / "theirs.npz").write_bytes(b"x")
    (good / "there.onnx").write_bytes(b"x")
    export = ("pixel", "export", good / "good.safetensors", "--out")
    cases = {
        (*export, good / "a.pt"): "a.pt: give it the ending .onnx",
        (*export, good / "there.onnx"): "there.onnx exists already",
        ("pixel", "export", "no-such", "--out", good / "a.onnx"): "there is no weight file no-such; by name there are:",
        (
            "pixel",
            "export",
            good / "theirs.npz",
            "--out",
            good / "a.onnx",
        ): "import it first with `pixward pixel",
        ("pixel", "export", good / "x.npy", "--out", good / "a.onnx"): "x.npy is no whole file of weights",
    }
    for arguments, words in cases.items():
        done = pixward(*arguments)
        assert done.code == 1 and words in done.line, words
    assert not (good / "a.onnx").exists() and (good / "there.onnx").read_bytes() == b"x"
    done = pixward(*export, good / "there.onnx", "--force")
    assert (done.code, done.err) == (0, "") and "there.onnx: 9 actions, 5 steps, 0.0 MB" in done.out
    session = runtime.InferenceSession(str(good / "there.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": np.zeros((1, 1, 3, 4), np.float32)})
    assert logits.shape == (1, 9, 3, 4)


def test_tasks_without_shipped_actions(pixward):
    done = pixward("pixel", "actions", "juggling")
    assert done.code == 1 and "there are no actions 'juggling'" in done.line
