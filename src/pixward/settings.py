"""Setting files: one setting of an editor, as JSON that a person can read, change and render again.

``{"editor": "chain:photo", "setting": {"exposure": 0.35}}``; sliders that are left out take their default, keys that
pixward does not know are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pixward import __version__
from pixward.errors import PixwardError

_LARGEST = 1 << 20  # No setting is a megabyte long: something else was given by mistake.


@dataclass(frozen=True)
class Setting:
    """What a setting file says.

    Attributes:
        editor: the editor's name, as ``--editor`` takes it.
        values: ``{slider: value in its unit}``; checked against the editor's sliders by whoever loads the editor.
    """

    editor: str
    values: dict[str, float]


def read_setting(path: Path) -> Setting:
    """Read a setting file.

    Raises:
        PixwardError: a file that is missing or unreadable, is no JSON, or lacks what a setting needs.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise PixwardError(f"{path} is too large for a setting file")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise PixwardError(f"{path} is not a setting file: it is not text") from None
    except OSError as error:
        raise PixwardError(f"cannot read the setting file {path}: {error.strerror}") from None
    try:
        data = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_twice)
    except json.JSONDecodeError as error:
        raise PixwardError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise PixwardError(f"{path} is not a setting file: {error}") from None
    return _check(path, data)


def setting_text(editor: str, values: Mapping[str, float]) -> str:
    """The text of a setting file."""
    return json.dumps({"editor": editor, "setting": dict(values), "pixward": __version__}, indent=2) + "\n"


def _check(path: Path, data: object) -> Setting:
    want = 'expected {"editor": NAME, "setting": {SLIDER: VALUE}}'
    if not isinstance(data, dict):
        raise PixwardError(f"{path} is not a setting file: {want}")
    for key, kind in (("editor", str), ("setting", dict)):
        if not isinstance(data.get(key), kind):
            raise PixwardError(f'{path}: "{key}" is {"missing" if key not in data else "of the wrong kind"}; {want}')
    for name, value in data["setting"].items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise PixwardError(f"{path}: slider {name}: {json.dumps(value)} is not a number")
        if abs(value) > 1e300:  # An integer of JSON may be too long for a float.
            raise PixwardError(f"{path}: slider {name}: no slider reaches a number that large")
    return Setting(data["editor"], data["setting"])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a slider value")


def _no_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    seen: dict[str, object] = {}
    for key, value in pairs:
        if key in seen:
            raise ValueError(f'"{key}" is given twice')
        seen[key] = value
    return seen
