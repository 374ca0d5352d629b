"""``pixward match`` and its neighbours with real editors, as a user runs them; those that are missing are skipped."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands.conftest import Pixward, edited, picture
from tests.editors.programs import write_gain

from pixward.image import load, quantize, to_tensor
from pixward.match import distances

needs_darktable = pytest.mark.skipif(not shutil.which("darktable-cli"), reason="darktable is not installed")
needs_rawtherapee = pytest.mark.skipif(not shutil.which("rawtherapee-cli"), reason="RawTherapee is not installed")
REAL = [
    pytest.param("darktable", ".xmp", marks=needs_darktable),
    pytest.param("rawtherapee", ".pp3", marks=needs_rawtherapee),
]
ODD = ["two words.png", 'it\'s "odd".png', "$(FILE_NAME) $HOME.png", "line\nbreak.png", "-dash.png"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photo.png, goal.png (brighter, warmer) and gain.toml; the current one."""
    monkeypatch.chdir(tmp_path)
    pixels = picture(96, 64)
    Image.fromarray(pixels).save("photo.png")
    Image.fromarray(edited(pixels, exposure=0.6, temperature=15)).save("goal.png")
    write_gain(tmp_path)
    return tmp_path


def raw_file(path: Path) -> None:
    """A DNG of 240 x 160 with a camera's JPEG inside: brighter, steeper, cropped by 2 %."""
    from pixward.editors.dng import DngInfo, write_dng

    generator = torch.Generator().manual_seed(4)
    coarse, fine = (torch.rand(1, 3, 6 * k, 9 * k, generator=generator) for k in (1, 6))
    size = (160, 240)
    grow = torch.nn.functional.interpolate
    light = (0.7 * grow(coarse, size, mode="bicubic") + 0.3 * grow(fine, size, mode="bicubic")).clamp(0.02, 0.95)[0] / 2
    neutral = np.array([0.5, 1.0, 0.65])
    xyz = [[3.2404542, -1.5371385, -0.4985314], [-0.969266, 1.8760108, 0.041556], [0.0556434, -0.2040259, 1.0572252]]
    matrix = np.diag(neutral) @ np.array(xyz)
    info = DngInfo(((0, 1), (1, 2)), 256.0, 16383.0, tuple(neutral), tuple(map(tuple, matrix)))
    camera = light.permute(1, 2, 0).numpy() * neutral
    mosaic = np.empty(size)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = camera[y::2, x::2, channel]
    shown = (1.9 * light).clamp(0, 1) ** (1 / 2.4)
    shown = (0.5 + 1.15 * (shown - 0.5)).clamp(0, 1)[:, 2:-2, 3:-3].permute(1, 2, 0)
    jpeg = io.BytesIO()
    Image.fromarray((shown * 255).byte().contiguous().numpy()).save(jpeg, "JPEG", quality=95)
    counts = (mosaic * (16383 - 256) + 256).round().astype(np.uint16)
    write_dng(path, counts, info, preview=jpeg.getvalue(), force=True)


