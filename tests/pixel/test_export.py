from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pixward.errors import PixwardError
from pixward.ops.pixel import ACTION_SETS, RESTORE
from pixward.pixel.export import export_onnx
from pixward.pixel.run import improve
from pixward.policies.pixel import PixelPolicy, PixelSettings
from pixward.policies.pixel_half import noise_plane

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
POLICIES = {
    "plain": PixelSettings(width=8),
    "told the noise": PixelSettings(width=8, condition=1, noise=(5, 60)),
    "gru": PixelSettings(width=8, recurrent=True),
    "half": PixelSettings(width=8, design="half", depth=3),
    "half, told the noise": PixelSettings(width=8, design="half", depth=3, condition=1, noise=(5, 60)),
    "half, foresight": PixelSettings(width=8, design="half", depth=3, condition=1, noise=(5, 60), foresight=True),
    "colour": PixelSettings(actions="colour", width=8, recurrent=True),
}


@pytest.fixture(scope="module", params=list(POLICIES))
def both(request, tmp_path_factory):
    """A policy, and its step in onnxruntime."""
    torch.manual_seed(3)
    net = PixelPolicy(POLICIES[request.param]).eval()
    if net.settings.foresight:  # begins as zeros, which would hide an error
        for layer in (net.net.head, net.net.out):
            torch.nn.init.normal_(layer.weight, std=0.05)
    path = tmp_path_factory.mktemp("onnx") / "step.onnx"
    export_onnx(net, path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return net, runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def start(net, *size):
    return 0.5 + 0.3 * torch.randn(size[0], net.actions.channels, *size[1:], generator=torch.Generator().manual_seed(0))


def channels(session, name):
    return next((value.shape[1] for value in session.get_inputs() if value.name == name), 0)


def feeds_of(session, image, memory, condition, first):
    """What a program hands in; memory None stands for zeros."""
    names = {value.name for value in session.get_inputs()}
    known = {"image": image.numpy(), "first": np.array(first)}
    if "outcomes" in names:
        known["outcomes"] = RESTORE.outcomes(image).numpy()
    if "memory" in names:
        shape = (image.shape[0], channels(session, "memory"), *image.shape[2:])
        known["memory"] = np.zeros(shape, np.float32) if memory is None else memory
    if condition is not None:
        known["condition"] = condition.numpy()
    return {name: value for name, value in known.items() if name in names}


@pytest.mark.parametrize("size", [(1, 20, 26), (2, 33, 17), (1, 1, 1), (1, 64, 5)], ids=str)
def test_two_steps_equal_torch(both, size):
    net, session = both
    image = start(net, *size)
    condition = noise_plane(25.0, image) if net.settings.condition else None
    memory, kept = None, None
    for step in range(2):
        with torch.no_grad():
            logits, memory = net(image, memory, condition)
        found = session.run(None, feeds_of(session, image, kept, condition, step == 0))
        # With foresight logits are differences of numbers as large as the largest of them.
        size_of_all = max(1.0, float(logits.abs().max()) / 100)
        assert np.abs(found[0] - logits.numpy()).max() < 1e-4 * size_of_all
        assert (memory is None) == (len(found) == 1)
        if memory is not None:
            kept = found[1]
            np.testing.assert_allclose(kept, memory.numpy(), rtol=1e-5, atol=1e-4)
        image = image * 0.9 + 0.02  # another image in the second step, so that the memory tells
    assert logits.std() > 0.01 or size == (1, 1, 1)


def test_an_episode_without_torch_networks_equals_improve(both):
    net, session = both
    image = start(net, 1, 27, 34)
    condition = noise_plane(25.0, image) if net.settings.condition else None
    trace = improve(net, image, condition=condition)
    actions = ACTION_SETS[json.loads(session.get_modelmeta().custom_metadata_map["settings"])["actions"]]
    memory, maps = None, []
    for step in range(net.settings.horizon):
        logits, *memories = session.run(None, feeds_of(session, image, memory, condition, step == 0))
        memory = memories[0] if memories else None
        maps.append(torch.from_numpy(logits.argmax(1)))
        image = actions.apply(image, maps[-1])
    assert len(trace.maps.unique()) > 2
    # Two logits that are equal to the last digit may swap: not one pixel in a hundred, or the step is another one.
    assert (torch.stack(maps) == trace.maps).float().mean() > 0.99
    assert (image - trace.result).abs().mean() < 1e-3


def test_what_the_file_says(both):
    net, session = both
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["actions"]) == list(net.actions.names)
    settings = json.loads(told["settings"])
    assert (settings["width"], settings["horizon"], settings["design"]) == (8, 5, net.settings.design)
    assert told["sigma_unit"] == ("50" if net.settings.noise else "")
    logits = session.get_outputs()[0]
    assert logits.name == "logits" and logits.shape[1] == len(net.actions)
    assert not any(isinstance(length, int) for length in logits.shape[2:])
    names = [value.name for value in session.get_inputs()]
    half, recurrent = net.settings.design == "half", net.settings.recurrent
    assert names[0] == "image" and ("memory" in names) == (half or recurrent) and ("first" in names) == half


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(PixwardError, match=r"pip install 'pixward\[onnx\]'"):
        export_onnx(PixelPolicy(PixelSettings(width=4)), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
