"""Make the example raw files: what a made-up camera would have written of the example photos.

    python examples/make_raw.py

Each photo, reduced to 640 pixels, is taken back to light and through a sensor (``benchmarks/cameras.py``): a Bayer
mosaic with noise, and inside the file the JPEG that the camera's own pipeline would make of it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))
NAMES = ("otters", "street", "tea")


def main() -> None:
    from cameras import make_set

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in NAMES:
            with Image.open(HERE / "photos" / f"{name}.jpg") as photo:
                photo.thumbnail((640, 640), Image.Resampling.LANCZOS)
                photo.save(folder / f"{name}.png")
        raws = make_set(folder / "raw", [folder / f"{name}.png" for name in NAMES], seed=11)
        for name, (dng, _, _) in zip(NAMES, raws, strict=True):
            shutil.copyfile(dng, HERE / "raw" / f"{name}.dng")


if __name__ == "__main__":
    main()