@pytest.mark.parametrize("name, suffix", REAL)
def test_a_sidecar_that_the_editor_itself_opens(pixward: Pixward, place: Path, name: str, suffix: str):
    done = pixward("match", "photo.png", "--goal", "goal.png", "--editor", name, "--format", "tiff", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["distance"]["psnr"] > told["source_distance"]["psnr"] + 6
    assert told["renders"] <= 30 and told["version"] and told["agreement"] > 40
    sidecar = place / f"photo.png{suffix}"
    assert told["outputs"]["sidecar"] == str(sidecar)
    # By the editor's own command, as a person would.
    out = place / "own.tif"
    if name == "darktable":
        command = ["darktable-cli", "photo.png", str(sidecar), str(out), "--core", "--library", ":memory:"]
        command += ["--configdir", str(place / "config"), "--conf", "plugins/imageio/format/tiff/bpp=16"]
    else:
        command = [
            "rawtherapee-cli",
            "-q",
            "-Y",
            "-a",
            "-t",
            "-b16",
            "-o",
            str(out),
            "-p",
            str(sidecar),
            "-c",
            "photo.png",
        ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    own, ours = (quantize(to_tensor(load(path).pixels)) for path in (out, place / "pixward-out" / "photo.tiff"))
    assert distances(own, ours)["psnr"] > 45
    # And the setting file gives the same once more.
    again = pixward("render", "photo.png", "--setting", "pixward-out/photo.setting.json", "--out", "again.tiff")
    assert again.code == 0, again.err
    assert distances(quantize(to_tensor(load(place / "again.tiff").pixels)), ours)["psnr"] > 60


@pytest.mark.parametrize("name, suffix", REAL)
def test_a_raw_file_towards_its_cameras_jpeg(pixward: Pixward, place: Path, name: str, suffix: str):
    pytest.importorskip("rawpy")
    raw_file(place / "shot.dng")
    done = pixward("match", "shot.dng", "--goal", "embedded", "--editor", name, "--renders", 20, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["distance"]["psnr"] > told["source_distance"]["psnr"] + 3
    assert 0.95 < told["alignment"]["zoom"] < 1.05 and told["alignment"]["compared"] > 0.5
    assert (place / f"shot.dng{suffix}").is_file()
    assert load(place / "pixward-out" / "shot.jpg").size[0] > 220


@pytest.mark.parametrize("name, suffix", REAL)
def test_existing_sidecars_stay(pixward: Pixward, place: Path, name: str, suffix: str):
    sidecar = place / f"photo.png{suffix}"
    sidecar.write_text("a person's work")
    words = ("match", "photo.png", "--goal", "goal.png", "--editor", name, "--renders", 3, "--json")
    done = pixward(*words)
    assert json.loads(done.out)["outputs"]["sidecar"] == str(place / f"photo_01.png{suffix}")
    assert sidecar.read_text() == "a person's work"
    assert pixward(*words).code == 1  # the other outputs are there
    done = pixward(*words, "--force")
    assert json.loads(done.out)["outputs"]["sidecar"] == str(sidecar)
    assert sidecar.read_text() != "a person's work"


@pytest.mark.parametrize(
    "name, kind, said",
    [
        pytest.param("darktable", "float", "opens photo.tif otherwise than pixward does", marks=needs_darktable),
        pytest.param("rawtherapee", "float", "opens photo.tif otherwise than pixward does", marks=needs_rawtherapee),
        pytest.param("rawtherapee", "webp", "rendered nothing from photo.webp", marks=needs_rawtherapee),
    ],
)
def test_what_an_editor_opens_otherwise_is_said_before_the_search(
    pixward: Pixward, place: Path, name: str, kind: str, said: str
):
    import tifffile

    pixels = picture(96, 64)
    if kind == "float":
        tifffile.imwrite("photo.tif", pixels.astype(np.float32) / 255, photometric="rgb")
    else:
        Image.fromarray(pixels).save("photo.webp", lossless=True)
    before = sorted(os.listdir())
    photo = {"float": "photo.tif", "webp": "photo.webp"}[kind]
    assert said in pixward("match", photo, "--goal", "goal.png", "--editor", name).line
    assert sorted(os.listdir()) == before


def test_a_program_of_ones_own(pixward: Pixward, place: Path):
    done = pixward(
        "match", "photo.png", "--goal", "goal.png", "--editor", "command:gain.toml", "--renders", 6, "--json"
    )
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["distance"]["psnr"] > told["source_distance"]["psnr"] + 3
    assert told["setting"]["exposure"] > 0.1
    assert Path(told["outputs"]["sidecar"]).is_file()
    # A setting file that names a program is no permission to run it.
    words = ("render", "photo.png", "--setting", "pixward-out/photo.setting.json", "--out", "b.png")
    assert "which is code: pass --editor command:gain.toml" in pixward(*words).line
    assert pixward(*words, "--editor", "command:gain.toml").code == 0


@pytest.mark.parametrize("name", ODD)
def test_odd_names(pixward: Pixward, place: Path, name: str):
    shutil.copy("photo.png", name)
    before = set(os.listdir())
    words = ("match", "--goal", "goal.png", "--editor", "command:gain.toml", "--renders", 2, "--out", "o", "--", name)
    done = pixward(*words)
    assert done.code == 0, done.err
    new = set(os.listdir()) - before
    assert new == {"o", "calls.log", f"{name}.json"} or len(new) == 3
    assert {path.name for path in Path("o").iterdir()} == {
        f"{Path(name).stem}{end}" for end in (".setting.json", ".jpg", ".film.png", ".residual.png")
    }


@pytest.mark.parametrize(
    "words, said",
    [
        (["--editor", "darktabel"], "known are chain:photo, chain:paper, darktable, rawtherapee, command:FILE.toml"),
        (["--editor", "command:none.toml"], "none.toml"),
        (["--editor", "command:gain.toml", "--slider", "a.b"], "write the sliders into the command file"),
        (["--slider", "sharpen.amount"], "--slider and --sidecar are for real editors, and chain:photo is none"),
        (["--editor", "command:gain.toml", "--sidecar", "nowhere"], "no such folder; create it first"),
        (["--editor", "command:gain.toml", "--lock", "contrast=3"], "--lock: unknown slider 'contrast'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(pixward: Pixward, place: Path, words: list[str], said: str):
    before = sorted(os.listdir())
    assert said in pixward("match", "photo.png", "--goal", "goal.png", *words).line
    assert sorted(os.listdir()) == before


def test_a_jpeg_inside_a_picture(pixward: Pixward, place: Path):
    done = pixward("match", "photo.png", "--goal", "embedded", "--editor", "command:gain.toml")
    assert "is no camera raw file" in done.line


def test_missing_editors_say_how_to_install_them(pixward: Pixward, place: Path, monkeypatch: pytest.MonkeyPatch):
    from pixward.editors import darktable_modules, rawtherapee_once

    monkeypatch.setenv("PATH", str(place))
    for cached in (darktable_modules.installation, rawtherapee_once.program):
        if hasattr(cached, "cache_clear"):
            cached.cache_clear()
    for name in ("darktable", "rawtherapee"):
        line = pixward("match", "photo.png", "--goal", "goal.png", "--editor", name).line
        assert f"{name}-cli is not installed" in line and "apt install" in line
    done = pixward("editors", "--no-speed")
    assert done.code == 0 and done.out.count("is not installed") == 2
    rows = json.loads(pixward("editors", "--no-speed", "--json").out)
    assert [row["usable"] for row in rows] == [True, True, False, False]


def test_a_folder_that_cannot_be_written(pixward: Pixward, place: Path, monkeypatch: pytest.MonkeyPatch):
    photos = place / "photos"
    photos.mkdir()
    shutil.copy("photo.png", photos / "photo.png")
    real = os.access
    # Not by chmod: for root every folder can be written.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != photos and real(path, mode))
    photos.chmod(stat.S_IRUSR | stat.S_IXUSR)
    words = ("match", photos / "photo.png", "--goal", "goal.png", "--editor", "command:gain.toml", "--renders", 2)
    assert "no permission; name another place with --sidecar DIR" in pixward(*words).line
    assert pixward(*words, "--sidecar", place).code == 0
    assert os.listdir(photos) == ["photo.png"]
    photos.chmod(stat.S_IRWXU)


def test_editors_are_listed_with_their_speed(pixward: Pixward, place: Path):
    done = pixward("editors", "--command", "gain.toml", "--json")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert rows["chain:photo"]["sliders"] == 12 and rows["chain:photo"]["speed"] > 1
    assert rows["command:gain.toml"]["usable"] and rows["command:gain.toml"]["speed"] > 0
    for name in ("darktable", "rawtherapee"):
        assert rows[name]["usable"] == bool(shutil.which(f"{name}-cli"))


@pytest.mark.parametrize("together", [(), ("--one-setting",)])
def test_many_photos_by_a_program_of_ones_own(pixward: Pixward, place: Path, together: tuple[str, ...]):
    shutil.copy("photo.png", "second.png")
    Path("broken.png").write_text("no picture")
    words = ("match", "photo.png", "broken.png", "second.png", "--like", "goal.png", "--editor", "command:gain.toml")
    words = (*words, "--renders", 3, *together, "--json")
    done = pixward(*words)
    assert (done.code, done.err) == (1, "")
    told = json.loads(done.out)
    assert [photo["state"] for photo in told["photos"]] == ["done", "failed", "done"]
    sidecars = [Path(photo["outputs"]["sidecar"]) for photo in told["photos"] if photo["state"] == "done"]
    assert all(path.is_file() for path in sidecars)
    assert len({path.read_text() for path in sidecars}) == 1  # The same photo twice, so the same setting.
    again = json.loads(pixward(*words).out)
    assert [photo["state"] for photo in again["photos"]] == ["kept", "failed", "kept"]
    # Editors write into sidecars, and so may people: that is no reason to do the photo again.
    sidecars[0].write_text("a person's work")
    assert json.loads(pixward(*words).out)["photos"][0]["state"] == "kept"
    sidecars[1].unlink()
    again = json.loads(pixward(*words).out)
    assert [photo["state"] for photo in again["photos"]] == ["kept", "failed", "done"]
    assert sidecars[0].read_text() == "a person's work"


@pytest.mark.parametrize("name, suffix", REAL)
def test_one_setting_by_a_real_editor(pixward: Pixward, place: Path, name: str, suffix: str):
    Image.fromarray(picture(64, 96, seed=3)).save("second.png")
    Path("goals").mkdir()
    for file in ("photo", "second"):
        pixels = np.asarray(Image.open(f"{file}.png"))
        Image.fromarray(edited(pixels, exposure=0.6)).save(f"goals/{file}.png")
    words = ("match", "photo.png", "second.png", "--goal-dir", "goals", "--one-setting", "--editor", name)
    done = pixward(*words, "--renders", 10, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["one_setting"]["photo_renders"] == 2 * told["one_setting"]["renders"]
    for photo in told["photos"]:
        assert photo["distance"]["psnr"] > photo["source_distance"]["psnr"] + 4
        assert photo["setting"] == told["one_setting"]["setting"]
        assert photo["agreement"] > 35
