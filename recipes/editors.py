"""The networks of darktable and RawTherapee that ship: a map to ``chain:photo`` and a response of each.

    python recipes/editors.py --photos PHOTOS... --out runs/editors --editor darktable
    python recipes/editors.py --photos PHOTOS... --out runs/editors --editor rawtherapee

Renders are made once (12,800 in darktable, 11,200 in RawTherapee: pairs of nearby settings of 400 photos, bsds500's
train and test, on previews of 256 pixels) and kept in RUN/renders. On two busy cores darktable needed 20 minutes for
them and RawTherapee 8; the map takes 2 minutes of one core and the response 8. Root mean square errors on 20 files of
renders that no network saw, of values and of slopes (slopes: 0.52 in darktable, 0.48 in RawTherapee):

    darktable     map 0.040, 0.18    response 0.024, 0.109
    rawtherapee   map 0.053, 0.23    response 0.034, 0.168

The shipped ones were fitted by this code on the renders but for those 20 files: 3,000 steps for a map, 5,500
(darktable) and 5,000 steps for a response, seed 0; the renders were gathered in another order of the photos than here.
darktable's response ran 4,000 of its steps on the schedule of 8,000.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pixward.commands.editors import load_editor
from pixward.commands.training import EditTraining, train_edit
from pixward.editors.external import ExternalEditor

RENDERS = {"darktable": 12_800, "rawtherapee": 11_200}
STEPS = {"map": 3_000, "response": 5_000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--editor", choices=tuple(RENDERS), required=True)
    options = parser.parse_args()
    editor = load_editor(options.editor)
    assert isinstance(editor, ExternalEditor)
    with editor:
        for algorithm, steps in STEPS.items():
            job = EditTraining(
                photos=tuple(options.photos),
                out=options.out / options.editor,
                editor=editor,
                algorithm=algorithm,
                steps=steps,
                resume=(options.out / options.editor / algorithm).exists(),
                renders=RENDERS[options.editor],
            )
            print(train_edit(job, print))


if __name__ == "__main__":
    main()
