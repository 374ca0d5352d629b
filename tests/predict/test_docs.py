"""The example of docs/predict.md, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from PIL import Image

from pixward.data.canvas import CLASSES
from pixward.predict.detect import DetectTask
from pixward.predict.task import new_policy
from pixward.predict.weights import save_policy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "predict.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    task = DetectTask(CLASSES, boxes=3, steps=8)
    torch.manual_seed(0)
    policy = new_policy(task, width=16)
    torch.nn.init.normal_(policy.head.weight)
    save_policy(tmp_path / "detect.safetensors", policy, task)
    Image.new("RGB", (70, 50), (90, 160, 40)).save("photo.png")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    known: dict = {}
    exec(code, known)
    assert all(box["box"][2] <= 70 for box in known["shown"].said["boxes"])
    assert "ap_confidence" in known["figures"]
    assert -3 <= known["line"]["reward"] <= 0
    assert "label" in capsys.readouterr().out
