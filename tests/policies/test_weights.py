from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pixward.commands.editors import load_editor
from pixward.policies import weights
from pixward.policies.goal import load_policy
from pixward.policies.look import load_look
from pixward.policies.mapped import load_map
from pixward.policies.pixel import load_pixel_policy
from pixward.policies.proxy import KINDS, load_proxy
from pixward.policies.response import load_response
from pixward.policies.saliency import load_saliency
from pixward.policies.weights import find_weights, load_weights, save_weights
from pixward.predict.weights import load_policy as load_predictor
from pixward.predict.weights import load_task

TENSORS = {"a": torch.tensor([1.0, -0.1, 1e-3]), "b.weight": torch.rand(3, 4).T}
SHIPPED = sorted(Path(str(resources.files("pixward") / "weights")).glob("*.safetensors"))


def test_round_trip_in_half_precision(tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(path, TENSORS, "policy", {"sliders": 4, "features": ("local", "global")})
    tensors, settings = load_weights(path, "policy")
    assert settings == {"sliders": 4, "features": ["local", "global"]}
    assert set(tensors) == set(TENSORS)
    for name, value in TENSORS.items():
        assert tensors[name].dtype == torch.float32
        assert torch.equal(tensors[name], value.half().float())
    assert [found.name for found in tmp_path.iterdir()] == ["net.safetensors"]
    assert load_weights(str(path), "policy")[1] == settings


def test_saving_replaces_an_older_file(tmp_path):
    path = tmp_path / "net.safetensors"
    for width in (1, 2):
        save_weights(path, TENSORS, "policy", {"width": width})
    assert load_weights(path, "policy")[1] == {"width": 2}


def test_another_kind_is_refused(tmp_path):
    save_weights(tmp_path / "net.safetensors", TENSORS, "policy", {})
    with pytest.raises(ValueError, match="net.safetensors does not hold a pixward response"):
        load_weights(tmp_path / "net.safetensors", "response")
    save_file({"a": TENSORS["a"]}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="foreign.safetensors does not hold a pixward policy"):
        load_weights(tmp_path / "foreign.safetensors", "policy")


def test_missing_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no policy for own:editor: none is shipped"):
        load_weights("own:editor", "policy")
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors"):
        load_weights(tmp_path / "nowhere.safetensors", "policy")
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path, "policy")


@pytest.mark.parametrize("damage", ["empty", "text", "half", "pickle"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "broken.safetensors"
    save_weights(path, TENSORS, "policy", {})
    if damage == "pickle":
        torch.save(TENSORS, path)
    else:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"not weights at all", "half": whole[: len(whole) - 9]}[damage])
    with pytest.raises(ValueError, match=r"broken.safetensors is no whole file of weights .*: train it again"):
        load_weights(path, "policy")


@pytest.mark.parametrize("header", [{}, {"settings": "{"}, {"settings": "3"}])
def test_a_file_without_settings_is_named(tmp_path, header):
    path = tmp_path / "bare.safetensors"
    save_file({"a": TENSORS["a"]}, str(path), {"kind": "policy", **header})
    with pytest.raises(ValueError, match="bare.safetensors does not tell the settings of its policy"):
        load_weights(path, "policy")


def test_an_editors_name_stands_for_the_shipped_file(tmp_path, monkeypatch):
    monkeypatch.setattr(weights.resources, "files", lambda package: tmp_path)
    (tmp_path / "weights").mkdir()
    path = tmp_path / "weights" / "my-editor.policy.safetensors"
    save_weights(path, TENSORS, "policy", {"sliders": 4})
    assert find_weights("my:editor", "policy") == path
    assert find_weights("my:editor", "response") is None
    assert find_weights("other:editor", "policy") is None
    assert load_weights("my:editor", "policy")[1] == {"sliders": 4}
    # A file of that very name comes first.
    monkeypatch.chdir(tmp_path)
    save_weights(Path("my:editor"), TENSORS, "policy", {"sliders": 5})
    assert load_weights("my:editor", "policy")[1] == {"sliders": 5}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_networks_load_and_fit_their_task(path):
    name, kind, _ = path.name.split(".")
    if kind in ("pixel", "saliency"):
        alone = {"pixel": load_pixel_policy, "saliency": load_saliency}[kind](name)
        assert all(bool(value.isfinite().all()) for value in alone.state_dict().values())
        return
    if kind == "predict":
        assert load_task(path).name == name and load_predictor(path).settings.length > 0
        return
    editor = load_editor(name.replace("-", ":"))
    if kind in KINDS:
        proxy = load_proxy(editor.name, kind)
        assert proxy.settings.sliders == len(editor.space) and path.stat().st_size < 2_000_000
        return
    if kind == "look":
        look = load_look(editor.name)
        assert look is not None and look.settings.sliders == len(editor.space)
        return
    network = {"policy": load_policy, "response": load_response, "map": load_map}[kind](editor.name)
    assert network.settings.sliders == len(editor.space)
    assert all(bool(value.isfinite().all()) for value in network.state_dict().values())
