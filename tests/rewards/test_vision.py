"""Rewards for boxes and segments, against the released file's outputs and against loops written out here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixward.boxes import Boxes, Segments
from pixward.rewards.vision import (
    COCO_COUNTS,
    MAP,
    RECALL,
    THRESHOLDS,
    DetectionSettings,
    class_weights,
    detection_map,
    detection_outcome,
    detection_recall,
    panoptic,
)

GOLDEN = Path(__file__).parent / "golden" / "detection_reward.json"
seeds = st.integers(0, 2**31 - 1)


def from_tokens(tokens: Tensor) -> Boxes:
    """``(B, 6 N)`` tokens ``y0 x0 y1 x1 class confidence`` of the released file: 3 + coordinate, 1004 + class."""
    rows = tokens.view(len(tokens), -1, 6)
    corners = (rows[..., [1, 0, 3, 2]] - 3).clamp(0, 1000) / 1000
    return Boxes(corners, (rows[..., 4] - 1004).clamp(0, 79), rows[..., 5] > 0)


def scene(seed: int, count: int = 5, predictions: int = 8, batch: int = 3, classes: int = 3) -> tuple[Boxes, Boxes]:
    """Predictions near true boxes, doubled, of another class, and noise; some rows of both are padding."""
    draw = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw)

    low = 0.7 * rand(batch, count, 2)
    true = torch.cat([low, low + 0.05 + 0.25 * rand(batch, count, 2)], 2)
    labels = torch.randint(classes, (batch, count), generator=draw)
    pick = torch.randint(count, (batch, predictions), generator=draw)
    near = true.gather(1, pick[..., None].expand(-1, -1, 4)) + 0.04 * rand(batch, predictions, 4) - 0.02
    far = rand(batch, predictions, 4)  # corners in any order
    boxes = torch.where(rand(batch, predictions, 1) < 0.75, near, far).clamp(0, 1)
    kept = labels.gather(1, pick)
    other = torch.randint(classes, kept.shape, generator=draw)
    said = torch.where(rand(batch, predictions) < 0.85, kept, other)
    output = Boxes(boxes, said, rand(batch, predictions) < 0.9)
    return output, Boxes(true, labels, rand(batch, count) < 0.8)


def loop_iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    inside = width * height
    union = abs((a[2] - a[0]) * (a[3] - a[1])) + abs((b[2] - b[0]) * (b[3] - b[1])) - inside
    return inside / union if union > 0 else 0.0


def loop_reward(output: Boxes, target: Boxes, chosen: DetectionSettings, item: int) -> float:
    """``paper_text`` for one picture, threshold by threshold, pair by pair."""
    boxes, labels = output.boxes[item].tolist(), output.labels[item].tolist()
    true, classes = target.boxes[item].tolist(), target.labels[item].tolist()
    found = output.valid[item].nonzero()[:, 0].tolist()
    objects = target.valid[item].nonzero()[:, 0].tolist()
    total = 0.0
    for threshold in chosen.thresholds:
        pairs = []
        for n in found:
            for m in objects:
                overlap = loop_iou(boxes[n], true[m])
                if labels[n] == classes[m] and overlap > threshold:
                    pairs.append((overlap, n, m))
        fitting = {n for _, n, _ in pairs}
        rows, columns = set(), set()
        for _, n, m in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
            if n not in rows and m not in columns:
                rows.add(n)
                columns.add(m)
        for n in found:
            weight = chosen.class_weights[labels[n]] if chosen.class_weights else 1.0
            if n in rows:
                total += weight
            elif n in fitting:
                total -= chosen.duplicate_cost * weight
            else:
                total -= chosen.false_positive_cost * weight
    return total / len(chosen.thresholds)


def loop_rewards(output: Boxes, target: Boxes, chosen: DetectionSettings) -> Tensor:
    return torch.tensor([loop_reward(output, target, chosen, item) for item in range(len(output))])


def test_paper_code_equals_the_released_file():
    golden = {name: torch.tensor(value) for name, value in json.loads(GOLDEN.read_text()).items()}
    images, samples = golden["reward"].shape
    target = from_tokens(golden["targets"]).repeat(samples)
    output = from_tokens(golden["samples"].flatten(0, 1))
    chosen = DetectionSettings("paper_code", class_weights=MAP.class_weights)
    outcome = detection_outcome(output, target, chosen)
    torch.testing.assert_close(outcome.reward.view(images, samples), golden["reward"], atol=2e-6, rtol=0)
    torch.testing.assert_close(outcome.matches.view(images, samples), golden["num_matches"], atol=2e-6, rtol=0)
    torch.testing.assert_close(
        outcome.confidence.view(golden["match_iou"].shape), golden["match_iou"], atol=1e-6, rtol=0
    )


def test_the_two_modes_differ_where_the_released_file_differs_from_the_paper():
    true = torch.tensor([[[0.2, 0.2, 0.6, 0.6], [0.24, 0.24, 0.64, 0.64]]])
    valid, labels = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2, dtype=torch.int64)
    target = Boxes(true, labels, valid)
    # Both predictions overlap most with the second box: a crowd that the released file matches short.
    output = Boxes(torch.tensor([[[0.23, 0.23, 0.63, 0.63], [0.235, 0.235, 0.635, 0.635]]]), labels, valid)
    half = (0.5,)
    assert detection_recall(output, target, DetectionSettings("paper_text", half)).item() == 2
    assert detection_recall(output, target, DetectionSettings("paper_code", half)).item() == pytest.approx(1 - 0.3)
    # An overlap of 0.825 passes seven of ten thresholds; with keys of one decimal it earns 0.5.
    one = torch.tensor([[[0.0, 0.0, 0.825, 1.0]]])
    target = Boxes(torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]), labels[:, :1], valid[:, :1])
    output = Boxes(one, labels[:, :1], valid[:, :1])
    assert detection_recall(output, target).item() == pytest.approx(0.7)
    assert detection_recall(output, target, DetectionSettings("paper_code")).item() == pytest.approx(0.5)
    # Two equal boxes: the released file tells a confidence head that both are right.
    twice = Boxes(one.repeat(1, 2, 1), labels, valid)
    text = detection_outcome(twice, target, RECALL).confidence
    code = detection_outcome(twice, target, DetectionSettings("paper_code")).confidence
    torch.testing.assert_close(text, torch.tensor([[0.825, 0.0]]))
    torch.testing.assert_close(code, torch.tensor([[0.825, 0.825]]))


@settings(max_examples=30)
@given(seeds, st.sampled_from([0.0, 0.2]))
def test_paper_text_equals_a_loop(seed, cost):
    output, target = scene(seed)
    chosen = DetectionSettings(false_positive_cost=cost, class_weights=(0.5, 1.0, 1.5))
    want = loop_rewards(output, target, chosen)
    torch.testing.assert_close(detection_recall(output, target, chosen), want, atol=1e-5, rtol=0)


@settings(max_examples=30)
@given(seeds, st.sampled_from(["paper_text", "paper_code"]))
def test_order_and_padding_do_not_matter(seed, mode):
    output, target = scene(seed)
    chosen = DetectionSettings(mode, false_positive_cost=0.1)
    draw = torch.Generator().manual_seed(seed)
    rows, columns = torch.randperm(8, generator=draw), torch.randperm(5, generator=draw)
    moved = Boxes(output.boxes[:, rows], output.labels[:, rows], output.valid[:, rows])
    shifted = Boxes(target.boxes[:, columns], target.labels[:, columns], target.valid[:, columns])
    before, after = detection_outcome(output, target, chosen), detection_outcome(moved, shifted, chosen)
    torch.testing.assert_close(after.reward, before.reward, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.confidence, before.confidence[:, rows])
    junk = torch.full((3, 2, 4), float("nan"))
    none, any_label = torch.zeros(3, 2, dtype=torch.bool), torch.full((3, 2), -1)
    wide = Boxes(
        torch.cat([output.boxes, junk], 1), torch.cat([output.labels, any_label], 1), torch.cat([output.valid, none], 1)
    )
    torch.testing.assert_close(detection_recall(wide, target, chosen), before.reward)


@settings(max_examples=30)
@given(seeds)
def test_parts_add_up_to_the_predictions(seed):
    output, target = scene(seed)
    outcome = detection_outcome(output, target, RECALL)
    total = outcome.matches + outcome.duplicates + outcome.false_positives
    torch.testing.assert_close(total, output.valid.sum(1).float())
    torch.testing.assert_close(outcome.reward, outcome.matches - 0.3 * outcome.duplicates)
    assert (outcome.matches <= target.valid.sum(1)).all()


def test_perfect_boxes_earn_their_number_and_doubles_cost():
    _, target = scene(0)
    torch.testing.assert_close(detection_recall(target, target), target.valid.sum(1).float())
    double = Boxes(*(torch.cat([part, part], 1) for part in (target.boxes, target.labels, target.valid)))
    torch.testing.assert_close(detection_recall(double, target), 0.7 * target.valid.sum(1).float())


def test_rare_classes_are_worth_more():
    weights = class_weights(COCO_COUNTS)
    assert sum(weights) == pytest.approx(80) and sum(COCO_COUNTS) == 860_001
    assert (min(weights), max(weights)) == (pytest.approx(0.165, abs=5e-4), pytest.approx(1.166, abs=5e-4))
    box, valid = torch.tensor([[[0.1, 0.1, 0.5, 0.5]]]), torch.ones(1, 1, dtype=torch.bool)
    person, drier = (Boxes(box, torch.tensor([[label]]), valid) for label in (0, 78))
    assert detection_map(person, person).item() == pytest.approx(weights[0])
    assert detection_map(drier, drier).item() == pytest.approx(weights[78])


def test_a_crowd_costs_nothing_and_earns_nothing():
    box, labels = torch.tensor([[[0.0, 0.0, 0.8, 0.8]]]), torch.zeros(1, 1, dtype=torch.int64)
    valid = torch.ones(1, 1, dtype=torch.bool)
    crowd = Boxes(box, labels, valid, crowd=valid)
    inside = Boxes(box / 4, labels, valid)
    chosen = DetectionSettings(false_positive_cost=0.5)
    assert detection_recall(inside, crowd, chosen).item() == 0
    assert detection_recall(inside, Boxes(box, labels, ~valid), chosen).item() == -0.5
    assert detection_recall(Boxes(box / 4, labels + 1, valid), crowd, chosen).item() == -0.5


@pytest.mark.parametrize("mode", ["paper_text", "paper_code"])
@pytest.mark.parametrize("found, true", [(0, 3), (3, 0), (0, 0)])
def test_no_boxes(mode, found, true):
    def boxes(count: int) -> Boxes:
        corners = torch.tensor([0.1, 0.1, 0.4, 0.4]).expand(2, count, 4)
        return Boxes(corners, torch.zeros(2, count, dtype=torch.int64), torch.ones(2, count, dtype=torch.bool))

    chosen = DetectionSettings(mode, false_positive_cost=0.25)
    outcome = detection_outcome(boxes(found), boxes(true), chosen)
    assert outcome.reward.tolist() == [-0.25 * found] * 2
    assert outcome.confidence.shape == (2, found)


def test_errors_name_the_item():
    output, target = scene(0)
    for value, message in ((float("nan"), "nan"), (1.5, "1.5"), (-0.1, "must lie in")):
        boxes = output.boxes.clone()
        item, index = output.valid.nonzero()[-1].tolist()
        boxes[item, index, 0] = value
        with pytest.raises(ValueError, match=f"output: item {item}, box {index} is .*{message}"):
            detection_recall(Boxes(boxes, output.labels, output.valid), target)
    with pytest.raises(ValueError, match="3 outputs and 2 targets"):
        detection_recall(output, target.select(slice(0, 2)))
    high = Boxes(target.boxes, target.labels + 80, target.valid)
    item, index = target.valid.nonzero()[0].tolist()
    with pytest.raises(ValueError, match=f"target: item {item}, box {index} has class 8., but there are 80 weights"):
        detection_map(output, high)
    with pytest.raises(ValueError, match="paper_text or paper_code"):
        DetectionSettings("paper")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="thresholds"):
        DetectionSettings(thresholds=(0.5, 1.0))
    with pytest.raises(ValueError, match="counts"):
        class_weights([0, 0])


def loop_panoptic(output: Segments, target: Segments, item: int) -> float:
    """Without void and crowds, pixel by pixel."""
    total = 0.0
    for p in range(1, output.labels.shape[1] + 1):
        said = output.ids[item] == p
        if not said.any():
            continue
        best = 0.0
        for s in range(1, target.labels.shape[1] + 1):
            true = target.ids[item] == s
            overlap = float((said & true).sum() / max(1, (said | true).sum()))
            if output.labels[item, p - 1] == target.labels[item, s - 1] and overlap > 0.5:
                best = overlap
        total += best if best else -0.3
    return total


def maps(seed: int) -> tuple[Segments, Segments]:
    """Two maps of rectangles that mostly agree."""
    draw = torch.Generator().manual_seed(seed)
    target = torch.ones(3, 12, 12, dtype=torch.int64)
    for item in range(3):
        for k in range(2, 6):
            x, y, w, h = torch.randint(0, 8, (4,), generator=draw).tolist()
            target[item, y : y + h + 3, x : x + w + 3] = k
    output = torch.roll(target, 1, 2)
    labels = torch.randint(3, (3, 5), generator=draw)
    said = torch.where(torch.rand(3, 5, generator=draw) < 0.8, labels, 0)
    valid = torch.ones(3, 5, dtype=torch.bool)
    return Segments(output, said, valid), Segments(target, labels, valid)


@settings(max_examples=20)
@given(seeds)
def test_panoptic_equals_a_loop(seed):
    output, target = maps(seed)
    want = torch.tensor([loop_panoptic(output, target, item) for item in range(3)], dtype=torch.float64)
    torch.testing.assert_close(panoptic(output, target), want)
    order = torch.tensor([0, 3, 1, 5, 2, 4])  # segment k is called order[k]
    moved = Segments(order[output.ids], output.labels[:, order[1:].argsort()], output.valid)
    torch.testing.assert_close(panoptic(moved, target), want)


def test_panoptic_ends_of_the_scale():
    _, target = maps(3)
    present = torch.tensor([len(target.ids[item].unique()) for item in range(3)], dtype=torch.float64)
    torch.testing.assert_close(panoptic(target, target), present)
    other = Segments(target.ids, target.labels + 1, target.valid)
    torch.testing.assert_close(panoptic(other, target, cost=0.5), -0.5 * present)
    void = Segments(target.ids * 0, target.labels, target.valid)
    assert panoptic(void, target).tolist() == [0, 0, 0]  # silence costs nothing
    assert panoptic(target, void).tolist() == [0, 0, 0]  # nor do predictions where nothing is known


def test_panoptic_errors_name_the_item():
    output, target = maps(0)
    with pytest.raises(ValueError, match="one shape"):
        panoptic(Segments(output.ids[:, :6], output.labels, output.valid), target)
    ids = output.ids.clone()
    ids[1, 0, 3] = 9
    with pytest.raises(ValueError, match="output: item 1, pixel 3 is 9"):
        panoptic(Segments(ids, output.labels, output.valid), target)
    with pytest.raises(ValueError, match="item 0 is empty"):
        panoptic(*(Segments(part.ids[:, :0], part.labels, part.valid) for part in (output, target)))


def test_thresholds_are_the_paper_s():
    assert tuple(round(0.5 + 0.05 * k, 2) for k in range(10)) == THRESHOLDS
