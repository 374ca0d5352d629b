from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from tests.commands.conftest import Pixward, edited, picture

from pixward.image import load, preview
from pixward.match import distances

KEYS = ["editor", "strategy", "setting", "renders", "distance", "source_distance", "seconds", "outputs", "unreached"]
FAST = ("--strategy", "least-squares", "--renders", "20")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_json_has_the_keys_of_the_contract_and_true_figures(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path):
    out = tmp_path / "out"
    done = pixward("match", photo, "--goal", goal, *FAST, "--out", out, "--json")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert list(result) == KEYS
    assert result["editor"] == "chain:photo"
    assert result["strategy"] == "least-squares"
    assert len(result["setting"]) == 12
    assert 1 <= result["renders"] <= 20
    assert set(result["distance"]) == set(result["source_distance"]) == {"psnr", "ssim", "delta_e"}
    assert set(result["seconds"]) == {"search", "render"}
    assert names(out) == {"photo.setting.json", "photo.jpg", "photo.film.png", "photo.residual.png"}
    assert result["outputs"] == {
        "setting": str(out / "photo.setting.json"),
        "image": str(out / "photo.jpg"),
        "film": str(out / "photo.film.png"),
        "residual": str(out / "photo.residual.png"),
    }
    # The figures can be had from the files alone: the setting's render against the goal, both 8 bit.
    again = torch.from_numpy(edited(picture(), **result["setting"]))
    again = again.permute(2, 0, 1)[None].float() / 255
    assert distances(again, preview(load(goal))) == pytest.approx(result["distance"], abs=1e-3)
    assert distances(preview(load(photo)), preview(load(goal))) == pytest.approx(result["source_distance"], abs=1e-5)
    assert result["distance"]["psnr"] > result["source_distance"]["psnr"] + 10
    setting = json.loads((out / "photo.setting.json").read_text())
    assert setting["editor"] == "chain:photo"
    assert setting["setting"] == result["setting"]


def test_the_table_names_sliders_distances_and_files(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path):
    done = pixward("match", photo, "--goal", goal, *FAST, "--lock", "sharpness=5", "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "")
    assert "exposure" in done.out
    assert any(line.split()[:2] == ["sharpness", "5.0"] and "(locked)" in line for line in done.out.splitlines())
    assert "dB" in done.out
    assert f"wrote {tmp_path / 'out' / 'photo.jpg'}" in done.out


def test_a_match_renders_the_same_as_render(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert pixward("match", photo, "--goal", goal, *FAST, "--out", out, "--format", "png").code == 0
    again = tmp_path / "again.png"
    assert pixward("render", photo, "--setting", out / "photo.setting.json", "--out", again).code == 0
    assert np.array_equal(np.asarray(Image.open(out / "photo.png")), np.asarray(Image.open(again)))


def test_same_seed_same_setting(pixward: Pixward, photo: Path, tmp_path: Path):
    goal = tmp_path / "far.png"  # So far that every random setting is an improvement.
    Image.fromarray(edited(picture(), exposure=-3.0, saturation=-100.0)).save(goal)

    def setting(seed: int, folder: str) -> dict[str, float]:
        arguments = ("--strategy", "random", "--seed", seed, "--out", tmp_path / folder, "--json")
        return json.loads(pixward("match", photo, "--goal", goal, *arguments).out)["setting"]

    assert setting(3, "a") == setting(3, "b")
    assert setting(3, "c") != setting(4, "d")


def test_locked_sliders_stay(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path):
    locks = ("--lock", "saturation=-25", "--lock", "exposure = 0.25")
    done = pixward("match", photo, "--goal", goal, *FAST, *locks, "--out", tmp_path / "out", "--json")
    result = json.loads(done.out)
    assert result["setting"]["saturation"] == -25
    assert result["setting"]["exposure"] == 0.25
    assert result["unreached"]["locked"] == ["saturation", "exposure"]


@pytest.mark.parametrize("editor", ["chain:photo", "chain:paper"])
def test_the_goal_may_be_the_photo_itself(pixward: Pixward, photo: Path, tmp_path: Path, editor: str):
    out = tmp_path / "out"
    done = pixward(
        "match", photo, "--goal", photo, "--editor", editor, *FAST, "--out", out, "--json", "--format", "png"
    )
    result = json.loads(done.out)
    assert result["distance"] == {"psnr": 100, "ssim": 1, "delta_e": 0}
    assert np.array_equal(np.asarray(Image.open(out / "photo.png")), picture())
    assert "reached" in result["unreached"]["sentence"]


def test_one_pixel(pixward: Pixward, tmp_path: Path):
    dot, wish = tmp_path / "dot.png", tmp_path / "wish.png"
    Image.new("RGB", (1, 1), (90, 100, 110)).save(dot)
    Image.new("RGB", (1, 1), (120, 110, 100)).save(wish)
    done = pixward("match", dot, "--goal", wish, *FAST, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert Image.open(tmp_path / "out" / "dot.jpg").size == (1, 1)


@pytest.mark.parametrize("size", [(96, 64), (24, 16), (97, 64), (31, 21)])
def test_a_goal_of_another_size_but_the_same_framing(
    pixward: Pixward, photo: Path, tmp_path: Path, size: tuple[int, int]
):
    wish = tmp_path / "wish.png"
    Image.fromarray(edited(picture(), exposure=0.5)).resize(size).save(wish)
    done = pixward("match", photo, "--goal", wish, *FAST, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["setting"]["exposure"] == pytest.approx(0.5, abs=0.3)


@pytest.mark.parametrize("size", [(32, 48), (48, 48), (50, 32), (48, 33)])
def test_a_goal_of_another_aspect_ratio(pixward: Pixward, photo: Path, tmp_path: Path, size: tuple[int, int]):
    wish = tmp_path / "wish.png"
    Image.new("RGB", size).save(wish)
    done = pixward("match", photo, "--goal", wish, "--out", tmp_path / "out")
    assert done.code == 1
    assert "48 x 32" in done.line
    assert f"{size[0]} x {size[1]}" in done.line
    assert not (tmp_path / "out").exists()


def test_sixteen_bits_exif_and_profile_survive(pixward: Pixward, tmp_path: Path):
    deep, wish = tmp_path / "deep.png", tmp_path / "wish.png"
    import imagecodecs
    from PIL import ImageCms

    pixels = picture()
    deep.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels).astype(np.uint16) * 257))
    Image.fromarray(edited(pixels, exposure=0.3)).save(wish)
    out = tmp_path / "out"
    assert pixward("match", deep, "--goal", wish, *FAST, "--out", out, "--format", "tiff").code == 0
    assert load(out / "deep.tiff").bits == 16
    assert (
        pixward("match", deep, "--goal", wish, *FAST, "--out", out, "--format", "png", "--bits", "8", "--force").code
        == 0
    )
    assert load(out / "deep.png").bits == 8

    tagged = tmp_path / "tagged.jpg"
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tagged, exif=exif, icc_profile=profile)
    assert pixward("match", tagged, "--goal", wish, *FAST, "--out", out).code == 0
    with Image.open(out / "tagged.jpg") as written:
        assert written.getexif()[0x010F] == "Maker"
        assert written.info["icc_profile"] == profile


