"""What ``pixward train edit`` puts together: photos, tasks, networks and one of the trainers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from pixward.data.pairs import draw_tiles, foreign_look, photo_files, random_actions, tile_bank
from pixward.editors.external import ExternalEditor
from pixward.envs.edit import EditEnv
from pixward.errors import PixwardError
from pixward.image import quantize
from pixward.policies.goal import (
    FEATURES,
    GoalCritic,
    GoalPolicy,
    GoalSettings,
    check_features,
    describe_policy,
    load_policy,
)
from pixward.policies.response import Response, ResponseSettings, describe_response, pixel_features
from pixward.policies.weights import find_weights, save_weights
from pixward.run import Run, seed_everything
from pixward.train.calibrate import CalibrationSettings
from pixward.train.pretrain import PretrainSettings, pretrain
from pixward.train.proxy import ProxyTraining
from pixward.train.response import ResponseTraining, live_pairs, train_response
from pixward.train.td3 import TD3Settings, train
from pixward.types import Editor, State

KNOWN_SHARE = 0.85
"""Share of the goals that the editor itself made; the rest is :func:`foreign_look`, which no setting quite reaches."""

Settings = TypeVar("Settings", PretrainSettings, ResponseTraining, CalibrationSettings, TD3Settings, ProxyTraining)
Watch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class EditTraining:
    """One training run of an editor's networks.

    Attributes:
        photos: folders of photos.
        out: where the weights land, as ``policy.safetensors``, ``response.safetensors``, ``reinforced.safetensors`` or
            under a proxy's name; log and checkpoint lie in a folder of the algorithm's name inside, so that one
            editor's networks share it.
        editor: what is learnt.
        algorithm: ``pretrain``, ``response``, ``map``, ``td3``, ``monolithic`` or ``cascaded``.
        steps: updates; None for the algorithm's own number.
        minutes: stop at the first checkpoint after so long; None for never. Not for td3, which counts steps alone.
        seed: fixes tiles, tasks and noise.
        device: where networks and renders live.
        resume: go on with the run in ``out``.
        features: what the policy looks at.
        renders: how many renders of a real editor its response and its map are trained on.
        simulate: pretrain on the editor's response (the run folder's own, else the shipped one) in its place.
    """

    photos: tuple[Path, ...]
    out: Path
    editor: Editor
    algorithm: str = "pretrain"
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    device: str = "cpu"
    resume: bool = False
    features: tuple[str, ...] = FEATURES
    renders: int = 12_800
    simulate: bool = False


def train_edit(job: EditTraining, watch: Watch) -> Path:
    """Run ``job`` to its end, calling ``watch`` with every log line; returns the file of the trained network.

    Raises:
        PixwardError: no photos, a run folder in use, a starting policy that is missing, an unknown feature or device.
    """
    _check(job)
    seed_everything(job.seed)
    # Before any tiles: a folder of raw files holds no pictures.
    if isinstance(job.editor, ExternalEditor) and job.algorithm in ("response", "map"):
        from pixward.commands.real_training import train_real

        return train_real(job, watch)
    if job.algorithm in ("look", "look-td3"):
        from pixward.commands.look_training import train_look

        return train_look(job, watch)
    if job.algorithm == "map":
        raise PixwardError("a map leads from a real editor's sliders to chain:photo's: name one with --editor")
    try:
        bank = tile_bank(photo_files(job.photos), seed=job.seed)
    except (FileNotFoundError, OSError) as error:
        raise PixwardError(f"cannot read training photos: {error}") from None
    trainers = {
        "pretrain": _pretrain,
        "response": _response,
        "td3": _td3,
        "monolithic": _proxy,
        "cascaded": _proxy,
    }
    with Run(job.out / job.algorithm, resume=job.resume) as run:
        return trainers[job.algorithm](job, bank, run, watch)


def _check(job: EditTraining) -> None:
    """Find what cannot work before a run folder is taken for it."""
    try:
        check_features(job.features)
    except ValueError as error:
        raise PixwardError(str(error)) from None
    check_device(job.device)
    if job.algorithm == "td3":
        _td3_start(job)
        if job.minutes is not None:
            raise PixwardError("td3 does not stop by the clock: give --steps in place of --minutes")


def check_device(device: str) -> None:
    """PixwardError unless tensors can live on ``device``."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a build of torch without that device.
        reason = str(error).splitlines()[0]
        raise PixwardError(f"cannot use the device {device}: {reason}; --device cpu works everywhere") from None


def _td3_start(job: EditTraining) -> GoalPolicy:
    """The policy that td3 starts from: the run folder's own, else the shipped one."""
    own = job.out / "policy.safetensors"
    name = str(own) if own.is_file() else job.editor.name
    if find_weights(name, "policy") is None:
        raise PixwardError(
            f"td3 starts from a pretrained policy and {job.editor.name} has none: "
            f"train one first and put its policy.safetensors into {job.out}"
        )
    try:
        policy = load_policy(name)
    except ValueError as error:
        raise PixwardError(str(error)) from None
    known, there = policy.settings.sliders, len(job.editor.space)
    if known != there:
        raise PixwardError(
            f"{name} knows {known} sliders, and {job.editor.name} has {there}: train one for this editor"
        )
    return policy


