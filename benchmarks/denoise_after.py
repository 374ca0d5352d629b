"""What tuned models draw, judged by who was in no reward: held-out prompts, hacking, studies; writes three files.

    OMP_NUM_THREADS=1 python benchmarks/denoise_runs.py
    OMP_NUM_THREADS=1 python benchmarks/denoise_after.py --runs runs/denoise/reward

Each model of the runs draws the same pictures: of prompts that were tuned on, of 9 animals that were not, and of the
other kind of prompt, on grounds where plain animals were tuned on. These are other seeds than the runs looked at. A
second classifier, the witness, which no reward asked, says what they show. The divergence is from the model before, in
nats, over the whole way to a picture. Best of 4 and of 16 are the pictures of the model before that the reward itself
likes best of as many: search instead of learning, which costs that many pictures each time. Writes denoise_carried,
denoise_hacking and denoise_studies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from predict_results import Row, write
from safetensors.torch import load_file
from torch import Tensor

from pixward.denoise.builtin import JUDGE_WIDTH, builtin_judge, builtin_pipeline, builtin_prompts
from pixward.denoise.evaluate import Looks, divergence, figures, looked
from pixward.denoise.painter import Painter, painter
from pixward.files import save_text
from pixward.policies.denoiser import DenoiserPolicy
from pixward.policies.pipelines import PainterSettings
from pixward.rewards.alignment import ClassAlignment, small_classifier
from pixward.run import read_log

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes"))
from denoise_reward import GUIDANCE, MODELS, looks_of, reward_of

RESULTS = Path("docs/results")
REWARDS = ("compress", "incompress", "colour", "align")
SEEDS = (0, 1, 2)


def sets_of_looks(reward: str) -> dict[str, Looks]:
    """Prompts that the reward tuned on, the same of other animals, and the other kind: on grounds, or plain."""
    tuned = looks_of(reward)
    other = looks_of("compress" if reward == "align" else "align")["train"]
    return {
        "tuned on": replace(tuned["train"], seed=3_000_000),
        "other animals": replace(tuned["held-out"], seed=4_000_000),
        "plain" if reward == "align" else "on grounds": replace(other, seed=5_000_000),
    }


class After:
    """Draws and measures, each model once: what was measured is kept beside the runs by the digest of its weights."""

    def __init__(self, models: Path | None, runs: Path, witness: Path) -> None:
        self.models, self.runs, self.kept = models, runs, runs / "after.json"
        self.judge = builtin_judge(models)
        self.witness = witness_of(witness, self.judge)
        self.known: dict[str, Any] = json.loads(self.kept.read_text()) if self.kept.exists() else {}

    def painter(self, algorithm: str, steps: int = 0, name: str | None = None) -> Painter:
        """The model that a run began with, or the one that it ended with."""
        pipeline = builtin_pipeline(MODELS[algorithm], self.models)
        if name is not None:
            tuned = load_file(self.runs / name / "unet.safetensors")
            pipeline.unet.load_state_dict({key: value.float() for key, value in tuned.items()})
        made = painter(pipeline, PainterSettings(steps=steps, guidance=GUIDANCE))
        made.policy.eval()
        return made

    def measured(self, algorithm: str, reward: str, name: str | None = None, steps: int = 0) -> dict[str, Row]:
        """Figures of each set of looks; ``None`` for the model before."""
        file = self.runs / (name or "") / "unet.safetensors"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12] if name else "before"
        key = f"{algorithm} {steps} {reward} {name} {digest}"
        if key not in self.known:
            drawn, found = self.painter(algorithm, steps, name), {}
            for what, looks in sets_of_looks(reward).items():
                pictures = looked(drawn, looks)
                found[what] = figures(pictures, looks, reward_of(reward, self.judge), self.witness)
            found["tuned on"]["divergence"] = (
                self.divergence(drawn, algorithm, steps, looks_of(reward)["train"].prompts[::3]) if name else 0.0
            )
            self.known[key] = found
            save_text(self.kept, json.dumps(self.known, indent=1) + "\n")
            print(key, {what: round(row["reward"], 3) for what, row in found.items()}, flush=True)
        kept: dict[str, Row] = self.known[key]
        return kept

    def divergence(self, drawn: Painter, algorithm: str, steps: int, prompts: tuple[str, ...]) -> float:
        """From the model before, in nats."""
        before = self.painter(algorithm, steps)
        start = DenoiserPolicy(before.pipeline.unet, before.policy.sampler, before.policy.guidance)
        return divergence(drawn, start, prompts)

    def best_of(self, reward: str, count: int) -> float:
        """The mean reward of the best of ``count`` pictures of each prompt that is tuned on, by 8-step RLCM's start."""
        key = f"best of {count} {reward}"
        if key not in self.known:
            looks = Looks(looks_of(reward)["train"].prompts, count, seed=6_000_000)
            scores = torch.as_tensor(
                reward_of(reward, self.judge)(looked(self.painter("rlcm"), looks), looks.named, [])
            )
            self.known[key] = float(scores.view(-1, count).amax(1).mean())
            save_text(self.kept, json.dumps(self.known, indent=1) + "\n")
        return float(self.known[key])


