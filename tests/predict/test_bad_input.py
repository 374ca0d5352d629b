"""Pictures without objects, boxes that cannot be, rewards that are none: one clear line that names the item."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.boxes import Boxes
from pixward.data.synth import SceneBatch
from pixward.errors import PixwardError
from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.predict.detect import DetectTask
from pixward.predict.folders import read_folder
from pixward.predict.phases import Phase
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.task import RewardTask
from pixward.train.workers import Workers
from pixward.types import Samples, Scores

TASK = DetectTask(("cat", "dog"), boxes=3, steps=16)
KIND = TASK.kind
SHAPE = SequenceSettings(KIND.vocabulary, KIND.length, patch=16, width=16, heads=2, encoder_layers=1, decoder_layers=1)
EMPTY = [], [[[0.1, 0.1, 0.9, 0.9], False]]
"""No box at all, and nothing but padding."""


class Given:
    """A source whose pictures all have the same boxes, each with whether it is there."""

    def __init__(self, boxes, side=64):
        self.boxes, self.side = boxes, side

    def batch(self, indices):
        count, width = len(list(indices)), len(self.boxes)
        boxes = torch.tensor([box for box, _ in self.boxes]).view(-1, 4).float().expand(count, width, 4)
        valid = torch.tensor([there for _, there in self.boxes], dtype=torch.bool).expand(count, width)
        told = Boxes(boxes, torch.zeros(count, width, dtype=torch.int64), valid)
        return SceneBatch(torch.rand(count, 3, self.side, self.side), told, None, [[]] * count, valid.float())


class Silent(torch.nn.Module):
    """Sees nothing in any picture."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def sample(self, images, count, decoding, generator):
        tokens = torch.zeros(len(images), count, KIND.length, dtype=torch.int64)
        mask = torch.arange(KIND.length).expand_as(tokens) == 0
        return Samples(tokens, torch.zeros(tokens.shape), mask)

    def log_prob(self, images, tokens, decoding):
        table = torch.full((*tokens.shape, KIND.vocabulary), -9.0) + self.weight
        mask = torch.arange(KIND.length).expand_as(tokens) == 0
        return Scores(table[..., 0] * mask, torch.zeros(tokens.shape), table, mask)


def policy():
    torch.manual_seed(0)
    return SequencePolicy(SHAPE, KIND)


def taught(source, net=None):
    """A line of the log after one step of likelihood."""
    (line,) = likelihood(
        net or policy(), TASK.lessons(source, 4), LikelihoodSettings(steps=1, warmup=1), None, Workers()
    )
    return line


def tuned(task, net=None):
    """A line of the log after one step of REINFORCE."""
    (line,) = reinforce(net or policy(), task, ReinforceSettings(steps=1, samples=2), None, Workers())
    return line


# --- nothing to see, nothing seen -------------------------------------------------------------------------------------


@pytest.mark.parametrize("boxes", EMPTY)
def test_pictures_without_objects(boxes):
    source = Given(boxes)
    tokens = TASK.lessons(source, 4)(0)["tokens"].unflatten(1, (KIND.boxes, 6))
    assert bool((tokens[:2] == 0).all())  # the truth is the end at once
    said = tokens[2:][tokens[2:, :, 5] > 0]
    assert len(said) and bool((said[:, 5] == KIND.WRONG).all())  # false boxes are all wrong
    assert math.isfinite(taught(source)["loss"])
    line = tuned(TASK.rewarded(source, 2))
    assert line["reward"] == line["found"] == line["duplicates"] == 0
    assert line["false_boxes"] == line["boxes"] and math.isfinite(line["loss"])
    figures = TASK.evaluate(policy(), source, 4)
    assert figures["greedy_reward"] == 0 and figures["ap_confidence"] == figures["ar"] == -1  # nothing to find


@pytest.mark.parametrize("boxes, precision", [(EMPTY[0], -1), (EMPTY[1], -1), ([[[0.1, 0.1, 0.9, 0.9], True]], 0)])
def test_a_policy_that_sees_nothing(boxes, precision):
    figures = TASK.evaluate(Silent(), Given(boxes), 4)
    assert figures["ap_confidence"] == figures["ap_none"] == figures["ar"] == precision
    assert figures["greedy_reward"] == figures["greedy_false_positives"] == 0
    line = tuned(TASK.rewarded(Given(boxes), 2), Silent())
    assert line["reward"] == line["boxes"] == 0 and line["reward_flat"] == 1 and math.isfinite(line["loss"])


