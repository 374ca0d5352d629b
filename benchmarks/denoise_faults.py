"""What pixward says to bad input of Denoise, and what is left of a run that is stopped; writes denoise_faults.json.

    OMP_NUM_THREADS=1 python benchmarks/denoise_faults.py

Every row is one command, run as a user runs it, in a folder of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from predict_results import Row, write

PLACE = Path("docs/results/denoise_faults.json")
REWARDS = """
calls = 0


def light(images, prompts, metadata):
    return images.mean((1, 2, 3)), {}


def later(images, wrong):
    global calls
    calls += 1
    return wrong if calls > 8 else images.mean((1, 2, 3))


def nan(images, prompts, metadata):
    return later(images, images.mean((1, 2, 3)) * float("nan")), {}


def short(images, prompts, metadata):
    return later(images, [1.0]), {}


def raises(images, prompts, metadata):
    if calls >= 8:
        raise RuntimeError("the scorer ran out of ideas")
    return later(images, None), {}
"""
RUNNER = "import sys; sys.argv = ['pixward', *sys.argv[1:]]; from pixward.cli import main; sys.exit(main())"
WITHOUT = "import sys; sys.modules['diffusers'] = None; " + RUNNER


def run(folder: Path, words: str, code: str = RUNNER) -> tuple[int, str]:
    """Exit code, and the last line of standard error."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "400"},
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return done.returncode, lines[-1].strip() if lines else ""


def whole(folder: Path) -> bool:
    """Whether the run's checkpoint can be read."""
    import torch

    place = folder / "checkpoint.pt"
    return place.exists() and torch.load(place, weights_only=True)["state"]["step"] > 0


def train(reward: str, out: str = "run") -> str:
    return f"train denoise --reward {reward} --queries 640 --out {out}"


def rewards(folder: Path) -> list[Row]:
    """Rewards that fail in the middle, after the first checkpoint."""
    rows = []
    (folder / "mine.py").write_text(REWARDS)
    for name in ("nan", "short", "raises"):
        code, said = run(folder, train(f"mine:{name}", name))
        rows.append({"what": f"--reward mine:{name}", "exit": code, "says": said, "checkpoint": whole(folder / name)})
    return rows


def stops(folder: Path) -> list[Row]:
    """Ctrl-C and kill -9 after the first checkpoint, and the same run resumed."""
    rows = []
    for name in ("SIGINT", "SIGKILL"):
        words = [sys.executable, "-c", RUNNER, *train("mine:light", name).split()]
        job = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        place, waited = folder / name / "checkpoint.pt", time.monotonic()
        while not place.exists() and time.monotonic() - waited < 300:
            time.sleep(0.05)
        job.send_signal(getattr(signal, name))
        errors = (job.communicate()[1] or "").strip().splitlines()
        row = {"what": name, "exit": job.returncode, "says": errors[-1] if errors and name == "SIGINT" else ""}
        row["checkpoint"] = whole(folder / name)
        code, _ = run(folder, f"train denoise --out {name} --resume")
        rows.append({**row, "resumed": code == 0})
    return rows


def others(folder: Path) -> list[Row]:
    """Models, extras and places."""
    (folder / "flux").mkdir()
    (folder / "flux" / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    (folder / "empty").mkdir()
    (folder / "there.png").write_bytes(b"mine")
    cases = [
        ("a pipeline of an unknown kind", "sample tiger --model flux", RUNNER),
        ("a folder without a pipeline", "sample tiger --model empty", RUNNER),
        ("diffusers is not installed", "sample tiger", WITHOUT),
        ("a LoRA that is not there", "sample tiger --lora nowhere", RUNNER),
        ("a file in the way", "sample tiger --out there.png", RUNNER),
        ("an algorithm of the other model", "train denoise --model emoji --algorithm rlcm --reward jpeg", RUNNER),
        ("no such reward", "train denoise --reward beauty", RUNNER),
        ("aesthetics without weights", "train denoise --reward aesthetic", RUNNER),
    ]
    return [
        {"what": what, "exit": code, "says": said}
        for what, words, how in cases
        for code, said in [run(folder, words, how)]
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        found = [*others(folder), *rewards(folder), *stops(folder)]
        rows = [
            {name: str(value).replace(kept, "...") if name == "says" else value for name, value in row.items()}
            for row in found
        ]
    write(PLACE, ["OMP_NUM_THREADS=1 python benchmarks/denoise_faults.py"], {"rows": rows, "notes": NOTES})


NOTES = [
    "Exit code 1 is something to mend, 2 a command line that makes no sense, 130 is Ctrl-C, -9 is kill -9.",
    "Rewards fail at their ninth call: two looks, four sets and two looks came before, and a checkpoint, of which the "
    "column says that it can be read afterwards.",
]


if __name__ == "__main__":
    main()
