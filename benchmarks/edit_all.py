"""Every figure of Edit from one command, with the seeds that are written in each piece (0).

    python benchmarks/edit_all.py --shared ../shared/data

One piece after another, each a command that can be given by itself: `pixward bench edit` (all methods on bsds500/val
and on the second source, photos/hires_cc0; searches to 500 renders), seconds and memory by size, the proxies, looks,
cubes, batches, and with ``--ablation`` the training of five policies; at the end the page once more, with what lies
beside it. Every piece keeps what it has finished in ``--runs``: a run that was stopped goes on, and a piece that this
code has finished is passed over. On two quiet cores about two hours; every piece says its minutes when it
begins. ``--only`` names pieces; ``--quick`` tries them on two photos in three minutes and writes into ``--runs``, not
into ``--out``. Needs `make setup`, and from ``--shared`` photos/, models/ and, for ``--ablation``, coco/.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pixward.bench.provenance import code_digest
from pixward.files import save_text

HERE = Path(__file__).resolve().parent
GOALS = (
    *("chain:paper@0.5:30", "chain:paper@1:30", "chain:photo@0.5:16"),
    *("chain:photo@1:16", "chain:photo@teacher:8"),
)
FIGURE_PHOTOS = 4


@dataclass(frozen=True)
class Piece:
    """One command of the whole, ``words``; ``minutes``: what it takes on two quiet cores."""

    name: str
    minutes: int
    words: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument(
        "--only", nargs="+", metavar="PIECE", help="bench, speed, proxies, looks, cube, batch, ablation"
    )
    parser.add_argument("--ablation", action="store_true", help="train and measure the five policies of table 4 too")
    parser.add_argument("--quick", action="store_true", help="two photos, few renders, nothing written into --out")
    options = parser.parse_args()
    if options.quick:
        options.runs = options.runs / "quick"
        options.out = options.runs / "results"
    pieces = quick(options) if options.quick else whole(options)
    if options.only:
        pieces = [piece for piece in pieces if piece.name in options.only]
    elif not options.ablation:
        pieces = [piece for piece in pieces if piece.name != "ablation"]
    print(f"{len(pieces)} pieces, about {sum(piece.minutes for piece in pieces)} minutes", flush=True)
    failed = [piece.name for piece in pieces if not done(piece, options.runs)]
    page = bench(options, "--page-only")
    if (options.out / "edit.json").exists():
        run_words(page)
    print(f"pages are in {options.out}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


def done(piece: Piece, runs: Path) -> bool:
    """Run ``piece`` unless this code has finished it before; False where it fails."""
    note = runs / "edit-all" / f"{piece.name}.json"
    mark = {"code": code_digest(), "words": list(piece.words)}
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) == mark:
        print(f"{piece.name}: finished before", flush=True)
        return True
    print(f"{piece.name}: about {piece.minutes} minutes\n  {shlex.join(piece.words)}", flush=True)
    start = time.perf_counter()
    good = run_words(piece.words)
    print(
        f"{piece.name}: {'done' if good else 'FAILED'} after {(time.perf_counter() - start) / 60:.1f} minutes",
        flush=True,
    )
    if good:
        save_text(note, json.dumps(mark))
    return good


def run_words(words: tuple[str, ...]) -> bool:
    """Run a command; whether it went well."""
    return subprocess.run(words, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}).returncode == 0


# --- the pieces -------------------------------------------------------------------------------------------------


def bench(options: argparse.Namespace, *more: str) -> tuple[str, ...]:
    """`pixward bench edit`, the whole of it or a short one."""
    shared: Path = options.shared
    sizes = (
        ("--limit", "2", "--renders", "30", "--timed", "1", "--figure", "1", "--preview", "96") if options.quick else ()
    )
    goals = ("chain:paper@0.5", "chain:photo@teacher:1") if options.quick else GOALS
    return (
        *(sys.executable, "-c", "from pixward.cli import main; main()", "bench", "edit"),
        *(str(shared / "photos/bsds500/val"), "--second", str(shared / "photos/hires_cc0")),
        *(word for name in goals for word in ("--goals", name)),
        *("--lpips", str(shared / "models/lpips_alex.safetensors"), "--teacher", str(shared / "models")),
        *(sizes or ("--limit", "30", "--timed", "2", "--figure", str(FIGURE_PHOTOS))),
        *("--out", str(options.out), "--run", str(options.runs / "bench-edit"), *more),
    )


def script(options: argparse.Namespace, name: str, *more: str) -> tuple[str, ...]:
    """A script of this folder with the arguments that all share."""
    return (sys.executable, str(HERE / name), "--shared", str(options.shared), "--out", str(options.out), *more)


def whole(options: argparse.Namespace) -> list[Piece]:
    """All of it."""
    runs: Path = options.runs
    ablation = str(HERE.parent / "recipes" / "ablation.py")
    return [
        Piece("bench", 25, bench(options)),
        Piece("speed", 15, script(options, "edit_speed.py", "--run", str(runs / "edit-speed"))),
        Piece("proxies", 30, proxies(options)),
        Piece("looks", 15, script(options, "looks.py", "--run", str(runs / "looks"))),
        Piece("cube", 20, (sys.executable, str(HERE / "cube.py"), "--out", str(options.out))),
        Piece("batch", 15, script(options, "batch.py")),
        Piece("ablation", 10, (sys.executable, ablation, *script(options, "")[2:], "--runs", str(runs / "ablation"))),
    ]


def quick(options: argparse.Namespace) -> list[Piece]:
    """Two photos, to see that all of it runs."""
    runs: Path = options.runs
    some = ("--sizes", "720p", "--editors", "chain:paper", "--methods", "hybrid", "cmaes-preview", "monolithic")
    return [
        Piece("bench", 1, bench(options)),
        Piece("speed", 1, script(options, "edit_speed.py", "--run", str(runs / "edit-speed"), *some)),
        Piece("proxies", 1, proxies(options, "--errors", "1", "--pairs", "1")),
        Piece("looks", 1, script(options, "looks.py", "--run", str(runs / "looks"), "--photos", "2")),
    ]


def proxies(options: argparse.Namespace, *more: str) -> tuple[str, ...]:
    """`proxies.py`, which wants photos and a file."""
    photos, run = options.shared / "photos/bsds500/val", options.runs / "proxies.jsonl"
    out = ("--out", str(options.out), "--run", str(run))
    return (sys.executable, str(HERE / "proxies.py"), "--photos", str(photos), *out, *more)


if __name__ == "__main__":
    main()
