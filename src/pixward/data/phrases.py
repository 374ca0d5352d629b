"""Captions of made-up scenes: true sentences from a small grammar.

Every phrase of a number and a noun, ``two red stars``, is the exact count of such objects in the scene, and ``a red
star`` says that there is one. Which facts are told, and in which words, is chance, so that the five captions of a scene
share words without being copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from pixward.data.sprites import nouns

_T = TypeVar("_T")

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""Counts as words; larger ones are ``many``."""

_ARTICLES = ("", "", "", "a picture of ", "an image with ", "a scene with ", "we see ")
_BESIDE = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "front": ("in front of", "partly hiding"),
    "behind": ("behind", "partly hidden by"),
}
_PLACES = {
    "sky": ("in the sky", "under the sky"),
    "grass": ("on grass", "on the grass"),
    "sand": ("on sand", "on the sand"),
    "tiles": ("on tiles", "before a tiled wall"),
    "boards": ("on boards", "before wooden boards"),
}
_APART = 0.2  # share of the image's side that centres must differ by, to be called left of or above one another


class Told(Protocol):
    """What a caption needs to know of an object; see :class:`pixward.data.synth.SceneObject`."""

    @property
    def name(self) -> str:
        """Class."""
        ...

    @property
    def colour(self) -> str | None:
        """Colour's name."""
        ...

    @property
    def box(self) -> tuple[int, int, int, int]:
        """``x0 y0 x1 y1`` in pixels."""
        ...

    @property
    def covers(self) -> tuple[int, ...]:
        """Indices of objects that it hides a part of."""
        ...


def captions(
    rng: np.random.Generator, objects: Sequence[Told], stuff: Sequence[str], side: int, count: int = 5
) -> tuple[str, ...]:
    """``count`` captions of a scene, the first of which counts its objects; alike only where little can be said.

    Args:
        rng: chance.
        objects: at least one.
        stuff: what the background is made of.
        side: of the image, in pixels.
        count: how many captions.
    """
    found = [_counts(rng, objects, stuff)]
    forms = (_counts, _total, _salient)
    for _ in range(count - 1):
        for _ in range(4):
            form = int(rng.integers(6))
            if form < 3:
                text = forms[form](rng, objects, stuff)
            else:
                text = _relation(rng, objects, side) or _position(rng, objects, side) or _counts(rng, objects, stuff)
            if text not in found:
                break
        found.append(text)
    return tuple(found)


def number(count: int, one: str = "one") -> str:
    """A count as a word; ``one`` is what 1 is called."""
    return one if count == 1 else NUMBERS[count] if count < len(NUMBERS) else "many"


def _counts(rng: np.random.Generator, objects: Sequence[Told], stuff: Sequence[str]) -> str:
    """``two red stars and a heart on grass``: up to three classes, each with its full count."""
    groups = _groups(objects)
    order = [groups[int(i)] for i in rng.permutation(len(groups))][:3]
    phrases = []
    for name, members in order:
        colours = {objects[i].colour for i in members}
        colour = colours.pop() if len(colours) == 1 and rng.random() < 0.6 else None
        phrases.append(_phrase(len(members), name, colour, _one(rng, colour, name)))
    start = _pick(rng, _ARTICLES)
    if not start and rng.random() < 0.3:
        start = "there is " if phrases[0].split()[0] in ("a", "an", "one") else "there are "
    return start + _list(phrases) + _where(rng, stuff)


def _total(rng: np.random.Generator, objects: Sequence[Told], stuff: Sequence[str]) -> str:
    """``four shapes on the sand , one of them a red heart``: how many there are."""
    noun = _pick(rng, ("shape", "object", "thing"))
    text = f"{number(len(objects), 'a single')} {noun}{'s' * (len(objects) > 1)}"
    start = _pick(rng, ("", "a group of ", "a picture of ")) if len(objects) > 1 else ""
    unique = _unique(objects)
    tail = ""
    if unique and len(objects) > 1 and rng.random() < 0.5:
        tail = f", one of them {_described(objects[_pick(rng, unique)])}"
    return start + text + _where(rng, stuff) + tail


