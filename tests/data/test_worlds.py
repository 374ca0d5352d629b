from __future__ import annotations

import colorsys
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixward.data.sprites import COLOURS
from pixward.data.worlds import (
    GROUNDS,
    SPLITS,
    SUBJECTS,
    Prompt,
    World,
    WorldSettings,
    hue_matrix,
    read_prompts,
    shapes_world,
)
from pixward.errors import PixwardError

SMALL = WorldSettings(size=32)


def pairs(world):
    return {(prompt.colour, prompt.subject) for prompt in world.prompts}


def test_a_batch_is_pictures_and_their_prompts():
    world = shapes_world(SMALL)
    images, prompts = world.batch([5, 0, 7])
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.float32 and images.is_contiguous()
    assert float(images.min()) >= 0 and float(images.max()) <= 1
    eight = images * 255
    torch.testing.assert_close(eight, eight.round())
    for image, prompt, index in zip(images, prompts, (5, 0, 7), strict=True):
        pixels, text = world.picture(index)
        assert text == prompt and pixels.dtype == np.uint8 and pixels.shape == (32, 32, 3)
        assert np.array_equal(pixels, (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
    assert set(prompts) <= set(world.texts)


def test_a_picture_is_the_same_whatever_was_drawn_before():
    world, again = shapes_world(SMALL, seed=3), shapes_world(SMALL, seed=3)
    for _ in range(3):
        world.picture(1)
    for index in (9, 2, 9):
        assert np.array_equal(world.picture(index)[0], again.picture(index)[0])


def test_seeds_and_splits_differ():
    made = [shapes_world(SMALL, seed=seed, split=split).picture(4)[0].tobytes() for seed in (0, 1) for split in SPLITS]
    assert len(set(made)) == 6


def test_pairs_are_held_out_and_every_colour_and_subject_is_learnt():
    everything, train, held = (shapes_world(split=split) for split in ("all", "train", "held-out"))
    assert len(everything.prompts) == len(COLOURS) * len(SUBJECTS) * (1 + len(GROUNDS)) == 714
    assert not pairs(train) & pairs(held) and not set(train.texts) & set(held.texts)
    assert set(train.texts) | set(held.texts) == set(everything.texts)
    assert len(pairs(held)) / len(pairs(everything)) == pytest.approx(1 / 5, abs=0.02)
    for world in (train, held):
        assert {colour for colour, _ in pairs(world)} == set(COLOURS)
        assert {subject for _, subject in pairs(world)} == set(SUBJECTS)
        assert {prompt.ground for prompt in world.prompts} == {None, *GROUNDS}
        assert world.groups == everything.groups


@given(st.integers(5, len(SUBJECTS)), st.integers(0, len(SUBJECTS)))
def test_any_choice_of_subjects_can_be_held_out(count, first):
    subjects = (SUBJECTS[first:] + SUBJECTS[:first])[:count]
    train, held = (pairs(shapes_world(subjects=subjects, split=split)) for split in ("train", "held-out"))
    for chosen in (train, held):
        assert {subject for _, subject in chosen} == set(subjects) and {colour for colour, _ in chosen} == set(COLOURS)


def test_prompts_read_as_sentences():
    texts = shapes_world(split="all").texts
    assert len(set(texts)) == len(texts)
    assert {"a red star on grass", "an orange letter b", "a blue digit 8 on tiles"} <= set(texts)
    assert all(re.fullmatch(r"(a [^aeiou]|an [aeiou])\w* .+", text) for text in texts)


def test_prompts_are_read_back_as_what_they_were_made_of():
    world = shapes_world(split="all")
    spoken, colours, grounds = world.groups
    for prompt, (subject, colour, ground) in zip(world.prompts, read_prompts(world.texts, world.groups), strict=True):
        assert spoken[subject].split()[-1] == prompt.subject.lower()
        assert colours[colour] == prompt.colour
        assert (grounds[ground] if ground >= 0 else None) == prompt.ground


def test_reading_by_hand():
    groups = (("cat", "cat face", "fish cake", "Fish"), ("red",), ())
    texts = ["a red Cat Face", "a fish cake with red swirls", "cats, reddish", "RED FISH", "a cat and a fish", ""]
    assert read_prompts(texts, groups).tolist() == [
        [1, 0, -1],
        [2, 0, -1],
        [-1, -1, -1],
        [3, 0, -1],
        [3, -1, -1],
        [-1, -1, -1],
    ]
    assert read_prompts([], groups).shape == (0, 3)


def found(world, prompt, seed, threshold=0.25):
    """Pixels of a picture near the colour of its object, ``(H, W)`` bool."""
    image = world.draw(prompt, np.random.default_rng(seed)).astype(np.float32) / 255
    return np.linalg.norm(image - np.asarray(COLOURS[prompt.colour], np.float32), axis=-1) < threshold


def test_objects_have_their_colour_size_and_place():
    world = shapes_world(WorldSettings(size=64, scale=(0.25, 0.5), hue=0), split="all")
    prompt = Prompt("a blue square", "square", "blue", None)
    spots, sides = [], []
    for seed in range(60):
        mask = found(world, prompt, seed)
        rows, columns = np.nonzero(mask)
        assert len(rows) >= 0.2 * 16**2
        spots.append((rows.mean(), columns.mean()))
        sides.append(max(np.ptp(rows), np.ptp(columns)) + 1)
    assert 14 <= min(sides) <= 18 and 30 <= max(sides) <= 33
    # Anywhere: the middles fill most of what is open to them, from 1/8 to 7/8 of the side.
    assert np.min(spots) < 16 and np.max(spots) > 48 and np.std(spots) > 8


@pytest.mark.parametrize("colour", COLOURS)
def test_hues_stay_within_their_bounds(colour):
    world = shapes_world(WorldSettings(size=32, scale=(0.8, 0.8), hue=8, grounds=()), split="all")
    wanted = colorsys.rgb_to_hsv(*COLOURS[colour])[0] * 360
    turns = []
    for seed in range(30):
        picture = world.draw(Prompt("", "square", colour, None), np.random.default_rng(seed))
        # The square lies over the middle wherever it is put.
        hue = colorsys.rgb_to_hsv(*(picture[16, 16] / 255.0))[0] * 360
        turns.append((hue - wanted + 180) % 360 - 180)
    # The turn is about the grey axis, a little more or less than the same turn of HSV.
    assert max(map(abs, turns)) < 14 and np.ptp(turns) > 4


def test_grounds_differ_and_a_plain_one_is_plain():
    world = shapes_world(WorldSettings(size=32, scale=(0.2, 0.2)), split="all")
    spread = {}
    for ground in (None, *GROUNDS):
        corners = []
        for seed in range(20):
            picture = world.draw(Prompt("", "circle", "red", ground), np.random.default_rng(seed)).astype(float)
            blocks = picture.reshape(4, 8, 4, 8, 3).transpose(0, 2, 1, 3, 4).reshape(16, 64, 3)
            corners.append(np.median(blocks.std(1).max(1)))
        spread[ground] = np.mean(corners)
    assert spread[None] == 0
    assert min(value for ground, value in spread.items() if ground) > 1


def test_hue_matrices_by_hand():
    assert np.allclose(hue_matrix(0), np.eye(3))
    assert np.allclose(hue_matrix(120) @ [1, 0, 0], [0, 1, 0], atol=1e-6)
    assert np.allclose(hue_matrix(-120) @ [1, 0, 0], [0, 0, 1], atol=1e-6)
    assert np.allclose(hue_matrix(180) @ [1, 0, 0], [-1 / 3, 2 / 3, 2 / 3], atol=1e-6)


@given(st.floats(-360, 360), st.floats(0, 1))
def test_hue_matrices_are_rotations_about_grey(degrees, grey):
    matrix = hue_matrix(degrees)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-5) and np.linalg.det(matrix) == pytest.approx(1, abs=1e-5)
    assert np.allclose(matrix @ np.full(3, grey), grey, atol=1e-5)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"size": 8}, "16 to 512 pixels a side, not 8"),
        ({"scale": (0.9, 0.5)}, "smallest first"),
        ({"scale": (0.01, 0.5)}, "objects are 0.0625 to 1 of the side"),
        ({"hue": 200.0}, "0 to 180 degrees, not 200"),
        ({"grounds": ("grass", "moon")}, "grounds are some of sky, grass, sand, tiles, boards"),
        ({"grounds": ("grass", "grass")}, "each once"),
    ],
)
def test_settings_that_cannot_be_drawn_are_named(settings, message):
    with pytest.raises(PixwardError, match=message):
        WorldSettings(**settings)


def test_other_faults_are_named():
    with pytest.raises(PixwardError, match="5 subjects or more, each once, not star, ring"):
        shapes_world(subjects=("star", "ring"))
    with pytest.raises(PixwardError, match="each once"):
        shapes_world(subjects=(*SUBJECTS, "b"))
    with pytest.raises(PixwardError, match="no such class of object: 'blob'"):
        shapes_world(subjects=(*SUBJECTS, "blob"))
    with pytest.raises(PixwardError, match="the class 'dog' is an emoji"):
        shapes_world(subjects=(*SUBJECTS, "dog"))
    with pytest.raises(ValueError, match="seed must be at least 0"):
        shapes_world(seed=-1)
    with pytest.raises(ValueError, match="split one of all, train, held-out, got 0 and 'test'"):
        World([Prompt("", "star", "red", None)], (), SMALL, split="test")
    with pytest.raises(PixwardError, match="a world needs prompts"):
        World([], (), SMALL)
