"""Raw files made to look like their camera's JPEG, in a real editor; a line of JSON for every raw file and editor.

    python benchmarks/editors_raw.py --editor darktable --out runs/editors/raw.jsonl
    python benchmarks/editors_raw.py --editor rawtherapee --out runs/editors/raw.jsonl

20 synthetic raw files, each by a made-up camera of its own, from 8 photos of photos/hires_cc0 (1600 pixels) and 12 of
bsds500/val (481 pixels); ``benchmarks/cameras.py`` makes them and their "camera JPEGs", whose pipeline is none of the
editors'. What is compared are full-size renders, each by a fresh process of the editor: what the editor does by itself
with a file that nobody has touched (darktable: filmic; RawTherapee: its auto-matched curve), the setting
that ``match`` finds with 30 renders of a small raw file, and with 300 (the oracle: as near as these sliders get). All
three are reduced to 512 pixels, the JPEG is laid over each of them for itself, and only what corresponds in all three
counts. ``--again`` renders and compares once more what was found before, without searching.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from cameras import make_set
from torch import Tensor

from pixward.align import align
from pixward.bench.provenance import commit, hardware
from pixward.commands.editors import real_program
from pixward.data.pairs import photo_files
from pixward.editors.external import ExternalEditor
from pixward.image import load, preview, quantize, resize_to, to_tensor
from pixward.match import distances, match
from pixward.raw import embedded_jpeg
from pixward.real import RealProgram, agreement, lay_goal, open_photo

SHARED = Path("../shared/data/photos")
SIDE = 512
FEW, MANY = 30, 300


def photos() -> list[Path]:
    """What the raw files are made of, in the order of their numbers."""
    return photo_files([SHARED / "hires_cc0"])[:8] + photo_files([SHARED / "bsds500" / "val"])[40:52]


def by_hand(name: str, photo: Path, sidecar: Path, folder: Path) -> Tensor:
    """What the editor's own command makes of the photo and the sidecar on disk, ``(1, 3, H, W)``."""
    out = folder / "by-hand.tif"
    out.unlink(missing_ok=True)
    if name == "darktable":
        command = ["darktable-cli", photo, sidecar, out, "--core", "--configdir", folder / "config"]
        command += ["--library", ":memory:", "--conf", "plugins/imageio/format/tiff/bpp=16"]
    else:
        command = ["rawtherapee-cli", "-q", "-Y", "-t", "-b16", "-o", out, "-p", sidecar, "-c", photo]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=600)
    return to_tensor(load(out).pixels)


def measure(program: RealProgram, editor: ExternalEditor, photo: Path, folder: Path) -> dict:
    """Both searches of one raw file, and how near their full-size renders come."""
    opened = open_photo(photo, program, editor, folder)
    goal, alignment = lay_goal(opened, embedded_jpeg(photo))
    found: dict = {"settings": {}, "start": {}}
    for label, renders in (("match", FEW), ("oracle", MANY)):
        start = time.perf_counter()
        result = match(opened.source, goal, editor=opened.editor, renders=renders)
        seconds = time.perf_counter() - start
        found["settings"][label] = result.setting
        found["start"] = result.source_distance
        found[label] = {"renders": result.renders, "seconds": round(seconds, 2), "preview": result.distance}
    found["alignment"] = {"zoom": alignment.zoom, "k1": alignment.k1, "quality": alignment.quality}
    return found


def compare(program: RealProgram, editor: ExternalEditor, photo: Path, folder: Path, found: dict) -> dict:
    """``found`` with the figures of the full-size renders: match, oracle and the editor's own default."""
    name = program.name.removesuffix(":raw")
    opened = open_photo(photo, program, editor, folder)
    rows = {"match": dict(found["match"]), "oracle": dict(found["oracle"]), "default": {}}
    full: dict[str, Tensor] = {}
    for label, setting in found["settings"].items():
        text, out = opened.sidecar(setting), folder / f"{label}.tif"
        start = time.perf_counter()
        program.final(photo, text, out, bits=16, seconds=900)
        rows[label]["full_seconds"] = round(time.perf_counter() - start, 2)
        rows[label]["agreement"] = agreement(opened, setting, load(out))
        full[label] = to_tensor(load(out).pixels)
        if label == "match":
            sidecar = folder / f"edit{program.suffix}"
            sidecar.write_text(text)
            rows[label]["by_hand"] = distances(quantize(by_hand(name, photo, sidecar, folder)), quantize(full[label]))
    program.final_default(photo, folder / "default.tif", bits=16, seconds=900)
    full["default"] = to_tensor(load(folder / "default.tif").pixels)
    jpeg = preview(embedded_jpeg(photo), 2 * SIDE)
    small, laid = {}, {}
    for label, picture in full.items():
        height, width = picture.shape[2:]
        size = (round(height * SIDE / max(height, width)), round(width * SIDE / max(height, width)))
        small[label] = quantize(resize_to(picture, size))
        laid[label] = align(jpeg, small[label])
    weight = torch.stack([resize_to(one.weight, small["match"].shape[2:]) for one in laid.values()]).amin(0)
    for label, picture in small.items():
        mine = resize_to(weight, (picture.shape[2], picture.shape[3]))
        rows[label]["full"] = distances(picture, quantize(laid[label].goal), mine)
    return {**found, **rows, "compared": round(float((weight > 0).float().mean()), 3)}


def main() -> None:
    """Run what is still to be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--editor", required=True, choices=("darktable", "rawtherapee"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--raws", type=Path, default=Path("runs/editors/raws"), help="where the raw files lie or go")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--again", type=Path, help="lines of an earlier run, whose settings are taken")
    job = parser.parse_args()
    torch.set_num_threads(1)
    if not (job.raws / "truth.json").exists():
        make_set(job.raws, photos(), 0)
    raws = sorted(job.raws.glob("*.dng"))
    lines = [json.loads(line) for line in job.out.read_text().splitlines()] if job.out.exists() else []
    done = {(line["editor"], line["photo"]) for line in lines}
    before = [json.loads(line) for line in job.again.read_text().splitlines()] if job.again else []
    known = {(line["editor"], line["photo"]): line for line in before}
    part, parts = map(int, job.part.split("/"))
    program = real_program(job.editor, raw=True)
    with ExternalEditor(program, workers=1) as editor:
        for number, photo in enumerate(raws):
            if number % parts != part or (job.editor, photo.name) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                old = known.get((job.editor, photo.name))
                found = old or measure(program, editor, photo.absolute(), Path(folder))
                found = compare(program, editor, photo.absolute(), Path(folder), found)
            about = {"editor": job.editor, "version": program.version, "photo": photo.name}
            line = {**found, **about, "commit": old["commit"] if old else commit(), "hardware": hardware()}
            with job.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(photo.name, {label: found[label]["full"] for label in ("default", "match", "oracle")}, flush=True)


if __name__ == "__main__":
    main()
