from __future__ import annotations

import numpy as np
import pytest
import torch

from pixward.ops import smooth
from pixward.ops.smooth import bilateral_5, box_5x5, gaussian_5x5, median_5x5

FILTERS = {
    "gaussian 0.5": (lambda image: gaussian_5x5(image, 0.5), lambda cv2, x: cv2.GaussianBlur(x, (5, 5), 0.5)),
    "gaussian 1.5": (lambda image: gaussian_5x5(image, 1.5), lambda cv2, x: cv2.GaussianBlur(x, (5, 5), 1.5)),
    "bilateral 0.1": (lambda image: bilateral_5(image, 0.1, 5), lambda cv2, x: cv2.bilateralFilter(x, 5, 0.1, 5)),
    "bilateral 1.0": (lambda image: bilateral_5(image, 1.0, 5), lambda cv2, x: cv2.bilateralFilter(x, 5, 1.0, 5)),
    "median": (median_5x5, lambda cv2, x: cv2.medianBlur(x, 5)),
    "box": (box_5x5, lambda cv2, x: cv2.boxFilter(x, -1, (5, 5))),
}
SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (1, 9), (7, 1), (4, 3), (5, 5), (37, 50)]


def noisy(height, width, count=2):
    """Values far below 0 and above 1, as noise makes them."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    return 0.5 + 0.6 * torch.randn(count, 1, height, width, generator=generator)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("opencv", [False, True], ids=["torch", "opencv"])
def test_equals_opencv(monkeypatch, name, size, opencv):
    cv2 = pytest.importorskip("cv2", reason="the reference is opencv-python-headless (dev extra)")
    monkeypatch.setattr(smooth, "HAS_OPENCV", opencv)
    image = noisy(*size)
    ours, reference = FILTERS[name]
    expected = np.stack([reference(cv2, plane[0].numpy()) for plane in image])
    assert np.abs(ours(image)[:, 0].numpy() - expected).max() <= 1e-6


@pytest.mark.parametrize("name", FILTERS)
def test_equals_plain_arithmetic(monkeypatch, name):
    """The definition, pixel by pixel in float64, without OpenCV."""
    monkeypatch.setattr(smooth, "HAS_OPENCV", False)
    image = noisy(6, 7, 1)
    padded = np.pad(image[0, 0].double().numpy(), 2, mode="edge" if name == "median" else "reflect")
    dy, dx = np.mgrid[-2:3, -2:3]
    kind, _, size = name.partition(" ")
    expected = np.zeros((6, 7))
    for y in range(6):
        for x in range(7):
            near = padded[y : y + 5, x : x + 5]
            if kind == "median":
                expected[y, x] = np.median(near)
                continue
            weight = np.ones((5, 5))
            if kind == "gaussian":
                weight = np.exp(-(dx**2 + dy**2) / (2 * float(size) ** 2))
            elif kind == "bilateral":
                weight = np.exp(-(dx**2 + dy**2) / 50 - (near - near[2, 2]) ** 2 / (2 * float(size) ** 2))
                weight = weight * (dx**2 + dy**2 <= 4)
            expected[y, x] = (weight * near).sum() / weight.sum()
    assert np.abs(FILTERS[name][0](image)[0, 0].numpy() - expected).max() <= 1e-6


def test_median_network_is_small_and_right():
    network = smooth._median_network(25)
    assert len(network) < 140
    rows = torch.rand(1000, 25, generator=torch.Generator().manual_seed(0)).round(decimals=1)  # with ties
    wires = list(rows.T)
    for low, high, _, _ in network:
        wires[low], wires[high] = torch.minimum(wires[low], wires[high]), torch.maximum(wires[low], wires[high])
    assert torch.equal(wires[12], rows.median(1).values)


def test_planes_do_not_mix_and_gradients_flow():
    image = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(1))
    for ours, _ in FILTERS.values():
        whole = ours(image)
        assert torch.equal(whole[1:, 2:], ours(image[1:, 2:]))
    leaf = image.clone().requires_grad_()
    FILTERS["bilateral 0.1"][0](leaf).sum().backward()
    assert bool(leaf.grad.isfinite().all()) and bool(leaf.grad.any())
