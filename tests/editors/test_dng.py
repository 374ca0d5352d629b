"""DNG files as LibRaw reads them, and proxies against means of the full mosaic."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pixward.editors.dng import DngInfo, raw_proxy, write_dng
from pixward.errors import PixwardError
from pixward.image import load, preview, to_tensor
from pixward.raw import embedded_jpeg, load_raw

rawpy = pytest.importorskip("rawpy")

RGGB = ((0, 1), (1, 2))
XYZ_TO_SRGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)
NEUTRAL = np.array([0.5, 1.0, 0.65])
CAMERA = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.02, 0.18, 0.8]])  # linear sRGB to the balanced camera
INFO = DngInfo(RGGB, 256.0, 16383.0, tuple(NEUTRAL), tuple(map(tuple, np.diag(NEUTRAL) @ CAMERA @ XYZ_TO_SRGB)))


def scene(height, width):
    """Smooth colours in linear sRGB, well below white."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return np.stack([0.1 + 0.5 * x, 0.3 + 0.2 * np.sin(4 * y), 0.15 + 0.4 * y * x], 2)


def mosaic_of(linear, info=INFO):
    camera = linear @ (np.diag(NEUTRAL) @ CAMERA).T
    black = info.black if isinstance(info.black, tuple) else (info.black,) * 4
    out = np.empty(camera.shape[:2])
    for place in range(4):
        y, x = divmod(place, 2)
        full = info.white - black[place]
        out[y::2, x::2] = camera[y::2, x::2, info.pattern[y][x]] * full + black[place]
    return out.round().clip(0, 65535).astype(np.uint16)


def curve(linear):
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(1e-9) ** (1 / 2.4) - 0.055)


