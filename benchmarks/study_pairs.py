"""Tasks for ``pixward study``: what each method makes of held-out photos, in folders that the command reads.

    python benchmarks/study_pairs.py ../shared/data/photos/bsds500/val --out runs/study-looks --kind looks
    pixward study runs/study-looks --picks 2

``--kind looks``: the target is another photo under a random setting (the paper's stylisation study: 20 questions, up to
2 picks); beside identity stand Reinhard's and histogram transfer, CMA-ES at 200 renders and hybrid at 10. ``--kind
goals``: the target is the photo itself under a random setting; greedy and least squares at 10 stand in for the
transfers. Searches run on previews, results are rendered from the photo. tasks.json keeps settings and distances.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixward.bench.goals import random_goal
from pixward.bench.provenance import commit, hardware, today
from pixward.data.pairs import photo_files
from pixward.editors.chain import PHOTO
from pixward.files import save_text
from pixward.framing import PREVIEW
from pixward.image import from_tensor, load, preview, quantize, save
from pixward.match import match
from pixward.search.problem import Look
from pixward.search.transfer import histogram_match, reinhard

Method = Callable[["Question"], tuple[Tensor, dict[str, object]]]


@dataclass(frozen=True)
class Question:
    """One task: ``photo`` and ``target`` as shown, ``small`` and ``aim`` for a search; ``hidden``: what made it."""

    name: str
    photo: Tensor
    target: Tensor
    small: Tensor
    aim: Tensor | Look
    hidden: dict[str, object]


def identity(question: Question) -> tuple[Tensor, dict[str, object]]:
    return question.photo, {}


def painted(transfer: Callable[[Tensor, Tensor], Tensor]) -> Method:
    """A transfer of colours: no sliders, so it paints the full picture at once."""

    def method(question: Question) -> tuple[Tensor, dict[str, object]]:
        return transfer(question.photo, question.target), {}

    return method


def searched(strategy: str, renders: int, seed: int) -> Method:
    """A search on the preview, then one render of the photo."""

    def method(question: Question) -> tuple[Tensor, dict[str, object]]:
        found = match(question.small, question.aim, editor=PHOTO, strategy=strategy, renders=renders, seed=seed)
        with torch.no_grad():
            result = PHOTO(question.photo, PHOTO.space.from_dict(found.setting)[None])
        return result, {"setting": found.setting, "renders": found.renders, "distance": found.distance}

    return method


def goal_of(path: Path, number: int, options: argparse.Namespace) -> tuple[Tensor, dict[str, object]]:
    """A photo under a random setting, which nobody who answers sees: seeded as the benchmark's goals are."""
    photo = preview(load(path), options.side)
    _, action, _ = random_goal(preview(from_tensor(photo), PREVIEW), PHOTO, options.radius, options.seed, number)
    values = PHOTO.space.denormalize(action)
    with torch.no_grad():
        target = quantize(PHOTO(photo, values[None]))
    return target, {"scene": path.name, "setting": PHOTO.space.to_dict(values)}


def questions(files: list[Path], options: argparse.Namespace) -> Iterator[Question]:
    """The first ``count`` of the seed's order of ``files``; a look's reference is the photo half the order on."""
    order = [files[k] for k in np.random.default_rng(options.seed).permutation(len(files))]
    looks = options.kind == "looks"
    for number, path in enumerate(order[: options.count]):
        scene = order[(number + len(order) // 2) % len(order)] if looks else path
        target, hidden = goal_of(scene, number, options)
        photo = preview(load(path), options.side)
        small, aim = (preview(from_tensor(picture), PREVIEW) for picture in (photo, target))
        yield Question(
            f"{number + 1:02d}-{path.stem}", photo, target, small, Look(aim) if looks else quantize(aim), hidden
        )


def write(question: Question, kind: str, methods: dict[str, Method], folder: Path) -> dict[str, object]:
    """The pictures of one task; what is known about each result."""
    folder.mkdir()
    known: dict[str, object] = {}
    for name, method in methods.items():
        picture, known[name] = method(question)
        save(folder / f"{name}.png", from_tensor(picture, 8))
    save(folder / "source.png", from_tensor(question.photo, 8))
    save(folder / ("reference.png" if kind == "looks" else "goal.png"), from_tensor(question.target, 8))
    return {"task": folder.name, "hidden": question.hidden, "results": known}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="new folder of tasks")
    parser.add_argument("--kind", choices=("looks", "goals"), default="looks")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--radius", type=float, default=0.5)
    parser.add_argument("--side", type=int, default=800, help="longest side of the pictures")
    options = parser.parse_args()

    slow, ours = searched("cmaes", 200, options.seed), searched("hybrid", 10, options.seed)
    rivals = {"reinhard": painted(reinhard), "histogram": painted(histogram_match)}
    if options.kind == "goals":
        rivals = {name: searched(name, 10, options.seed) for name in ("greedy", "least-squares")}
    methods = {"identity": identity, **rivals, "cmaes-200": slow, "hybrid-10": ours}
    options.out.mkdir(parents=True)  # Never into a folder that is there: its pictures would join the study.
    tasks = []
    for question in questions(photo_files([options.photos]), options):
        tasks.append(write(question, options.kind, methods, options.out / question.name))
        print(f"{len(tasks)} of {options.count}: {question.name}", flush=True)
    asked = {name: getattr(options, name) for name in ("kind", "count", "seed", "radius", "side")}
    made = {"commit": commit(), "date": today(), "hardware": hardware()}
    save_text(options.out / "tasks.json", json.dumps({**asked, **made, "tasks": tasks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
