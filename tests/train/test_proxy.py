from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pixward.data.pairs import draw_tiles, random_actions
from pixward.editors.chain import PAPER, PHOTO
from pixward.errors import PixwardError
from pixward.params import ParamSpace, ParamSpec
from pixward.policies.proxy import Cascaded, CascadedSettings, Filter, Monolithic, MonolithicSettings
from pixward.run import Run, read_log, seed_everything
from pixward.train.proxy import ProxyTraining, acts_on_areas, cascade_lesson, train_proxy, whole_lesson

SMALL = ProxyTraining(steps=20, batch=4, side=8, checkpoint_every=5)
TWO = ParamSpace([ParamSpec(name, -1, 1, 0, "", "Moves tones.") for name in "ab"])
STAGES = (Filter("a", (0,)), Filter("b", (1,)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Toy:
    """``a`` lightens, then ``b`` darkens by a factor: simple, and the order matters."""

    name: str = "toy"
    space: ParamSpace = TWO
    differentiable: bool = False

    def __call__(self, images, params):
        a, b = (value[:, None, None, None] for value in params.unbind(1))
        lighter = (images + 0.3 * a).clamp(0, 1)
        return (lighter * (1 - 0.4 * b)).clamp(0, 1)


def train(folder, kind="monolithic", settings=SMALL, editor=PAPER, resume=False, stop=None):
    """Train from seed 0; ``stop`` ends it after so many log lines, as Ctrl-C would."""
    seed_everything(0)
    bank = torch.randint(256, (6, 3, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sliders = len(editor.space)

    def draw(count):
        return draw_tiles(bank, count), random_actions(count, sliders)

    if kind == "monolithic":
        proxy = Monolithic(MonolithicSettings(sliders, width=4))
        lesson = whole_lesson(proxy, editor, draw, settings)
    else:
        stages = STAGES if sliders == 2 else (Filter("tones", tuple(range(8))), Filter("texture", (8,), areawise=True))
        proxy = Cascaded(CascadedSettings(sliders, stages, pointwise_width=12, areawise_width=4))
        lesson = cascade_lesson(proxy, editor, draw, settings)
    with Run(folder, resume=resume, tensorboard=False) as run:
        for count, _ in enumerate(train_proxy(proxy, lesson, settings, run), 1):
            if count == stop:
                break
    return read_log(Path(folder) / "log.jsonl"), proxy


def weights(proxy):
    return nn.utils.parameters_to_vector(proxy.parameters()).detach()


# Made by this file on a CPU with torch 2.13: root mean square errors over five updates each.
GOLDEN = {
    "monolithic": [("render", 0.171763), ("render", 0.252620), ("render", 0.208633), ("render", 0.216646)],
    "cascaded": [("filter", 0.121439), ("filter", 0.165051), ("render", 0.206746), ("render", 0.187857)],
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden_trace(tmp_path, kind):
    rows, _ = train(tmp_path, kind, replace(SMALL, apart=0.5 if kind == "cascaded" else 0.0))
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    assert [set(row) - {"step"} for row in rows] == [{name} for name, _ in GOLDEN[kind]]
    trace = [row[name] for row, (name, _) in zip(rows, GOLDEN[kind], strict=True)]
    np.testing.assert_allclose(trace, [value for _, value in GOLDEN[kind]], rtol=1e-3)


@pytest.mark.parametrize("kind", GOLDEN)
def test_resumed_equals_straight(tmp_path, kind):
    settings = replace(SMALL, apart=0.7 if kind == "cascaded" else 0.0)
    straight = train(tmp_path / "straight", kind, settings)
    train(tmp_path / "halves", kind, settings, stop=2)
    resumed = train(tmp_path / "halves", kind, settings, resume=True)
    assert resumed[0] == straight[0]
    assert torch.equal(weights(resumed[1]), weights(straight[1]))


def test_another_trainers_or_networks_checkpoint_is_refused(tmp_path):
    train(tmp_path / "own", settings=replace(SMALL, steps=1))
    with pytest.raises(PixwardError, match="the proxy in .*own has another shape"):
        train(tmp_path / "own", "cascaded", resume=True)
    with Run(tmp_path / "other", tensorboard=False) as run:
        run.save({"step": 3, "response": {}})
    with pytest.raises(PixwardError, match="other holds a run of another algorithm: choose another folder"):
        train(tmp_path / "other", resume=True)


@pytest.mark.parametrize("kind", GOLDEN)
def test_learns_a_known_editor(tmp_path, kind):
    settings = ProxyTraining(
        steps=400 if kind == "cascaded" else 200,
        apart=0.5 if kind == "cascaded" else 0.0,
        batch=8,
        side=12,
        learning_rate=8e-3,
        checkpoint_every=50,
    )
    rows, proxy = train(tmp_path, kind, settings, Toy())
    generator = torch.Generator().manual_seed(9)
    photos, actions = torch.rand(8, 3, 12, 12, generator=generator), random_actions(8, 2, generator)
    truth = Toy()(photos, actions)
    with torch.no_grad():
        error = float((proxy(photos, actions) - truth).pow(2).mean().sqrt())
    assert error < 0.4 * float((photos - truth).pow(2).mean().sqrt())
    assert rows[-1]["render"] < 0.7 * rows[0].get("render", 1.0)


class Watched:
    """A cascade that hands pictures through and notes what it is asked."""

    settings = CascadedSettings(2, STAGES)

    def __init__(self):
        self.asked = []

    def __call__(self, images, params):
        self.asked.append(("all", images, params))
        return images

    def stage(self, number, images, params):
        self.asked.append((number, images, params))
        return images


def test_filters_are_learnt_from_pictures_as_the_ones_before_leave_them():
    photos = torch.rand(3, 3, 6, 7, generator=torch.Generator().manual_seed(1))
    actions = torch.tensor([[0.5, -0.5], [-1.0, 1.0], [0.2, 0.9]])
    settings = ProxyTraining(steps=40, apart=0.5, batch=3, side=16)
    seed_everything(0)
    proxy = Watched()
    lesson = cascade_lesson(proxy, Toy(), lambda count: (photos, actions), settings)
    lessons = [lesson(step) for step in range(24)]

    def rendered(images, a=0.0, b=0.0):
        params = torch.stack([torch.zeros(3) + a, torch.zeros(3) + b], 1)
        return (Toy()(images, params) * 255).round() / 255

    seen = set()
    for step, ((name, error), (number, images, params)) in enumerate(zip(lessons, proxy.asked, strict=True)):
        assert torch.equal(params, actions)
        assert name == ("filter" if step < 20 else "render")
        seen.add(number)
        if number == "all":
            before, after = photos, rendered(photos, actions[:, 0], actions[:, 1])
        elif number == 0:
            before, after = photos, rendered(photos, actions[:, 0])
        else:
            before = rendered(photos, actions[:, 0])
            after = rendered(before, 0.0, actions[:, 1])
        torch.testing.assert_close(images, before)
        torch.testing.assert_close(error, ((before - after) ** 2).mean())
    assert seen == {0, 1, "all"}
    assert [number for number, *_ in proxy.asked[20:]] == ["all"] * 4


def test_pictures_are_cropped_after_rendering():
    """The same square of both, or the editor's own treatment of borders would be learnt as the picture's."""
    ramp = torch.arange(100.0).reshape(1, 1, 10, 10).expand(2, 3, -1, -1) / 255
    sizes, offsets = set(), set()

    def proxy(images, params):
        sizes.add(tuple(images.shape[-2:]))
        offsets.add(float(images[0, 0, 0, 0]))
        return images

    settings = ProxyTraining(batch=2, side=6)
    lesson = whole_lesson(proxy, Toy(), lambda count: (ramp, torch.zeros(2, 2)), settings)
    # The editor is the identity here, so anything but the same square has an error.
    assert all(float(lesson(0)[1]) < 1e-12 for _ in range(20))
    assert sizes == {(6, 6)}
    assert len(offsets) > 5


def test_what_acts_on_areas_is_found_out():
    assert acts_on_areas(PAPER) == [False] * 8 + [True]
    assert acts_on_areas(PHOTO) == [False] * 10 + [True] * 2
    assert acts_on_areas(Toy()) == [False, False]
