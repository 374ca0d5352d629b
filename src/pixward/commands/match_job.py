"""What ``pixward match`` is asked to do for one photo, and what comes of it: plain data, which processes hand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pixward.align import Alignment
    from pixward.match import MatchResult
    from pixward.params import ParamSpace

CUBE_SIZES = (17, 33, 65)
"""How many entries along a side a .cube may have: the sizes that every program reads."""


class Format(StrEnum):
    """File formats of the full-size render; the value is the suffix."""

    jpg = "jpg"
    png = "png"
    tiff = "tiff"


@dataclass(frozen=True)
class Outputs:
    """The files of a match that lie in its folder.

    Attributes:
        setting: the sliders.
        image: the full-size render.
        film: the picture of the search; None where a photo is not searched on by itself.
        residual: the map of what was not reached; None for a look, where no pixel has a truth to be compared with.
    """

    setting: Path
    image: Path
    film: Path | None
    residual: Path | None

    @classmethod
    def of(cls, folder: Path, stem: str, file_format: Format, *, film: bool, residual: bool) -> Outputs:
        """Their names in ``folder`` for a photo called ``stem``."""
        return cls(
            folder / f"{stem}.setting.json",
            folder / f"{stem}.{file_format.value}",
            folder / f"{stem}.film.png" if film else None,
            folder / f"{stem}.residual.png" if residual else None,
        )

    def named(self) -> dict[str, Path]:
        """Those that are written, by what they are."""
        both = {"setting": self.setting, "image": self.image, "film": self.film, "residual": self.residual}
        return {name: path for name, path in both.items() if path is not None}

    def paths(self) -> list[Path]:
        """Those that are written."""
        return list(self.named().values())


@dataclass(frozen=True)
class Files:
    """What a match reads and writes, see :func:`pixward.commands.match.command`.

    Attributes:
        photo: what is edited.
        goal: what it is to look like: the same scene, a table of colours (.cube), or with ``look`` another scene.
        outputs: what is written to the folder.
        sidecar: the folder of a real editor's sidecar, None for the photo's own.
        force: replace what is there.
        bits: of the full-size render, None for as many as make sense.
        look: whether ``goal`` shows another scene.
        cube: the table of colours to write.
        cube_size: how many entries along a side it has.
        ours: what lies in the folder under these names is of an earlier run of the same batch: it may be replaced, but
            not a sidecar, which may be a person's work.
    """

    photo: Path
    goal: Path
    outputs: Outputs
    sidecar: Path | None = None
    force: bool = False
    bits: int | None = None
    look: bool = False
    cube: Path | None = None
    cube_size: int = 33
    ours: bool = False


@dataclass(frozen=True)
class Job:
    """One photo to match, see :func:`pixward.commands.match.command`.

    Attributes:
        fixed: the setting is known already, that of a whole series: nothing is searched.
    """

    files: Files
    editor: str
    strategy: str
    renders: int
    locked: dict[str, float]
    seed: int
    networks: Path | None = None
    extra: tuple[str, ...] = ()
    seconds: float = 60.0
    fixed: dict[str, float] | None = None


@dataclass(frozen=True)
class Finish:
    """What there is to tell beside the search.

    Attributes:
        seconds: of the full-size render.
        sidecar: what the editor opens, if it is a real one.
        version: of a real editor.
        agreement: PSNR in dB between the search's last word and the full-size render, for a real editor.
        alignment: how a raw file's goal was laid over it.
        cube: what the table of colours could not hold, as plain data; None where none was asked for.
    """

    seconds: float
    sidecar: Path | None = None
    version: str = ""
    agreement: float | None = None
    alignment: Alignment | None = None
    cube: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Found:
    """What came of a job."""

    result: MatchResult
    space: ParamSpace
    finish: Finish


@dataclass(frozen=True)
class Watch:
    """Who follows a match.

    Attributes:
        quiet: no progress display.
        written: called with what was found and ``{file: where it lies for now}``, when every file is whole and before
            any has its name: what it writes down is true once they have.
    """

    quiet: bool = True
    written: Callable[[Found, Mapping[Path, Path]], None] = field(default=lambda _, __: None)


def parse_locks(texts: list[str]) -> dict[str, float]:
    """``["exposure=0.5"]`` as ``{"exposure": 0.5}``; typer.BadParameter for anything else."""
    locked: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        try:
            number = float(value)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE, as in exposure=0.5", param_hint="--lock") from None
        if not name or not equals:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE, as in exposure=0.5", param_hint="--lock")
        if name in locked:
            raise typer.BadParameter(f"{name} is locked twice", param_hint="--lock")
        locked[name] = number
    return locked


def check_picture_options(bits: int | None, file_format: Format, cube_size: int) -> None:
    """typer.BadParameter for depths and sizes that there are not."""
    if bits not in (None, 8, 16):
        raise typer.BadParameter("must be 8 or 16", param_hint="--bits")
    if bits == 16 and file_format is Format.jpg:
        raise typer.BadParameter("a JPEG holds 8 bits only; add --format png or tiff", param_hint="--bits")
    if cube_size not in CUBE_SIZES:
        raise typer.BadParameter(f"must be one of {', '.join(map(str, CUBE_SIZES))}", param_hint="--cube-size")


@dataclass(frozen=True)
class Order:
    """What a command line says of every photo, see :func:`pixward.commands.match.command`."""

    out: Path
    file_format: Format
    editor: str
    strategy: str
    renders: int
    locked: dict[str, float]
    seed: int
    networks: Path | None
    extra: tuple[str, ...]
    seconds: float
    sidecar: Path | None
    force: bool
    bits: int | None
    cube: Path | None
    cube_size: int

    def job(self, photo: Path, goal: Path, *, look: bool, many: bool = False, together: bool = False) -> Job:
        """The job of one photo.

        Args:
            photo: what is edited.
            goal: what it is to look like.
            look: whether ``goal`` shows another scene.
            many: whether other photos get settings of their own.
            together: whether the photo is searched on with others: film and table are theirs then.

        Raises:
            PixwardError: one file for the tables of many photos.
        """
        from pixward.commands.cubes import cube_path

        outputs = Outputs.of(self.out, photo.stem, self.file_format, film=not together, residual=not look)
        cube = None if together else cube_path(self.cube, photo.stem, many=many)
        files = Files(photo, goal, outputs, self.sidecar, self.force, self.bits, look, cube, self.cube_size)
        return Job(
            files,
            self.editor,
            self.strategy,
            self.renders,
            self.locked,
            self.seed,
            self.networks,
            self.extra,
            self.seconds,
        )


@dataclass(frozen=True)
class Wish:
    """What photos are to look like; one of the three.

    Attributes:
        goal: a picture of the same scene, a .cube, or ``embedded``.
        goal_dir: a folder of such pictures, each named as its photo.
        like: a picture of another scene.
    """

    goal: Path | None = None
    goal_dir: Path | None = None
    like: Path | None = None
