"""From finished units to ``edit.json``: aggregates, comparisons, and the promises of the project checked one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from pixward.bench.goals import BRIGHT, DARK
from pixward.bench.measure import Unit
from pixward.bench.runner import TIMED_RENDERS
from pixward.bench.settings import NOT_BLACK_BOX, EditBenchSettings, GoalSet
from pixward.bench.stats import Statistic, describe, fifth, mean, paired_interval
from pixward.bench.units import Key

Json = dict[str, Any]

DIGITS = {"psnr": 2, "ssim": 4, "delta_e": 3, "lpips": 4}
EXACT = 99.9995
"""PSNR from which a curve's point counts as an exact match (:func:`pixward.search.problem.psnr` says 100)."""
CAP = 60.0
"""The paper ends an episode at this PSNR: a mean with every photo capped here cannot live on a few exact matches."""
STATISTICS: dict[str, Statistic] = {"mean": mean, "p5": fifth}


def summarize(settings: EditBenchSettings, units: Mapping[Key, Unit], photos: Sequence[str]) -> Json:
    """Everything the page needs, small enough to read: curves, tables and per-photo PSNR at the check points."""
    goals = {goal.name: _goal_set(settings, goal, units) for goal in settings.goal_sets}
    return {
        "schema": "pixward.bench.edit/1",
        "settings": {
            "seed": settings.seed,
            "renders": settings.renders,
            "jobs": settings.jobs,
            "threads": 1,
            "preview": settings.preview,
            "timed_renders": TIMED_RENDERS,
        },
        "checkpoints": settings.checkpoints,
        "photos": list(photos),
        "goals": goals,
        "gates": gates(goals),
    }


def _goal_set(settings: EditBenchSettings, goals: GoalSet, units: Mapping[Key, Unit]) -> Json:
    by_strategy: dict[str, list[Unit]] = {}
    timing: Json = {}
    for strategy in settings.strategies:
        curves: list[Unit] = []
        times: list[Unit] = []
        for key, unit in sorted(units.items(), key=lambda item: item[0].index):
            if key.goals == goals.name and key.strategy == strategy:
                (times if key.timed else curves).append(unit)
        if curves:
            by_strategy[strategy] = curves
        if times:
            seconds = [unit["seconds"] for unit in times]
            timing[strategy] = {
                **{name: round(float(np.percentile(seconds, q)), 5) for name, q in _SPREAD.items()},
                "renders": median(unit["renders"] for unit in times),
                "photos": len(times),
            }
    first = next(iter(by_strategy.values()), [])
    return {
        "editor": goals.editor,
        "radius": goals.radius,
        "slug": goals.slug,
        "photos": len(first),
        "redraws": sum(unit["redraws"] for unit in first),
        "limits": [DARK, BRIGHT],
        "strategies": {name: _strategy(curves, settings.checkpoints) for name, curves in by_strategy.items()},
        "compare": compare(by_strategy, settings.checkpoints),
        "margin": margin(by_strategy, settings.checkpoints),
        "timing": timing,
    }


_SPREAD = {"median": 50, "p5": 5, "p95": 95}


def _strategy(units: list[Unit], checkpoints: list[int]) -> Json:
    curves = np.array([unit["psnr"] for unit in units])
    names, first = list(DIGITS), units[0]["at"]
    at: Json = {}
    for mark in checkpoints:
        values = {name: [unit["at"][str(mark)][name] for unit in units] for name in names if name in first[str(mark)]}
        values["psnr"] = list(curves[:, mark])
        at[str(mark)] = {name: describe(values[name], DIGITS[name]) for name in names if name in values}
        at[str(mark)]["psnr"]["capped"] = round(float(np.minimum(curves[:, mark], CAP).mean()), 2)
        at[str(mark)]["psnr"]["exact"] = int((curves[:, mark] >= EXACT).sum())
        at[str(mark)]["seconds"] = round(median(unit["at"][str(mark)]["seconds"] for unit in units), 4)
        at[str(mark)]["stopped"] = sum(unit["renders"] < mark for unit in units)
    again = np.array([unit["rendered_again"] for unit in units])
    return {
        "renders": median(unit["renders"] for unit in units),
        "seconds": describe([unit["at"][str(checkpoints[-1])]["seconds"] for unit in units], 4),
        "curve": {
            "mean": _rounded(curves.mean(0)),
            "p5": _rounded(np.percentile(curves, 5, axis=0)),
            "p95": _rounded(np.percentile(curves, 95, axis=0)),
        },
        "at": at,
        "psnr": {str(mark): _rounded(curves[:, mark]) for mark in checkpoints},
        # Rendered again from the setting as a file holds it, so this can fail where the search's own record cannot.
        "worse_than_untouched": int((again < curves[:, 0] - 1e-3).sum()),
        "kept_untouched": int((curves[:, -1] <= curves[:, 0]).sum()),
        "largest_gap": round(float(np.abs(again - curves[:, -1]).max()), 4),
        "commits": sorted({unit["commit"] for unit in units}),
        "codes": sorted({unit["code"] for unit in units}),
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 2) for value in values]


