from __future__ import annotations

from dataclasses import replace

import torch

from pixward.data.synth import Scenes
from pixward.data.tokens import BoxTokens
from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.predict.detect import (
    DetectionReward,
    confidence_loss,
    detect,
    evaluate,
    lessons,
    pictures,
    rank_boxes,
    reward_task,
)
from pixward.rewards.vision import DetectionSettings, class_weights
from pixward.run import Run
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.workers import Workers
from pixward.types import Decoding, Samples, Scores

KIND = BoxTokens(classes=12, boxes=7, steps=16)
SHAPE = SequenceSettings(KIND.vocabulary, KIND.length, patch=16, width=16, heads=2, encoder_layers=1, decoder_layers=1)
SCENES = Scenes(seed=3)
REWARD = DetectionReward(KIND)


def policy():
    torch.manual_seed(0)
    return SequencePolicy(SHAPE, KIND)


def perfect(batch, count):
    """The truth, told ``count`` times."""
    return KIND.encode(batch["boxes"])[:, None].expand(-1, count, -1)


class Knows(torch.nn.Module):
    """Says the truth of held-out scenes, and is sure of it."""

    def __init__(self, right=True):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.right, self.next = right, 0

    def sample(self, images, count, decoding, generator):
        boxes = SCENES.batch(range(self.next, self.next + len(images))).boxes
        self.next += len(images)
        tokens = perfect({"boxes": boxes}, count)
        if not self.right:
            tokens = torch.where(tokens > KIND.steps + 3, KIND.steps + 4, tokens)
        return Samples(tokens, torch.zeros(tokens.shape), tokens >= 0)

    def log_prob(self, images, tokens, decoding):
        table = torch.full((*tokens.shape, KIND.vocabulary), -9.0)
        return Scores(torch.zeros(tokens.shape), torch.zeros(tokens.shape), table, tokens >= 0)


def test_lessons_are_a_function_of_their_number():
    draw = lessons(KIND, SCENES, 4)
    one, two = draw(5), draw(5)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["tokens"], draw(6)["tokens"])
    assert one["tokens"].shape == one["weights"].shape == (4, KIND.length)


def test_half_of_a_lesson_is_the_truth_and_half_has_false_boxes():
    batch = lessons(KIND, SCENES, 40)(0)
    tokens, weights = (batch[key].unflatten(1, (KIND.boxes, 6)) for key in ("tokens", "weights"))
    there = (tokens != 0).all(2)
    assert bool((weights[:20] == 1).all())
    assert bool((tokens[:20, :, 5][there[:20]] == KIND.RIGHT).all())
    false = there & (weights[..., 0] == 0)
    assert not false[:20].any() and bool(false[20:].any(1).float().mean() > 0.8)
    # Of a false box only the confidence is learnt, of the end after false boxes nothing.
    assert bool((weights[false][:, :5] == 0).all() and (weights[false][:, 5] == 1).all())
    assert bool((weights[20:][~there[20:]] == 0).all())
    said = tokens[..., 5][false]
    assert 0.5 < float((said == KIND.WRONG).float().mean()) < 1
    # A policy with this grammar can score every lesson.
    assert bool(policy().log_prob(batch["images"], batch["tokens"][:, None]).total.isfinite().all())


def test_the_truth_earns_its_number_of_objects():
    batch = pictures(SCENES, 6)(0)
    exact = replace(KIND, steps=1000)
    told = exact.encode(batch["boxes"])[:, None].expand(-1, 3, -1)
    earned = DetectionReward(exact)(told, batch)
    assert earned.shape == (6, 3)
    count = batch["boxes"].valid.sum(1).float()
    assert bool((earned > 0.85 * count[:, None]).all() and (earned <= count[:, None]).all())
    weighted = DetectionReward(exact, DetectionSettings(class_weights=class_weights([1] * 12)))
    torch.testing.assert_close(weighted(told, batch), earned)
    assert (DetectionReward(exact).__name__, weighted.__name__) == ("detection_recall", "detection_map")


def test_confidence_loss_by_hand():
    batch = pictures(SCENES, 2)(0)
    tokens = perfect(batch, 1)
    mask = tokens != 0
    table = torch.full((*tokens.shape, KIND.vocabulary), -torch.inf)
    table[..., KIND.RIGHT], table[..., KIND.WRONG] = torch.tensor(0.8).log(), torch.tensor(0.2).log()
    scores = Scores(torch.zeros(tokens.shape), torch.zeros(tokens.shape), table, mask)
    quality = REWARD.outcome(tokens, batch).confidence
    there = batch["boxes"].valid
    q = quality[:, : there.shape[1]][there]
    want = -(q * torch.tensor(0.8).log() + (1 - q) * torch.tensor(0.2).log()).mean()
    got = confidence_loss(REWARD, batch, Samples(tokens, torch.zeros(tokens.shape), mask), scores)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(rank_boxes(KIND, tokens, scores, "confidence"), torch.full((2, 1, 7), 0.8))


def test_evaluation_of_one_who_knows_and_one_who_mistakes_classes():
    knows, errs = (evaluate(Knows(right), REWARD, SCENES, 20, batch=10) for right in (True, False))
    assert knows["ap_none"] > 0.5 and knows["ar"] > 0.6
    assert errs["ap_none"] < 0.1
    assert knows["greedy_reward"] > 5 * errs["greedy_reward"]
    assert errs["greedy_false_positives"] > 1


def test_both_phases_run_and_the_policy_detects(tmp_path):
    made = policy()
    with Run(tmp_path / "mle", tensorboard=False) as run:
        lines = list(likelihood(made, lessons(KIND, SCENES, 4), LikelihoodSettings(steps=6, warmup=1), run, Workers()))
    assert lines[-1]["loss"] < 1.6
    task = reward_task(REWARD, pictures(SCENES, 2))
    with Run(tmp_path / "reward", tensorboard=False) as run:
        line = list(reinforce(made, task, ReinforceSettings(steps=2, samples=3), run, Workers()))[-1]
    assert {"reward/detection_recall", "duplicates", "false_boxes", "found", "boxes", "auxiliary"} <= set(line)
    assert line["boxes"] > 0
    found = detect(made, KIND, SCENES.batch(range(3)).images, Decoding())
    assert found.boxes.shape == (3, 7, 4) and found.scores is not None
    assert 0 <= float(found.scores.min()) <= float(found.scores.max()) <= 1


def test_the_policy_gradient_spares_the_confidence():
    task = reward_task(REWARD, pictures(SCENES, 2), confidence=0.0)
    assert task.auxiliary is None and task.learnt is not None
    reached = task.learnt(torch.zeros(2, 3, KIND.length))
    assert reached.shape == (2, 3, KIND.length)
    assert reached[0, 0, :12].tolist() == [True] * 5 + [False] + [True] * 5 + [False]
