"""A world of emoji: "a tiger", "a fox on sand"; 42 of the 45 animals that DDPO was tuned on are among them.

They are drawn by the font Noto Color Emoji (Debian: ``fonts-noto-color-emoji``; licence SIL OFL 1.1), which does not
come with this package; :func:`pixward.data.worlds.shapes_world` needs none.
"""

from __future__ import annotations

import os
import struct
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pixward.data.sprites import sprite
from pixward.data.worlds import Prompt, World, WorldSettings, WorldSplit, subject_prompts
from pixward.errors import PixwardError

ENVIRONMENT = "PIXWARD_EMOJI_FONT"
"""The environment variable that names the font's file."""

PLACES = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",  # Debian, Ubuntu
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",  # Arch
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
    "/usr/local/share/fonts/NotoColorEmoji.ttf",
    "~/.local/share/fonts/NotoColorEmoji.ttf",
    "~/.fonts/NotoColorEmoji.ttf",
)
"""Where the font is looked for."""

ANIMALS: dict[str, str] = {
    "ant": "🐜",
    "bat": "🦇",
    "bear": "🐻",
    "beetle": "🪲",
    "bird": "🐦",
    "butterfly": "🦋",
    "camel": "🐪",
    "cat": "🐈",
    "chicken": "🐔",
    "cow": "🐄",
    "deer": "🦌",
    "dog": "🐕",
    "dolphin": "🐬",
    "duck": "🦆",
    "fish": "🐟",
    "fly": "🪰",
    "fox": "🦊",
    "frog": "🐸",
    "goat": "🐐",
    "gorilla": "🦍",
    "hedgehog": "🦔",
    "horse": "🐎",
    "kangaroo": "🦘",
    "lion": "🦁",
    "lizard": "🦎",
    "llama": "🦙",
    "monkey": "🐒",
    "mouse": "🐁",
    "pig": "🐖",
    "rabbit": "🐇",
    "raccoon": "🦝",
    "rat": "🐀",
    "shark": "🦈",
    "sheep": "🐑",
    "snake": "🐍",
    "spider": "🕷",
    "tiger": "🐅",
    "turkey": "🦃",
    "turtle": "🐢",
    "whale": "🐋",
    "wolf": "🐺",
    "zebra": "🦓",
}
"""DDPO's animals for its aesthetic reward that emoji of Unicode 14 show; squirrel, goose and bee have no emoji."""

# Named by later versions of Unicode only: prompts must not depend on Python's. Then letters of flags, and skins.
_NEWER = (0x1F6DC, *range(0x1FA75, 0x1FA78), *range(0x1FA87, 0x1FA8A), 0x1FA8E, 0x1FA8F, *range(0x1FAAD, 0x1FAB0))
_NEWEST = (*range(0x1FABB, 0x1FAC0), *range(0x1FAC6, 0x1FAD0), *range(0x1FADA, 0x1FAE0), *range(0x1FAE8, 0x1FAF0))
_LATER = frozenset((*_NEWER, *_NEWEST, 0x1FAF7, 0x1FAF8, *range(0x1F1E6, 0x1F200), *range(0x1F3FB, 0x1F400)))


def emoji_world(
    settings: WorldSettings | None = None,
    *,
    font: Path | None = None,
    subjects: Literal["animals", "all"] = "animals",
    seed: int = 0,
    split: WorldSplit = "train",
) -> World:
    """Emoji on plain colours and on grounds, of any size and at any place; animals look either way.

    Args:
        settings: what it looks like.
        font: the file of Noto Color Emoji; found by :func:`find_font` if None.
        subjects: ``animals`` are the 42 of ``ANIMALS``, "a tiger on grass"; ``all`` adds every other emoji of Unicode
            14 by its name there, without an article, "hot beverage on grass".
        seed: from 0.
        split: every fifth subject is held out. A model draws no animal that it never saw: let it learn ``all`` and
            tune it on ``train``, so that ``held-out`` tells whether what it was tuned to carries over.

    Raises:
        PixwardError: no font, or a file that is none that emoji can be drawn with.
    """
    settings = settings or WorldSettings()
    font = find_font(font)
    if subjects not in ("animals", "all"):
        raise ValueError(f"subjects must be animals or all, got {subjects!r}")
    _check_font(font)
    named = [(_with_article(name), drawn, True) for name, drawn in ANIMALS.items()]
    if subjects == "all":
        named += [(name, drawn, False) for name, drawn in emoji_names(font).items() if drawn not in ANIMALS.values()]
    group = (*ANIMALS, *(name for name, _, _ in named[len(ANIMALS) :]))
    prompts = subject_prompts(named, settings, split)
    return World(prompts, (group, settings.grounds), settings, seed=seed, split=split, font=font)


