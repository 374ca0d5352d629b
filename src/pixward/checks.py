"""Check what you bring: an editor, an environment, a policy or a reward of your own.

Each function tries the whole contract of :mod:`pixward.types` on small inputs and raises :class:`ContractError` with
one line that says what is broken. They restore torch's global generator on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from pixward.params import ParamSpace
from pixward.types import Action, Editor, Env, Policy, Reward, State

_T = TypeVar("_T")


class ContractError(AssertionError):
    """Something does not keep the contract that :mod:`pixward.types` states."""


@torch.random.fork_rng(devices=[])
def check_editor(editor: Editor, images: Tensor | None = None, tolerance: float = 1e-4) -> None:
    """Check an editor with about ``2 d + 5`` small renders, ``d`` being its number of sliders.

    Args:
        editor: what to check.
        images: ``(2, 3, H, W)`` to try it on; noise of 24 x 32 pixels if not given.
        tolerance: how far the same render may differ between a batch and one by one; 1/255 suits 8-bit programs.

    Raises:
        ContractError: with the first fault found.
    """
    name = getattr(editor, "name", None)
    _need(isinstance(name, str) and bool(name), "editor.name must be a non-empty string")
    _need(isinstance(getattr(editor, "space", None), ParamSpace), f"editor {name}: space must be a ParamSpace")
    _need(isinstance(getattr(editor, "differentiable", None), bool), f"editor {name}: differentiable must be a bool")
    generator = torch.Generator().manual_seed(0)
    if images is None:
        images = torch.rand(2, 3, 24, 32, generator=generator)
    _need(
        images.ndim == 4 and images.shape[:2] == (2, 3),
        f"images to check with must be (2, 3, H, W), got {tuple(images.shape)}",
    )
    space = editor.space
    # Half the range: at the ends many editors clip everything away.
    action = 0.5 * (2 * torch.rand(2, len(space), generator=generator) - 1)
    params = space.denormalize(action).to(images.device)
    what = f"editor {name}"
    try:
        editor(images.clone(), params.clone())
    except Exception as error:
        raise ContractError(f"{what} fails with {len(space)} sliders: {type(error).__name__}: {error}") from error
    output = _pure(what, lambda: editor(images, params), {"images": images, "params": params})
    _check_image(what, output, tuple(images.shape))
    rows = torch.cat([editor(images[i : i + 1], params[i : i + 1]) for i in range(2)])
    _close(what, "two images rendered in a batch and one by one", output, rows, tolerance)
    _check_image(f"{what} at its defaults", editor(images, space.defaults(2).to(images)), tuple(images.shape))
    _check_sliders(editor, images[:1], action[:1])
    if editor.differentiable:
        _check_gradient(editor, images, params)


def _check_sliders(editor: Editor, image: Tensor, action: Tensor) -> None:
    """Every slider, moved from its low to its high end with the others held, must change the picture."""
    for i, name in enumerate(editor.space.names):
        low, high = action.clone(), action.clone()
        low[:, i], high[:, i] = -1, 1
        pair = editor(image.expand(2, -1, -1, -1), editor.space.denormalize(torch.cat([low, high])).to(image))
        _check_image(f"editor {editor.name} with {name} at an end", pair, (2, *image.shape[1:]))
        _need(
            not torch.equal(pair[0], pair[1]),
            f"editor {editor.name}: slider {name} changes nothing, from its low end to its high end",
        )


def _check_gradient(editor: Editor, images: Tensor, params: Tensor) -> None:
    leaf = params.clone().requires_grad_()
    output = editor(images, leaf)
    _need(output.requires_grad, f"editor {editor.name}: says differentiable, yet no gradient reaches params")
    (gradient,) = torch.autograd.grad(output.sum(), leaf, allow_unused=True)
    _need(gradient is not None, f"editor {editor.name}: says differentiable, yet no gradient reaches params")
    _need(bool(gradient.isfinite().all()), f"editor {editor.name}: the gradient of params is not finite")


@torch.random.fork_rng(devices=[])
def check_env(env: Env, batch: State, action: Tensor | None = None, tolerance: float = 1e-4) -> None:
    """Check an environment by playing one episode, and its first step one item at a time.

    Args:
        env: what to check.
        batch: tasks as :meth:`Env.reset` takes them, at least two, so that mixed-up items show.
        action: ``(B, ...)``; if not given, uniform in [-1, 1] in the shape of ``state["params"]``.
        tolerance: how far results may differ between a batch and one by one.

    Raises:
        ContractError: with the first fault found.
    """
    horizon = getattr(env, "horizon", None)
    _need(isinstance(horizon, int) and horizon >= 1, f"env.horizon must be an int of at least 1, got {horizon!r}")
    count = next(iter(batch.values())).shape[0]
    _need(count >= 2, "check_env needs a batch of at least two tasks")
    state = _pure("env.reset", lambda: env.reset(batch), batch)
    _check_state("env.reset", state, count)
    if action is None:
        _need("params" in state, 'check_env needs an action: the state has no "params" to take its shape from')
        generator = torch.Generator().manual_seed(0)
        action = (2 * torch.rand(state["params"].shape, generator=generator) - 1).to(state["params"])
    _check_image("env.image", _pure("env.image", lambda: env.image(state), state), None)
    following, reward = _pure("env.step", lambda: env.step(state, action), {**state, "action": action})
    shapes = {key: value.shape for key, value in state.items()}
    _check_state("env.step", following, count)
    _need(
        {key: value.shape for key, value in following.items()} == shapes,
        "env.step: the state's keys or shapes differ from those of env.reset",
    )
    _check_numbers("env.step: the reward", reward, count)
    for i in range(count):
        one = env.reset({key: value[i : i + 1] for key, value in batch.items()})
        one_following, one_reward = env.step(one, action[i : i + 1])
        _close("env.step", "the reward in a batch and one by one", reward[i : i + 1], one_reward, tolerance)
        for key, value in one_following.items():
            what = f"state {key!r} in a batch and one by one"
            _close("env.step", what, following[key][i : i + 1], value, tolerance)
    _play_out(env, following, action)


def _play_out(env: Env, state: State, action: Tensor) -> None:
    count = action.shape[0]
    for t in range(1, env.horizon):
        state, reward = env.step(state, action)
        _check_numbers(f"env.step {t + 1}: the reward", reward, count)
    _check_state("env.step at the horizon", state, count)
    _check_image("env.image at the horizon", env.image(state), None)


@torch.random.fork_rng(devices=[])
def check_policy(policy: Policy, state: State, tolerance: float = 1e-4) -> None:
    """Check a policy on one state: shapes, finite numbers, and that ``evaluate`` agrees with ``sample``.

    Raises:
        ContractError: with the first fault found.
    """
    count = next(iter(state.values())).shape[0]
    before = _copies(state)
    with torch.no_grad():
        action = policy.sample(state)
    _unchanged("policy.sample", state, before)
    _need(isinstance(action, Action), f"policy.sample must return an Action, got {type(action).__name__}")
    _need(
        action.value.shape[:1] == (count,),
        f"policy.sample: value must be ({count}, ...), got {tuple(action.value.shape)}",
    )
    _need(
        not action.value.is_floating_point() or bool(action.value.isfinite().all()),
        "policy.sample: value holds NaN or infinity",
    )
    shape = action.log_prob.shape
    for name, value in (("log_prob", action.log_prob), ("baseline", action.baseline)):
        _check_numbers(f"policy.sample: {name}", value, count)
        _need(value.shape == shape, f"policy.sample: log_prob {tuple(shape)} and baseline {tuple(value.shape)} differ")
    both = _pure("policy.evaluate", lambda: policy.evaluate(state, action.value), {**state, "actions": action.value})
    _need(isinstance(both, tuple) and len(both) == 2, "policy.evaluate must return (log_prob, baseline)")
    for name, value, sampled in zip(("log_prob", "baseline"), both, (action.log_prob, action.baseline), strict=True):
        _check_numbers(f"policy.evaluate: {name}", value, count)
        _close("policy", f"{name} from sample and from evaluate", sampled, value, tolerance)
    for i in range(count):
        one = {key: value[i : i + 1] for key, value in state.items()}
        with torch.no_grad():
            log_prob, _ = policy.evaluate(one, action.value[i : i + 1])
        _close("policy.evaluate", "log_prob in a batch and one by one", both[0][i : i + 1], log_prob, tolerance)
    trains = isinstance(policy, nn.Module) and any(weight.requires_grad for weight in policy.parameters())
    if trains and bool(action.log_prob.any()):
        _need(both[0].requires_grad, "policy.evaluate: log_prob carries no gradient to the policy's weights")


@torch.random.fork_rng(devices=[])
def check_reward(reward: Reward, output: Tensor, target: Tensor, tolerance: float = 1e-4) -> None:
    """Check a reward, or a metric, on ``output`` and ``target``, ``(B, ...)`` each, ``B`` at least 2.

    Raises:
        ContractError: with the first fault found.
    """
    count = output.shape[0]
    _need(count >= 2, "check_reward needs at least two items")
    scores = _pure("reward", lambda: reward(output, target), {"output": output, "target": target})
    _check_numbers("reward: the score", scores, count)
    rows = torch.cat([reward(output[i : i + 1], target[i : i + 1]) for i in range(count)])
    _close("reward", "scores in a batch and one by one", scores, rows, tolerance)


# --- the questions that all of them ask ---------------------------------------------------------------------------


def _need(held: bool, fault: str) -> None:
    if not held:
        raise ContractError(fault)


def _copies(tensors: State) -> State:
    return {key: value.detach().clone() for key, value in tensors.items()}


def _equal(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit; unlike for torch.equal, NaN equals NaN, since it has a message of its own."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def _unchanged(what: str, tensors: State, before: State) -> None:
    for key, value in before.items():
        _need(key in tensors and _equal(tensors[key], value), f"{what} changes its input {key!r}")


def _pure(what: str, call: Callable[[], _T], inputs: State) -> _T:
    """The result of ``call``; made twice, it must leave its inputs alone and answer the same."""
    before = _copies(inputs)
    keys = set(inputs)
    first = call()
    _unchanged(what, inputs, before)
    _need(set(inputs) == keys, f"{what} adds keys to its input")
    for a, b in zip(_tensors(what, first), _tensors(what, call()), strict=True):
        _need(_equal(a, b), f"{what} is not deterministic: the same input gave two results")
    return first


def _tensors(what: str, result: object) -> list[Tensor]:
    """All tensors in a tensor, a dict or a tuple of these."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, dict):
        return [tensor for value in result.values() for tensor in _tensors(what, value)]
    if isinstance(result, tuple):
        return [tensor for value in result for tensor in _tensors(what, value)]
    raise ContractError(f"{what} must return tensors, got {type(result).__name__}")


