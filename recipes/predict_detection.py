"""Detection on made-up scenes: likelihood first, then the reward; both measured on held-out scenes.

    OMP_NUM_THREADS=1 python recipes/predict_detection.py --phase mle --out runs/detect --minutes 60
    OMP_NUM_THREADS=1 python recipes/predict_detection.py --phase reward --out runs/detect --name recall --minutes 30
    OMP_NUM_THREADS=1 python recipes/predict_detection.py --phase more --out runs/detect --minutes 30

A phase that stops, by --minutes or by a kill, goes on with the same command. ``more`` is the control: further steps of
likelihood from the same weights as the reward phase starts from. Scenes are 64 pixels wide with 1 to 6 of 12 classes,
drawn anew for every step. Each phase writes policy.safetensors and log.jsonl into its own folder; ``accelerate launch``
in front of the script spreads it over processes (``--accumulate`` then is a multiple of their number).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from pixward.data.synth import Scenes, SceneSettings
from pixward.data.tokens import BoxTokens
from pixward.policies.sequence import SequencePolicy, SequenceSettings, load_sequence, save_sequence
from pixward.predict.detect import DetectionReward, evaluate, lessons, pictures, reward_task
from pixward.rewards.vision import DetectionSettings, class_weights
from pixward.run import Run
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.workers import Workers

KIND = BoxTokens(classes=len(SceneSettings().classes), boxes=8, steps=64)


def new_policy(seed: int, width: int) -> SequencePolicy:
    torch.manual_seed(seed)
    return SequencePolicy(SequenceSettings(KIND.vocabulary, KIND.length, width=width), KIND)


def detection_settings(options: argparse.Namespace) -> DetectionSettings:
    # The classes of scenes are equally frequent, so mAP's weights only matter for data of one's own.
    weights = class_weights([1] * KIND.classes) if options.reward == "map" else None
    return DetectionSettings(false_positive_cost=options.false_cost, class_weights=weights)


def trainer(
    options: argparse.Namespace, policy: SequencePolicy, run: Run | None, workers: Workers
) -> Iterator[dict[str, float]]:
    scenes = Scenes(seed=options.seed)
    reward = DetectionReward(KIND, detection_settings(options))
    held_out = Scenes(seed=0, split="held-out")

    def measure(_: int) -> dict[str, float]:
        return evaluate(policy, reward, held_out, options.held_out)

    if options.phase == "reward":
        settings = ReinforceSettings(
            steps=options.steps or 2_000,
            seed=options.seed,
            samples=options.samples,
            accumulate=options.accumulate,
            estimator=options.estimator,
            kl=options.kl,
            learning_rate=options.rate or 1e-4,
            checkpoint_every=options.every,
        )
        task = reward_task(reward, pictures(scenes, options.batch or 16), options.confidence)
        return reinforce(policy, task, settings, run, workers, evaluate=measure)
    more = options.phase == "more"
    schooling = LikelihoodSettings(
        steps=options.steps or (2_000 if more else 16_000),
        seed=options.seed,
        accumulate=options.accumulate,
        learning_rate=options.rate or (1e-4 if more else 7e-4),
        checkpoint_every=options.every,
    )
    # The control sees other scenes than the lessons before it.
    batches = lessons(KIND, Scenes(seed=options.seed + 1000) if more else scenes, options.batch or 32, options.seed)
    return likelihood(policy, batches, schooling, run, workers, measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phase", choices=["mle", "reward", "more"], required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/detect"))
    parser.add_argument("--name", help="the phase's folder in --out; its own name if not given")
    parser.add_argument("--minutes", type=float, default=60, help="stop at the first checkpoint after these")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, help="scenes a step: 32 for likelihood, 16 for rewards")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--rate", type=float, help="learning rate")
    parser.add_argument("--every", type=int, default=250, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--held-out", type=int, default=200, help="scenes of each evaluation")
    parser.add_argument("--reward", choices=["recall", "map"], default="recall")
    parser.add_argument("--false-cost", type=float, default=0.0)
    parser.add_argument("--confidence", type=float, default=0.3)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--estimator", choices=["leave_one_out", "one_sample", "group"], default="leave_one_out")
    parser.add_argument("--kl", type=float, default=0.0)
    options = parser.parse_args()
    folder = options.out / (options.name or options.phase)
    first = options.phase == "mle"
    policy = (
        new_policy(options.seed, options.width)
        if first
        else load_sequence(options.out / "mle" / "policy.safetensors", KIND)
    )
    workers = Workers()
    run = Run(folder, resume=(folder / "checkpoint.pt").exists()) if workers.first else None
    began = time.monotonic()
    for line in trainer(options, policy, run, workers):
        if workers.first:
            print({name: round(value, 4) for name, value in line.items()}, flush=True)
            save_sequence(folder / "policy.safetensors", policy)
        if workers.share(time.monotonic() - began > 60 * options.minutes):
            break


if __name__ == "__main__":
    main()
