"""What ``pixward train denoise`` puts together: a model, a reward, an algorithm, and a look at every checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pixward.commands.denoise_models import MODEL, Opened, note_strangers, open_model, prompts_in, seed_in, size_of
from pixward.commands.denoise_rewards import CLIP, Asked, judge_of, reward_named
from pixward.commands.jobs import begun_as, filled, note, workers_on
from pixward.commands.training import check_device
from pixward.denoise.builtin import builtin_prompts
from pixward.denoise.evaluate import Looks
from pixward.denoise.painter import Painter, painter
from pixward.denoise.settings import (
    PAPER_RANK,
    SMALL_QUERIES,
    SMALL_RATE,
    Algorithm,
    direct_settings,
    paper_settings,
    small_settings,
)
from pixward.denoise.sheets import contact_sheet, curve
from pixward.denoise.tuning import Tuning, tune
from pixward.errors import PixwardError
from pixward.files import save_atomic
from pixward.policies.hub import Lora
from pixward.run import Run, read_log, seed_everything
from pixward.train.direct import DirectSettings
from pixward.train.ppo_settings import PPOSettings
from pixward.train.workers import Workers

ALGORITHMS = ("rlcm", "ddpo", "direct")
FLAT = ("jpeg", "incompressible", "colour")
"""Rewards that have no gradient: they count bytes, or pixels."""
LOOKS = {True: 66, False: 16}
"""Pictures of an evaluation, of small models and of others; of prompts that are held out half as many."""
SHOWN, COLUMNS = 48, 8
"""The most pictures of a sheet, and how many lie side by side."""


@dataclass(frozen=True)
class DenoiseTraining:
    """One tuning of a model that draws; None stands for a default, or for what the run to resume had.

    Attributes:
        out: the run's folder: log, checkpoint, job.json, samples, curve.png and the tuned weights.
        model: what is tuned, as :func:`pixward.commands.denoise_models.open_model` takes it.
        reward: a name of ``REWARDS``, or ``module:callable``.
        algorithm: rlcm, ddpo or direct.
        queries: pictures to be judged; 0 for as many as in the paper.
        prompts: a file of prompts, one a line; None for animals.
        lora: rank of what is trained beside the weights; 0 trains all weights.
        rate: the learning rate.
        kl: what divergence from the start costs.
        steps: of drawing a picture.
        guidance: how strongly prompts are followed.
        looks: pictures of each evaluation.
        scorer, clip: weights that a reward needs, see :class:`pixward.commands.denoise_rewards.Asked`.
        seed: fixes LoRA's first weights and all pictures.
        device: where the model lives.
        resume: go on with the run in ``out``.
    """

    out: Path
    model: str | None = None
    reward: str | None = None
    algorithm: str | None = None
    queries: int | None = None
    prompts: str | None = None
    lora: int | None = None
    rate: float | None = None
    kl: float | None = None
    steps: int | None = None
    guidance: float | None = None
    looks: int | None = None
    scorer: str | None = None
    clip: str | None = None
    seed: int | None = None
    device: str = "cpu"
    resume: bool = False


@dataclass(frozen=True)
class Seen:
    """How far a run is: ``step`` of ``steps`` sets of pictures; ``line``: figures, after a checkpoint."""

    step: int
    steps: int
    line: dict[str, float] | None = None


@dataclass(frozen=True)
class Tuned:
    """What a run came to.

    Attributes:
        weights: the LoRA's file, or the folder of the whole pipeline.
        job: with all defaults filled in.
        before, after: figures at fixed seeds as ``LOOK/figure``, and ``queries``, ``network_calls``.
        seconds: of all updates, without the evaluations.
    """

    weights: Path
    job: DenoiseTraining
    before: dict[str, float]
    after: dict[str, float]
    seconds: float


Watch = Callable[[Seen], None]


def train_denoise(job: DenoiseTraining, watch: Watch) -> Tuned:
    """Run ``job`` to its end, calling ``watch`` after every set; Ctrl-C leaves the newest checkpoint and its weights.

    Of several processes the first alone writes and watches; all are told what it came to.

    Raises:
        PixwardError: no reward or one that fails, a model that cannot be loaded or does not go with the algorithm, a
            run folder in use or of another run, an unknown device, a missing extra, or training that diverged.
    """
    if job.out.exists() and not job.out.is_dir():
        raise PixwardError(f"{job.out} is a file: give the name of a folder, for the run")
    known = begun_as(job, "train denoise")
    job = filled(job, known)
    check_device(job.device)
    if job.reward is None:
        none = f"there is no run in {job.out} to go on with: to begin one, leave out --resume"
        wanted = "say what to tune for: --reward jpeg, incompressible, colour, align, aesthetic or module:name"
        raise PixwardError(none if job.resume else wanted)
    job = filled(job, {"model": "emoji" if job.algorithm == "ddpo" else "emoji-lcm"})
    workers = workers_on(job.device)
    device = str(workers.device)  # a launcher gives each process its own
    opened = open_model(str(job.model), device)
    job = filled(job, _usual(opened))
    _check(job, opened)
    prompts, held = _prompts(job)
    seed_everything(seed_in(_of(job.seed)))
    drawn = _painter(job, opened)
    asked = Asked(size_of(drawn), (*prompts, *held), job.scorer, job.clip or CLIP, device)
    reward, scorer = reward_named(str(job.reward), asked), judge_of(asked)
    settings = _settings(job, opened.small)
    workers.mine(settings.accumulate)  # shares them out, or says now that it cannot
    tuning = Tuning(prompts, reward, settings, _looks(job, prompts, held, opened.small), scorer)
    made: Tuned | None = None
    if workers.first:
        note_strangers(opened, prompts)
        note(job)
        made = _written(job, drawn, tuning, workers, watch)
    else:
        for _ in tune(drawn, tuning, None, workers):
            pass
    found: Tuned = workers.share(made)
    return found


def _written(job: DenoiseTraining, drawn: Painter, tuning: Tuning, workers: Workers, watch: Watch) -> Tuned:
    """Tune in the process that writes."""
    steps, weights = tuning.settings.steps, None
    with _Told(job.out, steps, watch) as run:
        shown = replace(tuning, shown=lambda name, pictures, step: _show(run, name, pictures, step))
        for line in tune(drawn, shown, run, workers):
            if line["step"] > 0:
                weights = _keep(job, drawn)
                _draw_curve(job)
            watch(Seen(int(line["step"]), steps, line))
        # A run that had been stopped after its last checkpoint is whole again.
        weights = weights or _keep(job, drawn)
    return _tuned(job, weights)


def _usual(opened: Opened) -> dict[str, Any]:
    """What suits the model."""
    return {
        "algorithm": "rlcm" if opened.consistent else "ddpo",
        "queries": SMALL_QUERIES if opened.small else 0,
        "lora": 0 if opened.small else PAPER_RANK,
        "kl": 0.0,
        "looks": LOOKS[opened.small],
        "seed": 0,
    }


def _check(job: DenoiseTraining, opened: Opened) -> None:
    """Find what does not go together before a run folder is taken for it."""
    if job.algorithm == "rlcm" and not opened.consistent:
        raise PixwardError(
            f"rlcm tunes consistency models, and {job.model} is a diffusion model: take --algorithm ddpo, "
            "or a model such as emoji-lcm"
        )
    if job.algorithm == "ddpo" and opened.consistent:
        raise PixwardError(
            f"ddpo tunes diffusion models, and {job.model} is a consistency model: take --algorithm rlcm, "
            "or a model such as emoji"
        )
    if job.algorithm == "rlcm" and job.steps == 1:
        raise PixwardError(
            "with one step nothing rlcm decides reaches the picture: take --steps 2 or --algorithm direct"
        )
    if job.algorithm == "direct" and job.reward in FLAT:
        raise PixwardError(
            f"the reward {job.reward} has no gradient, which --algorithm direct follows: take rlcm or ddpo, "
            "or a reward such as align"
        )


def _prompts(job: DenoiseTraining) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is drawn in training, and what is only looked at.

    Raises:
        PixwardError: a file that cannot be read or holds no prompt.
    """
    if job.prompts is None:
        return builtin_prompts("train"), builtin_prompts("held-out")
    return prompts_in(Path(job.prompts)), ()


