from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixward.envs.denoise import DenoiseEnv
from pixward.errors import PixwardError
from pixward.ops.sampler import ddim_sampler, lcm_sampler
from pixward.policies.denoiser import DenoiserPolicy
from pixward.run import Run, read_log
from pixward.train import direct as module
from pixward.train.direct import ALIGNPROP, DRAFT1, DirectSettings, direct
from pixward.train.pictures import PictureTask
from pixward.train.workers import Learner, Workers

HERE = Path(__file__).parent
ONE = DirectSettings(steps=1, batch=3, accumulate=1, learning_rate=0.0, clip_grad=0.0)


def rows_of(folder):
    return [{key: row[key] for key in row if key != "seconds"} for row in read_log(Path(folder) / "log.jsonl")]


def gradient(drawing, settings, kind="ddim", task=None, start=None):
    """The gradient of one update, and its figures."""
    env, policy = drawing.make(kind)
    shifted(policy)
    chain = module._Chain(env, policy, start, settings)
    learner = Learner(policy.eval(), Workers(), 0.0, 0.0, score=chain.draw)
    kept = {}
    learner.step = lambda rate: kept.update({n: w.grad.clone() for n, w in policy.named_parameters()}) or 0.0
    figures = module._update(chain, learner, task or PictureTask(drawing.batches, near), 5, 0.0)
    return kept, figures, policy


def shifted(policy, by=0.0):
    """Weights that are no zeros, so that every part of the gradient is seen."""
    with torch.no_grad():
        policy.unet.words.weight.copy_(torch.tensor([[0.3, -0.2], [0.1, 0.4], [-0.3, 0.2]]) + by)
        policy.unet.layer.bias.copy_(torch.tensor([0.1, -0.1, 0.05]) - by)


def near(images, prompts, metadata):
    """Minus the squared distance from a grey that the prompt asks for."""
    wanted = torch.tensor([0.7 if prompt == "light" else 0.2 for prompt in prompts])
    return -(images - wanted[:, None, None, None]).square().mean((1, 2, 3)), {"mean": images.mean()}


# --- the gradient ----------------------------------------------------------------------------------------------------


def abar(t):
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return float((1 - betas).cumprod()[t])


def by_hand(drawing, policy, kind, depth):
    """The reward of the same pictures in plain torch, from the papers' formulas, with latents held before ``depth``."""
    layer, words = policy.unet.layer, policy.unet.words
    given = drawing.batches(5, 3)
    told = (given["prompt"][:, 0] @ words.weight.T + words.bias)[..., None, None]
    generator = torch.Generator().manual_seed(module_seed(5))
    x = torch.randn(3, *drawing.LATENT, generator=generator)
    torch.manual_seed(module_seed(5))
    times = {"keep": [999, 679, 359], "ddim": [667, 334, 1]}[kind]
    for at, t in enumerate(times):
        if at == 3 - depth:
            x = x.detach()
        seen = torch.einsum("oi,bihw->bohw", layer.weight[..., 0, 0], x) + layer.bias[:, None, None] + told
        z = torch.randn(3, *drawing.LATENT)
        a = abar(t)
        if kind == "keep":
            skip, out = 0.25 / ((10 * t) ** 2 + 0.25), 10 * t / ((10 * t) ** 2 + 0.25) ** 0.5
            picture = skip * x + out * seen
            then = abar(times[min(at + 1, 2)])
            x, shown = then**0.5 * picture + (1 - then) ** 0.5 * z, picture
        else:
            then = abar(max(t - 333, 0))
            std = ((1 - then) / (1 - a) * (1 - a / then)) ** 0.5
            noise = (x - a**0.5 * seen) / (1 - a) ** 0.5
            x = shown = then**0.5 * seen + (1 - then - std**2) ** 0.5 * noise + std * z
    return near((shown / 2 + 0.5).clamp(0, 1), given["prompts"], None)[0].mean()


def module_seed(number, seed=0):
    return seed * 1_000_003 + number


