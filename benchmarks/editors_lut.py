"""How true a table of colours is to the editor, for sliders that act on single pixels; writes editors_lut.json.

    python benchmarks/editors_lut.py

20 random half-range settings of the pointwise sliders of each editor, one render of a 33-point cube each, applied to
eight photos of bsds500/val at 256 pixels, against the editor's own renders of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from pixward.bench.provenance import commit, hardware, today
from pixward.commands.editors import load_editor
from pixward.data.pairs import photo_files
from pixward.editors.external import ExternalEditor
from pixward.editors.lut import LutEditor
from pixward.files import save_text
from pixward.image import load, preview
from pixward.ops.lut import lookup

PHOTOS = Path("../shared/data/photos/bsds500/val")
SPATIAL = {"darktable": ("shadows", "highlights", "clarity"), "rawtherapee": ("contrast", "clarity")}


def measure(name: str, settings: int, seed: int) -> dict[str, object]:
    """Errors of one editor, in 255ths."""
    generator = torch.Generator().manual_seed(seed)
    with ExternalEditor(load_editor(name).program) as editor:
        space, tables = editor.space, LutEditor(editor, SPATIAL[name])
        wide = [preview(load(path)) for path in photo_files([PHOTOS])]
        photos = torch.cat([photo for photo in wide if photo.shape[2] < photo.shape[3]][:8])
        free = [place for place, spec in enumerate(space) if spec.name not in SPATIAL[name]]
        errors = []
        for _ in range(settings):
            action = space.default_action()
            action[0, free] = (action[0, free] + torch.rand(len(free), generator=generator) - 0.5).clamp(-1, 1)
            row = space.denormalize(action)
            truth = editor(photos, row)
            errors.append((lookup(photos, tables.table(row)[None]) - truth).abs() * 255)
        flat = torch.cat([error.mean(1).flatten() for error in errors])
        by_setting = [float(error.mean()) for error in errors]
    return {
        "editor": name,
        "left alone": ", ".join(SPATIAL[name]),
        "settings": settings,
        "mean error, /255": round(sum(by_setting) / len(by_setting), 3),
        "worst setting": round(max(by_setting), 3),
        "99th percentile of pixels": round(float(flat.kthvalue(round(0.99 * len(flat))).values), 2),
        "settings within 0.5": sum(error <= 0.5 for error in by_setting),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs/results/editors_lut.json"))
    job = parser.parse_args()
    answer = {
        "command": "python benchmarks/editors_lut.py",
        "commit": commit(),
        "date": today(),
        "hardware": hardware(),
        "seed": 0,
        "rows": [measure(name, job.settings, 0) for name in SPATIAL],
        "notes": [
            "`LutEditor` renders a table and one of the photos for each setting, and falls back to true renders where "
            "the two differ by more than 0.5/255 in the mean. A search on one photo gains nothing by it, since a table "
            "costs as much as a preview; it serves batches with one setting."
        ],
    }
    save_text(job.out, json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
