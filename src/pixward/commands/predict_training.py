"""What ``pixward train predict`` puts together: a task, its pictures, a policy and one of three phases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixward.commands.jobs import NOTE, begun_as, filled, note, workers_on
from pixward.commands.predict_weights import weights_file
from pixward.commands.training import check_device
from pixward.data.synth import SceneBatch, Scenes
from pixward.errors import PixwardError
from pixward.policies.vqvae import load_codes, save_codes
from pixward.predict.folders import FolderData, FolderSource, read_folder
from pixward.predict.panoptic import PanopticTask
from pixward.predict.phases import Phase, PhaseName, begun, run_phase
from pixward.predict.task import PredictTask, Source
from pixward.predict.tasks import check_names, new_codes, task_named, with_reward
from pixward.predict.weights import load_task, save_policy
from pixward.train.likelihood import LikelihoodSettings
from pixward.train.reinforce import ReinforceSettings

STEPS = {"mle": 8_000, "reward": 600, "more": 600}
"""Updates of each phase unless told otherwise."""
RATES = {"mle": 7e-4, "reward": 1e-4, "more": 1e-4}
"""Learning rates. In the reward phase a higher one collapses within 200 steps."""
KL = {"detect": 0.5, "panoptic": 0.3, "colour": 0.1, "caption": 0.0}
"""What a divergence of one from the start costs while a reward is learnt. Without it colours become a rainbow
(docs/results/predict.md)."""
MEAN = 0.98
"""Share of the running mean of the weights that stays at every update while a reward is learnt."""
BATCHES = {"mle": 32, "reward": 16, "more": 32}
"""Pictures of an update."""
CODES_STEPS = 4_000
"""Updates of the codes of panoptic maps, but no more than half of the policy's."""


@dataclass(frozen=True)
class PredictTraining:
    """One training run of a policy that predicts; None stands for a default, or for what the run to resume had.

    Attributes:
        out: the run's folder: log, checkpoint, job.json and policy.safetensors.
        task: detect, panoptic, colour or caption.
        phase: mle, reward or more.
        start: weights to begin from: for mle those whose encoder to take, if any.
        steps: updates.
        batch: pictures of each.
        rate: the learning rate's peak.
        reward: recall or map, for detect.
        kl: what divergence from the start costs, for reward.
        data: a folder of COCO's files, or one of them; None for made-up scenes.
        images: where the pictures of ``data`` lie.
        mend: leave out faulty entries of ``data``.
        held_out: pictures of each evaluation.
        seed: fixes weights, pictures and samples.
        device: where the policy lives.
        resume: go on with the run in ``out``.
    """

    out: Path
    task: str | None = None
    phase: str | None = None
    start: str | None = None
    steps: int | None = None
    batch: int | None = None
    rate: float | None = None
    reward: str | None = None
    kl: float | None = None
    data: str | None = None
    images: str | None = None
    mend: bool | None = None
    held_out: int | None = None
    seed: int | None = None
    device: str = "cpu"
    resume: bool = False


@dataclass(frozen=True)
class Seen:
    """How far a run is.

    Attributes:
        stage: "codes" or the phase.
        step: updates done.
        steps: of the stage.
        line: figures, after a checkpoint.
    """

    stage: str
    step: int
    steps: int
    line: dict[str, float] | None = None


@dataclass(frozen=True)
class Trained:
    """What a run came to; figures are those of held-out pictures, with the most probable answers."""

    weights: Path
    task: str
    phase: str
    steps: int
    held_out: int
    before: dict[str, float]
    after: dict[str, float]
    notes: tuple[str, ...]


Watch = Callable[[Seen], None]


def train_predict(job: PredictTraining, watch: Watch) -> Trained:
    """Run ``job`` to its end, calling ``watch`` after every update; Ctrl-C leaves the newest checkpoint.

    Raises:
        PixwardError: no task, weights that are missing or another task's, faults in the data, a run folder in use or of
            another run, an unknown device, or Accelerate missing.
    """
    job = settled(job)
    check_device(job.device)
    workers = workers_on(job.device)
    start = None if job.start is None else weights_file(job.start)
    if start is None and job.phase != "mle":
        raise PixwardError(
            f"the phase {job.phase} starts from trained weights: give --start WEIGHTS, "
            f"made by `pixward train predict --task {job.task} --phase mle --out RUN`"
        )
    data = _data(job)
    training, held_out = _sources(job, data)
    task = _task(job, start, data, training, watch)
    phase = _phase(job, start, held_out)
    try:
        policy = begun(task, phase).to(workers.device)
    except ValueError as error:
        raise PixwardError(str(error)) from None
    note(job)
    counted = _Counted(training, phase.batch, lambda step: watch(Seen(str(job.phase), step, _of(job.steps))))
    before = task.evaluate(policy, held_out, phase.held_out)
    line: dict[str, float] = {}
    for line in run_phase(task, policy, phase, counted, held_out, workers):
        watch(Seen(str(job.phase), int(line["step"]), _of(job.steps), line))
    weights = job.out / "policy.safetensors"
    save_policy(weights, policy, task)  # a run that had been stopped after its last checkpoint is whole again
    after = {name: line[name] for name in before} if line else task.evaluate(policy, held_out, phase.held_out)
    notes = () if data is None else data.notes
    return Trained(weights, task.name, phase.kind, _of(job.steps), phase.held_out, before, after, notes)


