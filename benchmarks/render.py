"""Full-size rendering: time and peak memory, beside one read and write of the same array and beside eager torch.

    python benchmarks/render.py --threads 2 --runs 9 --out docs/results

About four minutes on two idle cores and 6 GB of memory. Writes render.json and render.md. The methods take turns
within a run, so that whatever else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pixward.bench.provenance import commit, hardware, today
from pixward.editors.chain import PAPER, PHOTO, Chain
from pixward.editors.fullsize import render_fullsize, render_planes

SIZES = {2: (1155, 1732), 12: (2828, 4243), 24: (4000, 6000), 100: (8165, 12247)}
"""Megapixels: (height, width)."""
TIMED = (2, 12, 24)
POINTS = {"exposure": 0.5, "temperature": 20, "tint": -15, "contrast": 30, "highlights": -40, "shadows": 35,
          "whites": 10, "blacks": -12, "vibrance": 25, "saturation": 15}  # fmt: skip
CASES: dict[str, tuple[Chain, dict[str, float]]] = {
    "photo, 10 pointwise sliders": (PHOTO, POINTS),
    "photo, all 12 sliders": (PHOTO, POINTS | {"clarity": 30, "sharpness": 40}),
    "paper, all 9 sliders": (
        PAPER,
        {"exposure": 0.3, "wb_red": 1.1, "wb_green": 0.95, "wb_blue": 1.05, "saturation": 0.2, "contrast": 0.3,
         "highlights": -0.2, "shadows": 0.3, "texture": 1.2},
    ),
}  # fmt: skip
TARGET = 20.0
"""The pointwise sliders of chain:photo on float32 planes, over one read and write."""


def picture(height: int, width: int, dtype: type, *, planar: bool) -> np.ndarray:
    """Smooth shapes with grain, made a few rows at a time so that making it does not set the peak."""
    rng = np.random.default_rng(0)
    out = np.empty((height, width, 3), dtype)
    out = np.empty((3, height, width), dtype) if planar else out
    x = np.linspace(0, 1, width, dtype=np.float32)
    for top in range(0, height, 64):
        y = np.arange(top, min(top + 64, height), dtype=np.float32)[:, None] / height
        for channel in range(3):
            rows = 0.5 + 0.5 * np.sin(9 * x * (1 + y) + 7 * y + 2 * channel)
            rows = np.clip(rows + 0.02 * rng.standard_normal(rows.shape, dtype=np.float32), 0, 1)
            rows = np.round(rows * 255) if dtype == np.uint8 else rows
            if planar:
                out[channel, top : top + 64] = rows
            else:
                out[top : top + 64, :, channel] = rows
    return out


def params_of(case: str) -> torch.Tensor:
    editor, setting = CASES[case]
    return editor.space.from_dict(setting)[None]


def methods(megapixels: int, threads: int) -> dict[str, Callable[[], object]]:
    """What is timed: name -> call. Names: ``copy|render / case / kind``."""
    size = SIZES[megapixels]
    planes = picture(*size, np.float32, planar=True)
    pixels = picture(*size, np.uint8, planar=False)
    out = np.zeros_like(planes)
    from_planes, to_planes = torch.from_numpy(planes), torch.zeros(planes.shape)
    from_pixels, to_pixels = torch.from_numpy(pixels), torch.zeros(pixels.shape, dtype=torch.uint8)
    calls: dict[str, Callable[[], object]] = {
        "copy / float32 planes": lambda: to_planes.copy_(from_planes),
        "copy / uint8 to uint8": lambda: to_pixels.copy_(from_pixels),
    }
    for case, (editor, _) in CASES.items():
        params = params_of(case)
        calls[f"{case} / float32 planes"] = lambda e=editor, p=params: render_planes(e, planes, p, out, threads=threads)
        calls[f"{case} / uint8 to uint8"] = lambda e=editor, p=params: render_fullsize(e, pixels, p, threads=threads)
    return calls


def eager(megapixels: int) -> dict[str, Callable[[], object]]:
    """The editors called on the whole picture, float32 in and out."""
    images = torch.from_numpy(picture(*SIZES[megapixels], np.float32, planar=True))[None]
    settings = {case: params_of(case) for case in CASES}
    return {case: lambda e=editor, p=settings[case]: e(images, p) for case, (editor, _) in CASES.items()}


def timed(calls: dict[str, Callable[[], object]], runs: int, *, warm_up: bool) -> dict[str, list[float]]:
    """Milliseconds of every call in every run, in turns."""
    for call in calls.values() if warm_up else ():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - start))
    return times


def time_size(megapixels: int, threads: int, runs: int, eager_runs: int) -> list[dict[str, object]]:
    """One row for each case and kind."""
    with torch.inference_mode():
        times = timed(methods(megapixels, threads), runs, warm_up=True)
        whole = timed(eager(megapixels), eager_runs, warm_up=False) if eager_runs else {}
    rows = []
    for name, taken in times.items():
        case, kind = name.split(" / ")
        copies = times[f"copy / {kind}"]
        row: dict[str, object] = {"megapixels": megapixels, "case": case, "kind": kind, "ms": _spread(taken)}
        row["over_copy"] = round(statistics.median(t / c for t, c in zip(taken, copies, strict=True)), 2)
        if case in whole and kind == "float32 planes":
            row["eager_ms"] = _spread(whole[case])
            row["eager_over_this"] = round(statistics.median(whole[case]) / statistics.median(taken), 1)
        rows.append(row)
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "low": round(min(values), 2),
        "high": round(max(values), 2),
        "runs": len(values),
    }


# --- memory -----------------------------------------------------------------------------------------------------


def peak(megapixels: int, case: str, kind: str, threads: int) -> dict[str, object]:
    """Peak memory of one render, in a process of its own."""
    words = [sys.executable, __file__, "--peak", str(megapixels), case, kind, "--threads", str(threads)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return {"megapixels": megapixels, "case": case, "kind": kind} | json.loads(done.stdout)


def measure_peak(megapixels: int, case: str, kind: str, threads: int) -> dict[str, float]:
    """MiB of the input, of the output, and of all else that was resident at the worst moment of a render."""
    editor, params = CASES[case][0], params_of(case)
    planar = kind == "float32 planes"
    source = picture(*SIZES[megapixels], np.float32 if planar else np.uint8, planar=planar)
    render_fullsize(editor, np.zeros((64, 64, 3), np.uint8), params, threads=threads)  # loads what torch loads late
    before = _status("VmRSS")
    if planar:
        render_planes(editor, source, params, np.empty_like(source), threads=threads)
    else:
        render_fullsize(editor, source, params, threads=threads)
    size = source.nbytes / 2**20
    extra = _status("VmHWM") - before - size
    both = 2 * size
    return {
        "input_mib": round(size),
        "output_mib": round(size),
        "extra_mib": round(extra),
        "peak_over_input_and_output": round((both + extra) / both, 2),
    }


def _status(field: str) -> float:
    """MiB from the kernel's account of this process. Unlike getrusage's, it does not start at the parent's size."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"this system does not report {field}")


