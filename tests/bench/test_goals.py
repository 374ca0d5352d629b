from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.bench.goals import Shot, make_pair, random_goal, shots_of
from pixward.bench.settings import EditBenchSettings, GoalSet, command, parse_goals
from pixward.editors.chain import PAPER, PHOTO
from pixward.errors import PixwardError
from pixward.image import load, quantize

PHOTO_IMAGE = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2


def test_goal_is_the_published_rule() -> None:
    goal, action, redraws = random_goal(PHOTO_IMAGE, PAPER, 0.5, seed=7, index=3)
    unit = np.random.default_rng([7, 3]).uniform(-1, 1, 9)
    assert redraws == 0
    assert torch.allclose(action, torch.tensor(0.5 * unit, dtype=torch.float32))
    again = quantize(PAPER(PHOTO_IMAGE, PAPER.space.denormalize(action[None])))
    assert torch.equal(goal, again)
    assert torch.equal((goal * 255).round() / 255, goal)


def test_goals_depend_on_seed_and_number_alone() -> None:
    _, first, redraws = random_goal(PHOTO_IMAGE, PHOTO, 0.6, seed=7, index=5)
    torch.manual_seed(99)
    np.random.default_rng(5).random(100)
    assert torch.equal(first, random_goal(PHOTO_IMAGE, PHOTO, 0.6, seed=7, index=5)[1])
    _, half, redraws_half = random_goal(PHOTO_IMAGE, PHOTO, 0.3, seed=7, index=5)
    assert redraws == redraws_half == 0, "pick another number: only goals that are kept at once lie in one direction"
    assert torch.allclose(first, 2 * half)
    for seed, index in ((7, 4), (8, 5), (5, 7)):
        assert not torch.allclose(first, random_goal(PHOTO_IMAGE, PHOTO, 0.6, seed=seed, index=index)[1])


def test_dark_goals_are_drawn_again() -> None:
    # Only settings that brighten keep such a photo above a mean of 0.01.
    dark = torch.full((1, 3, 8, 8), 0.008)
    found = [random_goal(dark, PAPER, 1.0, seed=0, index=index) for index in range(8)]
    assert all(0.01 <= float(goal.mean()) <= 0.9 for goal, _, _ in found)
    assert sum(redraws for _, _, redraws in found) > 0
    with pytest.raises(PixwardError, match="photo 2: no setting"):
        random_goal(torch.zeros(1, 3, 4, 4), PAPER, 1.0, seed=0, index=2)


def test_teacher_goals_are_8_bit(photos: Path) -> None:
    shot, goals = Shot("a.png", photos / "a.png"), GoalSet("chain:photo", "teacher")
    pair = make_pair(shot, 0, goals, seed=0, longest=12, teacher=lambda x: x * 0.777)
    assert pair.action is None
    assert pair.source.shape == (1, 3, 12, 8)
    assert torch.equal(pair.goal, quantize(pair.source * 0.777))
    with pytest.raises(PixwardError, match="--teacher"):
        make_pair(shot, 0, goals, seed=0, longest=12, teacher=None)


def test_given_goals_come_with_their_photos(photos: Path, tmp_path: Path, settings: EditBenchSettings) -> None:
    for part, size in (("source", (24, 24)), ("goal", (48, 48))):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        Image.open(photos / "b.png").resize(size).save(tmp_path / "pairs" / part / "one.png")
    given = dataclasses.replace(
        settings, photos=tmp_path / "pairs", pairs="folders", goals=("chain:photo@given", "chain:photo@1")
    )
    (shot,) = shots_of(given)
    assert shot.name == "one"
    pair = make_pair(shot, 0, given.goal_sets[0], seed=0, longest=24, teacher=None)
    assert pair.goal.shape == pair.source.shape == (1, 3, 24, 24)
    assert pair.action is None
    # The goal is the same photo, enlarged: reduced again it is nearly the source, and no random goal is.
    assert float((pair.goal - pair.source).abs().mean()) < 0.02
    assert make_pair(shot, 0, given.goal_sets[1], seed=0, longest=24, teacher=None).action is not None
    Image.new("RGB", (40, 20)).save(tmp_path / "pairs" / "goal" / "one.png")
    with pytest.raises(PixwardError, match="same framing"):
        make_pair(shot, 0, given.goal_sets[0], seed=0, longest=24, teacher=None)
    with pytest.raises(PixwardError, match="--pairs"):
        make_pair(Shot("b", photos / "b.png"), 0, given.goal_sets[0], seed=0, longest=24, teacher=None)


