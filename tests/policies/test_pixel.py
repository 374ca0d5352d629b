from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pixward.checks import check_policy
from pixward.envs.pixel import denoising
from pixward.policies.pixel import PixelPolicy, PixelSettings, load_pixel_policy, save_pixel_policy
from pixward.rollout import rollout


def policy(recurrent=False, seed=0, actions="restore"):
    torch.manual_seed(seed)
    return PixelPolicy(PixelSettings(actions=actions, recurrent=recurrent, width=8)).eval()


def images(count=2, channels=1, height=9, width=11):
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(1)) * 0.3 + 0.5


def conv(x, layer):
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.dilation, dilation=layer.dilation)


def paper(net, image, h):
    """The network as the paper draws it, six GRU kernels and all: logits, value, next memory."""
    x = image
    for layer in net.net.shared:
        x = conv(x, layer).relu()
    p, v = x, x
    for layer in net.net.policy:
        p = conv(p, layer).relu()
    for layer in net.net.worth[:2]:
        v = conv(v, layer).relu()
    if net.net.gru is not None:
        n = net.settings.width
        gates, candidate = net.net.gru.gates.weight, net.net.gru.candidate.weight
        wz, uz, wr, ur = gates[:n, :n], gates[:n, n:], gates[n:, :n], gates[n:, n:]
        w, u = candidate[:, :n], candidate[:, n:]
        z = torch.sigmoid(F.conv2d(p, wz, padding=1) + F.conv2d(h, uz, padding=1))
        g = torch.sigmoid(F.conv2d(p, wr, padding=1) + F.conv2d(h, ur, padding=1))
        new = torch.tanh(F.conv2d(p, w, padding=1) + F.conv2d(g * h, u, padding=1))
        p = h = (1 - z) * h + z * new
    return conv(p, net.net.head), conv(v, net.net.worth[2])[:, 0], h


def test_dilations_and_size_are_the_papers():
    net = PixelPolicy(PixelSettings(recurrent=True))
    assert [layer.dilation[0] for layer in (*net.net.shared, *net.net.policy)] == [1, 2, 3, 4, 3, 2]
    assert [layer.dilation[0] for layer in net.net.worth] == [3, 2, 1]
    assert sum(weight.numel() for weight in net.parameters()) == 486_090
    assert sum(weight.numel() for weight in PixelPolicy(PixelSettings()).parameters()) == 264_906


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_equals_the_paper_over_several_steps(recurrent, grad):
    net, image = policy(recurrent), images()
    memory, h = None, torch.zeros(2, 8, 9, 11)
    with torch.set_grad_enabled(grad):
        for step in range(3):
            before = None if memory is None else memory.clone()
            logits, following = net(image + 0.1 * step, memory)
            expected, value, h = paper(net, image + 0.1 * step, h)
            assert torch.allclose(logits, expected, atol=1e-5)
            if before is not None:
                assert torch.equal(memory, before)  # what it was given stays as it was
            memory = following
            if recurrent:
                assert torch.allclose(memory, h, atol=1e-5)
        state = {"image": image} | ({"memory": memory.detach()} if recurrent else {})
        log_probs, baseline = net.log_probs(state)
        expected, value, _ = paper(net, image, h.detach())
        assert torch.allclose(log_probs, expected.log_softmax(1), atol=1e-5)
        assert torch.allclose(baseline, value, atol=1e-5)


@pytest.mark.parametrize("recurrent", [False, True])
def test_keeps_the_contract(recurrent):
    net = policy(recurrent)
    check_policy(net, {"image": images()})
    if recurrent:
        check_policy(net, {"image": images(), "memory": images(channels=8)})
    action = net.sample({"image": images()})
    assert action.value.shape == action.log_prob.shape == action.baseline.shape == (2, 9, 11)
    assert set(action.memory) == ({"memory"} if recurrent else set())


def test_draws_follow_the_probabilities():
    net = policy()
    flat = {"image": torch.full((200, 1, 1, 1), 0.3)}
    torch.manual_seed(0)
    counts = torch.zeros(9)
    for _ in range(20):
        counts += torch.bincount(net.sample(flat).value.flatten(), minlength=9)
    expected = net.log_probs(flat)[0][0, :, 0, 0].detach().exp() * 4000
    assert float(((counts - expected) ** 2 / expected).sum()) < 27.9  # chi-squared, 8 degrees: 0.05 %


def test_a_rollout_remembers_and_can_be_evaluated_again():
    net, env = policy(recurrent=True), denoising()
    torch.manual_seed(0)
    played = rollout(env, net, {"image": images(), "clean": images()})
    assert played.actions.shape == played.rewards.shape == (5, 2, 9, 11)
    assert float(played.states[0]["memory"].abs().max()) == 0
    assert float(played.states[1]["memory"].abs().max()) > 0
    for t, state in enumerate(played.states):
        log_prob, baseline = net.evaluate(state, played.actions[t])
        assert torch.allclose(log_prob, played.log_probs[t], atol=1e-5)
        assert torch.allclose(baseline, played.baselines[t], atol=1e-5)


def test_gradients_reach_every_weight():
    net = policy(recurrent=True)
    state = {"image": images(), "memory": images(channels=8)}
    log_prob, baseline = net.evaluate(state, torch.zeros(2, 9, 11, dtype=torch.long))
    (log_prob.sum() + baseline.sum()).backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in net.parameters())


def test_colour_reads_three_channels():
    net = policy(actions="colour")
    logits, memory = net(images(channels=3))
    assert logits.shape == (2, 13, 9, 11) and memory is None
    with pytest.raises(ValueError, match="there is no action set 'x'"):
        policy(actions="x")


@pytest.mark.parametrize("recurrent", [False, True])
def test_reach_is_the_receptive_field(recurrent):
    net = policy(recurrent)
    image = images(1, 1, 45, 45)
    moved = image.clone()
    moved[..., 22, 22] += 100
    memory = torch.rand(1, 8, 45, 45) if recurrent else None
    with torch.no_grad():
        first, second = net(image, memory)[0], net(moved, memory)[0]
    y, x = (first != second).any(1)[0].nonzero().T
    away = max(int((y - 22).abs().max()), int((x - 22).abs().max()))
    assert 16 <= away <= net.reach


def test_round_trip_keeps_single_precision(tmp_path):
    net = policy(recurrent=True)
    tensors = dict(net.state_dict(), reward_kernel=torch.rand(1, 1, 33, 33))
    save_pixel_policy(tmp_path / "p.safetensors", net.settings, tensors)
    again = load_pixel_policy(tmp_path / "p.safetensors")
    assert again.settings == net.settings and not again.training
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in net.state_dict().items())
    tensors.pop("net.head.bias")
    save_pixel_policy(tmp_path / "short.safetensors", net.settings, tensors)
    with pytest.raises(ValueError, match=r"short.safetensors does not fit this version's pixel policy"):
        load_pixel_policy(tmp_path / "short.safetensors")
