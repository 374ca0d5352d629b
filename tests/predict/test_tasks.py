from __future__ import annotations

import pytest
import torch
from tests.predict.coco import coco_folder

from pixward.data.synth import Scenes, SceneSettings
from pixward.errors import PixwardError
from pixward.predict.folders import read_folder
from pixward.predict.tasks import NAMES, check_names, new_codes, task_named, with_reward
from pixward.rewards.vision import class_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return coco_folder(tmp_path_factory.mktemp("coco") / "mini", boxes=3)


def test_every_name_is_a_task_for_scenes():
    codes = new_codes(Scenes(seed=1), 1, seed=0)
    for name in set(NAMES) - {"caption"}:  # whose words take seconds to count
        assert task_named(name, codes=codes).name == name
    assert task_named("detect").names == SceneSettings().classes
    with pytest.raises(PixwardError, match="need codes"):
        task_named("panoptic")
    with pytest.raises(PixwardError, match="no task guess: there are detect, panoptic, colour, caption"):
        task_named("guess")


def test_tasks_for_a_folder_have_its_classes_and_words(folder):
    detect = task_named("detect", read_folder("detect", folder))
    assert (detect.names, detect.boxes) == (("cat", "dog"), 10)
    maps = read_folder("panoptic", folder)
    seen = []
    codes = new_codes(maps.train, 1, 0, maps, seen.append)
    assert seen == [1]
    assert (codes.settings.classes, codes.settings.things, codes.settings.objects) == (3, 2, 1)
    assert task_named("panoptic", maps, codes).names == ("cat", "dog", "sky")
    words = task_named("caption", read_folder("caption", folder)).kind.known
    # Picture 9 is held out, and so is its number.
    assert set(words) == {"a", "dog", "number", *map(str, range(12))} - {"9"}
    assert task_named("colour", read_folder("colour", folder / "images")).kind.cells == 8


def test_codes_are_the_same_for_a_seed():
    first, second, third = (new_codes(Scenes(seed=1), 0, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


def test_rewards_of_detection(folder):
    task = task_named("detect")
    assert with_reward(task, "recall").confidence == 0
    told = with_reward(task, "map")
    assert told.confidence > 0 and told.settings.class_weights is None
    data = read_folder("detect", folder)
    assert data.counts == (22, 11)
    assert with_reward(task_named("detect", data), "map", data).settings.class_weights == class_weights([22, 11])
    caption = task_named("caption", read_folder("caption", folder))
    assert with_reward(caption, "recall") is caption


def test_classes_must_be_those_that_the_weights_know(folder):
    data = read_folder("detect", folder)
    check_names(task_named("detect", data), data, "w")
    with pytest.raises(PixwardError, match="the data have 2 classes, and w has no class cat: train the phase mle"):
        check_names(task_named("detect"), data, "w")
