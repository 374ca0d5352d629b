"""The policy for looks that ships for `chain:photo`: supervised on hidden settings, and what reinforcing it does.

    OMP_NUM_THREADS=1 python recipes/looks.py --shared ../shared/data --runs runs/looks

Photos: bsds500 train and test, coco images (628 photos; every twelfth only watches; bsds500/val is never read). 3,000
updates of 64 pairs, about 25 minutes on one core of a 2-core machine without a GPU; a stopped run goes on where it was.
``look/log.jsonl`` in the run's folder has the curve; copy ``look.safetensors`` to ``src/pixward/weights/`` as
``chain-photo.look.safetensors`` to ship it. On the photos that only watch the mean distance in OKLab (times 100) to the
truth ended at 6.7 of 10.6. The weights that ship were trained by these very pieces in three parts, begun with a longer
schedule (6,000 updates, from update 1,500 on 4,000, from 2,250 on 3,000), and were not trained again from the start.

``--reinforce`` then tunes the policy by TD3 on the fast look reward, which sees no truth, for 500 steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pixward.commands.training import EditTraining, train_edit
from pixward.editors.chain import PHOTO


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with photos/ and coco/")
    parser.add_argument("--runs", type=Path, default=Path("runs/looks"))
    parser.add_argument("--reinforce", action="store_true", help="then TD3 on the look reward")
    options = parser.parse_args()
    shared = options.shared
    photos = (shared / "photos/bsds500/train", shared / "photos/bsds500/test", shared / "coco/images")
    for algorithm in ("look", "look-td3") if options.reinforce else ("look",):
        resume = (options.runs / algorithm).exists()
        print(
            train_edit(EditTraining(photos, options.runs, PHOTO, algorithm=algorithm, resume=resume), print), flush=True
        )


if __name__ == "__main__":
    main()
