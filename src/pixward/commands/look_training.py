"""What ``pixward train edit --algorithm look`` and ``look-td3`` put together: hidden looks, and who finds them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from pixward.commands.training import EditTraining, Watch, follow_lines, keep, with_steps
from pixward.data.pairs import draw_scenes, photo_files, random_actions, scene_bank
from pixward.envs.look import LookEnv, neg_colour_distance
from pixward.errors import PixwardError
from pixward.image import quantize
from pixward.policies.look import LookCritic, LookPolicy, LookSettings, describe_look, load_look
from pixward.run import Run
from pixward.train.pretrain import PretrainSettings, Tasks, pretrain
from pixward.train.td3 import TD3Settings, train
from pixward.types import State

SUPERVISED = PretrainSettings(steps=3_000, restart=0.3, parameter_weight=0.3, image_weight=0.1)
"""An image error of 1 is a just noticeable difference, so its weight is small; settings alone say little about that."""
WATCHED = 12
"""Every twelfth photo is not trained on: log lines say how near the policy comes on those."""
REINFORCED = TD3Settings(
    steps=500,
    lr_actor=1e-5,
    lr_critic=3e-4,
    batch=64,
    tau=0.005,
    explore_sigma=0.05,
    target_sigma=0.02,
    target_clip=0.06,
    replay=4_096,
    start_steps=20,
    critic_warmup=200,
    lambda_anchor=0.1,
    clip_grad=1.0,
    # A look is some tenths away, and its square some hundredths.
    reward_scale=10.0,
    log_every=10,
    checkpoint_every=250,
    eval_every=125,
)


def train_look(job: EditTraining, watch: Watch) -> Path:
    """Run ``job`` to its end; returns the file of the trained policy.

    ``look`` is supervised: a hidden setting is applied to two scenes, and the policy, shown one untouched and the other
    as it comes out, learns what makes the first look as the setting would. ``look-td3`` reinforces such a policy on the
    look reward, which sees no hidden setting.

    Raises:
        PixwardError: fewer than two photos, a run folder in use, no policy to reinforce.
    """
    policy = _start(job)
    try:
        files = photo_files(job.photos)
        watched = files[::WATCHED] if len(files) >= 3 * WATCHED else files
        banks = [scene_bank(part, seed=job.seed + k) for k, part in enumerate((_without(files, watched), watched))]
    except (FileNotFoundError, OSError) as error:
        raise PixwardError(f"cannot read training photos: {error}") from None
    if len(files) < 2:
        raise PixwardError("looks are learnt from pairs of photos: name a folder of two or more")
    with Run(job.out / job.algorithm, resume=job.resume) as run:
        trainer = _supervise if job.algorithm == "look" else _reinforce
        return trainer(job, policy, (look_tasks(job, banks[0]), look_tasks(job, banks[1])), run, watch)


def _without(files: list[Path], watched: list[Path]) -> list[Path]:
    """What is trained on; of a handful of photos all, since nothing could be said of the rest."""
    return [path for path in files if path not in set(watched)] or files


def _start(job: EditTraining) -> LookPolicy:
    """A new policy, or the one to reinforce: the run folder's own, else the shipped one."""
    sliders = len(job.editor.space)
    if job.algorithm == "look":
        return LookPolicy(LookSettings(sliders)).to(job.device)
    policy = load_look(job.out if (job.out / "look.safetensors").is_file() else job.editor.name)
    if policy is None:
        raise PixwardError(f"{job.editor.name} has no policy for looks yet: train one first, with --algorithm look")
    if policy.settings.sliders != sliders:
        raise PixwardError(
            f"the policy knows {policy.settings.sliders} sliders, and {job.editor.name} has {sliders}: train another"
        )
    return policy.to(job.device)


def _supervise(job: EditTraining, policy: LookPolicy, tasks: tuple[Tasks, Tasks], run: Run, watch: Watch) -> Path:
    settings = with_steps(SUPERVISED, job.steps)
    env = LookEnv(job.editor, policy.settings.horizon, neg_colour_distance, "truth")
    held = _fixed(tasks[1], 128, -1)

    def tell(line: dict[str, float]) -> None:
        watch({**line, **after_steps(env, policy.eval(), held)})
        policy.train()

    trained = policy.train()
    lines = pretrain(env, job.editor, trained, tasks[0], settings, run, lambda *pair: -neg_colour_distance(*pair))
    follow_lines(lines, job, tell)
    return keep(job.out / "look.safetensors", policy, "look", describe_look(policy))


def _reinforce(job: EditTraining, policy: LookPolicy, tasks: tuple[Tasks, Tasks], run: Run, watch: Watch) -> Path:
    # Dropout would draw from the global generator wherever the critics look at the actor.
    actor = policy.eval()
    settings = with_steps(dataclasses.replace(REINFORCED, seed=job.seed), job.steps)
    critics = tuple(LookCritic(dataclasses.replace(policy.settings, dropout=0.0)).to(job.device) for _ in range(2))
    env = LookEnv(job.editor, policy.settings.horizon)

    def batches(episode: int) -> State:
        return _fixed(tasks[0], 32, job.seed * 1_000_003 + episode)

    held = _fixed(tasks[1], 64, -1)

    def evaluate(network: torch.nn.Module) -> dict[str, float]:
        return after_steps(env, network, held)

    watch({"step": 0, **evaluate(actor)})
    train(env, actor, (critics[0], critics[1]), batches, settings, run, evaluate)
    watch({"step": settings.steps, **evaluate(actor)})
    return keep(job.out / "look-reinforced.safetensors", actor, "look", describe_look(policy))


def _fixed(tasks: Tasks, count: int, seed: int) -> State:
    """The tasks that ``seed`` stands for; torch's global generator stays where it is."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        drawn = tasks(count)
    return {name: drawn[name] for name in ("source", "goal", "truth")}


@torch.no_grad()
def after_steps(env: LookEnv, policy: torch.nn.Module, batch: State) -> dict[str, float]:
    """On tasks with a ``truth``: mean look reward and mean colour distance to the truth after 0, 1, 3 and all steps."""
    state, figures = env.reset(batch), {}
    for step in range(env.horizon + 1):
        if step in (0, 1, 3, env.horizon):
            figures[f"look_{step}"] = float(env.reward(state["image"], state[env.target]).mean())
            figures[f"colour_{step}"] = -float(neg_colour_distance(state["image"], state["truth"]).mean())
        if step < env.horizon:
            state, _ = env.step(state, policy(state))
    return figures


def look_tasks(job: EditTraining, bank: Tensor) -> Tasks:
    """``tasks(n)``: hidden settings on pairs of scenes of ``bank``; ``source``, ``goal``, ``truth``, ``action``."""
    editor, space = job.editor, job.editor.space

    def tasks(count: int) -> State:
        source, other = (scene.to(job.device) for scene in draw_scenes(bank, count))
        action = random_actions(count, len(space)).to(job.device)
        with torch.no_grad():
            goal, truth = (quantize(editor(scene, space.denormalize(action))) for scene in (other, source))
        known = torch.ones(count, device=job.device)
        return {"source": source, "goal": goal, "truth": truth, "action": action, "known": known}

    return tasks
