from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixward.boxes import Boxes
from pixward.data.false_boxes import false_boxes, lesson
from pixward.data.tokens import END, BoxTokens, WordTokens, words
from pixward.errors import PixwardError
from pixward.types import Grammar


def make_boxes(batch: int, count: int, classes: int, seed: int) -> Boxes:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(batch, count, 2, 2, generator=generator).sort(2).values.flatten(2)
    labels = torch.randint(classes, (batch, count), generator=generator)
    return Boxes(corners, labels, torch.rand(batch, count, generator=generator) < 0.7)


def test_the_numbering_is_the_papers() -> None:
    kind = BoxTokens(classes=80)
    boxes = Boxes.pad([torch.tensor([[0.1, 0.2, 1.0, 0.9]])], [torch.tensor([79])])
    assert kind.vocabulary == 1084 and kind.length == 600
    tokens = kind.encode(boxes)[0].tolist()
    assert tokens == [200 + 3, 100 + 3, 900 + 3, 1000 + 3, 79 + 1004, 2] + [END] * 594
    assert kind.encode(boxes, right=torch.tensor([[False]]))[0, 5] == 1


@given(st.integers(0, 10_000), st.integers(0, 7), st.integers(1, 1200), st.integers(1, 90))
def test_round_trip_is_within_half_a_step(seed: int, count: int, steps: int, classes: int) -> None:
    kind, boxes = BoxTokens(classes, boxes=8, steps=steps), make_boxes(3, count, classes, seed)
    back = kind.decode(kind.encode(boxes))
    for item in range(3):
        wanted, found = boxes.valid[item], back.valid[item]
        assert int(found.sum()) == int(wanted.sum())
        assert torch.equal(back.labels[item][found], boxes.labels[item][wanted])
        gap = (back.boxes[item][found] - boxes.boxes[item][wanted]).abs()
        assert float(gap.max() if gap.numel() else 0) <= 0.5 / steps + 1e-6
        assert back.scores is not None and bool((back.scores[item][found] == 1).all())


@given(st.integers(0, 10_000), st.sampled_from(["given", "random", "area"]))
def test_what_is_encoded_is_allowed(seed: int, order: str) -> None:
    kind, boxes = BoxTokens(5, boxes=6, steps=20), make_boxes(4, 6, 5, seed)
    tokens = kind.encode(boxes, order, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]
    mask = kind.allowed_along(tokens)
    assert bool(mask.gather(2, tokens[..., None]).all())


def test_orders() -> None:
    kind = BoxTokens(3, boxes=3, steps=10)
    sizes = torch.tensor([0.2, 0.9, 0.5])
    corners = torch.stack([torch.zeros(3), torch.zeros(3), sizes, sizes], 1)
    boxes = Boxes.pad([corners], [torch.tensor([0, 1, 2])])
    assert kind.decode(kind.encode(boxes, "given")).labels.tolist() == [[0, 1, 2]]
    assert kind.decode(kind.encode(boxes, "area")).labels.tolist() == [[1, 2, 0]]
    seen = {
        tuple(kind.decode(kind.encode(boxes, "random", torch.Generator().manual_seed(s))).labels[0].tolist())
        for s in range(60)
    }
    assert len(seen) == 6


def test_crowds_are_left_out() -> None:
    boxes = make_boxes(2, 4, 3, 0)
    crowd = torch.zeros_like(boxes.valid)
    crowd[:, 1] = True
    kind = BoxTokens(3, boxes=4)
    tokens = kind.encode(Boxes(boxes.boxes, boxes.labels, boxes.valid, None, crowd))
    without = kind.encode(Boxes(boxes.boxes, boxes.labels, boxes.valid & ~crowd))
    assert torch.equal(tokens, without) and not torch.equal(tokens, kind.encode(boxes))


def sample(kind: BoxTokens | WordTokens, count: int, generator: torch.Generator) -> torch.Tensor:
    """Tokens drawn evenly from what the grammar allows."""
    tokens = torch.zeros(count, 0, dtype=torch.int64)
    for _ in range(kind.length):
        allowed = kind.allowed(tokens)
        assert allowed.any(1).all()
        tokens = torch.cat([tokens, torch.multinomial(allowed.float(), 1, generator=generator)], 1)
    return tokens


