from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixward.rewards.image import colourfulness, compressibility, incompressibility, neg_mse, psnr, ssim
from pixward.types import Reward


@pytest.mark.parametrize("reward", [neg_mse, psnr, ssim])
def test_rewards_rise_towards_the_target(reward: Reward) -> None:
    target = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    scores = torch.stack([reward(target * scale, target) for scale in (0.2, 0.6, 0.9, 1.0)])
    assert scores.shape == (4, 2)
    assert (scores.diff(dim=0) > 0).all()


def test_neg_mse_of_a_known_difference() -> None:
    target = torch.zeros(1, 3, 2, 2)
    assert float(neg_mse(target + 0.5, target)) == pytest.approx(-0.25)


def naive_colourfulness(picture: np.ndarray) -> float:
    """Pixel by pixel, with scikit-image's L*a*b*."""
    color = pytest.importorskip("skimage.color")
    lab = color.rgb2lab(picture).reshape(-1, 3)
    bins, vivid = [0] * 7, 0
    for _, a, b in lab:
        if a * a + b * b > 10:
            vivid += 1
            bins[min(6, int((math.atan2(b, a) + math.pi) / (2 * math.pi) * 7))] += 1
    return -vivid / len(lab) * sum(n / vivid * math.log(n / vivid) for n in bins if n)


def test_colourfulness_equals_a_loop() -> None:
    pictures = torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    pictures = 0.5 + (pictures - 0.5) * torch.tensor([1.0, 0.1, 0.02]).view(3, 1, 1, 1)  # vivid, dull, nearly grey
    want = [naive_colourfulness(picture.permute(1, 2, 0).double().numpy()) for picture in pictures]
    assert colourfulness(pictures).tolist() == pytest.approx(want, abs=1e-5)
    assert want[0] > 1 > want[2]


def test_colourfulness_has_its_ends_at_grey_and_the_rainbow() -> None:
    grey = torch.linspace(0, 1, 32).expand(1, 3, 4, 32)
    red = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1).expand(1, 3, 4, 32)
    assert colourfulness(grey).item() == 0
    assert colourfulness(red).item() == pytest.approx(0, abs=1e-6)  # vivid, but of one hue
    color = pytest.importorskip("skimage.color")
    hues = (np.arange(7) + 0.5) * 2 * math.pi / 7 - math.pi
    lab = np.stack([np.full(7, 60.0), 20 * np.cos(hues), 20 * np.sin(hues)], -1)[None]
    rainbow = torch.from_numpy(color.lab2rgb(lab)).permute(2, 0, 1)[None].float()
    assert colourfulness(rainbow).item() == pytest.approx(math.log(7), abs=1e-5)
    half = torch.cat([rainbow, torch.full_like(rainbow, 0.5)], 2)
    assert colourfulness(half).item() == pytest.approx(math.log(7) / 2, abs=1e-5)
    assert colourfulness(rainbow, vivid=500.0).item() == 0


def test_colourfulness_errors_name_the_item() -> None:
    pictures = torch.rand(3, 3, 4, 4)
    pictures[1, 2, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="output: item 1 has pixels that are no finite numbers"):
        colourfulness(pictures)
    for shape in ((2, 1, 4, 4), (2, 3, 0, 4), (3, 4, 4)):
        with pytest.raises(ValueError, match="pictures .B, 3, H, W. with pixels"):
            colourfulness(torch.rand(shape))


def blank(value: float, side: int) -> torch.Tensor:
    return torch.full((1, 3, side, side), value)


def test_jpeg_sizes_are_those_of_files(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3), np.uint8)
    pixels[1] //= 8
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    sizes = []
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{i}.jpg", quality=95)
        sizes.append((tmp_path / f"{i}.jpg").stat().st_size / 1000)
    assert incompressibility(images).tolist() == pytest.approx(sizes, abs=1e-6)
    assert compressibility(images, ["a", "b", "c"]).tolist() == pytest.approx([-size for size in sizes], abs=1e-6)
    assert incompressibility(images).dtype == torch.float32 and incompressibility(images[:0]).shape == (0,)


def test_jpeg_sizes_agree_with_another_encoder() -> None:
    cv2 = pytest.importorskip("cv2")
    smooth = np.random.default_rng(1).integers(0, 256, (6, 6, 3), np.uint8)
    picture = np.asarray(Image.fromarray(smooth).resize((96, 96), Image.Resampling.BICUBIC))
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    ours = float(incompressibility(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255))
    assert ours == pytest.approx(len(encoded) / 1000, rel=0.01)


def test_jpeg_sizes_that_ddpo_gives() -> None:
    # Of 512 x 512 pixels: white 4.7 kB, uniform noise 308 kB. Of 32 x 32: 0.64 kB, nearly all of it the file's header.
    assert float(incompressibility(blank(1, 512))) == pytest.approx(4.7, abs=0.05)
    noise = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    assert float(incompressibility(noise)) == pytest.approx(308, abs=1)
    assert float(incompressibility(blank(1, 32))) == pytest.approx(0.64, abs=0.01)


def test_the_floor_is_a_blank_picture_of_that_size() -> None:
    for side in (8, 17, 64, 200):
        assert float(compressibility(blank(128 / 255, side), floor=True)) == 0
        # Others need a few bytes to say which colour it is.
        assert 0 <= float(incompressibility(blank(1, side), floor=True)) < 0.01
    wide = torch.rand(1, 3, 16, 80)
    raised = incompressibility(wide) - incompressibility(wide, floor=True)
    buffer = io.BytesIO()
    Image.new("RGB", (80, 16), (128, 128, 128)).save(buffer, "JPEG", quality=95)
    assert float(raised) == pytest.approx(len(buffer.getvalue()) / 1000, abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
def test_nothing_is_smaller_than_the_floor(seed: int, height: int, width: int, spread: float) -> None:
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    assert float(incompressibility(0.5 + spread * (noise - 0.5), floor=True)) >= 0


def test_jpeg_sizes_take_what_lies_outside_as_the_nearest_and_round() -> None:
    image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 3 - 1
    assert float(incompressibility(image)) == float(incompressibility(image.clamp(0, 1)))
    eight = (image.clamp(0, 1) * 255).round() / 255
    assert float(incompressibility(eight)) == float(incompressibility(image))
    image.requires_grad_(True)
    assert not compressibility(image).requires_grad


def test_jpeg_sizes_name_bad_pictures() -> None:
    bad = torch.zeros(3, 3, 8, 8)
    bad[2, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="item 2"):
        compressibility(bad)
    with pytest.raises(ValueError, match=r"needs pictures \(B, 3, H, W\) with pixels, got \(1, 1, 8, 8\)"):
        incompressibility(bad[:1, :1])
