"""How fast a REINFORCE step is: ours, the same in plain torch, and TRL's; writes docs/results/predict_speed.json.

    OMP_NUM_THREADS=1 python benchmarks/predict_speed.py --weights runs/predict/detect/mle/policy.safetensors
    OMP_NUM_THREADS=1 python benchmarks/predict_speed.py --only trl      (needs trl and datasets, on the path only)

Times are processor seconds of this process with one thread, since other processes share the machine; wall time stands
beside them. Contestants take turns, and medians are given. All of them start from the same weights and hardly learn, so
that sequences stay as long as they are.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from plain_reinforce import Plain
from torch import Tensor, nn

from pixward.bench.provenance import commit, hardware, today
from pixward.data.synth import Scenes, SceneSettings
from pixward.files import save_text
from pixward.policies.sequence import SequencePolicy
from pixward.predict.detect import DetectTask
from pixward.predict.task import new_policy
from pixward.predict.weights import load_policy
from pixward.run import read_log
from pixward.train import reinforce as ours
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.task import RewardTask
from pixward.train.workers import Learner, Workers

PLACE = Path("docs/results/predict_speed.json")
SCENES, RATE, SEED = 16, 1e-7, 0
TASK = DetectTask(SceneSettings().classes)
WHAT = {
    "pixward": "train/reinforce.py, as it trains: with monitors and checks",
    "cache": "plain loop, encoder once for each sample, earlier keys and values kept",
    "memory": "plain loop, encoder once for each sample, all earlier tokens again for each token",
    "forward": "plain loop, the whole network for each token",
}


class Ours:
    """:func:`pixward.train.reinforce.reinforce`, one step at a time; ``seconds`` as of :class:`Plain`."""

    def __init__(self, policy: SequencePolicy, task: RewardTask, count: int) -> None:
        self.spent: dict[str, float] = {}
        policy.sample = self._timed("sample", policy.sample)  # type: ignore[method-assign]
        timed = replace(
            task,
            batches=self._timed("scenes", task.batches),
            rewards=[self._timed("reward", reward) for reward in task.rewards],
            monitors={name: self._timed("reward", watch) for name, watch in task.monitors.items()},
        )
        settings = ReinforceSettings(
            steps=10_000, seed=SEED, samples=count, learning_rate=RATE, warmup=0, checkpoint_every=1
        )
        self.lines: Iterator[dict[str, float]] = reinforce(policy, timed, settings, None, Workers())
        self.seconds: dict[str, float] = {}

    def step(self) -> dict[str, float]:
        """The line of figures."""
        self.spent = {"scenes": 0.0, "sample": 0.0, "reward": 0.0}
        began = time.process_time()
        line = next(self.lines)
        whole = time.process_time() - began
        parts = {name: self.spent[name] for name in ("sample", "reward")}
        self.seconds = {**parts, "learn": whole - sum(self.spent.values())}
        return line

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            began = time.process_time()
            got = call(*given)
            self.spent[name] = self.spent.get(name, 0.0) + time.process_time() - began
            return got

        return timed


def agreement(policy: SequencePolicy, task: RewardTask) -> dict[str, float]:
    """How far the losses and their gradients are apart, given the same tokens.

    Raises:
        AssertionError: by more than 1e-5.
    """
    settings = ReinforceSettings(seed=SEED)
    learner = Learner(copy.deepcopy(policy), Workers(), 0.0, 0.0)
    drawn, _ = ours._draw(learner, task, settings, None, 0)
    loss, _ = ours._loss(learner, task, settings, drawn)
    loss.backward()
    plain = Plain(copy.deepcopy(policy), TASK.kind, "forward", settings.samples, RATE)
    tokens = drawn.samples.tokens
    other = plain.loss(drawn.batch["images"], tokens, *plain.rewards(tokens, drawn.batch["boxes"]))
    other.backward()
    one, two = (_gradient(each) for each in (learner.policy, plain.policy))
    apart = {"loss": float((loss - other).detach().abs()), "gradient": float((one - two).abs().max())}
    assert max(apart.values()) < 1e-5, apart
    return {**apart, "gradient_norm": float(one.norm())}


def _gradient(policy: nn.Module) -> Tensor:
    return torch.cat([weight.grad.flatten() for weight in policy.parameters() if weight.grad is not None])


def race(policy: SequencePolicy, count: int, rounds: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row for each contestant, which take turns; ``rounds`` says how often each of them runs."""
    task = TASK.rewarded(Scenes(seed=SEED), SCENES)
    mine = Ours(copy.deepcopy(policy), task, count)
    plain = {way: Plain(copy.deepcopy(policy), TASK.kind, way, count, RATE) for way in rounds if way != "pixward"}
    log: dict[str, list[dict[str, float]]] = {name: [] for name in rounds}
    mine.step()  # not counted: memory is new
    for turn in range(max(rounds.values())):
        batch = task.batches(turn)
        for name in rounds:
            if turn >= rounds[name]:
                continue
            began = time.perf_counter()
            if name == "pixward":
                length, seconds = mine.step()["length"], mine.seconds
            else:
                length, seconds = _mean_length(plain[name].step(batch)), plain[name].seconds
            wall = time.perf_counter() - began
            log[name].append({**seconds, "step": sum(seconds.values()), "wall": wall, "length": length})
    return [_row(name, count, turns) for name, turns in log.items()]


