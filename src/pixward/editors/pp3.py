"""RawTherapee's sidecars (.pp3) as text: sections of ``Key=Value`` lines, as GLib key files have them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pixward.errors import PixwardError

__all__ = ["Sections", "Value", "numbers", "parse", "parse_note", "text"]

Value = str | bool | int | float | tuple[float, ...]
Sections = dict[str, dict[str, str]]

_NOTE = "#pixward "
_LARGEST = 4 << 20
_VERSION = {"AppVersion": "5.9", "Version": "349"}
"""The layout that we write. Newer versions of RawTherapee convert it; 5.8 reads it as it is."""


def text(sections: Mapping[str, Mapping[str, Value]], note: Mapping[str, object] | None = None) -> str:
    """A .pp3 file; what it does not name is neutral.

    Args:
        sections: ``{section: {key: value}}``; RawTherapee reads whole numbers only from an int, and a tuple is a curve
            or another list.
        note: kept in a comment that RawTherapee skips, and drops when it writes the file itself.
    """
    lines = [] if note is None else [_NOTE + json.dumps(note, sort_keys=True), ""]
    for name, keys in {"Version": _VERSION, **sections}.items():
        lines += [f"[{name}]", *(f"{key}={_text(value)}" for key, value in keys.items()), ""]
    return "\n".join(lines)


def parse(data: str) -> Sections:
    """``{section: {key: value as text}}``; a key given twice counts as last, as in RawTherapee.

    Raises:
        PixwardError: no .pp3 text.
    """
    if len(data) > _LARGEST or "\0" in data:
        raise PixwardError("this is no RawTherapee sidecar: it is too long, or not text")
    sections: Sections = {}
    keys: dict[str, str] | None = None
    for number, line in enumerate(data.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            keys = sections.setdefault(line[1:-1], {})
            continue
        key, equals, value = line.partition("=")
        if keys is None or not equals or not key.strip():
            raise PixwardError(
                f"this is no RawTherapee sidecar: line {number} is neither [Section] nor Key=Value: {line[:60]!r}"
            )
        keys[key.strip()] = value.strip()
    if not sections:
        raise PixwardError("this is no RawTherapee sidecar: it has no [Section]")
    return sections


def parse_note(data: str) -> dict[str, object]:
    """The note that :func:`text` left; empty if there is none that can be read."""
    found = re.search(rf"^{_NOTE}(\{{.*\}})\s*$", data[:_LARGEST], re.M)
    if not found:
        return {}
    try:
        note = json.loads(found[1])
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def numbers(value: str) -> tuple[float, ...]:
    """``"1;0;0.5;"`` as numbers; empty where one is none."""
    try:
        return tuple(float(part) for part in value.split(";") if part.strip())
    except ValueError:
        return ()


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "".join(f"{number:.10g};" for number in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)
