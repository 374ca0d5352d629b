"""A task of tokens on made-up scenes: likelihood first, then the reward, and the control that the reward must beat.

    OMP_NUM_THREADS=1 python recipes/predict.py --phase encoder --out runs/predict
    OMP_NUM_THREADS=1 python recipes/predict.py --phase codes --out runs/predict
    OMP_NUM_THREADS=1 python recipes/predict.py --task detect --phase mle --out runs/predict
    OMP_NUM_THREADS=1 python recipes/predict.py --task detect --phase reward --out runs/predict --name recall-0
    OMP_NUM_THREADS=1 python recipes/predict.py --task detect --phase more --out runs/predict --name more-0
    python recipes/predict.py --task detect --phase ship --out runs/predict --name map-0

``codes`` trains the VQ-VAE that ``--task panoptic`` speaks in (4,000 steps), writes OUT/panoptic/codes.safetensors and,
beside it, the ceiling that its policies have; codes that are there already are only measured.

A phase that stops, by --minutes or by a kill, goes on with the same command. ``more`` is the control: further steps of
likelihood from the same weights as the reward phase starts from. Scenes are 64 pixels wide with 1 to 6 objects of 12
classes, drawn anew for every step. Every phase writes policy.safetensors and log.jsonl into its own folder,
``OUT/TASK/NAME``; ``accelerate launch`` in front of the script spreads it over processes (``--accumulate`` then is a
multiple of their number).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from pixward.boxes import Segments
from pixward.data.synth import Scenes, SceneSettings
from pixward.errors import PixwardError
from pixward.files import save_atomic
from pixward.policies.vqvae import PanopticCodes, VqSettings, load_codes, save_codes, train_codes
from pixward.predict.caption import CaptionTask
from pixward.predict.colour import ColourTask
from pixward.predict.detect import DetectTask
from pixward.predict.encoder import pretrain_encoder
from pixward.predict.panoptic import PanopticTask, ceiling
from pixward.predict.phases import Phase, begun, run_phase
from pixward.predict.task import PredictTask, new_policy
from pixward.predict.weights import load_policy, load_task, save_policy
from pixward.rewards.vision import DetectionSettings
from pixward.train.likelihood import LikelihoodSettings
from pixward.train.reinforce import ReinforceSettings
from pixward.train.workers import Workers
from pixward.types import Decoding


def task_for(options: argparse.Namespace) -> PredictTask:
    names = SceneSettings().classes
    if options.task == "panoptic":
        place = codes_in(options.out)
        if not place.exists():
            raise PixwardError(f"there is no {place}: run --phase codes first")
        cost = 0.3 if options.false_cost is None else options.false_cost
        return PanopticTask(load_codes(place), SceneSettings().labels, cost, "bf16", local=options.discount != "whole")
    if options.task == "caption":
        # Every phase reads the same scenes, and so has the same words or colours.
        return CaptionTask.of(Scenes(seed=0))
    if options.task == "colour":
        return ColourTask.of(Scenes(seed=0))
    reward = DetectionSettings(false_positive_cost=options.false_cost or 0.0, duplicate_cost=options.duplicate_cost)
    discount = None if options.discount == "whole" else float(options.discount)
    # The paper rewards mAP by learning a confidence beside recall; the classes of scenes are equally frequent, so that
    # its class weights are all 1.
    return DetectTask(
        names,
        settings=reward,
        confidence=options.confidence if options.reward == "map" else 0.0,
        discount=discount,
    )


def phase_for(options: argparse.Namespace, folder: Path, encoder: Path) -> Phase:
    more = options.phase == "more"
    schooling = LikelihoodSettings(
        steps=options.steps or (600 if more else 8_000),
        seed=options.seed,
        accumulate=options.accumulate,
        learning_rate=options.rate or (1e-4 if more else 7e-4),
        average=options.average,
        checkpoint_every=options.every,
    )
    tuning = ReinforceSettings(
        steps=options.steps or 600,
        seed=options.seed,
        samples=options.samples,
        accumulate=options.accumulate,
        estimator=options.estimator,
        kl=options.kl,
        learning_rate=options.rate or 1e-4,
        average=options.average,
        warmup=options.warmup,
        decoding=Decoding(options.temperature),
        checkpoint_every=options.every,
    )
    first = options.phase == "mle"
    begin = (encoder if encoder.exists() else None) if first else folder.parent / "mle" / "policy.safetensors"
    return Phase(
        options.phase,
        folder,
        begin,
        schooling,
        tuning,
        batch=options.batch or (16 if options.phase == "reward" else 32),
        held_out=options.held_out,
        minutes=options.minutes,
    )


def train_encoder(options: argparse.Namespace, task: PredictTask, place: Path) -> None:
    torch.manual_seed(options.seed)
    policy = new_policy(task, options.width)
    scenes, steps = Scenes(seed=options.seed + 100), options.steps or 2_500
    for step, line in enumerate(pretrain_encoder(policy, scenes, steps), 1):
        if step % 50 == 0:
            print(json.dumps({"step": step, **{name: round(value, 4) for name, value in line.items()}}), flush=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    save_policy(place, policy, task)


def codes_in(out: Path) -> Path:
    return out / "panoptic" / "codes.safetensors"


def learn_codes(options: argparse.Namespace) -> None:
    """Train the codes of panoptic maps unless they are there, and write what a policy could reach with them."""
    place, scene = codes_in(options.out), SceneSettings()
    if not place.exists():
        torch.manual_seed(options.seed)
        shape = VqSettings(len(scene.labels), len(scene.classes), objects=scene.objects[1], codes=256, width=48)
        codes, scenes, batch = PanopticCodes(shape), Scenes(seed=options.seed + 200), options.batch or 16

        def maps(index: int) -> Segments:
            return scenes.batch(range(index * batch, (index + 1) * batch)).segments

        sums: dict[str, float] = {}
        for step, line in enumerate(train_codes(codes, maps, options.steps or 4_000, precision=torch.bfloat16), 1):
            sums = {name: sums.get(name, 0.0) + value for name, value in line.items()}
            if step % 25 == 0:
                print(json.dumps({"step": step, **{k: round(v / 25, 4) for k, v in sums.items()}}), flush=True)
                sums = {}
        place.parent.mkdir(parents=True, exist_ok=True)
        save_codes(place, codes)
    reached = ceiling(load_codes(place), Scenes(seed=0, split="held-out"), options.held_out, "bf16")
    figures = {"scenes": options.held_out, **{name: round(value, 4) for name, value in reached.items()}}

    def write(part: Path) -> None:
        part.write_text(json.dumps(figures, indent=1) + "\n")

    save_atomic(place.with_suffix(".json"), write, force=True)
    print(json.dumps(figures), flush=True)


def ship(trained: Path, name: str) -> None:
    """The weights that come with pixward, in half precision."""
    task = load_task(trained)
    place = Path(__file__).resolve().parents[1] / "src" / "pixward" / "weights" / f"{name}.predict.safetensors"
    save_policy(place, load_policy(trained), task, torch.float16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["detect", "panoptic", "colour", "caption"], default="detect")
    parser.add_argument("--phase", choices=["encoder", "codes", "mle", "reward", "more", "ship"], required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/predict"))
    parser.add_argument("--name", help="the phase's folder in OUT/TASK; its own name if not given")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop at the first checkpoint after these")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, help="scenes a step: 32 for likelihood, 16 for rewards")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--rate", type=float, help="learning rate")
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--held-out", type=int, default=200, help="scenes of each evaluation")
    parser.add_argument("--reward", choices=["recall", "map"], default="recall", help="map has a confidence")
    parser.add_argument("--false-cost", type=float, help="of a wrong box (0) or segment (0.3)")
    parser.add_argument("--confidence", type=float, default=0.3, help="of detection")
    parser.add_argument("--duplicate-cost", type=float, default=0.3, help="of detection")
    parser.add_argument("--discount", default="whole", help="of what later boxes add; whole: all judged by all of it")
    parser.add_argument("--average", type=float, default=0.0, help="keep a running mean of the weights, such as 0.99")
    parser.add_argument("--temperature", type=float, default=1.0, help="of samples")
    parser.add_argument("--warmup", type=int, default=20, help="steps in which the rate of a reward rises")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--estimator", choices=["leave_one_out", "one_sample", "group"], default="leave_one_out")
    parser.add_argument("--kl", type=float, default=0.0)
    options = parser.parse_args()
    if options.phase == "ship":
        ship(options.out / options.task / (options.name or "reward") / "policy.safetensors", options.task)
        return
    if options.phase == "codes":
        learn_codes(options)
        return
    task = task_for(options)
    encoder = options.out / "encoder" / "policy.safetensors"
    if options.phase == "encoder":
        train_encoder(options, task, encoder)
        return
    phase = phase_for(options, options.out / task.name / (options.name or options.phase), encoder)
    # What comes later sees other scenes than the lessons before it.
    source = Scenes(seed=options.seed + {"mle": 0, "more": 1000, "reward": 2000}[options.phase])
    workers = Workers()
    policy = begun(task, phase, options.width)
    for line in run_phase(task, policy, phase, source, Scenes(seed=0, split="held-out"), workers):
        if workers.first:
            print(json.dumps({name: round(value, 4) for name, value in line.items()}), flush=True)


if __name__ == "__main__":
    main()
