from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixward.errors import PixwardError
from pixward.ops.sampler import ddim_sampler
from pixward.run import Run, read_log
from pixward.train import ppo as module
from pixward.train.pictures import PictureTask
from pixward.train.ppo import DDPO, RLCM, PPOSettings, ppo
from pixward.train.workers import Learner, Workers

HERE = Path(__file__).parent

# Made by this file on a CPU with torch 2.13: reward and loss of each of 20 steps.
GOLDEN = [
    (0.49303148, -0.00034930064),
    (0.50956085, -0.38390691),
    (0.51678185, -0.41099148),
    (0.53470886, -0.64875545),
    (0.55699162, -0.62011838),
    (0.53633081, -0.0056919713),
    (0.56351489, -0.41857624),
    (0.58380235, -0.57440987),
    (0.58851198, -0.46065462),
    (0.60237988, -0.49332447),
    (0.6226102, -0.68400947),
    (0.62899561, -0.50738849),
    (0.61958458, -0.045577903),
    (0.6391268, -0.30968872),
    (0.63335836, -0.045709215),
    (0.64215771, -0.23130276),
    (0.65208812, -0.2549953),
    (0.68454594, -0.79546808),
    (0.65942688, 0.0052281926),
    (0.68389447, -0.30256662),
]

FAST = PPOSettings(
    steps=30, batch=16, accumulate=2, clip=0, learning_rate=5e-2, minibatch=64, log_every=30, checkpoint_every=30
)


def rows_of(folder):
    return [{key: row[key] for key in row if key != "seconds"} for row in read_log(Path(folder) / "log.jsonl")]


