"""How true a baked .cube is, read by OpenColorIO, and how near sliders come to looks; writes cube.json and cube.md.

    python benchmarks/cube.py

Three parts, each of which ``--parts`` runs by itself and puts beside the others that ``cube.json`` holds:

- ``tables``: random settings of `chain:photo`, half-range and full-range, pointwise sliders only and all of them; each
  baked at 17, 33 and 65 points, written, and applied by OpenColorIO, trilinear and tetrahedral, to two of 20 held-out
  photos (ten each of bsds500/val and photos/hires_cc0, 384 pixels); against the direct render, floats, nothing rounded.
  Our own reader is compared with OpenColorIO's on the same photos.
- ``editors``: half-range settings of darktable and RawTherapee, all sliders, the same at 33 points and 256 pixels.
- ``looks``: ten held-out photos with a look applied, 8 bit, as goals for `chain:photo`: LUT01.cube of mv-lab/nilut, and
  a half-range setting of `chain:paper` as a .cube; `hybrid` at 10 and 30 renders beside CMA-ES at 200.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import PyOpenColorIO as ocio
import torch
from cube_page import page
from torch import Tensor

from pixward.bench.provenance import commit, hardware, today
from pixward.commands.editors import load_editor
from pixward.cube import SIZES, Cube, bake, look_goal, read_cube, remainder, write_cube
from pixward.data.pairs import photo_files
from pixward.editors.chain import PAPER, PHOTO
from pixward.editors.external import ExternalEditor
from pixward.files import save_text
from pixward.image import load, preview
from pixward.match import match
from pixward.metrics.image import ciede2000, srgb_to_lab
from pixward.params import ParamSpace

SHARED = Path("../shared/data")
FOLDERS = (SHARED / "photos/bsds500/val", SHARED / "photos/hires_cc0")
LOOK = SHARED / "luts/cube-files/LUT01.cube"
SPATIAL = ("clarity", "sharpness")
SEED, EACH, SIDE, ASKED = 0, 2, 384, 4
METHODS = {"trilinear": ocio.INTERP_LINEAR, "tetrahedral": ocio.INTERP_TETRAHEDRAL}


def photos(each: int) -> list[Path]:
    """``each`` photos of every folder, spread over it."""
    found = []
    for folder in FOLDERS:
        files = photo_files([folder])
        found += [files[place] for place in np.linspace(0, len(files) - 1, each).round().astype(int)]
    return found


def draw(space: ParamSpace, radius: float, locked: tuple[str, ...], generator: torch.Generator) -> Tensor:
    """A random setting, ``(1, d)`` in slider units, up to ``radius`` of the range away from the defaults."""
    action = space.default_action()
    free = [place for place, name in enumerate(space.names) if name not in locked]
    action[0, free] += radius * (2 * torch.rand(len(free), generator=generator) - 1)
    return space.denormalize(action.clamp(-1, 1))


def by_opencolorio(path: Path, image: Tensor, method: str) -> Tensor:
    """``image`` through the file at ``path``, read and applied by OpenColorIO, clipped to [0, 1]."""
    transform = ocio.FileTransform(str(path), interpolation=METHODS[method])
    processor = ocio.Config.CreateRaw().getProcessor(transform).getDefaultCPUProcessor()
    pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy(), dtype=np.float32)
    processor.applyRGB(pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].clamp(0, 1)


def errors(first: Tensor, second: Tensor) -> Tensor:
    """CIEDE2000 of every pixel."""
    return ciede2000(srgb_to_lab(first), srgb_to_lab(second)).flatten()


class Tally:
    """Errors of one cell of a table: a mean for each setting, and the worst hundredth of the pixels."""

    def __init__(self) -> None:
        self.means: dict[int, list[float]] = defaultdict(list)
        self.lasts: list[float] = []

    def add(self, setting: int, error: Tensor) -> None:
        """One photo's pixels."""
        self.means[setting].append(float(error.mean()))
        self.lasts.append(float(error.kthvalue(max(1, round(0.99 * len(error)))).values))

    def row(self) -> dict[str, float]:
        """What is said of them."""
        each = [float(np.mean(means)) for means in self.means.values()]
        return {
            "mean": round(float(np.mean(each)), 4),
            "worst_setting": round(max(each), 4),
            "p99": round(float(np.mean(self.lasts)), 3),
            "within_half": sum(mean <= 0.5 for mean in each),
            "settings": len(each),
        }


# --- tables ---------------------------------------------------------------------------------------------------------


def tables(settings: int, folder: Path) -> dict[str, Any]:
    pictures = [preview(load(path), SIDE) for path in photos(10)]
    rows, cost, between, left = [], defaultdict(list), 0.0, []
    for radius in (0.5, 1.0):
        for kind, locked in (("pointwise", SPATIAL), ("all", ())):
            generator = torch.Generator().manual_seed(SEED)
            cells: dict[tuple, Tally] = defaultdict(Tally)
            for number in range(settings):
                params = draw(PHOTO.space, radius, locked, generator)
                mine = [pictures[(number * EACH + place) * 7 % len(pictures)] for place in range(EACH)]
                truth = [PHOTO(picture, params) for picture in mine]
                for size in SIZES:
                    cube, path = timed(cost, size, params, folder)
                    for method in METHODS:
                        for picture, direct in zip(mine, truth, strict=True):
                            theirs = by_opencolorio(path, picture, method)
                            cells[size, method].add(number, errors(theirs, direct))
                            between = max(between, float((cube.apply(picture, method) - theirs).abs().max()))
                if kind == "all" and number < ASKED:
                    left_out = remainder(PHOTO, params, preview_of(mine[0]), bake(PHOTO, params, 33))
                    left.append({"radius": radius, "setting": PHOTO.space.to_dict(params[0]), **left_out})
            for (size, method), tally in cells.items():
                rows.append({"radius": radius, "sliders": kind, "size": size, "method": method, **tally.row()})
            print(*rows[-6:], sep="\n", flush=True)
    spent = {
        str(size): {
            name: round(float(np.median([row[place] for row in cost[size]])), 3) for place, name in enumerate(COST)
        }
        for size in SIZES
    }
    return {
        "settings": settings,
        "each": EACH,
        "asked": ASKED,
        "rows": rows,
        "readers_differ": between,
        "cost": spent,
        "remainder": left,
    }


