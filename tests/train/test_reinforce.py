from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixward.errors import PixwardError
from pixward.run import Run, read_log
from pixward.train import reinforce as module
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.task import RewardTask, judge
from pixward.train.workers import Learner, Workers, mixed
from pixward.types import Decoding

# Made by this file on a CPU with torch 2.13: reward and loss of each of 20 steps.
GOLDEN = [
    (0.153125, 0.00248855),
    (0.265625, 0.03804259),
    (0.146875, -0.00522491),
    (0.14375, -0.00648017),
    (0.1875, 0.01088625),
    (0.153125, -0.00012925),
    (0.25, 0.01024724),
    (0.18125, 0.02582195),
    (0.271875, 0.04945546),
    (0.171875, 0.00441008),
    (0.234375, 0.01702809),
    (0.196875, 3.002e-05),
    (0.18125, 0.0141108),
    (0.234375, 0.03607403),
    (0.159375, 0.00912978),
    (0.259375, 0.04355491),
    (0.153125, 0.01783772),
    (0.2375, 0.05269241),
    (0.1875, -0.01123948),
    (0.234375, -0.00636705),
]

LEARN = ReinforceSettings(
    steps=120, samples=8, learning_rate=1e-2, warmup=5, checkpoint_every=60, log_every=10, decoding=Decoding()
)


def test_golden_trace(tokens, tmp_path):
    tokens.learn("reinforce", tmp_path, tokens.SETTINGS["reinforce"])
    rows = read_log(tmp_path / "log.jsonl")
    np.testing.assert_allclose([(row["reward"], row["loss"]) for row in rows], GOLDEN, rtol=1e-3, atol=1e-5)


def tune(tokens, folder, settings, task=None, **more):
    made = tokens.policy()
    task = task or RewardTask(lambda index: tokens.batches(index, 16), [tokens.right])
    with Run(folder, tensorboard=False) as run:
        return made, list(reinforce(made, task, settings, run, Workers(), **more))


def threes(tokens, batch):
    """Share of the first two places that say 3, whatever the picture shows."""
    return (tokens[..., :2] == 3).float().mean(2)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"estimator": "one_sample", "samples": 2},
        {"estimator": "group"},
        {"estimator": "group", "per": "token", "clip": 0.2, "updates": 2},
        {"clip": 0.2, "updates": 2, "kl": 0.01},
        {"kl": 0.02, "kl_in": "reward", "entropy": 0.001},
        {"decoding": Decoding(0.8, 0.9)},
    ],
    ids="-".join,
)
def test_a_policy_learns_to_say_what_is_rewarded(tokens, tmp_path, change):
    settings = replace(LEARN, steps=30, learning_rate=3e-2, checkpoint_every=30, log_every=5, **change)
    task = RewardTask(lambda index: tokens.batches(index, 8), [threes])
    made, lines = tune(tokens, tmp_path, settings, task)
    # Six words, so a guess is right once in six times.
    assert lines[-1]["reward"] == lines[-1]["reward/threes"] > 0.4
    batch = tokens.batches(9000, 64)
    assert float(threes(made.sample(batch["images"], 1, Decoding(0)).tokens, batch).mean()) > 0.4


def test_a_policy_learns_to_read_the_picture(tokens, tmp_path):
    # Blind, no policy names more than one quarter in four.
    assert tune(tokens, tmp_path, LEARN)[1][-1]["reward"] > 0.4


def test_divergence_holds_the_policy(tokens, tmp_path):
    free, held = (
        tune(tokens, tmp_path / str(kl), replace(LEARN, steps=60, kl=kl), start=tokens.policy().eval())[1][-1]
        for kl in (0.0, 1.0)
    )
    assert held["kl"] < 0.5 * free["kl"]
    assert held["reward"] < free["reward"]


def gradient(tokens, settings, task=None):
    """What one step would follow, and what it was made of."""
    made = tokens.policy()
    # At its start the policy says everything alike, and ratios teach nothing.
    torch.nn.init.normal_(made.head.weight, std=0.5)
    learner = Learner(made.eval(), Workers(), 0.0, 0.0)
    drawn, _ = module._draw(learner, task or tokens.TASK, settings, None, 7)
    loss, figures = module._loss(learner, task or tokens.TASK, settings, drawn)
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in made.parameters()]), drawn, made, figures


