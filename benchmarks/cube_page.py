"""The page of benchmarks/cube.py."""

from __future__ import annotations

from typing import Any


def page(result: dict[str, Any]) -> str:
    """The page as Markdown, of the parts that there are."""
    made = {"tables": tables_text, "editors": editors_text, "looks": looks_text}
    parts = [made[part](result[part]) for part in made if part in result]
    head = """# Tables of colours: .cube files

`python benchmarks/cube.py`

How true a setting is as a 3D LUT, read and applied by OpenColorIO, and how near sliders come to other people's looks.
Errors are CIEDE2000. "p99": below it lie 99 % of a photo's pixels, mean over photos. What it is for:
[the guide](../guides/luts.md). All figures: [cube.json](cube.json).
"""
    return "\n".join([head, *parts])


def told(part: dict[str, Any]) -> str:
    """Where a part's figures come from."""
    machine = part["hardware"]
    return (
        f"Commit {part['commit']}, {part['date']}, seed {part['seed']}, {machine['processor']}, "
        f"{machine['cores']} cores shared with other jobs, torch {machine['torch']}, OpenColorIO {part['opencolorio']}."
    )


def tables_text(part: dict[str, Any]) -> str:
    """`chain:photo`: what a table costs and what it loses."""
    lines = [
        "| range | sliders | points | interpolation | mean deltaE | worst setting | p99 | settings within 0.5 |",
        "|---|---|---:|---|---:|---:|---:|---:|",
    ]
    for row in part["rows"]:
        kind = "pointwise" if row["sliders"] == "pointwise" else "all 12"
        lines.append(
            f"| {'half' if row['radius'] < 1 else 'full'} | {kind} | {row['size']} | {row['method']} "
            f"| {row['mean']:.3f} | {row['worst_setting']:.3f} | {row['p99']:.2f} "
            f"| {row['within_half']} of {row['settings']} |"
        )
    cost = ["| points | baked, s | written and read back, s | read, s | MB |", "|---:|---:|---:|---:|---:|"]
    for size, row in part["cost"].items():
        cost.append(
            f"| {size} | {row['bake_s']:.2f} | {row['write_s']:.2f} | {row['read_s']:.2f} | {row['bytes'] / 1e6:.2f} |"
        )
    lost = ["| range | surroundings, mean deltaE | clarity | sharpness | the ten others |", "|---|---:|---:|---:|---:|"]
    for left in part["remainder"]:
        share = {name: blame["share"] for name, blame in left["sliders"].items()}
        rest = sum(value for name, value in share.items() if name not in ("clarity", "sharpness"))
        lost.append(
            f"| {'half' if left['radius'] < 1 else 'full'} | {left['surroundings']['mean']:.2f} "
            f"| {share['clarity']:.0%} | {share['sharpness']:.0%} | {rest:.0%} |".replace("%", " %")
        )
    return f"""## `chain:photo`, baked

{told(part)}

{part["settings"]} random settings for each block, {part["each"]} of 20 held-out photos for each setting.
"Pointwise": clarity and sharpness at their defaults. OpenColorIO reads the file that was written and applies it; our
reader differs from it by at most {part["readers_differ"]:.1g} in any channel (of 1): one column serves for both.

{chr(10).join(lines)}

With all sliders the table loses what clarity and sharpness do, and more points do not bring it back.

What `remainder` says of that, without being told which sliders look around: shares of {part["asked"]} settings.

{chr(10).join(lost)}

Median cost; the machine was busy with other work, so these are upper bounds.

{chr(10).join(cost)}
"""


def editors_text(part: dict[str, Any]) -> str:
    """The page's part on darktable and RawTherapee."""
    lines = [
        "| editor | table baked for | what | mean deltaE | worst setting | p99 | settings within 0.5 |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in part["rows"]:
        what = "LUT against direct render" if row["what"] == "all" else "what surroundings do, by themselves"
        lines.append(
            f"| {row['editor']} | {row['baked_for']} | {what} | {row['mean']:.2f} | {row['worst_setting']:.2f} "
            f"| {row['p99']:.2f} | {row['within_half']} of {row['settings']} |"
        )
    said = "\n".join(f'- {name}: "{sentence}"' for name, sentence in part["sentences"].items())
    return f"""## Real editors, all sliders

{told(part)}

{part["settings"]} random half-range settings of each editor, 33 points, trilinear, by OpenColorIO. "Any photo": the
chart holds the table's colours only; "this photo": it also holds the photo's, which matters where a slider looks at
the mean of the whole picture, as RawTherapee's contrast does. So few settings show the kind of error, not its size.

{chr(10).join(lines)}

What is said of the first setting:

{said}
"""


def looks_text(part: dict[str, Any]) -> str:
    """Looks as goals."""
    lines = [
        "| look | | PSNR, dB | worst | SSIM | deltaE | s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    order = {"before": 0, "hybrid@10": 1, "hybrid@30": 2, "cmaes@200": 3}
    for row in sorted(part["rows"], key=lambda row: (row["look"] != "LUT01.cube", order[row["run"]])):
        name = row["run"].replace("@", ", ") + ("" if row["run"] == "before" else " renders")
        seconds = f"{row['seconds']:.1f}" if "seconds" in row else ""
        lines.append(
            f"| {row['look']} | {name} | {row['psnr']:.2f} | {row['worst_psnr']:.2f} | {row['ssim']:.3f} "
            f"| {row['delta_e']:.2f} | {seconds} |"
        )
    return f"""## Looks as goals

{told(part)}

Ten held-out photos (five each of bsds500/val and photos/hires_cc0), each with a look applied at full size and rounded
to 8 bit, as goals for `chain:photo`; means over photos, "worst" the photo with the lowest PSNR. A table may hold
anything and twelve sliders may not, so what is left is the editor's limit as much as the search's.

{chr(10).join(lines)}
"""
