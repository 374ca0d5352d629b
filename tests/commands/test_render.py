from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.commands.conftest import Pixward, edited, picture

from pixward.commands.render import _further
from pixward.image import load
from pixward.settings import Setting


def write(folder: Path, content: object) -> Path:
    path = folder / "setting.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_missing_sliders_take_their_default(pixward: Pixward, photo: Path, tmp_path: Path):
    setting = write(tmp_path, {"editor": "chain:photo", "setting": {"exposure": 0.5, "saturation": -40}})
    out = tmp_path / "out.png"
    done = pixward("render", photo, "--setting", setting, "--out", out)
    assert (done.code, done.out, done.err) == (0, "", "")
    expected = edited(picture(), exposure=0.5, saturation=-40.0).astype(int)
    assert np.abs(np.asarray(Image.open(out)).astype(int) - expected).max() <= 1


def test_an_empty_setting_leaves_the_photo(pixward: Pixward, photo: Path, tmp_path: Path):
    for editor in ("chain:photo", "chain:paper"):
        setting = write(tmp_path, {"editor": editor, "setting": {}, "note": "unknown keys are ignored"})
        assert pixward("render", photo, "--setting", setting, "--out", tmp_path / "out.png", "--force").code == 0
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), picture())


@pytest.mark.parametrize(
    ("name", "bits", "stored"), [("o.tiff", 16, 16), ("o.tif", 8, 8), ("o.png", 16, 16), ("o.webp", 8, 8)]
)
def test_formats_and_depths(pixward: Pixward, photo: Path, tmp_path: Path, name: str, bits: int, stored: int):
    setting = write(tmp_path, {"editor": "chain:photo", "setting": {"contrast": 20}})
    out = tmp_path / "deep" / "er" / name
    done = pixward("render", photo, "--setting", setting, "--out", out, "--bits", bits)
    assert done.code == 0, done.err
    assert load(out).bits == stored


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not valid JSON"),
        ('{"editor": "chain:photo", "setting": {', "line 1"),
        ("[1, 2]", "expected"),
        ({"setting": {}}, '"editor" is missing'),
        ({"editor": "chain:photo"}, '"setting" is missing'),
        ({"editor": 3, "setting": {}}, '"editor" is of the wrong kind'),
        ({"editor": "chain:photo", "setting": [1]}, '"setting" is of the wrong kind'),
        ({"editor": "chain:photo", "setting": {"exposur": 1}}, "unknown slider 'exposur'"),
        ({"editor": "chain:photo", "setting": {"exposure": 7}}, "-3 to 3 EV"),
        ({"editor": "chain:photo", "setting": {"exposure": "much"}}, "not a number"),
        ({"editor": "chain:photo", "setting": {"exposure": True}}, "not a number"),
        ({"editor": "chain:photo", "setting": {"exposure": None}}, "not a number"),
        ('{"editor": "chain:photo", "setting": {"exposure": NaN}}', "NaN"),
        ('{"editor": "chain:photo", "setting": {"exposure": 1, "exposure": 2}}', "given twice"),
        ({"editor": "chain:photo", "setting": {"exposure": 10**400}}, "that large"),
        ({"editor": "chain:photo", "setting": {"exposure": 1e301}}, "that large"),
        ({"editor": "chain:foto", "setting": {}}, "unknown editor 'chain:foto'"),
        ({"editor": "lightroom", "setting": {}}, "unknown editor 'lightroom'"),
        ({"editor": "evil:editor", "setting": {}}, "--editor evil:editor"),
        ("[" * 100_000, "not a setting file"),
    ],
)
def test_settings_that_will_not_do(pixward: Pixward, photo: Path, tmp_path: Path, content: object, says: str):
    done = pixward("render", photo, "--setting", write(tmp_path, content), "--out", tmp_path / "out.png")
    assert done.code == 1
    assert says in done.line
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("kind", ["missing", "folder", "binary", "huge"])
def test_setting_files_that_cannot_be_read(pixward: Pixward, photo: Path, tmp_path: Path, kind: str):
    path = tmp_path / "setting.json"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"\xff\xfe\x00" if kind == "binary" else b" " * 2_000_000)
    done = pixward("render", photo, "--setting", path, "--out", tmp_path / "out.png")
    assert done.code == 1
    assert "setting.json" in done.line


def test_code_named_by_a_file_runs_only_with_consent(
    pixward: Pixward, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_editor.py").write_text("open('ran', 'w')\nfrom pixward.editors.chain import PHOTO as editor\n")
    setting = write(tmp_path, {"editor": "own_editor:editor", "setting": {"exposure": 0.5}})
    arguments = ("render", photo, "--setting", setting, "--out", tmp_path / "out.png")
    assert "if you trust it" in pixward(*arguments).line
    assert not (tmp_path / "ran").exists()
    assert "not of chain:photo" in pixward(*arguments, "--editor", "chain:photo").line
    assert pixward(*arguments, "--editor", "own_editor:editor").code == 0
    assert (tmp_path / "ran").exists()


def test_outputs_that_exist_and_inputs_are_safe(pixward: Pixward, photo: Path, tmp_path: Path):
    setting = write(tmp_path, {"editor": "chain:photo", "setting": {"exposure": 0.5}})
    out = tmp_path / "out.png"
    out.write_text("precious")
    assert "--force" in pixward("render", photo, "--setting", setting, "--out", out).line
    assert out.read_text() == "precious"
    assert pixward("render", photo, "--setting", setting, "--out", out, "--force").code == 0
    before = photo.read_bytes()
    assert "which is an input" in pixward("render", photo, "--setting", setting, "--out", photo, "--force").line
    assert photo.read_bytes() == before


@pytest.mark.parametrize("name", ["out.bmp", "out", "out.jpg.exe"])
def test_formats_that_are_not_written(pixward: Pixward, photo: Path, tmp_path: Path, name: str):
    setting = write(tmp_path, {"editor": "chain:photo", "setting": {}})
    done = pixward("render", photo, "--setting", setting, "--out", tmp_path / name)
    assert done.code == 1
    assert ".jpg" in done.line


def test_sixteen_bits_do_not_fit_a_jpeg(pixward: Pixward, photo: Path, tmp_path: Path):
    setting = write(tmp_path, {"editor": "chain:photo", "setting": {}})
    done = pixward("render", photo, "--setting", setting, "--out", tmp_path / "o.jpg", "--bits", "16")
    assert done.code == 1
    assert "16 bit" in done.line


@pytest.mark.skipif(not shutil.which("darktable-cli"), reason="darktable is not installed")
@pytest.mark.parametrize("value", [0.0, 0.5, 0.8, 2.0])
def test_further_sliders_of_darktable_are_rendered_as_they_were_found(value: float):
    from pixward.editors.darktable import Darktable
    from pixward.editors.pool import Frame

    frame = Frame(Path("photo.jpg"), "", False, 96)
    searched = Darktable(extra=("sharpen.amount=0:2",)).sidecar({"sharpen.amount": value}, frame)
    again = Darktable(extra=_further(Setting("darktable", {"sharpen.amount": value})))
    assert again.sidecar({"sharpen.amount": value}, frame) == searched
    assert ("sharpen" in searched) == (value > 0)
