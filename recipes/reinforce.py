"""Does reinforcement add to supervision? TD3 on the shipped policy of ``chain:paper``, measured on held-out photos.

    OMP_NUM_THREADS=1 python recipes/reinforce.py --shared ../shared/data --runs runs/td3 --out docs/results

1,000 updates of TD3 (PSNR gain as reward, ten steps, the actor anchored to where it starts), about 20 minutes on one
core; a stopped run goes on where it was. Then both policies are followed for ten renders on the first 50 photos of
bsds500/val, goals of radius 0.5 and 1. Writes ``reinforce.json``, for the page of training curves.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ablation import PHOTOS, held_out

from pixward.commands.training import EditTraining, train_edit
from pixward.editors.chain import PAPER
from pixward.files import save_text
from pixward.policies.goal import load_policy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with photos/ and coco/")
    parser.add_argument("--runs", type=Path, default=Path("runs/td3"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    shared = options.shared
    photos = (shared / "photos/bsds500/train", shared / "photos/bsds500/test", shared / "coco/images")
    job = EditTraining(photos, options.runs, PAPER, algorithm="td3", resume=(options.runs / "td3").exists())
    reinforced = load_policy(train_edit(job, print))
    rows = []
    for name, policy in (("supervised", load_policy(PAPER.name)), ("reinforced", reinforced)):
        for radius in (0.5, 1.0):
            curve = held_out(policy, shared, radius)
            psnr_at = {str(mark): round(float(curve[mark]), 2) for mark in (1, 5, 10)}
            rows.append({"policy": name, "radius": radius, "photos": PHOTOS, "psnr_at": psnr_at})
            print(rows[-1], flush=True)
    save_text(options.out / "reinforce.json", json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
