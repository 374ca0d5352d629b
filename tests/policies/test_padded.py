from __future__ import annotations

import torch

from pixward.policies.goal import GoalPolicy, GoalSettings
from pixward.policies.padded import PaddedPolicy, PaddedResponse
from pixward.policies.response import Response, ResponseSettings


def test_a_policy_leaves_further_sliders_alone_and_does_not_see_them():
    torch.manual_seed(0)
    policy = GoalPolicy(GoalSettings(3, horizon=2, width=16)).eval()
    padded = PaddedPolicy(policy, torch.tensor([-1.0, 0.5]))
    assert padded.settings.sliders == 5
    image = torch.rand(2, 3, 24, 24)
    state = {
        "source": image,
        "goal": image * 0.8,
        "image": image,
        "params": torch.rand(2, 5),
        "step": torch.ones(2),
        "history": torch.rand(2, 2, 6),
    }
    action = padded(state)
    assert torch.equal(action[:, 3:], torch.tensor([[-1.0, 0.5]]).expand(2, -1))
    own = {**state, "params": state["params"][:, :3], "history": state["history"][..., [0, 1, 2, 5]]}
    with torch.no_grad():
        assert torch.equal(action[:, :3], policy(own))


def test_a_response_says_that_further_sliders_do_nothing():
    torch.manual_seed(0)
    response = Response(ResponseSettings(3, width=8))
    padded = PaddedResponse(response, torch.zeros(2))
    pixels, params = torch.rand(7, 7), torch.rand(5)
    values, slopes = padded.jacobian(pixels, params)
    known_values, known_slopes = response.jacobian(pixels, params[:3])
    assert torch.equal(values, known_values)
    assert torch.equal(slopes[:, :3], known_slopes) and not slopes[:, 3:].any()
    assert torch.equal(padded(pixels[None], params[None]), response(pixels[None], params[None, :3]))
