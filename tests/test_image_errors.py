"""What goes wrong, in one clear line that names the file."""

from __future__ import annotations

import errno
import io
import os
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pixward import decode
from pixward.errors import PixwardError
from pixward.image import load, save

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def fails(path, *words):
    """Loading fails with one line that names the file and holds ``words``."""
    with pytest.raises(PixwardError) as caught:
        load(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for word in words:
        assert word in message
    return message


def encoded(kind):
    buffer = io.BytesIO()
    if kind == "png16":
        return imagecodecs.png_encode(PIXELS.astype(np.uint16) * 257)
    if kind == "float":
        tifffile.imwrite(buffer, PIXELS.astype(np.float32) / 255, photometric="rgb", compression="zlib")
        return buffer.getvalue()
    if kind == "tiff16":
        tifffile.imwrite(buffer, PIXELS.astype(np.uint16) * 257, photometric="rgb")
        return buffer.getvalue()
    name, options = {
        "jpeg": ("JPEG", {}),
        "progressive": ("JPEG", {"progressive": True}),
        "png": ("PNG", {}),
        "tiff": ("TIFF", {}),
        "lzw": ("TIFF", {"compression": "tiff_lzw"}),
        "webp": ("WEBP", {}),
        "lossless": ("WEBP", {"lossless": True}),
    }[kind]
    Image.fromarray(PIXELS).save(buffer, name, **options)
    return buffer.getvalue()


KINDS = ["jpeg", "progressive", "png", "png16", "tiff", "tiff16", "lzw", "float", "webp", "lossless"]


# Reading


def test_missing_folder_empty(tmp_path):
    fails(tmp_path / "no.jpg", "does not exist")
    fails(tmp_path / "no" / "no.jpg", "does not exist")
    fails(tmp_path, "is a folder")
    (tmp_path / "empty.png").touch()
    fails(tmp_path / "empty.png", "is empty")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    fails(tmp_path / "link.png", "does not exist")
    os.mkfifo(tmp_path / "pipe.png")
    fails(tmp_path / "pipe.png", "not an ordinary file")
    fails(tmp_path / ("n" * 300), "cannot read")


def test_no_permission(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encoded("png"))

    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    fails(tmp_path / "a.png", "Permission denied")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated(tmp_path, kind, share, capfd):
    """An error, never a picture that is half grey, and nothing else on the terminal."""
    whole = encoded(kind)
    path = tmp_path / "photo"
    path.write_bytes(whole)
    assert load(path).size == (80, 60)
    path.write_bytes(whole[: int(len(whole) * share)])
    fails(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content",
    [b"x", b"hello", b"<html></html>" * 9, b"GIF89a" + bytes(50), b"BM" + bytes(60), b"\0\0\0\x18ftypheic" + bytes(40)],
)
def test_not_a_picture(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    fails(tmp_path / "a.jpg", "is not a JPEG, PNG, TIFF or WebP")


@pytest.mark.parametrize("head", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"RIFF\0\0\0\0WEBP"])
@pytest.mark.parametrize("rest", [b"", b"\0" * 100, b"\xff" * 1000, bytes(range(256))])
def test_only_the_first_bytes_are_right(tmp_path, head, rest):
    (tmp_path / "a").write_bytes(head + rest)
    fails(tmp_path / "a", "cannot be read")


def test_the_suffix_does_not_matter(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded("jpeg"))
    assert load(tmp_path / "a.png").size == (80, 60)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_one_line_or_a_picture(tmp_path, kind, data):
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.one_of(st.integers(0, min(200, len(content) - 1)), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "photo"
    path.write_bytes(content)
    message = photo = None
    try:
        photo = load(path)
    except PixwardError as error:
        message = str(error)
    if message is not None:
        assert str(path) in message and "\n" not in message
    else:
        assert photo.pixels.ndim == 3 and photo.pixels.shape[2] == 3 and np.isfinite(photo.pixels).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(tmp_path, bad):
    values = np.full((4, 5, 3), 0.5, np.float32)
    values[1, 2, 0] = values[3, 3, 1] = bad
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    fails(tmp_path / "a.tif", "2 values that are NaN or infinite")


def test_camera_raw(tmp_path):
    """Most are TIFFs inside, and Pillow and tifffile would happily open their thumbnail: LibRaw has to know them."""
    pytest.importorskip("rawpy")
    (tmp_path / "a.NEF").write_bytes(encoded("tiff"))
    fails(tmp_path / "a.NEF", "raw file")
    tifffile.imwrite(tmp_path / "dng.tif", PIXELS, photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    fails(tmp_path / "dng.tif", "raw file")
    tifffile.imwrite(tmp_path / "cfa.tif", PIXELS[..., 0], photometric="cfa")
    fails(tmp_path / "cfa.tif", "raw file")


def test_rare_tiffs(tmp_path):
    tifffile.imwrite(tmp_path / "lab.tif", PIXELS, photometric="cielab")
    fails(tmp_path / "lab.tif", "photometric 8", "save it as RGB")
    tifffile.imwrite(tmp_path / "int.tif", PIXELS.astype(np.int16), photometric="rgb")
    fails(tmp_path / "int.tif", "int16")


def huge_png(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def test_more_than_300_megapixels(tmp_path):
    """Refused by the header, before memory is taken."""
    (tmp_path / "a.png").write_bytes(huge_png(30_000, 20_000))
    fails(tmp_path / "a.png", "30000 x 20000 = 600 megapixels", "the limit is 300")
    jpeg = bytearray(encoded("jpeg"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 60_000, 60_000)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    fails(tmp_path / "a.jpg", "3600 megapixels")
    tiff = bytearray(encoded("tiff"))
    at = tiff.index(struct.pack("<HHI", 256, 4, 1)) if struct.pack("<HHI", 256, 4, 1) in tiff else None
    if at is None:  # stored as SHORT
        for tag in (256, 257):
            at = tiff.index(struct.pack("<HHI", tag, 3, 1))
            tiff[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 40_000)
    else:
        for tag in (256, 257):
            at = tiff.index(struct.pack("<HHI", tag, 4, 1))
            tiff[at + 8 : at + 12] = struct.pack("<I", 40_000)
    (tmp_path / "a.tif").write_bytes(tiff)
    fails(tmp_path / "a.tif", "1600 megapixels")


def test_out_of_memory(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encoded("png"))

    def refuse(_path):
        raise MemoryError

    monkeypatch.setattr(decode, "_png", refuse)
    fails(tmp_path / "a.png", "does not fit in memory")


# Writing


def refused(path, *words, pixels=PIXELS, **options):
    before = sorted(path.parent.rglob("*")) if path.parent.is_dir() else None
    with pytest.raises(PixwardError) as caught:
        save(path, pixels, **options)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for word in words:
        assert word in message
    if before is not None:
        assert sorted(path.parent.rglob("*")) == before  # nothing half-written is left


def test_formats_that_cannot(tmp_path):
    refused(tmp_path / "a.gif", "give it the ending .jpg")
    refused(tmp_path / "a", "give it the ending")
    refused(tmp_path / "a.jpg", "16 bit", "JPEG holds 8", bits=16)
    refused(tmp_path / "a.webp", "WebP holds 8", bits=16)
    refused(tmp_path / "a.png", "PNG holds 8 or 16", bits=32)
    wide = np.zeros((1, 70_000, 3), np.uint8)
    refused(tmp_path / "a.jpg", "70000 x 1", "65500", pixels=wide)
    refused(tmp_path / "a.webp", "16383", pixels=wide)
    assert load(save(tmp_path / "a.png", wide)).size == (70_000, 1)


def test_places_that_cannot(tmp_path):
    refused(tmp_path / "no" / "a.png", "does not exist", "create it first")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "is a folder", force=True)
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "not an ordinary file", force=True)
    refused(tmp_path / ("n" * 300 + ".png"), "name is too long")


def test_existing_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    refused(path, "exists already", "--force")
    assert path.read_bytes() == b"mine"
    assert load(save(path, PIXELS, force=True)).size == (80, 60)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_disk_full_and_other_trouble(tmp_path, monkeypatch, number, words, name):
    """Half the file is written, then the disk says no."""
    path = tmp_path / name
    path.write_bytes(b"mine")
    real = type(path).write_bytes

    def short(self, data):
        real(self, bytes(data)[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(type(path), "write_bytes", short)
    refused(path, words, force=True)
    assert path.read_bytes() == b"mine"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a Linux device")
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_disk_full_in_tiff(tmp_path, monkeypatch, bits):
    """The real thing: tifffile writes its strips to a device that is always full."""
    real = tifffile.imwrite

    def full(path, *args, **options):
        path.symlink_to("/dev/full")
        return real(path, *args, **options)

    monkeypatch.setattr(tifffile, "imwrite", full)
    refused(tmp_path / "a.tif", "disk is full", bits=bits)


def test_ctrl_c_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    real = type(path).write_bytes

    def interrupted(self, data):
        real(self, b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(type(path), "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(path, PIXELS)
    assert os.listdir(tmp_path) == []


def test_programming_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        save(tmp_path / "a.png", PIXELS[..., 0])
    with pytest.raises(ValueError, match="int64"):
        save(tmp_path / "a.png", PIXELS.astype(np.int64))
    with pytest.raises(ValueError, match="NaN"):
        save(tmp_path / "a.png", np.full((2, 2, 3), np.nan, np.float32))
    Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]])).save(tmp_path / "alpha.png")
    with pytest.raises(ValueError, match="alpha"):
        save(tmp_path / "a.png", PIXELS[:5], like=load(tmp_path / "alpha.png"))
    assert os.listdir(tmp_path) == ["alpha.png"]
