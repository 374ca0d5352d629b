from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.policies.conftest import SMALL

from pixward.checks import check_policy
from pixward.policies.goal import FEATURES, GoalCritic, GoalPolicy, LocalPath, describe_policy, load_policy
from pixward.policies.nets import detail
from pixward.policies.weights import save_weights


@pytest.mark.parametrize("left_out", [None, *FEATURES])
def test_every_feature_can_be_left_out(make_policy, make_state, left_out):
    features = tuple(name for name in FEATURES if name != left_out)
    policy = make_policy(replace(SMALL, features=features))
    assert set(policy.paths) == set(features)
    state = make_state()
    action = policy(state)
    assert action.shape == (3, 4)
    assert bool((action.abs() <= 1).all())
    action.sum().backward()
    silent = [name for name, weight in policy.named_parameters() if weight.grad is None]
    assert silent == []


def test_a_feature_is_what_it_looks_at(make_policy, make_state):
    state = make_state()
    other_past = {**state, "history": state["history"] + 1}
    # The same pictures upside down: as far from the goal, and with the same statistics on a full grid.
    flipped = {key: value.flip(2) if value.ndim == 4 else value for key, value in state.items()}

    def same(features, changed):
        policy = make_policy(replace(SMALL, features=features, points=32))
        return torch.allclose(policy.correction(state), policy.correction(changed), atol=1e-5)

    assert not same(("history",), other_past)
    assert same(("local", "global", "statistics"), other_past)
    assert not same(("global",), flipped)
    # Pixels one by one, histograms and the past do not know where in the picture something is.
    assert same(("local", "statistics", "history"), flipped)
    assert same((), {**flipped, "history": other_past["history"]})


def test_unknown_and_repeated_features_are_refused():
    with pytest.raises(ValueError, match="unknown feature smell; known are local, global, statistics, history"):
        GoalPolicy(replace(SMALL, features=("local", "smell")))
    with pytest.raises(ValueError, match="named twice: local, local"):
        GoalCritic(replace(SMALL, features=("local", "local")))


def test_an_untrained_policy_leaves_the_sliders_nearly_alone(make_state):
    torch.manual_seed(0)
    state = make_state()
    action = GoalPolicy(SMALL)(state).detach()
    assert 0 < float((action - state["params"]).abs().max()) < 0.02


def test_the_step_follows_the_distance_that_is_left(make_policy, make_state):
    state, policy = make_state(), make_policy()

    def stride(away):
        moved = policy.correction({**state, "image": state["goal"] + away}) - state["params"]
        return float(moved.detach().abs().max())

    # No more than twice the reach, which is six times the root mean square but at least 0.01 and at most 1.
    assert stride(0) <= 0.02 + 1e-6
    assert 0.02 < stride(0.02) <= 2 * 6 * 0.02 + 1e-6
    assert 0.24 < stride(0.5) <= 2


def test_beyond_the_rim_only_the_decision_is_clamped(make_policy, make_state):
    state, policy = make_state(), make_policy()
    policy.head[-1].bias.data[:] = 3
    assert bool((policy.correction(state) > 1).all())
    assert torch.equal(policy(state), torch.ones(3, 4))


def test_the_local_path_reads_pixel_after_pixel(make_state):
    torch.manual_seed(1)
    path, state = LocalPath(4), make_state(1)
    direction = torch.randn(1, 3, 10, 12)
    ours = path(state, direction, 32)[0].detach().numpy()
    assert ours.shape == (LocalPath.size,) == (192,)
    weights = {name: weight.detach().double().numpy() for name, weight in path.named_parameters()}
    pictures = [state["source"], state["image"], state["goal"], direction]
    pictures += [detail(state[name]) for name in ("source", "image", "goal")]
    maps = np.concatenate([picture[0].double().numpy() for picture in pictures])
    setting = weights["setting.weight"] @ state["params"][0].double().numpy() + weights["setting.bias"]
    plain, weighted = np.zeros(96), np.zeros((32, 3))
    for row in range(10):
        for column in range(12):
            pixel = maps[:, row, column]
            hidden = np.maximum(weights["pixel.weight"] @ pixel + weights["pixel.bias"] + setting, 0)
            mixed = np.maximum(weights["mix.weight"] @ hidden + weights["mix.bias"], 0)
            plain += mixed[:96] / 120
            weighted += np.outer(mixed[96:], direction[0, :, row, column].numpy()) / 120
    np.testing.assert_allclose(ours, np.concatenate([plain, 4 * weighted.flatten()]), rtol=1e-4, atol=1e-5)


def test_sample_is_a_gaussian_around_the_decision(make_policy, make_state):
    policy, state = make_policy(replace(SMALL, noise=0.2)), make_state()
    mean = policy(state).detach()
    action = policy.sample(state)
    away = (action.value.detach().double() - mean).numpy() / 0.2
    expected = np.log(np.exp(-(away**2) / 2) / (0.2 * np.sqrt(2 * np.pi))).sum(1)
    np.testing.assert_allclose(action.log_prob.detach().numpy(), expected, rtol=1e-4)
    assert action.baseline.tolist() == [0, 0, 0]
    log_prob, baseline = policy.evaluate(state, action.value)
    torch.testing.assert_close(log_prob, action.log_prob)
    assert baseline.tolist() == [0, 0, 0]
    torch.manual_seed(3)
    many = make_state(300)
    draws = (policy.sample(many).value - policy(many)).detach()
    assert float(draws.std()) == pytest.approx(0.2, rel=0.05)
    assert float(draws.mean()) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("features", [FEATURES, ("history",)])
def test_keeps_the_contract_of_a_policy(make_policy, make_state, features):
    check_policy(make_policy(replace(SMALL, features=features)), make_state())


def test_the_critic_judges_each_item_by_itself_and_by_its_action(make_state):
    torch.manual_seed(0)
    critic, state = GoalCritic(SMALL), make_state()
    action = torch.rand(3, 4).requires_grad_()
    values = critic(state, action)
    assert values.shape == (3,)
    one = {key: value[1:2] for key, value in state.items()}
    torch.testing.assert_close(critic(one, action[1:2]), values[1:2])
    (slopes,) = torch.autograd.grad(values[1], action)
    assert torch.equal(slopes.abs().sum(1) > 0, torch.tensor([False, True, False]))


def test_saved_and_loaded_it_decides_the_same(make_policy, make_state, tmp_path):
    policy, state = make_policy(replace(SMALL, features=("local", "history"))), make_state()
    save_weights(tmp_path / "own.safetensors", policy.state_dict(), "policy", describe_policy(policy))
    loaded = load_policy(tmp_path / "own.safetensors")
    assert loaded.settings == policy.settings
    assert not loaded.training
    torch.testing.assert_close(loaded(state), policy(state), atol=5e-3, rtol=0)


def test_weights_that_fit_no_policy_are_named(make_policy, tmp_path):
    policy = make_policy()
    tensors, settings = policy.state_dict(), describe_policy(policy)
    for wrong in ({**settings, "width": 25}, {**settings, "colour": 1}, {"sliders": 4}):
        save_weights(tmp_path / "own.safetensors", tensors, "policy", wrong)
        with pytest.raises(ValueError, match="own.safetensors: these weights fit no policy"):
            load_policy(tmp_path / "own.safetensors")
