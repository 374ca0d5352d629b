from __future__ import annotations

import numpy as np
import pytest
import torch

from pixward.errors import PixwardError
from pixward.policies.pixel import REWARD_KERNEL, PixelPolicy, load_pixel_policy, save_pixel_policy
from pixward.policies.pixelrl import read_pixelrl

COMMON = ("diconv2/diconv", "diconv3/diconv", "diconv4/diconv", "diconv5_pi/diconv", "diconv6_pi/diconv")


def arrays(kind="plain"):
    """Random arrays under the authors' names."""
    rng = np.random.default_rng(0)

    def kernel(out, inputs):
        return rng.normal(0, 0.05, (out, inputs, 3, 3)).astype(np.float32)

    made = {"conv1/W": kernel(64, 1), "conv7_V/W": kernel(1, 64)}
    made |= {f"{name}/W": kernel(64, 64) for name in (*COMMON, "diconv5_V/diconv", "diconv6_V/diconv")}
    made["conv7_pi/model/W" if kind == "plain" else "conv8_pi/model/W"] = kernel(9, 64)
    made |= {name[:-1] + "b": rng.normal(0, 1, value.shape[0]).astype(np.float32) for name, value in made.items()}
    if kind != "plain":
        made |= {f"conv7_{name}/W": kernel(64, 64) for name in ("Wz", "Uz", "Wr", "Ur", "W", "U")}
    if kind == "rmc":
        made["conv_R/W"] = rng.normal(0, 1, (1, 1, 33, 33)).astype(np.float32)
    return made


def written(folder, made, name="model_sigma25.npz"):
    np.savez(folder / name, **made)
    return folder / name


@pytest.mark.parametrize("kind, count", [("plain", 20), ("gru", 26), ("rmc", 27)])
def test_every_array_finds_its_place(tmp_path, kind, count):
    made = arrays(kind)
    assert len(made) == count
    settings, tensors = read_pixelrl(written(tmp_path, made))
    assert (settings.recurrent, settings.sigma, settings.horizon) == (kind != "plain", 25, 5)
    assert settings.origin == "rfuruta/pixelRL, model_sigma25.npz"
    assert sum(value.numel() for value in tensors.values()) == sum(value.size for value in made.values())
    save_pixel_policy(tmp_path / "p.safetensors", settings, tensors)
    net = load_pixel_policy(tmp_path / "p.safetensors")
    assert torch.equal(net.net.worth[2].bias, torch.from_numpy(made["conv7_V/b"]))
    assert torch.equal(net.net.policy[1].weight, torch.from_numpy(made["diconv6_pi/diconv/W"]))
    if kind == "rmc":
        assert torch.equal(tensors[REWARD_KERNEL], torch.from_numpy(made["conv_R/W"]))
    if kind != "plain":
        assert torch.equal(net.net.gru.gates.weight[:64, 64:], torch.from_numpy(made["conv7_Uz/W"]))
        assert torch.equal(net.net.gru.gates.weight[64:, :64], torch.from_numpy(made["conv7_Wr/W"]))
        assert torch.equal(net.net.gru.candidate.weight[:, 64:], torch.from_numpy(made["conv7_U/W"]))


def test_sigma_and_steps_can_be_given(tmp_path):
    settings, _ = read_pixelrl(written(tmp_path, arrays(), "model.npz"))
    assert settings.sigma is None
    settings, _ = read_pixelrl(written(tmp_path, arrays()), sigma=15, steps=15)
    assert (settings.sigma, settings.horizon) == (15, 15)


def broken(change):
    made = arrays("gru")
    change(made)
    return made


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda made: made.pop("conv1/W"), "is not a PixelRL model: it lacks conv1/W"),
        (lambda made: made.pop("conv7_Uz/W"), "it lacks conv7_Uz/W"),
        (lambda made: made.update(extra=np.zeros(3)), "it also holds extra"),
        (lambda made: made.update({"conv1/W": np.zeros((64, 3, 3, 3))}), "does not fit: net.shared.0.weight is"),
        (lambda made: made.update({"conv7_Wz/W": np.zeros((64, 32, 3, 3))}), "conv7_Wz/W is"),
        (lambda made: made.update({"conv1/b": np.full(64, np.nan)}), "is damaged: conv1/b holds NaN"),
        (lambda made: made.update({"conv1/b": np.zeros(64, int)}), "conv1/b holds int64, not floats"),
        (lambda made: made.update({"conv1/b": np.array([{}] * 64)}), "not a whole .npz"),
    ],
)
def test_a_wrong_model_is_named(tmp_path, change, words):
    with pytest.raises(PixwardError) as caught:
        read_pixelrl(written(tmp_path, broken(change)))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    whole = written(tmp_path, arrays()).read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name, content in {"half.npz": whole[: len(whole) // 2], "text.npz": b"hello", "empty.npz": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PixwardError, match=f"{name} is not a whole .npz"):
            read_pixelrl(tmp_path / name)
    with pytest.raises(PixwardError, match=r"array.npy is not a whole .npz"):
        read_pixelrl(tmp_path / "array.npy")
    with pytest.raises(PixwardError, match="is a folder"):
        read_pixelrl(tmp_path)
    with pytest.raises(PixwardError, match="does not exist"):
        read_pixelrl(tmp_path / "none.npz")


@pytest.mark.parametrize("name", ["plain_sigma25", "convGRU_sigma25", "convGRU_and_RMC_sigma25", "salt_pepper_50"])
def test_the_authors_models_load(shared_data, name):
    settings, tensors = read_pixelrl(shared_data / "pixelrl" / "weights" / f"{name}.npz")
    kernel = tensors.pop(REWARD_KERNEL, None)
    PixelPolicy(settings).load_state_dict(tensors)
    assert settings.recurrent == (name != "plain_sigma25")
    assert settings.sigma == (25 if "sigma" in name else None)
    assert (kernel is not None) == ("RMC" in name)
