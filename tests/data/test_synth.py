from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.data import canvas as canvas_module
from pixward.data.backdrops import STUFF
from pixward.data.canvas import Canvas
from pixward.data.phrases import NUMBERS, captions
from pixward.data.sprites import COLOURS, EMOJI, Sprite, nouns, sprite, typical_colours
from pixward.data.synth import CLASSES, Scene, SceneObject, Scenes, SceneSettings, collate
from pixward.errors import PixwardError

COUNT = 150


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    made = Scenes(seed=3)
    return [made.scene(i) for i in range(COUNT)]


def test_a_scene_is_the_same_whatever_was_drawn_before(scenes: list[Scene]) -> None:
    again = Scenes(seed=3)
    for index in (77, 3, 77, 149, 0):
        scene = again.scene(index)
        assert np.array_equal(scene.image, scenes[index].image) and np.array_equal(scene.ids, scenes[index].ids)
        assert scene.objects == scenes[index].objects and scene.captions == scenes[index].captions


def test_seeds_and_splits_differ() -> None:
    images = [Scenes(seed=seed, split=split).scene(5).image for seed in (0, 1) for split in ("train", "held-out")]  # type: ignore[arg-type]
    assert len({image.tobytes() for image in images}) == 4


def test_boxes_are_the_bounds_of_what_is_seen(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert 1 <= len(scene.objects) <= 6
        for k, item in enumerate(scene.objects):
            rows, columns = np.nonzero(scene.ids == k + 1)
            assert item.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert 0 <= item.box[0] < item.box[2] <= 64 and 0 <= item.box[1] < item.box[3] <= 64
            assert max(item.box[2] - item.box[0], item.box[3] - item.box[1]) <= 0.6 * 64


def test_every_number_of_objects_class_and_stuff_occurs(scenes: list[Scene]) -> None:
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4, 5, 6}
    assert {item.name for scene in scenes for item in scene.objects} == set(CLASSES)
    assert {name for scene in scenes for name in scene.stuff} == set(STUFF) - {"photo"}
    assert {item.colour for scene in scenes for item in scene.objects} == set(COLOURS)
    assert sum(bool(item.covers) for scene in scenes for item in scene.objects) > COUNT / 2


