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
    "monolithic": "#56B4E9",
    "cascaded": "#8B5A2B",
}
_SPARE = "#B8A000"
_TICKS = (1, 2, 5, 10, 20, 30, 60, 100, 200, 500)
_WIDE_TICKS = (1, 2, 5, 10, 30, 100, 200, 500)


def plot_goal_set(name: str, goal: Mapping[str, Any], path: Path) -> None:
    """Mean PSNR over renders with a band from the 5th to the 95th percentile, one line a strategy.

    Raises:
        PixwardError: matplotlib is missing.
    """
    figure, (axes,) = _axes(1, (9.5, 4.8))
    _draw(axes, goal, band=True)
    axes.set(ylabel="PSNR to the goal, dB", title=f"{name}: mean, band from 5th to 95th percentile")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    _save(figure, path)


def plot_long_search(goals: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Mean PSNR over many renders, a panel for each goal set, one legend for all.

    Raises:
        PixwardError: matplotlib is missing.
    """
    figure, panels = _axes(len(goals), (1.4 + 4.1 * len(goals), 4.6))
    for axes, (name, goal) in zip(panels, goals.items(), strict=True):
        _draw(axes, goal, band=False)
        axes.axvline(10, color="#000000", linewidth=0.8, alpha=0.35)
        axes.set(title=f"{name}, {goal['photos']} photos")
        axes.set_xticks(_WIDE_TICKS, map(str, _WIDE_TICKS))
    panels[0].set(ylabel="mean PSNR to the goal, dB")
    panels[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    _save(figure, path)


def _axes(count: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise PixwardError("curves need matplotlib: pip install 'pixward[bench]'") from None

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, count, squeeze=False, sharey=True)[0])


def _draw(axes: Any, goal: Mapping[str, Any], *, band: bool) -> None:
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
        if band:
            axes.fill_between(counts, low[1:], high[1:], color=colour, alpha=0.10, linewidth=0)
    if untouched is not None:
        axes.axhline(untouched, color="#7F7F7F", linestyle=":", linewidth=1.2, label="untouched photo")
    ticks = [tick for tick in _TICKS if tick <= last]
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(1, max(last, 1.1))
    axes.set(xlabel="renders")
    axes.grid(alpha=0.25)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No metadata: the same figures give the same file.
    save_atomic(path, lambda part: figure.savefig(part, format="png", dpi=110, metadata={"Software": None}), force=True)
