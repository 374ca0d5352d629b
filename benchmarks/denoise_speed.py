"""How fast an update of PPO is and how much memory it takes: ours, and plain loops over diffusers' schedulers.

    OMP_NUM_THREADS=1 python benchmarks/denoise_speed.py

Writes docs/results/denoise_speed.json. Two cases, on networks of the size that ships, with random weights: LCM in 8
steps, DDIM in 50 with guidance by two calls. Every contestant is a process of its own, so that its peak memory
(getrusage) is its own; they take turns, update by update, and medians are given after a first update that does not
count. Times are processor seconds with one thread, since other processes may share the machine; wall time stands
beside them. All draw the same number of pictures, make the same updates in minibatches of the same size, and hardly
learn. Before, ours and the plain loop are given the same decisions, and losses and gradients are compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from denoise_plain import Numbers, Plain
from torch import Tensor, nn

from pixward.bench.provenance import commit, hardware, today
from pixward.denoise.modules import GUIDANCE, LATENT, TOKENS, WORDS, new_codec, new_denoiser
from pixward.envs.denoise import DenoiseEnv
from pixward.files import save_text
from pixward.ops.sampler import ddim_sampler, lcm_sampler
from pixward.policies.denoiser import DenoiserPolicy, Guidance
from pixward.rewards.image import compressibility
from pixward.train import ppo as ours
from pixward.train.pictures import PictureTask
from pixward.train.ppo import PPOSettings, ppo
from pixward.train.workers import Learner, Workers

PLACE = Path("docs/results/denoise_speed.json")
SEED, PROMPTS = 0, 64
WHO = {
    "pixward": "train/ppo.py, as it trains: with checks and figures",
    "sample": "plain loop, shuffled decisions, diffusers' scheduler asked for one at a time",
    "time": "plain loop, each minibatch of one time, diffusers' scheduler asked once for it",
}


def numbers_of(case: str, batch: int, accumulate: int, steps: int = 0) -> Numbers:
    """What all contestants of a case agree on; a minibatch is as large as a batch."""
    if case == "lcm":
        return Numbers(steps or 8, 8.0, GUIDANCE, batch, accumulate, batch)
    return Numbers(steps or 50, 5.0, 0, batch, accumulate, batch)


def modules(numbers: Numbers) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The network and the decoder, the same for all."""
    torch.manual_seed(SEED)
    unet, codec = new_denoiser(guided=bool(numbers.embedded)), new_codec()
    codec.requires_grad_(False).eval()
    return unet.eval(), lambda latents: codec.decode(latents).sample / 2 + 0.5  # type: ignore[operator]


