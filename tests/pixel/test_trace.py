from __future__ import annotations

import itertools

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from pixward.ops.pixel import RESTORE
from pixward.pixel import run
from pixward.pixel.edits import Edits
from pixward.pixel.run import improve
from pixward.pixel.trace import replay, rounded
from pixward.policies.pixel import PixelPolicy, PixelSettings

NOTHING, MEDIAN, BOX = (RESTORE.index(name) for name in ("nothing", "median", "box"))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    return PixelPolicy(PixelSettings(width=8)).eval()


@pytest.fixture(scope="module")
def noisy():
    return 0.5 + 0.3 * torch.randn(1, 1, 20, 24, generator=torch.Generator().manual_seed(0))


def mask(rows, columns, size=(20, 24)):
    made = torch.zeros(size, dtype=torch.bool)
    made[rows, columns] = True
    return made


def test_reading(net, noisy):
    trace = improve(net, noisy, 3)
    images = list(trace.images())
    assert len(images) == 4 and torch.equal(images[-1], trace.result)
    for share, chosen in zip(trace.shares(), trace.maps, strict=True):
        assert sum(share.values()) == pytest.approx(1)
        assert share["median"] == pytest.approx(float((chosen == MEDIAN).float().mean()))
    expected = [float((b - a).abs().mean()) * 255 for a, b in itertools.pairwise(images)]
    assert trace.changes() == pytest.approx(expected)


def test_one_item_of_a_batch(net, noisy):
    both = improve(net, torch.cat([noisy, noisy + 0.2]), 2)
    alone = improve(net, noisy + 0.2, 2)
    item = both.item(1)
    assert torch.equal(item.maps, alone.maps) and torch.equal(item.result, alone.result)
    assert item.shares() == alone.shares() != both.shares()


def test_psnr_per_step_is_scored_in_8_bit(net, noisy):
    clean = torch.rand(noisy.shape, generator=torch.Generator().manual_seed(1))
    trace = improve(net, noisy, 2)
    for image, found in zip(trace.images(), trace.psnr(clean), strict=True):
        a, b = ((x.clamp(0, 1).double() * 255 + 0.5).byte().numpy() for x in (clean, image))
        assert found == pytest.approx(peak_signal_noise_ratio(a, b), abs=1e-3)
    assert rounded(torch.tensor([-1.0, 0.5 / 255, 2.0])).tolist() == pytest.approx([0, 1 / 255, 1])


def test_history_of_one_pixel(net, noisy):
    trace = improve(net, noisy, 3)
    images = list(trace.images())
    for t, step in enumerate(trace.history(4, 5)):
        assert step.action == RESTORE.names[int(trace.maps[t, 0, 4, 5])]
        assert step.before == (float(images[t][0, 0, 4, 5]),)
        assert step.after == (float(images[t + 1][0, 0, 4, 5]),)
    with pytest.raises(ValueError, match="no pixel in row 20"):
        trace.history(20, 0)


def test_a_forbidden_action_gives_way_to_the_second_best(net, noisy):
    first = improve(net, noisy, 1).maps[0]
    favourite = int(first.flatten().mode().values)
    edited = improve(net, noisy, 1, Edits.of(RESTORE, forbid=[RESTORE.names[favourite]])).maps[0]
    assert not bool((edited == favourite).any())
    others = first != favourite
    assert torch.equal(edited[others], first[others])
    with torch.no_grad():
        second = net(noisy)[0].topk(2, 1).indices[:, 1]
    assert torch.equal(edited[~others].long(), second[~others])


def test_replace_paint_and_freeze(net, noisy):
    first = improve(net, noisy, 1).maps[0, 0]
    old = int(first.flatten().mode().values)
    new = MEDIAN if old != MEDIAN else BOX
    top, left = mask(slice(0, 5), slice(None)), mask(slice(None), slice(0, 3))
    edits = Edits.of(RESTORE, replace={old: new}, paint=[(top, "box"), (left, "median")], freeze=top & left)
    trace = improve(net, noisy, 2, edits)
    expected = torch.where(first == old, new, first)
    expected[top], expected[left], expected[top & left] = BOX, MEDIAN, NOTHING
    assert torch.equal(trace.maps[0, 0], expected)
    assert torch.equal(trace.result[0, 0][top & left], noisy[0, 0][top & left])


def test_replacing_in_a_circle_swaps():
    swapped = Edits.of(RESTORE, replace={"median": "box", "box": "median"})
    assert swapped.change(torch.tensor([[MEDIAN, BOX, NOTHING]])).tolist() == [[BOX, MEDIAN, NOTHING]]


def test_edits_hold_in_tiles(net, monkeypatch):
    big = 0.5 + 0.3 * torch.randn(1, 1, 70, 90, generator=torch.Generator().manual_seed(0))
    spot = mask(slice(20, 50), slice(30, 70), (70, 90))
    edits = Edits.of(RESTORE, forbid=["darker"], paint=[(spot, "median")], freeze=mask(slice(60, 65), 3, (70, 90)))
    whole = improve(net, big, 2, edits)
    monkeypatch.setattr(run, "STEP_PIXELS", 50 * 50)
    assert torch.equal(improve(net, big, 2, edits).maps, whole.maps)


def test_replay(net, noisy):
    trace = improve(net, noisy, 3)
    again = replay(RESTORE, noisy, trace.maps)
    assert torch.equal(again.result, trace.result)
    other = replay(RESTORE, noisy + 0.1, trace.maps)  # the same decisions on another picture
    assert not torch.equal(other.result, trace.result) and torch.equal(other.maps, trace.maps)
    frozen = torch.ones(20, 24, dtype=torch.bool)
    assert torch.equal(replay(RESTORE, noisy, trace.maps, Edits.of(RESTORE, freeze=frozen)).result, noisy)
    with pytest.raises(ValueError, match="cannot forbid"):
        replay(RESTORE, noisy, trace.maps, Edits.of(RESTORE, forbid=["box"]))
    with pytest.raises(ValueError, match="unknown action 77"):
        replay(RESTORE, noisy, torch.full_like(trace.maps, 77))


def test_bad_edits():
    with pytest.raises(ValueError, match="there is no action 'sharpen'; choose from: darker, nothing"):
        Edits.of(RESTORE, forbid=["sharpen"])
    with pytest.raises(ValueError, match="all actions are forbidden"):
        Edits.of(RESTORE, forbid=range(9))
    with pytest.raises(ValueError, match="bool"):
        Edits.of(RESTORE, freeze=torch.zeros(3, 3))
