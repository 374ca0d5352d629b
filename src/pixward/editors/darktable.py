"""darktable as an editor: sliders of its scene-referred modules, rendered by darktable itself."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pixward import decode as picture_files
from pixward.editors.darktable_modules import (
    Field,
    Installation,
    Module,
    decode,
    describe,
    encode,
    environment,
    installation,
)
from pixward.editors.darktable_sliders import BASE, PICTURE, RAW, RAW_ALWAYS, Slider, from_modules, to_modules
from pixward.editors.darktable_worker import DarktableWorker, last_words, options, plain_suffix
from pixward.editors.darktable_xmp import Step, read_xmp, write_xmp
from pixward.editors.pool import Frame
from pixward.editors.processes import TimedOut, run, scratch
from pixward.errors import PixwardError
from pixward.files import save_atomic
from pixward.params import ParamSpace, ParamSpec

_WIDEST = 1000.0
"""A field that takes more than this has no range of its own that would be worth a search."""
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
_ENDINGS = {"jpeg": ".jpg", "png": ".png", "tiff": ".tif"}
"""How darktable ends the names of its files, whatever it is asked for."""
_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".tif": "tiff", ".tiff": "tiff"}


class Darktable:
    """The program object of darktable; give it to :class:`pixward.editors.external.ExternalEditor`.

    For pictures (JPEG, PNG, TIFF) it changes nothing at its defaults. For raw files its defaults are +0.7 EV and the
    sigmoid tone curve, near to what darktable itself starts from.

    Attributes:
        name: "darktable", or "darktable:raw".
        space: its sliders.
        suffix: of its sidecars.
    """

    suffix = ".xmp"

    def __init__(self, *, raw: bool = False, extra: Sequence[str] = ()) -> None:
        """``extra``: more sliders, each ``module.field`` or ``module.field=LOW:HIGH``.

        Raises:
            PixwardError: a module or field that does not exist, or has no range; darktable is missing, or too old.
        """
        self.raw = raw
        self.name = "darktable:raw" if raw else "darktable"
        self._sliders: tuple[Slider, ...] = RAW if raw else PICTURE
        for text in extra:
            self._sliders += (self._asked_for(text),)
        self.space = ParamSpace([slider.spec for slider in self._sliders])

    @property
    def version(self) -> str:
        """As darktable says it, "4.2.1"."""
        return self.where.version

    @cached_property
    def where(self) -> Installation:
        """Where it is installed; PixwardError if it is not, or is too old."""
        return installation()

    @cached_property
    def modules(self) -> Mapping[str, Module]:
        """The modules behind the sliders, as this version has them."""
        return describe(self.where, tuple(sorted({slider.module for slider in self._sliders})))

    def sidecar(self, setting: Mapping[str, float], frame: Frame) -> str:
        """The XMP text for a frame; fields that are radii in pixels shrink with it."""
        whole = {**{spec.name: spec.default for spec in self.space}, **setting}
        values = to_modules(whole, self._sliders, RAW_ALWAYS if self.raw else ())
        if not values:  # An empty history would mean "never opened".
            values = {"exposure": {}}
        steps = []
        for name, fields in values.items():
            module = self.modules[name]
            steps.append(Step(name, module.version, encode(module.pack(_scaled(module, fields, frame.scale)))))
        return write_xmp(steps, raw=self.raw)

    def read_sidecar(self, text: str) -> dict[str, float]:
        """``{slider: value}`` of a sidecar: other modules are ignored, sliders that it does not mention at default.

        Raises:
            PixwardError: no sidecar of darktable's, or modules of another version than the installed ones.
        """
        on: dict[str, dict[str, float]] = {}
        for step in read_xmp(text):
            if step.enabled and step.module in self.modules:
                module = self.modules[step.module]
                if step.version != module.version:
                    raise PixwardError(
                        f"the sidecar holds version {step.version} of the module {module.name} and this darktable has "
                        f"version {module.version}: open the photo in darktable once, which brings it up to date"
                    )
                # The first instance: others were added to it by hand, mostly for a part of the picture.
                on.setdefault(step.module, module.unpack(decode(step.params)))
        return from_modules(on, self._sliders)

    def start(self, *, raw: bool, seconds: float = 60.0) -> DarktableWorker:
        """A new process, which must be ready within ``seconds``."""
        return DarktableWorker(self.where, seconds=seconds)

    def sidecar_path(self, photo: Path, *, force: bool) -> Path:
        """``photo.jpg.xmp``; if there is one, a new duplicate ``photo_01.jpg.xmp``, unless ``force``.

        Never the sidecar of another photo, that is called ``photo_01.jpg`` itself.
        """
        path = photo.with_name(f"{photo.name}{self.suffix}")
        number = 0
        while not force and (os.path.lexists(path) or (number and os.path.lexists(path.with_suffix("")))):
            number += 1
            path = photo.with_name(f"{photo.stem}_{number:02d}{photo.suffix}{self.suffix}")
        return path

    def final(self, photo: Path, sidecar: str | None, out: Path, *, bits: int = 8, seconds: float = 600.0) -> None:
        """Render ``photo`` at full size by a ``darktable-cli`` of its own, with ``sidecar`` and no other.

        Args:
            photo: any file that darktable opens.
            sidecar: the text; None for what darktable does with a photo that nobody has touched.
            out: .jpg (quality 95), .png or .tiff; replaced if it exists.
            bits: 8 or 16; a JPEG has 8.
            seconds: how long it may take.

        Raises:
            PixwardError: darktable failed, hung, or wrote no picture; ``out`` or ``bits`` is none that it writes.
        """
        kind = _FORMATS.get(out.suffix.lower())
        if kind is None or bits not in (8, 16):
            raise PixwardError(f"darktable does not write {bits} bits to {out.name}: use .jpg, .png or .tiff, 8 or 16")
        folder = scratch()
        try:
            # Under a plain name: darktable expands $(...) in names, and reads sidecars that lie beside the photo.
            source, result = folder / f"photo{plain_suffix(photo)}", folder / f"result{_ENDINGS[kind]}"
            shutil.copyfile(photo, source)
            command = [str(self.where.command), str(source)]
            if sidecar is not None:
                (folder / "edit.xmp").write_text(sidecar, encoding="utf-8")
                command.append(str(folder / "edit.xmp"))
            command += [str(result), "--apply-custom-presets", "0", "--core", *options(folder)]
            command += [
                "--conf",
                f"plugins/imageio/format/{kind}/" + (f"bpp={bits}" if kind != "jpeg" else "quality=95"),
            ]
            try:
                said = run(command, seconds=seconds, environment=environment(folder))
            except TimedOut as error:
                raise PixwardError(f"darktable did not finish {photo} in {seconds:g} s; it was ended") from error
            if said.status or not result.is_file() or not result.stat().st_size:
                reason = last_words(said.output) or "it said nothing; is the file a photo that darktable opens?"
                raise PixwardError(f"darktable did not render {photo}: {reason}")
            _check(result, photo)
            save_atomic(out, lambda place: _move(result, place), force=True)
        except OSError as error:
            raise PixwardError(f"cannot render {photo}: {(error.strerror or str(error)).lower()}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def final_default(self, photo: Path, out: Path, *, bits: int = 8, seconds: float = 600.0) -> None:
        """Render ``photo`` as darktable does by default: a raw file scene-referred, with its own tone curve.

        Raises:
            PixwardError: as of :meth:`final`.
        """
        self.final(photo, None, out, bits=bits, seconds=seconds)

    def _asked_for(self, text: str) -> Slider:
        found = re.fullmatch(rf"(\w+)\.([\w.\[\]]+)(?:={_NUMBER}:{_NUMBER})?", text)
        if not found:
            raise PixwardError(f"--slider {text}: write module.field or module.field=LOW:HIGH, as sharpen.amount=0:1")
        module = describe(self.where, (found[1],))[found[1]]
        field = module.field(found[2])
        if field.kind in ("enum", "bool"):
            raise PixwardError(f"--slider {text}: that is a choice, not a number that a slider could move")
        for slider in self._sliders:
            if slider.module == module.name and list(slider.fields) == [field.name]:
                raise PixwardError(f"--slider {text}: the slider {slider.spec.name} moves that already")
        low, high = field.low, field.high
        if found[3]:
            low, high = max(low, float(found[3])), min(high, float(found[4]))
        if not low < high or high - low > _WIDEST:
            raise PixwardError(
                f"--slider {text}: give a range within {field.low:g} to {field.high:g}, as in {found[1]}.{found[2]}=0:1"
            )
        default = min(max(_at_rest(found[1], field, low <= 0 <= high), low), high)
        spec = ParamSpec(f"{found[1]}.{found[2]}", low, high, default, "", field.help or f"darktable's {text}.")
        return Slider(spec, found[1], {found[2]: 1.0})


def _at_rest(module: str, field: Field, zero: bool) -> float:
    """Where a slider on request starts.

    A module whose sliders we know does nothing at its own values. Of any other 0 is likeliest to do nothing, since
    what a module does when it is switched on is more than that; but a size or a threshold of 0 makes no sense.
    """
    if module in {slider.module for slider in RAW}:
        value = BASE.get(module, {}).get(field.name, field.default)
        return float(value)
    shape = any(word in field.name for word in ("radius", "threshold", "fulcrum", "sigma", "size"))
    return 0.0 if zero and not shape else field.default


def _scaled(module: Module, fields: Mapping[str, float | str], scale: float) -> Mapping[str, float | str]:
    """``fields``, and what else the module has in pixels, for a picture that is reduced by ``scale``."""
    if scale == 1:
        return fields
    scaled = dict(fields)
    for field in module.fields.values():
        if "radius" in field.name:
            scaled[field.name] = max(float(fields.get(field.name, field.default)) * scale, field.low)
    return scaled


def _check(result: Path, photo: Path) -> None:
    try:
        picture_files.decode(result)
    except PixwardError as error:
        raise PixwardError(f"darktable wrote no picture from {photo}; try the photo in darktable itself") from error


def _move(source: Path, place: Path) -> None:
    shutil.copyfile(source, place)
