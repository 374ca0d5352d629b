"""Restoration side by side: text written over BSD68 (PixelRL's 68 fixed pictures), and salt and pepper on BSD68.

    python benchmarks/pixel_restore.py

About half an hour on one idle core, nearly all of it for the authors' weights; a minute without them. Needs the
authors' text pictures and salt-and-pepper weights and BSD68 (which pixward does not ship) and the extra "pixel". The
text pictures are taken as they are: JPEG of quality 75 whose letters are pure black or white. Salt and pepper is drawn
from the seed. Scores are of results clipped and rounded to 8 bit. Every finished image is kept in
runs/pixel_restore.jsonl: started again, the script goes on where it was stopped. With --methods only those named are
run; the figures of the others are taken from the log. Writes pixel_restore.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import denoisers
import numpy as np
import torch
from denoisers import Denoise, Log, images_of, scores, timed
from PIL import Image
from torch import Tensor

from pixward.bench.provenance import commit, hardware, today
from pixward.data.corrupt import salt_pepper
from pixward.files import save_text
from pixward.metrics.image import ssim
from pixward.pixel.trace import rounded
from pixward.policies.pixel import REWARD_KERNEL, PixelPolicy, load_pixel_policy
from pixward.policies.pixelrl import read_pixelrl

DENSITIES = ("0.1", "0.5", "0.9")
TEXT = "text"
EVERY = 4
"""Every fourth image is done first; a row counts from then on."""
INK = 40 / 255
"""A pixel of a text picture that is so far from the clean one is a letter's; JPEG's own errors are smaller."""
WIDEST = 39
"""The largest window of the adaptive median, in pixels."""
NOTES = [
    "Telea and Navier-Stokes (OpenCV, radius 3) are oracles here: they are given the true mask, the pixels that differ "
    "from the clean picture by more than 40 of 255, and one pixel around them. Nobody has it in practice.",
    "The text pictures are JPEGs of quality 75, and compression leaves its traces between the letters too. 'Truth in "
    "the true mask' puts the clean picture where the mask is and leaves the rest: the most that inpainting can reach.",
    "The authors' weights for salt and pepper were trained at density 0.5; they take 5 steps. One policy of ours is "
    "for every density and is not told which.",
]


@dataclass(frozen=True)
class Method:
    """``make(data, clean)`` gives what repairs pictures: any, or, if it is an oracle, that very one; what it is for."""

    make: Callable[[Path, Tensor], Denoise]
    cases: tuple[str, ...] = (TEXT, *DENSITIES)
    oracle: bool = False


def of_array(repair: Callable[[np.ndarray], np.ndarray]) -> Denoise:
    """A method for 8-bit arrays ``(H, W)``; both kinds of damage are 8 bit."""

    def run(damaged: Tensor) -> list[Tensor]:
        found = repair((rounded(damaged[0, 0]) * 255).byte().numpy())
        return [damaged, torch.from_numpy(found).view_as(damaged).float() / 255]

    return run


def inpainting(kind: int) -> Callable[[Path, Tensor], Denoise]:
    """OpenCV's, with the true mask."""

    def make(_: Path, clean: Tensor) -> Denoise:
        def run(damaged: Tensor) -> list[Tensor]:
            mask = letters(damaged, clean)
            return of_array(lambda pixels: cv2.inpaint(pixels, mask, 3, kind))(damaged)

        return run

    return make


def adaptive_median(pixels: np.ndarray) -> np.ndarray:
    """Hwang and Haddad, "Adaptive median filters", IEEE TIP 1995; windows of 3 to :data:`WIDEST` pixels.

    A pixel grows its window until the median is neither its least nor its greatest value; then it stays if it lies
    strictly between them too, and takes the median if not. Where no window is wide enough the last median is taken.
    """
    result, open_ = pixels.copy(), np.ones(pixels.shape, bool)
    for side in range(3, WIDEST + 1, 2):
        window = np.ones((side, side), np.uint8)
        low, high = cv2.erode(pixels, window), cv2.dilate(pixels, window)
        middle = cv2.medianBlur(pixels, side)
        sure = open_ & (low < middle) & (middle < high)
        kept = (low < pixels) & (pixels < high)
        result[sure] = np.where(kept, pixels, middle)[sure]
        open_ &= ~sure
        result[open_] = middle[open_]
        if not open_.any():
            break
    return result


