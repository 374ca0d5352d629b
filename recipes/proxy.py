"""The proxies that ship for `chain:paper` and `chain:photo`: a monolithic and a cascaded one each.

    OMP_NUM_THREADS=1 python recipes/proxy.py --shared ../shared/data --runs runs/proxy

Photos: bsds500 train and test, coco images: 656, of each 12 tiles of 48 px; bsds500/val is never read. Every update
draws 32 tiles and a new setting for each of them (`data/pairs.py`: all radii up to the whole range), renders, and takes
a square of 32 px. Processor time of one core of a 2-core machine without a GPU, by what an update takes there; the
machine was so busy that the runs lasted an hour and a half:

    chain:paper  monolithic  6,000 updates                                      192,000 renders  11 minutes
    chain:paper  cascaded    6,440 of single filters, 1,610 of all together     257,600 samples   8 minutes
    chain:photo  monolithic  4,000 updates                                      128,000 renders   6 minutes
    chain:photo  cascaded    4,140 of single filters, 1,035 of all together     165,600 samples   6 minutes

RLPixTuner trained its proxies on 1,000 raw files with 100 samples for every hyper-parameter, Adam at 1e-4, batches of
512, 100 epochs. For nine sliders that would be 900,000 samples if each slider of each file had its 100, 90 million
presentations of them, some 175,000 updates: not to be had on two cores. Here every sample is new and seen once, with
Adam at 2e-3 on a half cosine, which is what a small budget wants. Its UNet's width is not told; ours has 120,000
parameters, the cascade 25,000.

The shipped files were trained in pieces, resumed with more updates as the machine had time (2,500, 4,000, 6,000 for the
first), which starts the cosine anew where it would then stand; a run in one piece ends near them, not at them. Copy the
results to ``src/pixward/weights/`` as ``chain-paper.monolithic.safetensors`` and so on to ship them.
docs/results/proxies.md has what they are worth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pixward.commands.training import EditTraining, train_edit
from pixward.editors.chain import PAPER, PHOTO
from pixward.policies.proxy import KINDS

STEPS = {
    ("chain:paper", "monolithic"): 6_000,
    ("chain:paper", "cascaded"): 8_050,
    ("chain:photo", "monolithic"): 4_000,
    ("chain:photo", "cascaded"): 5_175,
}
"""Updates of each run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with photos/ and coco/")
    parser.add_argument("--runs", type=Path, default=Path("runs/proxy"))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="so that two processes can share them")
    options = parser.parse_args()
    shared = options.shared
    photos = (shared / "photos/bsds500/train", shared / "photos/bsds500/test", shared / "coco/images")
    for editor in (PAPER, PHOTO):
        for kind in options.kinds:
            folder = options.runs / editor.name.replace(":", "-")
            resume, steps = (folder / kind).exists(), STEPS[editor.name, kind]
            job = EditTraining(photos, folder, editor, algorithm=kind, steps=steps, resume=resume)
            print(editor.name, kind, train_edit(job, print), flush=True)


if __name__ == "__main__":
    main()
