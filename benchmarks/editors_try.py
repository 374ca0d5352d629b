"""Three raw files, three commands, three sidecars: what a new user sees; writes editors_try.json and the film strips.

    python benchmarks/editors_try.py

Runs the README's second example, each command once, on copies of examples/raw in an empty folder; then opens each
sidecar by the editor's own command line, as a person would, and compares that picture with the one pixward wrote.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from pixward.bench.provenance import commit, hardware, today
from pixward.files import save_text
from pixward.image import load, quantize, to_tensor
from pixward.match import distances

ROOT = Path(__file__).resolve().parents[1]
TRIES = (("otters", "darktable"), ("street", "rawtherapee"), ("tea", "darktable"))
RUNNER = "import sys; from pixward.cli import main; main(sys.argv[1:])"


def by_hand(editor: str, photo: Path, sidecar: Path, out: Path) -> None:
    """The editor's own command."""
    command: list[object] = ["rawtherapee-cli", "-q", "-t", "-b16", "-o", out, "-p", sidecar, "-c", photo]
    if editor == "darktable":
        command = ["darktable-cli", photo, sidecar, out, "--core", "--configdir", out.parent / "config"]
        command += ["--library", ":memory:", "--conf", "plugins/imageio/format/tiff/bpp=16"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=300)


def attempt(name: str, editor: str, folder: Path, pictures: Path) -> dict[str, object]:
    """One command, and its sidecar opened."""
    photo = folder / f"{name}.dng"
    shutil.copyfile(ROOT / "examples" / "raw" / photo.name, photo)
    words = ["match", photo.name, "--goal", "embedded", "--editor", editor]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *words, "--format", "tiff", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - start
    told = json.loads(done.stdout)
    sidecar = folder / told["outputs"]["sidecar"]
    by_hand(editor, photo, sidecar, folder / f"{name}-hand.tif")
    ours, theirs = (
        quantize(to_tensor(load(path).pixels))
        for path in (folder / told["outputs"]["image"], folder / f"{name}-hand.tif")
    )
    with Image.open(folder / told["outputs"]["film"]) as film:
        film = film.convert("RGB")
        film.thumbnail((1200, 4000), Image.Resampling.LANCZOS)
        film.save(pictures / f"editors_try_{name}.jpg", quality=82, optimize=True)
    return {
        "command": "pixward " + " ".join(words),
        "sidecar": sidecar.name,
        "start, PSNR": told["source_distance"]["psnr"],
        "match, PSNR": told["distance"]["psnr"],
        "start, deltaE": told["source_distance"]["delta_e"],
        "match, deltaE": told["distance"]["delta_e"],
        "renders": told["renders"],
        "seconds, all": round(seconds, 1),
        "preview against full size, PSNR": told["agreement"],
        "sidecar opened by hand, PSNR": distances(theirs, ours)["psnr"],
        "film strip": f"[{name}](editors_try_{name}.jpg)",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    job = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = [attempt(name, editor, Path(place), job.folder) for name, editor in TRIES]
    answer = {
        "command": "python benchmarks/editors_try.py",
        "commit": commit(),
        "date": today(),
        "hardware": hardware(),
        "rows": rows,
        "notes": [
            "The files are made up (examples/raw): what made-up cameras would have written, with their JPEG inside. "
            "Start: the plain development that a search begins with. Figures of PSNR and deltaE are the search's, on "
            "previews of 256 pixels, where goal and render correspond."
        ],
    }
    save_text(job.folder / "editors_try.json", json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
