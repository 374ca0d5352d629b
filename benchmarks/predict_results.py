"""What the benchmarks of Predict share: finding trained policies, reading their logs, seeds put together, JSON."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixward.bench.provenance import commit, hardware, today
from pixward.data.synth import Scene, Scenes
from pixward.files import save_text
from pixward.run import read_log

Row = dict[str, Any]


class Later(Scenes):
    """Held-out scenes from number ``first`` on, which training never looked at."""

    def __init__(self, first: int) -> None:
        super().__init__(seed=0, split="held-out")
        self.first = first

    def scene(self, index: int) -> Scene:
        """The scene ``first + index`` of those held out."""
        return super().scene(self.first + index)


def digest(file: Path) -> str:
    """Twelve letters that tell one weight file from another."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def measured_before(place: Path, name: str, file: Path, scenes: int) -> Any:
    """What ``place`` has of the policy ``name``, if these are the weights and scenes that it measured; else None."""
    if not place.exists():
        return None
    found = json.loads(place.read_text(encoding="utf-8"))
    known = found.get("measured", {}).get(name)
    same = known is not None and found.get("scenes") == scenes and known.get("weights") == digest(file)
    return known if same else None


def policies(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names and weight files of all phases in ``folder``, the start first."""
    files = sorted(folder.glob("*/policy.safetensors"), key=lambda file: (file.parent.name != "mle", file.parent.name))
    for file in files:
        if (file.parent / "log.jsonl").exists():
            yield file.parent.name, file


def family(name: str) -> str:
    """A phase's name without its seed: ``map-2`` belongs to ``map``."""
    return name.rsplit("-", 1)[0] if name.rsplit("-", 1)[-1].isdigit() else name


def together(rows: Sequence[Row], figures: Sequence[str]) -> Row:
    """Means over seeds; ``from`` and ``to`` of the first figure where there are several."""
    merged: Row = {"seeds": len(rows)}
    for name in figures:
        values = [row[name] for row in rows]
        merged[name] = round(statistics.fmean(values), 4)
        if len(values) > 1 and name == figures[0]:
            merged[f"{name} from, to"] = [f"{min(values):.4g}", f"{max(values):.4g}"]
    return merged


def curve(folder: Path) -> list[dict[str, float]]:
    """The log of a phase: every line that holds an evaluation, and every fifth of the others."""
    lines = read_log(folder / "log.jsonl")
    widest = max(len(line) for line in lines)
    kept = [line for at, line in enumerate(lines) if len(line) == widest or at % 5 == 0]
    return [{name: round(value, 5) for name, value in line.items() if isinstance(value, int | float)} for line in kept]


def write(place: Path, command: Sequence[str], parts: Mapping[str, Any]) -> None:
    """``parts`` (``rows``, ``notes``, further tables) with what made them."""
    document = {"command": list(command), "commit": commit(), "date": today(), "hardware": hardware(), **parts}
    save_text(place, json.dumps(document, indent=1) + "\n")


def plot(place: Path, title: str, lines: Mapping[str, Sequence[Mapping[str, float]]], figures: Sequence[str]) -> None:
    """Curves over steps, a panel for each figure, a colour for each family of seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from pixward.files import save_atomic

    colours = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F"]
    families = list(dict.fromkeys(family(name) for name in lines))
    drawn = Figure(figsize=(4.6 * len(figures), 3.6), layout="constrained")
    FigureCanvasAgg(drawn)
    for place_of, name in enumerate(figures):
        axes = drawn.add_subplot(1, len(figures), place_of + 1)
        for label, points in lines.items():
            shown = [(point["step"], point[name]) for point in points if name in point]
            if shown:
                kind = families.index(family(label))
                first = next(other for other in lines if family(other) == family(label)) == label
                axes.plot(
                    *zip(*shown, strict=True), color=colours[kind % 8], lw=1.2, label=family(label) if first else None
                )
        axes.set(xlabel="steps", title=name.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    drawn.axes[0].legend(fontsize=8, frameon=False)
    drawn.suptitle(title)
    save_atomic(place, lambda part: drawn.savefig(str(part), format="png", dpi=110), force=True)
