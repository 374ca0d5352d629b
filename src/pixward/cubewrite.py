"""Writing ``.cube`` files, so that every reader of the format takes them; see :mod:`pixward.cubefile`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixward.cubefile import Cube, read_cube
from pixward.errors import PixwardError
from pixward.files import check_target, save_atomic


def write_cube(path: str | Path, cube: Cube, title: str | None = None, *, force: bool = False) -> Path:
    """Write ``cube``; the file appears whole or not at all, and only after it was read back and found equal.

    Every number has the fewest digits that bring its float32 back bit for bit.

    Args:
        path: where to.
        cube: what to write.
        title: in place of the cube's own.
        force: overwrite an existing file.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        PixwardError: the file cannot be written or exists already, or does not read back equal.
        ValueError: values that are not finite, or domains that the format cannot hold.
    """
    text = cube_text(cube, title)
    check_target(path, force=force)

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8", newline="\n")
        if not same(read_cube(part), cube):
            raise PixwardError(f"{path} does not read back as it was written: the disk may be failing; try another")

    return save_atomic(path, write, force=force)


def same(first: Cube, second: Cube) -> bool:
    """Whether two cubes hold the same numbers, bit for bit; titles do not count."""
    for name in ("table", "curves", "domain", "curves_domain"):
        one, other = getattr(first, name), getattr(second, name)
        if (one is None) != (other is None) or (one is not None and not torch.equal(one.cpu(), other.cpu())):
            return False
    return True


def cube_text(cube: Cube, title: str | None = None) -> str:
    """The text of a ``.cube`` file; see :func:`write_cube`.

    Raises:
        ValueError: values that are not finite; curves and a table with a domain that differs by channel.
    """
    title = " ".join((cube.title if title is None else title).replace('"', "'").split())[:200]
    lines = [f'TITLE "{title}"'] if title else []
    rows = []
    both = cube.table is not None and cube.curves is not None
    for name, values, domain in (("1D", cube.curves, cube.curves_domain), ("3D", cube.table, cube.domain)):
        if values is None:
            continue
        if not bool(values.isfinite().all()):
            raise ValueError("a table with values that are not finite cannot be written")
        lines.append(f"LUT_{name}_SIZE {values.shape[-1]}")
        low, high = (_words(end) for end in domain)
        if not both:
            lines += [f"DOMAIN_MIN {' '.join(low)}", f"DOMAIN_MAX {' '.join(high)}"]
        elif len(set(low)) > 1 or len(set(high)) > 1:
            raise ValueError("curves and a table in one file: each needs one range for all its channels")
        else:
            lines.append(f"LUT_{name}_INPUT_RANGE {low[0]} {high[0]}")
        words = _words(values.flatten(1).T)
        rows += [" ".join(words[place : place + 3]) for place in range(0, len(words), 3)]
    return "\n".join([*lines, "", *rows, ""])


def _words(values: Tensor) -> list[str]:
    """Each number with the fewest of 7 to 9 digits that bring its float32 back."""
    numbers = values.detach().cpu().to(torch.float32).flatten().numpy()
    short = list(map("%.7g".__mod__, numbers.tolist()))
    wrong = np.flatnonzero(np.fromiter(map(float, short), np.float64, len(short)).astype(np.float32) != numbers)
    for place in wrong.tolist():
        number = float(numbers[place])
        eight = f"{number:.8g}"
        short[place] = eight if np.float32(float(eight)) == numbers[place] else f"{number:.9g}"
    return short