def jpeg(width, height, subsampling=0, left=(200, 30, 30)):
    picture = Image.new("RGB", (width, height), (30, 30, 200))
    picture.paste(left, (0, 0, width // 2, height))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92, subsampling=subsampling)
    return file.getvalue()


@pytest.mark.parametrize("pattern", [RGGB, ((1, 0), (2, 1)), ((1, 2), (0, 1)), ((2, 1), (1, 0))])
def test_a_dng_develops_to_its_scene(tmp_path, pattern):
    """Matrix, balance, four black levels and white level are all as LibRaw understands them."""
    info = replace(INFO, pattern=pattern, black=(250.0, 260.0, 270.0, 280.5))
    linear = scene(96, 144)
    path = write_dng(tmp_path / "a.dng", mosaic_of(linear, info), info)
    developed = load_raw(path).pixels / 65535
    assert abs(developed - curve(linear))[6:-6, 6:-6].max() < 0.004


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_orientation_and_preview(tmp_path, orientation, subsampling):
    linear = scene(64, 96)
    linear[:, :48] *= 0.2
    path = write_dng(
        tmp_path / "a.dng",
        mosaic_of(linear),
        replace(INFO, orientation=orientation, make="Maker", model="One"),
        preview=jpeg(96, 64, subsampling),
    )
    turns = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    photo = load_raw(path)
    assert abs(photo.pixels / 65535 - np.rot90(curve(linear), turns))[6:-6, 6:-6].mean() < 0.01
    camera = embedded_jpeg(path)
    dark = np.rot90(np.arange(96)[None].repeat(64, 0) < 48, turns)
    assert camera.size == photo.size
    assert ((camera.pixels[..., 0] > 100) == dark).mean() > 0.98
    exif = Image.Exif()
    exif.load(photo.exif)
    assert (exif[0x010F], exif[0x0110], exif.get(0x0112, 1)) == ("Maker", "One", 1)


def test_a_proxy_says_the_same(tmp_path):
    info = replace(INFO, black=(250.0, 260.0, 270.0, 280.0), orientation=6, make="Maker", model="One")
    linear = scene(600, 800)
    write_dng(tmp_path / "a.dng", mosaic_of(linear, info), info, preview=jpeg(800, 600))
    proxy = raw_proxy(tmp_path / "a.dng", tmp_path / "p.dng", 160)
    assert (proxy.size, proxy.scale) == ((160, 120), 0.2)
    full, small = load_raw(tmp_path / "a.dng"), load_raw(proxy.path)
    assert abs(preview(full, 160) - to_tensor(small.pixels))[..., 3:-3, 3:-3].max() < 0.003
    assert embedded_jpeg(proxy.path).size == (120, 160)
    with rawpy.imread(str(proxy.path)) as raw, rawpy.imread(str(tmp_path / "a.dng")) as source:
        assert raw.white_level == 4 * source.white_level
        assert raw.black_level_per_channel == [4 * level for level in source.black_level_per_channel]
        assert raw.camera_whitebalance == pytest.approx(source.camera_whitebalance, rel=1e-4)
        assert raw.color_matrix == pytest.approx(source.color_matrix, abs=1e-3)


@pytest.mark.parametrize("longest", [96, 100, 122, 190])
def test_colours_stay_in_register(tmp_path, longest):
    """A grey ramp stays grey: a shift between the colours by half a pixel would show as a cast."""
    ramp = np.linspace(0.02, 0.7, 400)[None, :, None].repeat(300, 0).repeat(3, 2)
    flat = replace(INFO, neutral=(1.0, 1.0, 1.0), matrix=tuple(map(tuple, XYZ_TO_SRGB)))
    counts = (ramp[..., 0] * (flat.white - 256) + 256).round().astype(np.uint16)
    write_dng(tmp_path / "a.dng", counts, flat)
    proxy = raw_proxy(tmp_path / "a.dng", tmp_path / "p.dng", longest)
    with rawpy.imread(str(proxy.path)) as raw:
        small = raw.raw_image.astype(float)
    width = small.shape[1]
    step = 400 / width
    at = (np.arange(width) + 0.5) * step - 0.5
    wanted = 4 * (np.interp(at, np.arange(400), ramp[0, :, 0]) * (flat.white - 256) + 256)
    slope = 4 * (flat.white - 256) * 0.68 / 399 * step
    assert abs((small - wanted) / slope)[:, 4:-4].max() < 0.05  # pixels of the proxy


def test_a_small_photo_stays_as_it_is(tmp_path):
    mosaic = mosaic_of(scene(60, 80))
    write_dng(tmp_path / "a.dng", mosaic, INFO)
    proxy = raw_proxy(tmp_path / "a.dng", tmp_path / "p.dng", 512)
    with rawpy.imread(str(proxy.path)) as raw:
        assert proxy.scale == 1 and np.array_equal(raw.raw_image, 4 * mosaic)


def test_faults(tmp_path):
    mosaic = mosaic_of(scene(60, 80))
    path = write_dng(tmp_path / "a.dng", mosaic, INFO)
    with pytest.raises(PixwardError, match="exists already"):
        write_dng(path, mosaic, INFO)
    for wrong in (mosaic[:-1], mosaic.astype(np.float32), mosaic[None]):
        with pytest.raises(ValueError, match="even sides"):
            write_dng(tmp_path / "b.dng", wrong, INFO)
    with pytest.raises(ValueError, match="Bayer"):
        write_dng(tmp_path / "b.dng", mosaic, replace(INFO, pattern=((0, 0), (1, 2))))
    with pytest.raises(PixwardError, match="does not exist"):
        raw_proxy(path, tmp_path / "missing" / "p.dng")
    with pytest.raises(PixwardError, match="does not exist"):
        raw_proxy(tmp_path / "none.NEF", tmp_path / "p.dng")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.dng"]


def test_no_bayer_mosaic(tmp_path):
    import tifffile

    picture = (scene(64, 96) * 60000).astype(np.uint16)
    tags = [
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50708, "s", 0, "Linear", True),
        (50721, "2i", 9, [int(n) for v in XYZ_TO_SRGB.ravel() for n in (round(v * 10000), 10000)], True),
        (50728, "2I", 3, [1, 1] * 3, True),
        (50778, "H", 1, 21, True),
    ]
    tifffile.imwrite(tmp_path / "a.dng", picture, photometric=34892, extratags=tags, metadata=None)
    with pytest.raises(PixwardError, match="no Bayer mosaic .*use the full file"):
        raw_proxy(tmp_path / "a.dng", tmp_path / "p.dng")


@pytest.mark.skipif(not shutil.which("rawtherapee-cli"), reason="needs rawtherapee-cli")
def test_rawtherapee_renders_a_proxy_alike(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic_of(scene(600, 800)), INFO)
    raw_proxy(tmp_path / "a.dng", tmp_path / "p.dng", 200)
    (tmp_path / "e.pp3").write_text("[Exposure]\nCompensation=0.5\nContrast=20\n[White Balance]\nSetting=Camera\n")
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    for name in ("a", "p"):
        command = ["rawtherapee-cli", "-q", "-Y", "-n", "-b8", "-p", "e.pp3", "-o", f"{name}.png", "-c", f"{name}.dng"]
        subprocess.run(command, cwd=tmp_path, env=home, check=True, capture_output=True, timeout=60)
    full, small = load(tmp_path / "a.png"), load(tmp_path / "p.png")
    assert small.size == (192, 142)  # it leaves out 4 pixels on each side
    inner = full.pixels[12:-12, 12:-12]
    assert abs(preview(inner, 192) - to_tensor(small.pixels)).mean() * 255 < 1.5
