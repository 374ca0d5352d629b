"""docs/results/editors.md from what the benchmarks of real editors left beside it.

    python benchmarks/editors_page.py

Reads editors_PART.json for each of :data:`PARTS`, in that order; a part that was not measured has no section. Pictures
called editors_PART.png are shown in their part.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixel_page import origin, sections, tables

from pixward.files import save_text

PARTS = {
    "pictures": "Goals that the editor itself has made",
    "raw": "Raw files towards their camera's JPEG",
    "try": "As a new user",
    "lut": "Pointwise modules by one render of a table",
    "faults": "Bad input, and editors that fail",
}
HEAD = (
    "# Real editors: figures",
    "Written by `benchmarks/editors_page.py` from the `editors_*.json` beside it. Every section names the command that "
    "measured it, on which code and machine. [docs/editors.md](../editors.md) says how to use what is measured here. "
    "Pictures are compared as 8-bit images; every render counts, finite differences included; PSNR in dB, deltaE is "
    "CIEDE2000.",
)


def page(folder: Path) -> str:
    """The whole page."""
    return "\n\n".join([*HEAD, *sections(folder, "editors", PARTS, body)]) + "\n"


def body(part: str, data: Mapping[str, Any]) -> list[str]:
    """What made it, the editors' versions, its tables and notes."""
    versions = ", ".join(f"{name} {version}" for name, version in data.get("versions", {}).items())
    return [*origin(data), f"Editors: {versions}." if versions else "", *tables(data, "")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    folder = parser.parse_args().folder
    save_text(folder / "editors.md", page(folder))


if __name__ == "__main__":
    main()
