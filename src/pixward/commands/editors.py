"""Editors by name: a literal dict, and ``module:attribute`` for people who bring their own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from pixward.types import Editor

EDITORS = {
    "chain:photo": ("pixward.editors.chain", "PHOTO"),
    "chain:paper": ("pixward.editors.chain", "PAPER"),
}
"""Built-in editors: name -> where they live."""
_PARTS = ("name", "space", "differentiable")


def load_editor(name: str) -> Editor:
    """The editor that ``name`` stands for.

    ``module:attribute`` imports a module, also from the current folder, and so runs its code.

    Raises:
        PixwardError: no such editor.
    """
    if name in EDITORS:
        module, attribute = EDITORS[name]
        found: Editor = getattr(importlib.import_module(module), attribute)
        return found
    module, colon, attribute = name.partition(":")
    known = f"known are {', '.join(EDITORS)}, or module:attribute for your own"
    # "chain:" is ours: a slip of the pen must not import a file chain.py that happens to lie here.
    if not colon or not attribute or module == "chain" or not all(part.isidentifier() for part in module.split(".")):
        raise PixwardError(f"unknown editor {name!r}: {known}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        own = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise PixwardError(f"cannot import the editor {name}: {type(error).__name__}: {error}; {known}") from error
    if isinstance(own, type) or not callable(own) or not all(hasattr(own, part) for part in _PARTS):
        raise PixwardError(f"{name} is not an editor: it needs {', '.join(_PARTS)}, and to be callable")
    return own