def _salient(rng: np.random.Generator, objects: Sequence[Told], stuff: Sequence[str]) -> str:
    """``a red heart and three other shapes on grass``: the largest that needs no pointing at, then the others."""
    unique = _unique(objects)
    if not unique:
        return _total(rng, objects, stuff)
    first = max(unique, key=lambda i: _area(objects[i]))
    others = len(objects) - 1
    text = _described(objects[first])
    if others:
        noun = _pick(rng, ("shape", "object", "thing")) + "s" * (others > 1)
        text += f" {_pick(rng, ('and', 'with', 'beside'))} {number(others)} other {noun}"
    return text + _where(rng, stuff)


def _relation(rng: np.random.Generator, objects: Sequence[Told], side: int) -> str | None:
    """``a red star left of a blue ring``, of two objects that their colour and class tell from all others."""
    unique = _unique(objects)
    if len(unique) < 2:
        return None
    first, second = (unique[int(i)] for i in rng.permutation(len(unique))[:2])
    words = _BESIDE.get(_side(objects, first, second, side))
    if words is None:
        return None
    return f"{_described(objects[first])} {_pick(rng, words)} {_described(objects[second])}"


def _position(rng: np.random.Generator, objects: Sequence[Told], side: int) -> str | None:
    """``a red star in the top left corner``."""
    unique = _unique(objects)
    if not unique:
        return None
    item = objects[_pick(rng, unique)]
    x, y = ((item.box[i] + item.box[i + 2]) / 2 / side for i in (0, 1))
    across = "left" if x < 0.36 else "right" if x > 0.64 else ""
    down = "top" if y < 0.36 else "bottom" if y > 0.64 else ""
    if across and down:
        return f"{_described(item)} in the {down} {across} {_pick(rng, ('corner', 'part'))}"
    if across or down:
        return f"{_described(item)} {'on' if across else 'at'} the {across or down}"
    return f"{_described(item)} {_pick(rng, ('in the middle', 'in the centre'))}"


def _side(objects: Sequence[Told], first: int, second: int, side: int) -> str:
    """Where ``first`` is, seen from ``second``: a key of ``_BESIDE``, or nothing where it is hard to say."""
    if second in objects[first].covers:
        return "front"
    if first in objects[second].covers:
        return "behind"
    a, b = objects[first].box, objects[second].box
    across, down = ((a[i] + a[i + 2] - b[i] - b[i + 2]) / 2 / side for i in (0, 1))
    if max(abs(across), abs(down)) < _APART:
        return ""
    if abs(across) > abs(down):
        return "left" if across < 0 else "right"
    return "above" if down < 0 else "below"


def _groups(objects: Sequence[Told]) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for i, item in enumerate(objects):
        found.setdefault(item.name, []).append(i)
    return list(found.items())


def _unique(objects: Sequence[Told]) -> list[int]:
    """Objects that are the only one of their class and colour."""
    kinds = [(item.name, item.colour) for item in objects]
    return [i for i, kind in enumerate(kinds) if kinds.count(kind) == 1]


def _phrase(count: int, name: str, colour: str | None, one: str) -> str:
    noun = nouns(name)[count > 1]
    return " ".join(word for word in (number(count, one), colour, noun) if word)


def _described(item: Told) -> str:
    return _phrase(1, item.name, item.colour, _article(item.colour or nouns(item.name)[0]))


def _one(rng: np.random.Generator, colour: str | None, name: str) -> str:
    return "one" if rng.random() < 0.2 else _article(colour or nouns(name)[0])


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _list(phrases: Sequence[str]) -> str:
    return ", ".join(phrases[:-1]) + (" and " if len(phrases) > 1 else "") + phrases[-1]


def _where(rng: np.random.Generator, stuff: Sequence[str]) -> str:
    """A place, half of the time: nothing is said of photos."""
    known = [name for name in stuff if name in _PLACES]
    return f" {_pick(rng, _PLACES[_pick(rng, known)])}" if known and rng.random() < 0.5 else ""


def _area(item: Told) -> int:
    return (item.box[2] - item.box[0]) * (item.box[3] - item.box[1])


def _pick(rng: np.random.Generator, choices: Sequence[_T]) -> _T:
    return choices[int(rng.integers(len(choices)))]
