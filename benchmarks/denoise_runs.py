"""All tuning by rewards behind docs/results/denoise.md, the most important runs first.

    OMP_NUM_THREADS=1 python benchmarks/denoise_runs.py --out runs/denoise/reward --jobs 2

Each run is one call of recipes/denoise_reward.py and writes its own folder; runs that are finished are passed over and
stopped ones go on, so the same command may be given again at any time. ``--part ddpo`` does one part. Without --models
the models that ship are tuned.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2)
REWARDS = ("compress", "incompress", "colour", "align")
RATES = {"compress": ("3e-5", "1e-4", "3e-4"), "align": ("1e-5", "3e-5", "1e-4")}
CHOSEN = {  # by a seed that no table of rewards shows: what gains most while pictures are still recognised
    "rlcm": {"compress": "3e-5", "incompress": "3e-5", "colour": "3e-5", "align": "1e-5"},
    "ddpo": {"compress": "3e-5", "incompress": "3e-5", "colour": "3e-5", "align": "1e-5"},
}
RLCM = ("--algorithm", "rlcm", "--queries", "2560", "--every", "10")
DDPO = ("--algorithm", "ddpo", "--queries", "640", "--every", "5")
COMPRESS = (*RLCM, "--reward", "compress", "--rate", CHOSEN["rlcm"]["compress"])


@dataclass(frozen=True)
class Planned:
    """One call of the recipe.

    Attributes:
        name: of its folder.
        arguments: of the recipe.
    """

    name: str
    arguments: tuple[str, ...]


def main_runs(algorithm: str, settings: tuple[str, ...]) -> list[Planned]:
    """Every reward with every seed, seed by seed."""
    return [
        Planned(
            f"{reward}-{algorithm}-{seed}",
            (*settings, "--reward", reward, "--seed", str(seed), "--rate", CHOSEN[algorithm][reward]),
        )
        for seed in SEEDS
        for reward in REWARDS
    ]


def rates(algorithm: str, settings: tuple[str, ...], queries: str) -> list[Planned]:
    """Every rate for two of the rewards."""
    more = (*settings, "--queries", queries, "--seed", "100")
    return [
        Planned(f"rate-{algorithm}-{reward}-{rate}", (*more, "--reward", reward, "--rate", rate))
        for reward, tried in RATES.items()
        for rate in tried
    ]


PARTS = {
    "rates-rlcm": rates("rlcm", RLCM, "640"),
    "rates-ddpo": rates("ddpo", DDPO, "320"),
    "rlcm": main_runs("rlcm", RLCM),
    "ddpo": main_runs("ddpo", DDPO),
    # What nothing holds is compress-rlcm-0.
    "hacking": [Planned(f"compress-kl-{weight}", (*COMPRESS, "--kl", weight)) for weight in ("0.1", "1")],
    "studies": [
        # 1e-4 won the comparison of rates over 640 pictures, and then did this.
        Planned("align-too-fast", (*RLCM, "--reward", "align", "--rate", "1e-4")),
        Planned("steps-2", (*COMPRESS, "--steps", "2")),
        Planned("last-drop", (*COMPRESS, "--last", "drop")),
        Planned("last-head", (*COMPRESS, "--last", "head")),
    ],
}


def run(planned: Planned, out: Path, models: Path | None) -> int:
    """Train; the output goes to ``OUT/NAME.txt``."""
    command = [sys.executable, str(ROOT / "recipes" / "denoise_reward.py"), *planned.arguments]
    command += ["--name", planned.name, "--out", str(out), *(("--models", str(models)) if models else ())]
    with (out / f"{planned.name}.txt").open("a") as told:
        return subprocess.run(command, stdout=told, stderr=told, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode


def work(waiting: list[Planned], options: argparse.Namespace, lock: Lock) -> None:
    """Take the next until nothing is left."""
    while True:
        with lock:
            if not waiting:
                return
            taken = waiting.pop(0)
        began = time.monotonic()
        code = run(taken, options.out, options.models)
        took = time.monotonic() - began
        print(f"{taken.name}: {'done' if code == 0 else f'failed ({code})'} {took:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/denoise/reward"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="may be given more than once")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    waiting = [planned for part in options.part or PARTS for planned in PARTS[part]]
    lock = Lock()
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(work, waiting, options, lock) for _ in range(options.jobs)]:
            done.result()


if __name__ == "__main__":
    main()
