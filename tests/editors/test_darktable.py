"""darktable against hand-computed light, against itself started afresh, and its sidecars beside the photo."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy.optimize import brentq

from pixward import checks
from pixward.editors import darktable_modules
from pixward.editors.darktable import Darktable
from pixward.editors.dng import DngInfo, write_dng
from pixward.editors.external import ExternalEditor
from pixward.editors.pool import Frame, Job
from pixward.errors import PixwardError
from pixward.ops.tone import linear_to_srgb, srgb_to_linear

needs = pytest.mark.skipif(not shutil.which("darktable-cli"), reason="needs darktable-cli")
DT = Darktable()
FRAME = Frame(Path("a.tif"), "a", False, 1024)
ALL = {
    "exposure": 0.4, "black": 0.5, "temperature": 5600.0, "tint": -10.0, "contrast": 12.0, "shadows": 0.4,
    "highlights": -0.5, "chroma": 10.0, "saturation": -5.0, "vibrance": 15.0, "clarity": 30.0,
}  # fmt: skip
"""Every slider off its default."""


def photo(height=48, width=64, low=0.02, high=0.9):
    """Smooth colours and a little texture, ``(1, 3, H, W)``, values that 8 bits hold exactly."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    image = torch.stack([x, 0.3 + 0.5 * y, 0.6 - 0.4 * x * y]) + 0.04 * torch.sin(40 * x + 30 * y)
    return ((low + (high - low) * image.clamp(0, 1))[None] * 255).round() / 255


def save(path, image):
    """``(1, 3, H, W)`` as the 8-bit file ``path``."""
    pixels = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(path, "JPEG" if path.suffix.lower() == ".jpg" else None, quality=95)


def raw_greys(path):
    """An RGGB mosaic of sixteen greys, red and blue weaker as cameras have them; the frame, and the greys' light."""
    neutral = np.array([0.5, 1.0, 0.65])
    to_srgb = np.array([[3.2405, -1.5371, -0.4985], [-0.9693, 1.8760, 0.0416], [0.0556, -0.2040, 1.0572]])
    info = DngInfo(((0, 1), (1, 2)), 256.0, 16383.0, tuple(neutral), tuple(map(tuple, np.diag(neutral) @ to_srgb)))
    light = np.geomspace(0.01, 0.45, 16)
    whole = np.repeat(np.repeat(light.reshape(4, 4), 40, 0), 60, 1)
    mosaic = whole.copy()
    for y, x, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] *= neutral[colour]
    write_dng(path, (mosaic * (16383 - 256) + 256).round().astype(np.uint16), info)
    return Frame(path, path.name, True, 240), light


def psnr(a, b):
    return -10 * np.log10(np.mean((np.asarray(a, float) / 65535 - np.asarray(b, float) / 65535) ** 2) + 1e-20)


def fresh(folder, name, text):
    """``darktable-cli PHOTO SIDECAR OUT`` by hand, in ``folder``, with a home of its own."""
    (folder / "by-hand.xmp").write_text(text)
    command = ["darktable-cli", name, "by-hand.xmp", "fresh.tif", "--core", "--disable-opencl"]
    command += ["--configdir", "c", "--cachedir", "c", "--conf", "plugins/imageio/format/tiff/bpp=16"]
    home = {"HOME": str(folder / "home"), "PATH": os.environ["PATH"], "OMP_WAIT_POLICY": "passive"}
    subprocess.run(command, cwd=folder, env=home, check=True, capture_output=True, timeout=60)
    return tifffile.imread(folder / "fresh.tif")[..., :3]


@pytest.fixture(scope="module")
def editor():
    if not shutil.which("darktable-cli"):
        pytest.skip("needs darktable-cli")
    with ExternalEditor(DT, workers=1) as made:
        yield made


def row(**setting):
    return DT.space.from_dict(setting)[None]


# --- what the sliders do ------------------------------------------------------------------------------------------


def test_keeps_the_contract(editor):
    checks.check_editor(editor)


def test_identity_at_the_defaults(editor):
    image = photo()
    assert (editor(image, DT.space.defaults()) - image).abs().max() < 0.5 / 255


