"""Small worlds of captioned pictures, which a diffusion model learns in minutes: coloured shapes, letters and digits.

"a red star on grass" is one object on one ground. Every prompt names what is to be seen and nothing else: where it
lies, how large it is and the shade of everything differ from picture to picture. A fifth of the pairs of colour and
object is held out: each colour and each object is learnt, those pairs are not. :mod:`pixward.data.emoji` has animals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixward.data.backdrops import STUFF, surface
from pixward.data.sprites import COLOURS, check_class, nouns, sprite
from pixward.errors import PixwardError

WorldSplit = Literal["all", "train", "held-out"]

SPLITS: tuple[WorldSplit, ...] = ("all", "train", "held-out")
"""The prompts of ``all`` are those of the other two, of which none is in both."""

SUBJECTS = ("circle", "hexagon", "ring", "crescent", "square", "triangle", "star", "cross", "heart", *"ABHX2378")
"""What :func:`shapes_world` draws unless told otherwise."""

GROUNDS = STUFF[:5]
"""What an object may lie on: sky, grass, sand, tiles, boards."""

_FOLDS = 5  # one of them is held out
_STEPS = 8  # sizes of objects, so that drawings can be kept


@dataclass(frozen=True)
class WorldSettings:
    """What the pictures of a world look like.

    Attributes:
        size: height and width in pixels, 16 to 512.
        scale: the longer side of the object as a share of the picture's: smallest, largest, in (0, 1].
        hue: the most degrees by which colours are turned, either way, 0 to 180; 30 lie between red and orange.
        grounds: what objects may lie on, of ``GROUNDS``; every prompt is there without one as well, and then the
            ground is of one pale colour.
    """

    size: int = 64
    scale: tuple[float, float] = (0.55, 0.85)
    hue: float = 8.0
    grounds: tuple[str, ...] = GROUNDS

    def __post_init__(self) -> None:
        """Raises PixwardError for what cannot be drawn."""
        if not 16 <= self.size <= 512:
            raise PixwardError(f"a world's pictures have 16 to 512 pixels a side, not {self.size}")
        if not 4 / self.size <= self.scale[0] <= self.scale[1] <= 1:
            raise PixwardError(f"objects are {4 / self.size:g} to 1 of the side, smallest first, not {self.scale}")
        if not 0 <= self.hue <= 180:
            raise PixwardError(f"hues are turned by 0 to 180 degrees, not {self.hue:g}")
        unknown = [name for name in self.grounds if name not in GROUNDS]
        if unknown or len(set(self.grounds)) < len(self.grounds):
            raise PixwardError(f"grounds are some of {', '.join(GROUNDS)}, each once, not {', '.join(self.grounds)}")


@dataclass(frozen=True)
class Prompt:
    """A prompt, and what a picture that it fits shows.

    Attributes:
        text: such as ``a red star on grass``.
        subject: what is drawn: a class of :mod:`pixward.data.sprites` or an emoji.
        colour: the name of its colour; None for an emoji, which brings its own.
        ground: what it lies on; None for a plain colour.
        mirrored: whether half of the pictures show it the other way round.
    """

    text: str
    subject: str
    colour: str | None
    ground: str | None
    mirrored: bool = False


class World:
    """Pictures with prompts, as many as anyone wants; picture ``i`` of a seed is always the same one.

    Args:
        prompts: what is drawn, all equally often; none twice.
        groups: what prompts are made of: phrases of one group exclude each other. See :func:`read_prompts`.
        settings: what it looks like.
        seed: from 0.
        split: pictures of other splits differ for the same seed, those of one prompt too.
        font: the font Noto Color Emoji, which emoji need.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        groups: Sequence[tuple[str, ...]],
        settings: WorldSettings,
        *,
        seed: int = 0,
        split: WorldSplit = "train",
        font: Path | None = None,
    ) -> None:
        if seed < 0 or split not in SPLITS:
            raise ValueError(f"seed must be at least 0 and split one of {', '.join(SPLITS)}, got {seed} and {split!r}")
        if not prompts:
            raise PixwardError(f"a world needs prompts, and the split {split} has none: give it more subjects")
        self.prompts, self.settings = tuple(prompts), settings
        self.groups = tuple(group for group in groups if group)
        self.seed, self.split, self.font = seed, split, font

    @property
    def texts(self) -> tuple[str, ...]:
        """All prompts, in order."""
        return tuple(prompt.text for prompt in self.prompts)

    def picture(self, index: int) -> tuple[np.ndarray, str]:
        """Picture ``index``, from 0, ``(H, W, 3)`` uint8, and its prompt."""
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), index])
        prompt = self.prompts[int(rng.integers(len(self.prompts)))]
        return self.draw(prompt, rng), prompt.text

    def batch(self, indices: Iterable[int]) -> tuple[Tensor, list[str]]:
        """The pictures ``indices``, at least one, ``(B, 3, H, W)`` float32 in [0, 1], and their prompts."""
        pictures, texts = zip(*(self.picture(index) for index in indices), strict=True)
        stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        return stacked.float().div_(255).contiguous(), list(texts)

    def draw(self, prompt: Prompt, rng: np.random.Generator) -> np.ndarray:
        """Some picture of ``prompt``, of this world or not, ``(H, W, 3)`` uint8."""
        settings, side = self.settings, self.settings.size
        # The order of the draws is what a seed means: a new one goes to the end.
        share = settings.scale[0] + (settings.scale[1] - settings.scale[0]) * int(rng.integers(_STEPS)) / (_STEPS - 1)
        angle = 0.0 if prompt.colour is None else int(rng.integers(-2, 3)) * 6.0
        shape = sprite(prompt.subject, max(4, round(side * share)), 1.0, angle, self.font)
        alpha, colour = shape.alpha, shape.colour
        if prompt.mirrored and rng.random() < 0.5:
            alpha, colour = alpha[:, ::-1], None if colour is None else colour[:, ::-1]
        if colour is None:
            colour = np.asarray(COLOURS[prompt.colour or "red"], np.float32) * np.float32(rng.uniform(0.85, 1.05))
        turned = colour @ hue_matrix(float(rng.uniform(-settings.hue, settings.hue))).T
        height, width = alpha.shape
        y, x = int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1))
        image = _ground(rng, prompt.ground, side)
        window = image[y : y + height, x : x + width]
        window += alpha[..., None] * (turned - window)
        return (image.clip(0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def shapes_world(
    settings: WorldSettings | None = None,
    *,
    subjects: Sequence[str] = SUBJECTS,
    seed: int = 0,
    split: WorldSplit = "train",
) -> World:
    """Coloured shapes, letters and digits, which need no font: "a red star on grass".

    Args:
        settings: what it looks like.
        subjects: shapes and single letters or digits, of either case alike; five or more, so that of each colour
            and each subject some pair is held out and some is not.
        seed: from 0.
        split: pairs of colour and subject of which every fifth is held out, on whatever ground.

    Raises:
        PixwardError: fewer than five subjects, one twice, or one that cannot be drawn in a colour.
    """
    settings = settings or WorldSettings()
    for name in subjects:
        check_class(name, None)
    spoken = tuple(nouns(name)[0] for name in subjects)
    if len(set(spoken)) < max(len(spoken), _FOLDS):
        raise PixwardError(f"a world of shapes needs {_FOLDS} subjects or more, each once, not {', '.join(subjects)}")
    prompts = [
        Prompt(f"{_article(colour)} {colour} {noun}{_place(ground)}", name, colour, ground)
        for i, colour in enumerate(COLOURS)
        for j, (name, noun) in enumerate(zip(subjects, spoken, strict=True))
        # A Latin pattern: steps of two, as neighbours in both lists resemble each other.
        if in_split((i + 2 * j) % _FOLDS, split)
        for ground in (None, *settings.grounds)
    ]
    return World(prompts, (spoken, tuple(COLOURS), settings.grounds), settings, seed=seed, split=split)


def subject_prompts(
    subjects: Sequence[tuple[str, str, bool]], settings: WorldSettings, split: WorldSplit
) -> list[Prompt]:
    """Prompts for subjects ``(phrase, what is drawn, mirrored)`` that bring their own colours, on every ground.

    Every fifth subject is held out, the first among them.
    """
    return [
        Prompt(phrase + _place(ground), drawn, None, ground, mirrored)
        for i, (phrase, drawn, mirrored) in enumerate(subjects)
        if in_split(i % _FOLDS, split)
        for ground in (None, *settings.grounds)
    ]


def in_split(fold: int, split: WorldSplit) -> bool:
    """Whether a fold, 0 to 4, belongs to ``split``: the first is held out."""
    return split == "all" or (fold == 0) == (split == "held-out")


def read_prompts(texts: Sequence[str], groups: Sequence[tuple[str, ...]]) -> Tensor:
    """Which phrase of each group a prompt says, ``(B, G)`` int64: its index in the group, -1 where it says none.

    Whole words count, whatever their case; of several phrases the longest, then the first said.
    """
    rows = [[_said(text.lower(), group) for group in groups] for text in texts]
    return torch.tensor(rows, dtype=torch.int64).view(len(texts), len(groups))


def hue_matrix(degrees: float) -> np.ndarray:
    """What turns colours about the grey axis, ``(3, 3)`` float32, ``matrix @ rgb``; 120 makes red green, greys stay."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)) / math.sqrt(3)
    around = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return (cosine * np.eye(3) + (1 - cosine) / 3 + sine * around).astype(np.float32)


def _said(text: str, group: tuple[str, ...]) -> int:
    found = _pattern(group).finditer(text)
    best = max(found, key=lambda match: len(match[0]), default=None)
    return -1 if best is None else [phrase.lower() for phrase in group].index(best[0])


@lru_cache(maxsize=64)
def _pattern(group: tuple[str, ...]) -> re.Pattern[str]:
    phrases = sorted((phrase.lower() for phrase in group), key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, phrases)) + r")(?!\w)" if phrases else r"(?!)")


def _ground(rng: np.random.Generator, kind: str | None, side: int) -> np.ndarray:
    """``(side, side, 3)`` float32."""
    if kind is not None:
        return surface(rng, kind, side)
    pale = rng.uniform(0.72, 0.97) + rng.normal(0, 0.05, 3)
    return np.broadcast_to(pale.astype(np.float32), (side, side, 3)).copy()


def _place(ground: str | None) -> str:
    return "" if ground is None else f" on {ground}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