# --- page -------------------------------------------------------------------------------------------------------


def page(result: dict) -> str:
    """The results as Markdown."""
    machine = result["hardware"]
    lines = [
        "# Full-size rendering",
        "",
        f"`{result['command']}`",
        "",
        f"Commit {result['commit']}, {result['date']}, {machine['processor']}, {machine['cores']} cores,"
        f" {result['threads']} threads, torch {machine['torch']}; load of the machine at the start"
        f" {result['load']:.1f}. Milliseconds: median (lowest to highest) of {result['runs']} runs in turns."
        ' "Copy" is one read and write of the same array into memory that exists already. The 8-bit results are newly'
        " allocated; the float32 planes are not. Called whole, chain:photo always computes its blurs, so its eager time"
        " is that of all 12 sliders in both rows.",
        "",
        _verdict(result),
        "",
        "## Time",
        "",
        "| MP | case | kind | ms | x copy | eager torch, ms | eager / this |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]
    for row in result["time"]:
        whole = _cell(row["eager_ms"]) if "eager_ms" in row else ""
        lines.append(
            f"| {row['megapixels']} | {row['case']} | {row['kind']} | {_cell(row['ms'])} | {row['over_copy']:.1f}"
            f" | {whole} | {row.get('eager_over_this', '')} |"
        )
    lines += [
        "",
        "## Peak memory",
        "",
        "Beyond the input and the output, resident, in a process of its own for each row.",
        "",
        "| MP | case | kind | input + output, MiB | extra, MiB | peak / (input + output) |",
        "|---:|---|---|---:|---:|---:|",
    ]
    for row in result["memory"]:
        both = row["input_mib"] + row["output_mib"]
        lines.append(
            f"| {row['megapixels']} | {row['case']} | {row['kind']} | {both} | {row['extra_mib']}"
            f" | {row['peak_over_input_and_output']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _verdict(result: dict) -> str:
    for row in result["time"]:
        if row["case"] == next(iter(CASES)) and row["kind"] == "float32 planes" and row["megapixels"] == 24:
            met = "within" if row["over_copy"] <= TARGET else "above"
            return f"The pointwise sliders at 24 MP take {row['over_copy']:.1f} copies, {met} the target of {TARGET:g}."
    return "The target is set at 24 MP, which this run left out."


def _cell(ms: dict[str, float]) -> str:
    return f"{ms['median']:.1f} ({ms['low']:.1f} to {ms['high']:.1f})"


def save(path: Path, text: str) -> None:
    """Write under a temporary name, then rename."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--eager-runs", type=int, default=3, help="0 leaves whole-image eager torch out")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(TIMED), choices=TIMED, help="megapixels to time")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--peak", nargs=3, metavar=("MP", "CASE", "KIND"), help="print one case's peak memory; no more")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        print(json.dumps(measure_peak(int(args.peak[0]), args.peak[1], args.peak[2], args.threads)))
        return
    result: dict[str, object] = {
        "command": f"python benchmarks/render.py {' '.join(sys.argv[1:])}".strip(),
        "commit": commit(),
        "date": today(),
        "hardware": hardware(),
        "threads": args.threads,
        "runs": args.runs,
        "seed": 0,
        "load": os.getloadavg()[0],
    }
    result["time"] = [row for mp in args.sizes for row in time_size(mp, args.threads, args.runs, args.eager_runs)]
    kinds = [(mp, kind) for mp in args.sizes for kind in ("uint8 to uint8", "float32 planes")] + [
        (100, "uint8 to uint8")
    ]
    result["memory"] = [peak(mp, case, kind, args.threads) for mp, kind in kinds for case in CASES]
    args.out.mkdir(parents=True, exist_ok=True)
    save(args.out / "render.json", json.dumps(result, indent=1) + "\n")
    save(args.out / "render.md", page(result))
    print(_verdict(result))


if __name__ == "__main__":
    main()