def settled(job: PredictTraining) -> PredictTraining:
    """``job`` with every default filled in, from the run in its folder where it is to be resumed.

    Raises:
        PixwardError: no task; a folder that holds a run, or another one than ``job`` says.
    """
    known = begun_as(job, "train predict")
    if known and known.get("phase") not in STEPS:
        raise PixwardError(f"{job.out / NOTE} is not of `pixward train predict`: begin anew in another folder")
    task = job.task or known.get("task")
    if task is None:
        raise PixwardError("say what to train: --task detect, panoptic, colour or caption")
    phase = job.phase or known.get("phase") or "mle"
    if job.kl is not None and phase != "reward":
        raise PixwardError(f"--kl is for --phase reward, not for {phase}")
    if job.reward is not None and (task, phase) != ("detect", "reward"):
        raise PixwardError(f"--reward is for --task detect --phase reward, not for {task} with {phase}")
    usual: dict[str, Any] = {
        "task": task,
        "phase": phase,
        "steps": STEPS[phase],
        "batch": BATCHES[phase],
        "rate": RATES[phase],
        "reward": "map" if (task, phase) == ("detect", "reward") else None,
        "kl": KL[task] if phase == "reward" else None,
        "mend": False,
        "held_out": 200,
        "seed": 0,
    }
    return filled(job, {**usual, **known})


def _data(job: PredictTraining) -> FolderData | None:
    if job.data is None:
        if job.images is not None or job.mend:
            raise PixwardError("--images and --mend are about --data: give that as well")
        return None
    images = None if job.images is None else Path(job.images)
    return read_folder(
        str(job.task), Path(job.data), images, faults="mend" if job.mend else "error", seed=_of(job.seed)
    )


def _sources(job: PredictTraining, data: FolderData | None) -> tuple[Source, Source]:
    """Pictures to learn from and to score."""
    if data is not None:
        return data.train, data.held_out
    # What comes later sees other scenes than the lessons before it.
    first = {"mle": 0, "more": 1000, "reward": 2000}[str(job.phase)]
    return Scenes(seed=_of(job.seed) + first), Scenes(seed=0, split="held-out")


def _task(
    job: PredictTraining, start: Path | None, data: FolderData | None, training: Source, watch: Watch
) -> PredictTask:
    """The task of the weights to begin from, where they decide what tokens mean, else a new one."""
    name = str(job.task)
    known = None
    if start is not None:
        try:
            known = load_task(start)
        except ValueError as error:
            raise PixwardError(str(error)) from None
    if job.phase != "mle":
        assert known is not None
        if known.name != name:
            raise PixwardError(f"{start} is for the task {known.name}, not for {name}: give weights of {name}")
        if data is not None:
            check_names(known, data, str(start))
        return with_reward(known, "recall" if job.reward == "recall" else "map", data)
    if name != "panoptic":
        return task_named(name, data)
    place = job.out / "codes.safetensors"
    if isinstance(known, PanopticTask) and (data is None or tuple(known.names) == data.names):
        return known
    if job.resume and place.is_file():
        return task_named(name, data, load_codes(place))
    note(job)
    steps = max(1, min(CODES_STEPS, _of(job.steps) // 2))
    codes = new_codes(training, steps, _of(job.seed), data, lambda step: watch(Seen("codes", step, steps)))
    save_codes(place, codes)
    return task_named(name, data, codes)


def _phase(job: PredictTraining, start: Path | None, held_out: Source) -> Phase:
    steps, seed, rate = _of(job.steps), _of(job.seed), RATES[str(job.phase)] if job.rate is None else job.rate
    every, lines = max(1, min(200, steps // 10)), max(1, min(100, steps // 20))
    warmup = min(200, max(1, steps // 10))
    schooling = LikelihoodSettings(
        steps, seed, learning_rate=rate, warmup=warmup, log_every=lines, checkpoint_every=every
    )
    tuning = ReinforceSettings(
        steps,
        seed,
        kl=job.kl or 0.0,
        learning_rate=rate,
        warmup=min(60, warmup),
        average=MEAN,
        log_every=lines,
        checkpoint_every=every,
    )
    scored = _of(job.held_out)
    if isinstance(held_out, FolderSource):
        scored = min(scored, len(held_out))
    kinds: dict[str, PhaseName] = {"mle": "mle", "reward": "reward", "more": "more"}
    return Phase(kinds[str(job.phase)], job.out, start, schooling, tuning, batch=_of(job.batch), held_out=scored)


def _of(value: int | None) -> int:
    """A number of a job that :func:`settled` has filled in."""
    assert value is not None
    return value


@dataclass(frozen=True)
class _Counted:
    """A source that tells which update it is asked for; the trainers speak up at checkpoints only."""

    source: Source
    size: int
    seen: Callable[[int], None]

    def batch(self, indices: Iterable[int]) -> SceneBatch:
        places = list(indices)
        self.seen(places[0] // self.size)
        return self.source.batch(places)
