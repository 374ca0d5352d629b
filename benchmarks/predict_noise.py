"""How much of a policy gradient is signal: cosines between gradients of one policy on different scenes.

    OMP_NUM_THREADS=1 python benchmarks/predict_noise.py --runs runs/predict

A cosine of c between batches means that about a share c of the squared gradient is common to them, which is what
training can follow; the rest is chance. Writes docs/results/predict_noise.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from predict_results import Row, digest, write
from torch import Tensor, nn

from pixward.data.synth import Scenes
from pixward.policies.sequence import SequencePolicy
from pixward.predict.detect import DetectTask
from pixward.predict.panoptic import PanopticTask
from pixward.predict.task import PredictTask
from pixward.predict.weights import load_policy, load_task
from pixward.train.reinforce import ReinforceSettings, _draw, _loss
from pixward.train.workers import Learner, Workers

PLACE = Path("docs/results/predict_noise.json")
SEED = 5
NOTES = [
    "16 scenes and 4 samples each in a batch, leave-one-out, temperature 1, no loss but the policy gradient. Boxes are "
    "judged by what they add to those before them, tokens of maps by the segments in their own cell.",
]


def ways(task: PredictTask) -> dict[str, PredictTask]:
    """The task, judged by the whole reward and by parts of it."""
    if isinstance(task, DetectTask):
        bare = replace(task, confidence=0.0)
        own = {
            f"own box, later ones discounted by {gamma:g}": replace(bare, discount=gamma) for gamma in (1.0, 0.5, 0.0)
        }
        return {"the whole reward": bare, **own}
    if isinstance(task, PanopticTask):
        whole = replace(task, precision="bf16")
        return {"the whole reward": whole, "own cell": replace(whole, local=True)}
    return {"the whole reward": task}


def gradients(policy: SequencePolicy, task: PredictTask, batches: int) -> Tensor:
    """``(batches, weights)``, of length 1 each."""
    learner, settings = Learner(policy, Workers(), 0.0, 0.0), ReinforceSettings(seed=SEED)
    rewarded, found = task.rewarded(Scenes(seed=SEED), 16), []
    for number in range(batches):
        drawn, _ = _draw(learner, rewarded, settings, None, number)
        policy.zero_grad()
        _loss(learner, rewarded, settings, drawn)[0].backward()
        parts = [torch.zeros_like(w) if w.grad is None else w.grad for w in policy.parameters()]
        found.append(torch.cat([part.flatten() for part in parts]))
    return nn.functional.normalize(torch.stack(found), dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/predict"))
    parser.add_argument("--batches", type=int, default=12)
    options = parser.parse_args()
    rows: list[Row] = []
    for name in ("detect", "panoptic", "caption", "colour"):
        file = options.runs / name / "mle" / "policy.safetensors"
        task = load_task(file)
        for way, judged in ways(task).items():
            found = gradients(load_policy(file, task), judged, options.batches)
            cosines = (found @ found.T)[~torch.eye(len(found), dtype=torch.bool)]
            row: dict[str, Any] = {"task": name, "judged by": way, "cosine": round(cosines.mean().item(), 4)}
            rows.append({**row, "weights": digest(file)})
            print(rows[-1], flush=True)
    command = [f"python benchmarks/predict_noise.py --batches {options.batches}"]
    write(PLACE, command, {"seed": SEED, "rows": rows, "notes": NOTES})


if __name__ == "__main__":
    main()
