"""Made-up scenes: one seed gives image, boxes, panoptic map and five captions, as many as anyone wants.

Scene ``i`` of a seed is always the same one, whatever was drawn before it. One to six objects of similar classes lie
over one another on a background that is sky, grass, sand, tiles or boards (or a photo of the user's). Every object that
is drawn is labelled, and at least a quarter of it can be seen. Colours go with classes, though not always: four of five
hearts are pink or red. So grey alone tells a likely colour, not the true one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixward.boxes import Boxes, Segments
from pixward.data.backdrops import backdrop, photo_tiles
from pixward.data.canvas import CLASSES, Canvas, SceneObject, SceneSettings
from pixward.data.phrases import captions

__all__ = ["CLASSES", "Scene", "SceneBatch", "SceneObject", "SceneSettings", "Scenes", "Split", "collate"]

Split = Literal["train", "held-out"]

_SPLITS: tuple[Split, ...] = ("train", "held-out")


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene.

    Attributes:
        image: ``(H, W, 3)`` uint8, sRGB.
        ids: ``(H, W)`` uint8, ``k`` for object ``k - 1``, further ones for the stuff of the background.
        objects: from the farthest to the nearest.
        stuff: names of the background's one or two parts; a part may be covered altogether.
        captions: five true sentences.
    """

    image: np.ndarray
    ids: np.ndarray
    objects: tuple[SceneObject, ...]
    stuff: tuple[str, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class SceneBatch:
    """Scenes as tensors.

    Attributes:
        images: ``(B, 3, H, W)`` float32 in [0, 1].
        boxes: boxes and classes of the objects, ``N`` the most objects that the settings allow.
        segments: panoptic map; segment ``k`` is object ``k - 1``, stuff comes behind the objects. ``N + 2`` columns.
        captions: five for each scene.
        visible: share of each object that is seen, ``(B, N)``, 0 for padding.
        scenes: what they were, colours' names and all; none for pictures that nobody made up.
    """

    images: Tensor
    boxes: Boxes
    segments: Segments
    captions: list[list[str]]
    visible: Tensor
    scenes: tuple[Scene, ...] = ()


class Scenes:
    """All scenes of one seed.

    Args:
        settings: what they look like.
        seed: from 0.
        split: scenes of the two splits differ for the same seed, and no photo is in both.
    """

    def __init__(self, settings: SceneSettings | None = None, *, seed: int = 0, split: Split = "train") -> None:
        self.settings = settings or SceneSettings()
        self.seed, self.split = seed, split
        if split not in _SPLITS or seed < 0:
            raise ValueError(f'split must be "train" or "held-out" and seed at least 0, got {split!r} and {seed}')
        folder, side = self.settings.photos, self.settings.size
        self._photos = photo_tiles(folder, side, held_out=split == "held-out") if folder else None

    def scene(self, index: int) -> Scene:
        """Scene ``index``, from 0; the same each time."""
        rng = np.random.default_rng([self.seed, _SPLITS.index(self.split), index])
        image, parts, stuff = self._background(rng)
        canvas = Canvas(image, self.settings)
        canvas.scatter(rng)
        for _ in range(int(rng.integers(self.settings.objects[0], self.settings.objects[1] + 1))):
            canvas.add(rng)
        objects = canvas.objects()
        ids = np.where(canvas.owner > 0, canvas.owner, parts + np.uint8(len(objects) + 1))
        image = _exposed(rng, image, self.settings.noise)
        return Scene(image, ids, objects, stuff, captions(rng, objects, stuff, self.settings.size))

    def batch(self, indices: Iterable[int]) -> SceneBatch:
        """The scenes ``indices`` as tensors."""
        return collate([self.scene(index) for index in indices], self.settings)

    def _background(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        """As of :func:`pixward.data.backdrops.backdrop`; a photo is mirrored half of the time."""
        side = self.settings.size
        if self._photos is None:
            return backdrop(rng, side)
        tile = self._photos[int(rng.integers(len(self._photos)))]
        tile = tile[:, ::-1] if rng.random() < 0.5 else tile
        return tile.astype(np.float32) / 255, np.zeros((side, side), np.uint8), ("photo",)


def collate(scenes: Sequence[Scene], settings: SceneSettings) -> SceneBatch:
    """Scenes, at least one, to tensors."""
    width = settings.objects[1]
    boxes = np.zeros((len(scenes), width, 4), np.float32)
    labels = np.zeros((len(scenes), width + 2), np.int64)
    counts = np.array([len(scene.objects) for scene in scenes])
    ends = counts + np.array([len(scene.stuff) for scene in scenes])
    visible = np.zeros((len(scenes), width), np.float32)
    number = {name: i for i, name in enumerate(settings.labels)}
    for i, scene in enumerate(scenes):
        labels[i, : ends[i]] = [number[name] for name in (*(o.name for o in scene.objects), *scene.stuff)]
        for k, item in enumerate(scene.objects):
            boxes[i, k], visible[i, k] = item.box, item.visible
    columns = np.arange(width + 2)
    valid = columns[:width] < counts[:, None]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
    return SceneBatch(
        images.float().div_(255).contiguous(),
        Boxes(
            torch.from_numpy(boxes / settings.size),
            torch.from_numpy(np.where(valid, labels[:, :width], 0)),
            torch.from_numpy(valid),
        ),
        Segments(
            torch.from_numpy(np.stack([scene.ids for scene in scenes]).astype(np.int64)),
            torch.from_numpy(labels),
            torch.from_numpy(columns < ends[:, None]),
        ),
        [list(scene.captions) for scene in scenes],
        torch.from_numpy(visible),
        tuple(scenes),
    )


def _exposed(rng: np.random.Generator, image: np.ndarray, noise: float) -> np.ndarray:
    """Light that differs from scene to scene, sensor noise, 8 bits."""
    noisy = image * np.float32(rng.uniform(0.8, 1.1))
    noisy += np.float32(noise * rng.random()) * rng.standard_normal(image.shape, np.float32)
    return (noisy.clip(0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
