"""Looks of another scene: how near each method comes to a truth that none of them has seen.

    python benchmarks/looks.py --shared ../shared/data --out docs/results

One random setting of ``chain:photo`` is applied to two different photos of bsds500/val. A method gets the first photo
as it is, and the second as it came out; the truth is what the setting makes of the first. Setting number ``i`` is
``a = r * u``, ``u = numpy.random.default_rng([seed, i]).uniform(-1, 1, d)``, drawn again where either picture comes
out with a mean below 0.01 or above 0.9; photo ``i`` (in the order of names) is paired with photo ``(i + n / 2) mod n``.
256 px, 8 bit. Methods: the untouched photo, three colour transfers, random search and CMA-ES with 200 renders and least
squares with 60 on the fast look reward, and pixward's policy with 1 to 10 renders.

Two processes, about 15 minutes; a stopped run goes on where it was (``--run``). Writes ``looks.json``, ``looks.md`` and
``looks.jpg``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from pixward.bench.goals import BRIGHT, DARK
from pixward.bench.provenance import code_digest, commit, hardware, today
from pixward.bench.stats import describe, interval, paired_interval
from pixward.data.pairs import photo_files
from pixward.editors.chain import PHOTO
from pixward.files import save_text
from pixward.image import from_tensor, load, preview, quantize
from pixward.match import match
from pixward.metrics.image import delta_e, psnr, ssim
from pixward.search.problem import Look
from pixward.search.transfer import distribution_transfer, histogram_match, reinhard

SEED, PHOTOS = 0, 60
RADII = {0.5: 1.0, 1.0: 0.5}
"""Radius of the settings, and the share of the photos that it is measured on."""
TRANSFERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Reinhard": reinhard,
    "histogram transfer": histogram_match,
    "distribution transfer": distribution_transfer,
}
SEARCHES = {"random 200": ("random", 200), "CMA-ES 200": ("cmaes", 200), "least squares 60": ("least-squares", 60)}
POLICY = {f"policy {renders}": ("hybrid", renders) for renders in (1, 3, 10)}
OURS, RIVALS = "policy 10", ("Reinhard", "histogram transfer", "distribution transfer", "CMA-ES 200")
METHODS = (*TRANSFERS, *SEARCHES, *POLICY)
SHEET = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with photos/")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--run", type=Path, default=Path("runs/looks"))
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    files = photo_files([options.shared / "photos/bsds500/val"])[: options.photos]
    rows = measure_all(files, options.run, options.jobs)
    result = {
        "command": "python benchmarks/looks.py --shared ../shared/data --out docs/results",
        "date": today(),
        "commit": commit(),
        "code": code_digest(),
        "hardware": hardware(),
        "seed": SEED,
        "photos": len(files),
        "radii": {f"{radius:g}": summary([row for row in rows if row["radius"] == radius]) for radius in RADII},
    }
    save_text(options.out / "looks.json", json.dumps(result, separators=(",", ":")) + "\n")
    save_text(options.out / "looks.md", page(result))
    free = photo_files([options.shared / "photos/hires_cc0"])
    sheet(free).save(options.out / "looks.jpg", quality=85)


# --- measuring --------------------------------------------------------------------------------------------------


def pair(photo: Path, other_photo: Path, index: int, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Photo, reference and truth with setting number ``index``, ``(1, 3, H, W)`` each, 8 bit."""
    source, other = preview(load(photo)), preview(load(other_photo))
    generator = np.random.default_rng([SEED, index])
    while True:
        action = torch.from_numpy(radius * generator.uniform(-1, 1, len(PHOTO.space))).float()[None]
        with torch.no_grad():
            truth, reference = (quantize(PHOTO(photo, PHOTO.space.denormalize(action))) for photo in (source, other))
        if all(DARK <= float(picture.mean()) <= BRIGHT for picture in (truth, reference)):
            return source, reference, truth


