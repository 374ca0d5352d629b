"""PixelRL's published weights in pixward: quality on BSD68 at sigma 25, and time beside a straight loop.

    python benchmarks/pixel_parity.py --data ../shared/data --out docs/results

About 40 minutes on one idle core. Needs the authors' weights and BSD68 (which pixward does not ship), h5py and
opencv-python-headless. Every finished image is kept in runs/pixel_parity.jsonl: started again, the script goes on where
it was stopped, and writes pixel_parity.json once all is there; pixel_page.py makes the page of it. Noise is drawn anew
for every image from its seed, and neither clipped nor rounded; clipping and rounding is for scoring only.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from denoisers import AUTHORS, Denoise, Log, authors_policy, dncnn, images_of, of_policy, pair, scores, timed
from torch import Tensor

from pixward.bench.provenance import commit, hardware, today
from pixward.files import save_text
from pixward.pixel.run import improve

SIGMA = 25
TIMED = ("plain", "convGRU")
"""What is timed against the straight loop; RMC is the same network as convGRU."""


def straight(data: Path, name: str) -> Denoise:
    """What one would write first: the network layer by layer as the paper draws it, OpenCV for the filters."""
    import cv2

    with np.load(data / "pixelrl" / "weights" / AUTHORS[name][0]) as file:
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


def measure_quality(log: Log, images: list[Path], data: Path, seed: int) -> None:
    for method in (*AUTHORS, "DnCNN"):
        denoise = None
        for index, path in enumerate(images):
            if (method, path.stem) in log.rows:
                continue
            denoise = denoise or (
                dncnn(data, SIGMA) if method == "DnCNN" else of_policy(authors_policy(data, method), SIGMA)
            )
            clean, noisy = pair(path, index, seed, SIGMA)
            steps, cpu, wall = timed(denoise, noisy)
            found = scores(steps, clean)
            log.keep({"method": method, "image": path.stem, "psnr": found, "cpu_s": cpu, "wall_s": wall})
            print(method, path.stem, found[-1], f"{cpu:.1f} s", flush=True)


def measure_time(log: Log, images: list[Path], data: Path, seed: int) -> None:
    """Ours and the straight loop take turns, so that whatever else the machine does falls on both."""
    for name in TIMED:
        policy, plainly = authors_policy(data, name), straight(data, name)
        for index, path in enumerate(images):
            if (f"time {name}", path.stem) in log.rows:
                continue
            _, noisy = pair(path, index, seed, SIGMA)
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
    for method in (*AUTHORS, "DnCNN"):
        rows = [log.rows[method, path.stem] for path in images]
        steps = [round(statistics.fmean(step), 4) for step in zip(*(row["psnr"] for row in rows), strict=True)]
        quality[method] = {
            "psnr": steps[-1],
            "psnr_per_step": steps,
            "reference": AUTHORS[method][1] if method in AUTHORS else None,
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
    every = images_of(args.data)
    images = every[:: max(1, len(every) // args.images)][: args.images]
    command = f"python benchmarks/pixel_parity.py --images {args.images} --timed {args.timed} --seed {args.seed}"
    origin = {"command": command, "seed": args.seed, "threads": args.threads, "commit": commit(), "date": today()}
    log = Log(args.log, {**origin, "hardware": hardware()}, ("method", "image"))
    measure_time(log, images[:: max(1, len(images) // args.timed)][: args.timed], args.data, args.seed)
    measure_quality(log, images, args.data, args.seed)
    result = result_of(log, images)
    args.out.mkdir(parents=True, exist_ok=True)
    save_text(args.out / "pixel_parity.json", json.dumps(result, indent=2) + "\n")
    for name, (_, reference) in AUTHORS.items():
        print(name, result["quality"][name]["psnr"], "reference", reference)


if __name__ == "__main__":
    main()
