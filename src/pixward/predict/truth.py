"""Whether a caption of a made-up scene is true: a measure that no reward looks at.

:mod:`pixward.data.phrases` tells facts in a few forms, and this reads them back: how many objects there are of a class
(and colour) or in all, what the background is made of, where an object is, and how two of them lie.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from pixward.data.phrases import NUMBERS
from pixward.data.sprites import COLOURS, nouns
from pixward.data.synth import Scene, SceneObject
from pixward.data.tokens import words

_COUNTS = {**{word: i for i, word in enumerate(NUMBERS)}, "a": 1, "an": 1, "a single": 1}
_SIDES = {
    "left": "(?:to the )?left of",
    "right": "(?:to the )?right of",
    "above": "above|over",
    "below": "below|under",
    "front": "in front of|partly hiding",
    "behind": "behind|partly hidden by",
}
_STUFF = {
    "sky": "(?:in|under) the sky",
    "grass": "on (?:the )?grass",
    "sand": "on (?:the )?sand",
    "tiles": "on tiles|before a tiled wall",
    "boards": "on boards|before wooden boards",
}
_FILLERS = "a picture of|an image with|a scene with|a group of|we see|there (?:is|are)|one of them|and|with|beside"
"""What joins facts and is none."""
_LOW, _HIGH = 0.36, 0.64
"""The middle of a picture, as shares of its side."""


def facts(caption: str, scene: Scene, classes: Sequence[str]) -> tuple[int, int]:
    """How many facts ``caption`` tells of ``scene``, and how many of them are false.

    A number of things is exact: ``a red star`` is false where there are two. A word that belongs to no fact, though it
    is none of those that only join facts (``two red``, ``left of``), counts as a false fact.

    Args:
        caption: punctuation does not count.
        scene: what there is.
        classes: all that such scenes may hold.
    """
    noun, form = _grammar(tuple(classes))
    text = " ".join(words(caption))
    told: list[bool] = []
    parts: list[tuple[str, list[SceneObject], str]] = []
    place = 0
    while place < len(text):
        found = form.match(text, place)
        if found is None:
            parts.append(("stray", [], ""))
            place = (text.find(" ", place) + 1) or len(text)
            continue
        place = found.end() + 1
        if found["noun"]:
            alike = [o for o in scene.objects if o.name == noun[found["noun"]] and found["colour"] in (None, o.colour)]
            told.append(_right(found["number"], len(alike)))
            parts.append(("object", alike, ""))
        elif found["all"]:
            told.append(_right(found["all"], len(scene.objects) - bool(found["other"])))
        elif found["at"]:
            parts.append(("at", [], found["at"]))
        elif not found["filler"]:
            kind = next(name for name in (*_STUFF, *_SIDES) if found[name])
            if kind in _STUFF:
                told.append(kind in scene.stuff)
            else:
                parts.append(("side", [], kind))
    for before, (kind, _, what), after in zip([_NONE, *parts], parts, [*parts[1:], _NONE], strict=False):
        if kind == "stray":
            told.append(False)
        elif kind == "at":
            told.append(len(before[1]) == 1 and _at(before[1][0], what, scene.image.shape[0]))
        elif kind == "side":
            one = len(before[1]) == 1 == len(after[1])
            told.append(one and _lies(scene.objects, before[1][0], after[1][0], what))
    return len(told), told.count(False)


_NONE: tuple[str, list[SceneObject], str] = ("", [], "")


@lru_cache(maxsize=8)
def _grammar(classes: tuple[str, ...]) -> tuple[dict[str, str], re.Pattern[str]]:
    """The class of each noun, and one expression for all that a caption is made of."""
    noun = {form: name for name in classes for form in nouns(name)}
    number = f"a single|{'|'.join(sorted(_COUNTS, key=len, reverse=True))}|many"
    alternatives = [
        *(f"(?P<{name}>{form})" for name, form in _STUFF.items()),
        f"(?P<number>{number}) (?:(?P<colour>{'|'.join(COLOURS)}) )?(?P<noun>{'|'.join(map(re.escape, noun))})",
        f"(?P<all>{number}) (?P<other>other )?(?:shape|object|thing)s?",
        "(?P<at>in the (?:top|bottom) (?:left|right) (?:corner|part)|in the (?:middle|centre)|"
        "on the (?:left|right)|at the (?:top|bottom))",
        *(f"(?P<{name}>{form})" for name, form in _SIDES.items()),
        f"(?P<filler>{_FILLERS})",
    ]
    return noun, re.compile(f"(?:{'|'.join(alternatives)})(?= |$)")


def _right(number: str, count: int) -> bool:
    return count >= len(NUMBERS) if number == "many" else _COUNTS[number] == count


def _at(item: SceneObject, where: str, side: int) -> bool:
    x, y = _centre(item)
    x, y = x / side, y / side
    if where in ("in the middle", "in the centre"):
        return _LOW <= x <= _HIGH and _LOW <= y <= _HIGH
    asked = {"left": x < _LOW, "right": x > _HIGH, "top": y < _LOW, "bottom": y > _HIGH}
    return all(fine for word, fine in asked.items() if word in where.split())


def _lies(objects: Sequence[SceneObject], first: SceneObject, second: SceneObject, side: str) -> bool:
    """Whether ``first`` lies on that side of ``second``."""
    if side in ("front", "behind"):
        over, under = (first, second) if side == "front" else (second, first)
        return any(objects[i] is under for i in over.covers)
    (x, y), (x_other, y_other) = _centre(first), _centre(second)
    return {"left": x < x_other, "right": x > x_other, "above": y < y_other, "below": y > y_other}[side]


def _centre(item: SceneObject) -> tuple[float, float]:
    return (item.box[0] + item.box[2]) / 2, (item.box[1] + item.box[3]) / 2
