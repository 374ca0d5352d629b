"""What people bring themselves, named as ``module:name`` on the command line: the one place that imports it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pixward.errors import PixwardError


def load_named(name: str, what: str, known: str) -> Any:
    """What ``module:name`` stands for; imports the module, also from the current folder, and so runs its code.

    Args:
        name: as it was typed.
        what: it is to be, for errors: "editor".
        known: what else may be typed, for errors: "known are a, b, or module:callable for your own".

    Raises:
        PixwardError: it is not of that form, or cannot be imported.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise PixwardError(f"unknown {what} {name!r}: {known}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise PixwardError(f"cannot import the {what} {name}: {type(error).__name__}: {error}; {known}") from error


def load_callable(name: str, what: str, known: str) -> Callable[..., Any]:
    """The function, or the object that can be called, that ``module:name`` stands for; see :func:`load_named`.

    Raises:
        PixwardError: see :func:`load_named`; or it is a class, or cannot be called.
    """
    found = load_named(name, what, known)
    if isinstance(found, type):
        raise PixwardError(f"the {what} {name} is a class: name a function, or an object made of it")
    if not callable(found):
        raise PixwardError(f"the {what} {name} cannot be called: it is of type {type(found).__name__}")
    return found
