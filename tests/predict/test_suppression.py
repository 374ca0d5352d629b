"""Which boxes stay."""

from __future__ import annotations

import pytest
import torch

from pixward.boxes import Boxes
from pixward.predict.suppression import suppress


def boxes(*rows: tuple[float, float, float, float, int, float]) -> Boxes:
    """One picture; each row a box, its class and its score."""
    table = torch.tensor(rows)
    return Boxes(table[None, :, :4], table[None, :, 4].long(), torch.ones(1, len(rows)).bool(), table[None, :, 5])


def test_the_surest_of_a_heap_stays() -> None:
    heap = boxes(
        (0, 0, 0.5, 0.5, 1, 0.4), (0, 0, 0.5, 0.45, 1, 0.9), (0, 0, 0.5, 0.5, 2, 0.1), (0.5, 0.5, 1, 1, 1, 0.2)
    )
    # The first overlaps the surer second by 0.9; the third is of another class, the fourth elsewhere.
    assert suppress(heap, 0.5).valid.tolist() == [[False, True, True, True]]
    assert suppress(heap, 0.9).valid.all()


def test_what_was_suppressed_suppresses_nothing() -> None:
    # Each overlaps its neighbour by 0.6, the first and the last by 1/3: the middle one goes, the last stays.
    row = boxes((0, 0, 0.4, 1, 0, 0.9), (0.1, 0, 0.5, 1, 0, 0.8), (0.2, 0, 0.6, 1, 0, 0.7))
    assert suppress(row, 0.5).valid.tolist() == [[True, False, True]]


def test_padding_suppresses_nothing_and_equals_keep_the_first() -> None:
    two = boxes((0, 0, 1, 1, 0, 0.5), (0, 0, 1, 1, 0, 0.5))
    assert suppress(two, 0.5).valid.tolist() == [[True, False]]
    two.valid[0, 0] = False
    assert suppress(two, 0.5).valid.tolist() == [[False, True]]


def test_scores_are_needed() -> None:
    bare = Boxes(torch.zeros(1, 1, 4), torch.zeros(1, 1).long(), torch.ones(1, 1).bool())
    with pytest.raises(ValueError, match="give the boxes scores"):
        suppress(bare, 0.5)
