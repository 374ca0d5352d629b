"""docs/results/pixel.md from what the benchmarks and recipes of system 4 left beside it.

    python benchmarks/pixel_page.py

Reads pixel_PART.json for each of :data:`PARTS`, in that order; a part that was not measured has no section. Pictures
called pixel_PART*.png are shown in their part. A part holds ``command``, ``commit``, ``date``, ``hardware``, ``seed``,
``rows`` (a table: one dict each, columns in the order of their keys) and ``notes`` (sentences); any further list of
dicts is a table of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixel_words import KEPT, promises

from pixward.files import save_text

PARTS = {  # part: (title, the column by which its rows are parted into tables, or "")
    "denoise": ("Denoising side by side", "sigma"),
    "parity": ("The authors' weights in pixward", ""),
    "restore": ("Restoration: text, salt and pepper", "case"),
    "colour": ("Colour", ""),
    "saliency": ("Saliency", ""),
    "gradient": ("All actions against one sample", ""),
    "ablation": ("What the reward-map convolution is worth", ""),
    "stop": ("The stop action", ""),
    "training": ("Training", ""),
}
TOLERANCE = 0.02
"""How far from the reference an imported model may be, in dB."""
UNITS = {
    "psnr": "PSNR, dB",
    "psnr_every_fourth": "on every fourth image",
    "psnr_5th_percentile": "5th percentile",
    "ssim": "SSIM",
    "cpu_s": "processor seconds per image",
    "psnr_per_step": "after step 0, 1, ...",
}
"""Columns whose names need words; in others underscores become spaces."""


def page(folder: Path) -> str:
    """The whole page."""
    found = {part: folder / f"pixel_{part}.json" for part in PARTS}
    parts = {part: json.loads(path.read_text()) for part, path in found.items() if path.exists()}
    blocks = [
        "# Pixel: figures",
        "Written by `benchmarks/pixel_page.py` from the `pixel_*.json` beside it. Every section names the command that "
        "measured it, on which code and machine. Processor seconds, not seconds, since the machine may be shared. "
        "[docs/pixel.md](../pixel.md) says how to use what is measured here.",
    ]
    for part, data in parts.items():
        title, by = PARTS[part]
        blocks += [f"## {title}", *origin(data)]
        blocks += parity(data) if part == "parity" else denoising(data) if part == "denoise" else tables(data, by)
        blocks += [
            f"![{path.stem.replace('_', ' ')}]({path.name})" for path in sorted(folder.glob(f"pixel_{part}*.png"))
        ]
    return "\n\n".join(blocks) + "\n"


def sections(
    folder: Path, system: str, parts: Mapping[str, str], body: Callable[[str, Mapping[str, Any]], list[str]]
) -> list[str]:
    """Of each part that was measured its title, its ``body``, and SYSTEM_PART.png where there is one."""
    blocks: list[str] = []
    for part, title in parts.items():
        file = folder / f"{system}_{part}.json"
        if not file.exists():
            continue
        blocks += [f"## {title}", *body(part, json.loads(file.read_text(encoding="utf-8")))]
        if (folder / f"{system}_{part}.png").exists():
            blocks.append(f"![{title}]({system}_{part}.png)")
    return [block for block in blocks if block]


def origin(data: Mapping[str, Any]) -> list[str]:
    """Command, commit, day, machine and seed."""
    commands = data.get("command", "")
    lines = [commands] if isinstance(commands, str) else list(commands)
    machine = data.get("hardware", "")
    if isinstance(machine, dict):
        machine = f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}"
    facts = [f"Commit {data.get('commit', 'unknown')}", data.get("date"), machine]
    facts += [f"{data['threads']} thread(s)"] if "threads" in data else []
    facts += [f"seed {data['seed']}"] if data.get("seed") is not None else []
    return ["```\n" + "\n".join(lines) + "\n```", ", ".join(str(fact) for fact in facts if fact) + "."]


def tables(data: Mapping[str, Any], by: str) -> list[str]:
    """The rows, one table for each value of the column ``by``; further tables; the notes."""
    rows, blocks = data.get("rows", []), []
    for value in dict.fromkeys(row.get(by) for row in rows):
        blocks += [f"### {label(by)} {cell(value)}"] if by else []
        blocks.append(table([{k: v for k, v in row.items() if k != by} for row in rows if row.get(by) == value]))
    for name, further in data.items():
        if name not in ("rows", "notes") and isinstance(further, list) and further and isinstance(further[0], dict):
            blocks += [f"### {label(name)}", table(further)]
    return [*blocks, *notes(data.get("notes", []))]


def notes(sentences: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {sentence}" for sentence in sentences)] if sentences else []


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, with a column for every key that any row has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(map(label, columns)) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def label(column: str) -> str:
    return UNITS.get(column, column.replace("_", " "))


def cell(value: object) -> str:
    """What stands in a table for a value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(f"{part:.2f}" if isinstance(part, float) else cell(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(part)}" for name, part in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")


def denoising(data: Mapping[str, Any]) -> list[str]:
    """What was promised, one table for each noise, and what the methods are."""
    return [KEPT, table(promises(data["rows"])), *tables(data, "sigma")]


def parity(result: Mapping[str, Any]) -> list[str]:
    """Quality beside the reference, and time beside a straight loop."""
    seed, images = result["seed"], result["images"]
    quality = []
    for method, row in result["quality"].items():
        reference = row["reference"]
        held = None if reference is None else abs(row["psnr"] - reference) <= TOLERANCE
        entry = {"method": method, "PSNR, dB": f"{row['psnr']:.3f}", "reference": reference and f"{reference:.3f}"}
        entry |= {"within 0.02": held, "psnr_per_step": row["psnr_per_step"]}
        quality.append({**entry, "cpu_s": row["cpu_s"]})
    speed = []
    for name, row in result["speed"].items():
        low, high = row["faster_from_to"]
        entry = {
            "weights": name,
            "images": row["images"],
            "ours, s": row["cpu_s"],
            "straight, s": row["straight_cpu_s"],
        }
        entry |= {"faster (median)": f"{row['faster']} x", "least to most": f"{low} to {high}"}
        speed.append({**entry, "pixels that differ at most": f"{row['pixels_apart']:.4%}"})
    return [
        f"{images} images of BSD68, Gaussian noise of sigma 25 drawn for each from seed {seed}, neither clipped nor "
        "rounded; scores are of the result clipped and rounded to 8 bit.",
        table(quality),
        "The reference is a separate straight port of the authors' code with noise of its own. DnCNN, a supervised "
        "denoiser, is better than all three and needs no steps: PixelRL's point is that its work can be read and "
        "edited, not that it wins.",
        "The straight loop is the same network layer by layer in eager torch, as the paper draws it (value branch and "
        "six GRU kernels included, channels first), with OpenCV's filters; one image at a time. Both take turns.",
        table(speed),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    save_text(args.out / "pixel.md", page(args.out))


if __name__ == "__main__":
    main()
