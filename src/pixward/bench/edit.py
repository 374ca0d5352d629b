"""``pixward bench edit``: how near each strategy comes to a goal, for how many renders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    lines = []
    for name, goal in result["goals"].items():
        found = goal["strategies"]
        strategy = "hybrid" if "hybrid" in found else next(reversed(found), None)
        if strategy:
            at = {mark: found[strategy]["at"][mark]["psnr"]["mean"] for mark in found[strategy]["at"]}
            lines.append(f"{name}: {strategy} " + ", ".join(f"{value:.1f} dB at {mark}" for mark, value in at.items()))
    missed = [gate for gate in result["gates"] if not gate["met"]]
    lines += [f"missed: {gate['what']}: asked {gate['asked']}, reached {gate['reached']}" for gate in missed]
    return [*lines, f"{len(result['gates']) - len(missed)} of {len(result['gates'])} promises met"]


def measure_all(settings: EditBenchSettings) -> dict[str, Any]:
    """The measurements alone, as ``edit.json`` holds them."""
    from pixward.data.pairs import photo_files

    try:
        folder = photo_files([settings.photos])
    except FileNotFoundError as error:
        raise PixwardError(f"{error}: pass a folder of photos") from None
    _check_weights(settings)
    files = folder[: settings.limit]
    keys, notes = plan(settings, files)
    kept = UnitFile(settings, folder, code_digest(), commit())
    units = run_units(settings, files, keys, kept)
    return {
        **summarize(settings, units, [path.name for path in files]),
        "notes": notes,
        "command": command(settings),
        "folder": shown(settings.photos),
        "commit": kept.commit,
        "code": kept.code,
        "date": today(),
        "hardware": hardware(),
    }


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
