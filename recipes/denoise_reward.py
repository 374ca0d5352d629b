"""Tune one of the small models by a reward: RLCM or DDPO, as docs/results/denoise.md compares them.

    OMP_NUM_THREADS=1 python recipes/denoise_reward.py --algorithm rlcm --reward compress --seed 0 \
        --models runs/denoise --out runs/denoise/reward

A run writes its log, a sheet of pictures at fixed seeds for each checkpoint and, at the end, ``unet.safetensors`` into
OUT/REWARD-ALGORITHM-SEED (or --name). One that is stopped goes on with the same command. Without --models what ships is
tuned. Prompts are 33 animals, for alignment on five grounds; pictures of 9 more are looked at and never tuned on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixward.data.worlds import WorldSplit
from pixward.denoise.builtin import builtin_judge, builtin_pipeline, builtin_prompts
from pixward.denoise.evaluate import Looks
from pixward.denoise.painter import painter
from pixward.denoise.settings import small_settings
from pixward.denoise.tuning import Tuning, tune
from pixward.files import save_atomic
from pixward.image import save
from pixward.policies.pipelines import PainterSettings
from pixward.rewards.alignment import ClassAlignment
from pixward.rewards.image import colourfulness, compressibility, incompressibility
from pixward.run import Run
from pixward.train.workers import Workers

MODELS = {"rlcm": "emoji-lcm", "ddpo": "emoji"}
GUIDANCE = 1.0
"""Of both models: none. It leaves rewards something to do, and halves what a step of DDPO costs."""


def reward_of(name: str, scorer: ClassAlignment) -> Any:
    def compress(images: Tensor, prompts: Any, metadata: Any) -> Tensor:
        return compressibility(images, floor=True)

    def incompress(images: Tensor, prompts: Any, metadata: Any) -> Tensor:
        return incompressibility(images, floor=True)

    def colour(images: Tensor, prompts: Any, metadata: Any) -> Tensor:
        return colourfulness(images)

    def align(images: Tensor, prompts: Any, metadata: Any) -> Tensor:
        with torch.no_grad():
            return scorer(images, prompts)

    return {"compress": compress, "incompress": incompress, "colour": colour, "align": align}[name]


def prompts_of(reward: str, split: WorldSplit) -> tuple[str, ...]:
    """Plain animals; for alignment animals on grounds, since the models draw plain ones as they should already."""
    if reward != "align":
        return builtin_prompts(split)
    return tuple(prompt for prompt in builtin_prompts(split, plain=False) if " on " in prompt)


def looks_of(reward: str) -> dict[str, Looks]:
    """66 pictures of what is tuned on, 36 of what is not."""
    train, held = prompts_of(reward, "train"), prompts_of(reward, "held-out")
    if reward == "align":  # every animal on two of the grounds
        train, held = (
            tuple(prompts[5 * at + (at + more) % 5] for at in range(len(prompts) // 5) for more in (0, 2))
            for prompts in (train, held)
        )
    return {"train": Looks(train, 66 // len(train)), "held-out": Looks(held, 36 // len(held), seed=2_000_000)}


def sheet(folder: Path, name: str, pictures: Tensor, step: int) -> None:
    """Eight of the pictures to a row, 48 at most."""
    shown = pictures[:48]
    shown = shown[: len(shown) // 8 * 8]
    rows = [torch.cat(list(row), 2) for row in shown.split(8)]
    place = folder / "samples" / f"{name}-{step:05d}.png"
    place.parent.mkdir(exist_ok=True)
    save(place, torch.cat(rows, 1).permute(1, 2, 0).numpy(), force=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=list(MODELS), required=True)
    parser.add_argument("--reward", choices=["compress", "incompress", "colour", "align"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--queries", type=int, default=1_600)
    parser.add_argument("--steps", type=int, default=0, help="sampling steps; 0: the paper's")
    parser.add_argument("--rate", type=float, default=0.0, help="0: the settings'")
    parser.add_argument("--kl", type=float, default=0.0)
    parser.add_argument("--last", choices=["keep", "drop", "head"], default="keep")
    parser.add_argument("--every", type=int, default=10, help="sets of 32 pictures between looks")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/denoise/reward"))
    parser.add_argument("--name", default="")
    options = parser.parse_args()
    settings = small_settings(options.algorithm, options.queries, options.seed)
    settings = replace(settings, checkpoint_every=options.every, kl=options.kl)
    if options.rate:
        settings = replace(settings, learning_rate=options.rate)
    folder = options.out / (options.name or f"{options.reward}-{options.algorithm}-{options.seed}")
    if (folder / "unet.safetensors").exists():
        print(f"{folder} is finished")
        return
    chosen = PainterSettings(steps=options.steps, guidance=GUIDANCE, last=options.last)
    drawn = painter(builtin_pipeline(MODELS[options.algorithm], options.models), chosen)
    scorer = builtin_judge(options.models)
    workers = Workers()
    run = Run(folder, resume=True) if workers.first else None
    tuning = Tuning(
        prompts_of(options.reward, "train"),
        reward_of(options.reward, scorer),
        settings,
        looks_of(options.reward),
        scorer,
        partial(sheet, folder),
    )
    for line in tune(drawn, tuning, run, workers):
        said = {name: round(value, 4) for name, value in line.items() if "/" in name or name in ("queries", "loss")}
        print(line["step"], said, flush=True)
    if workers.first:
        from safetensors.torch import save_file

        state = {name: weight.half().contiguous() for name, weight in drawn.pipeline.unet.state_dict().items()}
        save_atomic(folder / "unet.safetensors", lambda part: save_file(state, str(part)), force=True)


if __name__ == "__main__":
    main()
