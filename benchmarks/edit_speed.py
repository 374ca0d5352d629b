"""Seconds and memory of every method by size, as RLPixTuner's table 2 has them.

    python benchmarks/edit_speed.py --shared ../shared/data --out docs/results

The first photo of photos/hires_cc0, cut to 16:9 and resized to 720p, 1K, 2K and 4K (1280 x 720, 1920 x 1080, 2560 x
1440, 3840 x 2160: what the paper's names may mean); the goal is the editor itself at a seeded setting of radius 0.5,
8 bit. Each method at each size is a process of its own, so that the peak of memory is its own, with at most
``--memory`` GiB of address space; all cores. ``hybrid`` and ``policy`` make previews of 256 px, search 10 renders on
them and render the result once at full size. The baselines work at full size, as the paper's do: ``cmaes`` with 200
renders, by the strip renderer of ``editors/fullsize.py``, which is kind to it, and once more by the plain editor on
the whole picture, which is what the paper's baselines have; ``greedy`` and ``least-squares`` likewise by strips; the
proxies with 100 iterations of Adam on all pixels and one render. What is too slow to run whole is timed in part and
extrapolated, and says so. About 15 minutes on two cores; a stopped run goes on where it was. Writes
``edit_speed.json`` and ``edit_speed.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pixward.bench.provenance import code_digest, commit, hardware, today
from pixward.bench.tables import gates, speed, table
from pixward.files import save_text

SIZES = {"720p": (1280, 720), "1K": (1920, 1080), "2K": (2560, 1440), "4K": (3840, 2160)}
METHODS = (
    *("hybrid", "policy", "cmaes-preview", "cmaes", "greedy", "least-squares"),
    *("cmaes-plain", "monolithic", "cascaded"),
)
EDITORS = ("chain:photo", "chain:paper")
TIMES_FASTER = 100
"""How many times faster than CMA-ES `hybrid` must be at 4K; the paper's method: 117."""
FLAT = 1.5
"""How many times longer `hybrid` may search at 4K than at 720p."""
COMMAND = "python benchmarks/edit_speed.py --shared ../shared/data --out docs/results"
MOST_SECONDS = 900
ONE = Path(__file__).with_name("edit_speed_one.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with photos/hires_cc0")
    parser.add_argument(
        "--run", type=Path, default=Path("runs/edit-speed"), help="finished rows; a stopped run goes on"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--editors", nargs="+", default=list(EDITORS))
    parser.add_argument("--memory", type=float, default=20, metavar="GIB", help="address space of each process")
    options = parser.parse_args()
    kept = Kept(options.run / f"{fingerprint(options.memory)}.jsonl")
    rows = [
        kept.row(editor, method, size) or kept.add(measure(options, editor, method, size))
        for editor in options.editors
        for method in options.methods
        for size in options.sizes
    ]
    result = {
        "date": today(),
        "commit": commit(),
        "hardware": hardware(),
        "command": COMMAND,
        "memory_gib": options.memory,
        "sizes": {size: SIZES[size] for size in options.sizes},
        "rows": rows,
        "gates": promises(rows),
    }
    save_text(options.out / "edit_speed.json", json.dumps(result, indent=1) + "\n")
    save_text(options.out / "edit_speed.md", page(json.loads(json.dumps(result))))
    print(gates(result["gates"]))


def fingerprint(memory: float) -> str:
    """What decides a row besides its name: code, scripts and the limit."""
    scripts = Path(__file__).read_bytes() + ONE.read_bytes()
    return hashlib.sha256(f"{code_digest()} {memory}".encode() + scripts).hexdigest()[:12]


class Kept:
    """Finished rows, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows = [json.loads(line) for line in lines]

    def row(self, editor: str, method: str, size: str) -> dict[str, Any] | None:
        """A row that was measured before."""
        wanted = (editor, method, size)
        return next((row for row in self.rows if (row["editor"], row["key"], row["size"]) == wanted), None)

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Keep a row; returns it."""
        self.rows.append(row)
        save_text(self.path, "".join(json.dumps(each) + "\n" for each in self.rows))
        print(row, flush=True)
        return row


def measure(options: argparse.Namespace, editor: str, method: str, size: str) -> dict[str, Any]:
    """One method at one size, in a process of its own."""
    width, height = SIZES[size]
    words = [sys.executable, str(ONE), editor, method, f"{width}x{height}", "--memory", f"{options.memory:g}"]
    row = {"editor": editor, "key": method, "size": size}
    failed = {"method": method, "seconds": None, "peak_gib": None, "extrapolated": False}
    photos, env = options.shared / "photos/hires_cc0", {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        done = subprocess.run(
            [*words, "--photos", str(photos)], capture_output=True, text=True, timeout=MOST_SECONDS, env=env
        )
    except subprocess.TimeoutExpired:
        return {**row, **failed, "note": f"more than {MOST_SECONDS} s"}
    if done.returncode == -9:
        return {**row, **failed, "note": "out of memory"}
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    return {**row, **json.loads(done.stdout.splitlines()[-1])}


def promises(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was promised and what was reached, for each editor that has the rows."""
    found = {(row["editor"], row["key"], row["size"]): row for row in rows if row["seconds"] is not None}
    checks = []
    for editor in dict.fromkeys(row["editor"] for row in rows):
        ours, small = found.get((editor, "hybrid", "4K")), found.get((editor, "hybrid", "720p"))
        for rival, words in (("cmaes-plain", "the plain editor"), ("cmaes", "our strip renderer, which is kind to it")):
            theirs = found.get((editor, rival, "4K"))
            if ours and theirs:
                times = theirs["seconds"] / ours["seconds"]
                what = f"{editor}, 4K: hybrid's 10 renders and the full render faster than CMA-ES at 200 by {words}"
                checks.append(check(what, f">= {TIMES_FASTER} times", f"{times:.0f} times", times >= TIMES_FASTER))
        if ours and small:
            times = ours["parts"]["search"] / small["parts"]["search"]
            what = f"{editor}: hybrid's search at 4K beside that at 720p"
            checks.append(check(what, f"<= {FLAT:g} times", f"{times:.2f} times", times <= FLAT))
    return checks


def check(what: str, asked: str, reached: str, met: bool) -> dict[str, Any]:
    """One promise."""
    return {"what": what, "asked": asked, "reached": reached, "met": met}


def page(result: dict[str, Any]) -> str:
    """The page as Markdown."""
    machine = result["hardware"]
    parts = []
    for row in result["rows"]:
        cells = [f"{row['parts'][name]:.3g}" if name in row.get("parts", {}) else "" for name in _PARTS]
        numbers = [f"{row[name]:.4g}" if row.get(name) is not None else "" for name in ("psnr", "base_gib", "runs")]
        parts.append([row["editor"], row["method"], row["size"], *cells, *numbers, row["note"]])
    head = [
        "editor",
        "method",
        "size",
        *(f"{name}, s" for name in _PARTS),
        "PSNR, dB",
        "memory before, GiB",
        "runs",
        "",
    ]
    return f"""\
# Seconds and memory by size

`{result["command"]}`

Commit {result["commit"]}, {result["date"]}, {machine["processor"]}, {machine["cores"]} cores,
{machine["memory_gib"]} GiB, torch {machine["torch"]}. One photo, one seeded goal of the editor itself (radius 0.5),
8 bit; each method at each size in a process of its own with all cores and at most {result["memory_gib"]:g} GiB of
address space; "out of memory" is that limit. Seconds are all that a method does once it has photo and goal as pixels:
previews, search, the last render at full size. GiB are the peak of the whole process, Python, torch and both pictures
included. ~ marks times that were extrapolated; the last table says from what. Quick methods are medians of several runs
after a warm-up, the others one run: read those to one digit.

{gates(result["gates"])}

{speed(result)}

## Where the time goes

`preview`: reducing photo and goal to 256 px. `search`: all renders that are counted. `render`: the result at full size.
PSNR is that of the result at full size, where the whole search was run.

{table(head, parts)}
"""


_PARTS = ("preview", "search", "render")

if __name__ == "__main__":
    main()
