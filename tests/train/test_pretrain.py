from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pixward.data.pairs import draw_tiles, random_actions
from pixward.editors.chain import PAPER
from pixward.envs.edit import EditEnv
from pixward.errors import PixwardError
from pixward.image import quantize
from pixward.params import ParamSpace, ParamSpec
from pixward.policies.goal import GoalPolicy, GoalSettings
from pixward.run import Run, read_log, seed_everything
from pixward.train.pretrain import PretrainSettings, pretrain, schedule

SMALL = PretrainSettings(steps=20, batch=4, checkpoint_every=5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TWO = ParamSpace([ParamSpec(name, -1, 1, 0, "", "Adds.") for name in ("light", "warmth")])


@dataclass(frozen=True)
class Toy:
    """Two sliders: one adds to all channels, one moves red against blue."""

    differentiable: bool = True
    name: str = "toy"
    space: ParamSpace = TWO

    def __call__(self, images, params):
        light, warmth = 0.3 * params.unbind(1)[0], 0.2 * params.unbind(1)[1]
        return (images + torch.stack([light + warmth, light, light - warmth], 1)[..., None, None]).clamp(0, 1)


def bank(count=6, side=12):
    return torch.randint(256, (count, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def make_tasks(editor, known=None):
    tiles = bank()

    def tasks(count):
        source, action = draw_tiles(tiles, count), random_actions(count, len(editor.space))
        with torch.no_grad():
            goal = quantize(editor(source, editor.space.denormalize(action)))
        exact = (torch.rand(count) < 0.8).float() if known is None else torch.full((count,), known)
        return {"source": source, "goal": goal, "action": action, "known": exact}

    return tasks


def small_policy(editor, features=("local", "statistics", "history")):
    return GoalPolicy(GoalSettings(len(editor.space), horizon=4, features=features, width=16, points=5))


def train(folder, settings=SMALL, editor=PAPER, resume=False, stop=None, **how):
    """Train from seed 0; ``stop`` ends it after so many log lines, as Ctrl-C would."""
    seed_everything(0)
    policy = small_policy(editor)
    with Run(folder, resume=resume, tensorboard=False) as run:
        tasks = make_tasks(editor, **how)
        for count, _ in enumerate(pretrain(EditEnv(editor, 4), editor, policy, tasks, settings, run), 1):
            if count == stop:
                break
    return read_log(Path(folder) / "log.jsonl"), nn.utils.parameters_to_vector(policy.parameters()).detach()


# Made by this file on a CPU with torch 2.13: parameter loss and PSNR, means of five updates each.
GOLDEN = [(0.124469, 15.916566), (0.192899, 21.333091), (0.208907, 13.14267), (0.168609, 16.373383)]


def test_golden_trace(tmp_path):
    rows, _ = train(tmp_path)
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    np.testing.assert_allclose([(row["parameter"], row["psnr"]) for row in rows], GOLDEN, rtol=1e-3)


def test_resumed_equals_straight(tmp_path):
    straight = train(tmp_path / "straight")
    train(tmp_path / "halves", stop=2)
    resumed = train(tmp_path / "halves", resume=True)
    assert resumed[0] == straight[0]
    assert torch.equal(resumed[1], straight[1])


def test_a_stop_between_checkpoints_repeats_the_lost_steps(tmp_path):
    straight = train(tmp_path / "straight")
    calls = []

    class Stopping(EditEnv):
        def step(self, state, action):
            calls.append(0)
            if len(calls) == 8:
                raise KeyboardInterrupt
            return super().step(state, action)

    seed_everything(0)
    policy = small_policy(PAPER)
    with Run(tmp_path / "killed", tensorboard=False) as run, pytest.raises(KeyboardInterrupt):
        list(pretrain(Stopping(PAPER, 4), PAPER, policy, make_tasks(PAPER), SMALL, run))
    resumed = train(tmp_path / "killed", resume=True)
    assert resumed[0] == straight[0]
    assert torch.equal(resumed[1], straight[1])


def test_a_finished_run_may_go_on_and_its_log_stays_a_mean(tmp_path):
    for every, name in ((1, "each"), (15, "rare")):
        settings = replace(SMALL, checkpoint_every=every)
        train(tmp_path / name, replace(settings, steps=10))
        train(tmp_path / name, settings, resume=True)
    each = [row["parameter"] for row in read_log(tmp_path / "each" / "log.jsonl")]
    rare = read_log(tmp_path / "rare" / "log.jsonl")
    assert [row["step"] for row in rare] == [10, 15, 20]
    parts = (each[:10], each[10:15], each[15:])
    assert [row["parameter"] for row in rare] == pytest.approx([sum(part) / len(part) for part in parts], rel=1e-6)


def test_another_trainers_or_networks_checkpoint_is_refused(tmp_path):
    train(tmp_path / "own", replace(SMALL, steps=1))
    with pytest.raises(PixwardError, match="the policy in .*own has another shape"):
        train(tmp_path / "own", editor=Toy(), resume=True)
    with Run(tmp_path / "other", tensorboard=False) as run:
        run.save({"step": 3, "learner": {}})
    with pytest.raises(PixwardError, match="other holds a run of another algorithm: choose another folder"):
        train(tmp_path / "other", resume=True)


@pytest.mark.parametrize("differentiable", [True, False])
def test_learns_a_toy_editor(tmp_path, differentiable):
    settings = PretrainSettings(steps=150, batch=16, learning_rate=4e-3, checkpoint_every=15)
    rows, _ = train(tmp_path, settings, Toy(differentiable), known=1.0)
    assert rows[-1]["parameter"] < 0.5 * rows[0]["parameter"]
    assert ("psnr" in rows[0]) == differentiable
    if differentiable:
        assert rows[-1]["psnr"] > rows[0]["psnr"] + 3


def test_answers_that_are_not_known_teach_by_the_picture_alone(tmp_path):
    rows, black = train(tmp_path / "black", editor=Toy(False), known=0.0)
    assert [row["parameter"] for row in rows] == [0, 0, 0, 0]
    seed_everything(0)
    start = nn.utils.parameters_to_vector(small_policy(Toy()).parameters()).detach()
    # Weight decay alone: every weight shrinks by the same tiny share.
    torch.testing.assert_close(black, start, rtol=1e-5, atol=0)
    rows, white = train(tmp_path / "white", editor=Toy(True), known=0.0)
    assert [row["parameter"] for row in rows] == [0, 0, 0, 0]
    assert float((white - start).abs().max()) > 1e-4


def test_losses_by_hand(tmp_path):
    editor = Toy()

    class Fixed(nn.Module):
        """Decides 0.5 and 0.02, whatever it sees."""

        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.tensor([0.5, 0.02]))

        def correction(self, state):
            return self.value.expand(len(state["source"]), -1)

    def tasks(count):
        source = torch.full((count, 3, 2, 2), 0.4)
        return {"source": source, "goal": source, "action": torch.zeros(count, 2), "known": torch.ones(count)}

    settings = PretrainSettings(steps=1, batch=3)
    with Run(tmp_path, tensorboard=False) as run:
        (line,) = pretrain(EditEnv(editor, 4), editor, Fixed(), tasks, settings, run)
    # Huber with delta 0.1: 0.1 (0.5 - 0.05) and 0.02^2 / 2, their mean times 10.
    assert line["parameter"] == pytest.approx(10 * (0.045 + 0.0002) / 2, rel=1e-5)
    mse = (0.154**2 + 0.15**2 + 0.146**2) / 3  # Light 0.15, warmth 0.004; the goal is exact to 8 bit.
    assert line["psnr"] == pytest.approx(-10 * math.log10(mse), abs=1e-3)


def test_beyond_the_rim_the_picture_still_pulls(tmp_path):
    class Far(nn.Module):
        """Decides 1.4 and 0."""

        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.tensor([1.4, 0.0]))

        def correction(self, state):
            return self.value.expand(len(state["source"]), -1)

    def tasks(count):
        source = torch.full((count, 3, 2, 2), 0.4)
        return {"source": source, "goal": source, "action": torch.zeros(count, 2), "known": torch.zeros(count)}

    policy, settings = Far(), PretrainSettings(steps=20, batch=3, learning_rate=0.1)
    with Run(tmp_path, tensorboard=False) as run:
        list(pretrain(EditEnv(Toy(), 4), Toy(), policy, tasks, settings, run))
    assert float(policy.value[0].detach()) < 1.38


@pytest.mark.parametrize("restart, drawn", [(0.0, [4, 4, 4]), (1.0, [4] * 10)])
def test_episodes_end_at_the_horizon_or_by_chance(tmp_path, restart, drawn):
    inner, counts = make_tasks(PAPER), []

    def tasks(count):
        counts.append(count)
        return inner(count)

    settings = replace(SMALL, steps=9, restart=restart)
    with Run(tmp_path, tensorboard=False) as run:
        list(pretrain(EditEnv(PAPER, 4), PAPER, small_policy(PAPER), tasks, settings, run))
    assert counts == drawn


def test_schedule():
    assert schedule(0, 1000) == pytest.approx(1 / 200, rel=1e-4)
    assert schedule(99, 10**9) == pytest.approx(0.5, rel=1e-4)
    assert schedule(500, 1000) == pytest.approx(0.51)
    assert schedule(750, 1000) == pytest.approx(0.02 + 0.49 * (1 - math.sqrt(0.5)), rel=1e-5)
    assert schedule(1000, 1000) == pytest.approx(0.02)
