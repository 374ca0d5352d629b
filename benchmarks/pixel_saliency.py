"""Saliency-driven editing on photos that nothing was trained on: where people look before and after.

    python benchmarks/pixel_saliency.py --data ../shared/data --out docs/results

The first COCO val2017 photos with the outline of their largest object as the mask, at 256 pixels. Beside the policy:
random actions, and the best of the settings that are one action inside the mask and one outside, 8 or 4 times, found
with as many calls of the saliency model as the policy has, and with all 98. Judged by the shipped network, which is
also what rewards, and by frequency-tuned saliency (Achanta et al., CVPR 2009), which nothing here has ever seen.
The picture shows CC0 photos with masks drawn by hand.
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
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pixward.bench.provenance import commit, hardware, today
from pixward.data.scenes import read_objects
from pixward.files import save_atomic, save_text
from pixward.image import load, preview
from pixward.metrics.image import srgb_to_lab
from pixward.ops.filter import gaussian_blur
from pixward.ops.pixel import SALIENCY
from pixward.pixel.maps import heat
from pixward.pixel.saliency import PREVIEW, Steered, lab_change, steer
from pixward.policies.pixel import PixelPolicy, load_pixel_policy
from pixward.policies.saliency import load_saliency
from pixward.rewards.saliency import Saliency, SaliencyReward, inside_and_outside, look, saliency_target

STEPS = 8
RAISE, LOWER = ("brighter", "more saturation", "more contrast"), ("darker", "less saturation", "less contrast")
EXAMPLES = {  # photo: outline of what to look at, drawn by hand, in hundredths of width and height
    "oakland-zoo-otters": "31 33 36 29 44 30 48 44 60 46 75 46 83 56 94 56 92 64 83 72 70 72 55 73 43 71 39 58 38 42",
    "canyon-wren": "36 42 37 30 40 24 47 24 43 30 41 42",
    "blue-periwinkle": "46 46 52 43 58 47 58 54 52 57 47 54",
    "extreme-desert-hike": "28 82 38 78 39 84 29 89",
}
TITLES = ("before", "where to look", "saliency before", "saliency after", "after")

Method = Callable[[Tensor, Tensor], tuple[Tensor, int]]
"""A photo and its mask to the result and the number of calls of the saliency model."""


def frequency_tuned(images: Tensor) -> Tensor:
    """How far a blurred colour is from the picture's mean in Lab, over 100: a judge that no policy was rewarded by."""
    lab = srgb_to_lab(images)
    far = gaussian_blur(lab, 1.0) - lab.mean((2, 3), keepdim=True)
    return (far.square().sum(1).sqrt() / 100).clamp(0, 1)


def tasks(data: Path, count: int) -> list[tuple[Tensor, Tensor]]:
    """Photos ``(1, 3, H, W)`` and masks ``(1, H, W)``: their largest object, of 2 to 40 % of the picture."""
    folder, found = data / "coco", []
    labels = folder / "instance_segmentation" / "labels" / "val2017"
    for photo, masks in read_objects(folder / "images" / "val2017", labels, longest=PREVIEW):
        largest = masks[int(masks.float().mean((1, 2)).argmax())].float()
        if 0.02 <= float(largest.mean()) <= 0.4:
            found.append((photo[None].float() / 255, largest[None]))
    return found[:count]


def untouched(photo: Tensor, mask: Tensor) -> tuple[Tensor, int]:
    return photo, 0


