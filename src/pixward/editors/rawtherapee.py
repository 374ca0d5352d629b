"""RawTherapee as an editor: its sliders, its sidecars (.pp3), its renders. Needs rawtherapee-cli 5.8 or newer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pixward.editors import pp3
from pixward.editors import rawtherapee_once as once
from pixward.editors import rawtherapee_sliders as sliders
from pixward.editors.pool import Frame
from pixward.editors.rawtherapee_worker import RawTherapeeWorker
from pixward.errors import PixwardError
from pixward.params import ParamSpace

__all__ = ["RawTherapee"]


@dataclass(frozen=True)
class RawTherapee:
    """RawTherapee, for pictures or for raw files.

    At its defaults it gives a picture back as it is, and develops a raw file with the neutral profile (the camera's
    white balance, a linear tone curve).

    Attributes:
        raw: whether the photos are camera raw files.
        extra: further sliders, ``Section.Key`` of ``rawtherapee_sliders.EXTRA``.
        space: the sliders.

    Raises:
        PixwardError: an unknown further slider.
    """

    raw: bool = False
    extra: Sequence[str] = ()
    space: ParamSpace = field(init=False, repr=False, compare=False)
    suffix: str = field(default=".pp3", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", tuple(self.extra))
        object.__setattr__(self, "space", sliders.space(self.extra))

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return "rawtherapee:raw" if self.raw else "rawtherapee"

    @property
    def version(self) -> str:
        """What rawtherapee-cli says of itself, "5.9".

        Raises:
            PixwardError: it is not installed, too old, or does not say.
        """
        return once.program()[1]

    def sidecar(self, setting: Mapping[str, float], frame: Frame) -> str:
        """The text of a .pp3 that makes RawTherapee render ``frame`` with ``setting``; missing sliders: default.

        White balance is relative to the frame's own; that of a raw file is asked of RawTherapee once per frame.

        Raises:
            PixwardError: RawTherapee cannot read the raw file.
        """
        moved = {name: float(value) for name, value in setting.items() if value and name in self.space.names}
        temperature, green = sliders.DAYLIGHT
        if frame.raw and ("temperature" in moved or "tint" in moved):
            temperature, green = once.as_shot(frame)
        base = sliders.Base(temperature, green, frame.longest, frame.scale)
        note = {
            "setting": moved,
            "temperature": temperature,
            "green": green,
            "longest": frame.longest,
            "scale": frame.scale,
        }
        return pp3.text(sliders.sections(moved, base), note)

    def start(self, *, raw: bool, seconds: float = 60.0) -> RawTherapeeWorker:
        """A new process for raw files or for pictures, which must be ready within ``seconds``.

        Raises:
            PixwardError: RawTherapee is missing, too old, or does not start.
            WorkerLost: it hung or died while starting.
        """
        return RawTherapeeWorker(once.program()[0], raw=raw, seconds=seconds)

    def read_sidecar(self, text: str) -> dict[str, float]:
        """Every slider of our space, as a .pp3 sets it; others at their default.

        Our own text exactly, as long as nobody changed it; of any other, what its keys say: whole numbers are whole,
        tools that are no slider of ours are passed over, and the white balance of a raw file stays as shot, since a
        .pp3 does not say what that was.

        Raises:
            PixwardError: no .pp3 text.
        """
        found = pp3.parse(text)
        setting, base = _noted(pp3.parse_note(text))
        if base is not None and pp3.parse(pp3.text(sliders.sections(setting, base))) == found:
            read = setting
        else:
            known = sliders.Base(*sliders.DAYLIGHT, 1) if base is None and not self.raw else base
            read = sliders.values(found, known)
        return {spec.name: min(max(read.get(spec.name, spec.default), spec.low), spec.high) for spec in self.space}

    def sidecar_path(self, photo: Path, *, force: bool) -> Path:
        """``PHOTO.EXT.pp3``, which RawTherapee opens by itself; ``PHOTO_01.EXT.pp3`` and so on where that exists.

        Those with a number are for a person to load by hand. With ``force`` always the first.
        """
        first = photo.with_name(f"{photo.name}.pp3")
        if force or not _taken(first):
            return first
        for number in range(1, 1000):
            path = photo.with_name(f"{photo.stem}_{number:02d}{photo.suffix}.pp3")
            if not _taken(path):
                return path
        raise PixwardError(f"there are 1000 sidecars of {photo} already; remove some, or use --force")

    def final(self, photo: Path, sidecar: str, out: Path, *, bits: int, seconds: float) -> None:
        """Render ``photo`` at full size with the text of a .pp3, whatever sidecar lies beside it.

        Args:
            photo: a picture or a raw file.
            sidecar: the text.
            out: .jpg (quality 95), .png or .tiff; replaced if it exists.
            bits: 8 or 16 a sample; a JPEG has 8.
            seconds: what it may take.

        Raises:
            PixwardError: RawTherapee is missing, too old, hung, died, cannot read the photo or the sidecar, or wrote
                no picture; or ``out`` cannot be written.
        """
        once.render(photo, sidecar, out, bits=bits, seconds=seconds)

    def final_default(self, photo: Path, out: Path, *, bits: int, seconds: float) -> None:
        """Render ``photo`` as RawTherapee does by default: a raw file with its curve matched to the JPEG inside.

        Raises:
            PixwardError: as of :meth:`final`.
        """
        once.render(photo, None, out, bits=bits, seconds=seconds)

    def default_sidecar(self, frame: Frame) -> str:
        """The .pp3 of a file that nobody touched, all of its keys.

        A matched curve is in it as the wish for one (``HistogramMatching=true``), not as its points.

        Raises:
            PixwardError: as of :meth:`final`.
        """
        return once.default_sidecar(frame.path)


def _noted(note: Mapping[str, object]) -> tuple[dict[str, float], sliders.Base | None]:
    """Setting and base of the note that :meth:`RawTherapee.sidecar` leaves; None where it holds nonsense."""
    setting = note.get("setting")
    rest = [note.get(key) for key in ("temperature", "green", "longest", "scale")]
    moved = list(setting.values()) if isinstance(setting, dict) else [None]
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in rest + moved):
        return {}, None
    temperature, green, longest, scale = cast(list[float], rest)
    if not 1000 < temperature < 100_000 or not 0.01 < green < 100 or not 0 < longest < 1e6 or not 0 < scale <= 1:
        return {}, None
    return {str(name): float(value) for name, value in cast(dict[str, float], setting).items()}, sliders.Base(
        temperature, green, round(longest), scale
    )


def _taken(path: Path) -> bool:
    return path.exists() or path.is_symlink()
