from __future__ import annotations

import pytest
import torch

from pixward.envs.pixel import denoising
from pixward.pixel import run
from pixward.pixel.edits import Edits
from pixward.pixel.run import improve
from pixward.pixel.tiles import tiles
from pixward.pixel.trace import replay
from pixward.policies.pixel import PixelPolicy, PixelSettings


def policy(recurrent=False, actions="restore"):
    torch.manual_seed(3)
    return PixelPolicy(PixelSettings(actions=actions, recurrent=recurrent, width=8)).eval()


def image(count=1, channels=1, height=30, width=40):
    return 0.5 + 0.3 * torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("recurrent", [False, True])
def test_equals_a_straight_loop_over_the_environment(recurrent):
    net, env, start = policy(recurrent), denoising(), image(2)
    state, memory = env.reset({"image": start, "clean": start}), None
    maps = []
    with torch.no_grad():
        for _ in range(5):
            logits, memory = net(state["image"], memory)
            maps.append(logits.argmax(1))
            state, _ = env.step(state, maps[-1])
    trace = improve(net, start)
    assert torch.equal(trace.maps.long(), torch.stack(maps))
    assert torch.equal(trace.result, state["image"])
    assert len(trace.maps.unique()) > 3  # the untrained policy does make decisions


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("size", [(150, 97), (1, 200), (90, 90)], ids=str)
def test_tiled_equals_whole(monkeypatch, recurrent, size):
    net, start = policy(recurrent), image(1, 1, *size)
    whole = improve(net, start, 2)
    monkeypatch.setattr(run, "STEP_PIXELS", 60 * 60)
    stepwise = improve(net, start, 2)
    monkeypatch.setattr(run, "EPISODE_PIXELS", 80 * 80)
    both = improve(net, start, 2)
    for tiled in (stepwise, both):
        assert torch.equal(tiled.maps, whole.maps)
        assert torch.allclose(tiled.result, whole.result, atol=1e-6)
    assert torch.allclose(replay(net.actions, start, both.maps).result, whole.result, atol=1e-6)


def test_tiles_cover_once_and_see_enough():
    for size in [(100, 260), (1, 300), (64, 64), (257, 31)]:
        for halo, pixels in [(10, 4000), (0, 500), (40, 3000)]:
            covered = torch.zeros(size, dtype=torch.int)
            for tile in tiles(size, halo, pixels):
                covered[tile.core] += 1
                seen = torch.zeros(size, dtype=torch.bool)
                seen[tile.seen] = True
                marked = torch.zeros(size, dtype=torch.bool)
                marked[tile.core] = True
                inner = torch.zeros_like(seen[tile.seen])
                inner[tile.inner] = True
                assert torch.equal(marked[tile.seen], inner)
                for part, whole, length in zip(tile.core, tile.seen, size, strict=True):
                    assert whole.start == max(0, part.start - halo) and whole.stop == min(length, part.stop + halo)
            assert bool((covered == 1).all())
    assert len(list(tiles((50, 80), 10, 4000))) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (3, 1)], ids=str)
@pytest.mark.parametrize("actions", ["restore", "colour"])
def test_the_smallest_images(size, actions):
    net = policy(recurrent=True, actions=actions)
    trace = improve(net, image(1, net.actions.channels, *size), 3)
    assert trace.result.shape[2:] == size and bool(trace.result.isfinite().all())


def test_progress_is_told():
    told = []
    improve(policy(), image(2), 1, watch=lambda item, share: told.append((item, share)))
    assert told == [(0, 1.0), (1, 1.0)]


def test_bad_input():
    net = policy()
    with pytest.raises(ValueError, match="NaN or infinity"):
        improve(net, torch.full((1, 1, 3, 3), torch.nan))
    with pytest.raises(ValueError, match=r"works on \(B, 1, H, W\)"):
        improve(net, image(1, 3))
    with pytest.raises(ValueError, match=r"works on \(B, 1, H, W\)"):
        improve(net, image(1, 1, 0, 3))
    with pytest.raises(ValueError, match="float32"):
        improve(net, image().double())
    with pytest.raises(ValueError, match="steps must be at least 1"):
        improve(net, image(), 0)
    with pytest.raises(ValueError, match="a mask is"):
        improve(net, image(), edits=Edits.of(net.actions, freeze=torch.zeros(3, 3, dtype=torch.bool)))
