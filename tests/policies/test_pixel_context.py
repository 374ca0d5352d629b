from __future__ import annotations

import pytest
import torch

from pixward.metrics.image import srgb_to_lab
from pixward.ops.pixel import COLOUR
from pixward.pixel import run
from pixward.pixel.run import improve
from pixward.policies.pixel import KIND, PixelPolicy, PixelSettings, load_pixel_policy, save_pixel_policy
from pixward.policies.pixel_context import FOUND, SCENE, ContextEncoder, ContextRegressor
from pixward.policies.weights import find_weights
from pixward.rewards.pixel import lab_distance

SETTINGS = PixelSettings("colour", horizon=3, width=16, design="context", foresight=True)


def seeded(settings=SETTINGS):
    torch.manual_seed(0)
    return PixelPolicy(settings).eval()


def opinionated():
    """A policy whose guess is not the image, as if it were trained."""
    policy = seeded()
    torch.nn.init.normal_(policy.net.out.weight, std=0.05)
    return policy


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (16, 24), (65, 90)])
def test_any_size_is_served(size):
    policy = opinionated()
    image = torch.rand(2, 3, *size)
    logits, memory = policy(image)
    again, kept = policy(image * 0.9, memory)
    assert logits.shape == again.shape == (2, 13, *size)
    assert memory is kept and memory.shape == (2, 16 + 3, *size)
    assert bool(logits.isfinite().all()) and bool(again.isfinite().all())


def test_the_scene_is_seen_at_one_size():
    encoder = ContextEncoder(3, 0, 16)
    assert encoder.scene(torch.rand(1, 3, 2 * SCENE, 3 * SCENE), None).shape == (1, FOUND, SCENE // 2, SCENE * 3 // 4)
    assert encoder.scene(torch.rand(1, 3, 20, 30), None).shape == (1, FOUND, 10, 15)


def test_a_picture_enlarged_is_the_same_scene():
    torch.manual_seed(0)
    encoder = ContextEncoder(3, 0, 16)
    small = torch.rand(1, 3, SCENE, SCENE)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    first, second = encoder.scene(small, None), encoder.scene(large, None)
    # Enlarged by repetition and reduced by the antialiased filter: a little blur, and nothing else.
    assert (first - second).abs().mean() < 0.5 * (first - encoder.scene(small.flip(3), None)).abs().mean()


@torch.no_grad()
def test_a_far_corner_sways_a_pixel():
    policy = opinionated()
    image = torch.rand(1, 3, 96, 96)
    other = image.clone()
    other[..., -48:, -48:] = 1 - other[..., -48:, -48:]
    assert policy.reach is None
    assert not torch.equal(policy(image)[0][..., 0, 0], policy(other)[0][..., 0, 0])


@torch.no_grad()
def test_a_part_remembers_what_the_whole_does():
    net = opinionated().net
    image = torch.rand(1, 3, 70, 90)
    whole = net.look(image, None, None)[2]
    area = (slice(13, 50), slice(61, 90))
    part = net.remember(image[(..., *area)], None, net.encoder.scene(image, None), area, (70, 90))
    assert torch.allclose(part, whole[(..., *area)], atol=1e-5)


@torch.no_grad()
def test_foresight_prefers_what_comes_nearest_to_its_guess():
    policy = seeded()
    image = 0.3 + 0.4 * torch.rand(1, 3, 6, 7)
    # It begins with the image itself as its guess, so that nothing is best.
    assert bool((policy(image)[0].argmax(1) == COLOUR.index("nothing")).all())
    unit = torch.tensor([100.0, 127, 127]).view(1, 3, 1, 1)
    policy.net.out.bias.copy_(torch.tensor([8.0, 5, -9]) / unit.flatten())  # lighter, redder, bluer
    logits, memory = policy(image)
    guess = memory[:, 16:] * unit
    outcomes = [action(image, None) for action in COLOUR.actions]
    gaps = torch.stack([(srgb_to_lab(outcome) - guess).norm(dim=1) for outcome in outcomes], 1)
    assert torch.equal(logits.argmax(1), gaps.argmin(1))
    assert torch.allclose(logits.diff(dim=1), -policy.net.keen.exp() * gaps.diff(dim=1), atol=1e-2)


@torch.no_grad()
def test_a_policy_begins_with_its_regressors_guess():
    torch.manual_seed(0)
    regressor = ContextRegressor(3, 16)
    torch.nn.init.normal_(regressor.out.weight, std=0.05)
    policy = seeded()
    policy.net.load_state_dict({**policy.net.state_dict(), **regressor.state_dict()})
    shown = torch.rand(1, 3, 10, 12)
    _, _, memory = policy.net.look(shown, None, None)
    assert torch.allclose(memory[:, 16:], regressor(shown), atol=1e-6)
    assert not torch.allclose(memory[:, 16:], shown, atol=1e-3)


def test_learning_moves_guess_and_encoder():
    policy = opinionated()
    image = torch.rand(1, 3, 8, 8)
    action = torch.randint(13, (1, 8, 8))
    log_prob, _ = policy.evaluate({"image": image * 0.9, "first": image}, action)
    log_prob.mean().backward()
    for name in ("encoder.fine.weight", "encoder.everywhere.weight", "out.weight", "head.weight", "keen"):
        assert bool(policy.net.get_parameter(name).grad.abs().sum() > 0), name


def test_a_large_picture_is_not_cut(monkeypatch):
    policy = opinionated()
    image = torch.rand(1, 3, 40, 50)
    whole = improve(policy, image)
    monkeypatch.setattr(run, "STEP_PIXELS", 200)
    monkeypatch.setattr(run, "EPISODE_PIXELS", 400)
    assert torch.equal(improve(policy, image).maps, whole.maps)


def test_weights_round_trip(tmp_path):
    policy = opinionated()
    save_pixel_policy(tmp_path / "p.safetensors", SETTINGS, policy.state_dict())
    back = load_pixel_policy(tmp_path / "p.safetensors")
    assert back.settings == SETTINGS
    image = torch.rand(1, 3, 9, 9)
    assert torch.allclose(back(image)[0], policy(image)[0], atol=1e-4)


def test_shipped_colour_weights_help_where_they_were_trained(shared_data):
    from pixward.data.before_after import read_before_after

    folder = shared_data / "colour_popout"
    pairs = read_before_after(folder / "data", folder / "label", folder / "train_ids.txt")[:4]
    if find_weights("colour", KIND) is None:
        pytest.skip("no colour weights are shipped yet: recipes/pixel_colour.py trains them")
    policy = load_pixel_policy("colour")
    gains = []
    for batch in (pair.batch() for pair in pairs):
        result = improve(policy, batch["image"]).result
        before, after = lab_distance(batch["image"], batch["clean"]), lab_distance(result, batch["clean"])
        gains.append(float((after - before).mean()))
    assert sum(gains) / len(gains) > 1  # of about 14
