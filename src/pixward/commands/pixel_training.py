"""What ``pixward train pixel`` puts together: photos, damage, a policy and A2C."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.commands.training import check_device
from pixward.data.before_after import PairCrops, read_before_after
from pixward.data.crops import Crops, read_photos
from pixward.data.pairs import photo_files
from pixward.envs.pixel import PixelEnv
from pixward.errors import PixwardError
from pixward.files import save_text
from pixward.metrics.image import psnr
from pixward.pixel.run import improve
from pixward.pixel.tasks import Tasks, noise_tasks, salt_pepper_tasks, text_tasks
from pixward.policies.pixel import PixelPolicy, PixelSettings, load_pixel_policy, save_pixel_policy
from pixward.policies.weights import find_weights, load_weights
from pixward.rewards.pixel import lab_distance, squared_error
from pixward.run import Run, read_log, seed_everything
from pixward.train.a2c import A2CSettings, a2c
from pixward.types import State

HORIZONS = {"noise": 5, "text": 15, "salt-pepper": 15, "colour": 10}
"""Steps of an episode for each task: PixelRL's."""
SIGMAS = (5.0, 60.0)
"""The noise that a policy for it is trained on, of 255, unless the one that it starts from says otherwise."""
LONGEST = 1024
"""Larger photos are reduced to this many pixels: cameras' own noise and sharpening go, and memory is kept."""
SCORED = 256
"""Pairs that are held out are scored at this size, whole."""
SIDES = {"colour": 64}
"""Width of the crops in pixels where it is not 48."""
HELD_OUT = 10
"""Every tenth picture is not trained on but scored, where there are so many."""

