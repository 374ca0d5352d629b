"""Every check is shown something whole, and one broken thing of each kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pixward.checks import ContractError, check_editor, check_env, check_policy, check_reward
from pixward.editors.chain import PAPER, PHOTO, Chain
from pixward.envs.edit import EditEnv
from pixward.params import ParamSpace, ParamSpec
from pixward.types import Action

SPACE = ParamSpace([ParamSpec("gain", 0, 1, 1, "x", "Brightness."), ParamSpec("lift", 0, 0.5, 0, "", "Black level.")])


def render(images, params):
    gain, lift = params[:, :, None, None, None].unbind(1)
    return lift + (1 - lift) * gain * images


def in_place(images, params):
    out = render(images, params)
    images.mul_(0.5)
    return out


def clamps_params(images, params):
    out = render(images, params)
    params.clamp_(0.4, 0.6)
    return out


def mixes_the_batch(images, params):
    return render(images, params.mean(0, keepdim=True).expand_as(params))


EDITOR = Chain("two", SPACE, render)


@pytest.mark.parametrize("editor", [EDITOR, PAPER, PHOTO], ids=lambda editor: editor.name)
def test_whole_editors_pass(editor):
    check_editor(editor)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (replace(EDITOR, name=""), "name must be"),
        (replace(EDITOR, space=["gain"]), "space must be a ParamSpace"),
        (replace(EDITOR, differentiable=None), "differentiable must be"),
        (lambda i, p: render(i, p).mean(1, keepdim=True), r"must return \(2, 3, 24, 32\)"),
        (lambda i, p: render(i, p)[:, :, 1:], r"must return \(2, 3, 24, 32\)"),
        (lambda i, p: render(i, p).double(), "float32"),
        (lambda i, p: render(i, p) * torch.nan, "NaN or infinity"),
        (lambda i, p: render(i, p) * 3, r"outside \[0, 1\]"),
        (lambda i, p: render(i, p).numpy(), "must return tensors"),
        (in_place, "changes its input 'images'"),
        (clamps_params, "changes its input 'params'"),
        (lambda i, p: (render(i, p) + 1e-3 * torch.rand(())).clamp(0, 1), "not deterministic"),
        (mixes_the_batch, "one by one differ by"),
        (lambda i, p: i + 0 * p.sum(), "slider gain changes nothing"),
        (lambda i, p: i * p[:, :1, None, None], "slider lift changes nothing"),
        (lambda i, p: render(i, p.detach()), "no gradient reaches params"),
    ],
)
def test_broken_editors_are_told(broken, message):
    editor = broken if isinstance(broken, Chain) else Chain("two", SPACE, broken)
    with pytest.raises(ContractError, match=message):
        check_editor(editor)


def test_an_editor_with_fewer_sliders_than_its_space():
    three = ParamSpace([*SPACE.specs, ParamSpec("extra", 0, 1, 0, "", "Not there.")])
    with pytest.raises(ContractError, match="slider extra changes nothing"):
        check_editor(Chain("two", three, lambda images, params: render(images, params[:, :2])))


def test_an_editor_that_wants_more_sliders_than_its_space():
    def wants_three(images, params):
        return images * params[:, 2, None, None, None]

    with pytest.raises(ContractError, match="editor two fails with 2 sliders: IndexError"):
        check_editor(Chain("two", SPACE, wants_three))


def test_checks_leave_the_generator_alone():
    policy, state = Normal(), {"x": torch.rand(3, 2)}
    before = torch.get_rng_state()
    check_editor(EDITOR)
    check_policy(policy, state)
    assert torch.equal(torch.get_rng_state(), before)


# --- environments -------------------------------------------------------------------------------------------------


class Broken:
    """EditEnv with one method replaced."""

    def __init__(self, **methods):
        self.inner = EditEnv(EDITOR, horizon=2)
        self.horizon = methods.pop("horizon", 2)
        self.methods = methods

    def reset(self, batch):
        return self.methods.get("reset", lambda env, batch: env.reset(batch))(self.inner, batch)

    def step(self, state, action):
        return self.methods.get("step", lambda env, *a: env.step(*a))(self.inner, state, action)

    def image(self, state):
        return self.methods.get("image", lambda env, state: env.image(state))(self.inner, state)


def tasks():
    source, goal = torch.rand(2, 2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return {"source": source, "goal": goal}


def with_reward(change):
    def step(env, state, action):
        following, reward = env.step(state, action)
        return following, change(reward)

    return step


def changes_state(env, state, action):
    following, reward = env.step(state, action)
    state["step"] += 1
    return following, reward


def drops_key(env, state, action):
    following, reward = env.step(state, action)
    return {key: value for key, value in following.items() if key != "step"}, reward


def test_whole_env_passes():
    check_env(Broken(), tasks())


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"horizon": 0}, "horizon must be"),
        ({"reset": lambda env, batch: {**env.reset(batch), "step": 0}}, "must return tensors"),
        ({"reset": lambda env, batch: {**env.reset(batch), "step": torch.zeros(3)}}, r"'step' must be \(2, ...\)"),
        ({"reset": lambda env, batch: {**env.reset(batch), "step": torch.full((2,), torch.nan)}}, "'step' holds NaN"),
        ({"reset": lambda env, batch: env.reset({"source": batch["source"].mul_(0.9), "goal": batch["goal"]})},
         "changes its input 'source'"),
        ({"reset": lambda env, batch: {**env.reset(batch), "step": torch.rand(2)}}, "reset is not deterministic"),
        ({"step": with_reward(lambda reward: reward[:1].expand(2))}, "one by one differ in shape"),
        ({"step": with_reward(lambda reward: reward.mean())}, r"must be \(2, \*P\)"),
        ({"step": with_reward(lambda reward: reward.long())}, "floating point"),
        ({"step": with_reward(lambda reward: reward + torch.inf)}, "NaN or infinity"),
        ({"step": with_reward(lambda reward: reward + torch.rand(2))}, "step is not deterministic"),
        ({"step": with_reward(lambda reward: reward - reward.mean())}, "one by one differ by"),
        ({"step": changes_state}, "changes its input 'step'"),
        ({"step": drops_key}, "keys or shapes differ"),
        ({"image": lambda env, state: 255 * state["image"]}, r"outside \[0, 1\]"),
        ({"image": lambda env, state: state["image"][0]}, r"\(B, 3, H, W\)"),
    ],
)  # fmt: skip
def test_broken_envs_are_told(methods, message):
    with pytest.raises(ContractError, match=message):
        check_env(Broken(**methods), tasks())


def test_env_without_params_needs_an_action():
    without = Broken(reset=lambda env, batch: {k: v for k, v in env.reset(batch).items() if k != "params"})
    with pytest.raises(ContractError, match="needs an action"):
        check_env(without, tasks())


# --- policies -----------------------------------------------------------------------------------------------------


class Normal(nn.Module):
    """A Gaussian policy; ``change`` breaks what ``sample`` or ``evaluate`` returns."""

    def __init__(self, change_sample=None, change_evaluate=None):
        super().__init__()
        self.mean = nn.Linear(2, 1)
        self.change_sample = change_sample or (lambda state, action: action)
        self.change_evaluate = change_evaluate or (lambda states, both: both)

    def spread(self, state):
        return torch.distributions.Normal(self.mean(state["x"])[:, 0], 0.5)

    def sample(self, state):
        spread = self.spread(state)
        value = spread.sample()
        action = Action(value[:, None], spread.log_prob(value), state["x"].mean(1))
        return self.change_sample(state, action)

    def evaluate(self, states, actions):
        both = self.spread(states).log_prob(actions[:, 0]), states["x"].mean(1)
        return self.change_evaluate(states, both)


def scribbles(state, action):
    state["x"].zero_()
    return action


def test_whole_policy_passes():
    check_policy(Normal(), {"x": torch.rand(3, 2)})


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Normal(lambda state, action: action.value), "must return an Action"),
        (Normal(lambda state, action: replace(action, value=action.value[:2])), r"value must be \(3, ...\)"),
        (Normal(lambda state, action: replace(action, value=action.value / 0)), "value holds NaN"),
        (Normal(lambda state, action: replace(action, log_prob=action.log_prob.sum())), r"must be \(3, \*P\)"),
        (Normal(lambda state, action: replace(action, log_prob=action.log_prob * torch.nan)), "log_prob holds NaN"),
        (Normal(lambda state, action: replace(action, baseline=action.baseline[:, None])), "differ"),
        (Normal(scribbles), "changes its input 'x'"),
        (Normal(None, lambda states, both: both[0]), "must return .log_prob, baseline."),
        (Normal(None, lambda states, both: (both[0] + 1, both[1])), "log_prob from sample and from evaluate differ"),
        (Normal(None, lambda states, both: (both[0][:, None], both[1])), "differ in shape"),
        (Normal(None, lambda states, both: (both[0] + torch.rand(3), both[1])), "not deterministic"),
        (Normal(None, lambda states, both: (both[0].detach(), both[1])), "no gradient"),
    ],
)
def test_broken_policies_are_told(policy, message):
    with pytest.raises(ContractError, match=message):
        check_policy(policy, {"x": torch.rand(3, 2)})


def test_policy_that_looks_at_its_neighbours():
    class Centred(Normal):
        def spread(self, state):
            return super().spread({"x": state["x"] - state["x"].mean(0)})

    with pytest.raises(ContractError, match="one by one differ by"):
        check_policy(Centred(), {"x": torch.rand(3, 2)})


# --- rewards ------------------------------------------------------------------------------------------------------


def psnr(output, target):
    return -10 * ((output - target) ** 2).flatten(1).mean(1).log10()


def per_pixel(output, target):
    return -((output - target) ** 2).mean(1)


@pytest.mark.parametrize("reward", [psnr, per_pixel])
def test_whole_rewards_pass(reward):
    check_reward(reward, torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda o, t: psnr(o, t).mean(), r"must be \(2, \*P\)"),
        (lambda o, t: float(psnr(o, t).mean()), "must return tensors"),
        (lambda o, t: psnr(o, o), "NaN or infinity"),
        (lambda o, t: psnr(o.mul_(0.5), t), "changes its input 'output'"),
        (lambda o, t: psnr(o, t) + torch.rand(2), "not deterministic"),
        (lambda o, t: psnr(o, t) - psnr(o, t).mean(), "one by one differ by"),
        (lambda o, t: psnr(o, t).round().int(), "floating point"),
    ],
)
def test_broken_rewards_are_told(reward, message):
    with pytest.raises(ContractError, match=message):
        check_reward(reward, torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4))
