from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from pixward.errors import PixwardError
from pixward.rewards.ddpo import as_ddpo, from_ddpo
from pixward.rewards.image import compressibility, incompressibility

IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
PROMPTS = ["a cat", "a dog", "an ant"]


def written_for_ddpo(images, prompts, metadata):
    """As ddpo-pytorch's rewards are written: arrays out, and something to log."""
    pixels = (images * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy().transpose(0, 2, 3, 1)
    lengths = np.array([len(prompt) for prompt in prompts], np.float64)
    return pixels.mean((1, 2, 3)) + lengths, {"lengths": lengths, "metadata": metadata}


def test_a_reward_of_theirs_as_one_of_ours():
    reward = from_ddpo(written_for_ddpo)
    assert reward.name == "written_for_ddpo"
    scores, info = reward.scored(IMAGES, PROMPTS, [{"kind": "pet"}, {"kind": "pet"}, {}])
    expected = (IMAGES * 255).round().mean((1, 2, 3)) + torch.tensor([5.0, 5, 6])
    torch.testing.assert_close(scores, expected)
    assert scores.dtype == torch.float32
    assert info["metadata"] == ({"kind": "pet"}, {"kind": "pet"}, {}) and info["lengths"].tolist() == [5, 5, 6]
    assert torch.equal(reward(IMAGES, PROMPTS), scores)
    # Scores alone will do.
    assert from_ddpo(lambda *_: [1.0, 2.0, 3.0]).scored(IMAGES, PROMPTS)[1] == {}
    # Whoever has no metadata hands over empty ones, as those libraries do.
    assert reward.scored(IMAGES, PROMPTS)[1]["metadata"] == ({}, {}, {})


@pytest.mark.parametrize(
    "scores", [torch.tensor([1, 2, 3]), np.array([1.0, 2, 3]), [1, 2.0, 3], [torch.tensor(1.0), *torch.tensor([2, 3])]]
)
def test_scores_may_be_anything_with_numbers(scores):
    made = from_ddpo(lambda images, prompts, metadata: (scores, {}))(IMAGES, PROMPTS)
    assert made.tolist() == [1, 2, 3] and made.dtype == torch.float32


def test_a_network_keeps_nothing_alive():
    leaf = IMAGES.clone().requires_grad_(True)
    seen = []

    def reward(images, prompts, metadata):
        seen.append(images.requires_grad)
        return torch.nn.Linear(16, 1)(images.mean((1, 2)))[:, 0], {}

    assert not from_ddpo(reward)(leaf, PROMPTS).requires_grad and seen == [False]


def test_a_reward_of_ours_as_one_of_theirs():
    reward = as_ddpo(compressibility)
    assert reward.__name__ == "compressibility"
    scores, info = reward(IMAGES, tuple(PROMPTS), ({}, {}, {}))
    assert torch.equal(scores, compressibility(IMAGES)) and info == {}
    # TRL and ddpo-pytorch make a tensor of what they get.
    assert torch.as_tensor(scores).shape == (3,) and not scores.requires_grad
    eight = (IMAGES * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert torch.equal(reward(eight, PROMPTS, [{}] * 3)[0], scores)
    assert as_ddpo(partial(incompressibility, floor=True)).__name__ == "incompressibility"


def test_prompts_are_the_target_and_back_again():
    counted = as_ddpo(lambda output, target: torch.tensor([float(len(prompt)) for prompt in target]), "length")
    assert counted(IMAGES, PROMPTS, [{}] * 3)[0].tolist() == [5, 5, 6]
    assert from_ddpo(counted)(IMAGES, PROMPTS).tolist() == [5, 5, 6]


@pytest.mark.parametrize(
    "answer, message",
    [
        (([0.0, float("nan"), 1.0], {}), "the reward odd is nan for picture 1, prompt 'a dog'"),
        (([0.0, 1.0, float("inf")], {}), "the reward odd is inf for picture 2, prompt 'an ant'"),
        (([0.0], {}), r"the reward odd must return \(3,\), one number for each picture, got \(1,\)"),
        ((torch.zeros(3, 1), {}), r"got \(3, 1\)"),
        ((0.5, {}), r"got \(\)"),
        ((None, {}), "the reward odd must return 3 numbers, one for each picture, not NoneType"),
        ((["a", "b", "c"], {}), "the reward odd must return 3 numbers, one for each picture, not list"),
    ],
)
def test_faulty_answers_are_named(answer, message):
    with pytest.raises(PixwardError, match=message):
        from_ddpo(lambda images, prompts, metadata: answer, "odd")(IMAGES, PROMPTS)


def test_a_reward_that_raises_is_named_with_its_reason():
    def broken(images, prompts, metadata):
        return metadata["scores"], {}

    with pytest.raises(PixwardError, match="the reward broken failed: ") as caught:
        from_ddpo(broken)(IMAGES, PROMPTS)
    assert isinstance(caught.value.__cause__, TypeError)

    def told(images, prompts, metadata):
        raise PixwardError("set the key of the scorer")

    with pytest.raises(PixwardError, match="^set the key of the scorer$"):
        from_ddpo(told)(IMAGES, PROMPTS)


def test_faults_of_ours_are_named_too():
    with pytest.raises(PixwardError, match="the reward low is nan for picture 0, prompt 'a cat'"):
        as_ddpo(lambda output, target: output.mean((1, 2, 3)) * torch.nan, "low")(IMAGES, PROMPTS, [{}] * 3)
    with pytest.raises(PixwardError, match=r"pictures are a float tensor .* not Tensor torch.uint8 \(3, 3, 16, 16\)"):
        as_ddpo(compressibility)((IMAGES * 255).to(torch.uint8), PROMPTS, [{}] * 3)
    with pytest.raises(ValueError, match="3 pictures, 2 prompts and 2 metadata"):
        from_ddpo(written_for_ddpo)(IMAGES, PROMPTS[:2])