def batches(numbers: Numbers) -> Callable[[int, int], dict[str, Any]]:
    """Small batch ``i`` of made-up prompts."""
    read = torch.randn(PROMPTS + 1, TOKENS, WORDS, generator=torch.Generator().manual_seed(SEED))

    def drawn(index: int, count: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        which = torch.randint(PROMPTS, (count,), generator=generator)
        noise = torch.randn(count, *LATENT, generator=generator)
        found = {"prompts": [f"prompt {at}" for at in which.tolist()], "prompt": read[which], "noise": noise}
        return found if numbers.embedded else found | {"unconditional": read[-1:].expand(count, -1, -1)}

    return drawn


def judged(images: Tensor, prompts: Any = None, metadata: Any = None) -> Tensor:
    """DDPO's reward for small files."""
    return compressibility(images)


def settings_of(numbers: Numbers) -> PPOSettings:
    """The same numbers as ours."""
    return PPOSettings(
        steps=10_000,
        batch=numbers.batch,
        accumulate=numbers.accumulate,
        minibatch=numbers.minibatch,
        clip=numbers.clip,
        advantage="batch",
        learning_rate=numbers.rate,
        checkpoint_every=1,
    )


def our_parts(numbers: Numbers) -> tuple[DenoiseEnv, DenoiserPolicy, PictureTask]:
    """Environment, policy and task."""
    unet, decode = modules(numbers)
    sampler = lcm_sampler(numbers.steps) if numbers.embedded else ddim_sampler(numbers.steps)
    policy = DenoiserPolicy(unet, sampler, Guidance(numbers.guidance, numbers.embedded))
    return DenoiseEnv(sampler, LATENT, decode), policy, PictureTask(batches(numbers), judged)


def updates(who: str, numbers: Numbers) -> Iterator[float]:
    """One update after the other; the mean reward of each. All is loaded before the first is asked for."""
    if who == "pixward":
        env, policy, task = our_parts(numbers)
        workers = Workers()
        return (line["reward"] for line in ppo(env, policy, task, settings_of(numbers), None, workers))
    plain = Plain(*modules(numbers), numbers, "sample" if who == "sample" else "time")
    draw = batches(numbers)
    rounds = (range(at, at + numbers.accumulate) for at in itertools.count(step=numbers.accumulate))
    return (plain.update([tensors(draw(place, numbers.batch)) for place in places], judged) for places in rounds)


def tensors(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Without the words."""
    return {name: value for name, value in batch.items() if isinstance(value, Tensor)}


def agreement(numbers: Numbers) -> dict[str, float]:
    """How far losses and gradients of one update are apart, given the same decisions.

    Raises:
        AssertionError: gradients by more than a thousandth of their norm.
    """
    env, policy, task = our_parts(numbers)
    learner = Learner(policy.eval(), Workers(), 0.0, 0.0)
    settings = settings_of(numbers)
    drawn, _ = ours._draw(env, learner, task, settings, 0)
    kept: dict[str, Tensor] = {}
    learner.step = lambda rate: kept.update(grad=_gradient(policy.unet)) or 0.0  # type: ignore[method-assign]
    loss = ours._learn(learner, settings, drawn, None, 0.0)["loss"]
    found = {"loss": abs(loss), "gradient_norm": float(kept["grad"].norm())}
    for way in ("sample", "time"):
        plain = Plain(*modules(numbers), numbers, way)
        plain.unet.load_state_dict(policy.unet.state_dict())
        given = [tensors(task.batches(place, numbers.batch)) for place in range(numbers.accumulate)]
        same = [
            (
                torch.stack([*(state["latents"] for state in one.played.states), one.played.actions[-1]]),
                one.played.log_probs / one.played.actions[0, 0].numel(),
                torch.empty(0),
            )
            for one in drawn[0]
        ]
        other = plain.learn(given, same, [one.advantages for one in drawn[0]])
        gap = float((kept["grad"] - _gradient(plain.unet)).norm()) / found["gradient_norm"]
        assert gap < 1e-3, (way, gap)
        found |= {f"{way}_loss_apart": abs(loss - other), f"{way}_gradient_apart": gap}
    return found


def _gradient(unet: nn.Module) -> Tensor:
    return torch.cat([weight.grad.flatten() for weight in unet.parameters() if weight.grad is not None])


# --- one process each ---------------------------------------------------------------------------------------------


def work(who: str, numbers: Numbers) -> None:
    """Make an update for each line on standard input; say what it took."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.optim.Adam([torch.zeros(1)])  # which imports a lot
    run = updates(who, numbers)
    loaded = memory("VmRSS")
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        reward = next(run)
        took = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "reward": reward}
        took |= {"loaded_mib": loaded, "peak_mib": memory("VmHWM")}
        print(json.dumps(took), flush=True)


def memory(name: str) -> float:
    """A line of this process's status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:"))) / 1024


def race(case: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each contestant, which take turns."""
    words = ["--case", case, "--batch", str(options.batch), "--accumulate", str(options.accumulate)]
    words += ["--steps", str(options.steps)]
    processes = {
        who: subprocess.Popen(
            [sys.executable, __file__, "--work", who, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for who in WHO
    }
    log: dict[str, list[dict[str, float]]] = {who: [] for who in WHO}
    for _ in range(options.rounds + 1):
        for who, process in processes.items():
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write("update\n")
            said = process.stdout.readline()
            if not said:
                raise RuntimeError(f"{who} stopped: see its error above")
            log[who].append(json.loads(said))
    for process in processes.values():
        process.communicate()
    numbers = numbers_of(case, options.batch, options.accumulate, options.steps)
    return [_row(case, who, numbers, turns) for who, turns in log.items()]


def _row(case: str, who: str, numbers: Numbers, turns: list[dict[str, float]]) -> dict[str, Any]:
    counted = turns[1:]
    row = {
        "case": case,
        "who": who,
        "rounds": len(counted),
        "cpu_seconds": round(statistics.median(turn["cpu"] for turn in counted), 3),
        "cpu_least": round(min(turn["cpu"] for turn in counted), 3),
        "wall_seconds": round(statistics.median(turn["wall"] for turn in counted), 3),
        "loaded_mib": round(turns[-1]["loaded_mib"], 1),
        "peak_mib": round(turns[-1]["peak_mib"], 1),
        "pictures": numbers.batch * numbers.accumulate,
        "decisions": numbers.batch * numbers.accumulate * numbers.steps,
        "minibatch": numbers.minibatch,
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=["lcm", "ddim"], help="one of the two; both if not given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0, help="of sampling; the papers' if not given")
    parser.add_argument("--out", type=Path, default=PLACE)
    parser.add_argument("--work", choices=list(WHO), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, numbers_of(options.case, options.batch, options.accumulate, options.steps))
        return
    torch.set_num_threads(1)
    cases = [options.case] if options.case else ["lcm", "ddim"]
    about = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/denoise_speed.py"
        + f" --rounds {options.rounds} --batch {options.batch} --accumulate {options.accumulate}"
        + (f" --steps {options.steps}" if options.steps else ""),
        "commit": commit(),
        "date": today(),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "seed": SEED,
        "who": WHO,
        # Two decisions a picture are enough to see that both sides mean the same.
        "agreement": {case: agreement(numbers_of(case, 4, 2, 2)) for case in cases},
    }
    rows = [row for case in cases for row in race(case, options)]
    save_text(options.out, json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
