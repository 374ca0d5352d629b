"""docs/results/predict.md from what the benchmarks of system 2 left beside it.

    python benchmarks/predict_page.py

Reads predict_PART.json for each of :data:`PARTS`, in that order; a part that was not measured has no section. The
curves in predict_PART.png are shown in their part.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixel_page import cell, label, notes, origin, sections, table, tables

from pixward.files import save_text

PARTS = {
    "detect": "Detection",
    "panoptic": "Panoptic maps",
    "caption": "Captions",
    "colour": "Colours",
    "noise": "How much of a gradient is noise",
    "hacking": "Rewards that are hacked, and held",
    "speed": "Speed",
    "parity": "The same figures as other tools",
}
HEAD = (
    "# Predict: figures",
    "Written by `benchmarks/predict_page.py` from the `predict_*.json` beside it. Every section names the command that "
    "measured it, on which code and machine. [docs/predict.md](../predict.md) says how to use what is measured here. "
    "Scenes are made up, 64 pixels wide, with one to six objects of twelve classes; those that are measured on were "
    "never trained on, nor looked at while anything was chosen, except where a note says so.",
)


def page(folder: Path) -> str:
    """The whole page."""
    return "\n\n".join([*HEAD, *sections(folder, "predict", PARTS, body)]) + "\n"


def body(part: str, data: Mapping[str, Any]) -> list[str]:
    """What stands under a part's title."""
    return speed(data) if part == "speed" else parity(data) if part == "parity" else shown(data)


def shown(data: Mapping[str, Any]) -> list[str]:
    """What made it, its tables, its notes."""
    return [*origin(data), *tables(data, "")]


def speed(data: Mapping[str, Any]) -> list[str]:
    """A table for each study, and who the contestants are."""
    titles = {"step": "One step", "samples": "Over the number of samples K", "trl": "Against TRL's RLOO"}
    blocks = []
    for name, study in data.items():
        blocks += [f"### {titles.get(name, label(name))}", *origin(study), table(study["rows"])]
        facts = [f"`{who}`: {what}" for who, what in study.get("who", {}).items()]
        if "agreement" in study:
            facts.append(f"Largest differences given the same tokens: {cell(study['agreement'])}")
        blocks += notes([*facts, *study.get("notes", [])])
    return blocks


def parity(data: Mapping[str, Any]) -> list[str]:
    """One row for each comparison with another tool."""
    rows: list[dict[str, Any]] = []
    for name, entry in data.items():
        for one in entry if isinstance(entry, list) else [entry]:
            if isinstance(one, dict):
                rows += _compared(name, one)
    return [
        *origin(data),
        table(rows),
        *notes([f"The largest difference of all: {data['largest difference of all']:.2g}."]),
    ]


def _compared(name: str, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``entry`` and the comparisons inside it, if they tell a largest difference."""
    rows = []
    if "largest difference" in entry:
        figure = next((entry[key] for key in ("ours", "value", "pixward reward coco-map") if key in entry), None)
        figure = next(iter(figure.values())) if isinstance(figure, dict) else figure
        row = {"what": name, "pictures": entry.get("pictures", entry.get("samples")), "figure": figure}
        rows.append({**row, "largest difference": f"{entry['largest difference']:.1g}"})
    for inner, further in entry.items():
        if isinstance(further, dict):
            rows += _compared(f"{name}: {inner}", further)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    folder = parser.parse_args().folder
    save_text(folder / "predict.md", page(folder))


if __name__ == "__main__":
    main()
