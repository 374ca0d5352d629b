"""What a whole match costs by size: hybrid on a preview against CMA-ES on the preview and on the full-size picture.

    python benchmarks/match_fullsize.py --photos ../shared/data/photos/hires_cc0 --out docs/results

The first photo of the folder, enlarged or reduced to 2, 12 and 24 megapixels; the goal is `chain:photo` at a seeded
setting of radius 0.5. ``hybrid`` searches 10 renders on the 256 px preview and renders the result once at full size.
CMA-ES searches 200 renders, once on the preview with one full-size render at the end, and once at full size, as
RLPixTuner's baselines do. All 8 bit, two threads for full-size renders. About five minutes. Writes
``match_fullsize.json`` and ``match_fullsize.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pixward.bench.provenance import commit, hardware, today
from pixward.data.pairs import photo_files
from pixward.editors.chain import PHOTO
from pixward.editors.fullsize import render_fullsize
from pixward.files import save_text
from pixward.image import preview
from pixward.match import match

SEED, RADIUS, RENDERS, CMA_RENDERS = 0, 0.5, 10, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 12, 24], help="megapixels")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    photo = Image.open(photo_files([options.photos])[0]).convert("RGB")
    action = RADIUS * (2 * torch.rand(1, len(PHOTO.space), generator=torch.Generator().manual_seed(SEED)) - 1)
    match(*pair(photo, 1, action)[2:], editor=PHOTO, renders=2)  # loads the networks
    rows = [measure(photo, size, action) for size in options.sizes]
    result = {"date": today(), "commit": commit(), "hardware": hardware(), "rows": rows}
    save_text(options.out / "match_fullsize.json", json.dumps(result, indent=1) + "\n")
    save_text(options.out / "match_fullsize.md", page(result))


def pair(
    photo: Image.Image, megapixels: int, action: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, torch.Tensor, torch.Tensor]:
    """Photo and goal at full size, ``(H, W, 3)`` uint8, and their previews."""
    scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
    pixels = np.asarray(
        photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)
    )
    goal = render_fullsize(PHOTO, pixels, PHOTO.space.denormalize(action))
    return pixels, goal, preview(pixels), preview(goal)


def measure(photo: Image.Image, megapixels: int, action: torch.Tensor) -> dict[str, float]:
    """Seconds and full-size PSNR of the three ways."""
    pixels, goal, source, target = pair(photo, megapixels, action)
    row: dict[str, float] = {"megapixels": megapixels}
    for name, strategy, renders in (("hybrid", "hybrid", RENDERS), ("cmaes_preview", "cmaes", CMA_RENDERS)):
        start = time.perf_counter()
        found = match(source, target, editor=PHOTO, strategy=strategy, renders=renders, seed=SEED)
        searched = time.perf_counter()
        image = render_fullsize(PHOTO, pixels, PHOTO.space.from_dict(found.setting)[None])
        row[f"{name}_search"] = searched - start
        row[f"{name}_total"] = time.perf_counter() - start
        row[f"{name}_psnr"] = psnr(image, goal)
    start = time.perf_counter()
    row["cmaes_full_psnr"] = cmaes_at_full_size(pixels, goal)
    row["cmaes_full_total"] = time.perf_counter() - start
    print(row, flush=True)
    return row


def cmaes_at_full_size(pixels: np.ndarray, goal: np.ndarray) -> float:
    """Best PSNR of CMA-ES (sigma 0.3, as `search/cmaes.py`) whose every render is at full size."""
    import cma

    options = {"bounds": [-1, 1], "verbose": -9, "seed": SEED + 1, "maxfevals": CMA_RENDERS}
    strategy = cma.CMAEvolutionStrategy(PHOTO.space.default_action()[0].tolist(), 0.3, options)
    best, spent = 0.0, 0
    while spent < CMA_RENDERS:
        asked = strategy.ask()[: CMA_RENDERS - spent] if CMA_RENDERS - spent < strategy.popsize else strategy.ask()
        losses = []
        for candidate in asked:
            params = PHOTO.space.denormalize(torch.tensor(np.asarray(candidate), dtype=torch.float32)[None])
            reached = psnr(render_fullsize(PHOTO, pixels, params), goal)
            best = max(best, reached)
            losses.append(10 ** (-reached / 10))
        spent += len(asked)
        if len(asked) == strategy.popsize:
            strategy.tell(asked, losses)
    return best


def psnr(image: np.ndarray, goal: np.ndarray) -> float:
    """Of two uint8 pictures, in rows so that no float copy of 24 megapixels is made."""
    total = sum(
        float(np.square(image[top : top + 256].astype(np.int32) - goal[top : top + 256]).sum())
        for top in range(0, len(image), 256)
    )
    return float(-10 * np.log10(max(total / image.size / 255**2, 1e-10)))


def page(result: dict[str, Any]) -> str:
    """The page as Markdown."""
    machine, rows = result["hardware"], result["rows"]
    lines = [
        f"| {row['megapixels']} | {row['hybrid_search']:.2f} | {row['hybrid_total']:.2f} | {row['hybrid_psnr']:.1f} "
        f"| {row['cmaes_preview_total']:.2f} | {row['cmaes_preview_psnr']:.1f} | {row['cmaes_full_total']:.1f} "
        f"| {row['cmaes_full_psnr']:.1f} | {row['cmaes_full_total'] / row['hybrid_total']:.0f} |"
        for row in rows
    ]
    return (
        f"""# A whole match by size

`python benchmarks/match_fullsize.py --photos ../shared/data/photos/hires_cc0 --out docs/results`

Commit {result["commit"]}, {result["date"]}, {machine["processor"]}, {machine["cores"]} cores. One photo, one seeded
goal of `chain:photo` (radius {RADIUS:g}), 8 bit; one run each, so read the times to one digit. PSNR in dB at full size.
`hybrid` uses {RENDERS} renders of the 256 px preview and one of the whole picture, and both are in its seconds.

CMA-ES uses {CMA_RENDERS}.

| MP | hybrid: search, s | hybrid: all, s | PSNR | CMA-ES on preview: all, s | PSNR | CMA-ES at full size, s | PSNR \
| its time / hybrid's |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""
        + "\n".join(lines)
        + "\n"
    )


if __name__ == "__main__":
    main()