def at_random(photo: Tensor, mask: Tensor) -> tuple[Tensor, int]:
    """Every pixel any action, each step anew."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        photo = SALIENCY.apply(photo, torch.randint(len(SALIENCY), photo[:, 0].shape, generator=generator))
    return photo, 0


def best_setting(model: Saliency, *, few: bool) -> Method:
    """One action inside and one outside, for the whole picture: the best by the policy's own reward."""

    def method(photo: Tensor, mask: Tensor) -> tuple[Tensor, int]:
        chains = {name: _chain(photo, name) for name in SALIENCY.names}
        pairs = [(a, b, STEPS) for a in RAISE for b in LOWER]
        if not few:
            pairs = [(a, b, n) for a in SALIENCY.names for b in SALIENCY.names for n in (STEPS // 2, STEPS)]
        reward, target = SaliencyReward(model), saliency_target(photo, mask)
        results = [photo] + [torch.where(mask[:, None] > 0.5, chains[a][n], chains[b][n]) for a, b, n in pairs]
        scores = [float(reward(result, target).mean()) for result in results]
        return results[max(range(len(scores)), key=scores.__getitem__)], len(results)

    return method


def _chain(photo: Tensor, name: str) -> list[Tensor]:
    action, images = SALIENCY.actions[SALIENCY.index(name)], [photo]
    for _ in range(STEPS):
        images.append(action(images[-1], None))
    return images


def policy_method(policy: PixelPolicy, model: Saliency) -> Method:
    def method(photo: Tensor, mask: Tensor) -> tuple[Tensor, int]:
        return steer(policy, photo, mask, model).result, policy.settings.horizon + 3

    return method


@torch.inference_mode()
def measure(method: Method, pictures: list[tuple[Tensor, Tensor]], model: Saliency) -> dict:
    judges = {"network": model, "frequency-tuned": frequency_tuned}
    reward = SaliencyReward(model)
    gains: dict[str, list[tuple[float, float]]] = {name: [] for name in judges}
    scores, distances, calls, began = [], [], 0, time.process_time()
    for photo, mask in pictures:
        result, calls = method(photo, mask)
        result = result.clamp(0, 1)
        for name, judge in judges.items():
            before, after = (inside_and_outside(look(judge, image), mask) for image in (photo, result))
            gains[name].append((float(after[0] - before[0]), float(after[1] - before[1])))
        target = saliency_target(photo, mask)
        scores.append(float((reward(result, target) - reward(photo, target)).mean()))
        distances.append(lab_change(photo, result))
    spent = time.process_time() - began
    row: dict = {"calls": calls, "score": _mean(scores), "lab": round(statistics.fmean(distances), 2)}
    for name, pairs in gains.items():
        inside, outside = zip(*pairs, strict=True)
        better = sum(a > b for a, b in pairs) / len(pairs)
        row[name] = {"inside": _mean(inside), "outside": _mean(outside), "better": round(better, 3)}
    return {**row, "cpu_s": round(spent / len(pictures), 2)}


def _mean(values) -> float:
    return round(statistics.fmean(values), 4)


def draw(policy: PixelPolicy, model: Saliency, data: Path) -> Image.Image:
    """CC0 photos, one a row: before, mask, saliency before and after, after."""
    wide, gap, top = 320, 10, 34
    rows = []
    for name, outline in EXAMPLES.items():
        photo = preview(load(data / "photos" / "hires_cc0" / f"{name}.jpg"), 640)
        mask = _outlined(outline, (photo.shape[3], photo.shape[2]))
        found = steer(policy, photo, mask, model)
        rows.append((name, photo, mask, found))
    pictures = [[_small(panel, wide) for panel in _panels(*row[1:])] for row in rows]
    size = (len(TITLES) * (wide + gap) + gap, top + sum(row[0].height + gap + 22 for row in pictures))
    canvas = Image.new("RGB", size, (24, 24, 24))
    pen = ImageDraw.Draw(canvas)
    for column, title in enumerate(TITLES):
        pen.text((gap + column * (wide + gap), 8), title, (232, 232, 232), ImageFont.load_default(size=17))
    at = top
    for (_, _, _, found), row in zip(rows, pictures, strict=True):
        for column, picture in enumerate(row):
            canvas.paste(picture, (gap + column * (wide + gap), at))
        told = (
            f"saliency inside {found.inside[0]:.2f} -> {found.inside[1]:.2f}, outside {found.outside[0]:.2f} -> "
            f"{found.outside[1]:.2f}; {found.kept} steps, mean change {found.distance:.1f} in Lab"
        )
        pen.text((gap, at + row[0].height + 3), told, (170, 170, 170), ImageFont.load_default(size=14))
        at += row[0].height + gap + 22
    return canvas


def _outlined(outline: str, size: tuple[int, int]) -> Tensor:
    numbers = [int(word) / 100 for word in outline.split()]
    picture = Image.new("L", size)
    corners = [(x * size[0], y * size[1]) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    ImageDraw.Draw(picture).polygon(corners, fill=255)
    return (torch.from_numpy(np.array(picture)) > 0).float()[None]


def _panels(photo: Tensor, mask: Tensor, found: Steered) -> list[Tensor]:
    dimmed = photo * (0.2 + 0.8 * mask[:, None])
    return [photo, dimmed, heat(found.before), heat(found.after), found.result]


def _small(image: Tensor, wide: int) -> Image.Image:
    pixels = (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels)
    return picture.resize((wide, round(picture.height * wide / picture.width)), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--weights", default="saliency")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pictures = tasks(args.data, args.images)
    if not pictures:
        sys.exit(f"no COCO val2017 in {args.data}: give the folder that holds coco/ with --data")
    policy, model = load_pixel_policy(args.weights), load_saliency()
    methods: dict[str, Method] = {
        "untouched": untouched,
        "random actions": at_random,
        "best of 9 settings": best_setting(model, few=True),
        "best of 98 settings": best_setting(model, few=False),
        "policy": policy_method(policy, model),
    }
    rows = {}
    for name, method in methods.items():
        rows[name] = measure(method, pictures, model)
        print(name, rows[name], flush=True)
    start = [inside_and_outside(look(model, photo), mask) for photo, mask in pictures]
    result = {
        "command": f"python benchmarks/pixel_saliency.py --images {args.images}",
        "commit": commit(),
        "date": today(),
        "threads": args.threads,
        "hardware": hardware(),
        "images": len(pictures),
        "before": {side: _mean(float(pair[k]) for pair in start) for k, side in enumerate(("inside", "outside"))},
        "methods": rows,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    save_text(args.out / "pixel_saliency.json", json.dumps(result, indent=2) + "\n")
    picture = draw(policy, model, args.data)
    save_atomic(args.out / "pixel_saliency.png", lambda part: picture.save(part, format="PNG"), force=True)


if __name__ == "__main__":
    main()
