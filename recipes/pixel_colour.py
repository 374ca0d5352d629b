"""Train the local colour enhancement that ships with pixward: "foreground pop-out", from 70 pairs.

    python recipes/pixel_colour.py --data ../shared/data --out runs/colour --control

First a regressor from input to result (as PixelRL's authors start from one), then the policy: it begins with the
regressor's encoder and guess and learns by a2c, 10 steps, which of the 13 actions every pixel takes. Trains on the
pairs of train_ids.txt only; --fold 0, 1 or 2 leaves out a third of those to choose settings by. With --control the
regressor is trained on for as long as the policy was, for a comparison at equal time. One thread; resumes with the
same command.

Reached on one thread of an AMD EPYC: regressor 166 processor seconds, policy 75, control 63. On the 45 test pairs
(benchmarks/pixel_colour.py) the mean Lab distance falls from 12.90 to 6.89; the regressor alone reaches 6.25, the
control 6.19. With --fold 0 --regress 1500 --policy-rate 3e-4 --entropy 0.01 --updates 60 the regressor has 7.78 on the
held-out pictures after 1000 updates and 7.94 after 1500 (3.66 in training), the policy 8.30 at its start and 8.39 at
its end: the pairs are few, and a2c adds nothing that was measured there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from pixward.data.before_after import BeforeAfter, PairCrops, read_before_after
from pixward.envs.pixel import PixelEnv
from pixward.metrics.image import srgb_to_lab
from pixward.ops.pixel import COLOUR
from pixward.pixel.run import improve
from pixward.policies.pixel import PixelPolicy, PixelSettings, save_pixel_policy
from pixward.policies.pixel_context import LAB, ContextRegressor
from pixward.policies.weights import load_weights, save_weights
from pixward.run import Run, read_log, seed_everything
from pixward.train.a2c import A2CSettings, a2c

HORIZON = 10
FOLDS = 3
EVERY = 100


def popout(data: Path, part: str) -> list[BeforeAfter]:
    """The pairs of the part "train" or "test"."""
    folder = data / "colour_popout"
    return read_before_after(folder / "data", folder / "label", folder / f"{part}_ids.txt")


def shown(image: Tensor) -> Tensor:
    """What a colour policy reads: Lab, each channel about [-1, 1]."""
    return srgb_to_lab(image) / image.new_tensor(LAB).view(1, 3, 1, 1)


def distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean Lab distance ``(B,)`` of two images as :func:`shown`."""
    gap = (first - second) * first.new_tensor(LAB).view(1, 3, 1, 1)
    return gap.square().sum(1).add(1e-4).sqrt().mean((1, 2))


class LabReward:
    """``pixward.rewards.pixel.lab_distance``, which remembers the target's Lab: every step asks for it 28 times."""

    def __init__(self) -> None:
        self._target: Tensor | None = None
        self._lab: Tensor | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """``(B, H, W)``, in full precision: half of it would round away what a small step of colour changes."""
        with torch.autocast(output.device.type, enabled=False):
            if self._target is not target or self._lab is None:
                self._target, self._lab = target, srgb_to_lab(target)
            return -(self._lab - srgb_to_lab(output)).square().sum(1).sqrt()


@torch.no_grad()
def judge_regressor(net: ContextRegressor, pairs: list[BeforeAfter]) -> dict[str, float]:
    """Mean Lab distance on whole pictures."""
    scores = [float(distance(net(shown(b["image"])), shown(b["clean"]))) for b in (pair.batch() for pair in pairs)]
    return {"held_out": round(sum(scores) / len(scores), 4)} if scores else {}


def judge_policy(policy: PixelPolicy, pairs: list[BeforeAfter]) -> dict[str, float]:
    """Mean Lab distance on whole pictures, every pixel taking its best action."""
    scores = []
    for batch in (pair.batch() for pair in pairs):
        result = improve(policy, batch["image"]).result.clamp(0, 1)
        scores.append(float(distance(shown(result), shown(batch["clean"]))))
    return {"held_out": round(sum(scores) / len(scores), 4)} if scores else {}