def test_the_goal_of_a_raw_file_is_laid_over_it(tmp_path: Path, settings: EditBenchSettings) -> None:
    pytest.importorskip("rawpy")
    from pixward.editors.dngfile import DngInfo, write_dng

    low = np.random.default_rng(1).integers(800, 12000, (12, 16)).astype(np.float32)
    mosaic = np.asarray(Image.fromarray(low).resize((256, 192), Image.Resampling.BICUBIC)).astype(np.uint16)
    grey = ((0.6, 0.0, 0.0), (0.0, 0.6, 0.0), (0.0, 0.0, 0.6))
    write_dng(tmp_path / "merged.dng", mosaic, DngInfo(((0, 1), (1, 2)), 512.0, 16383.0, (1.0, 1.0, 1.0), grey))
    developed = load(tmp_path / "merged.dng").pixels[4:-8, 6:-2]  # Framed a little differently, and darker.
    Image.fromarray((developed / developed.max() * 255 * 0.7).astype(np.uint8)).save(tmp_path / "final.png")
    shot = Shot("burst", tmp_path / "merged.dng", tmp_path / "final.png")
    pair = make_pair(shot, 0, GoalSet("chain:photo", "given"), seed=0, longest=128, teacher=None)
    assert pair.weight is not None
    assert pair.weight.shape == (1, 1, *pair.source.shape[2:])
    counts = (pair.weight > 0.5).expand_as(pair.goal)
    assert float(counts.float().mean()) > 0.5
    ratio = float(pair.goal[counts].mean() / pair.source[counts].mean())
    assert float((pair.goal - ratio * pair.source)[counts].abs().mean()) < 0.02


@pytest.mark.parametrize("text", ["chain:paper", "chain:paper@0", "chain:paper@2", "chain:paper@nan", "@1", "@teacher"])
def test_goal_sets_that_mean_nothing(text: str) -> None:
    with pytest.raises(PixwardError, match="EDITOR@RADIUS"):
        parse_goals(text)


def test_goal_set_names() -> None:
    assert parse_goals("chain:paper@0.50") == GoalSet("chain:paper", 0.5)
    assert parse_goals("chain:photo@1:50") == GoalSet("chain:photo", 1.0, 50)
    assert parse_goals("chain:photo@teacher:7").photos == 7
    assert parse_goals("chain:photo@given").name == "chain:photo@given"
    assert parse_goals("chain:photo@given").radius is None
    assert parse_goals("chain:photo@teacher").slug == "chain-photo_teacher"
    assert parse_goals("chain:paper@1").slug == "chain-paper_r1"


def test_settings_are_checked(settings: EditBenchSettings) -> None:
    with pytest.raises(PixwardError, match="--teacher FOLDER"):
        dataclasses.replace(settings, goals=("chain:photo@teacher",))
    with pytest.raises(PixwardError, match="--pairs"):
        dataclasses.replace(settings, goals=("chain:photo@given",))
    with pytest.raises(PixwardError, match="jobs must be at least 1"):
        dataclasses.replace(settings, jobs=0)
    assert settings.checkpoints == [0, 1, 5, 10]


def test_command_names_what_differs_from_the_defaults(settings: EditBenchSettings) -> None:
    words = command(settings)
    assert words.startswith("pixward bench edit ")
    assert "--goals chain:paper@0.5 --goals chain:photo@1" in words
    assert "--renders 12 --seed 5 --jobs 1 --preview 24" in words
    assert "--limit" not in words
    # Folders far away are named by their last part: a page goes into the repository.
    assert str(settings.photos.parent) not in words
