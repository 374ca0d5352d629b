from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from pixward.editors.chain import PAPER
from pixward.envs.edit import EditEnv

gymnasium = pytest.importorskip("gymnasium")
sb3 = pytest.importorskip("stable_baselines3")

from pixward.envs.gym import GymEnv, dict_observation, flat_observation  # noqa: E402


def tasks(rng):
    source, goal = torch.from_numpy(rng.random((2, 1, 3, 36, 40), dtype=np.float32))
    return {"source": source, "goal": goal}


def make(kind, render_mode=None):
    env = EditEnv(PAPER, horizon=5)
    example = env.reset(tasks(np.random.default_rng(0)))
    observation = flat_observation(example, 4, 5) if kind == "flat" else dict_observation(example, 5)
    return GymEnv(env, tasks, observation, action_size=9, render_mode=render_mode)


@pytest.mark.parametrize("kind", ["flat", "dict"])
def test_passes_gymnasiums_checker(kind):
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It has no id to be made anew from; that is the one thing the checker may complain of.
        warnings.filterwarnings("ignore", message=".*spec.*|.*registry.*")
        check_env(make(kind, "rgb_array"), skip_render_check=True)


@pytest.mark.parametrize("kind", ["flat", "dict"])
def test_passes_stable_baselines3s_checker(kind):
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(kind))


def test_an_episode_gives_what_the_environment_gives():
    env, inner = make("flat", "rgb_array"), EditEnv(PAPER, horizon=5)
    observation, _ = env.reset(seed=3)
    state = inner.reset(tasks(gymnasium.utils.seeding.np_random(3)[0]))
    for t in range(5):
        action = np.full(9, 0.1 * t, dtype=np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        state, expected = inner.step(state, torch.from_numpy(action)[None])
        assert reward == pytest.approx(float(expected))
        assert (terminated, truncated) == (t == 4, False)
    # The vector: two pictures of 3 x 4 x 4, nine sliders, the share of steps.
    assert observation.shape == (2 * 48 + 9 + 1,)
    np.testing.assert_allclose(observation[96:105], action)
    assert observation[105] == 1
    goal = torch.nn.functional.adaptive_avg_pool2d(state["goal"], 4).flatten().numpy()
    np.testing.assert_allclose(observation[:48], 2 * goal - 1, atol=1e-6)
    assert env.render().shape == (36, 40, 3)
    assert env.render().dtype == np.uint8


def test_seeds_draw_tasks():
    env = make("dict")
    first, _ = env.reset(seed=1)
    again, _ = env.reset(seed=1)
    other, _ = env.reset(seed=2)
    assert (first["goal"] == again["goal"]).all()
    assert (first["goal"] != other["goal"]).any()


def test_step_before_reset():
    with pytest.raises(RuntimeError, match="reset"):
        make("flat").step(np.zeros(9, dtype=np.float32))


def test_trains_under_stable_baselines3():
    torch.set_num_threads(1)
    model = sb3.TD3(
        "MlpPolicy", make("flat"), learning_starts=50, batch_size=32, policy_kwargs={"net_arch": [32]}, seed=0
    )
    before = [weight.clone() for weight in model.policy.actor.parameters()]
    model.learn(300)
    after = list(model.policy.actor.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(weight.isfinite().all() for weight in after)


def test_dict_observations_train_under_stable_baselines3():
    torch.set_num_threads(1)
    model = sb3.TD3(
        "MultiInputPolicy", make("dict"), learning_starts=10, batch_size=8, buffer_size=100,
        policy_kwargs={"net_arch": [32], "features_extractor_kwargs": {"cnn_output_dim": 16}}, seed=0,
    )  # fmt: skip
    model.learn(30)
    assert all(weight.isfinite().all() for weight in model.policy.actor.parameters())
