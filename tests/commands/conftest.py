"""Commands run as a user runs them: through ``main``, with real files."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.cli import main
from pixward.editors.chain import PHOTO


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on stderr that a failure owes; nothing else may be there."""
        assert self.out == ""
        assert self.err.startswith("pixward: ")
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err.strip()


Pixward = Callable[..., Done]


@pytest.fixture
def pixward(capfd: pytest.CaptureFixture[str]) -> Pixward:
    """``pixward("match", photo, "--goal", goal)`` -> exit code, stdout, stderr."""

    def run(*arguments: object) -> Done:
        handler = signal.getsignal(signal.SIGINT)
        capfd.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        signal.signal(signal.SIGINT, handler)
        out, err = capfd.readouterr()
        return Done(int(left.value.code or 0), out, err)

    return run


def picture(width: int = 48, height: int = 32, seed: int = 0) -> np.ndarray:
    """A colourful picture with soft shapes, ``(height, width, 3)`` uint8."""
    noise = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)
    return (large[0].permute(1, 2, 0) * 255).byte().contiguous().numpy()


def edited(pixels: np.ndarray, **setting: float) -> np.ndarray:
    """``pixels`` through ``chain:photo``."""
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    out = PHOTO(image, PHOTO.space.from_dict(setting)[None])
    return (out[0].permute(1, 2, 0) * 255).round().byte().contiguous().numpy()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small photo, lossless."""
    path = tmp_path / "photo.png"
    Image.fromarray(picture()).save(path)
    return path


@pytest.fixture
def goal(tmp_path: Path) -> Path:
    """The photo brightened by half a stop and made paler."""
    path = tmp_path / "goal.png"
    Image.fromarray(edited(picture(), exposure=0.5, saturation=-40.0)).save(path)
    return path
