"""Denoisers side by side on BSD68: PixelRL's weights, pixward's own, and what else one would use.

    python benchmarks/pixel_denoise.py

About two and a half hours on one idle core, most of it for the authors' weights. Needs the authors' weights, DnCNN,
IRCNN and BSD68 (which pixward does not ship) and the extras "bench", "bm3d" and "pixel". All methods get the same
noisy arrays, drawn from the seed, neither clipped nor rounded; clipping and rounding is for scoring only. Slow methods
see all images at sigma 25 and every fourth one at other sigmas. Every finished image is kept in
runs/pixel_denoise.jsonl: started again, the script goes on where it was stopped. With --methods only those named are
run; the figures of the others are taken from the log, and from pixel_denoise.json if that run is over. Writes
pixel_denoise.json; pixel_page.py writes the page.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import denoisers
import numpy as np
import torch
from denoisers import Denoise, Log, authors_policy, images_of, of_policy, pair, scores, timed
from pixel_words import ACTION, DENOISER, NOISE, OWN_25

from pixward.bench.provenance import commit, hardware, today
from pixward.files import save_text
from pixward.metrics.image import ssim
from pixward.pixel.trace import rounded
from pixward.policies.pixel import KIND, load_pixel_policy
from pixward.policies.weights import find_weights

SIGMAS = (15, 25, 35, 50)
OWN = {  # method: weights of a policy, by name or file; one line for each
    NOISE: "noise",
    OWN_25: "runs/noise-25/policy.safetensors",  # does not ship: recipes/pixel.py says how it was trained
    ACTION: "noise-denoiser",
}
SUPERVISED = "noise"
"""Weights of the denoiser that the policies begin from, and that one of them can call."""
EVERY = 4
"""A slow method at a sigma other than 25 sees every fourth image."""

NOTES = [
    "All methods get the same noisy arrays, neither clipped nor rounded (NL means reads 8 bits only, so its own are). "
    "The noise of an image is the same draw at every sigma, scaled. Scores are of the result clipped and rounded.",
    "Slow methods see every fourth image where *images* says 17; the column *on every fourth image* is of the same 17 "
    "images for all methods, and so compares all of them.",
    "BM3D (PyPI bm3d 4.0.3), NL means (OpenCV, h = sigma) and the policies that are told the noise know the true "
    "sigma. DnCNN and IRCNN are the models for that sigma. DnCNN-25, IRCNN-25 and the authors' PixelRL weights, "
    "of which there are none here for other noise, are those for 25 at every sigma: what a wrong guess costs.",
    "*ours: noise-25* encodes the image anew in every step and is told 25 whatever the noise. Its tuning saw 25 only, "
    "but the guess that it began with had seen 5 to 60, told the truth; DnCNN-25 and IRCNN-25 never saw other noise.",
    "*ours: denoiser action*: one of the ten actions is the denoiser, which is the guess of *ours: noise*.",
    "*best uniform action*: the whole image takes one action in each step, the best of the nine, chosen by looking at "
    "the clean image. *random actions*: every pixel takes any of the nine.",
]


@dataclass(frozen=True)
class Method:
    """How to make a denoiser for a noise, which noises it is for, and whether it is slow."""

    make: Callable[[Path, int], Denoise]
    sigmas: tuple[int, ...] = SIGMAS
    slow: bool = False


def authors(name: str) -> Method:
    return Method(lambda data, sigma: of_policy(authors_policy(data, name), sigma), slow=True)


def own(weights: str) -> Method:
    return Method(lambda _, sigma: of_policy(load_pixel_policy(weights), sigma))


METHODS = {
    "as it comes": Method(lambda *_: denoisers.identity),
    "random actions": Method(lambda *_: denoisers.at_random),
    "best uniform action": Method(lambda *_: denoisers.identity),  # replaced below: it sees the clean image
    "NL means": Method(lambda _, sigma: denoisers.nl_means(sigma)),
    "BM3D": Method(lambda _, sigma: denoisers.bm3d(sigma), slow=True),
    "IRCNN": Method(denoisers.ircnn, (15, 25, 50), slow=True),
    "IRCNN-25": Method(lambda data, _: denoisers.ircnn(data, 25), (15, 35, 50), slow=True),
    "DnCNN": Method(denoisers.dncnn, (15, 25, 50), slow=True),
    "DnCNN-25": Method(lambda data, _: denoisers.dncnn(data, 25), (15, 35, 50), slow=True),
    "PixelRL plain": authors("plain"),
    "PixelRL convGRU+RMC": authors("convGRU+RMC"),
    "PixelRL convGRU": authors("convGRU"),
    DENOISER: Method(lambda _, sigma: denoisers.own_denoiser(SUPERVISED, sigma)),
    **{name: own(weights) for name, weights in OWN.items()},
}


@dataclass(frozen=True)
class Task:
    """What is measured: images, where from, the seed of the noise, and whether every fourth image is enough."""

    images: Sequence[Path]
    data: Path
    seed: int

    quick: bool = False

    def of(self, method: str, sigma: int) -> list[tuple[int, Path]]:
        """The images, with their places in BSD68, that a method is to see: every fourth one, then the others."""
        every = list(enumerate(self.images))
        fourth = every[::EVERY]
        alone = self.quick or (METHODS[method].slow and sigma != 25)
        return fourth if alone else fourth + [entry for entry in every if entry not in fourth]


def measure(log: Log, task: Task, method: str, sigma: int) -> None:
    denoise, now = None, commit()
    for index, path in task.of(method, sigma):
        if (method, sigma, path.stem) in log.rows:
            continue
        clean, noisy = pair(path, index, task.seed, sigma)
        denoise = denoise or METHODS[method].make(task.data, sigma)
        run = denoisers.best_uniform(clean) if method == "best uniform action" else denoise
        steps, cpu, wall = timed(run, noisy)
        row = {"method": method, "sigma": sigma, "image": path.stem, "psnr": scores(steps, clean)}
        likeness = round(float(ssim(rounded(steps[-1]), rounded(clean))), 5)
        log.keep({**row, "ssim": likeness, "cpu_s": round(cpu, 4), "wall_s": round(wall, 4), "commit": now})
        print(method, sigma, path.stem, row["psnr"][-1], f"{cpu:.1f} s", flush=True)


def summary(log: Log, task: Task, method: str, sigma: int) -> dict | None:
    """One row of the result, of all images or else of every fourth; None where even of those some are to be done."""
    shared = {path.stem for path in task.images[::EVERY]}
    done = [path.stem for _, path in task.of(method, sigma) if (method, sigma, path.stem) in log.rows]
    if not shared <= set(done):
        return None
    whole = len(done) == len(task.images)
    rows = [log.rows[method, sigma, stem] for stem in done if whole or stem in shared]
    final = [row["psnr"][-1] for row in rows]
    steps = zip(*(row["psnr"] for row in rows), strict=True)
    return {
        "method": method,
        "sigma": sigma,
        "images": len(rows),
        "psnr": round(statistics.fmean(final), 3),
        "psnr_every_fourth": round(statistics.fmean(row["psnr"][-1] for row in rows if row["image"] in shared), 3),
        "psnr_5th_percentile": round(float(np.percentile(final, 5)), 3),
        "ssim": round(statistics.fmean(row["ssim"] for row in rows), 4),
        "cpu_s": round(statistics.fmean(row["cpu_s"] for row in rows), 3),
        "psnr_per_step": [round(statistics.fmean(step), 3) for step in steps],
        "commit": ", ".join(sorted({row["commit"] for row in rows})),
    }


def result_of(log: Log, task: Task, before: list[dict]) -> dict:
    """Everything measured so far; rows of an earlier run stay where the log does not hold their images."""
    earlier = {(row["method"], row["sigma"]): row for row in before}
    rows = []
    for sigma in SIGMAS:
        for method in METHODS:
            row = summary(log, task, method, sigma) if sigma in METHODS[method].sigmas else None
            row = row or earlier.get((method, sigma))
            rows += [row] if row else []
    return {**log.run, "rows": rows, "notes": NOTES}


def there(method: str) -> bool:
    """Whether the weights of a method ship with pixward, if it has any of ours."""
    wanted = (SUPERVISED if method == DENOISER else OWN.get(method), KIND)
    found = wanted[0] is None or find_weights(*wanted) is not None
    if not found:
        print(f"{method}: there are no weights called {wanted[0]}, left out", file=sys.stderr)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--log", type=Path, default=Path("runs/pixel_denoise.jsonl"))
    parser.add_argument("--methods", help="some of them, with commas between; all if not given")
    parser.add_argument("--sigmas", default=",".join(map(str, SIGMAS)), help="with commas between")
    parser.add_argument("--quick", action="store_true", help="no more than every fourth image")
    parser.add_argument("--images", type=int, default=68, help="how many, from the first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.methods = args.methods.split(",") if args.methods else [name for name in METHODS if there(name)]
    args.sigmas = [int(sigma) for sigma in args.sigmas.split(",")]
    for name in args.methods:
        if name not in METHODS:
            parser.error(f"there is no method {name!r}; choose from: {', '.join(METHODS)}")
    return args


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    task = Task(images_of(args.data)[: args.images], args.data, args.seed, args.quick)
    origin = {"command": "python benchmarks/pixel_denoise.py", "seed": args.seed, "threads": args.threads}
    run = {**origin, "commit": commit(), "date": today(), "hardware": hardware()}
    log = Log(args.log, run, ("method", "sigma", "image"))
    for method in args.methods:
        for sigma in args.sigmas:
            if sigma in METHODS[method].sigmas:
                measure(log, task, method, sigma)
    target = args.out / "pixel_denoise.json"
    before = json.loads(target.read_text())["rows"] if target.exists() else []
    args.out.mkdir(parents=True, exist_ok=True)
    save_text(target, json.dumps(result_of(log, task, before), indent=1) + "\n")


if __name__ == "__main__":
    main()