def test_one_stop_doubles_the_light(editor):
    image = photo(low=0.1, high=0.6)
    expected = linear_to_srgb(2 * srgb_to_linear(image))
    assert (editor(image, row(exposure=1.0)) - expected).abs().max() < 0.6 / 255


def test_black_is_taken_off_in_linear_light(editor):
    """2 %: slope 1 / (1 - 0.02) = 1.0204, offset -0.0204."""
    image = photo(low=0.25, high=0.9)
    before, after = (srgb_to_linear(i).flatten().double().numpy() for i in (image, editor(image, row(black=2.0))))
    slope, offset = np.polyfit(before, after, 1)
    assert (slope, offset) == pytest.approx((1.0204, -0.0204), abs=2e-3)
    assert np.abs(after - (before - 0.02) / 0.98).max() < 4e-3


def test_white_balance_goes_the_right_way(editor):
    image = torch.full((1, 3, 16, 16), 0.5)
    red, green, blue = editor(image, row(temperature=7000.0))[0].mean((1, 2))
    assert red > green > blue
    red, green, blue = editor(image, row(tint=50.0))[0].mean((1, 2))
    assert green < min(red, blue)


def test_every_slider_acts_steadily(editor):
    """Its ends differ, on either side of the default; a tiny step from the default is a tiny change."""
    image, space = photo(), DT.space
    start = editor(image, space.defaults())
    for spec in space:
        tiny = spec.default + (spec.high - spec.default) / 100
        rows = torch.cat([row(**{spec.name: value}) for value in (spec.low, spec.high, tiny)])
        down, up, little = editor(image.expand(3, -1, -1, -1), rows)
        assert ((down - start) * (up - start)).mean() < 0, spec.name
        assert min((down - start).abs().mean(), (up - start).abs().mean()) * 255 > 0.5, spec.name
        # The tone equaliser's mask ripples as soon as it is on, here by 0.4/255. Dark and vivid pixels move most.
        assert (little - start).abs().max() * 255 < 8, spec.name
        assert (little - start).abs().mean() < 0.1 * (up - start).abs().mean() + 0.5 / 255, spec.name


@needs
def test_raw_files(tmp_path):
    """The default is +0.7 EV and the sigmoid curve; on greys its formula is one line."""
    program = Darktable(raw=True)
    (frame, light), middle, black = raw_greys(tmp_path / "a.dng"), 0.1845, 0.0152 / 100
    assert program.name == "darktable:raw"
    text = program.sidecar({}, frame)
    assert 'iop_order_version="2"' in text
    assert 'iop_order_version="3"' in DT.sidecar(ALL, FRAME)
    worker = program.start(raw=True)
    default, brighter = (worker.render(Job(frame, program.sidecar(s, frame)), 60) for s in ({}, {"exposure": 1.7}))
    worker.close()

    def sigmoid(value, fog):
        film = (fog + middle) ** 1.5 * (1 / middle - 1)
        return (fog + value) ** 1.5 / (film + (fog + value) ** 1.5)

    fog = brentq(lambda fog: sigmoid(0.0, fog) - black, 1e-9, 0.1)
    for picture, gain in ((default, 2**0.7), (brighter, 2**1.7)):
        expected = linear_to_srgb(torch.from_numpy(sigmoid(gain * light, fog))).numpy().reshape(4, 4)
        blocks = picture.reshape(4, 40, 4, 60, 3)[:, 12:-12, :, 12:-12].mean((1, 3)) / 65535
        assert np.abs(blocks - expected[..., None]).max() * 255 < 3
    program.final(frame.path, program.sidecar({"exposure": 1.7}, frame), tmp_path / "o.tif", bits=16, seconds=60)
    assert psnr(tifffile.imread(tmp_path / "o.tif")[..., :3], brighter) > 60
    assert program.read_sidecar(text) == pytest.approx(program.space.to_dict(program.space.defaults()[0]))


@needs
def test_default_look_of_a_raw_file(tmp_path):
    frame, _ = raw_greys(tmp_path / "a.dng")
    DT.final_default(frame.path, tmp_path / "o.jpg", seconds=60)
    with Image.open(tmp_path / "o.jpg") as made:
        assert (made.size, made.format) == ((240, 160), "JPEG")


