from __future__ import annotations

import pytest
import torch

from pixward.checks import check_policy
from pixward.envs.pixel import denoising
from pixward.pixel.run import improve
from pixward.policies.pixel import PixelPolicy, PixelSettings, load_pixel_policy, save_pixel_policy
from pixward.policies.pixel_half import HalfDenoiser, HalfEncoder, fold, noise_plane, unfold
from pixward.rollout import rollout


def policy(**settings):
    torch.manual_seed(0)
    return PixelPolicy(PixelSettings(width=8, depth=2, design="half", **settings)).eval()


def images(count=2, channels=1, height=9, width=11):
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(1)) * 0.3 + 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 6), (5, 7)])
def test_folding_and_back_is_exact(size):
    image = images(2, 3, *size)
    folded = fold(image)
    assert folded.shape == (2, 12, (size[0] + 1) // 2, (size[1] + 1) // 2)
    assert torch.equal(unfold(folded, image), image)


def test_noise_plane():
    plane = noise_plane(torch.tensor([25.0, 50.0]), images())
    assert plane.shape == (2, 1, 9, 11)
    assert float(plane[0].max()) == 0.5 and float(plane[1].min()) == 1.0
    assert torch.equal(noise_plane(25.0, images())[1], plane[0])


@pytest.mark.parametrize("settings", [{}, {"foresight": True}, {"condition": 1}, {"remembers": False}])
def test_keeps_the_contract(settings):
    net = policy(**settings)
    state = {"image": images(), "first": images(height=9)}
    if settings.get("condition"):
        state["condition"] = noise_plane(25.0, images())
    check_policy(net, state)
    assert net.sample(state).value.shape == (2, 9, 11)


def test_a_new_denoiser_changes_nothing_and_reach_is_its_field():
    denoiser = HalfDenoiser(width=8, depth=2)
    image = images()
    assert torch.equal(denoiser(image, noise_plane(25.0, image)), image)
    encoder = HalfEncoder(1, 0, 8, 3)
    big = images(1, 1, 40, 40)
    moved = big.clone()
    moved[..., 20, 20] += 100
    with torch.no_grad():
        rows = (encoder(big, None) != encoder(moved, None)).any(1)[0].nonzero()[:, 0]
    assert 2 * int((rows - 10).abs().max()) <= encoder.reach


def test_later_steps_read_what_the_first_one_saw():
    net, first, now = policy(), images(), images() * 0.9
    _, memory = net(first)
    assert memory is not None and memory.shape == (2, 2, 9, 11)
    later, same = net(now, memory)
    assert torch.equal(same, memory)
    assert not torch.allclose(later, net(now)[0])
    log_probs, _ = net.log_probs({"image": now, "first": first})
    assert torch.allclose(log_probs, later.log_softmax(1), atol=1e-6)


def test_without_memory_each_step_encodes_anew():
    net, first, now = policy(remembers=False), images(), images() * 0.9
    _, memory = net(first)
    assert torch.allclose(net(now, memory)[0], net(now)[0])


def test_a_rollout_can_be_evaluated_again():
    net = policy(foresight=True)
    torch.manual_seed(0)
    played = rollout(denoising(), net, {"image": images(), "clean": images() * 0.5})
    for t, state in enumerate(played.states):
        log_prob, baseline = net.evaluate(state, played.actions[t])
        assert torch.allclose(log_prob, played.log_probs[t], atol=1e-4)
        assert torch.allclose(baseline, played.baselines[t], atol=1e-5)


def test_foresight_prefers_what_comes_nearer_to_its_guess():
    net = policy(foresight=True)
    with torch.no_grad():
        net.net.out.bias.fill_(-1.3 / 255)  # it guesses that everything should be 1.3 / 255 brighter
    image = torch.full((1, 1, 6, 6), 0.5)
    logits, _ = net(image)
    assert bool((logits.argmax(1) == net.actions.index("brighter")).all())
    gain = 255 * ((1.3 / 255) ** 2 - (0.3 / 255) ** 2)
    same = net.actions.index("nothing")
    spread = logits[:, net.actions.index("brighter")] - logits[:, same]
    assert torch.allclose(spread, torch.full_like(spread, 30 * gain), rtol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"foresight": True}, {"foresight": True, "remembers": False}])
@pytest.mark.parametrize("pixels", [400, 10_000])
def test_tiles_give_what_the_whole_gives(monkeypatch, settings, pixels):
    monkeypatch.setattr("pixward.pixel.run.STEP_PIXELS", pixels)
    monkeypatch.setattr("pixward.pixel.run.EPISODE_PIXELS", pixels)
    net, image = policy(**settings, condition=1), images(1, 1, 90, 75)
    plane = noise_plane(25.0, image)
    tiled = improve(net, image, 3, condition=plane)
    monkeypatch.setattr("pixward.pixel.run.STEP_PIXELS", 10**9)
    monkeypatch.setattr("pixward.pixel.run.EPISODE_PIXELS", 10**9)
    whole = improve(net, image, 3, condition=plane)
    assert float((tiled.maps != whole.maps).float().mean()) < 1e-3  # ties may fall either way


def test_conditions_are_checked():
    net, image = policy(condition=1), images(1)
    with pytest.raises(ValueError, match="reads 1 condition planes, got 0"):
        net(image)
    with pytest.raises(ValueError, match="needs 1 condition planes"):
        improve(net, image)
    with pytest.raises(ValueError, match="the condition is"):
        improve(net, image, condition=torch.zeros(1, 1, 3, 3))
    with pytest.raises(ValueError, match="NaN"):
        improve(net, image, condition=torch.full_like(image, torch.nan))


def test_round_trip(tmp_path):
    net = policy(foresight=True, condition=1, noise=(5.0, 60.0))
    save_pixel_policy(tmp_path / "p.safetensors", net.settings, net.state_dict(), torch.float16)
    again = load_pixel_policy(tmp_path / "p.safetensors")
    assert again.settings == net.settings
    with pytest.raises(ValueError, match="no design 'x'"):
        PixelPolicy(PixelSettings(design="x"))
