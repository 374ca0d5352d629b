"""PixelRL's published weights in pixward: quality on BSD68 at sigma 25, and time beside a straight loop.

    python benchmarks/pixel_parity.py --data ../shared/data --out docs/results

About 40 minutes on one idle core. Needs the authors' weights and BSD68 (which pixward does not ship), h5py and
opencv-python-headless. Every finished image is kept in runs/pixel_parity.jsonl: started again, the script goes on where
it was stopped, and writes pixel.json and pixel.md once all is there. Noise is drawn anew for every image from its seed,
and neither clipped nor rounded; clipping and rounding is for scoring only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pixward.bench.provenance import commit, hardware, today
from pixward.files import save_text
from pixward.metrics.image import psnr
from pixward.pixel.run import improve
from pixward.pixel.trace import rounded
from pixward.policies.pixel import REWARD_KERNEL, PixelPolicy
from pixward.policies.pixelrl import read_pixelrl

SIGMA = 25
MODELS = {  # method: (file, dB that a straight port of the authors' code reaches on the 68 images)
    "plain": ("plain_sigma25.npz", 28.749),
    "convGRU+RMC": ("convGRU_and_RMC_sigma25.npz", 28.844),
    "convGRU": ("convGRU_sigma25.npz", 28.830),
}
TOLERANCE = 0.02
TIMED = ("plain", "convGRU")
"""What is timed against the straight loop; RMC is the same network as convGRU."""

Denoise = Callable[[Tensor], list[Tensor]]
"""Noisy image to the image before the first and after each step."""


def pair(path: Path, index: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clean and noisy image, ``(1, 1, H, W)``."""
    clean = torch.from_numpy(np.asarray(Image.open(path).convert("L")).copy())[None, None].float() / 255
    noise = np.random.default_rng([seed, index]).normal(0, SIGMA / 255, clean.shape).astype(np.float32)
    return clean, clean + torch.from_numpy(noise)


def policy_of(data: Path, name: str) -> PixelPolicy:
    settings, tensors = read_pixelrl(data / "pixelrl" / "weights" / MODELS[name][0])
    tensors.pop(REWARD_KERNEL, None)
    policy = PixelPolicy(settings)
    policy.load_state_dict(tensors)
    return policy.to(memory_format=torch.channels_last).eval()