def _mean_length(tokens: Tensor) -> float:
    return float((tokens != 0).sum(2).add(1).clamp_max(tokens.shape[2]).float().mean())


def _row(name: str, count: int, turns: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    median = {key: round(statistics.median(turn[key] for turn in turns), 4) for key in turns[0]}
    row = {"who": name, "samples": count, "rounds": len(turns), **median}
    row |= {
        "samples_per_second": round(SCENES * count / median["step"], 1),
        "step_least": round(min(turn["step"] for turn in turns), 4),
    }
    print(row, flush=True)
    return row


def policies(weights: Path | None) -> tuple[SequencePolicy, str]:
    """The policy that all start from, and where it comes from."""
    if weights is None:
        torch.manual_seed(SEED)
        return new_policy(TASK), "new: every token alike, so that most sequences are as long as can be"
    log = weights.with_name("log.jsonl")
    updates = [row["step"] for row in read_log(log) if "ar" in row][-1] if log.exists() else "unknown"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    trained = f"recipes/predict.py --task detect --phase mle, after {updates} updates"
    return load_policy(weights, TASK), f"POLICY: {trained}, sha256 {digest}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="of a trained detector; a new one if not given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["step", "samples", "trl"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept: dict[str, Any] = json.loads(PLACE.read_text()) if PLACE.exists() else {}
    policy, origin = policies(options.weights)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "step": lambda: {
            "agreement": agreement(policy, TASK.rewarded(Scenes(seed=SEED), SCENES)),
            "rows": race(policy, 4, dict.fromkeys(WHAT, options.rounds) | {"forward": 2}),
        },
        "samples": lambda: {
            "rows": [
                row
                for count in (2, 4, 8, 16)
                for row in race(
                    policy, count, dict.fromkeys(WHAT, 1) | {"pixward": options.rounds, "cache": options.rounds}
                )
            ]
        },
        "trl": lambda: _trl(options.rounds),
    }
    for name in [options.only] if options.only else parts:
        section = parts[name]()
        about = {
            "command": "python benchmarks/predict_speed.py"
            + (" --weights POLICY" if options.weights else "")
            + f" --rounds {options.rounds} --only {name}",
            "commit": commit(),
            "date": today(),
            "hardware": hardware(),
            "threads": torch.get_num_threads(),
            "seed": SEED,
        }
        if name != "trl":
            about |= {"weights": origin, "scenes": SCENES, "who": WHAT}
        kept[name] = {**about, **section}
        save_text(PLACE, json.dumps(kept, indent=1) + "\n")


def _trl(rounds: int) -> dict[str, Any]:
    from predict_speed_trl import compare

    return compare(rounds)


if __name__ == "__main__":
    main()
