"""``.cube`` files: looks that other programs made, read as they are found. :mod:`pixward.cubewrite` writes them.

The format is Adobe's Cube LUT Specification 1.0 (``DOMAIN_MIN``, ``DOMAIN_MAX``; one table) with what DaVinci Resolve
adds (``LUT_1D_INPUT_RANGE``, ``LUT_3D_INPUT_RANGE``; curves and a table in one file, curves first). Colours go in and
come out as the file's maker meant them; for photos that is display-referred sRGB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np
import torch
from torch import Tensor

from pixward.errors import PixwardError
from pixward.ops.lut import Method, curves, lookup

LARGEST_1D, LARGEST_3D = 65536, 256
"""Most points on a side that the specification allows."""
_LARGEST_FILE = 1 << 30  # The largest table, written with 17 digits, is about as long as this.
_SIZES = {"LUT_1D_SIZE": LARGEST_1D, "LUT_3D_SIZE": LARGEST_3D}
_RANGES = {"DOMAIN_MIN": 3, "DOMAIN_MAX": 3, "LUT_1D_INPUT_RANGE": 2, "LUT_3D_INPUT_RANGE": 2}
_MOST = 3e38  # What float32 holds.
_VIDEO = ("LUT_IN_VIDEO_RANGE", "LUT_OUT_VIDEO_RANGE")


def _unit() -> Tensor:
    return torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Cube:
    """What a ``.cube`` file holds: curves, a table, or curves and then a table.

    Attributes:
        table: ``(3, N, N, N)`` float32: output channel, then blue, green and red of the input; None without one.
        curves: ``(3, N)`` float32, what each channel becomes by itself before the table; None without them.
        domain: the input's values at the table's two ends, ``(2, 3)``: lowest and highest of each channel.
        curves_domain: the same for the curves.
        title: what its maker called it.
    """

    table: Tensor | None = None
    curves: Tensor | None = None
    domain: Tensor = field(default_factory=_unit)
    curves_domain: Tensor = field(default_factory=_unit)
    title: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for shapes that are no cube."""
        if self.table is None and self.curves is None:
            raise ValueError("a cube needs a table or curves")
        if self.table is not None and (self.table.ndim != 4 or self.table.shape != (3, *self.table.shape[1:2] * 3)):
            raise ValueError(f"the table must be (3, N, N, N), got {tuple(self.table.shape)}")
        if self.curves is not None and (self.curves.ndim != 2 or len(self.curves) != 3):
            raise ValueError(f"the curves must be (3, N), got {tuple(self.curves.shape)}")
        for domain in (self.domain, self.curves_domain):
            if domain.shape != (2, 3) or not bool((domain[0] < domain[1]).all()):
                raise ValueError(f"a domain must be (2, 3), lowest before highest, got {domain.tolist()}")

    def apply(self, images: Tensor, method: Method = "trilinear") -> Tensor:
        """``images`` ``(B, 3, H, W)`` in [0, 1] with this look, clipped to [0, 1].

        Colours outside a domain become what its rim becomes. ``method`` says how colours between the table's entries
        are guessed; the curves are linear between theirs.

        Raises:
            ValueError: a shape or a method that does not fit.
        """
        if self.curves is not None:
            images = curves(_within(images, self.curves_domain), self.curves)
        if self.table is not None:
            images = lookup(_within(images, self.domain), self.table[None], method)
        return images.clamp(0, 1)


def _within(images: Tensor, domain: Tensor) -> Tensor:
    """``domain`` to [0, 1]."""
    low, high = domain.to(images)[:, None, :, None, None]
    return (images - low) / (high - low)


