from __future__ import annotations

import pytest
import torch

from pixward.boxes import Boxes
from pixward.errors import PixwardError
from pixward.rewards.trl import as_trl
from pixward.rewards.vision import detection_recall


def parse(texts):
    """Four numbers a line, all of class 0."""
    boxes = [torch.tensor([[float(word) for word in line.split()] for line in text.splitlines()]) for text in texts]
    boxes = [rows.view(-1, 4) for rows in boxes]
    return Boxes.pad(boxes, [torch.zeros(len(rows)).long() for rows in boxes])


def collect(truths):
    return Boxes.pad([torch.tensor(rows) for rows in truths], [torch.zeros(len(rows)).long() for rows in truths])


TRUTH = [[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]


def test_a_detection_reward_as_trl_calls_it():
    reward = as_trl(detection_recall, parse, "objects", collect)
    assert reward.__name__ == "detection_recall"
    both, one = "0.1 0.1 0.5 0.5\n0.6 0.6 0.9 0.9", "0.1 0.1 0.5 0.5"
    # TRL hands over more than a reward asks for.
    scores = reward(
        prompts=["find"] * 3,
        completions=[both, one, ""],
        completion_ids=[[1]] * 3,
        objects=[TRUTH] * 3,
        trainer_state=None,
    )
    assert scores == [2.0, 1.0, 0.0]
    assert all(type(score) is float for score in scores)


def test_chats_are_read_as_text():
    reward = as_trl(
        lambda texts, truth: torch.tensor([float(a == b) for a, b in zip(texts, truth, strict=True)]),
        list,
        "truth",
        name="same",
    )
    chats = [
        [{"role": "assistant", "content": "yes"}],
        [{"role": "assistant", "content": [{"type": "text", "text": "no"}]}],
    ]
    assert reward(prompts=[""] * 2, completions=chats, truth=["yes", "yes"]) == [1.0, 0.0]
    assert reward.__name__ == "same"


def test_faults_are_named():
    reward = as_trl(lambda texts, truth: torch.tensor([0.0, torch.nan]), list, "truth", name="odd")
    with pytest.raises(PixwardError, match="the reward odd is nan for completion 1: 'b'"):
        reward(prompts=["", ""], completions=["a", "b"], truth=[0, 0])
    with pytest.raises(PixwardError, match=r"must give 1 scores, one for each completion, got \(2,\)"):
        reward(prompts=[""], completions=["a"], truth=[0])
    with pytest.raises(PixwardError, match="reads the column 'truth', the data set has label"):
        reward(prompts=[""], completions=["a"], label=[0])
