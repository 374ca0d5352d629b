"""Prints, as JSON, how the parameters of an installed darktable's modules lie in memory. Runs as a script of its own.

``python darktable_probe.py LIBRARY_FOLDER MODULE...``. darktable's build makes a description of each module's
parameter struct (type, offset, range, default) and compiles it into the plugin; here the plugins are loaded and the
descriptions read.
They are loaded in a process of their own, since they bring GTK and a good deal of C++ along.

The layout of the descriptions themselves is ``src/common/introspection.h`` of darktable, API version 8.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

API = 8
# In the order of dt_introspection_type_t.
KINDS = (
    *("none", "opaque", "float", "double", "complex", "char", "int8", "uint8", "short", "ushort", "int", "uint"),
    *("long", "ulong", "bool", "array", "enum", "struct", "union"),
)


class _Header(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("type_name", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("field_name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("offset", ctypes.c_size_t),
        ("so", ctypes.c_void_p),
    )


def _numeric(kind: Any) -> type[ctypes.Structure]:
    fields = (("header", _Header), ("low", kind), ("high", kind), ("default", kind))
    return type("_Numeric", (ctypes.Structure,), {"_fields_": fields})


_NUMERIC = {
    "float": _numeric(ctypes.c_float),
    "int8": _numeric(ctypes.c_int8),
    "uint8": _numeric(ctypes.c_uint8),
    "short": _numeric(ctypes.c_int16),
    "ushort": _numeric(ctypes.c_uint16),
    "int": _numeric(ctypes.c_int),
    "uint": _numeric(ctypes.c_uint),
}


class _Bool(ctypes.Structure):
    _fields_ = (("header", _Header), ("default", ctypes.c_int))


class _Array(ctypes.Structure):
    _fields_ = (("header", _Header), ("count", ctypes.c_size_t), ("kind", ctypes.c_int), ("field", ctypes.c_void_p))


class _Value(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_int), ("description", ctypes.c_char_p))


class _Enum(ctypes.Structure):
    _fields_ = (
        ("header", _Header),
        ("count", ctypes.c_size_t),
        ("values", ctypes.POINTER(_Value)),
        ("default", ctypes.c_int),
    )


class _Struct(ctypes.Structure):
    _fields_ = (("header", _Header), ("count", ctypes.c_size_t), ("fields", ctypes.POINTER(ctypes.c_void_p)))


class _Introspection(ctypes.Structure):
    _fields_ = (
        ("api", ctypes.c_int),
        ("version", ctypes.c_int),
        ("type_name", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("field", ctypes.c_void_p),
    )


def scalars(address: int | None, prefix: str, start: int, top: bool = False) -> list[dict[str, Any]]:
    """The numbers of a struct, arrays and inner structs spread out (``red[0]``), that ``start`` bytes lie before."""
    if not address:
        return []
    header = _Header.from_address(address)
    kind = KINDS[header.kind] if 0 <= header.kind < len(KINDS) else "none"
    name = prefix if prefix.endswith("]") or top else prefix + (header.field_name or b"").decode()
    if kind == "struct":
        struct = _Struct.from_address(address)
        inner = [struct.fields[i] for i in range(struct.count)]
        base = 0 if top else header.offset
        within = "" if top else f"{name}."
        return [
            one
            for child in inner
            if child
            for one in scalars(child, within, start + _Header.from_address(child).offset - base)
        ]
    if kind == "array":
        array = _Array.from_address(address)
        size = _Header.from_address(array.field).size if array.field else 0
        return [one for i in range(array.count) for one in scalars(array.field, f"{name}[{i}]", start + i * size)]
    about = {"name": name, "kind": kind, "offset": start, "help": (header.description or b"").decode()}
    if kind in _NUMERIC:
        field = _NUMERIC[kind].from_address(address)
        return [{**about, "low": field.low, "high": field.high, "default": field.default}]
    if kind == "bool":
        return [{**about, "low": 0, "high": 1, "default": _Bool.from_address(address).default}]
    if kind == "enum":
        enum = _Enum.from_address(address)
        # The table ends with an entry without a name.
        values = {v.name.decode(): v.value for v in enum.values[: enum.count] if v.name}
        return [{**about, "values": values, "default": enum.default}]
    return []  # Text and pointers: no slider, and zero in a fresh struct.


def describe(library: ctypes.CDLL) -> dict[str, Any] | None:
    """One plugin's parameters, None where it has no description."""
    if not hasattr(library, "get_introspection"):
        return None
    library.introspection_init.argtypes = [ctypes.c_void_p, ctypes.c_int]
    if library.introspection_init(None, API):
        return None
    library.get_introspection.restype = ctypes.POINTER(_Introspection)
    found = library.get_introspection()
    if not found:
        return None
    about = found.contents
    return {"version": about.version, "size": about.size, "fields": scalars(about.field, "", 0, top=True)}


def main(folder: Path, names: list[str]) -> None:
    """Print ``{module: {version, size, fields}}`` of the modules ``names`` that there are."""
    ctypes.CDLL(str(folder / "libdarktable.so"), mode=ctypes.RTLD_GLOBAL)
    modules = {}
    for name in names:
        path = folder / "plugins" / f"lib{name}.so"
        about = describe(ctypes.CDLL(str(path))) if path.is_file() else None
        if about:
            modules[name] = about
    print(json.dumps(modules))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