def witness_of(place: Path, judge: ClassAlignment) -> ClassAlignment | None:
    """The second classifier, where it was trained."""
    if not place.exists():
        return None
    classifier = small_classifier(sum(len(group) for group in judge.groups), JUDGE_WIDTH)
    classifier.load_state_dict(load_file(place))
    return ClassAlignment(classifier.eval().requires_grad_(False), judge.groups)


def finished(runs: Path, names: list[str]) -> list[str]:
    """Those that have ended."""
    return [name for name in names if (runs / name / "unet.safetensors").exists()]


def mean(rows: list[Row], figure: str) -> float | None:
    values = [row[figure] for row in rows if figure in row]
    return round(sum(values) / len(values), 4) if values else None


def carried(after: After) -> list[Row]:
    """Before and after, for each reward and algorithm, and the best of many without learning."""
    rows: list[Row] = []
    for reward in REWARDS:
        for algorithm in MODELS:
            names = finished(after.runs, [f"{reward}-{algorithm}-{seed}" for seed in SEEDS])
            before = after.measured(algorithm, reward)
            rows.append({"reward": reward, "model": f"{algorithm}: before", **shown([before])})
            if names:
                tuned = [after.measured(algorithm, reward, name) for name in names]
                rows.append({"reward": reward, "model": f"{algorithm}: tuned, {len(names)} seeds", **shown(tuned)})
        for count in (4, 16):
            best = {"tuned on: reward": round(after.best_of(reward, count), 4)}
            rows.append({"reward": reward, "model": f"rlcm: before, best of {count}", **best})
    return rows


def shown(measured: list[dict[str, Row]]) -> Row:
    """Means over seeds, side by side."""
    row: Row = {}
    for what in measured[0]:
        row[f"{what}: reward"] = mean([one[what] for one in measured], "reward")
    for figure in ("accuracy", "divergence"):
        row[figure] = mean([one["tuned on"] for one in measured], figure)
    for figure in ("accuracy", "diversity"):  # of prompts that were tuned on for alignment there is one picture each
        row[f"other animals: {figure}"] = mean([one["other animals"] for one in measured], figure)
    return row


def hacking(after: After) -> list[Row]:
    """Every look of the runs for compression."""
    words = {"compress-rlcm-0": "nothing holds it", "compress-kl-0.1": "KL of 0.1", "compress-kl-1": "KL of 1"}
    rows: list[Row] = []
    for name in finished(after.runs, list(words)):
        for line in read_log(after.runs / name / "log.jsonl"):
            if "train/reward" not in line:
                continue
            row: Row = {"run": words[name], "pictures judged": line["queries"]}
            row["reward, kB above blank"] = round(line["train/reward"], 4)
            # Without the floor a blank picture's header would hide how little is left.
            row["without the floor"] = round(line["train/reward"] - blank_kilobytes(), 4)
            for figure in ("accuracy", "diversity", "blank"):
                row[figure] = round(line[f"train/{figure}"], 4)
            row["KL of a decision, nats"] = round(line["kl"], 2) if "kl" in line else None
            rows.append(row)
        rows[-1] |= {
            "divergence of a way, nats": round(after.measured("rlcm", "compress", name)["tuned on"]["divergence"], 1)
        }
    return rows


def blank_kilobytes() -> float:
    from pixward.rewards.image import incompressibility

    return float(incompressibility(torch.full((1, 3, 32, 32), 0.5))[0])


def studies(after: After) -> dict[str, list[Row]]:
    """Rates, sampling steps, and the last step: one seed each."""
    rates: list[Row] = []
    for algorithm in MODELS:
        names = sorted(path.name for path in after.runs.glob(f"rate-{algorithm}-*"))
        for name in finished(after.runs, names):
            reward, rate = name.removeprefix(f"rate-{algorithm}-").split("-", 1)
            rates.append({"algorithm": algorithm.upper(), "reward": reward, "rate": rate, **ends(after, name)})
    names = ["compress-rlcm-0", "steps-2", "last-drop", "last-head", "align-rlcm-0", "align-too-fast"]
    kinds = [{"run": name, **ends(after, name)} for name in finished(after.runs, names)]
    return {"rates": rates, "ways_to_a_picture": kinds}


