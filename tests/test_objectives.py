"""Every figure here was worked out by hand; the sums are in the comments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixward import objectives as o


def close(value, expected, tolerance=1e-6):
    torch.testing.assert_close(value, torch.as_tensor(expected), atol=tolerance, rtol=tolerance)


def test_returns():
    # 3; 2 + .5 * 3 = 3.5; 1 + .5 * 3.5 = 2.75
    close(o.returns(torch.tensor([[1.0], [2.0], [3.0]]), 0.5), [[2.75], [3.5], [3.0]])


def test_gae():
    rewards, values = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [1.0]])
    # delta_1 = 2 + .9 * 4 - 1 = 4.6; delta_0 = 1 + .9 * 1 - .5 = 1.4; A_0 = 1.4 + .9 * .8 * 4.6 = 4.712
    close(o.gae(rewards, values, torch.tensor([4.0]), 0.9, 0.8), [[4.712], [4.6]])
    # lambda 0 is the one-step error.
    close(o.gae(rewards, values, torch.tensor([4.0]), 0.9, 0.0), [[1.4], [4.6]])


@pytest.mark.parametrize("shape", [(), (3, 2)])
@given(seed=st.integers(0, 1000), gamma=st.floats(0, 1))
def test_gae_with_lambda_one_is_return_minus_value_for_every_P(shape, seed, gamma):
    rewards, values = torch.randn(2, 5, 4, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    advantages = o.gae(rewards, values, torch.zeros(4, *shape, dtype=torch.float64), gamma, 1.0)
    torch.testing.assert_close(advantages, o.returns(rewards, gamma) - values)


def test_gae_passes_no_gradient_to_the_values():
    values = torch.ones(2, 1, requires_grad=True)
    assert not o.gae(torch.ones(2, 1), values, torch.ones(1, requires_grad=True), 0.9, 0.9).requires_grad


def test_leave_one_out():
    # Means of the others: (2 + 6) / 2 = 4, 3.5, 1.5.
    close(o.leave_one_out(torch.tensor([[1.0, 2.0, 6.0]])), [[-3.0, -1.5, 4.5]])
    with pytest.raises(ValueError, match="K >= 2"):
        o.leave_one_out(torch.ones(3, 1))


def test_group_normalize():
    values, groups = torch.tensor([1.0, 10.0, 3.0, 10.0, 7.0]), torch.tensor([5, 9, 5, 9, 2])
    # Group 5: mean 2, population deviation 1. Group 9: equal. Group 2: alone.
    close(o.group_normalize(values, groups), [-1.0, 0.0, 1.0, 0.0, 0.0], 1e-5)


def test_group_normalize_does_not_blow_up_rounding():
    values = torch.full((3,), 0.1) * 1e4
    close(o.group_normalize(values, torch.zeros(3, dtype=torch.long)), [0.0, 0.0, 0.0])


def test_reinforce_loss():
    log_probs = torch.tensor([-1.0, -2.0], requires_grad=True)
    advantages = torch.tensor([2.0, -3.0], requires_grad=True)
    loss = o.reinforce_loss(log_probs, advantages)
    close(loss.detach(), -2.0)  # -(2 * -1 + -3 * -2) / 2
    loss.backward()
    close(log_probs.grad, [-1.0, 1.5])
    assert advantages.grad is None


def test_ppo_loss():
    old = torch.zeros(4)
    new = torch.tensor([1.5, 1.5, 0.5, 0.5]).log().requires_grad_()
    loss = o.ppo_loss(new, old, torch.tensor([1.0, -1.0, 1.0, -1.0]), 0.2)
    # min(1.5, 1.2) = 1.2; min(-1.5, -1.2) = -1.5; min(.5, .8) = .5; min(-.5, -.8) = -.8; minus their mean: 0.15
    close(loss.detach(), 0.15)
    loss.backward()
    # Clipped ones teach nothing; d(ratio)/d(log) = ratio.
    close(new.grad, [0.0, 1.5 / 4, -0.5 / 4, 0.0])


def test_td3_target_action():
    action, noise = torch.tensor([[0.0, 0.9, -0.9]]), torch.tensor([[0.3, 2.0, -0.2]])
    close(o.td3_target_action(action, noise, 0.5), [[0.3, 1.0, -1.0]])


def test_td3_target():
    q1, q2 = torch.tensor([4.0, 4.0], requires_grad=True), torch.tensor([3.0, 5.0])
    target = o.td3_target(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]), q1, q2, 0.9)
    close(target, [3.7, 1.0])  # 1 + .9 * 3; nothing after the end
    assert not target.requires_grad


def test_td3_critic_loss():
    loss = o.td3_critic_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 4.0]))
    close(loss, 10.5)  # (0 + 4) / 2 + (1 + 16) / 2


def test_td3_actor_loss():
    q = torch.tensor([2.0, -6.0])
    close(o.td3_actor_loss(q), 2.0)
    action, anchor = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    # mean Q = -2, mean |Q| = 4, so 0.5; squared distances 1, 0, 0, 4: mean 1.25
    close(o.td3_actor_loss(q, action, anchor, 0.4), 0.5 + 0.4 * 1.25)
    with pytest.raises(ValueError, match="anchor"):
        o.td3_actor_loss(q, action, None, 0.4)


def test_td3_anchor_weighs_the_same_for_any_scale_of_reward():
    action, anchor = torch.rand(5, 2), torch.rand(5, 2)
    q = torch.rand(5)
    close(o.td3_actor_loss(q, action, anchor, 0.4), o.td3_actor_loss(100 * q, action, anchor, 0.4), 1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: o.returns(torch.ones(3), 0.9),
        lambda: o.gae(torch.ones(3, 2), torch.ones(3, 1), torch.ones(2), 0.9, 0.9),
        lambda: o.gae(torch.ones(3, 2), torch.ones(3, 2), torch.ones(1), 0.9, 0.9),
        lambda: o.group_normalize(torch.ones(3), torch.zeros(2, dtype=torch.long)),
        lambda: o.reinforce_loss(torch.ones(3, 1), torch.ones(3)),
        lambda: o.ppo_loss(torch.ones(3), torch.ones(3), torch.ones(3, 1)),
        lambda: o.td3_target(torch.ones(3), torch.ones(3), torch.ones(3, 1), torch.ones(3), 0.9),
        lambda: o.td3_critic_loss(torch.ones(3), torch.ones(3, 1), torch.ones(3)),
        lambda: o.td3_actor_loss(torch.ones(3, 1)),
    ],
)
def test_shapes_that_would_broadcast_are_refused(call):
    with pytest.raises(ValueError, match="must be"):
        call()


def test_one_sample_is_the_first_against_the_mean_of_the_others():
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.5, 0.5, 0.5]])
    assert torch.equal(o.one_sample(rewards), torch.tensor([[-3.0], [0.0]]))
    with pytest.raises(ValueError, match="K >= 2"):
        o.one_sample(torch.zeros(3, 1))


def test_kl_estimate_is_unbiased_and_never_negative():
    ours, theirs = (torch.tensor(p).double().log() for p in ([0.5, 0.3, 0.2], [0.2, 0.2, 0.6]))
    estimate = o.kl_estimate(ours, theirs)
    exact = (ours.exp() * (ours - theirs)).sum()
    assert torch.allclose((ours.exp() * estimate).sum(), exact)
    assert bool((estimate >= 0).all())
