"""The TOML file that describes a program as an editor: read, and checked so that a slip is one line that names it."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pixward.editors.placeholders import placeholders
from pixward.errors import PixwardError
from pixward.params import ParamSpace, ParamSpec

PLACES = ("input", "output", "sidecar", "here")
"""Placeholders of the arguments that stand for a path."""
LONGEST = "longest"
"""The placeholder for the picture's longest side in pixels."""
_LARGEST = 1 << 20  # No such file is a megabyte long: something else was given by mistake.
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"\d+([.-]\d+)*")
_RESERVED = (*PLACES, "setting", LONGEST)


@dataclass(frozen=True)
class Value:
    """A number that the program gets and that follows from a slider: ``offset + scale * slider``.

    Attributes:
        name: its placeholder.
        slider: the slider, or None for a constant: ``offset``.
        offset: see above.
        scale: see above.
        base: if given, the number is ``base ** (offset + scale * slider)``.
        relative: the number is multiplied by the picture's longest side in pixels, at last.
    """

    name: str
    slider: str | None = None
    offset: float = 0.0
    scale: float = 1.0
    base: float | None = None
    relative: bool = False

    def number(self, setting: Mapping[str, float], longest: int) -> float:
        """The number for ``setting`` ``{slider: value in its unit}`` and a picture of ``longest`` pixels."""
        inner = self.offset + (self.scale * setting[self.slider] if self.slider else 0.0)
        outer = inner if self.base is None else self.base**inner
        return outer * longest if self.relative else outer


@dataclass(frozen=True, eq=False)
class CommandFile:
    """What a command file says; the guide "your editor" has a line on each key."""

    path: Path
    name: str
    help: str
    install: str
    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    version: tuple[str, ...]
    oldest: str
    input: Literal["tiff", "png"]
    output: Literal["tiff", "png"]
    suffix: str
    template: str | None
    space: ParamSpace
    values: tuple[Value, ...]

    def numbers(self, setting: Mapping[str, float], longest: int) -> dict[str, float]:
        """All numeric placeholders for a whole ``setting`` and a picture of ``longest`` pixels."""
        made = {value.name: value.number(setting, longest) for value in self.values}
        return {**setting, **made, LONGEST: float(longest)}


@dataclass(frozen=True)
class _Table:
    """One table of the file; takes keys out of it and says what is wrong with them."""

    path: Path
    where: str
    data: dict[str, Any]

    def fault(self, key: str, what: str) -> PixwardError:
        return PixwardError(f"{self.path}: {self.where}{key}: {what}")

    def _take(self, key: str, kinds: tuple[type, ...], want: str, default: Any) -> Any:
        value = self.data.pop(key, default)
        if value is ...:
            raise self.fault(key, f"is missing; expected {want}")
        if value is not default and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise self.fault(key, f"expected {want}, got {_shown(value)}")
        return value

    def text(self, key: str, default: Any = "") -> str:
        value = cast(str, self._take(key, (str,), "a text in quotes", default))
        if "\0" in value or (default is ... and not value.strip()):
            raise self.fault(key, f"expected a text that is not empty and holds no zero byte, got {_shown(value)}")
        return value

    def texts(self, key: str, default: Any = ...) -> tuple[str, ...]:
        want = 'a list of texts, ["...", "..."]'
        value = self._take(key, (list,), want, default)
        if not all(isinstance(item, str) and "\0" not in item for item in value):
            raise self.fault(key, f"expected {want}, got {_shown(value)}")
        if default is ... and not value:
            raise self.fault(key, f"is empty; expected {want}")
        return tuple(value)

    def number(self, key: str, default: Any = ...) -> float:
        value = self._take(key, (int, float), "a number", default)
        if not abs(value) <= 1e300:  # TOML has nan and inf, and integers too long for a float.
            raise self.fault(key, f"expected a number, got {str(value)[:20]}")
        return float(value)

    def choice(self, key: str, among: tuple[str, ...]) -> str:
        want = " or ".join(f'"{name}"' for name in among)
        value = cast(str, self._take(key, (str,), want, among[0]))
        if value not in among:
            raise self.fault(key, f"expected {want}, got {_shown(value)}")
        return value

    def flag(self, key: str) -> bool:
        return cast(bool, self._take(key, (bool,), "true or false", False))

    def tables(self, key: str, want: str) -> list[dict[str, Any]]:
        value = self._take(key, (list,), want, [])
        if not all(isinstance(item, dict) for item in value):
            raise self.fault(key, f"expected {want}")
        return cast(list[dict[str, Any]], value)

    def table(self, key: str) -> dict[str, Any]:
        return cast(dict[str, Any], self._take(key, (dict,), f"a table, [{key}]", {}))

    def identifier(self) -> str:
        value = self.text("name", ...)
        if not _NAME.fullmatch(value):
            raise self.fault("name", f"expected small letters, digits and _, got {_shown(value)}")
        return value

    def end(self, known: str) -> None:
        if self.data:
            raise self.fault(_shown(next(iter(self.data)))[1:-1], f"is not a key here; known are {known}")


