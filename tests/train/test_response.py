from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pixward.data.pairs import draw_tiles, random_actions
from pixward.editors.chain import PAPER
from pixward.errors import PixwardError
from pixward.params import ParamSpace, ParamSpec
from pixward.policies.response import Response, ResponseSettings, pixel_features
from pixward.run import Run, read_log, seed_everything
from pixward.train.response import ResponseTraining, _excuse, live_pairs, train_response

SMALL = ResponseTraining(steps=20, batch=4, pixels=32, checkpoint_every=5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TWO = ParamSpace([ParamSpec(name, -1, 1, 0, "", "Moves tones.") for name in "ab"])


@dataclass(frozen=True)
class Toy:
    """``0.25 + pixel / 2 + 0.2 a + 0.2 b pixel``: the slopes are 0.2 and 0.2 x pixel, nothing is clipped."""

    name: str = "toy"
    space: ParamSpace = TWO
    differentiable: bool = False

    def __call__(self, images, params):
        a, b = (0.2 * value[:, None, None, None] for value in params.unbind(1))
        return (0.25 + images / 2 + a + b * images).clamp(0, 1)


def train(folder, settings=SMALL, editor=PAPER, resume=False, stop=None, width=12):
    """Train from seed 0; ``stop`` ends it after so many log lines, as Ctrl-C would."""
    seed_everything(0)
    bank = torch.randint(256, (6, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sliders = len(editor.space)
    response = Response(ResponseSettings(sliders, width=width, layers=2))

    def draw(count):
        return draw_tiles(bank, count), random_actions(count, sliders)

    with Run(folder, resume=resume, tensorboard=False) as run:
        for count, _ in enumerate(
            train_response(response, live_pairs(editor, pixel_features, draw, settings), settings, run), 1
        ):
            if count == stop:
                break
    return read_log(Path(folder) / "log.jsonl"), response


def weights(response):
    return nn.utils.parameters_to_vector(response.parameters()).detach()


# Made by this file on a CPU with torch 2.13: errors of values and slopes, and the slopes' size, over five updates each.
GOLDEN = [
    (0.228051, 0.694734, 0.669982),
    (0.212808, 0.622654, 0.613447),
    (0.283847, 0.796657, 0.779084),
    (0.210313, 0.912083, 0.884403),
]


def test_golden_trace(tmp_path):
    rows, _ = train(tmp_path)
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    trace = [(row["value"], row["slope"], row["true_slope"]) for row in rows]
    np.testing.assert_allclose(trace, GOLDEN, rtol=1e-3)


def test_resumed_equals_straight(tmp_path):
    straight = train(tmp_path / "straight")
    train(tmp_path / "halves", stop=2)
    resumed = train(tmp_path / "halves", resume=True)
    assert resumed[0] == straight[0]
    assert torch.equal(weights(resumed[1]), weights(straight[1]))


def test_a_finished_run_may_go_on_and_its_log_stays_a_mean(tmp_path):
    for every, name in ((1, "each"), (15, "rare")):
        settings = replace(SMALL, checkpoint_every=every)
        train(tmp_path / name, replace(settings, steps=10))
        train(tmp_path / name, settings, resume=True)
    each = [row["value"] ** 2 for row in read_log(tmp_path / "each" / "log.jsonl")]
    rare = read_log(tmp_path / "rare" / "log.jsonl")
    assert [row["step"] for row in rare] == [10, 15, 20]
    parts = (each[:10], each[10:15], each[15:])
    expected = [(sum(part) / len(part)) ** 0.5 for part in parts]
    assert [row["value"] for row in rare] == pytest.approx(expected, rel=1e-6)


def test_another_trainers_or_networks_checkpoint_is_refused(tmp_path):
    train(tmp_path / "own", replace(SMALL, steps=1))
    with pytest.raises(PixwardError, match="the response in .*own has another shape"):
        train(tmp_path / "own", editor=Toy(), resume=True)
    with Run(tmp_path / "other", tensorboard=False) as run:
        run.save({"step": 3, "policy": {}})
    with pytest.raises(PixwardError, match="other holds a run of another algorithm: choose another folder"):
        train(tmp_path / "other", resume=True)


def test_learns_a_known_editors_values_and_slopes(tmp_path):
    settings = ResponseTraining(steps=300, batch=16, pixels=64, learning_rate=5e-3, checkpoint_every=100)
    rows, response = train(tmp_path, settings, Toy(), width=24)
    assert rows[-1]["value"] < 0.3 * rows[0]["value"]
    assert rows[-1]["slope"] < 0.5 * rows[-1]["true_slope"]
    photo = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(9))
    pixels, params = pixel_features(photo).flatten(2)[0].T, torch.tensor([0.3, -0.4])
    values, slopes = response.jacobian(pixels, params)
    true = Toy()(photo, params[None]).flatten(2)[0].T.flatten()
    assert float((values - true).pow(2).mean().sqrt()) < 0.03
    tone = pixels[:, :3].flatten()
    true_slopes = torch.stack([torch.full_like(tone, 0.2), 0.2 * tone], 1)
    assert float((slopes - true_slopes).pow(2).mean().sqrt()) < 0.05
    assert float(slopes[:, 0].mean()) == pytest.approx(0.2, abs=0.03)
    assert float(np.polyfit(tone, slopes[:, 1], 1)[0]) == pytest.approx(0.2, abs=0.08)


def test_pairs_are_rendered_at_nearby_settings_in_8_bit(tmp_path):
    seen = []

    class Watching(nn.Module):
        """Predicts the source; notes what it is asked."""

        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, pixels, params):
            seen.append((pixels, params))
            return pixels[..., :3] + self.unused

    photos, actions = torch.rand(5, 3, 6, 7), torch.full((5, 2), 0.99)
    settings = ResponseTraining(steps=1, batch=5, pixels=16, nudge=0.05)
    with Run(tmp_path, tensorboard=False) as run:
        pairs = live_pairs(Toy(), pixel_features, lambda n: (photos[:n], actions[:n]), settings)
        (line,) = train_response(Watching(), pairs, settings, run)
    (pixels, first), (again, second) = seen
    assert pixels.shape == (5, 16, 7)
    assert torch.equal(pixels, again)
    assert torch.equal(first, actions)
    assert 0 < float((second - first).abs().max()) < 0.3
    assert float(second.max()) <= 1
    rows = pixel_features(photos).flatten(2).transpose(1, 2)
    assert all(bool((rows[i] == pixel).all(1).any()) for i in range(5) for pixel in pixels[i])

    def rendered(setting):
        a, b = 0.2 * setting[:, None, :1], 0.2 * setting[:, None, 1:]
        tones = pixels[..., :3]
        return ((0.25 + tones / 2 + a + b * tones).clamp(0, 1) * 255).round() / 255

    renders = [rendered(first), rendered(second)]
    value = ((renders[0] - pixels[..., :3]) ** 2).mean() ** 0.5
    assert line["value"] == pytest.approx(float(value), rel=1e-4)
    true_slope = ((renders[1] - renders[0]) ** 2).mean() ** 0.5 / 0.05
    assert line["true_slope"] == pytest.approx(float(true_slope), rel=1e-3)
    assert line["slope"] == pytest.approx(line["true_slope"], rel=1e-6)


def test_a_guess_beyond_the_rim_is_excused_only_where_the_render_is_clipped():
    guess = torch.tensor([-0.2, -0.2, 1.3, 1.3, 0.4, 0.4, 1.3])
    truth = torch.tensor([0.0, 0.1, 1.0, 0.9, 0.0, 1.0, 0.0])
    assert _excuse(guess, truth).tolist() == pytest.approx([0.0, -0.2, 1.0, 1.3, 0.4, 0.4, 1.3])