def test_whatever_the_grammar_lets_through_is_boxes() -> None:
    kind = BoxTokens(4, boxes=5, steps=6)
    assert isinstance(kind, Grammar)
    tokens = sample(kind, 200, torch.Generator().manual_seed(0))
    boxes = kind.decode(tokens)
    begun = ((tokens != END).sum(1) + 5) // 6
    assert torch.equal(boxes.valid.sum(1), begun) and len(begun.unique()) > 3
    boxes.check("sampled")
    assert bool((boxes.boxes[..., 2:] >= boxes.boxes[..., :2]).all())
    for item in tokens.tolist():
        assert END not in item or set(item[item.index(END) :]) == {END}


def test_allowed_along_is_allowed_at_every_place() -> None:
    generator = torch.Generator().manual_seed(1)
    for kind in (BoxTokens(3, boxes=3, steps=5), WordTokens(("a", "b"), 5)):
        free = torch.randint(kind.vocabulary, (50, kind.length), generator=generator)  # broken sequences too
        for tokens in (free, sample(kind, 50, generator)):
            along = kind.allowed_along(tokens)
            for place in range(kind.length):
                allowed = along[:, place].clone()
                if isinstance(kind, BoxTokens):
                    allowed[:, kind.WRONG] = False  # it may stand in a lesson, but is never drawn
                assert torch.equal(allowed, kind.allowed(tokens[:, :place])), place


def test_decode_survives_any_tokens() -> None:
    kind = BoxTokens(3, boxes=4, steps=10)
    good = [3 + 1, 3 + 2, 3 + 5, 3 + 6, kind.steps + 4 + 1, 2]
    wrong = {
        "class where a coordinate should be": [kind.steps + 4, *good[1:]],
        "corners in the wrong order": [3 + 9, *good[1:]],
        "coordinate for a class": [*good[:4], 5, 2],
        "no confidence": [*good[:5], 7],
    }
    for what, row in wrong.items():
        assert kind.decode(torch.tensor([row + good + [END] * 12])).valid.tolist() == [[False, True, False, False]], (
            what
        )
    cut = kind.decode(torch.tensor([good[:3] + [END] * 3 + good + [END] * 12]))
    assert not cut.valid.any()
    assert kind.decode(torch.randint(kind.vocabulary, (64, 24))).boxes.isfinite().all()


@pytest.mark.parametrize(
    "corners, labels, message",
    [
        ([[[0.1, 0.1, 0.2, 0.2]], [[0.0, 0.0, 1.0, 1.0]]], [[0], [2]], "item 1: box 0 has a class that is not below 2"),
        ([[[0.5, 0.0, 0.2, 1.0]]], [[0]], "item 0: box 0 has corners in the wrong order"),
        ([[[0.0, 0.0, 1.0, 1.0]] * 3], [[0, 0, 0]], "item 0 has 3 boxes, a sequence holds 2"),
    ],
)
def test_boxes_that_cannot_be_said(corners: list, labels: list, message: str) -> None:
    boxes = Boxes(torch.tensor(corners), torch.tensor(labels), torch.ones(len(labels), len(labels[0])).bool())
    with pytest.raises(PixwardError, match=message):
        BoxTokens(2, boxes=2).encode(boxes)


def test_a_box_outside_the_picture_is_named() -> None:
    boxes = Boxes(torch.tensor([[[0.0, 0.0, 1.5, 1.0]]]), torch.tensor([[0]]), torch.tensor([[True]]))
    with pytest.raises(PixwardError, match=r"boxes: item 0, box 0 is .*1\.5"):
        BoxTokens(2).encode(boxes)


