"""docs/results/editors_pictures.json and editors_raw.json from the lines that their benchmarks left.

    python benchmarks/editors_figures.py runs/editors/pictures.jsonl runs/editors/raw2.jsonl

Every figure is a mean over photos, with the 5th percentile (or the worst) beside it. A search that failed would leave
no line: the number of photos stands beside every promise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixward.bench.provenance import today
from pixward.files import save_text

Row = dict[str, Any]
METHODS = ("random", "cmaes", "least-squares", "hybrid, map only", "hybrid")
LEAD, LATE = 30, 200
PLACE = Path("docs/results")


def read(path: Path) -> list[Row]:
    """The lines of a benchmark."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def mean(values: Iterable[float], digits: int = 2) -> float:
    return round(float(np.mean(list(values))), digits)


def low(values: Iterable[float], digits: int = 2) -> float:
    return round(float(np.percentile(list(values), 5)), digits)


def pictures(lines: Sequence[Row]) -> Row:
    """Tables of the searches on pictures: one for each editor, and what was found beside what is true."""
    editors = sorted({line["editor"] for line in lines})
    answer: Row = {"promises": [promise(lines, editor) for editor in editors]}
    for editor in editors:
        mine = [line for line in lines if line["editor"] == editor]
        answer[f"{editor}, mean PSNR after so many renders"] = curves(mine, mean)
        answer[f"{editor}, 5th percentile"] = curves(mine, low)
        answer[f"{editor}, at 30 renders and at the end"] = ends(mine)
        answer[f"{editor}, the settings found beside the true ones"] = sliders(mine)
    answer["a fresh process of the editor against the one that stays open"] = [
        {
            "editor": editor,
            "photos": len(values),
            "lowest PSNR": min(values),
            "at 45 dB or more": sum(value >= 45 for value in values),
        }
        for editor in editors
        if (values := [line["fresh"] for line in lines if line["editor"] == editor and "fresh" in line])
    ]
    return answer


def promise(lines: Sequence[Row], editor: str) -> Row:
    """`hybrid` after 30 renders less CMA-ES after 200, paired over photos, with a bootstrap interval."""
    by_photo: dict[str, dict[str, Row]] = {}
    for line in lines:
        if line["editor"] == editor:
            by_photo.setdefault(line["photo"], {})[line["method"]] = line
    pairs = [found for found in by_photo.values() if {"hybrid", "cmaes"} <= set(found)]
    leads = np.array([found["hybrid"]["psnr"][str(LEAD)] - found["cmaes"]["psnr"][str(LATE)] for found in pairs])
    rng = np.random.default_rng(0)
    draws = rng.choice(leads, (4000, len(leads))).mean(1)
    return {
        "editor": editor,
        "asked": "hybrid after 30 renders 5 dB or more above CMA-ES after 200",
        "photos": len(leads),
        "lead, dB": round(float(leads.mean()), 2),
        "95 % interval": [round(float(value), 2) for value in np.percentile(draws, (2.5, 97.5))],
        "least": round(float(leads.min()), 2),
        "photos ahead": int((leads > 0).sum()),
        "met": bool(leads.mean() >= 5),
    }


def curves(lines: Sequence[Row], over: Callable[[Iterable[float]], float]) -> list[Row]:
    rows = [{"method": "identity", "0": over(unique(lines, "psnr"))}]
    for method in METHODS:
        mine = [line for line in lines if line["method"] == method]
        if mine:
            checks = list(mine[0]["psnr"])
            rows.append({"method": method, **{k: over(line["psnr"][k] for line in mine) for k in checks}})
    return rows


def unique(lines: Sequence[Row], figure: str) -> list[float]:
    """The untouched photos' figure, each photo once."""
    return list({line["photo"]: line["identity"][figure] for line in lines}.values())


def ends(lines: Sequence[Row]) -> list[Row]:
    rows = []
    for method in METHODS:
        mine = [line for line in lines if line["method"] == method]
        if not mine:
            continue
        rows.append(
            {
                "method": method,
                "photos": len(mine),
                "deltaE, 30": mean((line["at_30"]["delta_e"] for line in mine), 3),
                "SSIM, 30": mean((line["at_30"]["ssim"] for line in mine), 4),
                "PSNR, end": mean(line["end"]["psnr"] for line in mine),
                "deltaE, end": mean((line["end"]["delta_e"] for line in mine), 3),
                "renders": mean((line["renders"] for line in mine), 1),
                "seconds": mean(line["seconds"] for line in mine),
            }
        )
    return [
        {
            "method": "identity",
            "photos": len(unique(lines, "psnr")),
            "deltaE, 30": mean(unique(lines, "delta_e"), 3),
            "SSIM, 30": mean(unique(lines, "ssim"), 4),
            "PSNR, end": mean(unique(lines, "psnr")),
            "deltaE, end": mean(unique(lines, "delta_e"), 3),
            "renders": 0.0,
            "seconds": 0.0,
        },
        *rows,
    ]


def sliders(lines: Sequence[Row]) -> list[Row]:
    """How far the sliders that hybrid and CMA-ES found are from the true ones, and those of three photos."""
    found = {method: [line for line in lines if line["method"] == method] for method in ("hybrid", "cmaes")}
    names = list(lines[0]["true"])
    shown = found["hybrid"][:3]
    rows = []
    for place, name in enumerate(names):
        row: Row = {"slider": name}
        for method, mine in found.items():
            off = [abs(line["action"][place] - line["true_action"][place]) / 2 for line in mine]
            row[f"{method}, % of the range off (median)"] = round(100 * float(np.median(off)), 2)
        for line in shown:
            row[f"{line['photo']}: found (true)"] = f"{line['found'][name]:.3g} ({line['true'][name]:.3g})"
        rows.append(row)
    return rows


