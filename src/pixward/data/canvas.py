"""What a made-up scene looks like, and the canvas that it is painted on; `pixward.data.synth` makes scenes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixward.data.backdrops import STUFF
from pixward.data.sprites import COLOURS, Sprite, check_class, sprite, textures, typical_colours
from pixward.errors import PixwardError

CLASSES = ("circle", "hexagon", "ring", "crescent", "square", "triangle", "star", "cross", "heart", "B", "8", "3")
"""The classes of objects that scenes have unless told otherwise."""

_TRIES = 12  # places tried for one object before it is given up
_STEPS = 24  # sizes of objects, so that drawings can be kept
_COLOURS = np.array(list(COLOURS.values()), np.float32)


@dataclass(frozen=True)
class SceneSettings:
    """What scenes look like.

    Attributes:
        size: height and width in pixels, 32 to 512.
        classes: shapes, single letters or digits, and emoji, in the order of their labels.
        objects: the fewest and the most of them; fewer are drawn where no place is left for another,
            but never none.
        scale: the longer side of an object's box as a share of the image's side: smallest, largest.
        visible: an object is placed only where at least this share of its pixels stays in sight, of it and of those
            that it covers; in (0, 1].
        clutter: the most ovals and bars that are no object.
        noise: the largest standard deviation of the noise, as a share of the range.
        photos: a folder of photos to use as backgrounds; a fifth of them only for held-out scenes.
        font: the font Noto Color Emoji, which classes that are emoji need.
    """

    size: int = 64
    classes: tuple[str, ...] = CLASSES
    objects: tuple[int, int] = (1, 6)
    scale: tuple[float, float] = (0.15, 0.6)
    visible: float = 0.25
    clutter: int = 6
    noise: float = 0.06
    photos: Path | None = None
    font: Path | None = None

    def __post_init__(self) -> None:
        """Raises PixwardError for what cannot be drawn."""
        if not 32 <= self.size <= 512:
            raise PixwardError(f"scenes have 32 to 512 pixels a side, not {self.size}")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise PixwardError(
                f"scenes need one class or more, each given once, not {', '.join(self.classes) or 'none'}"
            )
        for name in self.classes:
            check_class(name, self.font)
        if not 1 <= self.objects[0] <= self.objects[1] <= 100:
            raise PixwardError(
                f"scenes hold 1 to 100 objects, fewest first, not {self.objects[0]} to {self.objects[1]}"
            )
        if not 4 / self.size <= self.scale[0] <= self.scale[1] <= 1:
            raise PixwardError(f"objects are {4 / self.size:g} to 1 of the side, smallest first, not {self.scale}")
        if not 0 < self.visible <= 1 or self.clutter < 0 or not 0 <= self.noise <= 1:
            raise PixwardError("scenes need visible in (0, 1], clutter of at least 0 and noise in [0, 1]")

    @property
    def labels(self) -> tuple[str, ...]:
        """All classes of a panoptic map: those of objects, then those of backgrounds."""
        return self.classes + STUFF


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes:
        name: its class.
        colour: the name of its colour; None for an emoji.
        box: bounds of what is seen of it, ``x0 y0 x1 y1`` in pixels, ends exclusive.
        visible: share of its pixels that is seen, the rest is covered or outside.
        covers: indices of the objects of which it hides at least one pixel.
    """

    name: str
    colour: str | None
    box: tuple[int, int, int, int]
    visible: float
    covers: tuple[int, ...]


