"""Denoisers that benchmarks put side by side, and what is common to their measuring.

A :data:`Denoise` takes a noisy image ``(1, 1, H, W)`` and returns the image before the first and after each of its
steps; a denoiser without steps returns two.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from caffemodel import read_convolutions
from PIL import Image
from torch import Tensor

from pixward.metrics.image import psnr
from pixward.ops.pixel import RESTORE
from pixward.pixel.run import improve
from pixward.pixel.trace import replay, rounded
from pixward.policies.pixel import REWARD_KERNEL, PixelPolicy
from pixward.policies.pixel_half import load_denoiser, noise_plane
from pixward.policies.pixelrl import read_pixelrl

Denoise = Callable[[Tensor], list[Tensor]]
AUTHORS = {  # method: (file, dB that a straight port of the authors' code reaches on the 68 images at sigma 25)
    "plain": ("plain_sigma25.npz", 28.749),
    "convGRU+RMC": ("convGRU_and_RMC_sigma25.npz", 28.844),
    "convGRU": ("convGRU_sigma25.npz", 28.830),
}
IRCNN_DILATIONS = (1, 2, 3, 4, 3, 2, 1)
STEPS = 5


def images_of(data: Path) -> list[Path]:
    """The 68 images of BSD68."""
    found = sorted((data / "denoise" / "BSD68").glob("*.png"))
    if not found:
        sys.exit(f"no BSD68 in {data}: give the folder that holds denoise/BSD68 with --data")
    return found


def pair(path: Path, index: int, seed: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Clean and noisy image, ``(1, 1, H, W)``: drawn anew from its seed, neither clipped nor rounded.

    At another sigma the same draw is scaled.
    """
    clean = torch.from_numpy(np.asarray(Image.open(path).convert("L")).copy())[None, None].float() / 255
    noise = np.random.default_rng([seed, index]).normal(0, sigma / 255, clean.shape).astype(np.float32)
    return clean, clean + torch.from_numpy(noise)


def authors_policy(data: Path, name: str) -> PixelPolicy:
    """One of :data:`AUTHORS`, imported."""
    settings, tensors = read_pixelrl(data / "pixelrl" / "weights" / AUTHORS[name][0])
    tensors.pop(REWARD_KERNEL, None)
    policy = PixelPolicy(settings)
    policy.load_state_dict(tensors)
    return policy.to(memory_format=torch.channels_last).eval()


def of_policy(net: PixelPolicy, sigma: float) -> Denoise:
    """A policy, told the true noise if it asks for it, or of what it knows the nearest."""
    low, high = net.settings.noise or (sigma, sigma)
    told = min(max(sigma, low), high)

    def denoise(noisy: Tensor) -> list[Tensor]:
        condition = noise_plane(told, noisy) if net.settings.condition else None
        trace = improve(net, noisy, condition=condition)
        return [*list(trace.images())[:-1], trace.result]

    return denoise


def own_denoiser(weights: str, sigma: float) -> Denoise:
    """The guess of a policy with foresight, by itself: what the denoiser action gives."""
    net = load_denoiser(weights)

    @torch.inference_mode()
    def denoise(noisy: Tensor) -> list[Tensor]:
        return [noisy, net(noisy, noise_plane(sigma, noisy))]

    return denoise


def identity(noisy: Tensor) -> list[Tensor]:
    """The image as it comes."""
    return [noisy]


def at_random(noisy: Tensor) -> list[Tensor]:
    """Every pixel takes one of PixelRL's actions at random."""
    size = (STEPS, 1, *noisy.shape[2:])
    maps = torch.randint(len(RESTORE), size, generator=torch.Generator().manual_seed(0))
    return list(replay(RESTORE, noisy, maps).images())


def best_uniform(clean: Tensor) -> Denoise:
    """All pixels take the same action: in each step the one after which the image is nearest the clean one."""

    def denoise(noisy: Tensor) -> list[Tensor]:
        images = [noisy]
        for _ in range(STEPS):
            outcomes = RESTORE.outcomes(images[-1])[0]
            images.append(outcomes[(outcomes - clean).square().mean((1, 2, 3)).argmin()][None])
        return images

    return denoise


