"""The photos of ``editors_faults.py``, whole and damaged, and the places where they lie."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cameras
import numpy as np
from editors_faults_run import Case
from PIL import Image

from pixward.editors.darktable_modules import installation
from pixward.editors.dngfile import write_dng

TOML = """
name = "Copy"
program = "copy-picture"
install = "put copy-picture on the PATH"
arguments = ["{input}", "{output}", "{gain}"]
[values]
gain = { slider = "exposure", base = 2 }
[[slider]]
name = "exposure"
low = -2
high = 2
default = 0
"""


def read_only(folder: Path) -> Callable[[], None]:
    """A folder "photos" that nobody can write to, root included; what it returns takes it away."""
    photos = folder / "here" / "photos"
    photos.mkdir()
    shutil.copy(folder / "here" / "photo.jpg", photos)
    subprocess.run(["mount", "--bind", photos, photos], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", photos], check=True)
    return lambda: subprocess.run(["umount", photos], check=True) and None


def full_disk(folder: Path) -> Callable[[], None]:
    """A folder "full" on a disk of its own without room."""
    disk = folder / "here" / "full"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    (disk / "fill").write_bytes(bytes(64 << 10))
    return lambda: subprocess.run(["umount", disk], check=True) and None


def edited_before(suffix: str, folder: Path) -> None:
    """Two sidecars that a person has made."""
    for name in ("photo.jpg", "photo_01.jpg"):
        (folder / "here" / f"{name}.{suffix}").write_text("a person's work")


def called(name: str, folder: Path) -> None:
    """The photo once more, under another name."""
    shutil.copy(folder / "here" / "photo.jpg", folder / "here" / name)


def make_files(here: Path) -> None:
    """The photos of all rows: a JPEG with a brighter goal, raw files whole and damaged."""
    here.mkdir()
    photos = Path("examples/photos")
    with Image.open(photos / "otters.jpg") as file:
        photo = file.convert("RGB")
    photo.thumbnail((480, 480))
    photo.save(here / "photo.jpg", quality=95)
    goal = photo.point(lambda value: round(255 * (value / 255) ** 0.7))
    goal.save(here / "goal.jpg", quality=95)
    goal.crop((0, 0, 120, 200)).save(here / "upright.jpg")
    with Image.open(photos / "tea.jpg") as file:
        file.convert("RGB").resize(photo.size).save(here / "other.jpg", quality=95)
    rng = np.random.default_rng(0)
    camera, light = cameras.draw_camera(rng), cameras.scene(here / "photo.jpg")
    jpeg, info = cameras.camera_jpeg(light, camera, rng), cameras.dng_info(camera, "camera")
    counts = cameras.expose(light, camera, info, rng)
    write_dng(here / "shot.dng", counts, info, preview=jpeg)
    write_dng(here / "plain.dng", counts, info)
    data = (here / "shot.dng").read_bytes()
    (here / "cut.dng").write_bytes(data[: len(data) // 2])
    (here / "garbage.nef").write_bytes(rng.bytes(5000))
    (here / "empty.nef").touch()
    (here / "copy.toml").write_text(TOML)


def prepared(case: Case, folder: Path) -> None:
    """A script in darktable's place finds its libraries where the real one has them: beside the folder of commands."""
    if case.editor == "darktable" and case.programs:
        (folder / "lib").mkdir()
        (folder / "lib" / "darktable").symlink_to(installation().library)