def test_false_boxes_are_known_as_such() -> None:
    boxes = make_boxes(200, 4, 5, 3)
    both, true = false_boxes(boxes, 5, torch.Generator().manual_seed(0), jittered=0.5, extra=3)
    both.check("false boxes")
    assert both.scores is not None
    assert bool((both.boxes[..., 2:] >= both.boxes[..., :2]).all()) and both.valid[:, 4:].all()
    assert torch.equal(both.boxes[:, :4][true[:, :4]], boxes.boxes[true[:, :4]])
    assert bool((both.scores[true] == 1).all()) and not true[:, 4:].any()
    assert bool((both.scores[:, 4:] == 0).all()) and bool((both.scores[~both.valid] == 0).all())
    moved = boxes.valid & ~true[:, :4]
    assert 0.4 < float(moved.sum() / boxes.valid.sum()) < 0.6
    for item, k in moved.nonzero()[:100].tolist():  # IoU by hand
        (a0, b0, a1, b1), (c0, d0, c1, d1) = both.boxes[item, k].tolist(), boxes.boxes[item, k].tolist()
        common = max(0, min(a1, c1) - max(a0, c0)) * max(0, min(b1, d1) - max(b0, d0))
        iou = common / ((a1 - a0) * (b1 - b0) + (c1 - c0) * (d1 - d0) - common)
        assert float(both.scores[item, k]) == pytest.approx(iou if iou > 0.5 else 0, abs=1e-4)
    graded = both.scores[:, :4][moved]
    assert len(graded[(graded > 0.5) & (graded < 0.95)]) > 20  # something to learn degrees from


def test_false_boxes_where_there_is_no_true_one() -> None:
    empty = Boxes(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
    both, true = false_boxes(empty, 3, torch.Generator().manual_seed(0), extra=2)
    both.check("false boxes")
    assert both.valid.all() and not true.any()


def test_a_lesson_trusts_true_boxes_and_teaches_nothing_else() -> None:
    kind, boxes = BoxTokens(5, boxes=6, steps=50), make_boxes(100, 4, 5, 5)
    told = lesson(kind, boxes, torch.Generator().manual_seed(0), extra=4)
    said = kind.decode(told.tokens)
    assert torch.equal(said.valid, told.valid) and said.scores is not None
    assert torch.equal(said.scores.bool(), told.confidence > 0.5)
    rows = told.weights.unflatten(1, (6, 6))
    assert bool((rows[..., 5] == 1).all()) and bool((rows[~told.valid] == 1).all())
    learnt = rows[..., 0] == 1
    assert bool((told.confidence[learnt & told.valid] == 1).all())
    # Every box that is taught is a true one, and most true ones are taught.
    rounded = kind.decode(kind.encode(boxes))
    found = 0
    for item in range(100):
        truths = _rows(rounded, item, rounded.valid[item])
        taught = _rows(said, item, learnt[item] & told.valid[item])
        assert taught <= truths
        found += len(taught)
    assert 0.6 < found / int(boxes.valid.sum()) < 0.8
    full = lesson(BoxTokens(5, boxes=4, steps=50), boxes, torch.Generator().manual_seed(0), jittered=0, extra=9)
    assert bool((full.confidence.sum(1) == boxes.valid.sum(1)).all())  # truths keep their room


def _rows(boxes: Boxes, item: int, which: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in torch.cat([boxes.boxes, boxes.labels[..., None]], 2)[item][which].tolist()}


def test_words() -> None:
    assert words("A man's Hat, on  the MAT. Don’t!") == ["a", "man's", "hat", "on", "the", "mat", "don't"]
    kind = WordTokens.of(["a red star", "a blue star", "A ring."], length=5)
    assert kind.known == ("a", "star", "blue", "red", "ring")
    tokens = kind.encode(["A red STAR.", "a green star left of a ring", ""])
    assert tokens.tolist() == [[3, 6, 4, 0, 0], [3, 2, 4, 2, 2], [0, 0, 0, 0, 0]]
    assert kind.decode(tokens) == ["a red star", "a ? star ? ?", ""]
    assert kind.decode(torch.tensor([[1, 3, 0, 4, 4]])) == ["a"]
    with pytest.raises(PixwardError, match="no word occurs 4 times"):
        WordTokens.of(["a a", "a"], minimum=4)


@given(st.lists(st.sampled_from(["red", "star", "of", "ring"]), max_size=8), st.integers(1, 9))
def test_words_come_back_up_to_the_length(said: list[str], length: int) -> None:
    kind = WordTokens(("of", "red", "ring", "star"), length)
    assert kind.decode(kind.encode([" ".join(said)])) == [" ".join(said[:length])]