def results(
    source: Tensor, reference: Tensor, index: int, names: Sequence[str] = METHODS
) -> dict[str, tuple[Tensor, float]]:
    """What each method of ``names`` makes of it, 8 bit, and its seconds."""
    found: dict[str, tuple[Tensor, float]] = {"untouched": (quantize(source), 0.0)}
    for name, transfer in TRANSFERS.items():
        if name not in names:
            continue
        start = time.perf_counter()
        with torch.no_grad():
            found[name] = quantize(transfer(source, reference)), time.perf_counter() - start
    for name, (strategy, renders) in {**SEARCHES, **POLICY}.items():
        if name not in names:
            continue
        start = time.perf_counter()
        result = match(source, Look(reference), editor=PHOTO, strategy=strategy, renders=renders, seed=SEED + index)
        seconds = time.perf_counter() - start
        with torch.no_grad():
            image = quantize(PHOTO(source, PHOTO.space.from_dict(result.setting)[None]))
        found[name] = image, seconds
    return found


def measure(job: tuple[list[Path], int, float]) -> dict[str, Any]:
    """One pair by all methods."""
    files, index, radius = job
    torch.set_num_threads(1)
    source, reference, truth = pair(files[index], files[(index + len(files) // 2) % len(files)], index, radius)
    row: dict[str, Any] = {"index": index, "radius": radius, "photo": files[index].name, "methods": {}}
    for name, (image, seconds) in results(source, reference, index).items():
        row["methods"][name] = {
            "delta_e": round(float(delta_e(image, truth)), 4),
            "psnr": round(float(psnr(image, truth)), 4),
            "ssim": round(float(ssim(image, truth)), 5),
            "seconds": round(seconds, 4),
        }
    return row


def measure_all(files: list[Path], run: Path, jobs: int) -> list[dict[str, Any]]:
    """Every pair at every radius; finished ones are kept in ``run`` under the code that made them."""
    kept = run / f"{code_digest()}-{len(files)}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(row["index"], row["radius"]) for row in rows}
    wanted = [(i, radius) for radius, share in RADII.items() for i in range(round(share * len(files)))]
    todo = [(files, i, radius) for i, radius in wanted if (i, radius) not in done]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool, kept.open("a") as file:
        for row in pool.map(measure, todo):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{len(rows)} of {len(wanted)}", end="\r", flush=True)
    return rows


# --- figures ----------------------------------------------------------------------------------------------------


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Each method's figures, and ours less each rival's, paired."""
    names = list(rows[0]["methods"])
    methods = {}
    for name in names:
        found = [row["methods"][name] for row in rows]
        methods[name] = {
            metric: describe([one[metric] for one in found], digits)
            for metric, digits in (("delta_e", 3), ("psnr", 2), ("ssim", 4), ("seconds", 4))
        }
    mine = values(rows, OURS)
    duels = {}
    for name in ("untouched", *RIVALS):
        theirs = values(rows, name)
        low, high = paired_interval(mine, theirs)
        worst = [float(np.percentile(one, 95)) for one in (mine, theirs)]
        duels[name] = {
            "difference": round(float(np.mean(mine) - np.mean(theirs)), 3),
            "low": round(low, 3),
            "high": round(high, 3),
            "nearer": sum(a < b for a, b in zip(mine, theirs, strict=True)),
            "p95_difference": round(worst[0] - worst[1], 3),
        }
    return {"pairs": len(rows), "methods": methods, "duels": duels, "interval": interval(mine)}


def values(rows: list[dict[str, Any]], name: str) -> list[float]:
    """DeltaE of one method, in the order of ``rows``."""
    return [row["methods"][name]["delta_e"] for row in rows]


def page(result: dict[str, Any]) -> str:
    """The page as Markdown."""
    machine = result["hardware"]
    lines = [
        "# Looks of another scene",
        f"```\n{result['command']}\n```",
        f"Commit `{result['commit']}` (code and weights `{result['code']}`), {result['date']}, "
        f"seed {result['seed']}, {machine['processor']}, {machine['cores']} cores, torch {machine['torch']}.",
        "`pixward match PHOTO --like REFERENCE`. One hidden random setting of `chain:photo` is applied to two photos "
        "of bsds500/val, which no network has seen. A method is given the first untouched and the second as it came "
        "out, and is judged by how near it comes to the first as it would have come out: the truth, shown to nobody. "
        "The script says how pairs are drawn. deltaE is CIEDE2000, mean over pixels of 256 px pictures; its worst 5 % "
        "is the 95th percentile over pairs. Colour transfers paint freely; the others end in one slider setting. "
        "CMA-ES, random search and least squares minimise the fast look reward (sliced Wasserstein distance of OKLab "
        "colours, tone curve, local contrast); `policy` was trained on such pairs of other photos.",
    ]
    for radius, found in result["radii"].items():
        share = "half" if radius == "0.5" else "full"
        lines += [
            f"## Settings over the {share} range of every slider, {found['pairs']} pairs",
            table(found["methods"]),
            f"`{OURS}` less the others, deltaE, paired over pairs (negative is better for us):",
            duel_table(found["duels"], found["pairs"]),
        ]
    lines += [
        "## Twenty pairs",
        "Half range, on ten photos of another source that may be shown (photos/hires_cc0, CC0), each twice: photo, "
        "reference, Reinhard, histogram transfer, CMA-ES with 200 renders, the policy with 10, the truth. Under each "
        "result its deltaE to the truth. None was chosen.",
        "![Twenty pairs](looks.jpg)",
    ]
    return "\n\n".join(lines) + "\n"


def table(methods: dict[str, Any]) -> str:
    """One line for each method."""
    best = {
        (metric, key): (min if metric == "delta_e" else max)(one[metric][key] for one in methods.values())
        for metric, key in (("delta_e", "mean"), ("delta_e", "p95"), ("psnr", "mean"), ("ssim", "mean"))
    }

    def cell(one: Any, metric: str, key: str, digits: int) -> str:
        text = f"{one[metric][key]:.{digits}f}"
        return f"**{text}**" if one[metric][key] == best[metric, key] else text

    lines = [
        "| method | deltaE mean | 95 % interval | median | worst 5 % | PSNR mean, dB | SSIM | seconds, median |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, one in methods.items():
        error = one["delta_e"]
        lines.append(
            f"| {name} | {cell(one, 'delta_e', 'mean', 2)} | {error['low']:.2f} to {error['high']:.2f} "
            f"| {error['median']:.2f} | {cell(one, 'delta_e', 'p95', 2)} | {cell(one, 'psnr', 'mean', 2)} "
            f"| {cell(one, 'ssim', 'mean', 4)} | {one['seconds']['median']:.3f} |"
        )
    return "\n".join(lines)


def duel_table(duels: dict[str, Any], pairs: int) -> str:
    """Ours against each of the others."""
    lines = ["| less | mean | 95 % interval | nearer in | worst 5 % |", "|---|---:|---:|---:|---:|"]
    for name, one in duels.items():
        lines.append(
            f"| {name} | {one['difference']:+.2f} | {one['low']:+.2f} to {one['high']:+.2f} "
            f"| {one['nearer']} of {pairs} | {one['p95_difference']:+.2f} |"
        )
    return "\n".join(lines)


# --- pictures ---------------------------------------------------------------------------------------------------


def sheet(files: list[Path]) -> Image.Image:
    """Pairs of photos that may be shown, as a picture: photo, reference, four methods, truth."""
    columns = ("photo", "reference", "Reinhard", "histogram transfer", "CMA-ES 200", OURS, "truth")
    wide, tall, gap, line = 168, 126, 6, 16
    count = min(SHEET, 2 * len(files))
    canvas = Image.new("RGB", (len(columns) * (wide + gap) + gap, count * (tall + line + gap) + 28), (24, 24, 24))
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(columns):
        draw.text((gap + column * (wide + gap), 8), name, (232, 232, 232))
    for index in range(count):
        first = index % len(files)
        second = (first + 3 + 2 * (index // len(files))) % len(files)
        source, reference, truth = pair(files[first], files[second], index, 0.5)
        found = results(source, reference, index, columns)
        for column, name in enumerate(columns):
            shown = {"photo": source, "reference": reference, "truth": truth}.get(name)
            image = found[name][0] if shown is None else shown
            picture = Image.fromarray(from_tensor(image))
            picture.thumbnail((wide, tall))
            left, top = gap + column * (wide + gap), 28 + index * (tall + line + gap)
            canvas.paste(picture, (left + (wide - picture.width) // 2, top + (tall - picture.height) // 2))
            if shown is None:
                draw.text((left, top + tall + 2), f"{float(delta_e(image, truth)):.1f}", (160, 160, 160))
    return canvas


if __name__ == "__main__":
    main()
