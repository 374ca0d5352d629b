"""Train the policy of `pixward pixel saliency`: every pixel raises or lowers its brightness, saturation or contrast.

    python recipes/pixel_saliency.py --stamps /usr/share/tuxpaint/stamps --data ../shared/data --out runs/pixel_saliency

TMM 2020's fourth task, whose code was never released: actions, reward and network are ours. The reward calls the
saliency network of recipes/saliency.py and never differentiates it; its training pictures, with an object's mask each,
are the tasks here. Resumes with the same command.

200 updates, 230 processor seconds on one core of an AMD EPYC. On 24 held-out composites saliency rose by 0.068 inside
the mask and fell by 0.009 outside; benchmarks/pixel_saliency.py has real photos and what a plain search reaches.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from saliency import held_out_scenes, training_scenes
from torch import Tensor

from pixward.data.scenes import Scenes
from pixward.envs.pixel import PixelEnv, saliency
from pixward.envs.pixel_blocks import BlockEnv, BlockPolicy, Blocks
from pixward.pixel.run import improve
from pixward.policies.pixel import PixelPolicy, PixelSettings, save_pixel_policy
from pixward.policies.saliency import load_saliency
from pixward.rewards.saliency import (
    STAY,
    Saliency,
    SaliencyReward,
    inside_and_outside,
    look,
    saliency_condition,
    saliency_target,
)
from pixward.run import Run, seed_everything
from pixward.train.a2c import A2CSettings, a2c
from pixward.types import State

SIZE = (72, 96)
"""Height and width of the pictures that it learns on."""


def tasks_of(scenes: Scenes, model: Saliency) -> Callable[[int], State]:
    """Photos, each with the mask of an object, or at times of any place."""

    def tasks(count: int) -> State:
        images, _, masks = scenes(count)
        both = torch.cat([images, masks[:, None]], 1)
        both = F.interpolate(both, SIZE, mode="bilinear", antialias=True).clamp(0, 1)
        image, mask = both[:, :3].contiguous(), both[:, 3]
        # An object that something else hides, and now and then any: people also mark places.
        other = (mask.mean((1, 2)) < 0.01) | (torch.rand(count) < 0.1)
        mask = torch.where(other.view(-1, 1, 1), _ellipses(count), mask)
        condition = saliency_condition(image, mask, model)
        return {"image": image, "clean": saliency_target(image, mask), "condition": condition}

    return tasks


def _ellipses(count: int) -> Tensor:
    y, x = torch.linspace(0, 1, SIZE[0])[:, None], torch.linspace(0, 1, SIZE[1])[None]
    cy, cx, ry, rx = (low + wide * torch.rand(count, 1, 1) for low, wide in ((0.2, 0.6),) * 2 + ((0.1, 0.25),) * 2)
    return (((y - cy) / ry).square() + ((x - cx) / rx).square() < 1).float()


def evaluation(env: PixelEnv, policy: PixelPolicy, model: Saliency, batch: State) -> Callable[[], dict[str, float]]:
    """What the policy by itself, every pixel its best action, makes of a fixed batch."""
    mask = batch["condition"][:, 0]
    before = inside_and_outside(batch["condition"][:, 1], mask)
    reward = SaliencyReward(model, env.reward.stay if isinstance(env.reward, SaliencyReward) else STAY)

    def evaluate() -> dict[str, float]:
        policy.eval()
        after = improve(policy, batch["image"], condition=batch["condition"]).result
        policy.train()
        gains = [new - old for new, old in zip(inside_and_outside(look(model, after), mask), before, strict=True)]
        gain = reward(after, batch["clean"]) - reward(batch["image"], batch["clean"])
        return {
            "inside": float(gains[0].mean()),
            "outside": float(gains[1].mean()),
            "score": float(gain.mean()),
            "change": float((after - batch["image"]).abs().mean() * 255),
        }

    return evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, required=True, help="folder of cut-outs: PNGs with alpha")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/pixel_saliency"))
    parser.add_argument("--saliency", default="default", help="weights of the network that rewards")
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--stay", type=float, default=STAY)
    parser.add_argument("--entropy", type=float, default=0.003)
    parser.add_argument("--block", type=int, default=96, help="pixels that decide together; 96: all of a side and tone")
    parser.add_argument("--every", type=int, default=25)
    args = parser.parse_args()
    torch.set_num_threads(1)
    seed_everything(2)
    model = load_saliency(args.saliency)
    held_out = tasks_of(held_out_scenes(args.stamps, args.data), model)(24)
    seed_everything(0)
    env = saliency(SaliencyReward(model, args.stay))
    settings = PixelSettings(
        actions="saliency",
        horizon=env.horizon,
        width=32,
        design="context",
        condition=2,
        origin="recipes/pixel_saliency.py",
    )
    policy, blocks = PixelPolicy(settings), Blocks(args.block)
    torch.nn.init.zeros_(policy.net.head.weight)  # no opinion at first
    learning = A2CSettings(
        updates=args.updates,
        batch=args.batch,
        learning_rate=args.rate,
        gamma=0.0,  # a gain stays: what a step brings is what it brings in the end, and later steps are only noise
        entropy=args.entropy,
        gradient="sampled",
        bfloat16=True,
        checkpoint_every=args.every,
    )
    tasks = tasks_of(training_scenes(args.stamps, args.data), model)
    with Run(args.out, resume=True, tensorboard=False) as run:
        evaluate = evaluation(env, policy, model, held_out)
        for line in a2c(
            BlockEnv(env, blocks, about=1 if args.block >= max(SIZE) else 3),
            BlockPolicy(policy, blocks),
            tasks,
            run,
            learning,
            evaluate,
        ):
            print({name: round(value, 4) for name, value in line.items()}, flush=True)
    save_pixel_policy(args.out / "saliency.safetensors", settings, policy.state_dict(), torch.float16)
    print(asdict(settings))


if __name__ == "__main__":
    main()