@pytest.fixture(scope="module")
def whole(drawing, tmp_path_factory):
    """The folder of one run of all steps in one process, and its policy."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, drawing.learn(folder, drawing.SETTINGS)[0]


def test_golden_trace(whole):
    rows = rows_of(whole[0])
    np.testing.assert_allclose([(row["reward"], row["loss"]) for row in rows], GOLDEN, rtol=1e-3, atol=1e-5)
    # 3 looks at each of 16 pictures to draw it; twice over, 3 looks to learn from it and 3 of the start.
    assert rows[-1]["network_calls"] == 20 * 16 * 3 * 5
    assert rows[-1]["queries"] == 20 * 16


def test_a_stopped_run_goes_on_to_the_same_trace(drawing, whole, tmp_path):
    env, stopped = drawing.make()
    with Run(tmp_path / "parts", tensorboard=False) as run:
        next(ppo(env, stopped, drawing.TASK, drawing.SETTINGS, run, Workers()))
        run.log(5, {"lost": 1})
    # Rewards in threads, or another rhythm of the log, change nothing.
    resumed, _ = drawing.learn(tmp_path / "parts", replace(drawing.SETTINGS, threads=3), resume=True)
    assert rows_of(whole[0]) == rows_of(tmp_path / "parts")
    for name, weight in whole[1].state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name


def test_two_processes_leave_the_trace_of_one(drawing, whole, tmp_path):
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    plain = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    source = str(HERE.parents[1] / "src")
    variables = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": source}
    script = [str(HERE / "drawing.py"), str(tmp_path / "two")]
    done = subprocess.run(launch + plain + script, env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["2", "processes"]
    one, two = rows_of(whole[0]), rows_of(tmp_path / "two")
    assert [list(row) for row in one] == [list(row) for row in two]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4, atol=1e-5)
    saved = [torch.load(folder / "checkpoint.pt")["state"]["policy"] for folder in (whole[0], tmp_path / "two")]
    for key, value in saved[0].items():
        torch.testing.assert_close(saved[1][key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kind, change",
    [
        ("keep", {}),
        ("drop", {}),
        ("head", {}),
        ("ddim", {}),
        ("ddim", {"clip": 1e-2, "passes": 2, "parts": 2}),
        ("ddim", {"samples": 8, "advantage": "group"}),
        ("ddim", {"advantage": "batch", "fraction": 0.5}),
        ("head", {"per": "decision", "kl": 1e-3}),
    ],
)
def test_a_policy_learns_to_draw_what_is_rewarded(drawing, tmp_path, kind, change):
    drawing.learn(tmp_path, replace(FAST, **change, log_every=1), kind)
    rewards = [row["reward"] for row in rows_of(tmp_path)]
    assert rewards[0] == pytest.approx(0.5, abs=0.05)
    # The mean of 160 pictures, whose rewards spread by less than 0.1.
    assert sum(rewards[-5:]) / 5 > rewards[0] + 0.03


def one_set(drawing, settings, kind="ddim"):
    env, policy = drawing.make(kind)
    with torch.no_grad():
        policy.unet.words.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    learner = Learner(policy.eval(), Workers(), 0.0, 0.0)
    drawn, figures = module._draw(env, learner, drawing.TASK, settings, 3)
    return learner, drawn, figures


def gradient(drawing, settings, kind="ddim"):
    """What one update would follow, and what it is made of."""
    learner, drawn, _ = one_set(drawing, settings, kind)
    kept = {}
    learner.step = lambda rate: kept.update(grad=flat_grad(learner.policy)) or 0.0
    figures = module._learn(learner, settings, drawn, None, 0.0)
    return kept["grad"], learner, drawn, figures


def flat_grad(policy):
    return torch.cat([weight.grad.flatten() for weight in policy.parameters()])


def test_the_update_is_the_formula(drawing):
    settings = replace(FAST, batch=6, accumulate=2, advantage="batch", minibatch=5)
    grad, learner, drawn, _ = gradient(drawing, settings)
    learner.policy.zero_grad()
    (part,) = drawn
    rewards = torch.cat(
        [drawing.asked(one.played.actions[-1].div(2).add(0.5).clamp(0, 1), one.prompts, None) for one in part]
    )
    advantages = ((rewards - rewards.mean()) / (rewards.std(unbiased=False) + 1e-6)).split(6)
    loss = torch.zeros(())
    for one, advantage in zip(part, advantages, strict=True):
        torch.testing.assert_close(one.advantages, advantage)
        for at in range(3):
            mean_over_pixels = learner.policy.evaluate(one.played.states[at], one.played.actions[at])[0] / 48
            loss = loss - (advantage * mean_over_pixels).sum() / (2 * 6 * 3)
    loss.backward()
    torch.testing.assert_close(grad, flat_grad(learner.policy), rtol=1e-4, atol=1e-6)


def test_the_first_update_of_ppo_is_reinforce(drawing):
    """What rlcm runs: one update a set, in which every ratio is 1 and the clip idle."""
    plain, clipped = (gradient(drawing, replace(FAST, clip=clip)) for clip in (0.0, 1e-4))
    torch.testing.assert_close(plain[0], clipped[0], rtol=1e-4, atol=1e-6)
    assert clipped[3]["clipped"] == 0 and clipped[3]["moved"] < 1e-4


def test_memory_is_bounded_without_changing_the_update(drawing):
    small, large = (gradient(drawing, replace(FAST, minibatch=size))[0] for size in (3, 1000))
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-6)


def test_sums_and_means_over_pixels_clip_the_same_decisions(drawing):
    found = {}
    for per in ("pixel", "decision"):
        settings = replace(FAST, clip=1e-4, per=per)
        learner, drawn, _ = one_set(drawing, settings)
        with torch.no_grad():  # as after an update
            learner.policy.unet.words.bias += 0.0005
        kept = {}
        learner.step = lambda rate, kept=kept, learner=learner: kept.update(g=flat_grad(learner.policy)) or 0.0
        found[per] = module._learn(learner, settings, drawn, None, 0.0), kept["g"]
    assert found["pixel"][0]["clipped"] == found["decision"][0]["clipped"]
    assert 0.05 < found["pixel"][0]["clipped"] < 0.95
    # Near a ratio of 1, a sum's gradient is that of the mean times how many there are.
    assert float(found["decision"][1].norm() / found["pixel"][1].norm()) == pytest.approx(48, rel=0.3)


def test_what_is_clipped_may_be_told_for_latents_of_another_size(drawing):
    learner, drawn, _ = one_set(drawing, FAST)
    with torch.no_grad():
        learner.policy.unet.words.bias += 0.05
    learner.step = lambda rate: 0.0
    found = [
        module._learn(learner, replace(FAST, clip=clip, clip_size=size), drawn, None, 0.0)["clipped"]
        for clip, size in ((1e-4, 48 * 20), (2e-3, 0), (1e-4, 0))
    ]
    assert found[0] == found[1] < found[2]


def test_clipped_decisions_teach_nothing(drawing):
    settings = replace(FAST, clip=1e-9, batch=4)
    learner, drawn, _ = one_set(drawing, settings)
    with torch.no_grad():
        learner.policy.unet.words.bias += 0.3
    learner.step = lambda rate: 0.0
    module._learn(learner, settings, drawn, None, 0.0)
    # Only those that moved against their advantage are still held to it.
    grad = flat_grad(learner.policy)
    learner.policy.zero_grad()
    for one in drawn[0]:
        for at in range(3):
            new = learner.policy.evaluate(one.played.states[at], one.played.actions[at])[0]
            gap = (new - one.played.log_probs[at]) / 48
            against = (gap.detach() * one.advantages) < 0
            (-(gap.exp() * one.advantages * against).sum() / (2 * 4 * 3)).backward()
    torch.testing.assert_close(grad, flat_grad(learner.policy), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind, decisions", [("keep", 3), ("drop", 2), ("head", 2), ("ddim", 3)])
def test_which_decisions_are_learnt_from(drawing, tmp_path, kind, decisions):
    _, drawn, _ = one_set(drawing, FAST, kind)
    assert drawn[0][0].played.actions.shape == (decisions, 16, 3, 4, 4)
    line = drawing.learn(tmp_path, replace(FAST, steps=1), kind)[1][-1]
    assert line["network_calls"] == 32 * (drawing.SAMPLERS[kind].steps + decisions)


def test_a_fraction_of_the_decisions(drawing, tmp_path):
    line = drawing.learn(tmp_path, replace(FAST, steps=1, fraction=0.5, minibatch=4), "ddim")[1][-1]
    assert line["network_calls"] == 32 * 3 + 32 * 3 // 2


def test_a_prompt_is_drawn_several_times(drawing):
    _, drawn, figures = one_set(drawing, replace(FAST, samples=4, advantage="group", batch=8))
    first = drawn[0][0]
    assert first.prompts == ["light"] * 4 + ["dark"] * 4 or first.prompts == ["dark"] * 4 + ["light"] * 4
    assert not torch.equal(first.played.states[0]["latents"][0], first.played.states[0]["latents"][1])
    every = torch.cat([one.advantages for one in drawn[0]])
    names = [prompt for one in drawn[0] for prompt in one.prompts]
    for word in drawing.WORDS:
        of = every[[name == word for name in names]]
        assert float(of.mean()) == pytest.approx(0, abs=1e-6)
        assert float(of.std(unbiased=False)) == pytest.approx(1, rel=1e-3)
    assert figures["reward_std"] > 0


def test_divergence_holds_the_policy(drawing, tmp_path):
    start = drawing.make("ddim")[1].eval()
    lines = {}
    for kl in (0.0, 1.0):
        env, policy = drawing.make("ddim")
        settings = replace(FAST, per="decision", kl=kl)
        with Run(tmp_path / str(kl), tensorboard=False) as run:
            lines[kl] = list(ppo(env, policy, drawing.TASK, settings, run, Workers(), start=start))[-1]
    assert lines[1.0]["kl"] < 0.5 * lines[0.0]["kl"]
    assert lines[1.0]["reward"] < lines[0.0]["reward"]


def test_rewards_are_computed_beside_the_sampling(drawing, tmp_path):
    threads = set()

    def slow(images, prompts, metadata):
        threads.add(threading.get_ident())
        return drawing.asked(images, prompts, metadata), {"light": images.mean((1, 2, 3)), "note": "words"}

    task = PictureTask(drawing.batches, slow)
    line = drawing.learn(tmp_path, replace(FAST, steps=2, threads=2), task=task)[1][-1]
    assert threading.get_ident() not in threads
    assert line["reward/light"] == pytest.approx(0.5, abs=0.1) and "reward/note" not in line


def test_evaluation_is_asked_for_and_does_not_count(drawing, tmp_path):
    env, policy = drawing.make()
    settings = replace(FAST, steps=2, checkpoint_every=1, log_every=1)

    def look(step):
        policy.calls += 1000
        return {"asked": step}

    with Run(tmp_path, tensorboard=False) as run:
        lines = list(ppo(env, policy, drawing.TASK, settings, run, Workers(), evaluate=look))
    assert [line["asked"] for line in lines] == [1, 2]
    assert lines[-1]["network_calls"] == 2 * 32 * 6


def test_the_papers_numbers():
    # 32 thousand pictures were judged for aesthetics, one update for each 32; DDPO makes two of 256.
    assert RLCM.steps * RLCM.batch * RLCM.accumulate == 32_000
    assert (RLCM.parts, RLCM.passes, RLCM.clip, RLCM.limit, RLCM.clip_grad) == (1, 1, 1e-4, 10, 5)
    assert RLCM.clip * RLCM.clip_size == pytest.approx(3.7, abs=0.02)
    assert DDPO.batch * DDPO.accumulate == 256 and DDPO.parts == 2
    assert DDPO.clip * DDPO.clip_size == pytest.approx(1.6, abs=0.05)


def test_a_bad_reward_is_named_and_the_last_checkpoint_stays(drawing, tmp_path):
    settings = replace(FAST, steps=4, checkpoint_every=1, log_every=1)

    def turning(images, prompts, metadata):
        scores = drawing.asked(images, prompts, metadata)
        turning.asked += 1
        return scores if turning.asked <= 2 else scores * torch.nan

    turning.asked = 0
    with pytest.raises(PixwardError, match="the reward turning is nan for picture 0, prompt '(light|dark)'"):
        drawing.learn(tmp_path, settings, task=PictureTask(drawing.batches, turning))
    turning.asked = -100
    _, lines = drawing.learn(tmp_path, settings, task=PictureTask(drawing.batches, turning), resume=True)
    assert [line["step"] for line in lines] == [2, 3, 4]


def test_faults_are_named(drawing, tmp_path):
    env, policy = drawing.make()
    env.learnt = ddim_sampler(eta=0).learnt
    with pytest.raises(PixwardError, match="no step of this sampler draws noise"):
        next(ppo(env, policy, drawing.TASK, FAST, None, Workers()))
    with pytest.raises(ValueError, match="3 samples of each prompt do not fill a batch of 8"):
        PPOSettings(samples=3)
    with pytest.raises(ValueError, match="4 small batches do not make 3 equal parts"):
        PPOSettings(parts=3)
    with pytest.raises(ValueError, match="set samples to 2 or more"):
        PPOSettings(advantage="group")
    with pytest.raises(ValueError, match="need clip"):
        PPOSettings(passes=2, clip=0)
    with pytest.raises(ValueError, match="fraction must lie"):
        PPOSettings(fraction=0)
    drawing.learn(tmp_path, replace(FAST, steps=1))
    with pytest.raises(PixwardError, match="trained with batch=16, not 8"):
        drawing.learn(tmp_path, replace(FAST, steps=1, batch=8), resume=True)
