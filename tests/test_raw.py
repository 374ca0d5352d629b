"""Raw files: what is one, how it is developed, its JPEG, and what goes wrong."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from pixward import raw
from pixward.errors import PixwardError
from pixward.image import load
from pixward.raw import embedded_jpeg, is_raw, load_raw

rawpy = pytest.importorskip("rawpy")
dng = pytest.importorskip("pixward.editors.dng")

GREY = ((0.6, 0.0, 0.0), (0.0, 0.6, 0.0), (0.0, 0.0, 0.6))


def write(path, level=8000, preview=None, **changes):
    info = dng.DngInfo(((0, 1), (1, 2)), 512.0, 16383.0, (1.0, 1.0, 1.0), GREY, **changes)
    mosaic = np.full((48, 64), level, np.uint16)
    return dng.write_dng(path, mosaic, info, preview=preview)


def jpeg(width, height, orientation=None, colour=(200, 40, 40)):
    file, exif = io.BytesIO(), Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", (width, height), colour).save(file, "JPEG", exif=exif.tobytes() if orientation else b"")
    return file.getvalue()


def fails(path, *words, by=load_raw):
    with pytest.raises(PixwardError) as caught:
        by(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and all(word in message for word in words), message


def test_what_is_raw(tmp_path):
    write(tmp_path / "a.dng")
    (tmp_path / "a.dng").rename(tmp_path / "camera.tif")
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.tif")
    (tmp_path / "canon").write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(40))
    (tmp_path / "cut.tif").write_bytes(b"II*\0")
    found = {name: is_raw(tmp_path / name) for name in ("camera.tif", "plain.tif", "canon", "cut.tif", "none", "x.NEF")}
    assert found == {
        "camera.tif": True,
        "plain.tif": False,
        "canon": True,
        "cut.tif": False,
        "none": False,
        "x.NEF": True,
    }


def test_development_is_plain(tmp_path):
    """A photosite at half of full is half the light, whatever else the picture holds; then the sRGB curve."""
    path = write(tmp_path / "a.dng", 512 + (16383 - 512) // 4)
    photo = load_raw(path)
    assert photo.pixels.shape == (48, 64, 3) and photo.bits == 16 and photo.path == path and photo.alpha is None
    green = photo.pixels[10:-10, 10:-10, 1] / 65535
    assert green == pytest.approx(1.055 * 0.25 ** (1 / 2.4) - 0.055, abs=2e-3)
    assert load_raw(path, half=True).size == (32, 24)
    assert np.array_equal(load(path).pixels, photo.pixels)


def test_a_real_file(shared_data):
    path = shared_data / "raw" / "twelvemonkeys_test.dng"
    photo = load(path)
    assert photo.size == (1952, 1112) and 0 < photo.pixels.mean() < 10000
    fails(path, "no JPEG", "--goal FILE", by=embedded_jpeg)


def test_odd_names(tmp_path):
    for name in ("a b.dng", "-x.dng", "$(touch y).dng", "q'\".dng", "line\nbreak.dng", "umläut.dng"):
        assert load_raw(write(tmp_path / name)).size == (64, 48)


def test_a_jpeg_that_the_camera_turned_itself(tmp_path):
    path = write(tmp_path / "a.dng", preview=jpeg(480, 640, orientation=6), orientation=6)
    assert load_raw(path).size == (48, 64)
    assert embedded_jpeg(path).size == (480, 640)


def test_exiftool_where_libraw_finds_only_a_thumbnail(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dng", preview=jpeg(64, 48))
    (tmp_path / "big.jpg").write_bytes(jpeg(1280, 960))
    tool = tmp_path / "exiftool"
    tool.write_text(f'#!/bin/sh\n[ "$2" = -PreviewImage ] && [ -f "$3" ] && cat "{tmp_path}/big.jpg"\n')
    tool.chmod(0o755)
    assert embedded_jpeg(path).size == (64, 48)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert embedded_jpeg(path).size == (1280, 960)


def test_no_jpeg(tmp_path):
    fails(write(tmp_path / "a.dng"), "no JPEG", "--goal FILE", by=embedded_jpeg)


@pytest.mark.parametrize("by", [load, load_raw, embedded_jpeg])
def test_faults(tmp_path, by):
    whole = write(tmp_path / "whole.dng").read_bytes()
    fails(tmp_path / "none.NEF", "does not exist", by=by)
    (tmp_path / "folder.cr2").mkdir()
    fails(tmp_path / "folder.cr2", "is a folder", by=by)
    (tmp_path / "empty.nef").touch()
    fails(tmp_path / "empty.nef", "is empty", by=by)
    (tmp_path / "noise.arw").write_bytes(np.random.default_rng(0).bytes(4000))
    fails(tmp_path / "noise.arw", "cannot be read", "LibRaw", "convert", by=by)
    for length in (40, 300, 2000, 5000):
        (tmp_path / "cut.dng").write_bytes(whole[:length])
        fails(tmp_path / "cut.dng", "cannot be read", by=by)


def test_without_rawpy(tmp_path, monkeypatch):
    path = write(tmp_path / "a.dng")
    monkeypatch.setitem(sys.modules, "rawpy", None)
    fails(path, "pip install 'pixward[raw]'", by=load)
    assert raw.is_raw(path)
