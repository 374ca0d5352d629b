"""Editors by name: literal dicts, ``command:FILE.toml``, and ``module:attribute`` for people who bring their own."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pixward.commands.callables import load_named
from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.params import ParamSpace
    from pixward.real import RealProgram
    from pixward.types import Editor

EDITORS = {
    "chain:photo": ("pixward.editors.chain", "PHOTO"),
    "chain:paper": ("pixward.editors.chain", "PAPER"),
}
"""Built-in editors: name -> where they live."""
REAL = {
    "darktable": ("pixward.editors.darktable", "Darktable"),
    "rawtherapee": ("pixward.editors.rawtherapee", "RawTherapee"),
}
"""Real editors: name -> their program object. ``NAME:raw`` stands for the sliders of raw files."""
COMMAND = "command:"
"""What the names of programs that a command file describes begin with."""
EDITOR_HELP = "chain:photo, chain:paper, darktable, rawtherapee, command:FILE.toml, or module:attribute."
_PARTS = ("name", "space", "differentiable")


@dataclass(frozen=True)
class OwnEditor:
    """Somebody's own editor: what goes wrong in it is one line that names it, not a bug of pixward's.

    Attributes:
        label: what the command line calls it.
        editor: the editor itself. It gets a copy of the images, since in-place arithmetic must not change the photo.
    """

    label: str
    editor: Editor

    @property
    def name(self) -> str:
        """The editor's own name."""
        return self.editor.name

    @property
    def space(self) -> ParamSpace:
        """Its sliders."""
        return self.editor.space

    @property
    def differentiable(self) -> bool:
        """As the editor says."""
        return self.editor.differentiable

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """Render.

        Raises:
            PixwardError: the editor raised, or returned something other than floating-point images of the same shape.
        """
        from torch import Tensor

        try:
            output: object = self.editor(images.clone(), params)
        except (PixwardError, MemoryError):
            raise
        except Exception as error:
            raise PixwardError(f"the editor {self.label} failed: {type(error).__name__}: {error}") from error
        if not isinstance(output, Tensor) or not output.is_floating_point():
            kind = output.dtype if isinstance(output, Tensor) else type(output).__name__
            raise PixwardError(f"the editor {self.label} returned {kind}: it must return a float tensor in [0, 1]")
        if output.shape != images.shape:
            raise PixwardError(
                f"the editor {self.label} got images {tuple(images.shape)} and returned {tuple(output.shape)}: "
                "it must return the same shape"
            )
        return output.to(images)


def is_real(name: str) -> bool:
    """Whether ``name`` stands for a program of its own: darktable, RawTherapee, or one of a command file."""
    return name.removesuffix(":raw") in REAL or name.startswith(COMMAND)


def real_program(name: str, *, raw: bool = False, extra: Sequence[str] = ()) -> RealProgram:
    """The program object of a real editor; nothing runs yet.

    Raises:
        PixwardError: a command file that is missing or wrong, a further slider that does not exist.
    """
    if name.startswith(COMMAND):
        from pixward.editors.command import CommandEditor

        if extra:
            raise PixwardError("--slider is for darktable and rawtherapee: write the sliders into the command file")
        return CommandEditor.load(name.removeprefix(COMMAND))
    module, attribute = REAL[name.removesuffix(":raw")]
    program = getattr(importlib.import_module(module), attribute)
    found: RealProgram = program(raw=raw or name.endswith(":raw"), extra=tuple(extra))
    return found


def load_editor(name: str) -> Editor:
    """The editor that ``name`` stands for.

    ``module:attribute`` imports a module, also from the current folder, and so runs its code; ``command:FILE.toml``
    runs the program that the file names.

    Raises:
        PixwardError: no such editor.
    """
    if name in EDITORS:
        module, attribute = EDITORS[name]
        found: Editor = getattr(importlib.import_module(module), attribute)
        return found
    if is_real(name):
        from pixward.editors.external import ExternalEditor

        return ExternalEditor(real_program(name))
    known = f"known are {', '.join([*EDITORS, *REAL])}, command:FILE.toml, or module:attribute for your own"
    # "chain:" is ours: a slip of the pen must not import a file chain.py that happens to lie here.
    if name.startswith("chain:"):
        raise PixwardError(f"unknown editor {name!r}: {known}")
    own = load_named(name, "editor", known)
    if isinstance(own, type) or not callable(own) or not all(hasattr(own, part) for part in _PARTS):
        raise PixwardError(f"{name} is not an editor: it needs {', '.join(_PARTS)}, and to be callable")
    from pixward.params import ParamSpace

    if not isinstance(own.space, ParamSpace):
        raise PixwardError(f"{name} is not an editor: its space is a {type(own.space).__name__}, not a ParamSpace")
    return OwnEditor(name, own)