@needs
def test_a_slider_on_request_acts(tmp_path):
    made = Darktable(extra=["sharpen.amount=0:2"])
    image = photo()
    with ExternalEditor(made, workers=1) as sharpened:
        rows = torch.stack([made.space.from_dict({"sharpen.amount": v}) for v in (0.0, 1.0, 2.0)])
        none, one, two = sharpened(image.expand(3, -1, -1, -1), rows)
    assert (none - image[0]).abs().max() < 0.5 / 255
    assert (two - none).abs().mean() > (one - none).abs().mean() > 0.1 / 255


# --- the same picture everywhere ----------------------------------------------------------------------------------


@needs
def test_deterministic_and_equal_to_a_fresh_process(tmp_path, editor):
    path = tmp_path / "a.jpg"
    save(path, photo())
    decoded = torch.from_numpy(np.asarray(Image.open(path)) / 255.0).permute(2, 0, 1).float()
    frame = editor.frame(decoded)
    text = DT.sidecar(ALL, frame)
    rendered = editor.pool.render([Job(frame, text)])[0]
    worker = DT.start(raw=False)
    assert np.array_equal(worker.render(Job(frame, text), 60), rendered)
    assert np.array_equal(worker.render(Job(frame, text), 60), rendered)
    assert psnr(worker.render(Job(Frame(path, "jpg", False, 64), text), 60), rendered) > 80
    worker.close()
    assert psnr(fresh(tmp_path, "a.jpg", text), rendered) > 60


@needs
@pytest.mark.parametrize("name", ['it\'s $(FILE_NAME) "x"\n.JPG', "-a.jpg", "b.jpg;$(HOME)"])
def test_final_uses_its_own_sidecar_only(tmp_path, name):
    odd = tmp_path / "odd $(HOME) folder\n"
    odd.mkdir()
    save(tmp_path / "a.jpg", photo())
    shutil.copy(tmp_path / "a.jpg", odd / name)
    mine, other = (DT.sidecar({"exposure": ev}, FRAME) for ev in (0.5, -2.0))
    beside = [odd / f"{name}.xmp", odd / f"{Path(name).stem}_01{Path(name).suffix}.xmp"]
    for path in beside:
        path.write_text(other)
    if ";" in name:  # no suffix by which darktable would know it
        with pytest.raises(PixwardError, match="darktable did not render"):
            DT.final(odd / name, mine, odd / "out $(X).tif", bits=16, seconds=60)
        return
    DT.final(odd / name, mine, odd / "out $(X).tif", bits=16, seconds=60)
    assert psnr(tifffile.imread(odd / "out $(X).tif")[..., :3], fresh(tmp_path, "a.jpg", mine)) > 60
    assert [path.read_text() for path in beside] == [other, other]
    assert sorted(odd.iterdir()) == sorted([odd / name, odd / "out $(X).tif", *beside])


@needs
@pytest.mark.parametrize(("name", "kind"), [("o.jpg", "JPEG"), ("o.png", "PNG"), ("o.TIFF", "TIFF")])
def test_final_formats(tmp_path, name, kind):
    save(tmp_path / "a.png", photo())
    (tmp_path / name).write_text("older")
    DT.final(tmp_path / "a.png", DT.sidecar({}, FRAME), tmp_path / name, seconds=60)
    with Image.open(tmp_path / name) as made:
        assert (made.format, made.mode, made.size) == (kind, "RGB", (64, 48))
        change = np.asarray(made).astype(float) / 255 - photo()[0].permute(1, 2, 0).numpy()
    assert np.abs(change).mean() * 255 < (4 if kind == "JPEG" else 0.1)


@needs
def test_the_users_home_is_left_alone(tmp_path, monkeypatch):
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    darktable_modules._installed.cache_clear()
    darktable_modules.describe.cache_clear()
    save(tmp_path / "a.jpg", photo())
    program = Darktable()
    text = program.sidecar(ALL, FRAME)
    worker = program.start(raw=False)
    worker.render(Job(Frame(tmp_path / "a.jpg", "a", False, 64), text), 60)
    worker.close()
    program.final(tmp_path / "a.jpg", text, tmp_path / "o.png", seconds=60)
    assert not list(home.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "home", "o.png"]
