"""What the guide to .cube files shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pixward.cube import bake, read_cube, write_cube
from pixward.editors.chain import PHOTO
from pixward.image import save

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guides" / "luts.md"


def test_its_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ramp = np.linspace(20, 235, 64).astype(np.uint8)
    save(
        "photo.jpg",
        np.stack([np.tile(ramp, (48, 1)), np.tile(ramp[:48, None], 64), np.full((48, 64), 90, np.uint8)], -1),
    )
    wanted = {"exposure": 0.4, "saturation": -30.0}
    write_cube("film.cube", bake(PHOTO, PHOTO.space.from_dict(wanted), 17))
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    scope: dict = {}
    exec(code, scope)
    assert scope["found"].distance["psnr"] > 40
    assert scope["found"].setting["exposure"] == pytest.approx(0.4, abs=0.15)
    assert capsys.readouterr().out.strip()
    assert read_cube("sliders.cube").title == "like film.cube"