def test_the_loss_is_the_formula(tokens):
    grad, drawn, made, _ = gradient(tokens, ReinforceSettings(samples=3))
    batch = tokens.batches(7)
    reward = tokens.right(drawn.samples.tokens, batch) + 0.1 * tokens.short(drawn.samples.tokens, batch)
    advantage = torch.stack([reward[:, k] - (reward.sum(1) - reward[:, k]) / 2 for k in range(3)], 1)
    torch.testing.assert_close(drawn.advantages, advantage)
    made.zero_grad()
    total = made.log_prob(batch["images"], drawn.samples.tokens).log_probs.sum(2)
    # -1/(B K L) sum over samples of A log P(y | x)
    (-(advantage * total).sum() / (4 * 3 * 3)).backward()
    torch.testing.assert_close(grad, torch.cat([weight.grad.flatten() for weight in made.parameters()]))


def test_one_sample_learns_from_the_first_alone(tokens):
    _, drawn, _, _ = gradient(tokens, ReinforceSettings(samples=5, estimator="one_sample"))
    assert drawn.samples.tokens.shape == (4, 1, 3)
    assert drawn.advantages.shape == (4, 1)


def test_clipping_changes_nothing_while_the_policy_is_the_one_that_sampled(tokens):
    plain, clipped = (gradient(tokens, ReinforceSettings(clip=clip))[0] for clip in (0.0, 0.2))
    torch.testing.assert_close(plain, clipped, rtol=1e-4, atol=1e-6)


def test_tokens_that_are_not_to_be_learnt_are_not(tokens):
    last = RewardTask(tokens.batches, [tokens.right], learnt=lambda said: torch.zeros_like(said, dtype=torch.bool))
    assert float(gradient(tokens, ReinforceSettings(), last)[0].abs().max()) == 0

    def confidence(batch, samples, scores):
        return -scores.table[:, :, 0, 5].mean()

    helped = replace(last, auxiliary=confidence)
    grad, _, _, figures = gradient(tokens, ReinforceSettings(), helped)
    assert float(grad.abs().max()) > 0
    assert figures["auxiliary"] == pytest.approx(figures["loss"])


def test_monitors_and_repeats(tokens, tmp_path):
    task = RewardTask(
        tokens.batches, [tokens.right], monitors={"fives": lambda samples, batch: samples.tokens[..., 0] == 5}
    )
    _, lines = tune(tokens, tmp_path, replace(LEARN, steps=30, checkpoint_every=30, learning_rate=1e-6), task)
    assert lines[0]["fives"] == pytest.approx(1 / 6, abs=0.08)
    assert 1 < lines[0]["length"] < 3
    assert lines[0]["entropy"] == pytest.approx(np.log(6), abs=1e-3)
    same = torch.tensor([[[1, 2], [1, 2], [3, 4], [1, 2]]])
    assert float(module._repeated(same)) == 0.5


def test_rewards_are_weighted_and_may_be_lists(tokens):
    said, batch = torch.ones(2, 3, 3).long(), tokens.batches(0, 2)

    def ones(tokens, batch):
        return [[1.0] * 3] * 2

    class Two:
        def __call__(self, tokens, batch):
            return torch.full((2, 3), 2.0)

    total, figures = judge(RewardTask(tokens.batches, [ones, Two()], [1.0, 0.25]), said, batch)
    assert torch.equal(total, torch.full((2, 3), 1.5))
    assert figures == {"reward": 1.5, "reward/ones": 1.0, "reward/Two": 2.0}


def test_faults_are_named(tokens):
    said, batch = torch.ones(2, 3, 3).long(), {**tokens.batches(0, 2), "name": ["a.jpg", "b.jpg"]}

    def broken(tokens, batch):
        scores = torch.zeros(2, 3)
        scores[1, 2] = torch.nan
        return scores

    def flat(tokens, batch):
        return torch.zeros(6)

    def words(tokens, batch):
        return "good"

    for reward, message in [
        (broken, r"the reward broken is nan for item 1 \(b.jpg\), sample 2: tokens \[1, 1, 1\]"),
        (flat, r"the reward flat must return \(2, 3\), one for each sample of each picture, got \(6,\)"),
        (words, r"the reward words must return numbers \(2, 3\), one for each sample, got str"),
    ]:
        with pytest.raises(PixwardError, match=message):
            judge(RewardTask(tokens.batches, [reward]), said, batch)
    with pytest.raises(ValueError, match="samples to 2"):
        ReinforceSettings(samples=1)
    with pytest.raises(ValueError, match="need clip"):
        ReinforceSettings(updates=2)
    with pytest.raises(ValueError, match="temperature"):
        ReinforceSettings(decoding=Decoding(0))
    with pytest.raises(ValueError, match="one weight for each"):
        RewardTask(tokens.batches, [flat], [1.0, 2.0])