def regress(
    net: ContextRegressor, crops: PairCrops, held_out: list[BeforeAfter], run: Run, plan: tuple[int, float]
) -> None:
    """Train ``net`` in place for ``plan``: (updates, learning rate at the peak)."""
    updates, rate = plan
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-2)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, updates, pct_start=0.05, final_div_factor=100)
    parts = {"net": net, "optimizer": optimizer, "course": course}
    saved = run.load() or {"step": 0, "seconds": 0.0}
    for name in parts.keys() & saved.keys():
        parts[name].load_state_dict(saved[name])
    step, spent, began, total = saved["step"], saved["seconds"], time.process_time(), 0.0
    logged = step
    while step < updates:
        batch = crops(8)
        start, goal = shown(batch["image"]), shown(batch["clean"])
        with torch.autocast("cpu", torch.bfloat16):
            result = net(start)
        loss = distance(result.float(), goal).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        course.step()
        step += 1
        total += float(loss.detach())
        if step % EVERY == 0 or step == updates:
            spent += time.process_time() - began
            line = {"distance": total / (step - logged), "cpu_seconds": round(spent, 2)}
            line |= judge_regressor(net, held_out) if step % (5 * EVERY) == 0 or step == updates else {}
            run.log(step, line)
            run.save({name: part.state_dict() for name, part in parts.items()} | {"step": step, "seconds": spent})
            print({"step": step, **line}, flush=True)
            total, logged, began = 0.0, step, time.process_time()


def start(policy: PixelPolicy, regressor: ContextRegressor) -> None:
    """Give the policy the regressor's encoder and guess."""
    policy.net.load_state_dict({**policy.net.state_dict(), **regressor.state_dict()})


def seconds(folder: Path) -> float:
    """Processor seconds that a run has taken."""
    return float(read_log(folder / "log.jsonl")[-1]["cpu_seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/colour"))
    parser.add_argument("--fold", type=int, choices=range(FOLDS), default=None)
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--regress", type=int, default=2500, help="updates of the regressor")
    parser.add_argument("--regressor", type=Path, default=None, help="use this finished regressor")
    parser.add_argument("--rate", type=float, default=2e-3, help="of the regressor")
    parser.add_argument("--updates", type=int, default=80, help="of the policy")
    parser.add_argument("--policy-rate", type=float, default=1e-4)
    parser.add_argument("--entropy", type=float, default=0.0)
    parser.add_argument("--gradient", choices=("all", "sampled"), default="all")
    parser.add_argument("--side", type=int, default=96)
    args = parser.parse_args()
    torch.set_num_threads(1)
    seed_everything(0)
    pairs = popout(args.data, "train")
    training = [pair for index, pair in enumerate(pairs) if args.fold is None or index % FOLDS != args.fold]
    held_out = [pair for index, pair in enumerate(pairs) if index % FOLDS == args.fold][::2]
    crops = PairCrops(training, args.side, 2.0)
    regressor = ContextRegressor().to(memory_format=torch.channels_last)
    if args.regressor is None:
        with Run(args.out / "regressor", resume=True, tensorboard=False) as run:
            regress(regressor, crops, held_out, run, (args.regress, args.rate))
        save_weights(args.out / "regressor.safetensors", regressor.state_dict(), "regressor", {}, torch.float32)
    else:
        regressor.load_state_dict(load_weights(args.regressor, "regressor")[0])

    settings = PixelSettings(
        "colour", False, HORIZON, 32, None, "pixward, recipes/pixel_colour.py", "context", foresight=True
    )
    policy = PixelPolicy(settings).to(memory_format=torch.channels_last)
    start(policy, regressor)
    plan = A2CSettings(
        updates=args.updates,
        batch=8,
        learning_rate=args.policy_rate,
        entropy=args.entropy,
        gradient=args.gradient,
        bfloat16=True,
        checkpoint_every=min(100, args.updates),
    )
    small = PairCrops(training, 64, 3.0)
    with Run(args.out / "policy", resume=True, tensorboard=False) as run:
        print({"step": 0, **judge_policy(policy, held_out)}, flush=True)
        env = PixelEnv(COLOUR, HORIZON, LabReward())
        for line in a2c(env, policy, small, run, plan, lambda: judge_policy(policy, held_out)):
            print({name: round(value, 4) for name, value in line.items()}, flush=True)
    save_pixel_policy(args.out / "policy.safetensors", settings, policy.state_dict(), torch.float16)

    if args.control:
        more = round(args.regress * seconds(args.out / "policy") / seconds(args.out / "regressor"))
        with Run(args.out / "control", resume=True, tensorboard=False) as run:
            regress(regressor, crops, held_out, run, (more, args.rate / 2))
        save_weights(args.out / "control.safetensors", regressor.state_dict(), "regressor", {}, torch.float32)


if __name__ == "__main__":
    main()
