"""What the guide to looks shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

from pixward.editors.chain import PHOTO

ROOT = Path(__file__).resolve().parents[1]


def test_its_code_runs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "guides" / "looks.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    scope: dict = {}
    exec(code, scope)
    result = scope["result"]
    assert set(result.setting) == set(PHOTO.space.names)
    # The policy's word, not the nearest trial: both are known, and the policy moved something.
    assert result.best == result.renders - 1 and any(abs(value) > 0.01 for value in result.setting.values())
    assert "->" in capsys.readouterr().out
