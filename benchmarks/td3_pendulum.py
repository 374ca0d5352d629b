"""Our TD3 beside stable-baselines3's on Pendulum-v1: same networks, settings, steps and test starts.

    OMP_NUM_THREADS=1 nice -n 15 python benchmarks/td3_pendulum.py --seeds 3 --steps 10000 --out docs/results

About four minutes of one core's time. Writes td3.json and td3.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from pixward.run import Run, seed_everything
from pixward.train.td3 import TD3Settings, train
from pixward.types import State

HIDDEN = 64
SHARED = {"lr": 1e-3, "batch": 128, "gamma": 0.98, "tau": 0.01, "policy_delay": 2, "explore_sigma": 0.1,
          "target_sigma": 0.2, "target_clip": 0.5, "replay": 16_384, "start_steps": 500}  # fmt: skip
EVAL_EVERY = 1000
STARTS = 50


class Pendulum:
    """gymnasium's Pendulum-v1 in torch, batched and functional; a test holds it against the original."""

    horizon = 200

    def reset(self, batch: State) -> State:
        """``{"theta": (B,) rad, 0 is upright, "omega": (B,) rad/s}`` as it is."""
        return {"theta": batch["theta"], "omega": batch["omega"]}

    def step(self, state: State, action: Tensor) -> tuple[State, Tensor]:
        """Apply a torque of ``2 action``, ``action`` ``(B, 1)``, for 0.05 s."""
        theta, omega, torque = state["theta"], state["omega"], 2 * action[:, 0].clamp(-1, 1)
        angle = (theta + math.pi) % (2 * math.pi) - math.pi
        cost = angle**2 + 0.1 * omega**2 + 0.001 * torque**2
        omega = (omega + (15 * theta.sin() + 3 * torque) * 0.05).clamp(-8, 8)
        return {"theta": theta + omega * 0.05, "omega": omega}, -cost

    def image(self, state: State) -> Tensor:
        """There is none."""
        raise NotImplementedError("a pendulum has no picture here")


def starts(count: int, seed: int) -> State:
    """Starts as gymnasium draws them: any angle, speed within 1."""
    uniform = 2 * torch.rand(2, count, generator=torch.Generator().manual_seed(seed)) - 1
    return {"theta": math.pi * uniform[0], "omega": uniform[1]}


def observe(state: State) -> Tensor:
    return torch.stack([state["theta"].cos(), state["theta"].sin(), state["omega"]], 1)


def mlp(inputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)]


class Actor(nn.Module):
    """State to action, ``(B, 1)`` in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*mlp(3), nn.Tanh())

    def forward(self, state: State) -> Tensor:  # noqa: D102
        return self.net(observe(state))


class Critic(nn.Module):
    """State and action to value, ``(B,)``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*mlp(4))

    def forward(self, state: State, action: Tensor) -> Tensor:  # noqa: D102
        return self.net(torch.cat([observe(state), action], 1))[:, 0]


@torch.no_grad()
def score(actor) -> float:
    """Mean return over the same test starts for everybody."""
    env = Pendulum()
    state, total = env.reset(starts(STARTS, seed=10_000)), torch.zeros(STARTS)
    for _ in range(env.horizon):
        state, reward = env.step(state, actor(state))
        total += reward
    return float(total.mean())


def ours(seed: int, steps: int) -> tuple[list[float], float]:
    seed_everything(seed)
    settings = TD3Settings(
        steps=steps, seed=seed, lr_actor=SHARED["lr"], lr_critic=SHARED["lr"],
        **{key: value for key, value in SHARED.items() if key != "lr"},
        random_steps=SHARED["start_steps"], at_horizon="bootstrap",
        checkpoint_every=10**9, eval_every=EVAL_EVERY,
    )  # fmt: skip
    curve, spent = [], 0.0

    def evaluate(actor: nn.Module) -> dict[str, float]:
        nonlocal spent
        began = time.process_time()
        curve.append(score(actor))
        spent += time.process_time() - began
        return {"score": curve[-1]}

    with tempfile.TemporaryDirectory() as folder, Run(folder, tensorboard=False) as run:
        began = time.process_time()
        train(Pendulum(), Actor(), (Critic(), Critic()), lambda i: starts(1, 1000 * seed + i), settings, run, evaluate)
        return curve, time.process_time() - began - spent


