"""Mean average precision and panoptic quality, against pycocotools, torchmetrics and by hand."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.boxes import Boxes, Segments
from pixward.metrics.coco import Detections, DetectionScores, Objects, evaluate_with_pycocotools, read_coco
from pixward.metrics.precision import evaluate
from pixward.metrics.vision import box_iou, coco_map, match_segments, panoptic_counts, panoptic_quality

seeds = st.integers(0, 2**31 - 1)


@pytest.fixture(scope="module")
def parity() -> ModuleType:
    """The benchmark, for its detector and its way from maps to torchmetrics."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "predict_parity.py"
    sys.path.insert(0, str(path.parent))  # scripts that import one another
    spec = importlib.util.spec_from_file_location("predict_parity", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(ours: DetectionScores, theirs: DetectionScores) -> None:
    assert asdict(ours) == pytest.approx(asdict(theirs), abs=1e-9)


def crowded(seed: int, pictures: int = 6, classes: int = 3) -> tuple[Detections, Objects]:
    """All sizes, crowds, overlaps, ties in score and in overlap, and more than 100 boxes of a class in a picture."""
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(0, 40)), int(rng.integers(0, 60))
    place = rng.integers(0, 300, (m, 2))
    box = np.concatenate([place, rng.choice([8, 20, 60, 150], (m, 2)) + rng.integers(0, 9, (m, 2))], 1).astype(float)
    image, label = rng.integers(0, pictures, m), rng.integers(0, classes, m)
    area = box[:, 2] * box[:, 3] * rng.choice([1.0, 0.4], m)
    objects = Objects(image, label, box, area, rng.random(m) < 0.15)
    pick = rng.integers(0, m, n) if m else np.zeros(0, int)
    near = box[pick] + rng.integers(-6, 7, (len(pick), 4)) * (rng.random((len(pick), 1)) < 0.8)
    near[:, 2:] = near[:, 2:].clip(1)
    many = 130 if seed % 3 == 0 else 5
    noise = np.concatenate([rng.integers(0, 300, (many, 2)), rng.integers(5, 200, (many, 2))], 1).astype(float)
    said = np.where(rng.random(len(pick)) < 0.8, label[pick], rng.integers(0, classes, len(pick)))
    detections = Detections(
        np.concatenate([image[pick], np.zeros(many, int)]),
        np.concatenate([said, np.zeros(many, int)]),
        np.concatenate([near, noise]),
        np.round(rng.random(len(pick) + many), 1),
    )
    return detections, objects


@settings(max_examples=25)
@given(seeds)
def test_equal_to_pycocotools(seed):
    pytest.importorskip("pycocotools")
    detections, objects = crowded(seed)
    close(evaluate(detections, objects), evaluate_with_pycocotools(detections, objects))


def test_equal_to_pycocotools_for_a_detector_on_coco(shared_data, parity):
    for name in ("pycocotools", "onnxruntime"):
        pytest.importorskip(name)
    output, items = parity.coco_boxes(shared_data, 6)
    sizes = torch.tensor([item.picture.size[::-1] for item in items])
    ours = coco_map(output, parity.box_batch(items), sizes)
    close(ours, evaluate_with_pycocotools(*read_coco(*parity.coco_json(output, items))))
    assert 0.2 < ours.ap < 0.7  # a detector's, not a coincidence


def test_by_hand():
    true = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]], dtype=torch.float64)
    valid, labels = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2, dtype=torch.int64)
    target = Boxes(true, labels, valid)
    wrong = torch.tensor([[[0.9, 0.0, 1.0, 0.1]]], dtype=torch.float64)
    # A false box between two true ones: precision 1 up to recall 0.5 (51 of 101 points), then 2/3.
    output = Boxes(
        torch.cat([true[:, :1], wrong, true[:, 1:]], 1),
        torch.zeros(1, 3, dtype=torch.int64),
        torch.ones(1, 3, dtype=torch.bool),
        torch.tensor([[0.9, 0.8, 0.7]]),
    )
    scores = coco_map(output, target)
    assert scores.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert (scores.ar1, scores.ar10, scores.ar_small) == (0.5, 1.0, -1.0)
    unscored = Boxes(output.boxes[:, [1, 0, 2]], output.labels, output.valid)
    assert coco_map(unscored, target).ap50 == pytest.approx(2 / 3)  # in the order given
    big = coco_map(output, target, torch.tensor([[100, 150]]))  # boxes of 50 x 75 pixels
    # The false box is small and counts for nothing among medium ones.
    assert (big.ap_medium, big.ap_large, big.ap_small) == (pytest.approx(1.0), -1.0, -1.0)
    assert big.ap == pytest.approx(scores.ap)