def ends(after: After, name: str) -> Row:
    lines = [line for line in read_log(after.runs / name / "log.jsonl") if "train/reward" in line]
    half = lines[len(lines) // 2]
    return {
        "before": round(lines[0]["train/reward"], 4),
        f"after {half['queries']}": round(half["train/reward"], 4),
        "at the end": round(lines[-1]["train/reward"], 4),
        "pictures judged": lines[-1]["queries"],
        "accuracy": round(lines[-1]["train/accuracy"], 3),
        "CPU seconds": round(sum(line["cpu_seconds"] for line in lines), 1),
    }


def strips(after: After) -> None:
    """Eight animals of the model before and of each that was tuned, one row each."""
    from pixward.image import save

    looks = Looks(builtin_prompts("train")[::4][:6] + builtin_prompts("held-out")[:4], 1, seed=7_000_000)
    rows = [("rlcm", None)] + [("rlcm", f"{reward}-rlcm-0") for reward in REWARDS] + [("rlcm", "compress-kl-0.1")]
    made: list[Tensor] = []
    for algorithm, name in rows:
        if name is None or finished(after.runs, [name]):
            made.append(torch.cat(list(looked(after.painter(algorithm, 0, name), looks)), 2))
    large = torch.cat(made, 1).repeat_interleave(3, 1).repeat_interleave(3, 2)
    save(RESULTS / "denoise_carried.png", large.permute(1, 2, 0).numpy(), force=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/denoise/reward"))
    parser.add_argument("--witness", type=Path, default=Path("runs/denoise/witness.safetensors"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    after = After(options.models, options.runs, options.witness)
    command = [
        "OMP_NUM_THREADS=1 python benchmarks/denoise_runs.py",
        "python recipes/denoise.py --phase witness --out runs/denoise",
        "OMP_NUM_THREADS=1 python benchmarks/denoise_after.py",
    ]
    write(RESULTS / "denoise_carried.json", command, {"rows": carried(after), "notes": CARRIED})
    write(RESULTS / "denoise_hacking.json", command, {"rows": hacking(after), "notes": HACKING})
    write(RESULTS / "denoise_studies.json", command, {"rows": [], **studies(after), "notes": STUDIES})
    strips(after)


CARRIED = [
    "`other animals` are nine that no reward saw (the models know how to draw them); `on grounds` and `plain` are the "
    "prompts of the kind that was not tuned on. Accuracy is the witness's, a classifier that no reward asked and that "
    "saw other pictures in training than the judge, which is the reward of alignment.",
    "Best of 4 and of 16 need as many pictures, and the reward, for every picture that is drawn; a tuned model needs "
    "neither. For alignment search is the better: best of 4 beats all that was learnt.",
    "What RLCM learnt carries over to the other animals, and less to grounds. DDPO's alignment falls there; on the "
    "looks of the runs it rose by 0.02, so that nothing is shown.",
    "The picture, a row each: RLCM's model before; tuned for compression, incompression, colour and alignment (seed 0, "
    "2,560 pictures); for compression with KL 0.1. Six animals that were tuned on, four that were not.",
]
HACKING = [
    "RLCM, compression, seed 0; `accuracy` is the judge's, of 66 pictures that are drawn again at every look. The "
    "reward rises all the way, while nothing is recognised any more: the monitors tell.",
    "The floor: a blank picture's JPEG has 0.64 kB, so `without the floor` never tells how much is left of a picture; "
    "above the floor 0 is blank. Advantages do not feel a constant: the floor changes what people see, not what is "
    "learnt.",
    "KL is the mean divergence of a decision from the model before, in nats, summed over the latents' 768 values.",
]
STUDIES = [
    "Rates: seed 100, RLCM 640 and DDPO 320 pictures. Chosen was what gains most while pictures are still recognised: "
    "3e-5, for alignment 1e-5. There 1e-4 had won for RLCM; `align-too-fast` is what it did after 640 pictures.",
    "Rates were tried on the weights before they were rounded to half precision and shipped.",
    "Other runs: seed 0, one each. rlcm keeps the last step, whose noise reaches nothing; `drop` leaves it out, `head` "
    "makes the picture a decision with a standard deviation of 0.1; `steps-2` draws by 2 steps instead of 8.",
]


if __name__ == "__main__":
    main()