def letters(damaged: Tensor, clean: Tensor) -> np.ndarray:
    """The true mask, ``(H, W)`` uint8: 1 where a letter is, and one pixel around."""
    ink = ((damaged - clean).abs() > INK)[0, 0].byte().numpy()
    return cv2.dilate(ink, np.ones((3, 3), np.uint8))


def filled(_: Path, clean: Tensor) -> Denoise:
    """The truth in place of the letters, the rest as it comes: the end of what inpainting can reach."""
    return lambda damaged: [damaged, torch.where(torch.from_numpy(letters(damaged, clean)) > 0, clean, damaged)]


def authors(data: Path, _: Tensor) -> Denoise:
    """PixelRL's convGRU for salt and pepper at density 0.5, imported."""
    settings, tensors = read_pixelrl(data / "pixelrl" / "weights" / "salt_pepper_50.npz")
    tensors.pop(REWARD_KERNEL, None)
    policy = PixelPolicy(settings)
    policy.load_state_dict(tensors)
    return denoisers.of_policy(policy.to(memory_format=torch.channels_last).eval(), 0.0)


def own(weights: str) -> Callable[[Path, Tensor], Denoise]:
    """A policy of pixward's, by name or file."""
    return lambda *_: denoisers.of_policy(load_pixel_policy(weights), 0.0)


def methods(text: str, salt: str) -> dict[str, Method]:
    """All, with the weights of our own by name or file."""
    return {
        "as it comes": Method(lambda *_: denoisers.identity),
        "random actions": Method(lambda *_: denoisers.at_random),
        "median 3x3": Method(lambda *_: of_array(lambda pixels: cv2.medianBlur(pixels, 3))),
        "median 5x5": Method(lambda *_: of_array(lambda pixels: cv2.medianBlur(pixels, 5))),
        "adaptive median": Method(lambda *_: of_array(adaptive_median), DENSITIES),
        "Telea, true mask": Method(inpainting(cv2.INPAINT_TELEA), (TEXT,), oracle=True),
        "Navier-Stokes, true mask": Method(inpainting(cv2.INPAINT_NS), (TEXT,), oracle=True),
        "truth in the true mask": Method(filled, (TEXT,), oracle=True),
        "PixelRL salt and pepper 50": Method(authors, DENSITIES),
        "ours: text": Method(own(text), (TEXT,)),
        "ours: salt-pepper": Method(own(salt), DENSITIES),
    }


def grey(path: Path) -> Tensor:
    """A picture as ``(1, 1, H, W)``."""
    return torch.from_numpy(np.asarray(Image.open(path).convert("L")).copy())[None, None].float() / 255


@dataclass(frozen=True)
class Task:
    """What is measured: BSD68, where from, and the seed of the damage."""

    images: Sequence[Path]
    data: Path
    seed: int

    def order(self) -> list[tuple[int, Path]]:
        """The images with their places in BSD68, every fourth first."""
        return sorted(enumerate(self.images), key=lambda item: item[0] % EVERY != 0)

    def damaged(self, case: str, index: int, clean: Tensor) -> Tensor:
        """One image with its damage, ``(1, 1, H, W)``."""
        if case != TEXT:
            generator = torch.Generator().manual_seed(1_000_003 * self.seed + index)
            return salt_pepper(clean, float(case), generator)[0]
        # Both sets are in the order of the photos' numbers in BSDS500.
        image = grey(sorted((self.data / "pixelrl" / "text_test").glob("*.jpg"))[index])
        if image.shape != clean.shape:
            raise ValueError(f"text picture {index} is {tuple(image.shape)}, its clean one {tuple(clean.shape)}")
        return image


