from __future__ import annotations

import numpy as np
import pytest
import torch

from pixward.boxes import Segments
from pixward.data.panoptic import VOID, colours_to_ids, ids_to_colours, join_segments, split_segments
from pixward.data.synth import Scenes, SceneSettings

THINGS = torch.tensor([True, True, False, False])


def test_ids_and_colours() -> None:
    ids = np.array([[0, 1, 255], [256, 65535, 8345037]])
    assert ids_to_colours(ids)[1].tolist() == [[0, 1, 0], [255, 255, 0], [8345037 % 256, 8345037 // 256 % 256, 127]]
    assert np.array_equal(colours_to_ids(ids_to_colours(ids)), ids)
    with pytest.raises(ValueError, match="2\\^24"):
        ids_to_colours(np.array([[1 << 24]]))


def test_split_by_hand() -> None:
    ids = torch.tensor([[[1, 1, 2], [3, 4, 0]]])
    segments = Segments(ids, torch.tensor([[1, 2, 0, 3]]), torch.tensor([[True, True, True, False]]))
    classes, objects = split_segments(segments, THINGS)
    assert classes.tolist() == [[[1, 1, 2], [0, VOID, VOID]]]
    assert objects.tolist() == [[[1, 1, 0], [2, 0, 0]]]


def test_join_gives_every_object_one_class() -> None:
    classes = torch.tensor([[[0, 1, 1, 2], [0, 2, VOID, 3], [1, 1, 1, 2]]])
    objects = torch.tensor([[[5, 5, 5, 5], [7, 7, 7, 7], [0, 5, 0, 0]]])
    joined = join_segments(classes, objects, THINGS)
    assert joined.labels[0].tolist() == [1, 0, 2, 3] and joined.valid.all()
    # Object 5 is thrice class 1 and once class 0; a thing without an object is void; stuff is one segment.
    assert joined.ids.tolist() == [[[1, 1, 1, 3], [2, 3, 0, 4], [0, 1, 0, 3]]]
    scores = torch.zeros(1, 4, 1, 3)
    scores[0, 0, 0], scores[0, 1, 0] = torch.tensor([2.0, 2.0, 0.0]), torch.tensor([1.0, 1.0, 9.0])
    assert join_segments(scores, torch.ones(1, 1, 3, dtype=torch.int64), THINGS).labels.tolist() == [[1]]  # 11 > 4
    assert join_segments(classes, objects, THINGS, least=2).labels[0].tolist() == [1, 2]


def test_scenes_survive_split_and_join() -> None:
    settings = SceneSettings()
    truth = Scenes(settings, seed=2).batch(range(30)).segments
    things = torch.arange(len(settings.labels)) < len(settings.classes)
    joined = join_segments(*split_segments(truth, things), things)
    joined.check("joined")
    for item in range(30):
        old, new = (set(_regions(segments, item)) for segments in (truth, joined))
        assert old == new


def _regions(segments: Segments, item: int) -> list[tuple[int, bytes]]:
    columns = segments.valid[item].nonzero()[:, 0].tolist()
    masks = [(int(segments.labels[item, k]), segments.ids[item] == k + 1) for k in columns]
    return [(label, mask.numpy().tobytes()) for label, mask in masks if mask.any()]