def _pretrain(job: EditTraining, bank: Tensor, run: Run, watch: Watch) -> Path:
    policy = GoalPolicy(GoalSettings(len(job.editor.space), features=job.features)).to(job.device)
    settings = with_steps(PretrainSettings(), job.steps)
    if job.simulate:
        job = dataclasses.replace(job, editor=_simulated(job))
    lines = pretrain(EditEnv(job.editor), job.editor, policy, _tasks(job, bank), settings, run)
    follow_lines(lines, job, watch)
    return keep(job.out / "policy.safetensors", policy, "policy", describe_policy(policy))


def _simulated(job: EditTraining) -> Editor:
    """What the editor's response says of the editor, as an editor."""
    from pixward.match import load_networks
    from pixward.policies.response import SimulatedEditor

    own = job.out if (job.out / "response.safetensors").is_file() else None
    response = load_networks(job.editor, own)[1]
    if response is None:
        raise PixwardError(f"no response of {job.editor.name}: train one first, with --algorithm response")
    return SimulatedEditor(job.editor.name, job.editor.space, response.to(torch.device(job.device)))


def _response(job: EditTraining, bank: Tensor, run: Run, watch: Watch) -> Path:
    sliders = len(job.editor.space)
    response = Response(ResponseSettings(sliders)).to(job.device)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        return draw_tiles(bank, count).to(job.device), random_actions(count, sliders).to(job.device)

    settings = with_steps(ResponseTraining(), job.steps)
    lines = train_response(response, live_pairs(job.editor, pixel_features, draw, settings), settings, run)
    follow_lines(lines, job, watch)
    return keep(job.out / "response.safetensors", response, "response", describe_response(response))


def _proxy(job: EditTraining, bank: Tensor, run: Run, watch: Watch) -> Path:
    from pixward.commands.proxy_training import train_proxies

    return train_proxies(job, bank, run, watch)


def _td3(job: EditTraining, bank: Tensor, run: Run, watch: Watch) -> Path:
    """Reinforce the shipped (or the run folder's own) policy on the PSNR gain."""
    actor = _td3_start(job).to(job.device).train()
    critics = tuple(GoalCritic(actor.settings).to(job.device) for _ in range(2))
    env = EditEnv(job.editor, horizon=actor.settings.horizon)
    # Near the goal a tenth of a slider's range is a leap: the paper's noise of 0.1 would only teach how bad that is.
    settings = TD3Settings(
        steps=1_000,
        seed=job.seed,
        lr_actor=1e-5,
        lr_critic=3e-4,
        batch=64,
        tau=0.005,
        explore_sigma=0.01,
        target_sigma=0.01,
        target_clip=0.03,
        replay=8_192,
        start_steps=20,
        critic_warmup=400,
        lambda_anchor=1.0,
        clip_grad=1.0,
        reward_scale=0.1,
        log_every=10,
        checkpoint_every=500,
        eval_every=250,
    )
    settings = with_steps(settings, job.steps)
    make = _tasks(job, bank)

    def batches(episode: int) -> State:
        with torch.random.fork_rng():
            torch.manual_seed(job.seed * 1_000_003 + episode)
            return make(32)

    held = batches(-1)

    def evaluate(policy: torch.nn.Module) -> dict[str, float]:
        return _psnr_after(env, policy, held)

    watch({"step": 0, **evaluate(actor)})
    train(env, actor, (critics[0], critics[1]), batches, settings, run, evaluate)
    watch({"step": settings.steps, **evaluate(actor)})
    return keep(job.out / "reinforced.safetensors", actor, "policy", describe_policy(actor))


@torch.no_grad()
def _psnr_after(env: EditEnv, policy: torch.nn.Module, batch: State) -> dict[str, float]:
    """Mean PSNR of the newest render after 1, 5 and all steps, on tasks that are not trained on."""
    state, figures = env.reset(batch), {}
    for step in range(1, env.horizon + 1):
        state, _ = env.step(state, policy(state))
        if step in (1, 5, env.horizon):
            mse = ((state["image"] - state["goal"]) ** 2).mean((1, 2, 3)).clamp_min(1e-10)
            figures[f"psnr_{step}"] = float(-10 * mse.log10().mean())
    return figures


def _tasks(job: EditTraining, bank: Tensor) -> Callable[[int], State]:
    space = job.editor.space

    def tasks(count: int) -> State:
        source, action = draw_tiles(bank, count), random_actions(count, len(space))
        known = (torch.rand(count) < KNOWN_SHARE).float()
        foreign = foreign_look(source)
        source, action, known, foreign = (x.to(job.device) for x in (source, action, known, foreign))
        with torch.no_grad():
            goal = job.editor(source, space.denormalize(action))
            goal = torch.where(known[:, None, None, None] > 0, goal, foreign)
        return {"source": source, "goal": quantize(goal), "action": action, "known": known}

    return tasks


def follow_lines(lines: Iterator[dict[str, float]], job: EditTraining, watch: Watch) -> None:
    """Train to the end, or until the job's minutes are over."""
    started = time.monotonic()
    for line in lines:
        watch(line)
        if job.minutes is not None and time.monotonic() - started > 60 * job.minutes:
            return


def with_steps(settings: Settings, steps: int | None) -> Settings:
    """``settings`` with the job's own number of steps, if it has one."""
    return settings if steps is None else dataclasses.replace(settings, steps=steps)


def keep(path: Path, network: torch.nn.Module, kind: str, settings: dict[str, object]) -> Path:
    """Write a trained network; returns ``path``."""
    save_weights(path, network.state_dict(), kind, settings)
    return path
