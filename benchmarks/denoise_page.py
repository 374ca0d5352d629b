"""docs/results/denoise.md from what the benchmarks of system 3 left beside it.

    python benchmarks/denoise_page.py

Reads denoise_PART.json for each of :data:`PARTS`, in that order; a part that was not measured has no section. Pictures
called denoise_PART.png are shown in their part.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixel_page import notes, origin, sections, tables

from pixward.files import save_text

PARTS = {
    "rewards": "RLCM against DDPO",
    "carried": "What carries over, and search instead of learning",
    "hacking": "Rewards that are hacked, and held",
    "quality": "Pictures over steps, without any reward",
    "studies": "Rates, steps and the last step",
    "speed": "Seconds and memory of an update",
    "parity": "The same steps as diffusers",
    "faults": "Bad input",
}
HEAD = (
    "# Denoise: figures",
    "Written by `benchmarks/denoise_page.py` from the `denoise_*.json` beside it. Every section names the command that "
    "measured it, on which code and machine. [docs/denoise.md](../denoise.md) says how to use what is measured here. "
    "The models are those that ship: pictures of 32 pixels, 42 animals of an emoji font, a latent diffusion model of "
    "1.5 million weights and a consistency model distilled from it. They are a small world, not Stable Diffusion: what "
    "the papers report of that stands in the notes, unconfirmed.",
)


def page(folder: Path) -> str:
    """The whole page."""
    return "\n\n".join([*HEAD, *sections(folder, "denoise", PARTS, body)]) + "\n"


def body(part: str, data: Mapping[str, Any]) -> list[str]:
    """What made it, its tables, its notes, and who the contestants are."""
    who = [f"`{name}`: {what}." for name, what in data.get("who", {}).items()]
    return [*origin(data), *tables(data, ""), *notes(who)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    folder = parser.parse_args().folder
    save_text(folder / "denoise.md", page(folder))


if __name__ == "__main__":
    main()
