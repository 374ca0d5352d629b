from __future__ import annotations

import pytest
import torch

from pixward.policies.saliency import SaliencyNet, SaliencySettings, load_saliency, save_saliency
from pixward.policies.weights import find_weights


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (96, 128), (130, 40)])
def test_any_size(size):
    torch.manual_seed(0)
    net = SaliencyNet().eval()
    with torch.no_grad():
        found = net(torch.rand(2, 3, *size))
    assert found.shape == (2, *size)
    assert float(found.min()) >= 0 and float(found.max()) <= 1


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        SaliencyNet()(torch.rand(1, 1, 8, 8))


def test_small_enough():
    assert sum(parameter.numel() for parameter in SaliencyNet().parameters()) <= 150_000
    shipped = find_weights("default", "saliency")
    assert shipped is not None and shipped.stat().st_size <= 300_000


def test_round_trip(tmp_path):
    torch.manual_seed(0)
    net = SaliencyNet(SaliencySettings(64, (4, 8, 8)))
    net.train()
    net(torch.rand(4, 3, 32, 48))  # moves what the normalisations remember
    net.eval()
    save_saliency(tmp_path / "net.safetensors", net)
    again = load_saliency(tmp_path / "net.safetensors")
    assert again.settings == net.settings
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert float((again(image) - net(image)).abs().max()) < 5e-3


def test_files_that_do_not_fit(tmp_path):
    save_saliency(tmp_path / "net.safetensors", SaliencyNet(SaliencySettings(64, (4, 8, 8))))
    content = (tmp_path / "net.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(content.replace(b"[4, 8, 8]", b"[4, 8, 9]"))
    with pytest.raises(ValueError, match="does not fit this version"):
        load_saliency(tmp_path / "half.safetensors")
    with pytest.raises(FileNotFoundError):
        load_saliency(tmp_path / "none.safetensors")


def test_the_shipped_network_knows_what_stands_out():
    """A red ball on grass, in any corner and at any size of the picture; and less of it when it is nearly green."""
    net = load_saliency()
    y, x = torch.linspace(0, 1, 96)[:, None], torch.linspace(0, 1.333, 128)[None]
    generator = torch.Generator().manual_seed(0)
    grass = torch.tensor([0.25, 0.5, 0.2]).view(3, 1, 1) + 0.05 * torch.randn(3, 96, 128, generator=generator)
    for cy, cx in ((0.3, 0.3), (0.7, 1.0), (0.5, 0.6)):
        ball = (((y - cy).square() + (x - cx).square()) < 0.15**2).float()
        found = []
        for colour in ((0.85, 0.1, 0.1), (0.33, 0.52, 0.22)):
            image = torch.lerp(grass, torch.tensor(colour).view(3, 1, 1).expand(3, 96, 128), ball).clamp(0, 1)
            values = net(image[None])[0]
            found.append(float(values[ball > 0].mean()))
            if len(found) == 1:
                assert found[0] > 2 * float(values[ball == 0].mean())
        assert found[0] > found[1] + 0.1