def raw(lines: Sequence[Row]) -> Row:
    """Tables of the raw files: one for each editor, and each photo."""
    answer: Row = {"promises": [], "means over the raw files": []}
    for editor in sorted({line["editor"] for line in lines}):
        mine = sorted((line for line in lines if line["editor"] == editor), key=lambda line: line["photo"])
        better = sum(line["match"]["full"]["psnr"] > line["default"]["full"]["psnr"] for line in mine)
        nearer = sum(line["match"]["full"]["delta_e"] < line["default"]["full"]["delta_e"] for line in mine)
        hands = [line["match"]["by_hand"]["psnr"] for line in mine]
        answer["promises"].append(
            {
                "editor": editor,
                "raw files": len(mine),
                "better than the default by PSNR": better,
                "by deltaE": nearer,
                "on every one": better == len(mine) and nearer == len(mine),
                "sidecar opened by hand, lowest PSNR": round(min(hands), 2),
                "45 dB or more": min(hands) >= 45,
            }
        )
        for label, words in (("default", "the editor's own default"), ("match", "match"), ("oracle", "oracle")):
            rows = [line[label] for line in mine]
            means: Row = {
                "editor": editor,
                "what": words,
                "PSNR": mean(row["full"]["psnr"] for row in rows),
                "PSNR, 5th percentile": low(row["full"]["psnr"] for row in rows),
                "SSIM": mean((row["full"]["ssim"] for row in rows), 3),
                "deltaE": mean(row["full"]["delta_e"] for row in rows),
            }
            if label != "default":
                means["renders"] = mean((row["renders"] for row in rows), 1)
                means["seconds of search"] = mean((row["seconds"] for row in rows), 1)
                means["preview against full size, PSNR"] = mean((row["agreement"] for row in rows), 1)
            answer["means over the raw files"].append(means)
        answer[f"{editor}, each raw file: PSNR (deltaE)"] = [
            {"raw file": line["photo"]}
            | {
                label: f"{line[label]['full']['psnr']:.2f} ({line[label]['full']['delta_e']:.2f})"
                for label in ("default", "match", "oracle")
            }
            | {"compared": line["compared"], "by hand, dB": round(line["match"]["by_hand"]["psnr"], 1)}
            for line in mine
        ]
    return answer


NOTES = {
    "pictures": [
        "Goals are half-range: people move a few sliders part of the way. Identity is the untouched photo.",
        "`hybrid, map only` knows of this editor no more than a calibrated map of its sliders, through which it uses "
        "the policy and the filters of `chain:photo`; `least-squares` starts cold. No policy was trained on a real "
        "editor: `hybrid` uses the mapped one, and a response of the editor's own.",
        "Each search had one process of the editor to itself, and one of two cores; two ran side by side, and other "
        "work was done on the machine, so that seconds are upper bounds. Sliders that do nearly the same (chroma, "
        "saturation, vibrance) can be found elsewhere than they were and still give the same picture.",
        "Fresh process: the setting that hybrid found, written as a sidecar, rendered by a darktable-cli or "
        "rawtherapee-cli of its own from the same preview.",
    ],
    "raw": [
        "The cameras are made up; no file of a real camera is here. No network has seen any raw file: those that "
        "search were trained on pictures, and darktable's two sliders of the tone curve are measured by finite "
        "differences.",
        "The oracle is the same search with 300 renders: what these sliders can do, not what could be done.",
        "Searched at the commit above while other work was done on the machine, so that seconds are upper bounds; the "
        "full-size renders were made and compared once more with `--again` afterwards, each with the JPEG laid over it "
        "for itself (before, all three had shared one alignment; no mean PSNR moved by more than 0.02 dB).",
        "By hand: `darktable-cli PHOTO SIDECAR OUT` or `rawtherapee-cli -p SIDECAR -c PHOTO` typed as a person would, "
        "against the picture that match rendered.",
    ],
}
FIGURES = "python benchmarks/editors_figures.py runs/editors/pictures.jsonl runs/editors/raw2.jsonl"
COMMANDS = {
    "pictures": [
        "python benchmarks/editors_pictures.py --editor darktable --out runs/editors/pictures.jsonl",
        "python benchmarks/editors_pictures.py --editor rawtherapee --out runs/editors/pictures.jsonl",
    ],
    "raw": [
        "python benchmarks/editors_raw.py --editor darktable --out runs/editors/raw.jsonl",
        "python benchmarks/editors_raw.py --editor rawtherapee --out runs/editors/raw.jsonl",
        "python benchmarks/editors_raw.py --editor EDITOR --again runs/editors/raw.jsonl --out runs/editors/raw2.jsonl",
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("raw", type=Path)
    job = parser.parse_args()
    for part, make, path in (("pictures", pictures, job.pictures), ("raw", raw, job.raw)):
        if not path.exists():
            continue
        lines = read(path)
        about = {
            "command": [
                *COMMANDS[part],
                "python benchmarks/editors_figures.py runs/editors/pictures.jsonl runs/editors/raw2.jsonl",
            ],
            "commit": ", ".join(sorted({line["commit"] for line in lines})),
            "date": today(),
            "hardware": lines[0]["hardware"],
            "versions": {line["editor"]: line["version"] for line in lines},
            "seed": 0,
            "notes": NOTES[part],
        }
        save_text(PLACE / f"editors_{part}.json", json.dumps({**about, **make(lines)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