def dncnn(data: Path, sigma: int) -> Denoise:
    """The authors' DnCNN, from its MATLAB file: 17 convolutions, batch normalisation folded in."""
    import h5py

    layers = []
    with h5py.File(data / "models" / f"dncnn_gray_sigma{sigma}.mat") as file:
        for (reference,) in file["net/layers"]:
            if "weights" in file[reference]:
                kernel, bias = (torch.from_numpy(file[found][()]) for found in file[reference]["weights"][:, 0])
                kernel = kernel if kernel.ndim == 4 else kernel[None]  # MATLAB drops a last axis of 1
                layers.append((kernel.transpose(2, 3).contiguous().float(), bias.flatten().float()))
    return _residual(layers, (1,) * len(layers))


def ircnn(data: Path, sigma: int) -> Denoise:
    """The grey IRCNN that PixelRL starts from: 7 dilated convolutions."""
    layers = read_convolutions(data / "pixelrl" / "weights" / f"ircnn_gray_sigma{sigma}.caffemodel")
    return _residual(layers, IRCNN_DILATIONS)


def _residual(layers: list[tuple[Tensor, Tensor]], dilations: tuple[int, ...]) -> Denoise:
    """Convolutions with ReLU between them, whose output is the noise."""
    layers = [(kernel.contiguous(memory_format=torch.channels_last), bias) for kernel, bias in layers]

    @torch.inference_mode()
    def denoise(noisy: Tensor) -> list[Tensor]:
        x = noisy.contiguous(memory_format=torch.channels_last)
        for k, ((kernel, bias), dilation) in enumerate(zip(layers, dilations, strict=True)):
            x = F.conv2d(x, kernel, bias, padding=dilation, dilation=dilation)
            x = x.relu_() if k + 1 < len(layers) else x
        return [noisy, noisy - x]

    return denoise


def bm3d(sigma: float) -> Denoise:
    """BM3D (Dabov et al. 2007; the authors' library), told the true noise."""
    import bm3d as library

    def denoise(noisy: Tensor) -> list[Tensor]:
        found = library.bm3d(noisy[0, 0].double().numpy(), sigma / 255)
        return [noisy, torch.from_numpy(np.asarray(found, np.float32)).view_as(noisy)]

    return denoise


def nl_means(sigma: float) -> Denoise:
    """OpenCV's non-local means, which reads 8 bits only: the one method here whose input is clipped and rounded."""
    import cv2

    def denoise(noisy: Tensor) -> list[Tensor]:
        eight = (rounded(noisy[0, 0]) * 255).byte().numpy()
        found = cv2.fastNlMeansDenoising(eight, None, h=float(sigma), templateWindowSize=7, searchWindowSize=21)
        return [noisy, torch.from_numpy(found).view_as(noisy).float() / 255]

    return denoise


def scores(images: list[Tensor], clean: Tensor) -> list[float]:
    """PSNR of each, clipped and rounded for scoring only.

    Raises:
        ValueError: NaN or infinity in the last.
    """
    if not bool(images[-1].isfinite().all()):
        raise ValueError("the result holds NaN or infinity")
    return [round(float(psnr(rounded(image), rounded(clean))), 4) for image in images]


def timed(run: Denoise, image: Tensor) -> tuple[list[Tensor], float, float]:
    """The result, processor seconds and seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run(image)
    return result, time.process_time() - cpu, time.perf_counter() - wall


class Log:
    """Finished units, one JSON line each, after one line about the run."""

    def __init__(self, path: Path, run: dict[str, object], keys: tuple[str, ...]) -> None:
        self.path, self.keys = path, keys
        self.rows: dict[tuple, dict] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.run = json.loads(lines[0]) if lines else run
        if not lines:
            path.write_text(json.dumps(run) + "\n")
        if self.run["seed"] != run["seed"]:
            sys.exit(f"{path} was begun with seed {self.run['seed']}: remove it, or use that seed")
        for line in lines[1:]:
            row = json.loads(line)
            self.rows[self.key(row)] = row

    def key(self, row: dict) -> tuple:
        """What tells a unit from the others."""
        return tuple(row[name] for name in self.keys)

    def keep(self, row: dict) -> None:
        """Remember a finished unit, on disk as well."""
        self.rows[self.key(row)] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