def read_cube(path: str | Path) -> Cube:
    """Read a ``.cube`` file: a 1D LUT, a 3D LUT, or one after the other.

    Comments, blank lines, tabs, any line ends, a byte order mark and keywords in any order and case are taken as they
    come. Values may lie outside [0, 1] and stay as they are.

    Raises:
        PixwardError: a file that is missing or not text, or a fault in it: one line that names the file and the line.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise PixwardError(f"{path} is a folder, not a .cube file")
        if path.stat().st_size > _LARGEST_FILE:
            raise PixwardError(f"{path} is too large for a .cube file (more than 1 GiB)")
        with path.open("rb") as file:
            start = file.read(4096)
        utf16 = start[:2] in (b"\xff\xfe", b"\xfe\xff")
        if b"\0" in start and not utf16:
            raise PixwardError(f"{path} is not a .cube file: it is not text")
        # Titles come in any encoding, numbers are ASCII in all of them.
        with path.open(encoding="utf-16" if utf16 else "utf-8-sig", errors="replace") as lines:
            return _Reader(path).read(lines)
    except UnicodeError:
        raise PixwardError(f"{path} is not a .cube file: it is not text") from None
    except FileNotFoundError:
        raise PixwardError(f"no such file: {path}") from None
    except OSError as error:
        raise PixwardError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None


class _Reader:
    """One pass over the lines; faults are raised where they stand."""

    def __init__(self, path: Path) -> None:
        self.path, self.line = path, 0
        self.title: str | None = None
        self.sizes: dict[str, int] = {}
        self.ranges: dict[str, list[float]] = {}

    def read(self, lines: TextIO) -> Cube:
        rows, wanted, most = array("d"), 0, _MOST
        for words in self._lines(lines):
            if words[0][0].isalpha() and words[0].lower() not in ("nan", "inf", "infinity"):
                if rows:
                    self._fail(f"{_shown(words[0])} stands below the first row of numbers; keywords come first")
                self._keyword(words)
                continue
            wanted = wanted or self._check_header()
            try:  # millions of lines in a large table
                red, green, blue = map(float, words)
            except ValueError:
                red, green, blue = self._numbers(words, 3)
            if not (-most < red < most and -most < green < most and -most < blue < most):
                self._numbers(words, 3)
            rows.extend((red, green, blue))
            if len(rows) > 3 * wanted:
                self._fail(f"more rows than the {wanted} that {self._sizes()} asks for")
        wanted = wanted or self._check_header()
        if len(rows) < 3 * wanted:
            self._fail(f"the file ends after {len(rows) // 3} rows, and {self._sizes()} asks for {wanted}")
        return self._cube(torch.from_numpy(np.array(rows, dtype=np.float32)).view(-1, 3))

    def _lines(self, lines: TextIO) -> Iterator[list[str]]:
        """The words of each line that says something."""
        for self.line, line in enumerate(lines, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0][0] in "tT" and words[0].upper() == "TITLE":
                if self.title is not None:
                    self._fail("TITLE is given twice")
                self.title = line.strip()[5:].strip().strip('"')
                continue
            yield line.split("#")[0].split() if "#" in line else words

    def _keyword(self, words: list[str]) -> None:
        name = words[0].upper()
        if name in self.sizes or name in self.ranges:
            self._fail(f"{name} is given twice")
        if name in _SIZES:
            largest = _SIZES[name]
            if len(words) != 2 or not words[1].isdecimal() or not 2 <= int(words[1][:9]) <= largest:
                self._fail(f"{name} must be a whole number from 2 to {largest}, got {_shown(' '.join(words[1:]))}")
            self.sizes[name] = int(words[1])
        elif name in _RANGES:
            self.ranges[name] = self._numbers(words[1:], _RANGES[name])
        elif name in _VIDEO:
            self._fail(f"{name}: tables for video levels (16 to 235) are not for photos; export one for full range")
        else:
            self._fail(f"unknown keyword {_shown(words[0])}: not a .cube file, or one of another kind")

    def _numbers(self, words: list[str], count: int) -> list[float]:
        if len(words) != count:
            self._fail(f"expected {count} numbers, got {len(words)}: {_shown(' '.join(words))}")
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            hint = "; write 0.5, not 0,5" if any("," in word for word in words) else ""
            self._fail(f"{_shown(' '.join(words))} are not {count} numbers{hint}")
        if not all(abs(number) < _MOST for number in numbers):  # NaN fails as well.
            self._fail(f"{_shown(' '.join(words))}: NaN, infinite or too large a number")
        return numbers

    def _check_header(self) -> int:
        """What cannot be judged before the whole of it is there; how many rows have to follow."""
        if not self.sizes:
            self._fail("LUT_1D_SIZE or LUT_3D_SIZE is missing before the rows of numbers: not a .cube file")
        both = len(self.sizes) == 2
        for name, which in (("LUT_1D_INPUT_RANGE", "LUT_1D_SIZE"), ("LUT_3D_INPUT_RANGE", "LUT_3D_SIZE")):
            if name in self.ranges and which not in self.sizes:
                self._fail(f"{name} without {which}")
            if name in self.ranges and not self.ranges[name][0] < self.ranges[name][1]:
                self._fail(f"{name}: the lower end must lie below the upper one")
        low, high = self._adobe()
        if not all(a < b for a, b in zip(low, high, strict=True)):
            self._fail("DOMAIN_MIN must lie below DOMAIN_MAX in every channel")
        if (low, high) != ([0.0] * 3, [1.0] * 3) and (both or any("INPUT" in name for name in self.ranges)):
            self._fail(
                "DOMAIN_MIN and DOMAIN_MAX beside two tables or an INPUT_RANGE can be read in two ways; "
                "keep LUT_1D_INPUT_RANGE and LUT_3D_INPUT_RANGE only"
            )
        return self.sizes.get("LUT_1D_SIZE", 0) + self.sizes.get("LUT_3D_SIZE", 0) ** 3

    def _adobe(self) -> tuple[list[float], list[float]]:
        return self.ranges.get("DOMAIN_MIN", [0.0] * 3), self.ranges.get("DOMAIN_MAX", [1.0] * 3)

    def _cube(self, rows: Tensor) -> Cube:
        along, side = self.sizes.get("LUT_1D_SIZE", 0), self.sizes.get("LUT_3D_SIZE", 0)
        domains = []
        for name in ("LUT_1D_INPUT_RANGE", "LUT_3D_INPUT_RANGE"):
            low, high = ([end] * 3 for end in self.ranges[name]) if name in self.ranges else self._adobe()
            domains.append(torch.tensor([low, high], dtype=torch.float32))
            if not bool((domains[-1][0] < domains[-1][1]).all()):
                self._fail("the two ends of a domain are the same number in single precision")
        return Cube(
            table=rows[along:].T.reshape(3, side, side, side).contiguous() if side else None,
            curves=rows[:along].T.contiguous() if along else None,
            curves_domain=domains[0] if along else _unit(),
            domain=domains[1] if side else _unit(),
            title=self.title or "",
        )

    def _sizes(self) -> str:
        return " with ".join(f"{name} {size}" for name, size in self.sizes.items())

    def _fail(self, text: str) -> NoReturn:
        raise PixwardError(f"{self.path}, line {max(self.line, 1)}: {text}")


def _shown(text: str) -> str:
    """Somebody else's words, short and without control characters."""
    clean = "".join(sign if sign.isprintable() else "?" for sign in text)
    return repr(clean if len(clean) <= 40 else clean[:37] + "...")
