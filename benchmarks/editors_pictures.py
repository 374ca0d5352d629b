"""How near each search comes to goals that the editor itself has made; a line of JSON for every search.

    python benchmarks/editors_pictures.py --editor darktable --out runs/editors/pictures.jsonl
    python benchmarks/editors_pictures.py --editor rawtherapee --out runs/editors/pictures.jsonl

40 photos of bsds500/val and 8 of photos/hires_cc0, the first ones by name; no network was trained on them. The goal of
photo i is the editor's own render of its preview (256 pixels) at ``a = 0.5 u``, normalised sliders, with u uniform in
[-1, 1] from ``numpy.random.default_rng([seed, i])``, drawn again where the goal's mean is below 0.01 or above 0.9. All
searches see the same previews and goals, on one process of the editor each, and every render counts. A run that was
stopped goes on; ``--part 0/2`` and ``--part 1/2`` share the photos between two processes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixward.bench.provenance import commit, hardware
from pixward.commands.editors import load_editor
from pixward.data.pairs import photo_files
from pixward.editors.external import ExternalEditor
from pixward.image import load, preview, quantize, to_tensor
from pixward.match import build, distances
from pixward.policies.goal import load_policy
from pixward.policies.mapped import MappedPolicy, MappedResponse, load_map
from pixward.search.cmaes import cmaes
from pixward.search.hybrid import hybrid
from pixward.search.least_squares import least_squares
from pixward.search.problem import Problem, Solver, best_so_far, psnr, run
from pixward.search.random import random_search

SHARED = Path("../shared/data/photos")
CHECKS = (1, 5, 10, 20, 30, 60, 100, 200)
REACH = 0.5


def photos() -> list[Path]:
    """The 48, in the order of their numbers."""
    return photo_files([SHARED / "bsds500" / "val"])[:40] + photo_files([SHARED / "hires_cc0"])[:8]


def solvers(editor: ExternalEditor) -> dict[str, tuple[Solver, int]]:
    """Name -> solver and its budget of renders."""
    slider_map = load_map(editor.name)
    chain = MappedPolicy(load_policy("chain:photo"), slider_map)
    return {
        "random": (random_search, 60),
        "cmaes": (cmaes, 200),
        "least-squares": (least_squares, 60),
        "hybrid, map only": (hybrid(chain, MappedResponse(slider_map)), 60),
        "hybrid": (build("hybrid", editor), 60),
    }


def goal_of(editor: ExternalEditor, source: Tensor, number: int, seed: int) -> tuple[Tensor, Tensor]:
    """The true setting, normalised ``(1, d)``, and its render, 8 bit."""
    rng = np.random.default_rng([seed, number])
    while True:
        action = torch.tensor(REACH * rng.uniform(-1, 1, len(editor.space)), dtype=torch.float32)[None]
        goal = quantize(editor(source, editor.space.denormalize(action)))
        if 0.01 <= float(goal.mean()) <= 0.9:
            return action, goal


def search(editor: ExternalEditor, solver: Solver, budget: int, pair: tuple[Tensor, Tensor], seed: int) -> dict:
    """One search: its curve, what it found and how long it took."""
    source, goal = pair
    problem = Problem(editor, source, goal, budget=budget)
    before, start = editor.counts.renders, time.perf_counter()
    run(solver, problem, seed)
    seconds = time.perf_counter() - start
    curve = best_so_far(problem)

    def at(renders: int) -> dict[str, float]:
        trials = problem.trials[:renders]
        best = min(trials, key=lambda trial: trial.mse, default=None)
        untouched = best is None or problem.source_mse <= best.mse
        picture = quantize(source) if untouched else best.image[None] / 255
        return distances(picture, problem.goal)

    best = problem.best
    return {
        "psnr": {k: round(psnr(curve[min(k, len(curve) - 1)]), 3) for k in CHECKS if k <= budget},
        "at_30": at(30),
        "end": at(budget),
        "renders": len(problem.trials),
        "rendered": editor.counts.renders - before,
        "seconds": round(seconds, 3),
        "found": editor.space.to_dict(editor.space.denormalize(best.action)),
        "action": [round(float(value), 5) for value in best.action],
    }


def fresh(editor: ExternalEditor, source: Tensor, setting: dict[str, float], folder: Path) -> float:
    """PSNR between the process that stays open and a fresh one of the editor, for one setting of the preview."""
    frame = editor.frame(source[0])
    text, out = editor.program.sidecar(setting, frame), folder / f"{editor.name}-{frame.key}.tif"
    editor.program.final(frame.path, text, out, bits=16, seconds=120)
    seen = editor(source, editor.space.from_dict(setting)[None])
    found = distances(quantize(to_tensor(load(out).pixels)), quantize(seen))["psnr"]
    out.unlink()
    return found


def main() -> None:
    """Run what is still to be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--editor", required=True, choices=("darktable", "rawtherapee"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="0/1")
    job = parser.parse_args()
    torch.set_num_threads(1)
    job.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in job.out.read_text().splitlines()] if job.out.exists() else []
    done = {(line["editor"], line["photo"], line["method"], line["seed"]) for line in lines}
    part, parts = map(int, job.part.split("/"))
    with ExternalEditor(load_editor(job.editor).program, workers=1) as editor:
        methods = solvers(editor)
        for number, path in enumerate(photos()):
            todo = [name for name in methods if (job.editor, path.name, name, job.seed) not in done]
            if number % parts != part or not todo:
                continue
            source = preview(load(path))
            action, goal = goal_of(editor, source, number, job.seed)
            about = {
                "editor": job.editor,
                "version": editor.program.version,
                "photo": path.name,
                "number": number,
                "seed": job.seed,
                "identity": distances(quantize(source), goal),
                "true": editor.space.to_dict(editor.space.denormalize(action)),
                "true_action": [round(float(value), 5) for value in action[0]],
                "commit": commit(),
                "hardware": hardware(),
            }
            for name in todo:
                solver, budget = methods[name]
                line = {**about, "method": name, **search(editor, solver, budget, (source, goal), job.seed)}
                if name == "hybrid":
                    line["fresh"] = fresh(editor, source, line["found"], job.out.parent)
                with job.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(number, path.name, name, line["psnr"], line["seconds"], flush=True)


if __name__ == "__main__":
    main()
