"""A batch of 200 photos, three of them broken, killed in mid-run and given again: is anything done twice?

    OMP_NUM_THREADS=1 python benchmarks/batch.py --shared ../shared/data --out docs/results

Photos: the first 200 of `photos/bsds500` that were never trained on (val), then of test; goals at full size by
`chain:photo` at a seeded random setting within half of every slider's range. One photo is cut off in its middle, one
has a goal of another shape, one has no goal. `pixward match` is run as a person runs it, in a process of its own, with
two jobs; it and all its processes are killed (SIGKILL) when --kill photos are in the journal, and the same command is
given again. That nothing was done twice is read from the journal, which has one line for each photo, and from the
files, none of which is written anew. Then the first --timed photos once more, with one job and with two, for seconds.
Writes ``batch.json`` and ``batch.md``. A quarter of an hour on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from pixward.bench.goals import random_goal
from pixward.bench.provenance import commit, hardware, today
from pixward.commands.batch_journal import NAME
from pixward.editors.chain import PHOTO
from pixward.files import save_text
from pixward.image import from_tensor, load, to_tensor

SEED, RADIUS, COUNT = 0, 0.5, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--kill", type=int, default=80, help="photos in the journal when the run is killed")
    parser.add_argument("--timed", type=int, default=12, help="photos of the runs that are timed")
    parser.add_argument("--sheet", type=Path, help="where a copy of the contact sheet goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = make(options.shared, folder, options.count)
        result = {
            "date": today(),
            "commit": commit(),
            "hardware": hardware(),
            "command": "python benchmarks/batch.py --shared ../shared/data --out docs/results",
            "seed": SEED,
            "radius": RADIUS,
            "photos": options.count,
            "batch": killed_and_resumed(folder, names, options.kill),
            "timed": {str(jobs): timed(folder, names[: options.timed], jobs) for jobs in (1, 2)},
        }
        if options.sheet is not None:
            shutil.copy(folder / "out" / "contact.jpg", options.sheet)
    save_text(options.out / "batch.json", json.dumps(result, indent=1) + "\n")
    save_text(options.out / "batch.md", page(result))


def make(shared: Path, folder: Path, count: int) -> list[str]:
    """Photos and goals; the names of the photos in their order, the broken ones among them."""
    found = [sorted((shared / "photos" / "bsds500" / part).glob("*.jpg")) for part in ("val", "test")]
    files = [path for part in found for path in part][:count]
    photos, goals = folder / "photos", folder / "goals"
    photos.mkdir()
    goals.mkdir()
    cut, turned, lonely = count // 4, count // 2, 3 * count // 4
    for index, path in enumerate(files):
        data = path.read_bytes()
        (photos / path.name).write_bytes(data[: len(data) // 2] if index == cut else data)
        if index == lonely:
            continue
        goal, _, _ = random_goal(to_tensor(load(path).pixels), PHOTO, RADIUS, SEED, index)
        picture = Image.fromarray(from_tensor(goal))
        if index == turned:
            picture = picture.crop((0, 0, picture.width // 2, picture.height))
        picture.save(goals / f"{path.stem}.png", compress_level=1)
    return [path.name for path in files]


def command(names: list[str], jobs: int, out: str) -> list[str]:
    """``pixward match`` as it is typed in the folder."""
    program = [sys.executable, "-m", "pixward.cli", "match", *(f"photos/{name}" for name in names)]
    return [*program, "--goal-dir", "goals", "--jobs", str(jobs), "--out", out, "--json"]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The journal's whole lines, without those of the contact sheet."""
    journal = folder / NAME
    found = []
    for line in journal.read_bytes().split(b"\n") if journal.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record["answer"]:
            found.append(record)
    return found


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every result."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name not in ("contact.jpg", NAME)]
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def killed_and_resumed(folder: Path, names: list[str], kill: int) -> dict[str, Any]:
    """Run, kill, run again; what was done when."""
    out = folder / "out"
    start = time.perf_counter()
    with subprocess.Popen(
        command(names, 2, "out"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as first:
        while len(lines_of(out)) < kill:
            if first.poll() is not None:
                raise SystemExit(f"it ended before it was killed: {first.communicate()}")
            time.sleep(0.2)
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    until_kill = time.perf_counter() - start
    before, done = stamps(out), lines_of(out)
    start = time.perf_counter()
    second = subprocess.run(command(names, 2, "out"), cwd=folder, capture_output=True, text=True, check=False)
    again = time.perf_counter() - start
    told = json.loads(second.stdout)
    after, lines = stamps(out), lines_of(out)
    whole = {Path(path).name for record in done for path in record["files"]}
    photos = [Path(record["photo"]).name for record in lines]
    kept = [photo for photo in told["photos"] if photo["state"] == "kept"]
    third = subprocess.run(command(names, 2, "out"), cwd=folder, capture_output=True, text=True, check=False)
    return {
        "exit_code": second.returncode,
        "counts": told["counts"],
        "results": len([name for name in after if name.endswith(".setting.json")]),
        "files": len(after),
        "failed": {photo["photo"]: photo["error"] for photo in told["photos"] if photo["state"] == "failed"},
        "in_journal_when_killed": len(done),
        "kept_by_second_run": len(kept),
        "journal_lines_in_the_end": len(lines),
        "photos_with_two_lines": sorted({name for name in photos if photos.count(name) > 1}),
        "files_of_first_run_written_again": sorted(
            name for name in whole if name in before and before[name] != after[name]
        ),
        "left_over": sorted(path.name for path in out.iterdir() if path.name.startswith(".")),
        "third_run": json.loads(third.stdout)["counts"],
        "summary": told["summary"],
        "seconds": {"until_killed": round(until_kill, 1), "second_run": round(again, 1)},
    }


def timed(folder: Path, names: list[str], jobs: int) -> dict[str, float]:
    """Seconds for each photo, start and contact sheet included, and of the processor."""
    load = os.getloadavg()[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command(names, jobs, f"timed{jobs}"), cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    count = json.loads(done.stdout)["counts"]["done"]
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "photos": count,
        "seconds_per_photo": round(seconds / count, 3),
        "processor_seconds_per_photo": round(spent / count, 3),
        "load_before": round(load, 1),
    }


def page(result: dict[str, Any]) -> str:
    """The page as Markdown."""
    machine, batch, timed_runs = result["hardware"], result["batch"], result["timed"]
    summary = batch["summary"]
    failed = "\n".join(f"- `{photo}`: {error}" for photo, error in batch["failed"].items())
    figures = "\n".join(
        f"| {words} | {summary[f'{key}_before']['mean']:.2f} | {summary[f'{key}_before']['worst_twentieth']:.2f} "
        f"| {summary[key]['mean']:.2f} | {summary[key]['worst_twentieth']:.2f} |"
        for words, key in (("PSNR, dB", "psnr"), ("deltaE 2000", "delta_e"))
    )
    rows = "\n".join(
        f"| {jobs} | {run['photos']} | {run['seconds_per_photo']:.2f} | {run['processor_seconds_per_photo']:.2f} "
        f"| {run['load_before']:.1f} |"
        for jobs, run in timed_runs.items()
    )
    twice = len(batch["photos_with_two_lines"]) + len(batch["files_of_first_run_written_again"])
    return f"""# Many photos in one match

`OMP_NUM_THREADS=1 python benchmarks/batch.py --shared ../shared/data --out docs/results`

Commit {result["commit"]}, {result["date"]}, {machine["processor"]}, {machine["cores"]} cores, seed {result["seed"]}.
{result["photos"]} photos of bsds500 (val, then test), goals by `chain:photo` at random settings of radius
{result["radius"]:g}, `hybrid` at 10 renders, `--jobs 2`. Three photos are broken on purpose.

## Killed, and given again

The run and all its processes got SIGKILL when {batch["in_journal_when_killed"]} photos were in the journal; then the
same command was given again.

| what | how many |
|---|---:|
| results in the end | {batch["results"]} |
| failed, named (exit code {batch["exit_code"]}) | {batch["counts"]["failed"]} |
| done by the first run, kept by the second | {batch["kept_by_second_run"]} |
| done by the second run | {batch["counts"]["done"]} |
| photos with two lines in the journal, or files of the first run written again | {twice} |
| kept by a third run / done by it | {batch["third_run"]["kept"]} / {batch["third_run"]["done"]} |
| temporary files left over | {len(batch["left_over"])} |

{failed}

## How near

Distances of preview pictures (256 px), mean and worst twentieth (5th percentile of PSNR, 95th of deltaE) over all
results.

| | before, mean | before, worst | after, mean | after, worst |
|---|---:|---:|---:|---:|
{figures}

## How long

The first photos once more into an empty folder; start of Python and the contact sheet are included. Seconds of the
processor tell more than those of the clock where the machine had other work (the load before each run stands beside).

| jobs | photos | seconds a photo | processor seconds a photo | load |
|---:|---:|---:|---:|---:|
{rows}
"""


if __name__ == "__main__":
    main()