def test_another_shape_is_refused(tokens, tmp_path):
    settings = tokens.SETTINGS["reinforce"]
    tokens.learn("reinforce", tmp_path, settings)
    other = type(tokens.policy())(replace(tokens.SHAPE, width=32))
    with Run(tmp_path, resume=True, tensorboard=False) as run, pytest.raises(PixwardError, match="another shape"):
        list(reinforce(other, tokens.TASK, settings, run, Workers()))
    assert Path(tmp_path / "checkpoint.pt").exists()


def test_seeds_of_one_run_differ_from_those_of_another():
    # The generator on the CPU would take (1 << 32) + 5 for 5.
    places = [(seed, number) for seed in range(20) for number in range(20)]
    drawn = {float(torch.rand((), generator=torch.Generator().manual_seed(mixed(*place)))) for place in places}
    assert len(drawn) == 400


@pytest.mark.parametrize("estimator", ["leave_one_out", "one_sample", "group"])
def test_a_return_of_every_token_that_is_the_whole_reward_changes_nothing(tokens, tmp_path, estimator):
    def whole(said, batch):
        return threes(said, batch)[..., None].expand(said.shape)

    task = RewardTask(lambda index: tokens.batches(index, 8), [threes])
    settings = replace(LEARN, steps=5, checkpoint_every=1, estimator=estimator)
    plain = tune(tokens, tmp_path / "plain", settings, task)[1]
    judged = tune(tokens, tmp_path / "judged", settings, replace(task, returns=whole))[1]
    assert [line["loss"] for line in plain] == pytest.approx([line["loss"] for line in judged], abs=1e-6)


def test_tokens_judged_by_what_follows_learn_sooner(tokens, tmp_path):
    def following(said, batch):
        return (said == 3).float().flip(2).cumsum(2).flip(2) / 2

    task = RewardTask(lambda index: tokens.batches(index, 8), [threes])
    settings = replace(LEARN, steps=15, learning_rate=3e-2, checkpoint_every=15, log_every=15, samples=2)
    plain = tune(tokens, tmp_path / "plain", settings, task)[1][-1]["reward"]
    judged = tune(tokens, tmp_path / "judged", settings, replace(task, returns=following))[1][-1]["reward"]
    assert judged > plain


def test_the_mean_of_the_weights_is_what_is_evaluated_and_kept(tokens, tmp_path):
    seen = {}

    def watch(step):
        seen[step] = copy.deepcopy(made.state_dict())
        return {}

    task = RewardTask(lambda index: tokens.batches(index, 8), [threes])
    paths = {}
    for average in (0.0, 0.5):
        seen, made = {}, tokens.policy()
        settings = replace(LEARN, steps=3, checkpoint_every=1, average=average)
        for _ in reinforce(made, task, settings, None, Workers(), evaluate=watch):
            pass
        paths[average] = seen
        assert all(bool((seen[3][name] == weight).all()) for name, weight in made.state_dict().items())
    expected = tokens.policy().state_dict()
    for step in (1, 2, 3):
        for name, weight in paths[0.0][step].items():
            expected[name] = 0.5 * expected[name] + 0.5 * weight
            torch.testing.assert_close(paths[0.5][step][name], expected[name])


def test_a_run_with_a_mean_resumes_to_the_same_weights(tokens, tmp_path):
    task = RewardTask(lambda index: tokens.batches(index, 8), [threes])
    settings = replace(LEARN, steps=4, checkpoint_every=2, average=0.5)
    whole = tune(tokens, tmp_path / "whole", settings, task)[0]
    stopped = tokens.policy()
    with Run(tmp_path / "parts", tensorboard=False) as run:
        next(reinforce(stopped, task, settings, run, Workers()))
    resumed = tokens.policy()
    with Run(tmp_path / "parts", resume=True, tensorboard=False) as run:
        list(reinforce(resumed, task, settings, run, Workers()))
    assert all(bool((resumed.state_dict()[name] == weight).all()) for name, weight in whole.state_dict().items())


def test_a_divergence_in_the_reward_needs_a_whole_reward(tokens, tmp_path):
    task = RewardTask(lambda index: tokens.batches(index, 8), [threes], returns=lambda said, _: said.float())
    with pytest.raises(ValueError, match="use kl_in loss"):
        tune(tokens, tmp_path, replace(LEARN, steps=1, kl=0.1, kl_in="reward"), task)
