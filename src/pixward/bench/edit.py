"""``pixward bench edit``: how near each strategy comes to a goal, for how many renders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixward.bench.goals import shots_of
from pixward.bench.page import write_page
from pixward.bench.provenance import code_digest, commit, hardware, today
from pixward.bench.runner import plan, run_units
from pixward.bench.settings import EditBenchSettings, command, shown
from pixward.bench.summary import summarize
from pixward.bench.units import UnitFile
from pixward.errors import PixwardError
from pixward.files import save_text


def run_edit_bench(settings: EditBenchSettings) -> dict[str, Any]:
    """Measure every strategy on the same pairs and write ``edit.json``, ``edit.md`` and ``edit_*.png``.

    A run that was stopped goes on where it was; a run of other code starts over. Returns what ``edit.json`` holds.

    Raises:
        PixwardError: no photos, unknown goals or strategies, a missing file, a strategy that fails.
    """
    if settings.page_only:
        result = read_result(settings.out / "edit.json")
    else:
        result = measure_all(settings)
        text = json.dumps(result, separators=(",", ":")) + "\n"
        save_text(settings.out / "edit.json", text)
    write_page(result, settings.out)
    return result


def told(result: Mapping[str, Any]) -> list[str]:
    """A few lines for the terminal: what ``hybrid``, or else the last strategy, reached, and which promises failed."""
    lines, gates = _reached(result), list(result["gates"])
    if "second" in result:
        lines += [f"second source, {line}" for line in _reached(result["second"])]
        gates += [{**gate, "what": f"second source, {gate['what']}"} for gate in result["second"]["gates"]]
    missed = [gate for gate in gates if not gate["met"]]
    lines += [f"missed: {gate['what']}: asked {gate['asked']}, reached {gate['reached']}" for gate in missed]
    return [*lines, f"{len(gates) - len(missed)} of {len(gates)} promises met"]


def _reached(result: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, goal in result["goals"].items():
        found = goal["strategies"]
        strategy = "hybrid" if "hybrid" in found else next(reversed(found), None)
        if strategy:
            at = {mark: found[strategy]["at"][mark]["psnr"]["mean"] for mark in found[strategy]["at"]}
            lines.append(f"{name}: {strategy} " + ", ".join(f"{value:.1f} dB at {mark}" for mark, value in at.items()))
    return lines


def measure_all(settings: EditBenchSettings) -> dict[str, Any]:
    """The measurements alone, as ``edit.json`` holds them."""
    _check_weights(settings)
    code, at = code_digest(), commit()
    result = measure_source(settings, code, at)
    for name, more in (("second", settings.for_second()), ("figure", settings.for_figure())):
        if more is not None:
            result[name] = measure_source(more, code, at)
    return {
        **result,
        "command": command(settings),
        "commit": at,
        "code": code,
        "date": today(),
        "hardware": hardware(),
    }


def measure_source(settings: EditBenchSettings, code: str, at: str) -> dict[str, Any]:
    """What one folder of photos gave; ``second`` and ``figure`` are left to :func:`measure_all`."""
    folder = shots_of(settings)
    shots = folder[: settings.limit]
    keys, notes = plan(settings, shots)
    units = run_units(settings, shots, keys, UnitFile(settings, folder, code, at))
    summary = summarize(settings, units, [shot.name for shot in shots])
    return {**summary, "notes": notes, "folder": shown(settings.photos)}


def _check_weights(settings: EditBenchSettings) -> None:
    """Say in the beginning, not after half an hour, that weights are missing or broken."""
    from pixward.data.teacher import load_teacher
    from pixward.metrics.lpips import LPIPS

    try:
        if settings.lpips is not None:
            LPIPS.load(settings.lpips)
        if settings.teacher is not None:
            load_teacher(settings.teacher)
    except (OSError, ValueError) as error:
        raise PixwardError(str(error)) from None


def read_result(path: Path) -> dict[str, Any]:
    """An earlier run's ``edit.json``."""
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PixwardError(f"no {path}: run the benchmark once without --page-only") from None
    except ValueError as error:
        raise PixwardError(f"{path} is not the JSON of a benchmark: {error}") from None
    if result.get("schema") != "pixward.bench.edit/1":
        raise PixwardError(f"{path} is not the JSON of this benchmark: its schema is {result.get('schema')!r}")
    return result