# --- input that users bring ---------------------------------------------------------------------------------------


def _bad_files(folder: Path) -> dict[str, Path]:
    good = folder / "good.jpg"
    Image.fromarray(picture(200, 150)).save(good)
    paths = {name: folder / f"{name}.jpg" for name in ("missing", "empty", "truncated", "text")}
    paths["empty"].write_bytes(b"")
    paths["truncated"].write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    paths["text"].write_text("this is no picture")
    paths["folder"] = folder / "folder.jpg"
    paths["folder"].mkdir()
    import tifffile

    paths["nan"] = folder / "nan.tiff"
    tifffile.imwrite(paths["nan"], np.full((32, 48, 3), np.nan, np.float32), photometric="rgb")
    return paths


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "text", "folder", "nan"])
@pytest.mark.parametrize("role", ["photo", "goal"])
def test_files_that_are_no_pictures(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path, kind: str, role: str):
    bad = _bad_files(tmp_path)[kind]
    pair = (bad, goal) if role == "photo" else (photo, bad)
    done = pixward("match", pair[0], "--goal", pair[1], "--out", tmp_path / "out", "--json")
    assert done.code == 1
    assert bad.name in done.line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--lock", "exposur=1"), "unknown slider 'exposur'"),
        (("--lock", "exposure=9"), "-3 to 3 EV"),
        (("--lock", "exposure=nan"), "-3 to 3 EV"),
        (("--editor", "chain:foto"), "chain:photo, chain:paper"),
        (("--editor", "no_such_module:editor"), "no_such_module"),
        (("--editor", "math:pi"), "not an editor"),
        (("--strategy", "magic"), "least-squares"),
    ],
)
def test_arguments_that_name_nothing(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path, arguments, says: str):
    done = pixward("match", photo, "--goal", goal, *arguments, "--out", tmp_path / "out")
    assert done.code == 1
    assert says in done.line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--lock", "exposure"),
        ("--lock", "exposure=much"),
        ("--lock", "=1"),
        ("--lock", "exposure=1", "--lock", "exposure=2"),
        ("--renders", "0"),
        ("--renders", "many"),
        ("--seed", "-1"),
        ("--format", "bmp"),
        ("--bits", "12"),
        ("--bits", "16"),
        ("--no-such-option",),
    ],
)
def test_usage_errors(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path, arguments: tuple[str, ...]):
    done = pixward("match", photo, "--goal", goal, *arguments, "--out", tmp_path / "out")
    assert done.code == 2
    assert "pixward match --help" in done.line
    assert not (tmp_path / "out").exists()


def test_every_slider_locked(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path):
    sliders = json.loads(pixward("sliders", "--json").out)
    locks = [word for slider in sliders for word in ("--lock", f"{slider['name']}={slider['default']}")]
    done = pixward("match", photo, "--goal", goal, *locks, "--out", tmp_path / "out")
    assert done.code == 1
    assert "every slider is locked" in done.line


