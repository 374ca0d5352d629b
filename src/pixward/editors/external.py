"""An editor that is another program: tensors in, files and processes between, tensors out."""

from __future__ import annotations

import hashlib
import shutil
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import tifffile
import torch
from torch import Tensor

from pixward.editors.pool import Counts, Frame, Job, Pool, Worker
from pixward.editors.processes import scratch
from pixward.errors import PixwardError
from pixward.image import resize_to
from pixward.params import ParamSpace

_FRAMES = 256


class EditorProgram(Protocol):
    """What a real editor brings along: its sliders, its sidecars, and its processes."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def space(self) -> ParamSpace:
        """Its sliders."""
        ...

    def sidecar(self, setting: Mapping[str, float], frame: Frame) -> str:
        """The text that makes the editor render ``frame`` with ``setting`` ``{slider: value in its unit}``."""
        ...

    def start(self, *, raw: bool, seconds: float = 60.0) -> Worker:
        """A new process, see :class:`pixward.editors.pool.Program`."""
        ...


class ExternalEditor:
    """A black-box editor as the rest of pixward knows editors: ``editor(images, params) -> images``.

    Close it, or use it in a ``with`` block; whatever is left is closed when Python ends.
    """

    differentiable = False

    def __init__(self, program: EditorProgram, *, workers: int | None = None, seconds: float = 60.0) -> None:
        """``workers``: processes side by side, None for one a core. ``seconds``: what a render or a start may take."""
        self.program = program
        self.pool = Pool(program, workers=workers, seconds=seconds)
        self._folder = scratch()
        self._frames: OrderedDict[str, Frame] = OrderedDict()
        # Not atexit on self: that would keep the editor, and its pictures, alive for ever.
        self._finish = weakref.finalize(self, _clear, self.pool, self._folder)

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def space(self) -> ParamSpace:
        """The program's sliders."""
        return self.program.space

    @property
    def counts(self) -> Counts:
        """How many pictures were rendered, and how many came from memory."""
        return self.pool.counts

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """Render ``images`` ``(B, 3, H, W)`` with ``params`` ``(B, d)`` or ``(1, d)`` in slider units.

        Raises:
            ValueError: a shape that does not fit.
            PixwardError: the editor is missing, hung or died, or returned a picture of another size.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"{self.name}: images must be (B, 3, H, W), got {tuple(images.shape)}")
        check_params(self.name, self.space, params, images.shape[0])
        jobs = []
        for image, row in zip(images, params.expand(images.shape[0], -1), strict=True):
            frame = self.frame(image)
            jobs.append(Job(frame, self.program.sidecar(self.space.to_dict(row), frame)))
        pictures = self.pool.render(jobs)
        while len(self._frames) > _FRAMES:  # only now: the jobs of a large batch need theirs
            self._frames.popitem(last=False)[1].path.unlink(missing_ok=True)
        return stack(self.name, pictures, images)

    def frame(self, image: Tensor) -> Frame:
        """``image`` ``(3, H, W)`` in [0, 1] as a 16-bit TIFF in the editor's scratch folder."""
        # 65535 = 255 * 257, so that 8-bit values stay exact.
        pixels = (image.detach().cpu().clamp(0, 1) * 65535).round().to(torch.int32).permute(1, 2, 0).numpy()
        pixels = np.ascontiguousarray(pixels.astype(np.uint16))
        key = hashlib.blake2b(pixels.tobytes() + repr(pixels.shape).encode(), digest_size=16).hexdigest()
        if key in self._frames:
            self._frames.move_to_end(key)
            return self._frames[key]
        path = self._folder / f"{key}.tif"
        try:
            tifffile.imwrite(path, pixels, photometric="rgb")
        except OSError as error:
            raise PixwardError(f"cannot write {self._folder}: {error.strerror or error}; free some space") from error
        self._frames[key] = Frame(path, key, False, max(pixels.shape[:2]))
        return self._frames[key]

    def close(self) -> None:
        """End its processes and remove its files; it renders no more."""
        self._finish()

    def __enter__(self) -> ExternalEditor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FrameEditor:
    """An external editor on one file of its own, a raw proxy say: the images it is given only tell the size.

    A raw file is no tensor: its picture is whatever the editor makes of it. So ``editor(images, params)`` renders the
    file with each row of ``params`` and returns the pictures at the size of ``images``; what ``images`` show does not
    matter. :meth:`picture` gives the render at the defaults, which a search takes as its source.
    """

    differentiable = False

    def __init__(self, editor: ExternalEditor, frame: Frame, *, longest: int | None = None) -> None:
        """``longest``: renders are reduced to this many pixels on the longest side; None leaves them as they are.

        A small raw file is coarse where colours are interpolated: half its size shows what the full file's would.
        """
        self.editor, self.frame, self.longest = editor, frame, longest
        self.name, self.space = editor.name, editor.space

    def __call__(self, images: Tensor, params: Tensor) -> Tensor:
        """Render the file with ``params`` ``(B, d)`` or ``(1, d)``, at the size of ``images`` ``(B, 3, H, W)``."""
        check_params(self.name, self.space, params, images.shape[0])
        rows = params.expand(images.shape[0], -1)
        pictures = self.editor.pool.render([self.job(self.space.to_dict(row)) for row in rows])
        return torch.cat([self._reduced(picture, (images.shape[2], images.shape[3])) for picture in pictures]).to(
            images
        )

    def job(self, setting: Mapping[str, float]) -> Job:
        """The render of the file with ``setting``."""
        return Job(self.frame, self.editor.program.sidecar(setting, self.frame))

    def picture(self, setting: Mapping[str, float] | None = None) -> Tensor:
        """The render ``(1, 3, H, W)`` with ``setting``, of the editor's defaults if None, at the size it has."""
        values = self.space.to_dict(self.space.defaults()[0]) if setting is None else setting
        picture = self.editor.pool.render([self.job(values)])[0]
        height, width = picture.shape[:2]
        scale = min(1.0, (self.longest or height + width) / max(height, width))
        return self._reduced(picture, (max(1, round(height * scale)), max(1, round(width * scale))))

    def _reduced(self, picture: np.ndarray, size: tuple[int, int]) -> Tensor:
        """``(1, 3, h, w)``; PixwardError where the picture has another shape than the others had."""
        height, width = picture.shape[:2]
        if abs(height * size[1] - width * size[0]) > max(height, width):
            raise PixwardError(
                f"{self.name} returned a picture of {width} x {height} pixels, of another shape than before: "
                "sliders that crop or turn cannot be searched"
            )
        return resize_to(as_tensor(picture)[None], size)


