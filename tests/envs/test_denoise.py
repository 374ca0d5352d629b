from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pixward.checks import check_env
from pixward.envs.denoise import DenoiseEnv
from pixward.ops.denoise import lcm_timesteps
from pixward.ops.sampler import ddim_sampler, euler_ancestral_sampler, lcm_sampler
from pixward.policies.denoiser import DenoiserPolicy
from pixward.rollout import rollout

LATENT = (3, 4, 4)
SAMPLERS = {
    "keep": lcm_sampler(3),
    "drop": lcm_sampler(3, "drop"),
    "head": lcm_sampler(3, "head"),
    "ddim": ddim_sampler(3),
    "euler": euler_ancestral_sampler(3),
}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.9))

    def forward(self, latents, times, encoder_hidden_states=None):
        return SimpleNamespace(sample=self.gain * latents)


def decode(latents):
    return latents / 2 + 0.5


def batch(count=2, seed=0):
    return {"noise": torch.randn(count, *LATENT, generator=torch.Generator().manual_seed(seed)), "tag": torch.arange(2)}


@pytest.mark.parametrize("kind", SAMPLERS)
def test_it_keeps_the_contract(kind):
    env = DenoiseEnv(SAMPLERS[kind], LATENT, decode, lambda images, state: images.mean((1, 2, 3)))
    check_env(env, batch(), torch.randn(2, *LATENT))


@pytest.mark.parametrize("kind", SAMPLERS)
def test_the_reward_is_that_of_the_finished_picture(kind):
    sampler, judged = SAMPLERS[kind], []

    def reward(images, state):
        judged.append((images, state))
        return images.mean((1, 2, 3))

    env, policy = DenoiseEnv(sampler, LATENT, decode, reward), DenoiserPolicy(Net(), sampler)
    torch.manual_seed(0)
    played = rollout(env, policy, batch())
    (images, state), *more = judged
    assert not more and state["tag"].tolist() == [0, 1] and "noise" not in state
    assert not bool(played.rewards[:-1].any())
    torch.testing.assert_close(played.rewards[-1], images.mean((1, 2, 3)))
    assert torch.equal(env.image(played.last), images)
    # What is seen of the last decision: itself, or the picture behind it, which the network was asked for once.
    last = played.states[-1]
    with torch.no_grad():
        step = policy.step(last)
    shown = step.denoised if kind in ("keep", "drop") else played.actions[-1]
    torch.testing.assert_close(images, decode(shown).clamp(0, 1))
    assert policy.calls == 2 * 3 + 2


def test_pictures_on_the_way_are_what_the_policy_sees():
    sampler = SAMPLERS["ddim"]
    env, policy = DenoiseEnv(sampler, LATENT, decode), DenoiserPolicy(Net(), sampler)
    state = env.reset(batch())
    action = policy.sample(state)
    state, reward = env.step({**state, **action.memory}, action.value)
    assert not bool(reward.any())
    torch.testing.assert_close(env.image(state), decode(action.memory["denoised"]).clamp(0, 1))


def test_euler_begins_with_as_much_noise_as_its_first_time_has():
    env = DenoiseEnv(SAMPLERS["euler"], LATENT, decode)
    torch.testing.assert_close(env.reset(batch())["latents"], batch()["noise"] * SAMPLERS["euler"].first_std)
    assert env.learnt == (0, 1) and env.horizon == 3


def test_noise_is_the_generators():
    env = DenoiseEnv(SAMPLERS["keep"], LATENT, decode)
    first, second = (env.noise(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (5, *LATENT)


def test_a_whole_picture_is_that_of_diffusers(monkeypatch):
    """RLCM's grid, by the environment and the policy, against a plain loop over diffusers' scheduler."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.set_timesteps(timesteps=lcm_timesteps(8).tolist())
    net, sampler, start = Net(), lcm_sampler(), batch()
    torch.manual_seed(5)
    ours = rollout(DenoiseEnv(sampler, LATENT, decode), DenoiserPolicy(net, sampler), start)
    torch.manual_seed(5)
    latents = start["noise"]
    with torch.no_grad():
        for at, time in enumerate(scheduler.timesteps):
            torch.testing.assert_close(ours.states[at]["latents"], latents, rtol=1e-5, atol=1e-5)
            latents = scheduler.step(net(latents, time).sample, time, latents).prev_sample
    torch.testing.assert_close(ours.last["denoised"], latents, rtol=1e-5, atol=1e-5)


def test_faults_are_named():
    env = DenoiseEnv(SAMPLERS["keep"], LATENT, decode)
    with pytest.raises(ValueError, match=r"noise must be \(B, 3, 4, 4\), got \(2, 3, 4, 5\)"):
        env.reset({"noise": torch.zeros(2, 3, 4, 5)})
    with pytest.raises(ValueError, match=r"the action must be \(2, 3, 4, 4\)"):
        env.step(env.reset(batch()), torch.zeros(2, 3, 4))