def theirs(seed: int, steps: int) -> tuple[list[float], float]:
    import numpy as np
    from stable_baselines3 import TD3
    from stable_baselines3.common.noise import NormalActionNoise

    model = TD3(
        "MlpPolicy", "Pendulum-v1", learning_rate=SHARED["lr"], buffer_size=SHARED["replay"],
        learning_starts=SHARED["start_steps"], batch_size=SHARED["batch"], tau=SHARED["tau"], gamma=SHARED["gamma"],
        train_freq=1, gradient_steps=1,
        action_noise=NormalActionNoise(np.zeros(1), np.full(1, SHARED["explore_sigma"])),
        policy_delay=SHARED["policy_delay"], target_policy_noise=SHARED["target_sigma"],
        target_noise_clip=SHARED["target_clip"], policy_kwargs={"net_arch": [HIDDEN, HIDDEN]}, seed=seed, device="cpu",
    )  # fmt: skip
    curve, spent = [], 0.0
    for _ in range(steps // EVAL_EVERY):
        began = time.process_time()
        model.learn(EVAL_EVERY, reset_num_timesteps=False)
        spent += time.process_time() - began
        model.policy.set_training_mode(False)
        curve.append(score(lambda state: model.policy.actor(observe(state))))
    return curve, spent


def git_commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, 1 of {os.cpu_count()} cores"


def page(report: dict) -> str:
    """The result as a Markdown page."""
    lines = [
        "# TD3 on Pendulum: ours beside stable-baselines3's",
        "",
        "A check of `pixward.train.td3`, not a race: the same networks (two hidden layers of 64), settings, number of",
        f"steps and {STARTS} test starts. Figures are mean returns without exploration noise; higher is better.",
        f"For scale: doing nothing scores {report['idle']:.0f}, random torques {report['random']:.0f}.",
        "",
        "```",
        report["command"],
        "```",
        "",
        f"Commit {report['commit']}; {report['hardware']}; Python {report['python']}, torch {report['torch']}, "
        f"stable-baselines3 {report['stable_baselines3']}. Seconds are processor time of training alone, after a "
        "warm-up; other work ran on the machine at the same time.",
        "",
        "| seed | trainer | " + " | ".join(f"{s}" for s in report["eval_steps"]) + " steps | seconds |",
        "|---|---|" + "---|" * (len(report["eval_steps"]) + 1),
    ]
    for row in report["runs"]:
        figures = " | ".join(f"{value:.0f}" for value in row["curve"])
        lines.append(f"| {row['seed']} | {row['trainer']} | {figures} | {row['seconds']:.0f} |")
    for name in ("pixward", "stable-baselines3"):
        curves = [row["curve"] for row in report["runs"] if row["trainer"] == name]
        means = " | ".join(f"{statistics.mean(values):.0f}" for values in zip(*curves, strict=True))
        lines.append(f"| mean | {name} | {means} | |")
    lines += ["", "| trainer | last score: mean | worst seed | best seed | steps per second |", "|---|---|---|---|---|"]
    for name in ("pixward", "stable-baselines3"):
        rows = [row for row in report["runs"] if row["trainer"] == name]
        last = [row["curve"][-1] for row in rows]
        speed = statistics.median(report["steps"] / row["seconds"] for row in rows)
        lines.append(f"| {name} | {statistics.mean(last):.0f} | {min(last):.0f} | {max(last):.0f} | {speed:.0f} |")
    lines += [
        "",
        "Differences that remain: a seed means other first weights, noise and training starts in each trainer. Both",
        'bootstrap through Pendulum\'s time limit (`at_horizon="bootstrap"`); editing does not. With this few seeds',
        "only large gaps mean anything.",
        "",
        "The stricter check is a test (`tests/train/test_td3.py`): from the same weights and transitions, six updates",
        "of both trainers give the same weights to 2e-6, targets included.",
        "",
        "Settings: " + ", ".join(f"{key} {value:g}" for key, value in report["settings"].items()) + ".",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    import stable_baselines3

    for trainer in (ours, theirs):
        trainer(0, EVAL_EVERY)  # the first update imports much of torch
    rows = []
    for seed in range(args.seeds):
        for name, trainer in (("pixward", ours), ("stable-baselines3", theirs)):
            curve, seconds = trainer(seed, args.steps)
            rows.append({"seed": seed, "trainer": name, "curve": curve, "seconds": seconds})
            print(json.dumps(rows[-1]), flush=True)
    generator = torch.Generator().manual_seed(0)
    report = {
        "command": f"OMP_NUM_THREADS=1 nice -n 15 python benchmarks/td3_pendulum.py "
        f"--seeds {args.seeds} --steps {args.steps} --out {args.out}",
        "commit": git_commit(),
        "hardware": cpu_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stable_baselines3": stable_baselines3.__version__,
        "settings": SHARED,
        "steps": args.steps,
        "eval_steps": [EVAL_EVERY * (i + 1) for i in range(args.steps // EVAL_EVERY)],
        "test_starts": STARTS,
        "idle": score(lambda state: torch.zeros(STARTS, 1)),
        "random": score(lambda state: 2 * torch.rand(STARTS, 1, generator=generator) - 1),
        "runs": rows,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, text in (("td3.json", json.dumps(report, indent=1) + "\n"), ("td3.md", page(report))):
        partial = args.out / f".{name}.part"
        partial.write_text(text)
        partial.replace(args.out / name)


if __name__ == "__main__":
    main()
