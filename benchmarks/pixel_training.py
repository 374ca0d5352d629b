"""How the weights of system 4 came about: updates, processor minutes and the curve of each run.

    python benchmarks/pixel_training.py --runs runs

Reads the logs that the recipes leave in their run folders; nothing is computed again. Writes pixel_training.json and
pixel_training.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pixward.bench.provenance import commit, hardware, today
from pixward.files import save_text
from pixward.run import read_log

DENOISER = "python recipes/pixel_denoiser.py --out runs/"
POLICY = "python recipes/pixel.py"
TUNED = "--entropy 0 --out runs/"
RUNS = {  # folder: (what it is, command, what its curve shows)
    "denoiser": ("guess: noise", f"{DENOISER}denoiser --updates 12000", "psnr"),
    "noise": (
        "policy: noise",
        f"{POLICY} noise --start runs/denoiser/denoiser.safetensors --updates 400 --rate 1e-4 --kernel zero "
        f"{TUNED}noise",
        "psnr_25",
    ),
    "noise-25": (
        "policy: noise-25 (does not ship)",
        f"{POLICY} noise --start runs/denoiser/denoiser.safetensors --sigma 25 25 --forgets --batch 8 --updates 500 "
        f"--rate 1e-4 {TUNED}noise-25",
        "psnr_25",
    ),
    "noise-denoiser": (
        "policy: noise-denoiser",
        f"{POLICY} noise --start runs/noise/policy.safetensors --actions restore+denoiser --hold-guess --horizon 2 "
        f"--updates 25 --rate 3e-5 --kernel zero {TUNED}noise-denoiser",
        "psnr_25",
    ),
    "noise-stop": (
        "policy: with a stop (does not ship)",
        f"{POLICY} noise --start runs/noise/policy.safetensors --actions restore+stop --price 0.002 --batch 8 "
        f"--updates 300 --rate 1e-4 {TUNED}noise-stop",
        "psnr_25",
    ),
    "text-guess": ("guess: text", f"{DENOISER}text-guess --damage text --updates 4500", "psnr"),
    "text": (
        "policy: text",
        f"{POLICY} text --start runs/text-guess/denoiser.safetensors --horizon 15 --batch 8 --updates 150 "
        f"--rate 5e-5 {TUNED}text",
        "psnr_text",
    ),
    "salt-pepper-first": (
        "guess: salt and pepper, first part",
        f"{DENOISER}salt-pepper-first --damage salt-pepper --start runs/text-guess/denoiser.safetensors --updates 3500",
        "psnr",
    ),
    "salt-pepper-guess": (
        "guess: salt and pepper, second part",
        f"{DENOISER}salt-pepper-guess --damage salt-pepper --start runs/salt-pepper-first/denoiser.safetensors "
        "--updates 6000",
        "psnr",
    ),
    "salt-pepper": (
        "policy: salt-pepper",
        f"{POLICY} salt-pepper --start runs/salt-pepper-guess/denoiser.safetensors --horizon 10 --batch 8 "
        f"--updates 100 --rate 5e-5 {TUNED}salt-pepper",
        "psnr_0.5",
    ),
}


def row(folder: Path, what: str, command: str, shown: str) -> tuple[dict[str, Any], list[list[float]]]:
    """A row of the table, and the curve: processor minutes and PSNR."""
    log = [line for line in read_log(folder / "log.jsonl") if line.get(shown, 0) < 100]
    curve = [[round(line["cpu_seconds"] / 60, 2), round(line[shown], 2)] for line in log]
    spread = [curve[round(k * (len(curve) - 1) / 4)] for k in range(5)]
    entry = {
        "run": what,
        "updates": log[-1]["step"],
        "processor minutes": round(log[-1]["cpu_seconds"] / 60, 1),
        "curve (minute: dB)": ", ".join(f"{minute:.1f}: {level:.2f}" for minute, level in spread),
        "command": f"`{command}`",
    }
    return entry, curve


def draw(curves: dict[str, list[list[float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 4), constrained_layout=True)
    for what, curve in curves.items():
        if what.startswith("guess"):
            axis.plot(*zip(*curve, strict=True), label=what)
    axis.set(xlabel="processor minutes", ylabel="PSNR on the batches, dB", title="supervised guesses")
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    rows, curves = [], {}
    for folder, (what, command, shown) in RUNS.items():
        if (args.runs / folder / "log.jsonl").exists():
            entry, curves[what] = row(args.runs / folder, what, command, shown)
            rows.append(entry)
    content = {
        "command": "python benchmarks/pixel_training.py --runs runs",
        "commit": commit(),
        "date": today(),
        "hardware": hardware(),
        "seed": 0,
        "rows": rows,
        "notes": [
            "A guess is trained with supervision on photos of BSDS500's train and test parts, and its curve is the "
            "mean over fresh training batches of all strengths of damage. A policy begins with the guess and is tuned "
            "by "
            "the all-action gradient; its curve is on the middles of 16 photos of val that are not in BSD68.",
            "The tuning hardly moves the figures: what a policy with foresight can reach is what it guesses. "
            "pixel_gradient.py measures learning where there is more to learn.",
            "An earlier guess with ten plain layers in place of the residual blocks took 31 minutes (9,500 updates) to "
            "27.21 dB at sigma 25 on those photos; with residual blocks 100 seconds gave 27.17 dB. Both were measured "
            "while this network was chosen; the plain one is in the history of src/pixward/policies/pixel_half.py.",
            "noise-denoiser: 25 updates only. Longer runs (200 and 250 updates, rates 3e-5 and 2e-4) ended 0.005 to "
            "0.01 dB "
            "below the denoiser on those photos: there is nothing left for the other actions to gain after it.",
            "The first part for salt and pepper gave every item of a batch the same weight; its commit is before the "
            "weights of pixward.pixel.tasks.salt_pepper_tasks.",
            "The runs shared two cores with others, so minutes are of the processor. Batches differ in their strength "
            "of damage from line to line, which is why the curves of guesses are not smooth.",
        ],
        "curves": curves,
    }
    save_text(args.out / "pixel_training.json", json.dumps(content, indent=1) + "\n")
    draw(curves, args.out / "pixel_training.png")


if __name__ == "__main__":
    main()
