"""The mathematics of learning from rewards: pure functions, no networks, no state.

Shapes: ``T`` steps, ``B`` items, ``P`` the shape of one decision (see :mod:`pixward.types`). Every function checks the
shapes it is given and raises ValueError. Losses are scalars to be minimised; whatever a loss must not differentiate
through (advantages, targets, old log-probabilities) is detached here, so no caller can forget.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _same(names: str, *tensors: Tensor) -> None:
    """Broadcasting (B,) against (B, 1) is the classic silent bug of such code, so equal means equal."""
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(set(shapes)) > 1:
        named = ", ".join(f"{name} {shape}" for name, shape in zip(names.split(), shapes, strict=True))
        raise ValueError(f"shapes must be equal: {named}")


# --- returns and advantages ---------------------------------------------------------------------------------------


def returns(rewards: Tensor, gamma: float) -> Tensor:
    """Discounted sum of what is still to come, ``(T, B, *P)`` -> ``(T, B, *P)``; nothing comes after step ``T``.

    R_t = r_t + gamma R_{t+1}  (Sutton & Barto 2018, eq. 3.9)
    """
    if rewards.ndim < 2:
        raise ValueError(f"rewards must be (T, B, ...), got {tuple(rewards.shape)}")
    out, following = [], torch.zeros_like(rewards[0])
    for reward in rewards.flip(0):
        following = reward + gamma * following
        out.append(following)
    return torch.stack(out[::-1])


def gae(rewards: Tensor, values: Tensor, last_value: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimation, ``(T, B, *P)``; the value target is the result plus ``values``.

    ``last_value`` ``(B, *P)`` is the value of the state after step ``T``: zeros where the horizon ends the task.

    delta_t = r_t + gamma V_{t+1} - V_t,  A_t = delta_t + gamma lam A_{t+1}  (Schulman et al. 2016, eq. 10-16)
    """
    if rewards.ndim < 2:
        raise ValueError(f"rewards must be (T, B, ...), got {tuple(rewards.shape)}")
    _same("rewards values", rewards, values)
    _same("one_step last_value", rewards[0], last_value)
    values, last_value = values.detach(), last_value.detach()
    deltas = rewards + gamma * torch.cat([values[1:], last_value[None]]) - values
    # The same backward sum as a discounted return, with gamma lam for gamma.
    return returns(deltas, gamma * lam)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Advantage of each of ``K`` answers to one task over the mean of the others, ``(B, K)`` -> ``(B, K)``.

    A_k = r_k - 1/(K-1) sum_{j != k} r_j  (Kool et al. 2019, eq. 8; RLOO in Ahmadian et al. 2024)
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards must be (B, K) with K >= 2, got {tuple(rewards.shape)}")
    count = rewards.shape[1]
    # r - (sum - r)/(K-1) = K/(K-1) (r - mean), with less cancellation.
    return (rewards - rewards.mean(1, keepdim=True)) * (count / (count - 1))


