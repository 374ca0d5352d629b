"""Editing a pixel policy: its decisions are operations with names, so a person can forbid, replace or paint them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pixward.ops.pixel import ActionSet

Name = str | int
"""An action's name or index."""


@dataclass(frozen=True, eq=False)
class Edits:
    """What a person changes in a policy's decisions; make one with :meth:`of`.

    In this order: a pixel whose best action is forbidden takes the best of the others; then actions are replaced; then
    masks are painted, later ones over earlier ones; and a frozen pixel does nothing, whatever else was said.

    Attributes:
        actions: what the indices stand for.
        forbidden: indices that no pixel may choose.
        replaced: index -> index that is done in its place.
        painted: pairs of a mask ``(H, W)``, True where, and the index that is done there.
        frozen: ``(H, W)``, True where nothing happens; None for nowhere.
    """

    actions: ActionSet
    forbidden: tuple[int, ...] = ()
    replaced: Mapping[int, int] = field(default_factory=dict)
    painted: Sequence[tuple[Tensor, int]] = ()
    frozen: Tensor | None = None

    @classmethod
    def of(
        cls,
        actions: ActionSet,
        *,
        forbid: Iterable[Name] = (),
        replace: Mapping[Name, Name] | None = None,
        paint: Iterable[tuple[Tensor, Name]] = (),
        freeze: Tensor | None = None,
    ) -> Edits:
        """Edits by the names of the actions; masks are ``(H, W)``, bool.

        Raises:
            ValueError: an action that does not exist, all actions forbidden, or a mask that is not bool ``(H, W)``.
        """
        forbidden = tuple(sorted({actions.index(name) for name in forbid}))
        if len(forbidden) == len(actions):
            raise ValueError("all actions are forbidden: leave at least one")
        replaced = {actions.index(old): actions.index(new) for old, new in (replace or {}).items()}
        painted = [(_mask(mask), actions.index(name)) for mask, name in paint]
        return cls(actions, forbidden, replaced, painted, None if freeze is None else _mask(freeze))

    def choose(self, logits: Tensor) -> Tensor:
        """The edited decision: ``(B, A, H, W)`` logits to ``(B, H, W)`` indices, uint8."""
        if self.forbidden:
            logits = logits.index_fill(1, torch.tensor(self.forbidden, device=logits.device), -torch.inf)
        return self.change(logits.argmax(1).to(torch.uint8))

    def change(self, decided: Tensor) -> Tensor:
        """Replace, paint and freeze in decisions that were made already, ``(..., H, W)`` indices."""
        changed = decided
        for old, new in self.replaced.items():
            changed = torch.where(decided == old, new, changed)
        for mask, index in self.painted:
            changed = torch.where(mask.to(decided.device), index, changed)
        if self.frozen is not None:
            changed = torch.where(self.frozen.to(decided.device), self.actions.index("nothing"), changed)
        return changed

    def within(self, part: tuple[slice, slice]) -> Edits:
        """The same for a part of the picture, rows and columns."""
        painted = [(mask[part], index) for mask, index in self.painted]
        return replace(self, painted=painted, frozen=None if self.frozen is None else self.frozen[part])

    def check(self, size: tuple[int, int]) -> None:
        """ValueError unless every mask has ``size``, (height, width)."""
        masks = [mask for mask, _ in self.painted] + ([] if self.frozen is None else [self.frozen])
        for mask in masks:
            if tuple(mask.shape) != size:
                raise ValueError(f"a mask is {tuple(mask.shape)}, the picture {size}")


def _mask(mask: Tensor) -> Tensor:
    if mask.ndim != 2 or mask.dtype != torch.bool:
        raise ValueError(f"a mask is (H, W) and bool, got {tuple(mask.shape)} and {mask.dtype}")
    return mask
