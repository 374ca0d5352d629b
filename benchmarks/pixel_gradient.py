"""What the learning of system 4 is worth: the all-action gradient beside the sampled one, and the reward kernels.

    python recipes/pixel_denoiser.py --data ../shared/data --out runs/short --updates 1000
    python benchmarks/pixel_gradient.py --data ../shared/data --start runs/short/denoiser.safetensors --out docs/results

Every run starts from the same supervised network, trained for less than two minutes (the paper starts from a trained
denoiser too), learns to denoise at sigma 25, and gets the same processor seconds on one thread. Every 10 seconds all
pixels take their best action on the middles of 16 photos of BSDS500's val part that are not in BSD68. Started again, it
goes on where it was stopped. Writes pixel_gradient.json and pixel_gradient.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from pixward.bench.provenance import commit, hardware, today
from pixward.data.crops import Crops
from pixward.envs.pixel import denoising
from pixward.files import save_text
from pixward.pixel.tasks import noise_tasks
from pixward.policies.pixel import PixelPolicy, PixelSettings
from pixward.run import seed_everything
from pixward.train.a2c import A2CSettings, RewardKernel, episode_loss

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "recipes"))
from pixel import judge, middle, photos, start

SIGMA = 25.0
EVERY = 10.0
"""Processor seconds between two points of a curve."""
LEARN, TUNE = (False, 5e-4, 0.02), (True, 1e-4, 0.0)
"""Foresight, learning rate and weight of the entropy: a policy that must learn what to choose, beginning with a random
choice; and one whose foresight chooses well from the start."""
CASES = {  # name: (gradient, kernel, which)
    "learning, all actions": ("all", "identity", LEARN),
    "learning, sampled": ("sampled", "identity", LEARN),
    "tuning, all actions": ("all", "identity", TUNE),
    "tuning, sampled": ("sampled", "identity", TUNE),
    "learning, sampled, kernel zero": ("sampled", "zero", LEARN),
    "learning, sampled, kernel gaussian": ("sampled", "gaussian", LEARN),
    "learning, sampled, kernel learned": ("sampled", "learned", LEARN),
    "learning, all actions, kernel zero": ("all", "zero", LEARN),
    "learning, all actions, kernel learned": ("all", "learned", LEARN),
}


def curve(case: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run: PSNR over processor seconds of learning."""
    gradient, kind, (foresight, rate, entropy) = CASES[case]
    data, seconds = args.data, args.seconds
    seed_everything(seed)
    policy = PixelPolicy(PixelSettings(design="half", foresight=foresight, condition=1)).to(
        memory_format=torch.channels_last
    )
    start(policy, args.start)
    kernel = RewardKernel(kind)
    training, held_out = photos(data)
    tasks = noise_tasks(Crops(training, 48), (SIGMA, SIGMA), condition=True)
    score = judge("noise", middle(held_out), (SIGMA,))
    plan = A2CSettings(gradient=gradient, kernel=kind, entropy=entropy)
    optimizer = torch.optim.Adam([*policy.parameters(), *kernel.parameters()], rate)
    spent, updates = 0.0, 0
    points: list[list[float]] = [[0.0, score(policy)[f"psnr_{SIGMA:g}"]]]
    while spent < seconds:
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = episode_loss(denoising(), policy, kernel, tasks(8), plan)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*policy.parameters(), *kernel.parameters()], plan.clip)
        optimizer.step()
        updates += 1
        spent += time.process_time() - began
        if spent >= EVERY * len(points):
            points.append([round(spent, 1), score(policy)[f"psnr_{SIGMA:g}"]])
    centre = float(kernel.weight.detach()[0, 0, 16, 16])
    return {"case": case, "seed": seed, "updates": updates, "centre": round(centre, 3), "points": points}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--start", type=Path, default=Path("runs/short/denoiser.safetensors"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES), help="names with ; between them, as in CASES")
    parser.add_argument("--kept", type=Path, default=Path("runs/pixel_gradient.jsonl"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.kept.parent.mkdir(parents=True, exist_ok=True)
    kept = [json.loads(line) for line in args.kept.read_text().splitlines()] if args.kept.exists() else []
    known = {(run["case"], run["seed"]) for run in kept}
    wanted = CASES if args.cases == ",".join(CASES) else args.cases.split(";")
    for seed in range(args.seeds):
        for case in wanted:
            if (case, seed) in known:
                continue
            run = curve(case, seed, args)
            kept.append(run)
            with args.kept.open("a") as file:
                file.write(json.dumps(run) + "\n")
            print(case, seed, run["updates"], run["points"][-1], flush=True)
    write(kept, args)


def write(kept: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """The JSON that the page is made of, and the curves."""
    rows = []
    for case in CASES:
        runs = [run for run in kept if run["case"] == case]
        if not runs:
            continue
        last = [run["points"][-1][1] for run in runs]
        row = {
            "case": case,
            "seeds": len(runs),
            "updates": round(statistics.fmean(run["updates"] for run in runs)),
            "psnr": round(statistics.fmean(last), 2),
            "least": min(last),
            "most": max(last),
        }
        for at in (0, 20, 40, 60, 90, 120):
            if at <= args.seconds:
                row[f"psnr_{at}s"] = round(statistics.fmean(run["points"][at // 10][1] for run in runs), 2)
        if case.endswith("learned"):
            row["centre"] = [run["centre"] for run in runs]
        rows.append(row)
    content = {
        "command": "python benchmarks/pixel_gradient.py --data ../shared/data --start runs/short/denoiser.safetensors "
        f"--seconds {args.seconds:g} --seeds {args.seeds}",
        "commit": commit(),
        "date": today(),
        "hardware": hardware(),
        "seed": list(range(args.seeds)),
        "rows": rows,
        "notes": [
            "*learning*: a policy that sees nothing of what its actions would do, and begins with a random choice. "
            "*tuning*: one with foresight, which chooses well from the start; entropy 0.",
            "Both begin with the same supervised encoder. Every run has the same processor seconds; `least` and `most` "
            "are over the seeds. The kernels were compared with one seed only.",
        ],
        "curves": {f"{run['case']}, seed {run['seed']}": run["points"] for run in kept},
    }
    save_text(args.out / "pixel_gradient.json", json.dumps(content, indent=1) + "\n")
    draw(kept, args.out / "pixel_gradient.png")


def draw(kept: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, constrained_layout=True)
    groups = (
        [case for case in CASES if "kernel" not in case],
        [case for case in CASES if case.startswith("learning, sampled")],
    )
    for axis, cases, title in zip(axes, groups, ("gradients", "reward kernels"), strict=True):
        for case in cases:
            runs = [run for run in kept if run["case"] == case]
            if not runs:
                continue
            count = min(len(run["points"]) for run in runs)
            seconds = [point[0] for point in runs[0]["points"][:count]]
            levels = [[run["points"][k][1] for run in runs] for k in range(count)]
            (line,) = axis.plot(seconds, [statistics.fmean(level) for level in levels], label=case)
            least, most = ([pick(level) for level in levels] for pick in (min, max))
            axis.fill_between(seconds, least, most, alpha=0.15, color=line.get_color())
        axis.set(title=f"{title}, sigma 25", xlabel="processor seconds of learning", ylabel="PSNR, dB")
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