def test_visible_shares_and_maps_against_painting_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every placed silhouette is painted again, one after the other, on a page with room around it."""
    placed: list[tuple[Sprite, int, int]] = []
    claim = Canvas._claim

    def note(self: Canvas, shape: Sprite, x: int, y: int) -> bool:
        taken = claim(self, shape, x, y)
        if taken:
            placed.append((shape, x, y))
        return taken

    monkeypatch.setattr(Canvas, "_claim", note)
    cut = hidden = 0
    for index in range(60):
        placed.clear()
        scene = Scenes(seed=9).scene(index)
        page = np.zeros((192, 192), int)  # the image lies at 64 ... 128
        for k, (shape, x, y) in enumerate(placed):
            for row, column in zip(*np.nonzero(shape.alpha >= 0.5), strict=True):
                page[64 + y + row, 64 + x + column] = k + 1
        image = page[64:128, 64:128]
        assert np.array_equal(np.where(scene.ids <= len(placed), scene.ids, 0), image)
        for k, (item, (shape, _, _)) in enumerate(zip(scene.objects, placed, strict=True)):
            whole = int((shape.alpha >= 0.5).sum())
            assert item.visible == pytest.approx((image == k + 1).sum() / whole, abs=1e-12)
            assert item.visible >= 0.25
            cut += bool((page == k + 1).sum() > (image == k + 1).sum())
            hidden += item.visible < 0.6
    assert cut > 10 and hidden > 10


def test_covers_names_what_lies_behind(scenes: list[Scene]) -> None:
    for scene in scenes:
        for k, item in enumerate(scene.objects):
            assert all(j < k for j in item.covers)
            if item.visible == 1:
                assert not any(k in later.covers for later in scene.objects)


def test_batch(scenes: list[Scene]) -> None:
    batch = Scenes(seed=3).batch(range(20))
    assert batch.images.shape == (20, 3, 64, 64) and batch.images.dtype == torch.float32
    assert torch.equal(batch.images[4], torch.from_numpy(scenes[4].image).permute(2, 0, 1).float() / 255)
    assert batch.boxes.boxes.shape == (20, 6, 4) and batch.segments.labels.shape == (20, 8)
    batch.boxes.check("boxes")
    batch.segments.check("segments")
    names = SceneSettings().labels
    for i in range(20):
        objects, stuff = scenes[i].objects, scenes[i].stuff
        assert [names[k] for k in batch.boxes.labels[i][batch.boxes.valid[i]].tolist()] == [o.name for o in objects]
        told = [names[k] for k in batch.segments.labels[i][batch.segments.valid[i]].tolist()]
        assert told == [o.name for o in objects] + list(stuff)
        assert (batch.boxes.boxes[i, 0] * 64).tolist() == list(objects[0].box)
        assert batch.visible[i, : len(objects)].tolist() == pytest.approx([o.visible for o in objects])
        assert batch.captions[i] == list(scenes[i].captions)
    assert not batch.visible[~batch.boxes.valid].any() and not batch.boxes.labels[~batch.boxes.valid].any()


def test_colours_go_with_classes_but_not_always() -> None:
    made = Scenes(SceneSettings(size=32, objects=(5, 5)), seed=0)
    pairs = [(o.name, o.colour) for i in range(150) for o in made.scene(i).objects]
    first = np.mean([colour == typical_colours(name)[0] for name, colour in pairs])
    second = np.mean([colour == typical_colours(name)[1] for name, colour in pairs])
    # 1/2 + 1/4 * 1/7, 1/4 + 1/4 * 1/7: about 700 objects, so 0.06 is three standard deviations.
    assert abs(first - 0.536) < 0.06 and abs(second - 0.286) < 0.06


# --- captions ---------------------------------------------------------------------------------------------------------

_ONE = {"a": 1, "an": 1, "one": 1, "single": 1, **{word: n for n, word in enumerate(NUMBERS) if n > 1}}
_NOUNS = {noun: name for name in (*CLASSES, *EMOJI) for noun in nouns(name)}
_PHRASE = re.compile(
    rf"\b({'|'.join(_ONE)}) (?:({'|'.join(COLOURS)}) )?({'|'.join(sorted(_NOUNS, key=len, reverse=True))})\b"
)
_TOTAL = re.compile(rf"\b({'|'.join(_ONE)}) (other )?(?:shape|object|thing)s?\b")
_THERE = {"grass": "grass", "sand": "sand", "sky": "sky", "tiles": "tiles", "tiled": "tiles", "boards": "boards"}


def faults(caption: str, scene: Scene) -> list[str]:
    """What a caption says that is not so, read by rules of its own."""
    wrong, told = [], 0
    for count, colour, noun in _PHRASE.findall(caption):
        alike = [o for o in scene.objects if o.name == _NOUNS[noun] and colour in ("", o.colour)]
        told += _ONE[count]
        if len(alike) != _ONE[count]:
            wrong.append(f"{count} {colour} {noun}: there are {len(alike)}")
        if (noun == nouns(_NOUNS[noun])[1]) != (_ONE[count] > 1) and len(set(nouns(_NOUNS[noun]))) == 2:
            wrong.append(f"{count} {noun}: grammar")
    for count, other in _TOTAL.findall(caption):
        expected = len(scene.objects) - (1 if other else 0)
        if _ONE[count] != expected:
            wrong.append(f"{count} {other}: there are {expected}")
    wrong += [f"no {word}" for word, name in _THERE.items() if word in caption.split() and name not in scene.stuff]
    return wrong + _misplaced(caption, scene)


def _misplaced(caption: str, scene: Scene) -> list[str]:
    found = [[o for o in scene.objects if (o.name, o.colour) == (_NOUNS[n], c)] for _, c, n in _PHRASE.findall(caption)]
    middles = [[(o[0].box[i] + o[0].box[i + 2]) / 128 for i in (0, 1)] for o in found if len(o) == 1]
    checks = {}
    if len(middles) == 2 and len(found) == 2:
        (x0, y0), (x1, y1) = middles
        first, second = (scene.objects.index(o[0]) for o in found)
        checks = {
            " left of ": x0 < x1 - 0.15,
            " right of ": x0 > x1 + 0.15,
            " above ": y0 < y1 - 0.15,
            " over ": y0 < y1 - 0.15,
            " below ": y0 > y1 + 0.15,
            " under a": y0 > y1 + 0.15,
            " in front of ": second in scene.objects[first].covers,
            " partly hiding ": second in scene.objects[first].covers,
            " behind ": first in scene.objects[second].covers,
            " hidden by ": first in scene.objects[second].covers,
        }
    elif len(middles) == 1 and len(found) == 1:
        x, y = middles[0]
        checks = {
            " top ": y < 0.36,
            " bottom ": y > 0.64,
            " left ": x < 0.36,
            " right ": x > 0.64,
            " the middle": abs(x - 0.5) < 0.15 and abs(y - 0.5) < 0.15,
            " the centre": abs(x - 0.5) < 0.15 and abs(y - 0.5) < 0.15,
        }
    return [f"{words} in {caption!r}" for words, true in checks.items() if words in f"{caption} " and not true]


def test_captions_are_true(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert len(scene.captions) == 5
        for caption in scene.captions:
            assert _PHRASE.search(caption) or _TOTAL.search(caption), caption
            assert not faults(caption, scene), (caption, scene.objects)


def test_a_wrong_caption_is_found(scenes: list[Scene]) -> None:
    """The parser above does see untruths: captions of other scenes hold them nearly always."""
    wrong = [bool(faults(c, other)) for s, other in pairwise(scenes) for c in s.captions]
    assert np.mean(wrong) > 0.8


def test_captions_vary(scenes: list[Scene]) -> None:
    every = [caption for scene in scenes for caption in scene.captions]
    assert len(set(every)) > 0.9 * len(every)
    assert np.mean([len(set(scene.captions)) for scene in scenes]) > 4.9
    words = {word for caption in every for word in re.findall(r"\w+", caption)}
    assert 70 <= len(words) <= 120
    lengths = [len(caption.split()) for caption in every]
    assert min(lengths) <= 3 and max(lengths) >= 12


def test_one_object_has_captions_too() -> None:
    star = SceneObject("star", "red", (1, 1, 9, 9), 1.0, ())
    for seed in range(50):
        told = captions(np.random.default_rng(seed), [star], ("photo",), 64)
        scene = Scene(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8), (star,), ("photo",), told)
        assert not [fault for caption in told for fault in faults(caption, scene)]


# --- settings, photos, sprites ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CLASSES, "z", "0"])
def test_sprites_have_the_size_that_was_asked_for(name: str) -> None:
    for size, aspect, angle in ((4, 1.0, 0.0), (11, 0.85, 18.0), (38, 1.18, -12.0), (64, 1.0, 6.0)):
        shape = sprite(name, size, aspect, angle)
        assert max(shape.alpha.shape) == size and shape.pixels == shape.mask.sum() >= 1
        assert shape.alpha.min() >= 0 and 0.5 < shape.alpha.max() <= 1


def test_shapes_have_their_areas() -> None:
    """Of the box that bounds them, by geometry."""
    square = 1.0
    for name, share in {
        "square": square,
        "circle": np.pi / 4,
        "ring": np.pi / 4 * (1 - 0.52**2),
        "triangle": 0.5,
        "hexagon": 3 / 4,
        "cross": 1 - 4 * 0.33**2,
    }.items():
        alpha = sprite(name, 64, 1.0, 0.0).alpha
        assert alpha.mean() == pytest.approx(share, abs=0.025), name


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"size": 16}, "32 to 512"),
        ({"classes": ("circle", "circle")}, "each given once"),
        ({"classes": ("circle", "blob")}, "no such class of object: 'blob'"),
        ({"classes": ("dog",)}, "no emoji font is set; install fonts-noto-color-emoji"),
        ({"classes": ("dog",), "font": Path("absent.ttf")}, "there is no font at absent.ttf"),
        ({"objects": (0, 3)}, "1 to 100 objects"),
        ({"scale": (0.5, 0.2)}, "smallest first"),
        ({"visible": 0.0}, r"visible in \(0, 1\]"),
    ],
)
def test_settings_that_cannot_be(wrong: dict, message: str) -> None:
    with pytest.raises(PixwardError, match=message):
        SceneSettings(**wrong)


@pytest.mark.parametrize(
    "settings",
    [
        SceneSettings(size=32, scale=(0.125, 1.0), objects=(30, 30), clutter=0, noise=0),
        SceneSettings(visible=1.0, objects=(6, 6)),
        SceneSettings(size=96, classes=("A",), objects=(1, 1), scale=(1.0, 1.0)),
    ],
)
def test_odd_settings_still_make_true_scenes(settings: SceneSettings) -> None:
    made = Scenes(settings, seed=1)
    found = [made.scene(i) for i in range(20)]
    batch = collate(found, settings)
    batch.boxes.check("boxes")
    batch.segments.check("segments")
    for scene in found:
        assert scene.objects and all(o.visible >= settings.visible for o in scene.objects)


def test_photos_as_backgrounds_are_split(tmp_path: Path) -> None:
    for i in range(6):
        Image.fromarray(np.full((80, 90, 3), 30 * i + 40, np.uint8)).save(tmp_path / f"{i}.png")
    settings = SceneSettings(photos=tmp_path, noise=0, clutter=0, objects=(1, 1), scale=(0.15, 0.16))
    shades = {}
    for split in ("train", "held-out"):
        made = Scenes(settings, seed=0, split=split)  # type: ignore[arg-type]
        found = [made.scene(i) for i in range(40)]
        assert all(scene.stuff == ("photo",) for scene in found)
        bank = made._photos
        assert bank is not None
        shades[split] = set(np.unique(bank).tolist())
        assert len({int(np.median(scene.image)) for scene in found}) > 5  # exposure differs
    assert shades == {"held-out": {40, 190}, "train": {70, 100, 130, 160}}
    for path in tmp_path.glob("[1-5].png"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="at least two pictures"):
        Scenes(settings, seed=0)


def test_the_canvas_never_stays_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas_module, "_TRIES", 0)
    assert [len(Scenes(SceneSettings(visible=1.0)).scene(i).objects) for i in range(10)] == [1] * 10