class Canvas:
    """An image in the making, painted from the farthest object to the nearest."""

    def __init__(self, image: np.ndarray, settings: SceneSettings) -> None:
        self.image, self.settings = image, settings
        self.owner = np.zeros(image.shape[:2], np.uint8)
        self.names: list[tuple[str, str | None]] = []
        self.pixels: list[int] = []  # of the whole silhouettes
        self.seen: list[int] = []
        self.covers: list[tuple[int, ...]] = []
        self.surfaces = textures(2 * settings.size)

    def scatter(self, rng: np.random.Generator) -> None:
        """Ovals and bars in muted colours, which nobody labels."""
        side = self.settings.size
        for _ in range(int(rng.integers(self.settings.clutter + 1))):
            size = max(4, round(side * rng.uniform(0.08, 0.3)))
            shape = sprite(
                "oval" if rng.random() < 0.5 else "square",
                size,
                float(rng.choice((0.15, 0.4))),
                int(rng.integers(12)) * 15.0,
            )
            x, y = (rng.random(2) * side).astype(int) - size // 2
            colour = rng.uniform(0.2, 0.9) + rng.uniform(-0.12, 0.12, 3).astype(np.float32)
            self._paint(shape, int(x), int(y), colour.astype(np.float32), 0.8)

    def add(self, rng: np.random.Generator) -> None:
        """One more object, in front of all others, if there is a place where enough of everything stays in sight."""
        settings = self.settings
        name = settings.classes[int(rng.integers(len(settings.classes)))]
        # Even in the logarithm: small ones are more frequent, as in photos.
        low, high = (np.log(bound * settings.size) for bound in settings.scale)
        step = int(rng.integers(_STEPS)) + 0.5
        size = min(max(round(np.exp(low + (high - low) * step / _STEPS)), 4), int(settings.scale[1] * settings.size))
        shape = sprite(
            name, size, (0.85, 1.0, 1.18)[int(rng.integers(3))], int(rng.integers(-3, 4)) * 6.0, settings.font
        )
        colour = self._colour(rng, name) if shape.colour is None else None
        for attempt in range(_TRIES + 1):
            if attempt == _TRIES and self.names:
                return
            x, y = self._place(rng, shape) if attempt < _TRIES else self._middle(shape)
            if self._claim(shape, x, y):
                self.names.append((name, colour))
                texture = self._texture(rng, shape)
                base = _COLOURS[list(COLOURS).index(colour)] if colour else np.ones(3, np.float32)
                tint = base * rng.uniform(0.75, 1.05) + rng.normal(0, 0.03, 3)
                paint = texture[..., None] * (tint.astype(np.float32) * (1 if shape.colour is None else shape.colour))
                self._paint(shape, x, y, paint, rng.uniform(0.8, 1))
                return

    def objects(self) -> tuple[SceneObject, ...]:
        """What was added, from the farthest to the nearest."""
        found = []
        for k, (name, colour) in enumerate(self.names):
            mask = self.owner == k + 1
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            found.append(SceneObject(name, colour, box, self.seen[k] / self.pixels[k], self.covers[k]))
        return tuple(found)

    def _colour(self, rng: np.random.Generator, name: str) -> str:
        """Half of a class has its first colour, a quarter its second, the others any."""
        chance = rng.random()
        first, second = typical_colours(name)
        return first if chance < 0.5 else second if chance < 0.75 else list(COLOURS)[int(rng.integers(len(COLOURS)))]

    def _place(self, rng: np.random.Generator, shape: Sprite) -> tuple[int, int]:
        """Where the left upper corner goes; often near an object that is there, now and then over the image's rim."""
        side = self.settings.size
        height, width = shape.alpha.shape
        spots = rng.random(2)
        if self.names and rng.random() < 0.5:
            rows, columns = np.nonzero(self.owner)
            pick = int(rng.integers(len(rows)))
            reach = rng.uniform(-0.6, 0.6, 2)
            return int(columns[pick] + reach[0] * width - width / 2), int(rows[pick] + reach[1] * height - height / 2)
        over = 0.2
        x = spots[0] * (side - width + 2 * over * width) - over * width
        y = spots[1] * (side - height + 2 * over * height) - over * height
        return int(x), int(y)

    def _middle(self, shape: Sprite) -> tuple[int, int]:
        """The one place where nothing is cut off: no scene stays empty."""
        height, width = shape.alpha.shape
        return (self.settings.size - width) // 2, (self.settings.size - height) // 2

    def _claim(self, shape: Sprite, x: int, y: int) -> bool:
        """Take the pixels for a new object unless too little would stay in sight, of it or of another."""
        window, part = _overlap(shape, x, y, self.settings.size)
        if window is None:
            return False
        mask = shape.mask[part]
        seen = int(np.count_nonzero(mask))
        region = self.owner[window]
        lost = np.bincount(region[mask], minlength=len(self.seen) + 1)[1:]
        left = [now - int(gone) for now, gone in zip(self.seen, lost, strict=True)]
        least = self.settings.visible
        if seen < least * shape.pixels or any(now < least * all_ for now, all_ in zip(left, self.pixels, strict=True)):
            return False
        region[mask] = len(self.seen) + 1
        self.covers.append(tuple(int(k) for k in np.flatnonzero(lost)))
        self.seen, self.pixels = [*left, seen], [*self.pixels, shape.pixels]
        return True

    def _texture(self, rng: np.random.Generator, shape: Sprite) -> np.ndarray:
        surface = self.surfaces[int(rng.integers(len(self.surfaces)))]
        y, x = rng.integers(0, self.settings.size, 2)
        return surface[y : y + shape.alpha.shape[0], x : x + shape.alpha.shape[1]]

    def _paint(self, shape: Sprite, x: int, y: int, paint: np.ndarray, opacity: float) -> None:
        """Blend ``paint``, ``(3,)`` or ``(h, w, 3)``, in."""
        window, part = _overlap(shape, x, y, self.settings.size)
        if window is not None:
            region = self.image[window]
            cover = shape.alpha[part][..., None] * np.float32(opacity)
            region += cover * ((paint[part] if paint.ndim == 3 else paint) - region)


def _overlap(shape: Sprite, x: int, y: int, side: int) -> tuple[tuple[slice, slice] | None, tuple[slice, slice]]:
    """The window of the image that a sprite at ``x, y`` falls on, None if it falls outside, and the sprite's part."""
    height, width = shape.alpha.shape
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, side), min(y + height, side)
    part = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
    return ((slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None), part
