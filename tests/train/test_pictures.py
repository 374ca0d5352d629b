from __future__ import annotations

import numpy as np
import pytest
import torch

from pixward.errors import PixwardError
from pixward.train.pictures import PromptStatistics, judge

IMAGES = torch.zeros(3, 3, 4, 4)
PROMPTS = ["a cat", "a dog", "a cat"]


def judged(reward):
    return judge(reward, IMAGES, PROMPTS, [{}] * 3)


def test_rewards_are_callables_as_in_trl():
    seen = {}

    def reward(images, prompts, metadata):
        seen.update(images=images, prompts=prompts, metadata=metadata)
        return np.array([1, 2, 3], dtype=np.float32), {"size": torch.tensor([1.0, 3.0]), "note": "x", "kb": 2}

    assert judged(reward) == ([1.0, 2.0, 3.0], {"reward/size": 2.0, "reward/kb": 2.0})
    assert seen["images"] is IMAGES and seen["prompts"] == PROMPTS and len(seen["metadata"]) == 3
    assert judged(lambda *_: [0.5, 1, 2]) == ([0.5, 1.0, 2.0], {})
    assert judged(lambda *_: (torch.ones(3), {})) == ([1.0] * 3, {})


class Scorer:
    def __init__(self, answer):
        self.answer = answer

    def __call__(self, images, prompts, metadata):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    "answer, message",
    [
        ([1.0, float("nan"), 0.0], "the reward Scorer is nan for picture 1, prompt 'a dog'"),
        ([1.0, 2.0, float("inf")], "the reward Scorer is inf for picture 2, prompt 'a cat'"),
        ([1.0, 2.0], r"must return \(3,\), one number for each picture, got \(2,\)"),
        (torch.zeros(3, 1), r"must return \(3,\), one number for each picture, got \(3, 1\)"),
        ("good", "must return 3 numbers, one for each picture, not str"),
        (None, "must return 3 numbers, one for each picture, not NoneType"),
        (RuntimeError("no GPU"), "the reward Scorer failed: RuntimeError: no GPU"),
        (PixwardError("the file is missing"), "^the file is missing"),
    ],
)
def test_faults_are_named(answer, message):
    with pytest.raises(PixwardError, match=message):
        judged(Scorer(answer))


def test_a_reward_is_compared_with_the_last_ones_of_its_prompt():
    seen = {}
    statistics = PromptStatistics(4, 3, seen)
    # Too few of either: the batch serves.
    first = [1.0, 5.0, 3.0]
    want = (np.array(first) - np.mean(first)) / (np.std(first) + 1e-6)
    np.testing.assert_allclose(statistics.advantages(PROMPTS, first), want)
    # Four cats by now, but two dogs.
    second = [2.0, 6.0, 8.0]
    found = statistics.advantages(PROMPTS, second)
    cats = np.array([1.0, 3.0, 2.0, 8.0])
    np.testing.assert_allclose(found[0], (2 - cats.mean()) / (cats.std() + 1e-6))
    np.testing.assert_allclose(found[2], (8 - cats.mean()) / (cats.std() + 1e-6))
    np.testing.assert_allclose(found[1], (6 - np.mean(second)) / (np.std(second) + 1e-6))
    # What is remembered has an end, and a checkpoint can hold it.
    statistics.advantages(PROMPTS, [9.0, 0.0, 7.0])
    assert seen == {"a cat": [2.0, 8.0, 9.0, 7.0], "a dog": [5.0, 6.0, 0.0]}


def test_equal_rewards_teach_nothing():
    assert PromptStatistics(8, 2, {}).advantages(["a"] * 4, [3.5] * 4) == [0.0] * 4
