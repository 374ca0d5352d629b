from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pixward.data.pairs import random_actions
from pixward.data.renders import PixelPairs
from pixward.editors.chain import PHOTO, PHOTO_SPACE
from pixward.errors import PixwardError
from pixward.image import quantize
from pixward.policies.mapped import MappedResponse, MapSettings, SliderMap
from pixward.policies.response import pixel_features
from pixward.run import Run, seed_everything
from pixward.train.calibrate import CalibrationSettings, calibrate

# A made-up editor: three of the chain's sliders under other names, one of them the other way round.
TRUTH = torch.zeros(12, 3)
TRUTH[0, 0], TRUTH[1, 1], TRUTH[9, 2] = 0.6, -0.8, 0.5


def pairs(count: int = 8, pixels: int = 48) -> PixelPairs:
    photos = torch.nn.functional.interpolate(torch.rand(count, 3, 4, 4), size=(16, 16), mode="bilinear")
    first = random_actions(count, 3)
    second = (first + 0.1 * torch.randn_like(first)).clamp(-1, 1)
    where = torch.randint(256, (count, pixels, 1))

    def pick(image: torch.Tensor) -> torch.Tensor:
        flat = image.flatten(2).transpose(1, 2)
        return flat.gather(1, where.expand(-1, -1, flat.shape[2]))

    renders = [quantize(PHOTO(photos, PHOTO_SPACE.denormalize(row @ TRUTH.T))) for row in (first, second)]
    return PixelPairs(pick(pixel_features(photos)), first, second, pick(renders[0]), pick(renders[1]))


def fit(folder: Path, steps: int, *, resume: bool = False, stop: int | None = None, every: int = 5):
    seed_everything(0)
    mapped = MappedResponse(SliderMap(MapSettings(3, (0.0, 0.0, 0.0), width=4)))
    settings = CalibrationSettings(steps=steps, checkpoint_every=every, learning_rate=1e-2)
    lines = []
    with Run(folder, resume=resume, tensorboard=False) as run:
        for line in calibrate(mapped, mapped.map, pairs, settings, run):
            lines.append(line)
            if len(lines) == stop:
                break
    return lines, mapped


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Made by this file on a CPU with torch 2.13: errors of values and of slopes over five updates each.
GOLDEN = [(0.120022, 0.295494), (0.10123, 0.331226), (0.103148, 0.305686), (0.110079, 0.336138)]


def test_finds_which_slider_is_which(tmp_path):
    lines, mapped = fit(tmp_path, 500, every=100)
    assert lines[-1]["value"] < 0.25 * lines[0]["value"]
    with torch.no_grad():
        moved = torch.stack([mapped.map(row[None])[0] for row in 0.5 * torch.eye(3)], 1) / 0.5
    assert torch.allclose(moved[[0, 1, 9]], TRUTH[[0, 1, 9]], atol=0.15)


def test_golden_trace_and_resume(tmp_path):
    lines, straight = fit(tmp_path / "straight", 20)
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    trace = [(line["value"], line["slope"]) for line in lines]
    np.testing.assert_allclose(trace, GOLDEN, rtol=2e-3)
    fit(tmp_path / "halves", 20, stop=2)
    _, resumed = fit(tmp_path / "halves", 20, resume=True)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_another_trainers_checkpoint_is_refused(tmp_path):
    with Run(tmp_path, tensorboard=False) as run:
        run.save({"step": 3, "policy": {}})
    with pytest.raises(PixwardError, match="another algorithm"):
        fit(tmp_path, 20, resume=True)