def compare(by_strategy: Mapping[str, list[Unit]], checkpoints: list[int]) -> list[Json]:
    """``hybrid`` against the best other black box, at each check point, in the mean and in the 5th percentile."""
    others = [name for name in by_strategy if name not in NOT_BLACK_BOX and name != "hybrid"]
    if "hybrid" not in by_strategy or not others:
        return []
    rows = []
    for mark in (mark for mark in checkpoints if mark > 0):
        mine = _psnr(by_strategy["hybrid"], mark)
        for name, statistic in STATISTICS.items():
            best = max(others, key=lambda other: float(statistic(np.array(_psnr(by_strategy[other], mark)))))
            theirs = _psnr(by_strategy[best], mark)
            difference = float(statistic(np.array(mine)) - statistic(np.array(theirs)))
            low, high = paired_interval(mine, theirs, statistic)
            row = {"at": mark, "statistic": name, "other": best, "difference": round(difference, 2)}
            rows.append({**row, "low": round(low, 2), "high": round(high, 2)})
    return rows


def margin(by_strategy: Mapping[str, list[Unit]], checkpoints: list[int]) -> Json | None:
    """``policy`` after 10 renders less ``cmaes`` after 200, dB; None where either is missing."""
    if not {"policy", "cmaes"} <= set(by_strategy) or not {10, 200} <= set(checkpoints):
        return None
    mine, theirs = _psnr(by_strategy["policy"], 10), _psnr(by_strategy["cmaes"], 200)
    low, high = paired_interval(mine, theirs)
    difference = float(np.mean(mine) - np.mean(theirs))
    return {"difference": round(difference, 2), "low": round(low, 2), "high": round(high, 2)}


def _psnr(units: list[Unit], mark: int) -> list[float]:
    return [unit["psnr"][mark] for unit in units]


# --- promises ---------------------------------------------------------------------------------------------------

MARGINS = {"chain:paper@0.5": 6.5, "chain:paper@1": 5.5}
"""``policy`` after 10 renders over ``cmaes`` after 200, dB."""
LEVELS = {("chain:paper@0.5", 30): 54.0, ("chain:paper@0.5", 60): 58.0, ("chain:paper@1", 30): 48.0}
LEVELS |= {("chain:paper@1", 60): 55.0}
"""Mean PSNR that ``hybrid`` must reach."""
AHEAD_AT = (10, 15, 20, 30, 60, 100)
"""Where ``hybrid`` must lead every other black box, in mean and 5th percentile."""


def gates(goals: Mapping[str, Json]) -> list[Json]:
    """The project's promises: ``{"what", "asked", "reached", "met"}`` for each that this run could check."""
    rows: list[Json] = []
    for name, asked in MARGINS.items():
        found = goals.get(name, {}).get("margin")
        if found:
            what = f"{name}: policy after 10 renders above cmaes after 200"
            rows.append(_gate(what, f">= {asked} dB", f"{found['difference']} dB", found["difference"] >= asked))
    for (name, mark), asked in LEVELS.items():
        at = goals.get(name, {}).get("strategies", {}).get("hybrid", {}).get("at", {}).get(str(mark))
        if at:
            reached = at["psnr"]["mean"]
            rows.append(
                _gate(f"{name}: hybrid after {mark} renders", f">= {asked} dB", f"{reached} dB", reached >= asked)
            )
    for name, goal in goals.items():
        rows += _lead(name, goal)
    return rows


def _lead(name: str, goal: Json) -> list[Json]:
    rows = []
    duels = [row for row in goal["compare"] if row["at"] in AHEAD_AT]
    if duels:
        worst = min(duels, key=lambda row: row["difference"])
        reached = f"least lead {worst['difference']} dB ({worst['statistic']}, {worst['at']} renders, {worst['other']})"
        marks = sorted({row["at"] for row in duels})
        what = f"{name}: hybrid above every other black box at {', '.join(map(str, marks))}, mean and 5th percentile"
        rows.append(_gate(what, "> 0 dB", reached, worst["difference"] > 0))
    hybrid = goal["strategies"].get("hybrid")
    if hybrid:
        count = hybrid["worse_than_untouched"]
        what = f"{name}: hybrid below the untouched photo"
        rows.append(_gate(what, "0 photos", f"{count} of {goal['photos']}", count == 0))
    return rows


def _gate(what: str, asked: str, reached: str, met: bool) -> Json:
    return {"what": what, "asked": asked, "reached": reached, "met": met}