@pytest.mark.parametrize("name", ["photo.setting.json", "photo.jpg", "photo.film.png", "photo.residual.png"])
def test_existing_outputs_are_seen_before_the_search(
    pixward: Pixward, photo: Path, goal: Path, tmp_path: Path, name: str
):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("precious")
    # A strategy that does not exist would be the error if anything were done before the check.
    done = pixward("match", photo, "--goal", goal, "--strategy", "magic", "--out", out)
    assert done.code == 1
    assert name in done.line
    assert "--force" in done.line
    assert (out / name).read_text() == "precious"
    assert names(out) == {name}
    assert pixward("match", photo, "--goal", goal, *FAST, "--out", out, "--force").code == 0
    assert names(out) == {"photo.setting.json", "photo.jpg", "photo.film.png", "photo.residual.png"}


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("victim", ["photo", "goal", "link"])
def test_inputs_are_never_overwritten(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path, victim: str, force):
    place = tmp_path / "here"
    place.mkdir()
    target = place / "photo.png"
    pair = {"photo": (target, goal), "goal": (photo, target), "link": (photo, goal)}[victim]
    if victim == "link":
        target.symlink_to(goal)
    else:
        target.write_bytes((photo if victim == "photo" else goal).read_bytes())
    before = hashlib.sha256(target.read_bytes()).hexdigest()
    done = pixward("match", pair[0], "--goal", pair[1], *FAST, "--format", "png", "--out", place, *force)
    assert done.code == 1
    assert "which is an input" in done.line
    assert hashlib.sha256(target.read_bytes()).hexdigest() == before
    assert names(place) == {"photo.png"}


def test_out_that_is_no_folder(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = pixward("match", photo, "--goal", goal, "--out", tmp_path / "file" / "deeper")
    assert done.code == 1
    assert "not a folder" in done.line


def test_out_without_permission(
    pixward: Pixward, photo: Path, goal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # chmod does not stop root, who may well run these tests.
    monkeypatch.setattr(os, "access", lambda path, mode: not Path(path).is_dir())
    done = pixward("match", photo, "--goal", goal, "--out", tmp_path / "out")
    assert done.code == 1
    assert "no permission" in done.line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ['a b\'s "photo" [red].png', "-leading.png", "ümläut-写真.png", "--force.png", "new\nline.png"]
)
def test_odd_file_names(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path, monkeypatch, name: str):
    (tmp_path / name).write_bytes(photo.read_bytes())
    monkeypatch.chdir(tmp_path)
    done = pixward("match", *FAST, "--out", "-out dir", "--goal", name, "--", name)
    assert done.code == 0, done.err
    ends = (".setting.json", ".jpg", ".film.png", ".residual.png")
    assert names(tmp_path / "-out dir") == {Path(name).stem + end for end in ends}
    assert f"wrote -out dir/{Path(name).stem}.jpg" in done.out


def test_names_that_are_no_text(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xe9.png"))
    odd.write_bytes(photo.read_bytes())
    for extra in ((), ("--json", "--force")):
        done = pixward("match", odd, "--goal", goal, *FAST, "--out", tmp_path / "out", *extra)
        assert done.code == 0, done.err


def test_text_chunks_do_not_matter(pixward: Pixward, goal: Path, tmp_path: Path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "hello")
    path = tmp_path / "commented.png"
    Image.fromarray(picture()).save(path, pnginfo=info)
    assert pixward("match", path, "--goal", goal, *FAST, "--out", tmp_path / "out").code == 0


# --- stopped in the middle ----------------------------------------------------------------------------------------

SLOW_EDITOR = """
import pathlib, time, torch
from pixward.editors.chain import PHOTO

class Slow:
    name, space, differentiable = "slow", PHOTO.space, False

    def __call__(self, images, params):
        large = max(images.shape) > 256
        pathlib.Path("rendering" if large else "searching").touch()
        time.sleep(60 if large == {large} else 0)
        return PHOTO(images, params)

editor = Slow()
"""


@pytest.mark.parametrize("stage", ["searching", "rendering"])
def test_ctrl_c_leaves_nothing(tmp_path: Path, stage: str):
    Image.fromarray(picture(300, 200)).save(tmp_path / "photo.png")
    (tmp_path / "slow.py").write_text(SLOW_EDITOR.replace("{large}", str(stage == "rendering")))
    command = [sys.executable, "-m", "pixward.cli", "match", "photo.png", "--goal", "photo.png", "--out", "new/out"]
    command += ["--editor", "slow:editor", "--strategy", "random", "--renders", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / stage).exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err) == ("", "pixward: stopped\n")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("limit", [400, 4_000])
def test_a_full_disk_leaves_nothing(pixward: Pixward, photo: Path, goal: Path, tmp_path: Path, limit: int):
    out = tmp_path / "out"
    out.mkdir()
    (out / "photo.setting.json").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        done = pixward("match", photo, "--goal", goal, *FAST, "--out", out, "--force")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.code == 1
    assert ".pixward-" not in done.line
    assert str(out) in done.line
    assert names(out) == {"photo.setting.json"}
    assert (out / "photo.setting.json").read_text() == "old"