Watch = Callable[[dict[str, float]], None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class PixelTraining:
    """One training run of a pixel policy.

    Attributes:
        task: noise, text, salt-pepper or colour.
        out: the run's folder: log, checkpoint, job.json and, at the end, policy.safetensors.
        photos: folders of clean photos; for all tasks but colour.
        pairs: folders of pictures before and after; for colour.
        updates: of the optimiser.
        start: policy or denoiser to begin with, by name or file; None for the shipped denoiser, where there is one.
        seed: fixes first weights, crops, damage and decisions.
        gradient: "all" or "sampled".
        device: where the policy lives.
        resume: go on with the run in ``out``.
        bfloat16: compute convolutions in half precision.
        batch: episodes played at once.
        side: of the crops, in pixels.
    """

    task: str
    out: Path
    photos: tuple[Path, ...] = ()
    pairs: tuple[Path, Path] | None = None
    updates: int = 2_000
    start: str | None = None
    seed: int = 0
    gradient: Literal["all", "sampled"] = "all"
    device: str = "cpu"
    resume: bool = False
    bfloat16: bool = False
    batch: int = 16
    side: int = 48


def train_pixel(job: PixelTraining, watch: Watch) -> tuple[Path, list[dict[str, Any]]]:
    """Run ``job`` to its end, calling ``watch`` with every new log line; the trained policy's file and all lines.

    Raises:
        PixwardError: no photos, a run folder in use, a start or a run folder of another task, an unknown device.
    """
    check_device(job.device)
    started = _started(job)
    settings = started or settings_of(job)
    seed_everything(job.seed)
    policy = PixelPolicy(settings)
    if started is None:
        begin_from(policy, job.start)
    policy.to(job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    tasks, held = _tasks(job, settings)
    env = PixelEnv(policy.actions, settings.horizon, _lab if job.task == "colour" else squared_error)
    plan = A2CSettings(
        updates=job.updates,
        batch=job.batch,
        learning_rate=5e-4,
        entropy=0.002,
        gradient=job.gradient,
        bfloat16=job.bfloat16,
        checkpoint_every=max(1, min(100, job.updates // 20)),
    )
    with Run(job.out, resume=job.resume) as run:
        if started is None:
            save_text(
                job.out / "job.json", json.dumps({"task": job.task, "settings": asdict(settings)}, indent=1) + "\n"
            )
        for line in a2c(env, policy, tasks, run, plan, (lambda: judge(policy, held)) if held else None):
            watch(line)
    weights = job.out / "policy.safetensors"
    save_pixel_policy(weights, replace(settings, origin=f"pixward train pixel {job.task}"), policy.state_dict())
    return weights, read_log(job.out / "log.jsonl")


def _started(job: PixelTraining) -> PixelSettings | None:
    """The settings of the run to go on with; None for a new one."""
    note = job.out / "job.json"
    if not job.resume or not note.is_file():
        return None
    try:
        said = json.loads(note.read_text(encoding="utf-8"))
        noise = said["settings"]["noise"]
        settings = PixelSettings(**{**said["settings"], "noise": None if noise is None else tuple(noise)})
    except (ValueError, KeyError, TypeError):
        raise PixwardError(f"{note} is damaged: begin anew in another folder") from None
    if said["task"] != job.task:
        raise PixwardError(f"{job.out} holds a run of the task {said['task']}, not {job.task}")
    return settings


def settings_of(job: PixelTraining) -> PixelSettings:
    """What a new policy looks like: as the one that it starts from, else as the shipped ones for the task.

    Raises:
        PixwardError: a start that is for something else, or not there.
    """
    actions = "colour" if job.task == "colour" else "restore"
    name = _start_name(job.start)
    if name is not None and find_weights(name, "pixel") is not None and not _is_denoiser(name):
        try:
            known = load_pixel_policy(name)
        except ValueError as error:
            raise PixwardError(str(error)) from None
        fits = known.settings.condition == 0 or (job.task == "noise" and known.settings.noise is not None)
        if known.actions.channels != (3 if job.task == "colour" else 1) or not fits:
            raise PixwardError(f"{name} cannot start {job.task}: it is for {known.actions.name} and told other things")
        return known.settings
    told = job.task == "noise"
    shape = _denoiser_shape(name) if name is not None and actions == "restore" else {}
    settings = PixelSettings(
        actions=actions,
        horizon=HORIZONS[job.task],
        design="context" if job.task == "colour" else "half",  # colours hang on the scene
        width=32 if job.task == "colour" else 64,
        foresight=True,
        condition=int(told),
        noise=SIGMAS if told else None,
    )
    return replace(settings, **shape)  # type: ignore[arg-type]


def _start_name(start: str | None) -> str | None:
    """``start``, or the shipped policy for noise if there is one; PixwardError where the former does not exist."""
    if start is None:
        return "noise" if find_weights("noise", "pixel") is not None else None
    if find_weights(start, "pixel") is None and find_weights(start, "denoiser") is None:
        raise PixwardError(f"there are no weights {start} to start from: give a name that ships with pixward or a file")
    return start


def _is_denoiser(name: str) -> bool:
    """Whether ``name``, which may ship in two kinds or be a file of either, is to be read as a denoiser."""
    if not Path(name).is_file():
        return find_weights(name, "denoiser") is not None
    try:
        load_weights(name, "denoiser")
    except ValueError:
        return False
    return True


def _denoiser_shape(name: str) -> dict[str, int]:
    settings = load_weights(name, "denoiser")[1]
    return {key: int(settings[key]) for key in ("width", "depth") if key in settings}


@torch.no_grad()
def begin_from(policy: PixelPolicy, start: str | None) -> None:
    """Give ``policy`` every tensor of the policy or denoiser ``start`` that has a place of the same shape in it.

    None stands for the shipped policy for noise, as PixelRL's authors start from a denoiser; without that the policy
    stays random.
    """
    name = _start_name(start)
    if name is None:
        return
    if _is_denoiser(name):
        found = {f"net.{key}": value for key, value in load_weights(name, "denoiser")[0].items()}
    else:
        found = load_weights(name, "pixel")[0]
    own = policy.state_dict()
    for key, value in found.items():
        if key in own and own[key].shape == value.shape:
            own[key].copy_(value)


def _tasks(job: PixelTraining, settings: PixelSettings) -> tuple[Tasks, list[State]]:
    """What training draws, and batches that it never sees: fixed damage on the middles of photos, or small pairs."""
    if job.task == "colour":
        if job.pairs is None or job.photos:
            raise PixwardError("colour learns from pairs: give two folders with --inputs DIR --labels DIR, no --photos")
        try:
            pairs = read_before_after(*job.pairs)
        except FileNotFoundError as error:
            raise PixwardError(str(error)) from None
        kept, scored = _split(pairs)
        batches = [{key: _shrunk(value, SCORED) for key, value in pair.batch().items()} for pair in scored]
        return PairCrops(kept, job.side, zoom=3.0), batches
    if not job.photos or job.pairs is not None:
        raise PixwardError(f"{job.task} learns from clean photos: give a folder with --photos DIR, no pairs")
    try:
        files = photo_files(job.photos)
    except FileNotFoundError as error:
        raise PixwardError(str(error)) from None
    kept_files, scored_files = _split(files)
    training = _damage(job.task, Crops([_reduced(file) for file in kept_files], job.side), settings)
    if not scored_files:
        return training, []
    clean = [_middle(_reduced(file)[None].float() / 255, 128) for file in scored_files]
    least = min(image.shape[2] for image in clean)
    middles = torch.cat([_middle(image, least) for image in clean])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)  # the same damage in every run, whatever its seed
        return training, [_damage(job.task, lambda count: middles[:count], settings)(len(middles))]


def _split(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """To train on, and to score: every tenth, at most 16, where there are ten."""
    scored = list(range(HELD_OUT - 1, len(items), HELD_OUT))[:16]
    return [item for k, item in enumerate(items) if k not in scored], [items[k] for k in scored]


def _damage(task: str, crops: Callable[[int], Tensor], settings: PixelSettings) -> Tasks:
    if task == "noise":
        sigma = settings.noise or ((settings.sigma, settings.sigma) if settings.sigma else SIGMAS)
        return noise_tasks(crops, sigma, condition=settings.condition == 1)
    return text_tasks(crops) if task == "text" else salt_pepper_tasks(crops)


def _reduced(file: Path) -> Tensor:
    """A grey photo, uint8 ``(1, H, W)``, no longer than :data:`LONGEST`."""
    (photo,) = read_photos([file], grey=True)
    return _shrunk(photo[None].float(), LONGEST)[0].round().clamp(0, 255).to(torch.uint8)


def _shrunk(image: Tensor, longest: int) -> Tensor:
    """``(B, C, H, W)`` with no side longer than that."""
    scale = longest / max(image.shape[2:])
    size = [max(1, round(side * scale)) for side in image.shape[2:]]
    return image if scale >= 1 else F.interpolate(image, size, mode="bilinear", antialias=True)


def _middle(image: Tensor, side: int) -> Tensor:
    """The middle square of ``(B, C, H, W)``, no wider than ``side`` or the picture."""
    side = min(side, *image.shape[2:])
    top, left = ((size - side) // 2 for size in image.shape[2:])
    return image[..., top : top + side, left : left + side]


@torch.no_grad()
def judge(policy: PixelPolicy, held: Sequence[State]) -> dict[str, float]:
    """Scores on pictures that are not trained on, every pixel taking its best action: before, and after all steps.

    PSNR in dB, and for colours the mean distance in CIE Lab, which is to fall; the mean over pictures.
    """
    device = next(policy.parameters()).device
    colour = policy.actions.channels == 3
    measure = (lambda image, clean: -lab_distance(image, clean).mean((1, 2))) if colour else psnr
    scores = []
    policy.eval()
    for batch in held:
        image, clean, *condition = (batch[key].to(device) for key in ("image", "clean", "condition") if key in batch)
        result = improve(policy, image, condition=condition[0] if condition else None).result
        scores.append(torch.stack([measure(picture.clamp(0, 1), clean) for picture in (image, result)]))
    policy.train()
    before, after = torch.cat(scores, 1).mean(1).tolist()
    name = "lab" if colour else "psnr"
    return {f"{name}_before": round(before, 4), name: round(after, 4)}


def _lab(output: Tensor, target: Tensor) -> Tensor:
    """The reward for colour in full precision: half of it would round away what a small step changes."""
    with torch.autocast(output.device.type, enabled=False):
        return lab_distance(output, target)
