"""The examples of docs/pixel.md, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pixward.pixel.export import export_onnx
from pixward.policies.pixel import PixelPolicy, PixelSettings, save_pixel_policy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pixel.md"
KINDS = {
    "gru": PixelSettings(width=8, recurrent=True),
    "foresight": PixelSettings(width=8, design="half", depth=3, foresight=True),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_examples_run(kind, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    net = PixelPolicy(KINDS[kind]).eval()
    save_pixel_policy(tmp_path / "denoise25.safetensors", net.settings, net.state_dict())
    np.save("noisy.npy", np.random.default_rng(0).normal(0.5, 0.3, (30, 41)).astype(np.float32))
    export_onnx(net, tmp_path / "step.onnx")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    known: dict = {}
    exec("\n".join(blocks), known)
    assert known["names"] == list(net.actions.names)
    assert torch.allclose(known["image"], known["clean"], atol=1e-4)
    sky, noisy = known["sky"], known["noisy"]
    assert torch.equal(known["again"].result[..., sky], noisy[..., sky])
    assert torch.equal(known["again"].maps[..., ~sky], known["trace"].maps[..., ~sky])
    forbidden, painted = (net.actions.index(name) for name in ("median", "gaussian 1.5"))
    assert (known["softer"].maps[..., sky] == painted).all() and (known["softer"].maps != forbidden).all()
    assert "darker" in capsys.readouterr().out