def measure(log: Log, task: Task, images: int, unit: tuple[str, str], method: Method) -> None:
    """One method on one kind of damage, for the first ``images`` in the order of work."""
    name, case = unit
    fixed: Denoise | None = None
    now = commit()
    for index, path in task.order()[:images]:
        if (name, case, path.stem) in log.rows:
            continue
        clean = grey(path)
        damaged = task.damaged(case, index, clean)
        if fixed is None or method.oracle:
            fixed = method.make(task.data, clean)
        steps, cpu, wall = timed(fixed, damaged)
        row = {"method": name, "case": case, "image": path.stem, "psnr": scores(steps, clean)}
        likeness = round(float(ssim(rounded(steps[-1]), rounded(clean))), 5)
        log.keep({**row, "ssim": likeness, "cpu_s": round(cpu, 4), "wall_s": round(wall, 4), "commit": now})
        print(name, case, path.stem, row["psnr"][-1], f"{cpu:.2f} s", flush=True)


def summary(log: Log, task: Task, name: str, case: str) -> dict | None:
    """One row of the result, of all images or else of every fourth; None where even of those some are to be done."""
    shared = {path.stem for path in task.images[::EVERY]}
    done = [path.stem for path in task.images if (name, case, path.stem) in log.rows]
    if not shared <= set(done):
        return None
    whole = len(done) == len(task.images)
    rows = [log.rows[name, case, stem] for stem in done if whole or stem in shared]
    final = [row["psnr"][-1] for row in rows]
    return {
        "method": name,
        "case": case,
        "images": len(rows),
        "psnr": round(statistics.fmean(final), 3),
        "psnr_every_fourth": round(statistics.fmean(row["psnr"][-1] for row in rows if row["image"] in shared), 3),
        "psnr_5th_percentile": round(float(np.percentile(final, 5)), 3),
        "ssim": round(statistics.fmean(row["ssim"] for row in rows), 4),
        "cpu_s": round(statistics.fmean(row["cpu_s"] for row in rows), 4),
        "psnr_per_step": [round(statistics.fmean(s), 3) for s in zip(*(row["psnr"] for row in rows), strict=True)],
        "commit": ", ".join(sorted({row["commit"] for row in rows})),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--log", type=Path, default=Path("runs/pixel_restore.jsonl"))
    parser.add_argument("--methods", help="some of them, with commas between, a comma in a name left out; default: all")
    parser.add_argument("--text", default="text", help="weights of ours for text, by name or file")
    parser.add_argument("--salt-pepper", default="salt-pepper", help="weights of ours for salt and pepper")
    parser.add_argument("--images", type=int, default=68, help="how many are done, every fourth first")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    known = methods(args.text, args.salt_pepper)
    plain = {name.replace(",", ""): name for name in known}
    wanted = args.methods.split(",") if args.methods else list(plain)
    for name in wanted:
        if name not in plain:
            parser.error(f"there is no method {name!r}; choose from: {', '.join(plain)}")
    task = Task(images_of(args.data), args.data, args.seed)
    origin = {"command": "python benchmarks/pixel_restore.py", "seed": args.seed, "threads": args.threads}
    run = {**origin, "commit": commit(), "date": today(), "hardware": hardware()}
    log = Log(args.log, run, ("method", "case", "image"))
    for name in (plain[name] for name in wanted):
        for case in known[name].cases:
            measure(log, task, args.images, (name, case), known[name])
    target = args.out / "pixel_restore.json"
    earlier = {}
    if target.exists():
        earlier = {(row["method"], row["case"]): row for row in json.loads(target.read_text())["rows"]}
    rows = [
        summary(log, task, name, case) or earlier.get((name, case))
        for case in (TEXT, *DENSITIES)
        for name, method in known.items()
        if case in method.cases
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    result = {**log.run, "rows": [row for row in rows if row], "notes": NOTES}
    save_text(target, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
