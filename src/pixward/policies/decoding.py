"""From logits to tokens: temperature, nucleus, grammar. Drawing and re-scoring share these, and so agree."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.errors import PixwardError
from pixward.types import Decoding, Grammar, Scores

PLAIN = Decoding()
"""Temperature 1 and the whole distribution: the only way to sample that leaves the policy gradient unbiased for the
model itself."""


def distribution(logits: Tensor, allowed: Tensor | None, decoding: Decoding, kept: Tensor | None = None) -> Tensor:
    """Log-probabilities ``(..., V)``, float32, that ``decoding`` draws from; minus infinity for what it never draws.

    Args:
        logits: ``(..., V)``.
        allowed: ``(..., V)`` bool, what the grammar permits; None permits everything.
        decoding: temperature and nucleus (Holtzman et al. 2020).
        kept: ``(...)``, a token that stays in the nucleus whatever rounding says: the one that was drawn from it.
    """
    logits = logits.float()
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    if decoding.temperature not in (0, 1):
        logits = logits / decoding.temperature
    log_probs = logits.log_softmax(-1)
    if decoding.top_p == 1:
        return log_probs
    outside = ~nucleus(log_probs.detach().exp(), decoding.top_p)
    if kept is not None:
        outside = outside.scatter(-1, kept[..., None], False)
    return log_probs.masked_fill(outside, -torch.inf).log_softmax(-1)


def nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Whether each token ``(..., V)`` is among the fewest most probable ones whose sum is at least ``top_p``."""
    ordered, order = probs.sort(stable=True, dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probs, dtype=torch.bool).scatter(-1, order, before < top_p)


def draw(log_probs: Tensor, decoding: Decoding, generator: torch.Generator | None) -> Tensor:
    """One token for each row of ``(N, V)``; ``generator`` is on the CPU, so that a seed means the same everywhere."""
    if decoding.temperature == 0:
        return log_probs.argmax(-1)
    # One number a row, by inverting the cumulative sum; in double, where its last entry is exceeded once in 2^53.
    sums = log_probs.double().exp().cumsum(-1)
    uniform = torch.rand(len(log_probs), 1, generator=generator, dtype=torch.float64).to(sums.device)
    token = torch.searchsorted(sums, uniform * sums[:, -1:], right=True)[:, 0]
    return torch.where(token < log_probs.shape[-1], token, log_probs.argmax(-1))


def mask_of(tokens: Tensor, end: int) -> Tensor:
    """Which of ``(..., L)`` were decided: all up to the first ``end``, and that one."""
    ended = (tokens == end).long()
    return ended.cumsum(-1) - ended == 0


def permitted(grammar: Grammar, tokens: Tensor) -> Tensor:
    """``grammar.allowed`` for the next token after ``(N, t)``, checked: ``(N, V)``.

    Raises:
        PixwardError: it forbids everything.
    """
    allowed = grammar.allowed(tokens)
    stuck = (~allowed.any(-1)).nonzero()
    if len(stuck):
        prefix = tokens[int(stuck[0])].tolist()
        raise PixwardError(f"the grammar {type(grammar).__name__} allows no token after {prefix}")
    return allowed


def permitted_everywhere(grammar: Grammar, tokens: Tensor, mask: Tensor) -> Tensor:
    """What ``grammar`` allowed at each place of ``(N, L)``: ``(N, L, V)``; places after the end are idle.

    A grammar that has ``allowed_along(tokens (N, L)) -> (N, L, V)`` is asked once instead of ``L`` times.

    Raises:
        PixwardError: a token that it forbids is there.
    """
    at_once = getattr(grammar, "allowed_along", None)
    everywhere = at_once(tokens) if at_once is not None else _one_by_one(grammar, tokens, mask)
    broken = (~everywhere.gather(2, tokens[..., None])[..., 0]).nonzero()
    if len(broken):
        row, step = (int(at) for at in broken[0])
        raise PixwardError(
            f"sequence {row} breaks the grammar {type(grammar).__name__} at token {step}: {int(tokens[row, step])} "
            f"after {tokens[row, max(0, step - 8) : step].tolist()}"
        )
    return everywhere


def _one_by_one(grammar: Grammar, tokens: Tensor, mask: Tensor) -> Tensor:
    steps = []
    for step in range(tokens.shape[1]):
        live = mask[:, step]
        allowed = permitted(grammar, tokens[live, :step])
        steps.append(allowed.new_ones(len(tokens), allowed.shape[1]).index_put((live,), allowed))
    return torch.stack(steps, 1)


def scores(logits: Tensor, tokens: Tensor, mask: Tensor, allowed: Tensor | None, decoding: Decoding) -> Scores:
    """Score ``tokens`` ``(B, K, L)`` under ``logits`` ``(B, K, L, V)``; nothing after the end counts."""
    table = distribution(logits, allowed, decoding, tokens)
    chosen = table.gather(-1, tokens[..., None])[..., 0].masked_fill(~mask, 0)
    # p log p is 0 where p is 0; filling first keeps the gradient finite there.
    entropy = -(table.exp() * table.masked_fill(table.isneginf(), 0)).sum(-1)
    return Scores(chosen, entropy.masked_fill(~mask, 0), table, mask)


def lengthened(scores: Scores, length: int, end: int) -> Scores:
    """``scores`` of sequences that were cut after the longest, as of sequences of ``length``: ``end`` is sure there."""
    more = length - scores.mask.shape[-1]
    if not more:
        return scores
    table = F.pad(scores.table, (0, 0, 0, more), value=-torch.inf)
    table[..., -more:, end] = 0
    log_probs, entropy, mask = (F.pad(part, (0, more)) for part in (scores.log_probs, scores.entropy, scores.mask))
    return Scores(log_probs, entropy, table, mask)
