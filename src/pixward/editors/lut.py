"""Pointwise sliders by one render of a table: a setting is rendered once and serves any number of photos.

Where every slider that is moved turns a colour into a colour, whatever lies around it, the render of a picture that
holds all colours (a cube of ``points`` to the third) says what any photo becomes. That is checked against a true render
of one of the photos, and where it is not exact enough, or a slider that looks at surroundings is moved, every photo is
rendered. For a single photo it costs more than it saves; for a batch with one setting, a render instead of each.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.ops.lut import as_table, lattice, lookup
from pixward.params import ParamSpace
from pixward.types import Editor

TOLERANCE = 0.5 / 255
"""Mean absolute error up to which a table stands for the editor."""
_WORTH = 3
"""Photos of one setting from which on a table and a check are fewer renders."""


class LutEditor:
    """``editor``, with batches of one setting rendered through a table wherever that is exact enough.

    Attributes:
        tables: settings that were rendered as a table and passed the check.
        refused: those that did not pass it.
    """

    differentiable = False

    def __init__(
        self, editor: Editor, spatial: Collection[str], *, points: int = 33, tolerance: float = TOLERANCE
    ) -> None:
        """``spatial``: sliders that look at a pixel's surroundings or at the whole picture.

        Raises:
            ValueError: a slider that the editor does not have, fewer than 2 points.
        """
        if points < 2:
            raise ValueError(f"a table needs 2 points or more on a side, got {points}")
        self.editor, self.points, self.tolerance = editor, points, tolerance
        self._spatial = [editor.space.index(name) for name in spatial]
        self.tables = self.refused = 0

    @property
    def name(self) -> str:
        """The editor's own."""
        return self.editor.name

    @property
    def space(self) -> ParamSpace:
        """The editor's own."""
        return self.editor.space

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """Render ``images`` ``(B, 3, H, W)`` with ``params`` ``(B, d)`` or ``(1, d)`` in slider units."""
        rows = params.expand(len(images), -1)
        out = torch.empty_like(images)
        settings, which = rows.unique(dim=0, return_inverse=True)
        for place, setting in enumerate(settings):
            mine = (which == place).nonzero().flatten()
            out[mine] = self._one(images[mine], setting[None])
        return out

    def _one(self, images: Tensor, setting: Tensor) -> Tensor:
        """All ``images`` with one setting ``(1, d)``."""
        default = self.space.defaults().to(setting)
        if len(images) < _WORTH or bool((setting != default)[0, self._spatial].any()):
            return self.editor(images, setting.expand(len(images), -1))
        table = self.table(setting)
        truth = self.editor(images[:1], setting)
        if float((lookup(images[:1], table[None]) - truth).abs().mean()) > self.tolerance:
            self.refused += 1
            return torch.cat([truth, self.editor(images[1:], setting.expand(len(images) - 1, -1))])
        self.tables += 1
        return torch.cat([truth, lookup(images[1:], table[None])])

    def table(self, setting: Tensor) -> Tensor:
        """What every colour of the cube becomes, ``(3, n, n, n)`` for blue, green, red along the last three axes."""
        rendered = self.editor(identity_picture(self.points).to(setting), setting)
        return as_table(rendered.flatten(2)[0, :, : self.points**3].T)


def identity_picture(points: int) -> Tensor:
    """A picture ``(1, 3, h, w)`` that holds every colour of a cube once, red running fastest; the rest is black."""
    colours = lattice(points).T
    width = points * max(1, round(points**0.5))
    height = -(-colours.shape[1] // width)
    return F.pad(colours, (0, height * width - colours.shape[1])).view(1, 3, height, width)