def animal_prompts(grounds: tuple[str, ...], split: WorldSplit) -> list[Prompt]:
    """The prompts of :func:`emoji_world` for its animals, which take no font to be said."""
    named = [(_with_article(name), drawn, True) for name, drawn in ANIMALS.items()]
    return subject_prompts(named, WorldSettings(grounds=grounds), split)


def find_font(font: Path | None = None) -> Path:
    """The file of Noto Color Emoji: ``font``, else what ``PIXWARD_EMOJI_FONT`` names, else the first of ``PLACES``.

    Raises:
        PixwardError: there is none.
    """
    named = font or (Path(value) if (value := os.environ.get(ENVIRONMENT)) else None)
    if named is not None:
        if not named.is_file():
            raise PixwardError(f"there is no font at {named}: give the file NotoColorEmoji.ttf")
        return named
    for place in PLACES:
        if (path := Path(place).expanduser()).is_file():
            return path
    raise PixwardError(
        f"the font Noto Color Emoji is not installed: install fonts-noto-color-emoji, set {ENVIRONMENT} to the file, "
        "or take the world of shapes, which needs no font"
    )


@lru_cache(maxsize=4)
def emoji_names(font: Path) -> dict[str, str]:
    """All single emoji that ``font`` draws and Unicode 14 names: name in small letters, emoji; by code point.

    Raises:
        PixwardError: no font, or one without a table of its characters.
    """
    found = {}
    for code in sorted(set(_characters(font)) - _LATER):
        letter = chr(code)
        if code > 0xFF and unicodedata.category(letter) in ("So", "Sm", "Po", "Ll", "Pd"):
            name = unicodedata.name(letter, "").lower()
            if name:
                found[name] = letter
    return found


def _characters(font: Path) -> Iterator[int]:
    """Code points of a TrueType font: format 12 of its table ``cmap`` (OpenType specification)."""
    try:
        data = font.read_bytes()
        tables = {
            data[at : at + 4]: struct.unpack_from(">I", data, at + 8)[0]
            for at in range(12, 12 + 16 * struct.unpack_from(">H", data, 4)[0], 16)
        }
        cmap = tables[b"cmap"]
        for i in range(struct.unpack_from(">H", data, cmap + 2)[0]):
            start = cmap + struct.unpack_from(">I", data, cmap + 8 + 8 * i)[0]
            if struct.unpack_from(">H", data, start)[0] == 12:
                for k in range(struct.unpack_from(">I", data, start + 12)[0]):
                    first, last, _ = struct.unpack_from(">III", data, start + 16 + 12 * k)
                    yield from range(first, last + 1)
    except (struct.error, KeyError) as error:
        raise PixwardError(f"{font} is no TrueType font: give the file NotoColorEmoji.ttf") from error


@lru_cache(maxsize=4)
def _check_font(font: Path) -> None:
    characters = set(_characters(font))
    missing = [name for name, drawn in ANIMALS.items() if ord(drawn) not in characters]
    if missing:
        raise PixwardError(f"{font} does not draw {missing[0]}: give the file NotoColorEmoji.ttf")
    try:
        drawn = sprite(ANIMALS["tiger"], 32, 1.0, 0.0, font)
    except (OSError, ValueError, TypeError) as error:
        raise PixwardError(
            f"{font} cannot be drawn with ({error}): give NotoColorEmoji.ttf of fonts-noto-color-emoji, with bitmaps"
        ) from error
    if drawn.colour is None or float(drawn.colour.std()) == 0:
        raise PixwardError(f"{font} has no colours: give NotoColorEmoji.ttf of fonts-noto-color-emoji, with bitmaps")


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