def _close(what: str, which: str, a: Tensor, b: Tensor, tolerance: float) -> None:
    _need(a.shape == b.shape, f"{what}: {which} differ in shape: {tuple(a.shape)} and {tuple(b.shape)}")
    gap = float((a.detach().double() - b.detach().double()).abs().max()) if a.numel() else 0.0
    _need(gap <= tolerance, f"{what}: {which} differ by {gap:.3g}")


def _check_numbers(what: str, value: Tensor, count: int) -> None:
    _need(isinstance(value, Tensor), f"{what} must be a tensor, got {type(value).__name__}")
    _need(value.is_floating_point(), f"{what} must be floating point, got {value.dtype}")
    _need(value.ndim >= 1 and value.shape[0] == count, f"{what} must be ({count}, *P), got {tuple(value.shape)}")
    _need(bool(value.isfinite().all()), f"{what} holds NaN or infinity")


def _check_image(what: str, image: Tensor, shape: tuple[int, ...] | None) -> None:
    _need(isinstance(image, Tensor), f"{what} must return a tensor, got {type(image).__name__}")
    if shape is not None:
        _need(tuple(image.shape) == shape, f"{what} must return {shape}, got {tuple(image.shape)}")
    _need(image.ndim == 4 and image.shape[1] in (1, 3), f"{what} must return (B, 3, H, W), got {tuple(image.shape)}")
    _need(image.dtype == torch.float32, f"{what} must return float32, got {image.dtype}")
    _need(bool(image.isfinite().all()), f"{what} returns NaN or infinity")
    low, high = float(image.min()), float(image.max())
    _need(low >= 0 and high <= 1, f"{what} returns values outside [0, 1]: {low:g} to {high:g}")


def _check_state(what: str, state: State, count: int) -> None:
    _need(isinstance(state, dict) and bool(state), f"{what} must return a dict of tensors, got {type(state).__name__}")
    for key, value in state.items():
        _need(isinstance(value, Tensor), f"{what}: state {key!r} must be a tensor, got {type(value).__name__}")
        held = value.ndim >= 1 and value.shape[0] == count
        _need(held, f"{what}: state {key!r} must be ({count}, ...), got {tuple(value.shape)}")
        finite = not value.is_floating_point() or bool(value.isfinite().all())
        _need(finite, f"{what}: state {key!r} holds NaN or infinity")