def straight(data: Path, name: str) -> Denoise:
    """What one would write first: the network layer by layer as the paper draws it, OpenCV for the filters."""
    import cv2

    with np.load(data / "pixelrl" / "weights" / MODELS[name][0]) as file:
        w = {key: torch.from_numpy(file[key]) for key in file.files}
    head = "conv8_pi/model" if "conv8_pi/model/W" in w else "conv7_pi/model"
    filters = {
        3: lambda x: cv2.GaussianBlur(x, (5, 5), 0.5),
        4: lambda x: cv2.bilateralFilter(x, 5, 0.1, 5),
        5: lambda x: cv2.medianBlur(x, 5),
        6: lambda x: cv2.GaussianBlur(x, (5, 5), 1.5),
        7: lambda x: cv2.bilateralFilter(x, 5, 1.0, 5),
        8: lambda x: cv2.boxFilter(x, -1, (5, 5)),
    }

    def conv(x: Tensor, layer: str, dilation: int = 1) -> Tensor:
        return F.conv2d(x, w[layer + "/W"], w.get(layer + "/b"), padding=dilation, dilation=dilation)

    def pi_and_value(x: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        x = F.relu(conv(x, "conv1"))
        for layer, dilation in (("diconv2", 2), ("diconv3", 3), ("diconv4", 4)):
            x = F.relu(conv(x, layer + "/diconv", dilation))
        p = F.relu(conv(F.relu(conv(x, "diconv5_pi/diconv", 3)), "diconv6_pi/diconv", 2))
        v = F.relu(conv(F.relu(conv(x, "diconv5_V/diconv", 3)), "diconv6_V/diconv", 2))
        if h is not None:
            z = torch.sigmoid(conv(p, "conv7_Wz") + conv(h, "conv7_Uz"))
            g = torch.sigmoid(conv(p, "conv7_Wr") + conv(h, "conv7_Ur"))
            p = h = (1 - z) * h + z * torch.tanh(conv(p, "conv7_W") + conv(g * h, "conv7_U"))
        return torch.softmax(conv(p, head), 1), conv(v, "conv7_V"), h

    @torch.no_grad()
    def denoise(noisy: Tensor) -> list[Tensor]:
        image, images = noisy[0, 0].numpy(), [noisy]
        h = torch.zeros(1, 64, *image.shape) if "conv7_Wz/W" in w else None
        for _ in range(5):
            pi, _, h = pi_and_value(torch.from_numpy(image)[None, None], h)
            action = pi[0].argmax(0).numpy()
            result = image + (action == 2) / np.float32(255) - (action == 0) / np.float32(255)
            for index, run in filters.items():
                if (action == index).any():
                    result = np.where(action == index, run(image), result)
            image = result.astype(np.float32)
            images.append(torch.from_numpy(image)[None, None])
        return images

    return denoise


def dncnn(data: Path) -> Denoise:
    """The authors' DnCNN for sigma 25, from its MATLAB file: 17 convolutions, batch normalisation folded in."""
    import h5py

    layers = []
    with h5py.File(data / "models" / "dncnn_gray_sigma25.mat") as file:
        for (reference,) in file["net/layers"]:
            if "weights" in file[reference]:
                kernel, bias = (torch.from_numpy(file[found][()]) for found in file[reference]["weights"][:, 0])
                kernel = kernel if kernel.ndim == 4 else kernel[None]  # MATLAB drops a last axis of 1
                layers.append((kernel.transpose(2, 3).contiguous().float(), bias.flatten().float()))

    @torch.no_grad()
    def denoise(noisy: Tensor) -> list[Tensor]:
        x = noisy
        for k, (kernel, bias) in enumerate(layers):
            x = F.conv2d(x, kernel, bias, padding=1)
            x = x.relu_() if k + 1 < len(layers) else x
        return [noisy, noisy - x]

    return denoise


def ours(policy: PixelPolicy) -> Denoise:
    def denoise(noisy: Tensor) -> list[Tensor]:
        trace = improve(policy, noisy)
        return [*list(trace.images())[:-1], trace.result]

    return denoise


def timed(run: Callable[[Tensor], object], image: Tensor) -> tuple[object, float, float]:
    """The result, processor seconds and seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = run(image)
    return result, time.process_time() - cpu, time.perf_counter() - wall


class Log:
    """Finished units, one JSON line each."""

    def __init__(self, path: Path, run: dict[str, object]) -> None:
        self.path = path
        self.rows: dict[tuple[str, str], dict] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.run = json.loads(lines[0]) if lines else run
        if not lines:
            path.write_text(json.dumps(run) + "\n")
        if self.run["seed"] != run["seed"]:
            sys.exit(f"{path} was begun with seed {self.run['seed']}: remove it, or use that seed")
        for line in lines[1:]:
            row = json.loads(line)
            self.rows[row["method"], row["image"]] = row

    def keep(self, row: dict) -> None:
        """Remember a finished unit, on disk as well."""
        self.rows[row["method"], row["image"]] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def measure_quality(log: Log, images: list[Path], data: Path, seed: int) -> None:
    for method in (*MODELS, "DnCNN"):
        denoise = None
        for index, path in enumerate(images):
            if (method, path.stem) in log.rows:
                continue
            denoise = denoise or (dncnn(data) if method == "DnCNN" else ours(policy_of(data, method)))
            clean, noisy = pair(path, index, seed)
            steps, cpu, wall = timed(denoise, noisy)
            scores = [round(float(psnr(rounded(image), rounded(clean))), 4) for image in steps]
            log.keep({"method": method, "image": path.stem, "psnr": scores, "cpu_s": cpu, "wall_s": wall})
            print(method, path.stem, scores[-1], f"{cpu:.1f} s", flush=True)


def measure_time(log: Log, images: list[Path], data: Path, seed: int) -> None:
    """Ours and the straight loop take turns, so that whatever else the machine does falls on both."""
    for name in TIMED:
        policy, plainly = policy_of(data, name), straight(data, name)
        for index, path in enumerate(images):
            if (f"time {name}", path.stem) in log.rows:
                continue
            _, noisy = pair(path, index, seed)
            if index == 0:
                improve(policy, noisy), plainly(noisy)  # warm-up
            trace, cpu, wall = timed(lambda noisy, policy=policy: improve(policy, noisy), noisy)
            found, slow_cpu, slow_wall = timed(plainly, noisy)
            apart = float((trace.result != found[-1]).float().mean())
            row = {"method": f"time {name}", "image": path.stem, "cpu_s": cpu, "wall_s": wall, "pixels_apart": apart}
            log.keep({**row, "straight_cpu_s": slow_cpu, "straight_wall_s": slow_wall})
            print(row, f"straight {slow_cpu:.1f} s", flush=True)


def result_of(log: Log, images: list[Path]) -> dict:
    quality = {}
    for method in (*MODELS, "DnCNN"):
        rows = [log.rows[method, path.stem] for path in images]
        steps = [round(statistics.fmean(step), 4) for step in zip(*(row["psnr"] for row in rows), strict=True)]
        quality[method] = {
            "psnr": steps[-1],
            "psnr_per_step": steps,
            "reference": MODELS[method][1] if method in MODELS else None,
            "cpu_s": round(statistics.fmean(row["cpu_s"] for row in rows), 2),
        }
    speed = {}
    for name in TIMED:
        rows = [row for (method, _), row in sorted(log.rows.items()) if method == f"time {name}"]
        ratios = [row["straight_cpu_s"] / row["cpu_s"] for row in rows]
        speed[name] = {
            "images": len(rows),
            "cpu_s": round(statistics.median(row["cpu_s"] for row in rows), 2),
            "straight_cpu_s": round(statistics.median(row["straight_cpu_s"] for row in rows), 2),
            "faster": round(statistics.median(ratios), 2),
            "faster_from_to": [round(min(ratios), 2), round(max(ratios), 2)],
            "pixels_apart": max(row["pixels_apart"] for row in rows),
        }
    return {**log.run, "images": len(images), "quality": quality, "speed": speed}


def page(result: dict) -> str:
    identity = result["quality"]["plain"]["psnr_per_step"][0]
    lines = [
        "# Pixel: the authors' weights in pixward",
        f"Written by `benchmarks/pixel_parity.py` from `pixel.json`. {result['images']} images of BSD68, Gaussian "
        f"noise of sigma {SIGMA} drawn for each from seed {result['seed']}, neither clipped nor rounded; scores are "
        "of the result clipped and rounded to 8 bit.",
        f"```\n{result['command']}\n```",
        f"Commit {result['commit']}, {result['date']}, {result['hardware']['processor']}, "
        f"torch {result['hardware']['torch']}, {result['threads']} thread(s).",
        "## Quality\n",
        "| method | PSNR, dB | reference | within 0.02 | after step 0, 1, ... | processor seconds per image |",
        "|---|---|---|---|---|---|",
        f"| as it comes | {identity:.2f} | | | | |",
    ]
    for method, row in result["quality"].items():
        reference = "" if row["reference"] is None else f"{row['reference']:.3f}"
        held = "" if not reference else "yes" if abs(row["psnr"] - row["reference"]) <= TOLERANCE else "**no**"
        steps = ", ".join(f"{value:.2f}" for value in row["psnr_per_step"])
        lines.append(f"| {method} | {row['psnr']:.3f} | {reference} | {held} | {steps} | {row['cpu_s']} |")
    lines += [
        "\nThe reference is a separate straight port of the authors' code with noise of its own. DnCNN, a supervised "
        "denoiser, is better than all three and needs no steps: PixelRL's point is that its work can be read and "
        "edited, not that it wins.",
        "## Time\n",
        "The straight loop is the same network layer by layer in eager torch, as the paper draws it (value branch and "
        "six GRU kernels included, channels first), with OpenCV's filters; one image at a time. Both take turns; "
        "processor seconds, since the machine may be shared.\n",
        "| weights | images | ours, s | straight, s | faster (median) | least to most | pixels that differ at most |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["speed"].items():
        low, high = row["faster_from_to"]
        lines.append(
            f"| {name} | {row['images']} | {row['cpu_s']} | {row['straight_cpu_s']} | {row['faster']} x "
            f"| {low} to {high} | {row['pixels_apart']:.4%} |"
        )
    blocks = "\n\n".join(lines)
    return blocks.replace("|\n\n|", "|\n|").replace("\n\n\n", "\n\n") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--log", type=Path, default=Path("runs/pixel_parity.jsonl"))
    parser.add_argument("--images", type=int, default=68, help="how many, evenly spread")
    parser.add_argument("--timed", type=int, default=8, help="how many of them to time beside the straight loop")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    every = sorted((args.data / "denoise" / "BSD68").glob("*.png"))
    if not every:
        sys.exit(f"no BSD68 in {args.data}: give the folder that holds denoise/BSD68 with --data")
    images = every[:: max(1, len(every) // args.images)][: args.images]
    command = f"python benchmarks/pixel_parity.py --images {args.images} --timed {args.timed} --seed {args.seed}"
    origin = {"command": command, "seed": args.seed, "threads": args.threads, "commit": commit(), "date": today()}
    log = Log(args.log, {**origin, "hardware": hardware()})
    measure_time(log, images[:: max(1, len(images) // args.timed)][: args.timed], args.data, args.seed)
    measure_quality(log, images, args.data, args.seed)
    result = result_of(log, images)
    args.out.mkdir(parents=True, exist_ok=True)
    save_text(args.out / "pixel.json", json.dumps(result, indent=2) + "\n")
    save_text(args.out / "pixel.md", page(result))
    for name, (_, reference) in MODELS.items():
        print(name, result["quality"][name]["psnr"], "reference", reference)


if __name__ == "__main__":
    main()
