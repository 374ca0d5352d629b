"""What each box of a sequence is judged by."""

from __future__ import annotations

import torch

from pixward.boxes import Boxes
from pixward.data.tokens import BoxTokens
from pixward.predict.detect import DetectionReward, reward_task
from pixward.rewards.vision import DetectionSettings

KIND = BoxTokens(classes=3, boxes=4, steps=10)
TRUTH = Boxes(
    torch.tensor([[[0.0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]]), torch.tensor([[0, 1]]), torch.tensor([[True, True]])
)


def sequence(*rows: tuple[int, int, int, int, int]) -> torch.Tensor:
    """``(1, 1, 24)`` tokens of boxes ``y0 x0 y1 x1 class``."""
    told = [token for *corners, label in rows for token in (*(c + 3 for c in corners), label + 14, KIND.RIGHT)]
    return torch.tensor(told + [0] * (24 - len(told)))[None, None]


FIRST, SECOND, NOWHERE = (0, 0, 5, 5, 0), (5, 5, 10, 10, 1), (0, 5, 5, 10, 2)


def test_a_box_adds_what_it_finds_and_takes_what_it_doubles() -> None:
    reward = DetectionReward(KIND, DetectionSettings(false_positive_cost=0.2))
    tokens = torch.cat([sequence(FIRST, FIRST, NOWHERE, SECOND), sequence(NOWHERE, SECOND)], 1)
    marginal = reward.marginal(tokens, {"boxes": TRUTH})
    expected = torch.tensor([[[1.0, -0.3, -0.2, 1.0], [-0.2, 1.0, 0.0, 0.0]]])
    torch.testing.assert_close(marginal, expected)


def test_what_boxes_add_is_the_reward() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(5, 3, 2, 2, generator=generator).sort(2).values.flatten(2)
    truth = Boxes(corners, torch.randint(3, (5, 3), generator=generator), torch.ones(5, 3).bool())
    tokens = KIND.encode(truth).view(5, 1, -1).repeat(1, 2, 1)
    tokens[:, 1, :6] = tokens[:, 1, 6:12]
    for settings in (DetectionSettings(), DetectionSettings(mode="paper_code", false_positive_cost=0.1)):
        reward = DetectionReward(KIND, settings)
        batch = {"boxes": truth}
        torch.testing.assert_close(reward.marginal(tokens, batch).sum(2), reward(tokens, batch))


def test_later_boxes_count_as_much_as_the_discount_says() -> None:
    reward = DetectionReward(KIND)
    tokens = sequence(FIRST, FIRST, SECOND)
    for discount, expected in ((0.0, [1.0, -0.3, 1.0, 0.0]), (0.5, [1.1, 0.2, 1.0, 0.0]), (1.0, [1.7, 0.7, 1.0, 0.0])):
        task = reward_task(reward, lambda _: {}, discount=discount)
        assert task.returns is not None
        judged = task.returns(tokens, {"boxes": TRUTH})
        assert judged.shape == tokens.shape
        # All six tokens of a box are judged alike.
        torch.testing.assert_close(judged[0, 0, ::6], torch.tensor(expected))
        assert bool((judged.unflatten(2, (4, 6)) == judged.unflatten(2, (4, 6))[..., :1]).all())
    assert reward_task(reward, lambda _: {}).returns is None