@pytest.mark.parametrize("kind", ["keep", "ddim"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_gradient_is_the_unrolled_chains(drawing, kind, depth):
    found, figures, policy = gradient(drawing, replace(ONE, depth=depth), kind)
    policy.zero_grad()
    reward = by_hand(drawing, policy, kind, depth)
    assert figures["reward"] == pytest.approx(float(reward.detach()), abs=1e-5)
    (-reward).backward()
    for name, weight in policy.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, rtol=1e-3, atol=1e-5)
    assert figures["depth"] == depth and figures["reward/mean"] > 0


def test_the_whole_way_is_depth_zero_and_its_gradient_that_of_finite_differences(drawing):
    found, _, _ = gradient(drawing, replace(ONE, depth=0), "ddim")
    assert all(torch.equal(found[name], other) for name, other in gradient(drawing, replace(ONE, depth=3))[0].items())
    for name, index in [("unet.layer.weight", (0, 1, 0, 0)), ("unet.words.bias", (2,))]:
        values = []
        for by in (1e-3, -1e-3):  # small, since values are cut to [0, 1]
            _, policy = drawing.make("ddim")
            shifted(policy)
            with torch.no_grad():
                dict(policy.named_parameters())[name][index] += by
                values.append(float(by_hand(drawing, policy, "ddim", 3)))
        assert float(found[name][index]) == pytest.approx(-(values[0] - values[1]) / 2e-3, rel=2e-2)


def test_memory_is_saved_without_changing_the_gradient(drawing):
    kept, first, policy = gradient(drawing, replace(ONE, depth=2, recompute=False))
    # Drawing alone; and two decisions once more for the gradient.
    assert policy.calls == 3 * 3
    again, second, policy = gradient(drawing, replace(ONE, depth=2))
    assert policy.calls == 3 * 3 + 2 * 3
    assert first == second and all(torch.equal(kept[name], again[name]) for name in kept)


def test_small_batches_add_up(drawing):
    whole, _, _ = gradient(drawing, replace(ONE, accumulate=2))
    parts = []
    for number in (10, 11):
        task = PictureTask(lambda index, count, number=number: drawing.batches(number, count), near)
        env, policy = drawing.make("ddim")
        shifted(policy)
        chain = module._Chain(env, policy, None, replace(ONE, accumulate=1))
        learner = Learner(policy.eval(), Workers(), 0.0, 0.0, score=chain.draw)
        learner.step = lambda rate, policy=policy: parts.append([w.grad.clone() for w in policy.parameters()]) or 0.0
        module._update(chain, learner, task, number, 0.0)
    for grad, first, second in zip(whole.values(), *parts, strict=True):
        torch.testing.assert_close(grad, (first + second) / 2)


def test_the_divergence_from_the_start(drawing):
    """By finite differences: the start hangs on latents that hang on the weights."""
    start = drawing.make("ddim")[1].eval().requires_grad_(False)
    settings = replace(ONE, depth=0, kl=1e-4)
    found, figures, _ = gradient(drawing, settings, start=start)
    assert figures["loss"] == pytest.approx(1e-4 * figures["kl"] - figures["reward"], rel=1e-5)
    assert 1e-4 * figures["kl"] > 0.01

    def loss(by):
        env, policy = drawing.make("ddim")
        shifted(policy)
        with torch.no_grad():
            policy.unet.layer.weight[1, 1, 0, 0] += by
        chain = module._Chain(env, policy, start, settings)
        learner = Learner(policy.eval(), Workers(), 0.0, 0.0, score=chain.draw)
        return module._update(chain, learner, PictureTask(drawing.batches, near), 5, 0.0)["loss"]

    slope = (loss(1e-3) - loss(-1e-3)) / 2e-3
    assert float(found["unet.layer.weight"][1, 1, 0, 0]) == pytest.approx(slope, rel=2e-2)
    # At weight 0 it is told and not learnt from.
    free, told, _ = gradient(drawing, replace(settings, kl=0.0), start=start)
    assert told["kl"] == pytest.approx(figures["kl"])
    plain, quiet, _ = gradient(drawing, replace(settings, kl=0.0))
    assert "kl" not in quiet and all(torch.equal(free[name], plain[name]) for name in free)
    assert not torch.allclose(free["unet.layer.weight"], found["unet.layer.weight"], rtol=0.1)


def test_how_far_back_may_be_drawn_by_lot(drawing):
    depths = [gradient(drawing, replace(ONE, depth=0, random=True, seed=seed))[1]["depth"] for seed in range(12)]
    assert set(depths) == {1.0, 2.0, 3.0}
    assert gradient(drawing, replace(ONE, depth=2, random=True, accumulate=4))[1]["depth"] in (1.25, 1.5, 1.75)


# --- the loop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, depth", [("keep", 1), ("keep", 0), ("drop", 2), ("head", 0), ("ddim", 1), ("ddim", 0)])
def test_a_quadratic_reward_improves(drawing, tmp_path, kind, depth):
    settings = DirectSettings(steps=30, batch=16, accumulate=1, depth=depth, learning_rate=4e-2, log_every=1)
    env, policy = drawing.make(kind)
    with Run(tmp_path, tensorboard=False) as run:
        list(direct(env, policy, PictureTask(drawing.batches, near), settings, run, Workers()))
    rewards = [row["reward"] for row in rows_of(tmp_path)]
    # What is left is the noise that the process itself adds.
    assert np.mean(rewards[-5:]) > rewards[0] / 2
    assert rows_of(tmp_path)[-1]["queries"] == 30 * 16


def test_one_step_of_a_consistency_model_is_learnt_from(drawing, tmp_path):
    """Where a policy gradient has nothing: no noise that is drawn reaches the picture."""
    sampler = lcm_sampler(1, form="sample")
    env = DenoiseEnv(sampler, drawing.LATENT, lambda latents: latents / 2 + 0.5)
    policy = DenoiserPolicy(drawing.Net(), sampler)
    settings = DirectSettings(steps=30, batch=16, accumulate=1, learning_rate=4e-2)
    with Run(tmp_path, tensorboard=False) as run:
        list(direct(env, policy, PictureTask(drawing.batches, near), settings, run, Workers()))
    rewards = [row["reward"] for row in rows_of(tmp_path)]
    assert rewards[-1] > rewards[0] / 2


def test_a_stopped_run_goes_on_to_the_same_trace(drawing, tmp_path):
    whole, _ = drawing.learn_directly(tmp_path / "whole")
    env, stopped = drawing.make()
    with Run(tmp_path / "parts", tensorboard=False) as run:
        next(direct(env, stopped, drawing.TASK, drawing.DIRECT, run, Workers()))
        run.log(3, {"lost": 1})
    resumed, _ = drawing.learn_directly(tmp_path / "parts", replace(drawing.DIRECT, recompute=False), resume=True)
    names = [name for name in rows_of(tmp_path / "whole")[0] if name != "network_calls"]
    whole_rows, parts_rows = (rows_of(tmp_path / folder) for folder in ("whole", "parts"))
    assert [[row[name] for name in names] for row in whole_rows] == [
        [row[name] for name in names] for row in parts_rows
    ]
    for name, weight in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name


def test_two_processes_leave_the_trace_of_one(drawing, tmp_path):
    drawing.learn_directly(tmp_path / "one")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    plain = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    source = str(HERE.parents[1] / "src")
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    script = [str(HERE / "drawing.py"), str(tmp_path / "two"), "direct"]
    done = subprocess.run(launch + plain + script, env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["2", "processes"]
    one, two = rows_of(tmp_path / "one"), rows_of(tmp_path / "two")
    assert [list(row) for row in one] == [list(row) for row in two] and len(one) == drawing.DIRECT.steps
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4, atol=1e-5)
    saved = [torch.load(tmp_path / name / "checkpoint.pt")["state"]["policy"] for name in ("one", "two")]
    for key, value in saved[0].items():
        torch.testing.assert_close(saved[1][key], value, rtol=1e-4, atol=1e-5)


def test_figures_and_evaluation(drawing, tmp_path):
    asked = []
    env, policy = drawing.make()
    settings = replace(drawing.DIRECT, kl=0.0, average=0.0)
    with Run(tmp_path, tensorboard=False) as run:
        lines = list(
            direct(
                env,
                policy,
                drawing.TASK,
                settings,
                run,
                Workers(),
                evaluate=lambda at: asked.append(at) or {"seen": at},
            )
        )
    assert asked == [2, 4] and [line["seen"] for line in lines] == [2, 4]
    assert {"reward", "reward_std", "loss", "grad_norm", "queries", "network_calls", "seconds"} <= set(lines[-1])
    # Three decisions for each of 16 pictures, and the last one or two again.
    assert lines[-1]["network_calls"] == policy.calls
    assert 4 * 16 * (3 + 1) < policy.calls < 4 * 16 * (3 + 2)
    assert lines[-1]["queries"] == 4 * 16


# --- faults ----------------------------------------------------------------------------------------------------------


def test_rewards_without_a_gradient_are_told_of_ppo(drawing):
    env, policy = drawing.make()

    def size_of_a_file(images, prompts, metadata):
        return images.detach().mean((1, 2, 3))

    def by_numpy(images, prompts, metadata):
        return images.numpy().mean((1, 2, 3))

    for reward in (size_of_a_file, by_numpy):
        wanted = f"^the reward {reward.__name__} has no gradient with respect to the pictures: use ppo"
        with pytest.raises(PixwardError, match=wanted):
            next(direct(env, policy, PictureTask(drawing.batches, reward), ONE, None, Workers()))

    def broken(images, prompts, metadata):
        raise KeyError("lens")

    with pytest.raises(PixwardError, match="^the reward broken failed: KeyError: 'lens'"):
        next(direct(env, policy, PictureTask(drawing.batches, broken), ONE, None, Workers()))
    env.decode = torch.no_grad()(env.decode)
    with pytest.raises(PixwardError, match="pictures have no gradient"):
        next(direct(env, policy, PictureTask(drawing.batches, near), ONE, None, Workers()))


def test_other_faults_are_named(drawing, tmp_path):
    env, policy = drawing.make()
    with pytest.raises(ValueError, match="depth must be 0"):
        DirectSettings(depth=-1)
    with pytest.raises(PixwardError, match="through 4 of 3 decisions: lower depth"):
        next(direct(env, policy, drawing.TASK, replace(ONE, depth=4), None, Workers()))

    def endless(images, prompts, metadata):
        return (images.mean((1, 2, 3)) - images.mean((1, 2, 3)).detach()).sqrt()

    with pytest.raises(PixwardError, match="training diverged before step 1"):
        next(direct(env, policy, PictureTask(drawing.batches, endless), ONE, None, Workers()))
    drawing.learn_directly(tmp_path)
    with pytest.raises(PixwardError, match="trained with depth=2, not 1"):
        drawing.learn_directly(tmp_path, replace(drawing.DIRECT, depth=1), resume=True)


def test_named_settings():
    assert ALIGNPROP.batch * ALIGNPROP.accumulate == 128 and ALIGNPROP.random and ALIGNPROP.depth == 0
    assert DRAFT1.depth == 1 and not DRAFT1.random
    assert ddim_sampler().steps == 50
