"""Curves of the edit benchmark as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixward.errors import PixwardError
from pixward.files import save_atomic

# Okabe and Ito's palette, told apart by colour-blind readers too.
COLOURS = {
    "hybrid": "#D55E00",
    "policy": "#E69F00",
    "least-squares": "#0072B2",
    "cmaes": "#009E73",
    "greedy": "#CC79A7",
    "random": "#7F7F7F",
    "gradient": "#000000",
}
_SPARE = "#56B4E9"


def plot_goal_set(name: str, goal: Mapping[str, Any], path: Path) -> None:
    """Mean PSNR over renders with a band from the 5th to the 95th percentile, one line a strategy.

    Raises:
        PixwardError: matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise PixwardError("curves need matplotlib: pip install 'pixward[bench]'") from None

    figure = Figure(figsize=(9.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    untouched, last = None, 1
    for strategy, found in goal["strategies"].items():
        mean, low, high = (found["curve"][key] for key in ("mean", "p5", "p95"))
        untouched, last = mean[0], max(last, len(mean) - 1)
        if strategy == "identity":
            continue
        counts = range(1, len(mean))
        colour = COLOURS.get(strategy, _SPARE)
        style = "--" if strategy == "gradient" else "-"
        width = 2.4 if strategy == "hybrid" else 1.4
        label = f"{strategy} (sees inside the editor)" if strategy == "gradient" else strategy
        axes.plot(counts, mean[1:], style, color=colour, linewidth=width, label=label)
        axes.fill_between(counts, low[1:], high[1:], color=colour, alpha=0.10, linewidth=0)
    if untouched is not None:
        axes.axhline(untouched, color="#7F7F7F", linestyle=":", linewidth=1.2, label="untouched photo")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 30, 60, 100, 200, 500) if tick <= last]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(1, max(last, 1.1))
    axes.set(xlabel="renders", ylabel="PSNR to the goal, dB", title=f"{name}: mean, band from 5th to 95th percentile")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    # No metadata: the same figures give the same file.
    save_atomic(path, lambda part: figure.savefig(part, format="png", dpi=110, metadata={"Software": None}), force=True)
