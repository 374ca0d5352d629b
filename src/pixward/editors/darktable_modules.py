"""What an installed darktable is: its version, its modules, and how their parameters are packed.

Nothing is copied by hand: the layouts come from the plugins' own descriptions (:mod:`pixward.editors.darktable_probe`),
so that a new version of a module is packed as that version wants it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pixward.editors.processes import Finished, TimedOut, find_program, run, scratch
from pixward.errors import PixwardError

COMMAND = "darktable-cli"
INSTALL = "on Debian and Ubuntu: sudo apt install --no-install-recommends darktable; else see darktable.org/install"
OLDEST = (4, 2)
"""Sigmoid came with 4.2."""
_VERSION_SECONDS = 30.0
_PROBE = Path(__file__).with_name("darktable_probe.py")
_FORMATS = {
    "float": "<f",
    "int8": "<b",
    "uint8": "<B",
    "short": "<h",
    "ushort": "<H",
    "int": "<i",
    "uint": "<I",
    "bool": "<i",
    "enum": "<i",
}


@dataclass(frozen=True)
class Field:
    """One number of a module's parameters.

    Attributes:
        name: as darktable's source has it; arrays are spread out, ``red[0]``.
        kind: "float", "int", "bool", "enum", ...
        offset: in bytes.
        default: of a module that was just switched on.
        low, high: hard limits; equal where the module gives none (enums).
        help: what darktable's own interface calls it; may be empty.
        values: of an enum, ``{name: value}``.
    """

    name: str
    kind: str
    offset: int
    default: float
    low: float = 0.0
    high: float = 0.0
    help: str = ""
    values: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Module:
    """A module's parameters: ``version``, ``size`` in bytes, and its fields by name."""

    name: str
    version: int
    size: int
    fields: Mapping[str, Field]

    def pack(self, values: Mapping[str, float | str]) -> bytes:
        """The struct as darktable stores it, little-endian: defaults, and ``values`` on top.

        Raises:
            PixwardError: a field that this version of the module does not have.
        """
        packed = bytearray(self.size)
        for field in self.fields.values():
            _put(packed, field, field.default)
        for name, value in values.items():
            _put(packed, self.field(name), value)
        return bytes(packed)

    def unpack(self, packed: bytes) -> dict[str, float]:
        """All fields of a stored struct.

        Raises:
            PixwardError: it has another size than this version's.
        """
        if len(packed) != self.size:
            raise PixwardError(
                f"{self.name}: {len(packed)} bytes of parameters, and version {self.version} has {self.size}"
            )
        return {
            field.name: struct.unpack_from(_FORMATS[field.kind], packed, field.offset)[0]
            for field in self.fields.values()
        }

    def field(self, name: str) -> Field:
        """The field called ``name``; PixwardError with the known names otherwise."""
        if name not in self.fields:
            known = ", ".join(list(self.fields)[:40])
            raise PixwardError(f"darktable's module {self.name} has no field {name!r}; it has {known}")
        return self.fields[name]


def _put(packed: bytearray, field: Field, value: float | str) -> None:
    if isinstance(value, str):
        known = field.values or {}
        if value not in known:
            raise PixwardError(f"darktable's field {field.name} does not know {value!r}; it has {', '.join(known)}")
        value = known[value]
    form = _FORMATS[field.kind]
    struct.pack_into(form, packed, field.offset, value if form == "<f" else round(value))


def encode(packed: bytes) -> str:
    """Parameters as an XMP sidecar holds them: lower-case hexadecimal digits."""
    return packed.hex()


def decode(text: str) -> bytes:
    """Parameters of an XMP sidecar: hexadecimal, or ``gzNN`` and base64 of a zlib stream.

    Raises:
        PixwardError: neither.
    """
    try:
        if text.startswith("gz"):
            return zlib.decompress(base64.b64decode(text[4:], validate=True))
        return bytes.fromhex(text)
    except (ValueError, binascii.Error, zlib.error) as error:
        raise PixwardError(f"parameters that darktable cannot have written: {text[:24]}...") from error


@dataclass(frozen=True)
class Installation:
    """A darktable on this machine: its command, its version ("4.2.1") and the folder of its libraries."""

    command: Path
    version: str
    library: Path


def environment(folder: Path) -> dict[str, str]:
    """Variables that keep darktable to ``folder``: it makes its folders in the user's home even when asked its version.

    Threads that spin while they wait cost four times the render itself on a busy machine.
    """
    return {
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_WAIT_POLICY": "passive",
    }


def installation() -> Installation:
    """The darktable on the PATH.

    Raises:
        PixwardError: none, one that does not answer, or one that is too old.
    """
    command = find_program(COMMAND)
    if command is None:
        raise PixwardError(f"{COMMAND} is not installed; {INSTALL}")
    return _installed(command.absolute(), command.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _installed(command: Path, changed: int) -> Installation:
    """What is installed as ``command``; ``changed``, the time of its last change, makes an update count."""
    try:
        said = _ask([str(command), "--version"], seconds=_VERSION_SECONDS)
    except TimedOut as error:
        raise PixwardError(f"{command} --version gave no answer; try it by hand, or reinstall darktable") from error
    # After the name: what libraries have to say before it holds numbers too.
    found = re.search(r"darktable(?:-cli)?\s+v?((\d+)\.(\d+)(?:\.\d+)?)", said.output)
    if not found:
        raise PixwardError(f"{command} does not say its version ({said.last_line or 'nothing'}); reinstall darktable")
    if (int(found[2]), int(found[3])) < OLDEST:
        raise PixwardError(f"darktable {found[1]} is too old, it must be 4.2 or newer; {INSTALL}")
    return Installation(command, found[1], _library(command))


def _ask(command: Sequence[str], *, seconds: float) -> Finished:
    """Run a command that is over soon, with a home of its own."""
    folder = scratch()
    try:
        return run(command, seconds=seconds, environment=environment(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _library(command: Path) -> Path:
    prefix = command.resolve().parent.parent
    for pattern in ("lib*/darktable", "lib/*/darktable"):
        for folder in sorted(prefix.glob(pattern)):
            if (folder / "libdarktable.so").is_file():
                return folder
    raise PixwardError(f"the libraries of {command} are not below {prefix}; install darktable by its package")


@lru_cache(maxsize=32)
def describe(where: Installation, names: tuple[str, ...]) -> Mapping[str, Module]:
    """The modules ``names`` of an installation.

    Raises:
        PixwardError: one of them does not exist there, or cannot be described.
    """
    for name in names:
        if not (where.library / "plugins" / f"lib{name}.so").is_file():
            raise PixwardError(f"darktable {where.version} has no module {name!r}")
    try:
        said = _ask([sys.executable, "-I", "-S", str(_PROBE), str(where.library), *names], seconds=60)
        # Libraries that are loaded may have said something before.
        found = json.loads(next((line for line in said.output.splitlines() if line.startswith("{")), ""))
    except (TimedOut, ValueError) as error:
        raise PixwardError(f"the modules of darktable {where.version} cannot be read: {', '.join(names)}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise PixwardError(f"darktable {where.version} does not describe its module {missing[0]}: it cannot be tuned")
    return {
        name: Module(
            name, about["version"], about["size"], {field["name"]: Field(**field) for field in about["fields"]}
        )
        for name, about in found.items()
    }