# --- boxes and pictures that cannot be --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "box, message",
    [
        ([0.2, 0.2, 1.4, 0.5], r"item 0, box 1 is \[0.2.*, 1.39.*\], it must lie in \[0, 1\] \(clamp it, or divide"),
        ([-0.1, 0.2, 0.4, 0.5], r"item 0, box 1 is \[-0.1.*it must lie in \[0, 1\]"),
        ([0.2, 0.2, 30.0, 40.0], r"item 0, box 1 is \[0.2.*it must lie in \[0, 1\]"),
        ([0.2, math.nan, 0.4, 0.5], r"item 0, box 1 is \[0.2.*, nan, .*it must lie in \[0, 1\]"),
    ],
)
def test_boxes_outside_the_picture(box, message):
    source = Given([[[0, 0, 0.5, 0.5], True], [box, True]])
    for attempt in (
        lambda: taught(source),
        lambda: tuned(TASK.rewarded(source, 2)),
        lambda: TASK.evaluate(policy(), source, 4),
    ):
        with pytest.raises((PixwardError, ValueError), match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    source.boxes[1][1] = False  # padding may hold anything
    assert math.isfinite(taught(source)["loss"])


def test_corners_in_the_wrong_order_are_no_lesson():
    with pytest.raises(PixwardError, match="item 0: box 0 has corners in the wrong order"):
        taught(Given([[[0.6, 0.6, 0.2, 0.2], True]]))


@pytest.mark.parametrize("side", [0, 32])
def test_pictures_of_another_size(side):
    source = Given(EMPTY[1], side)
    for attempt in (
        lambda: taught(source),
        lambda: tuned(TASK.rewarded(source, 2)),
        lambda: TASK.evaluate(policy(), source, 2),
    ):
        with pytest.raises(ValueError, match=rf"images must be \(B, 3, 64, 64\), got \(\d, 3, {side}, {side}\)"):
            attempt()


def test_empty_batches_are_refused(tmp_path):
    for name in ("batch", "held_out"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1 picture, got 0"):
            Phase("mle", tmp_path, **{name: 0})


# --- rewards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, message",
    [
        (torch.tensor([[0.0, 1.0], [math.nan, 0.0]]), r"the reward mine is nan for item 1, sample 0: tokens \["),
        (torch.tensor([[0.0, -math.inf], [0.0, 0.0]]), r"the reward mine is -inf for item 0, sample 1: tokens \["),
        (torch.zeros(2), r"the reward mine must return \(2, 2\), one for each sample of each picture, got \(2,\)"),
        (1.0, r"the reward mine must return \(2, 2\), one for each sample of each picture, got \(\)"),
        (None, r"the reward mine must return numbers \(2, 2\), one for each sample, got NoneType"),
        ([[1.0], [1.0, 2.0]], r"the reward mine must return numbers \(2, 2\), one for each sample, got list"),
        ([["a", "b"], ["c", "d"]], r"the reward mine must return numbers \(2, 2\), one for each sample, got list"),
        (np.array([["a", "b"]] * 2), r"the reward mine must return numbers \(2, 2\), one for each sample, got ndarray"),
    ],
)
def test_rewards_that_are_none(value, message):
    def mine(tokens, batch):
        return value

    batches = TASK.rewarded(Given(EMPTY[0]), 2).batches
    net = policy()
    before = [weight.clone() for weight in net.parameters()]
    with pytest.raises(PixwardError, match=message) as caught:
        tuned(RewardTask(batches, [mine]), net)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))  # nothing was learnt of it
    assert tuned(RewardTask(batches, [lambda tokens, batch: [[1, True], [0, 2.5]]]))["reward"] == 4.5 / 4


# --- annotations ------------------------------------------------------------------------------------------------------


def test_annotations_of_missing_pictures(tmp_path):
    """As ``pixward train predict --data`` reads them."""
    (tmp_path / "images").mkdir()
    rows = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 6} for i in (1, 2, 3)]
    for row in rows[:2]:
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / row["file_name"])
    data = {"images": rows, "categories": [{"id": 1, "name": "cat"}], "annotations": []}
    path = tmp_path / "instances_some.json"
    path.write_text(json.dumps(data))
    with pytest.raises(PixwardError, match=r"instances_some.json: image 3 is missing: no file .*3\.png; .*--mend"):
        read_folder("detect", path)
    found = read_folder("detect", path, faults="mend")
    assert len(found.train) == len(found.held_out) == 1 and "image 3 is missing" in found.notes[0]
    path.write_text(json.dumps({**data, "images": rows[:2], "annotations": [{"image_id": 9, "id": 4}]}))
    with pytest.raises(PixwardError, match=r"annotation 4 is of image 9, which the file does not list"):
        read_folder("detect", path)