def one_sample(rewards: Tensor) -> Tensor:
    """Advantage of the first of ``K`` answers over the mean of the others, ``(B, K)`` -> ``(B, 1)``.

    The estimator of Pinto et al. (ICML 2023, algorithm 2; K = 2 there): only the first answer is learnt from, the
    others are its baseline. :func:`leave_one_out` learns from all of them at the same cost of sampling.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards must be (B, K) with K >= 2, got {tuple(rewards.shape)}")
    return rewards[:, :1] - rewards[:, 1:].mean(1, keepdim=True)


def group_normalize(values: Tensor, groups: Tensor, eps: float = 1e-6) -> Tensor:
    """Mean 0 and standard deviation 1 within each group, ``(N,)``; ``groups`` ``(N,)`` holds integer labels.

    The standard deviation is the population's. A group of one, or of equals, becomes zeros: it teaches nothing.

    A_i = (r_i - mean_g) / (std_g + eps)  (DDPO, Black et al. 2024, section 4.4: per-prompt statistics)
    """
    if values.ndim != 1:
        raise ValueError(f"values must be (N,), got {tuple(values.shape)}")
    _same("values groups", values, groups)
    _, group = groups.unique(return_inverse=True)
    counts = torch.bincount(group).to(values)
    zeros = torch.zeros_like(counts)
    centred = values - (zeros.index_add(0, group, values) / counts)[group]
    spread = (zeros.index_add(0, group, centred**2) / counts).sqrt()
    # Rounding leaves a little of equal values over; relative to their size it must not count as a spread.
    flat = spread[group] <= 1e-6 * values.abs()
    return torch.where(flat, torch.zeros_like(values), centred / (spread[group] + eps))


# --- policy gradients ---------------------------------------------------------------------------------------------


def draw_categorical(log_probs: Tensor) -> Tensor:
    """One index per decision out of ``(B, A, *P)`` log-probabilities (or logits): ``(B, *P)`` int64."""
    # The largest of logits plus Gumbel noise is a draw from their softmax.
    gumbel = -torch.empty_like(log_probs).exponential_().log()
    return (log_probs.detach() + gumbel).argmax(1)


def reinforce_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """The policy gradient as a loss; both ``(..., *P)`` alike.

    L = -mean(A log pi)  (Williams 1992)
    """
    _same("log_probs advantages", log_probs, advantages)
    return -(advantages.detach() * log_probs).mean()


def ppo_surrogate(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float = 0.2) -> Tensor:
    """What :func:`ppo_loss` is minus the mean of, for weights of one's own; all ``(..., *P)`` alike, the result too.

    min(rho A, clip(rho, 1 - c, 1 + c) A),  rho = pi / pi_old  (Schulman et al. 2017, eq. 7)
    """
    _same("log_probs old_log_probs advantages", log_probs, old_log_probs, advantages)
    advantages = advantages.detach()
    ratio = (log_probs - old_log_probs.detach()).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def ppo_loss(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float = 0.2) -> Tensor:
    """The clipped surrogate; all three ``(..., *P)`` alike.

    L = -mean min(rho A, clip(rho, 1 - c, 1 + c) A),  rho = pi / pi_old  (Schulman et al. 2017, eq. 7)
    """
    return -ppo_surrogate(log_probs, old_log_probs, advantages, clip).mean()


def kl_estimate(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Divergence of the policy from a reference, judged by what it drew; both ``(..., *P)`` alike, the result too.

    k3 = r - log r - 1,  r = pi_ref / pi: unbiased for KL(pi || pi_ref), never negative  (Schulman 2020; GRPO, Shao et
    al. 2024, eq. 4)
    """
    _same("log_probs reference", log_probs, reference)
    gap = reference.detach() - log_probs
    return gap.expm1() - gap


# --- twin delayed deterministic policy gradients (TD3: Fujimoto et al. 2018) --------------------------------------


def td3_target_action(action: Tensor, noise: Tensor, clip: float) -> Tensor:
    """Target-policy smoothing: the target actor's ``action`` ``(B, d)`` plus clipped ``noise``, kept in [-1, 1].

    a' = clip(pi'(s') + clip(eps, -c, c), -1, 1)  (Fujimoto et al. 2018, eq. 14)
    """
    _same("action noise", action, noise)
    return (action + noise.clamp(-clip, clip)).clamp(-1, 1)


def td3_target(rewards: Tensor, continues: Tensor, next_q1: Tensor, next_q2: Tensor, gamma: float) -> Tensor:
    """What both critics should have said, all ``(B,)``; ``continues`` is 0 after a task's last step, else 1.

    y = r + gamma c min(Q'_1(s', a'), Q'_2(s', a'))  (Fujimoto et al. 2018, eq. 10: clipped double Q)
    """
    _same("rewards continues next_q1 next_q2", rewards, continues, next_q1, next_q2)
    return (rewards + gamma * continues * torch.minimum(next_q1, next_q2)).detach()


def td3_critic_loss(q1: Tensor, q2: Tensor, target: Tensor) -> Tensor:
    """Squared error of both critics, all ``(B,)``.

    L = mean (y - Q_1)^2 + mean (y - Q_2)^2  (Fujimoto et al. 2018, algorithm 1)
    """
    _same("q1 q2 target", q1, q2, target)
    target = target.detach()
    return ((q1 - target) ** 2).mean() + ((q2 - target) ** 2).mean()


def td3_actor_loss(
    q: Tensor, action: Tensor | None = None, anchor: Tensor | None = None, weight: float = 0.0
) -> Tensor:
    """Climb the first critic; with ``weight`` > 0, stay near ``anchor``.

    ``q`` ``(B,)`` is Q_1(s, pi(s)), with the gradient flowing through the action; ``action`` and ``anchor`` ``(B, d)``.

    weight = 0: L = -mean Q  (Fujimoto et al. 2018, eq. 15)
    weight > 0: L = -mean Q / mean|Q| + weight mean (a - anchor)^2
        (TD3+BC, Fujimoto & Gu 2021, eq. 3-5 divided by their alpha: weight = 1 / alpha = 0.4 in their experiments)
    """
    if q.ndim != 1:
        raise ValueError(f"q must be (B,), got {tuple(q.shape)}")
    if weight == 0:
        return -q.mean()
    if action is None or anchor is None:
        raise ValueError("an anchor weight needs both action and anchor")
    _same("action anchor", action, anchor)
    # Q is divided by its own size so that one weight serves rewards of any scale.
    scale = q.abs().mean().detach().clamp_min(1e-6)
    return -q.mean() / scale + weight * ((action - anchor.detach()) ** 2).mean()
