"""Any program as an editor, described by a small TOML file: see the guide "your editor"."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tifffile

from pixward import __version__
from pixward.editors.command_file import CommandFile, read_command_file
from pixward.editors.once import Call, OnceWorker
from pixward.editors.placeholders import fill
from pixward.editors.pool import Frame, Job, WorkerLost
from pixward.editors.processes import TimedOut, find_program, run
from pixward.errors import PixwardError
from pixward.image import from_tensor, load, save, to_tensor
from pixward.params import ParamSpace

_ENDING = {"tiff": "tif", "png": "png"}
_SECONDS_VERSION = 20.0
_NUMBERS = re.compile(r"\d+(?:[.-]\d+)+|\d+")
_SETTING = re.compile(r'\{\s*"editor"\s*:')


@dataclass(frozen=True, eq=False)
class CommandEditor:
    """A program that renders a picture from the command line, as the pool and :mod:`pixward.editors.external` want it.

    Attributes:
        file: what its command file says.
        name: ``command:FILE.toml``, with the path as it was given.
    """

    file: CommandFile
    name: str

    @classmethod
    def load(cls, path: str | Path) -> CommandEditor:
        """The editor that a command file describes. Runs nothing yet.

        A command file names a program, and that program runs as soon as something is rendered: load only what the
        user asked for by name.

        Raises:
            PixwardError: the file is missing or wrong; one line with file, key and what is expected.
        """
        return cls(read_command_file(Path(path)), f"command:{path}")

    @property
    def space(self) -> ParamSpace:
        """Its sliders."""
        return self.file.space

    @property
    def suffix(self) -> str:
        """How the names of its sidecars end, ".json" where the program has no parameter file."""
        return self.file.suffix

    @cached_property
    def program(self) -> Path:
        """Where the program is installed: the first of those that the file names.

        Raises:
            PixwardError: none of them is.
        """
        for name in self.file.programs:
            # A path is meant from the command file's folder, as every path in a file of settings.
            found = find_program(str(self._here / name) if "/" in name else name)
            if found:
                return found.absolute()
        raise PixwardError(f"{' or '.join(self.file.programs)} is not installed{self._how}")

    @cached_property
    def version(self) -> str:
        """What the program itself says; "" where the file does not say how to ask.

        Raises:
            PixwardError: it is missing, fails, does not answer, or is older than the file allows.
        """
        program = self.program
        if not self.file.version:
            return ""
        words = {"here": str(self._here)}
        try:
            done = run([str(program), *(fill(text, {}, words) for text in self.file.version)], seconds=_SECONDS_VERSION)
        except TimedOut as error:
            raise PixwardError(f"{self.name}: asked for its version, {error}; check {program}{self._how}") from None
        if done.status:
            raise PixwardError(f"{self.name}: asked for its version, {program} failed: {done.last_line}{self._how}")
        found = _NUMBERS.search(done.output)
        version = found[0] if found else done.last_line
        if self.file.oldest and (not found or _parts(version) < _parts(self.file.oldest)):
            raise PixwardError(f"{self.name}: {program} is {version}, needed is {self.file.oldest} or newer{self._how}")
        return version

    def sidecar(self, setting: Mapping[str, float], frame: Frame) -> str:
        """The parameter file of a render, or a setting file where the program has no parameter file.

        ``setting`` is ``{slider: value in its unit}``; sliders that are left out take their default.

        Raises:
            ValueError: an unknown slider, or a value outside its range.
        """
        whole = self._whole(setting)
        content = {"editor": self.name, "setting": whole, "pixward": __version__}
        if self.file.template is None:
            return json.dumps(content, indent=2) + "\n"
        # On one line, and without "--": comments end there, in XML for one.
        line = json.dumps(content).replace("--", "-\\u002d")
        return fill(self.file.template, self.file.numbers(whole, frame.longest), {"setting": line})

    def read_sidecar(self, text: str) -> dict[str, float]:
        """The setting that :meth:`sidecar` wrote into ``text``, every slider of :attr:`space`.

        It is read where pixward left it, so what another program changed in the file since is not seen.

        Raises:
            PixwardError: there is none, it is another editor's, or it does not fit the sliders.
        """
        found = _SETTING.search(text)
        try:
            data = json.JSONDecoder().raw_decode(text, found.start())[0] if found else None
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict) or not isinstance(data.get("setting"), dict):
            raise PixwardError(f"this is no sidecar that pixward wrote for {self.name}: it holds no setting")
        # By the file's name alone: the folder differs from where it was written to where it is read.
        editor = str(data["editor"])
        if not editor.startswith("command:") or Path(editor.removeprefix("command:")).name != self.file.path.name:
            raise PixwardError(f"this sidecar is of the editor {editor}, not of {self.name}")
        try:
            return self._whole(data["setting"])
        except (ValueError, OverflowError) as error:
            raise PixwardError(f"the sidecar does not fit {self.name}: {error}") from None

    def sidecar_path(self, photo: Path, *, force: bool) -> Path:
        """``photo.jpg.json`` beside the photo; ``photo.jpg_01.json`` and so on where that exists, unless ``force``.

        Raises:
            PixwardError: all hundred names are taken.
        """
        first = photo.with_name(photo.name + self.suffix)
        others = (photo.with_name(f"{photo.name}_{i:02d}{self.suffix}") for i in range(1, 100))
        for path in (first, *others):
            if force or not (path.exists() or path.is_symlink()):
                return path
        raise PixwardError(f"{photo} has a hundred sidecars already; remove some, or pass --force")

    def start(self, *, raw: bool, seconds: float = 60.0) -> OnceWorker:
        """A worker, which runs the program once for each render; nothing is started yet that could take ``seconds``.

        Raises:
            PixwardError: the program is missing or too old; raw files, which no command file can take.
        """
        if raw:
            raise PixwardError(f"{self.name} takes no camera raw files; develop the photo to a 16-bit TIFF first")
        _ = self.version  # missing or too old: said before anything is rendered
        return OnceWorker(self.name, self._prepare)

    def final(self, photo: Path, sidecar: str, out: Path, *, bits: int, seconds: float) -> None:
        """Render ``photo`` at full size with the setting in ``sidecar``, to ``out``, which is replaced if it exists.

        The program gets the photo as a 16-bit sRGB TIFF or PNG, upright, whatever file it is, a camera raw file
        included; the result gets the photo's EXIF, profile and alpha.

        Args:
            photo: any file that :func:`pixward.image.load` reads.
            sidecar: as :meth:`sidecar` wrote it.
            out: .jpg (quality 95), .png, .tiff or .webp.
            bits: 8 or 16, as the format can hold.
            seconds: what the program may take.

        Raises:
            PixwardError: the photo cannot be read, the program is missing, hangs, crashes or writes no picture of the
                photo's size, or ``out`` cannot be written.
        """
        self.read_sidecar(sidecar)
        source = load(photo)
        worker = self.start(raw=False)
        try:
            with tempfile.TemporaryDirectory(prefix="pixward-") as folder:
                opened = Path(folder) / "photo.tif"
                # As the frames of a search are: a program that reads those reads this.
                tifffile.imwrite(opened, from_tensor(to_tensor(source.pixels), 16), photometric="rgb")
                picture = worker.render(Job(Frame(opened, "", False, max(source.size)), sidecar), seconds)
        except WorkerLost as lost:
            raise PixwardError(f"{self.name} {lost}") from lost
        finally:
            worker.close()
        height, width = picture.shape[:2]
        if (width, height) != source.size:
            raise PixwardError(
                f"{self.name} returned a picture of {width} x {height} pixels for one of "
                f"{source.size[0]} x {source.size[1]}: programs that crop, turn or scale do not serve as editors"
            )
        save(out, picture, like=source, bits=bits, force=True)

    @property
    def _here(self) -> Path:
        return self.file.path.absolute().parent

    @property
    def _how(self) -> str:
        """What to append to a message about a program that is not as it should be."""
        return f"; {self.file.install}" if self.file.install else ""

    def _whole(self, setting: Mapping[str, float]) -> dict[str, float]:
        """``setting`` checked, with the other sliders at their defaults, in the space's order."""
        given = {name: self.space.check(name, self._inside(name, value)) for name, value in setting.items()}
        return {spec.name: given.get(spec.name, float(spec.default)) for spec in self.space}

    def _inside(self, name: str, value: object) -> object:
        """``value``, but at the end of its slider where float32, which tensors are of, has put it just outside."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or name not in self.space.names:
            return value
        spec = self.space.specs[self.space.index(name)]
        end = min(max(value, spec.low), spec.high)
        return end if abs(value - end) <= 1e-6 * abs(end) else value

    def _prepare(self, job: Job, folder: Path) -> Call:
        output = folder / f"output.{_ENDING[self.file.output]}"
        words = {"output": str(output), "here": str(self._here)}
        target = folder / f"input.{_ENDING[self.file.input]}"
        if job.frame.path.suffix == target.suffix:
            shutil.copyfile(job.frame.path, target)  # a copy: some programs write into the file that they read
        else:
            save(target, load(job.frame.path).pixels, bits=16)
        words["input"] = str(target)
        if self.file.template is not None:
            sidecar = folder / f"input{self.suffix}"
            sidecar.write_text(job.sidecar, encoding="utf-8")
            words["sidecar"] = str(sidecar)
        numbers = self.file.numbers(self.read_sidecar(job.sidecar), job.frame.longest)
        return Call([str(self.program), *(fill(text, numbers, words) for text in self.file.arguments)], output)


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.split(r"[.-]", version)]
