"""The networks that ship for `chain:paper` and `chain:photo`: a response and a policy each.

    OMP_NUM_THREADS=1 python recipes/train_edit.py --shared ../shared/data --runs runs/edit

Photos: bsds500 train and test, coco images (656 photos; bsds500/val is never read). Four runs, each about 30 minutes
on one core of a 2-core machine without a GPU; a stopped run goes on where it was. docs/results/training.md has the
curves. Copy the results to ``src/pixward/weights/`` as ``chain-paper.policy.safetensors`` and so on to ship them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pixward.commands.training import EditTraining, train_edit
from pixward.editors.chain import PAPER, PHOTO


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with photos/ and coco/")
    parser.add_argument("--runs", type=Path, default=Path("runs/edit"))
    options = parser.parse_args()
    shared = options.shared
    photos = (shared / "photos/bsds500/train", shared / "photos/bsds500/test", shared / "coco/images")
    for editor in (PAPER, PHOTO):
        for algorithm in ("response", "pretrain"):
            folder = options.runs / editor.name.replace(":", "-")
            resume = (folder / algorithm).exists()
            job = EditTraining(photos, folder, editor, algorithm=algorithm, resume=resume)
            print(editor.name, algorithm, train_edit(job, print), flush=True)


if __name__ == "__main__":
    main()
