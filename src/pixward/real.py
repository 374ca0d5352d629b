"""A photo in a real editor: opened as the editor can be searched on it, and finished as a sidecar and a full render.

A picture is searched on a preview that the editor gets as a file; a raw file on a small raw file of the same scene
(:func:`pixward.editors.dng.raw_proxy`), where the picture to start from is the editor's own render. What is found is
written for the whole photo: radii and such follow its size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from pixward.align import Alignment, align
from pixward.editors.external import EditorProgram, ExternalEditor, FrameEditor
from pixward.editors.pool import Frame
from pixward.errors import PixwardError
from pixward.framing import PREVIEW, check_framing, fitted
from pixward.image import Photo, load, preview, quantize, resize_to
from pixward.metrics.image import psnr
from pixward.raw import is_raw, open_raw
from pixward.search.problem import Goal
from pixward.search.problem import psnr as decibels
from pixward.types import Editor

PROXY = 512
"""Longest side in pixels of the small copy of a raw file, whose renders are then reduced to a preview's size."""
RENDER_SECONDS = 60.0
"""What a render of a search, or the start of an editor's process, may take."""
FULL_SECONDS = 15 * RENDER_SECONDS
"""What a full-size render may take."""


OPENED_OTHERWISE = 18.0
"""dB between search and full-size render below which the editor has not opened what is searched on. Measured: at most
12 where it has not, at least 20 where it turns a picture and loses a row of pixels by it."""


class RealProgram(EditorProgram, Protocol):
    """What a real editor's program object has beside what rendering needs."""

    @property
    def version(self) -> str:
        """As the program says it."""
        ...

    @property
    def suffix(self) -> str:
        """How the names of its sidecars end."""
        ...

    def read_sidecar(self, text: str) -> dict[str, float]:
        """``{slider: value}`` of a sidecar."""
        ...

    def sidecar_path(self, photo: Path, *, force: bool) -> Path:
        """Where the sidecar of a photo goes; never a file that exists, unless ``force``."""
        ...

    def final(self, photo: Path, sidecar: str, out: Path, *, bits: int, seconds: float) -> None:
        """The photo at full size, by a process of its own, as ``sidecar`` says and no other."""
        ...


@dataclass(frozen=True, eq=False)
class Opened:
    """A photo as an editor is searched on it.

    Attributes:
        photo: the file.
        program: the editor.
        editor: renders the preview: an editor like any other.
        source: the untouched picture, ``(1, 3, h, w)``: the preview, or the editor's own render of a raw file.
        frame: the photo at full size, which its sidecar is written for.
        loaded: the photo's pixels; None for a raw file.
    """

    photo: Path
    program: RealProgram
    editor: Editor
    source: Tensor
    frame: Frame
    loaded: Photo | None

    def sidecar(self, setting: Mapping[str, float]) -> str:
        """The sidecar's text for the whole photo."""
        return self.program.sidecar(setting, self.frame)


def open_photo(photo: Path, program: RealProgram, editor: ExternalEditor, folder: Path) -> Opened:
    """Open ``photo`` in an editor.

    Args:
        photo: a picture or a raw file.
        program: the editor's program, for raw files if the photo is one.
        editor: the program's renderer.
        folder: where the small copy of a raw file goes.

    Raises:
        PixwardError: a file that cannot be read, or that the editor cannot render.
    """
    if not is_raw(photo):
        loaded = load(photo)
        frame = Frame(photo, "", False, max(loaded.size))
        return Opened(photo, program, editor, preview(loaded, PREVIEW), frame, loaded)
    with open_raw(photo) as raw:
        longest = int(max(raw.sizes.width, raw.sizes.height))
    whole = Frame(photo, _key(photo), True, longest)
    small = FrameEditor(editor, _small(whole, folder), longest=PREVIEW)
    return Opened(photo, program, small, small.picture(), whole, None)


def lay_goal(opened: Opened, goal: Photo) -> tuple[Tensor | Goal, Alignment | None]:
    """``goal`` in the frame of the source; for a raw file aligned, with what does not correspond masked.

    Raises:
        PixwardError: pictures that are framed differently, or that do not show the same scene.
    """
    if opened.loaded is None:
        # Somewhat finer than the frame: it is resampled once more, where it lies.
        found = align(preview(goal, 2 * max(opened.source.shape[2:])), opened.source)
        return Goal(quantize(found.goal), found.weight), found
    check_framing(opened.loaded.size, goal.size)
    return fitted(goal, (opened.source.shape[2], opened.source.shape[3])), None


def agreement(opened: Opened, setting: Mapping[str, float], full: Photo) -> float:
    """PSNR in dB between the search's render of ``setting`` and the full-size render, reduced to its size.

    That of a raw file is laid over the small one first: an editor may cut some rows off the edges of both.
    """
    params = opened.program.space.from_dict(setting)[None]
    with torch.no_grad():
        small = quantize(opened.editor(opened.source, params))
    size = (small.shape[2], small.shape[3])
    reduced = resize_to(preview(full, max(size)), size)
    plain = round(float(psnr(small, quantize(reduced))), 3)
    if opened.loaded is not None:
        return plain
    try:
        found = align(preview(full, 2 * max(size)), small)
    except PixwardError:
        return plain  # Black, say, or flat: hardly anything to align by. No reason to lose what was found.
    share = found.weight / found.weight.sum()
    error = float((((small - quantize(found.goal)) ** 2).mean(1, keepdim=True) * share).sum())
    return round(decibels(error), 3)


def check_opens(opened: Opened, folder: Path, seconds: float = FULL_SECONDS) -> None:
    """Let the editor render a picture untouched, once at full size, before a search is spent on it.

    Editors read mirrored pictures, CMYK, float samples and rare kinds of files otherwise than pixward, or not at all.

    Raises:
        PixwardError: the editor cannot open the picture, or shows something else.
    """
    setting = opened.program.space.to_dict(opened.program.space.defaults()[0])
    out = folder / "untouched.tif"
    opened.program.final(opened.photo, opened.sidecar(setting), out, bits=8, seconds=seconds)
    if agreement(opened, setting, load(out)) < OPENED_OTHERWISE:
        raise PixwardError(
            f"{opened.program.name} opens {opened.photo} otherwise than pixward does (mirrored, CMYK, float ...?); "
            "save it as an upright 8-bit or 16-bit sRGB file, and match that"
        )


def _small(whole: Frame, folder: Path) -> Frame:
    from pixward.editors.dng import raw_proxy

    try:
        proxy = raw_proxy(whole.path, folder / "proxy.dng", PROXY)
    except PixwardError as error:
        if "Bayer" not in str(error):
            raise
        return whole  # X-Trans and the like cannot be binned: every render is the whole file's, and slow.
    return Frame(proxy.path, _key(proxy.path), True, max(proxy.size), proxy.scale)


def _key(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