def _painter(job: DenoiseTraining, opened: Opened) -> Painter:
    chosen = opened.settings(job.steps, job.guidance)
    rank = _of(job.lora)
    return painter(opened.pipeline, replace(chosen, lora=Lora(rank, float(rank)) if rank else None))


def _settings(job: DenoiseTraining, small: bool) -> PPOSettings | DirectSettings:
    queries, seed = _of(job.queries), _of(job.seed)
    found: PPOSettings | DirectSettings
    if job.algorithm == "direct":
        found = direct_settings(queries or SMALL_QUERIES, seed) if small else direct_settings(queries or 3_200, seed, 8)
        usual = found.learning_rate
    else:
        algorithm: Algorithm = "rlcm" if job.algorithm == "rlcm" else "ddpo"
        of_paper = paper_settings(algorithm, queries, seed)
        found = small_settings(algorithm, queries or SMALL_QUERIES, seed) if small else of_paper
        usual = of_paper.learning_rate
    usual = SMALL_RATE if small and not job.lora else usual
    found = replace(found, learning_rate=usual if job.rate is None else job.rate)
    # A short run is looked at as well.
    every = max(1, min(found.checkpoint_every, found.steps // 5))
    return replace(found, kl=job.kl or 0.0, checkpoint_every=every)


def _looks(job: DenoiseTraining, prompts: tuple[str, ...], held: tuple[str, ...], small: bool) -> dict[str, Looks]:
    """Pictures of both kinds of prompt, at least two of each that is looked at."""
    wanted = _of(job.looks)
    found = {}
    for name, texts, count, first in (
        ("train", prompts, wanted, 1_000_000),
        ("held-out", held, wanted // 2, 2_000_000),
    ):
        if texts:
            shown = texts[: max(1, count // 2)]
            found[name] = Looks(shown, max(2, count // len(shown)), first, 32 if small else 4)
    return found


class _Told(Run):
    """A run's folder that tells of every line of its log."""

    def __init__(self, folder: Path, steps: int, watch: Watch) -> None:
        super().__init__(folder, resume=True)
        self.steps, self.watch = steps, watch

    def log(self, step: int, values: Mapping[str, float | int | str]) -> None:
        super().log(step, values)
        self.watch(Seen(step, self.steps))


def _show(run: Run, name: str, pictures: Tensor, step: int) -> None:
    """Keep the pictures that were looked at, as a sheet, and show them in TensorBoard."""
    sheet = contact_sheet(pictures[:SHOWN], columns=COLUMNS)
    place = run.folder / "samples" / f"{name}-{step:05d}.png"
    place.parent.mkdir(exist_ok=True)
    save_atomic(place, lambda part: sheet.save(part, "PNG"), force=True)
    run.show(step, f"samples/{name}", np.asarray(sheet))


def _keep(job: DenoiseTraining, drawn: Painter) -> Path:
    """Write the weights as they are now."""
    return drawn.save_lora(job.out) if job.lora else drawn.save(job.out / MODEL)


def _draw_curve(job: DenoiseTraining) -> None:
    log = [line for line in read_log(job.out / "log.jsonl") if "train/reward" in line]
    lines = {
        name: [(line["queries"], line[f"{name}/reward"]) for line in log]
        for name in ("train", "held-out")
        if log and f"{name}/reward" in log[0]
    }
    picture = curve(lines, f"{job.reward} by {job.algorithm}", "pictures judged")
    save_atomic(job.out / "curve.png", lambda part: picture.save(part, "PNG"), force=True)


def _tuned(job: DenoiseTraining, weights: Path) -> Tuned:
    log = read_log(job.out / "log.jsonl")
    looked = [line for line in log if "train/reward" in line]
    seconds = sum(line.get("seconds", 0.0) for line in log)
    return Tuned(weights, job, looked[0], looked[-1], round(seconds, 3))


def _of(value: int | None) -> int:
    """A number of a job whose defaults are filled in."""
    assert value is not None
    return value
