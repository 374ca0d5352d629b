"""What a model says about a picture, and what is true of it: boxes and segments, padded to one size for a batch.

Rewards and metrics, data and policies all hand these over. Rows beyond an item's own count are padding: ``valid`` is
False there and nothing looks at the rest. The containers check shapes when they are made; :meth:`Boxes.check` and
:meth:`Segments.check` look at the values, which takes a pass over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Boxes:
    """Up to ``N`` boxes for each of ``B`` pictures.

    Attributes:
        boxes: ``(B, N, 4)`` float, ``x0 y0 x1 y1`` as shares of width and height, in [0, 1].
        labels: ``(B, N)`` int64, classes from 0.
        valid: ``(B, N)`` bool, False for padding.
        scores: ``(B, N)`` float, higher is surer; None where nobody gave any (every target).
        crowd: ``(B, N)`` bool, COCO's ``iscrowd``: a region of many, which costs nobody anything; None for no crowds.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor
    scores: Tensor | None = None
    crowd: Tensor | None = None

    def __post_init__(self) -> None:
        if self.boxes.ndim != 3 or self.boxes.shape[2] != 4 or not self.boxes.is_floating_point():
            raise ValueError(f"boxes must be float (B, N, 4), got {self.boxes.dtype} {tuple(self.boxes.shape)}")
        _check_columns(self, self.boxes.shape[:2], ("labels", "valid", "scores", "crowd"))

    def __len__(self) -> int:
        return self.boxes.shape[0]

    @staticmethod
    def pad(boxes: Sequence[Tensor], labels: Sequence[Tensor], scores: Sequence[Tensor] | None = None) -> Boxes:
        """From one ``(n, 4)`` and one ``(n,)`` for each picture, ``n`` of its own, 0 included.

        Raises:
            ValueError: lists of different lengths; a picture whose boxes, labels and scores differ in number.
        """
        lists = [list(boxes), list(labels), *([list(scores)] if scores is not None else [])]
        if len({len(values) for values in lists}) != 1 or not lists[0]:
            raise ValueError(f"need as many boxes as labels and scores, got {[len(values) for values in lists]}")
        for item, row in enumerate(zip(*lists, strict=True)):
            if row[0].ndim != 2 or row[0].shape[1] != 4 or any(part.shape != row[0].shape[:1] for part in row[1:]):
                raise ValueError(f"item {item}: need boxes (n, 4) and labels, scores (n,), got {_shapes(row)}")
        width = max(len(row) for row in boxes)
        valid = torch.stack([torch.arange(width) < len(row) for row in boxes]).to(boxes[0].device)
        padded = [torch.stack([_pad(row, width) for row in values]) for values in lists]
        return Boxes(padded[0], padded[1].long(), valid, padded[2] if scores is not None else None)

    def to(self, device: torch.device | str) -> Boxes:
        """The same on another device."""
        return Boxes(**{name: value.to(device) for name, value in _tensors(self).items()})

    def repeat(self, times: int) -> Boxes:
        """Every picture ``times`` times in a row, ``(B * times, N, ...)``: one target for ``times`` samples."""
        return Boxes(**{name: value.repeat_interleave(times, 0) for name, value in _tensors(self).items()})

    def select(self, index: Tensor | slice) -> Boxes:
        """The pictures ``index`` of the batch."""
        return Boxes(**{name: value[index] for name, value in _tensors(self).items()})

    def check(self, name: str) -> None:
        """See that every valid box is finite and inside the picture; ``name`` is what errors call this batch.

        Corners in the wrong order are no error: a policy may well say so, and such a box overlaps with nothing.

        Raises:
            ValueError: NaN, a box outside [0, 1], a negative label or a score that is no number, with its item.
        """
        inside = ((self.boxes >= 0) & (self.boxes <= 1)).all(2)  # False for NaN as well
        _expect(
            inside | ~self.valid, name, "box", self.boxes, "must lie in [0, 1] (clamp it, or divide pixels by size)"
        )
        _expect((self.labels >= 0) | ~self.valid, name, "label", self.labels, "must not be negative")
        if self.scores is not None:
            _expect(self.scores.isfinite() | ~self.valid, name, "score", self.scores, "must be finite")