def test_nothing_found_and_nothing_there():
    none = Boxes(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
    one = Boxes(torch.tensor([[[0, 0, 1.0, 1]]] * 2), torch.zeros(2, 1).long(), torch.ones(2, 1).bool())
    assert (coco_map(none, one).ap, coco_map(none, one).ar100) == (0.0, 0.0)
    assert coco_map(one, none).ap == coco_map(none, none).ap == -1.0


@settings(max_examples=20)
@given(seeds)
def test_order_of_detections_does_not_matter_without_ties(seed):
    detections, objects = crowded(seed)
    rng = np.random.default_rng(seed)
    score = rng.permutation(len(detections.score)) / 1000
    detections = Detections(detections.image, detections.label, detections.box, score)
    order = rng.permutation(len(score))
    moved = Detections(*(getattr(detections, name)[order] for name in ("image", "label", "box", "score")))
    close(evaluate(moved, objects), evaluate(detections, objects))


def test_read_coco_names_the_entry():
    file = {"images": [{"id": 7}], "annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5]}]}
    good = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.5}
    detections, objects = read_coco(file, [good])
    assert objects.area.tolist() == [20] and objects.crowd.tolist() == [False] and detections.score.tolist() == [0.5]
    for bad, message in (
        ({**good, "image_id": 8}, "result 1 is of image 8, which the annotations do not list"),
        ({**good, "bbox": [0, 0, float("nan"), 1]}, "result 1: bbox must be four finite numbers"),
        ({**good, "score": float("nan")}, "result 1: score must be a finite number"),
        ({"image_id": 7, "bbox": [0, 0, 1, 1], "score": 1.0}, "result 1 has no 'category_id'"),
    ):
        with pytest.raises(ValueError, match=message):
            read_coco(file, [good, bad])
    with pytest.raises(ValueError, match="the file has no 'images'"):
        read_coco({"annotations": []}, [])


def test_errors_of_boxes_name_the_item():
    one = Boxes(torch.tensor([[[0, 0, 1.0, 1]]] * 2), torch.zeros(2, 1).long(), torch.ones(2, 1).bool())
    outside = Boxes(torch.tensor([[[0, 0, 1.0, 1]], [[0, 0, 1.5, 1]]]), one.labels, one.valid)
    with pytest.raises(ValueError, match=r"output: item 1, box 0 is .*1.5"):
        coco_map(outside, one)
    with pytest.raises(ValueError, match="2 outputs and 1 targets"):
        coco_map(one, one.select(slice(0, 1)))
    with pytest.raises(ValueError, match="sizes must be"):
        coco_map(one, one, torch.zeros(2, 2))


def test_box_iou_by_hand():
    first = torch.tensor([[[0, 0, 2.0, 2], [1, 1, 1, 1], [2, 2, 0, 0]]])
    second = torch.tensor([[[1, 1, 3.0, 3], [0, 0, 2, 2]]])
    torch.testing.assert_close(box_iou(first, second)[0], torch.tensor([[1 / 7, 1], [0, 0], [0, 0]]))
    torch.testing.assert_close(box_iou(first, second, "first")[0, 0], torch.tensor([0.25, 1]))


def maps(seed: int, void: bool) -> tuple[Segments, Segments, torch.Tensor]:
    """Maps of rectangles over stuff, three classes of things and two of stuff; ``void`` leaves holes in both."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.ones(2, 16, 16, dtype=torch.int64)
    ids[:, 8:] = 2
    for k in range(3, 8):
        for item in range(2):
            x, y, w, h = torch.randint(0, 9, (4,), generator=draw).tolist()
            ids[item, y : y + h + 3, x : x + w + 3] = k
    labels = torch.cat([torch.tensor([[3, 4]] * 2), torch.randint(3, (2, 5), generator=draw)], 1)
    valid = torch.ones(2, 7, dtype=torch.bool)
    moved, said = torch.roll(ids, (1, 1), (1, 2)), labels.clone()
    change = torch.rand(2, 5, generator=draw) < 0.2
    said[:, 2:] = torch.where(change, torch.randint(3, (2, 5), generator=draw), said[:, 2:])
    if void:
        holes = torch.rand(2, 2, 4, 4, generator=draw).repeat_interleave(4, 2).repeat_interleave(4, 3) < 0.25
        ids, moved = torch.where(holes[0], 0, ids), torch.where(holes[1], 0, moved)
    return Segments(moved, said, valid), Segments(ids, labels, valid), torch.tensor([True] * 3 + [False] * 2)


@settings(max_examples=10)
@given(seeds, st.booleans())
def test_panoptic_quality_equals_torchmetrics(parity, seed, void):
    detection = pytest.importorskip("torchmetrics.detection")
    output, target, things = maps(seed, void)
    metric = detection.PanopticQuality({0, 1, 2}, {3, 4}, allow_unknown_preds_category=True, return_sq_and_rq=True)
    metric.update(parity.coloured(output, things, 5), parity.coloured(target, things, 5))
    counts = panoptic_counts(output, target, 5, forgive_blank=True)
    ours = panoptic_quality(counts)
    assert [ours.pq, ours.sq, ours.rq] == pytest.approx(metric.compute().tolist(), abs=1e-6)  # float32 there
    if not void:
        assert panoptic_quality(panoptic_counts(output, target, 5)).pq == pytest.approx(ours.pq)
    first, second = (panoptic_counts(output.select([i]), target.select([i]), 5, True) for i in range(2))
    assert panoptic_quality(first + second).pq == pytest.approx(ours.pq)


def loop_counts(output: Segments, target: Segments, item: int, classes: int) -> torch.Tensor:
    """``(C, 4)``: overlap, true positives, false positives, false negatives by COCO's rules, mask by mask."""
    counts = torch.zeros(classes, 4, dtype=torch.float64)
    void = target.ids[item] == 0
    crowd = target.crowd[item].tolist()
    taken = set()
    for p, label in enumerate(output.labels[item].tolist()):
        said = output.ids[item] == p + 1
        if not said.any():
            continue
        harmless, found = (said & void).sum(), False
        for s, other in enumerate(target.labels[item].tolist()):
            true = target.ids[item] == s + 1
            if label == other and crowd[s]:
                harmless = harmless + (said & true).sum()
            elif label == other:
                overlap = float((said & true).sum() / ((said | true) & ~void).sum().clamp_min(1))
                if overlap > 0.5:
                    counts[label] += torch.tensor([overlap, 1, 0, 0])
                    found = True
                    taken.add(s)
        if not found and harmless / said.sum() <= 0.5:
            counts[label, 2] += 1
    for s, label in enumerate(target.labels[item].tolist()):
        if s not in taken and not crowd[s] and (target.ids[item] == s + 1).any():
            counts[label, 3] += 1
    return counts


@settings(max_examples=15)
@given(seeds)
def test_panoptic_counts_with_crowds_and_void_equal_a_loop(seed):
    output, target, _ = maps(seed, void=True)
    crowd = torch.rand(target.valid.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    target = Segments(target.ids, target.labels, target.valid, crowd)
    got = panoptic_counts(output, target, 5)
    columns = torch.stack([got.iou, got.true_positives, got.false_positives, got.false_negatives], 1)
    torch.testing.assert_close(columns, sum(loop_counts(output, target, item, 5) for item in range(2)))


def test_silence_is_an_error_by_coco_s_rule_and_none_by_torchmetrics():
    ids = torch.ones(1, 4, 4, dtype=torch.int64)
    ids[:, 2:] = 2
    valid = torch.ones(1, 2, dtype=torch.bool)
    target = Segments(ids, torch.tensor([[0, 1]]), valid)
    silent = Segments(torch.where(ids == 2, 0, ids), target.labels, valid)
    assert panoptic_quality(panoptic_counts(silent, target, 2)).pq == 0.5
    assert panoptic_quality(panoptic_counts(silent, target, 2, forgive_blank=True)).pq == 1
    assert match_segments(silent, target).false_negative.tolist() == [[False, True]]
    nothing = Segments(ids * 0, target.labels, valid)
    assert panoptic_quality(panoptic_counts(nothing, nothing, 2)).pq == 0


def test_panoptic_errors_name_the_item():
    output, target, _ = maps(0, void=False)
    with pytest.raises(ValueError, match="output: item 0, segment 2 has class 4 of 4"):
        panoptic_counts(output, target, 4)
    with pytest.raises(ValueError, match="one shape"):
        match_segments(output, Segments(target.ids[:, :8], target.labels, target.valid))