def read_command_file(path: Path) -> CommandFile:
    """Read a command file. Nothing is run, and whether the program is installed does not matter.

    Raises:
        PixwardError: missing, no TOML, an unknown, missing or ill-typed key, a placeholder that stands for nothing, a
            slider that nothing uses: one line with the file, the key and what is expected.
    """
    top = _Table(path, "", _toml(path))
    program = top.data.get("program")
    programs = (top.text("program", ...),) if isinstance(program, str) else top.texts("program")
    inner = _Table(path, "[sidecar] ", top.table("sidecar"))
    template = inner.text("template", ...) if inner.data else None
    suffix = inner.text("suffix", ...) if template else ".json"
    inner.end("suffix, template")
    if not re.fullmatch(r"\.[A-Za-z0-9]{1,12}", suffix):
        raise inner.fault("suffix", f'expected a point and letters, like ".xmp", got {_shown(suffix)}')
    sliders = tuple(_sliders(top))
    file = CommandFile(
        path=path,
        name=top.text("name", ...),
        help=top.text("help"),
        install=top.text("install"),
        programs=programs,
        arguments=top.texts("arguments"),
        version=top.texts("version", []),
        oldest=top.text("oldest"),
        input=cast(Literal["tiff", "png"], top.choice("input", ("tiff", "png"))),
        output=cast(Literal["tiff", "png"], top.choice("output", ("tiff", "png"))),
        suffix=suffix,
        template=template,
        space=ParamSpace(sliders),
        values=tuple(_values(path, top.table("values"), [spec.name for spec in sliders])),
    )
    if file.oldest and (not file.version or not _VERSION.fullmatch(file.oldest)):
        raise top.fault("oldest", 'expected numbers and points, like "6.9", and a version key beside it')
    top.end("name, help, install, program, arguments, version, oldest, input, output, sidecar, values, slider")
    _check_placeholders(file)
    return file