@dataclass(frozen=True)
class Segments:
    """A panoptic map for each of ``B`` pictures: every pixel belongs to one segment or to none.

    Attributes:
        ids: ``(B, H, W)`` int64, ``k`` for the picture's ``k``-th segment counted from 1, 0 for none (void).
        labels: ``(B, S)`` int64, the class of segment ``k`` in column ``k - 1``, classes from 0.
        valid: ``(B, S)`` bool, False for padding; a valid segment without pixels is ignored.
        crowd: ``(B, S)`` bool, COCO's ``iscrowd``; None for no crowds.
    """

    ids: Tensor
    labels: Tensor
    valid: Tensor
    crowd: Tensor | None = None

    def __post_init__(self) -> None:
        if self.ids.ndim != 3 or self.ids.dtype != torch.int64:
            raise ValueError(f"ids must be int64 (B, H, W), got {self.ids.dtype} {tuple(self.ids.shape)}")
        if self.labels.ndim != 2:
            raise ValueError(f"labels must be (B, S), got {tuple(self.labels.shape)}")
        _check_columns(self, (self.ids.shape[0], self.labels.shape[1]), ("labels", "valid", "crowd"))

    def __len__(self) -> int:
        return self.ids.shape[0]

    def to(self, device: torch.device | str) -> Segments:
        """The same on another device."""
        return Segments(**{name: value.to(device) for name, value in _tensors(self).items()})

    def repeat(self, times: int) -> Segments:
        """Every picture ``times`` times in a row: one target for ``times`` samples."""
        return Segments(**{name: value.repeat_interleave(times, 0) for name, value in _tensors(self).items()})

    def select(self, index: Tensor | slice) -> Segments:
        """The pictures ``index`` of the batch."""
        return Segments(**{name: value[index] for name, value in _tensors(self).items()})

    def check(self, name: str) -> None:
        """See that every pixel names a valid segment or none; ``name`` is what errors call this batch.

        Raises:
            ValueError: a picture without pixels, an id without a valid segment or a negative label, with its item.
        """
        if not self.ids[0].numel() and len(self):
            raise ValueError(f"{name}: item 0 is empty, its map has the shape {tuple(self.ids.shape[1:])}")
        known = torch.cat([torch.ones_like(self.valid[:, :1]), self.valid], 1)
        inside = (self.ids >= 0) & (self.ids < known.shape[1])
        exists = known.gather(1, self.ids.clamp(0, known.shape[1] - 1).flatten(1)).view_as(self.ids)
        flat = self.ids.flatten(1)
        _expect((inside & exists).flatten(1), name, "pixel", flat, "must be 0 or name a valid segment")
        _expect((self.labels >= 0) | ~self.valid, name, "label", self.labels, "must not be negative")


def _tensors(value: Boxes | Segments) -> dict[str, Tensor]:
    named = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def _check_columns(value: Boxes | Segments, shape: Sequence[int], names: Sequence[str]) -> None:
    wanted = {"labels": torch.int64, "valid": torch.bool, "crowd": torch.bool}
    for name in names:
        column = getattr(value, name)
        if column is None:
            continue
        if tuple(column.shape) != tuple(shape):
            raise ValueError(f"{name} must be {tuple(shape)}, got {tuple(column.shape)}")
        if name in wanted and column.dtype != wanted[name]:
            raise ValueError(f"{name} must be {wanted[name]}, got {column.dtype}")


def _expect(fine: Tensor, name: str, what: str, values: Tensor, rule: str) -> None:
    """Raise for the first place ``(item, index)`` where ``fine`` is False."""
    if not bool(fine.all()):
        item, index = (int(i) for i in (~fine).nonzero()[0])
        raise ValueError(f"{name}: item {item}, {what} {index} is {values[item, index].tolist()}, it {rule}")


def _pad(row: Tensor, width: int) -> Tensor:
    return torch.cat([row, row.new_zeros(width - len(row), *row.shape[1:])])


def _shapes(row: Sequence[Tensor]) -> str:
    return ", ".join(str(tuple(part.shape)) for part in row)
