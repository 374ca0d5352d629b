from __future__ import annotations

import pytest
import torch

from pixward.boxes import Segments
from pixward.policies.vqvae import PanopticCodes, VqSettings, load_codes, save_codes, train_codes

SETTINGS = VqSettings(classes=4, things=2, objects=3, image=16, down=4, codes=32, width=16, code_width=8)


def scenes(index, count=16):
    """One or two squares of class 0 or 1 on stuff of class 2 or 3."""
    generator = torch.Generator().manual_seed(index)
    draw = [torch.randint(high, (count,), generator=generator).tolist() for high in (2, 2, 2, 2, 8, 8)]
    ids = torch.full((count, 16, 16), 3)
    labels, valid = torch.zeros(count, 3).long(), torch.ones(count, 3, dtype=torch.bool)
    for i, (first, second, stuff, two, top, left) in enumerate(zip(*draw, strict=True)):
        ids[i, top : top + 8, 0:6] = 1
        if two:
            ids[i, left : left + 7, 8:16] = 2
        valid[i, 1] = bool(two)
        labels[i] = torch.tensor([first, second, 2 + stuff])
    return Segments(ids, labels, valid)


def network(seed=0):
    torch.manual_seed(seed)
    return PanopticCodes(SETTINGS)


def test_shapes_and_one_hot():
    made, segments = network(), scenes(0)
    hot = made.one_hot(segments)
    assert hot.shape == (16, 1 + 4 + 1 + 3, 16, 16)
    assert torch.equal(hot.sum(1), torch.full((16, 16, 16), 2.0))
    tokens = made.encode(segments)
    assert tokens.shape == (16, made.length) == (16, 16)
    assert made.vocabulary == 33 and int(tokens.min()) >= 1 and int(tokens.max()) <= 32
    assert made.decode(torch.randint(33, (5, 16))).ids.shape == (5, 16, 16)


def test_a_map_survives_its_own_one_hot():
    made, segments = network(), scenes(1)
    again = made.settle(10 * made.one_hot(segments))
    again.check("again")
    for a, b in ((segments, again), (again, segments)):
        label_of = torch.nn.functional.pad(a.labels + 1, (1, 0)).gather(1, a.ids.flatten(1))
        other = torch.nn.functional.pad(b.labels + 1, (1, 0)).gather(1, b.ids.flatten(1))
        assert torch.equal(label_of, other)
    # Two pixels are of one segment before if and only if after.
    for before, after in zip(segments.ids.flatten(1), again.ids.flatten(1), strict=True):
        assert torch.equal(before[:, None] == before, after[:, None] == after)


def test_the_order_of_segments_does_not_matter():
    made, segments = network(), scenes(2)
    turned = torch.tensor([0, 2, 1, 3])[segments.ids]
    swapped = Segments(turned, segments.labels[:, [1, 0, 2]], segments.valid[:, [1, 0, 2]])
    assert torch.equal(made.one_hot(segments), made.one_hot(swapped))


def test_an_object_has_one_class_by_the_sum_of_its_pixels():
    made = network()
    logits = torch.full((1, 9, 16, 16), -9.0)
    logits[:, 5 + 1] = 0  # all pixels belong to object 1
    logits[:, 1], logits[:, 2] = 0.0, -1.0
    # A quarter of the pixels is sure of the other class: more than the rest is of the first.
    logits[:, 2, :8, :8] = 9
    settled = made.settle(logits)
    assert settled.labels[settled.valid].tolist() == [1]
    assert settled.ids.unique().tolist() == [1]


def test_more_objects_than_there_is_room_for():
    ids = torch.arange(16 * 16).view(1, 16, 16) // 48 + 1
    many = Segments(ids, torch.zeros(1, 6).long(), torch.ones(1, 6, dtype=torch.bool))
    hot = network().one_hot(many)
    assert hot[0, 5:].flatten(1).sum(1).tolist() == [112.0, 48.0, 48.0, 48.0]


def test_void_stays_void():
    made, segments = network(), scenes(3)
    ids = segments.ids.clone()
    ids[:, :4] = 0
    holed = Segments(ids, segments.labels, segments.valid)
    assert torch.equal(made.settle(10 * made.one_hot(holed)).ids == 0, ids == 0)


def test_it_learns_to_tell_maps(tmp_path):
    made = network()
    # Where objects lie is learnt at once, their classes only after some 300 updates, too many for a test.
    lines = list(train_codes(made, scenes, 100))
    assert lines[-1]["instance"] < 0.2 * lines[0]["instance"]
    assert lines[-1]["semantic"] < 0.5 * lines[0]["semantic"]
    assert lines[-1]["used"] > 0.5
    unseen = scenes(9999, 64)
    save_codes(tmp_path / "codes.safetensors", made)
    loaded = load_codes(tmp_path / "codes.safetensors")
    again = loaded.decode(loaded.encode(unseen))
    again.check("again")

    def things(segments):
        labels = torch.where(segments.valid, segments.labels, 9)
        return torch.nn.functional.pad(labels < 2, (1, 0)).gather(1, segments.ids.flatten(1))

    assert float((things(again) == things(unseen)).float().mean()) > 0.9


def test_faults_are_named():
    with pytest.raises(ValueError, match="power of two"):
        PanopticCodes(VqSettings(3, 2, image=18, down=6))
    segments = scenes(0)
    with pytest.raises(ValueError, match="16 pixels a side"):
        network().encode(Segments(segments.ids[:, :8], segments.labels, segments.valid))
    with pytest.raises(ValueError, match="not below 4"):
        network().encode(Segments(segments.ids, segments.labels + 2, segments.valid))
