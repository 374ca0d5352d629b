"""``{name}`` and ``{name:.2f}`` in the text of somebody's command file: found, checked and filled, without any eval."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FORMAT = re.compile(r"[-+ ]?0?\d{0,2}(\.\d{1,2})?[feg]")
_PLAIN = ".6f"
"""How a number is written where no format is given: never with an exponent, which many programs cannot read."""


def placeholders(text: str) -> dict[str, set[str]]:
    """The placeholders of ``text``, each with the formats that it is written in; ``""`` stands for no format.

    Raises:
        ValueError: a single brace, or a placeholder that is neither ``{name}`` nor ``{name:FORMAT}``.
    """
    found: dict[str, set[str]] = {}
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{error}; write a brace that is meant as such twice: {{{{ or }}}}") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if not _NAME.fullmatch(name) or conversion:
            raise ValueError(f'"{{{name}}}" is no placeholder; write {{name}} or {{name:.3f}}, and a plain brace twice')
        if form and not _FORMAT.fullmatch(form):
            raise ValueError(f'"{{{name}:{form}}}": expected a format like .3f, .0f, .4g or +.1f')
        found.setdefault(name, set()).add(form or "")
    return found


def fill(text: str, numbers: Mapping[str, float], words: Mapping[str, str]) -> str:
    """``text`` with its placeholders replaced; ``{{`` and ``}}`` become braces.

    Args:
        text: one that :func:`placeholders` has passed.
        numbers: what numeric placeholders stand for.
        words: what the others stand for; put in as it is.
    """
    parts = []
    for literal, name, form, _ in Formatter().parse(text):
        parts.append(literal)
        if name is not None:
            parts.append(words[name] if name in words else number_text(numbers[name], form or ""))
    return "".join(parts)


def number_text(value: float, form: str) -> str:
    """``value`` in a format such as ``.3f``, in six decimals where that is empty; never ``-0``."""
    text = format(value, form or _PLAIN)
    return format(0.0, form or _PLAIN) if float(text) == 0 else text