def check_params(name: str, space: ParamSpace, params: Tensor, batch: int) -> None:
    """ValueError unless ``params`` is ``(batch, d)`` or ``(1, d)``."""
    if params.ndim != 2 or params.shape[1] != len(space) or params.shape[0] not in (1, batch):
        raise ValueError(f"{name}: params must be ({batch}, {len(space)}), got {tuple(params.shape)}")


def as_tensor(picture: np.ndarray) -> Tensor:
    """``(H, W, 3)`` uint8 or uint16 as ``(3, H, W)`` float32 in [0, 1]."""
    full = float(np.iinfo(picture.dtype).max)
    return torch.from_numpy(picture.astype(np.float32) / full).permute(2, 0, 1).contiguous()


def stack(name: str, pictures: list[np.ndarray], images: Tensor) -> Tensor:
    """Pictures as a batch like ``images``; PixwardError where one has another size."""
    height, width = images.shape[2:]
    for picture in pictures:
        if picture.shape != (height, width, 3):
            raise PixwardError(
                f"{name} returned a picture of {picture.shape[1]} x {picture.shape[0]} pixels for one of "
                f"{width} x {height}: sliders that crop, turn or scale cannot be searched"
            )
    return torch.stack([as_tensor(picture) for picture in pictures]).to(images)


def _clear(pool: Pool, folder: Path) -> None:
    pool.close()
    shutil.rmtree(folder, ignore_errors=True)