def _toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise PixwardError(f"{path} is too large for a command file")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise PixwardError(f"{path} is not a command file: it is not text") from None
    except OSError as error:
        raise PixwardError(f"cannot read the command file {path}: {(error.strerror or str(error)).lower()}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PixwardError(f"{path} is not valid TOML: {error}") from None


def _sliders(top: _Table) -> Iterator[ParamSpec]:
    tables = top.tables("slider", "one [[slider]] table or more")
    if not tables:
        raise top.fault("slider", "is missing; expected one [[slider]] table or more")
    seen: set[str] = set()
    for i, data in enumerate(tables, 1):
        slider = _Table(top.path, f"slider {i}: ", data)
        name = slider.identifier()
        slider = _Table(top.path, f"slider {name}: ", data)
        if name in _RESERVED or name in seen:
            why = "is given twice" if name in seen else "is a placeholder of pixward's; choose another name"
            raise slider.fault("name", why)
        seen.add(name)
        low, high, default = (slider.number(key) for key in ("low", "high", "default"))
        scale = cast(Literal["linear", "log"], slider.choice("scale", ("linear", "log")))
        unit, help_ = slider.text("unit"), slider.text("help")
        slider.end("name, low, high, default, unit, help, scale")
        try:
            yield ParamSpec(name, low, high, default, unit, help_, scale)
        except ValueError as error:
            raise PixwardError(f"{top.path}: {error}") from None


def _values(path: Path, tables: dict[str, Any], sliders: list[str]) -> Iterator[Value]:
    for name, data in tables.items():
        value = _Table(path, "[values] ", {})
        if not _NAME.fullmatch(name) or name in _RESERVED or name in sliders:
            raise value.fault(name, "expected a name of small letters that no slider or placeholder has")
        if not isinstance(data, dict):
            raise value.fault(name, 'expected a table like { slider = "exposure", base = 2 }')
        value = _Table(path, f"[values] {name}: ", data)
        slider = value.text("slider", ...) if "slider" in data else None
        if slider is not None and slider not in sliders:
            raise value.fault("slider", f"there is no slider {_shown(slider)}; known are {', '.join(sliders)}")
        base = value.number("base") if "base" in data else None
        if base is not None and base <= 0:
            raise value.fault("base", f"expected a number above 0, got {base:g}")
        offset, scale, relative = value.number("offset", 0.0), value.number("scale", 1.0), value.flag("relative")
        value.end("slider, offset, scale, base, relative")
        yield Value(name, slider, offset, scale, base, relative)


def _check_placeholders(file: CommandFile) -> None:
    numbers = {*file.space.names, *(value.name for value in file.values), LONGEST}
    used = {key: set[str]() for key in ("arguments", "template")}
    for key, texts, words in (
        ("arguments", file.arguments, PLACES),
        ("template", (file.template or "",), ("setting",)),
    ):
        table = _Table(file.path, "[sidecar] " if key == "template" else "", {})
        for text in texts:
            try:
                found = placeholders(text)
            except ValueError as error:
                raise table.fault(key, str(error)) from None
            for name in found:
                if name not in numbers and name not in words:
                    known = ", ".join([*words, *sorted(numbers)])
                    raise table.fault(key, f"{{{name}}} stands for nothing; known are {known}")
                if name in words and found[name] != {""}:
                    raise table.fault(key, f"{{{name}}} is no number and takes no format")
            used[key].update(found)
    _check_use(file, used["arguments"], used["template"])


def _check_use(file: CommandFile, arguments: set[str], template: set[str]) -> None:
    top, used = _Table(file.path, "", {}), arguments | template
    for name in ("input", "output", *(["sidecar"] if file.template else [])):
        if name not in arguments:
            raise top.fault("arguments", f"{{{name}}} is missing: the program must be told where that file lies")
    if "sidecar" in arguments and not file.template:
        raise top.fault("arguments", "{sidecar} needs a [sidecar] table with a suffix and a template")
    if file.template and "setting" not in template:
        raise top.fault("[sidecar] template", "{setting} is missing; put it into a comment, to be read back from there")
    for value in file.values:
        if value.name not in used:
            raise top.fault(f"[values] {value.name}", f"is used nowhere; write {{{value.name}}} into arguments")
    reach = used | {value.slider for value in file.values}
    for spec in file.space:
        if spec.name not in reach:
            raise top.fault(f"slider {spec.name}", f"is used nowhere; write {{{spec.name}}} into arguments")
    for end in ("low", "high"):
        setting = {spec.name: float(getattr(spec, end)) for spec in file.space}
        for value in file.values:
            try:
                finite = math.isfinite(value.number(setting, 100_000))
            except OverflowError:
                finite = False
            if not finite:
                raise top.fault(f"[values] {value.name}", "is too large for a number at an end of its slider")


def _shown(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)[:60]
    except TypeError:
        return str(value)[:60]
