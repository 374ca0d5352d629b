from __future__ import annotations

import numpy as np
import pytest

from pixward.data.synth import CLASSES, Scene, SceneObject, Scenes
from pixward.predict.truth import facts

STARS = (
    SceneObject("star", "red", (2, 2, 12, 12), 1.0, ()),  # top left
    SceneObject("star", "blue", (50, 2, 62, 12), 1.0, ()),  # top right
    SceneObject("B", "pink", (4, 4, 10, 10), 1.0, (0,)),  # on the red star
)
SCENE = Scene(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), STARS, ("sky", "grass"), ())


def test_every_caption_of_a_scene_tells_facts_and_no_false_one():
    scenes = Scenes(seed=5)
    for index in range(60):
        scene = scenes.scene(index)
        for caption in scene.captions:
            told, false = facts(caption, scene, CLASSES)
            assert told > 0 and false == 0, caption


@pytest.mark.parametrize(
    "caption, told, false",
    [
        ("a red star", 1, 0),
        ("there are two stars, one letter b on the grass", 3, 0),
        ("a star", 1, 1),
        ("two red stars", 1, 1),
        ("no heart and a red star", 2, 0),
        ("three things under the sky", 2, 0),
        ("four things on sand", 2, 2),
        ("a red star and two other shapes", 2, 0),
        ("a red star and three other shapes", 2, 1),
        ("a single shape", 1, 1),
        ("a group of three objects , one of them a red star", 2, 0),
        ("a red star in the top left corner", 2, 0),
        ("a red star in the middle", 2, 1),
        ("a blue star on the left", 2, 1),
        ("a red star to the left of a blue star", 3, 0),
        ("a red star right of a blue star", 3, 1),
        ("a pink letter b partly hiding a red star", 3, 0),
        ("a pink letter b behind a red star", 3, 1),
        ("a red star left of a star", 3, 2),
        ("a red star left of", 2, 1),
        ("two red", 2, 2),
        ("a picture of", 0, 0),
        ("on the left", 1, 1),
        ("many stars", 1, 1),
        ("", 0, 0),
    ],
)
def test_facts_by_hand(caption, told, false):
    assert facts(caption, SCENE, CLASSES) == (told, false)


def test_captions_of_other_scenes_are_mostly_false():
    scenes = [Scenes(seed=6).scene(index) for index in range(40)]
    true = [facts(scenes[i - 1].captions[0], scene, CLASSES)[1] == 0 for i, scene in enumerate(scenes)]
    assert sum(true) < 4
