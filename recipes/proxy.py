"""The proxies that ship for `chain:paper` and `chain:photo`: a monolithic and a cascaded one each.

OMP_NUM_THREADS=1 python recipes/proxy.py --shared ../shared/data --runs runs/proxy
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