COST = ("bake_s", "write_s", "read_s", "bytes")


def timed(cost: dict[int, list], size: int, params: Tensor, folder: Path) -> tuple[Cube, Path]:
    """A table baked, written and read back, and what each took."""
    path = folder / "baked.cube"
    marks = [time.perf_counter()]
    cube = bake(PHOTO, params, size)
    marks.append(time.perf_counter())
    write_cube(path, cube, "baked", force=True)
    marks.append(time.perf_counter())
    cube = read_cube(path)
    marks.append(time.perf_counter())
    cost[size].append((*np.diff(marks), path.stat().st_size))
    # OpenColorIO remembers files by name.
    ocio.ClearAllCaches()
    return cube, path


def preview_of(picture: Tensor) -> Tensor:
    return preview((picture[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


# --- editors --------------------------------------------------------------------------------------------------------


def editors(settings: int, folder: Path) -> dict[str, Any]:
    pictures = [preview(load(path)) for path in photos(5)]
    rows, sentences = [], {}
    for name in ("darktable", "rawtherapee"):
        with ExternalEditor(load_editor(name).program) as editor:
            generator = torch.Generator().manual_seed(SEED)
            cells: dict[tuple, Tally] = defaultdict(Tally)
            seconds = []
            for number in range(settings):
                params, picture = draw(editor.space, 0.5, (), generator), pictures[number % len(pictures)]
                direct = editor(picture, params)
                for like in ("any photo", "this photo"):
                    start = time.perf_counter()
                    cube = bake(editor, params, 33, like=picture if like == "this photo" else None)
                    seconds.append(time.perf_counter() - start)
                    write_cube(folder / "real.cube", cube, force=True)
                    ocio.ClearAllCaches()
                    theirs = by_opencolorio(folder / "real.cube", picture, "trilinear")
                    cells[like, "all"].add(number, errors(theirs, direct))
                left = remainder(editor, params, picture, cube)
                cells["this photo", "surroundings"].means[number] = [left["surroundings"]["mean"]]
                cells["this photo", "surroundings"].lasts.append(left["surroundings"]["p99"])
                print(name, number, left["sentence"], flush=True)
                sentences.setdefault(name, left["sentence"])
            for (like, what), tally in cells.items():
                rows.append({"editor": name, "baked_for": like, "what": what, **tally.row()})
            rows[-1]["bake_s"] = round(float(np.median(seconds)), 1)
    return {"settings": settings, "rows": rows, "sentences": sentences}


# --- looks ----------------------------------------------------------------------------------------------------------

RUNS = (("hybrid", 10), ("hybrid", 30), ("cmaes", 200))


def looks(count: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(SEED)
    given = {"LUT01.cube": read_cube(LOOK)}
    given["chain:paper's"] = bake(PAPER, draw(PAPER.space, 0.5, ("texture",), generator))
    rows = []
    for name, cube in given.items():
        found: dict[str, list] = defaultdict(list)
        for path in photos(count // len(FOLDERS)):
            photo = load(path)
            source, goal = preview(photo), preview(look_goal(photo.pixels, cube))
            for strategy, renders in RUNS:
                start = time.perf_counter()
                result = match(source, goal, editor=PHOTO, strategy=strategy, renders=renders, seed=SEED)
                found[f"{strategy}@{renders}"].append(
                    {**result.distance, "seconds": time.perf_counter() - start, "renders": result.renders}
                )
            found["before"].append(result.source_distance)
        for run, values in found.items():
            means = {key: round(float(np.mean([value[key] for value in values])), 3) for key in values[0]}
            worst = {"worst_psnr": round(min(value["psnr"] for value in values), 2)}
            rows.append({"look": name, "run": run, "photos": len(values), **means, **worst})
        print(*rows[-4:], sep="\n", flush=True)
    return {"rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", nargs="*", choices=["tables", "editors", "looks"], default=["tables", "editors", "looks"]
    )
    parser.add_argument("--settings", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    job = parser.parse_args()
    target = job.out / "cube.json"
    result = json.loads(target.read_text()) if target.exists() else {}
    for part in job.parts:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            start = time.perf_counter()
            if part == "tables":
                answer = tables(job.settings, Path(folder))
            elif part == "editors":
                answer = editors(max(1, job.settings // 4), Path(folder))
            else:
                answer = looks(10)
        origin = {"commit": commit(), "date": today(), "seed": SEED, "seconds": round(time.perf_counter() - start)}
        result[part] = {**origin, "hardware": hardware(), "opencolorio": ocio.__version__, **answer}
        save_text(target, json.dumps(result, indent=1) + "\n")
    save_text(job.out / "cube.md", page(result))


if __name__ == "__main__":
    main()
