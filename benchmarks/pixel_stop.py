r"""What a stop action saves: PSNR, and how many steps a pixel takes before it is done.

    python recipes/pixel.py noise --start src/pixward/weights/noise.pixel.safetensors --out runs/noise-stop \
        --actions restore+stop --price 0.002 --batch 8 --updates 300 --rate 1e-4 --entropy 0
    python benchmarks/pixel_stop.py

BSD68, the noise of benchmarks/pixel_denoise.py at sigma 25. About two minutes on one core. Writes pixel_stop.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from denoisers import images_of, pair

from pixward.bench.provenance import commit, hardware, today
from pixward.files import save_text
from pixward.ops.pixel import STOP
from pixward.pixel.run import improve
from pixward.policies.pixel import PixelPolicy, load_pixel_policy
from pixward.policies.pixel_half import noise_plane

SIGMA = 25


def measured(name: str, policy: PixelPolicy, args: argparse.Namespace, steps: int) -> dict[str, Any]:
    """One row: means over the images."""
    scores, lengths, done, seconds = [], [], [], []
    for index, path in enumerate(images_of(args.data)):
        clean, noisy = pair(path, index, args.seed, SIGMA)
        began = time.process_time()
        trace = improve(policy, noisy, steps, condition=noise_plane(SIGMA, noisy))
        seconds.append(time.process_time() - began)
        scores.append(trace.psnr(clean)[-1])
        idle = {policy.actions.index(word) for word in (STOP,) if word in policy.actions.names}
        acting = torch.stack([(chosen != next(iter(idle), -1)).float() for chosen in trace.maps])
        lengths.append(float(acting.sum(0).mean()))
        done.append([float(1 - step.mean()) for step in acting])
    return {
        "policy": name,
        "most steps": steps,
        "psnr": round(statistics.fmean(scores), 3),
        "steps a pixel takes": round(statistics.fmean(lengths), 2),
        "share stopped in step 1, 2, ...": [round(statistics.fmean(step), 2) for step in zip(*done, strict=True)],
        "cpu_s": round(statistics.fmean(seconds), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--stop", type=Path, default=Path("runs/noise-stop/policy.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    usual, stopping = load_pixel_policy("noise"), load_pixel_policy(args.stop)
    rows = [measured("noise", usual, args, steps) for steps in (1, 2, 3, 5)]
    rows += [measured("with a stop action", stopping, args, steps) for steps in (5, 8)]
    content = {
        "command": "python benchmarks/pixel_stop.py",
        "commit": commit(),
        "date": today(),
        "hardware": hardware(),
        "seed": args.seed,
        "rows": rows,
        "notes": [
            f"BSD68 at sigma {SIGMA}, told so. A step that a pixel takes costs it 0.002 of reward, about as much as "
            "one grey level of 255 gains; a pixel that has stopped does nothing more; the episode ends when all have.",
            "In this measurement no pixel ever stopped: 300 updates were too few, or the price too low, to teach it.",
            "The network looks at the whole picture as long as any pixel acts, so stopping saves what pixels do, not "
            "processor time.",
        ],
    }
    save_text(args.out / "pixel_stop.json", json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
