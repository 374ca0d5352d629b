"""darktable against hand-computed light, against itself started afresh, and its sidecars beside the photo."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import brentq

from pixward import checks
from pixward.editors import darktable_modules
from pixward.editors.darktable import Darktable
from pixward.editors.darktable_modules import decode, encode
from pixward.editors.darktable_xmp import Step, read_xmp, write_xmp
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
        # The tone equaliser's mask ripples by 0.3/255 as soon as it is on.
        assert (little - start).abs().max() * 255 < 4, spec.name
        assert (little - start).abs().mean() < 0.1 * (up - start).abs().mean() + 0.3 / 255, spec.name


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
    assert program.read_sidecar(text) == program.space.to_dict(program.space.defaults()[0])


@needs
def test_default_look_of_a_raw_file(tmp_path):
    frame, _ = raw_greys(tmp_path / "a.dng")
    DT.final_default(frame.path, tmp_path / "o.jpg", seconds=60)
    with Image.open(tmp_path / "o.jpg") as made:
        assert (made.size, made.format) == ((240, 160), "JPEG")


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
    assert np.array_equal(worker.render(Job(Frame(path, "jpg", False, 64), text), 60), rendered)
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


# --- sidecars -----------------------------------------------------------------------------------------------------


@needs
def test_our_own_sidecar_comes_back():
    assert DT.read_sidecar(DT.sidecar(ALL, FRAME)) == pytest.approx(ALL, rel=1e-3, abs=1e-4)
    defaults = DT.space.to_dict(DT.space.defaults()[0])
    assert DT.read_sidecar(DT.sidecar({}, FRAME)) == defaults
    assert len(read_xmp(DT.sidecar({}, FRAME))) == 1  # an empty history would mean "never opened"


@needs
@settings(max_examples=15)
@given(st.fixed_dictionaries({spec.name: st.floats(spec.low, spec.high) for spec in DT.space}))
def test_sidecars_come_back_as_they_were(setting):
    assert DT.read_sidecar(DT.sidecar(setting, FRAME)) == pytest.approx(setting, rel=1e-3, abs=1e-3)


@needs
def test_sidecars_of_a_person():
    """Other modules, switched-off ones and later instances are passed over; compressed parameters are read."""
    exposure = DT.modules["exposure"]

    def step(ev, enabled=True):
        packed = exposure.pack({"exposure": ev})
        return Step("exposure", exposure.version, encode(packed), enabled)

    other = Step("vignette", 4, "00")
    defaults = DT.space.to_dict(DT.space.defaults()[0])
    assert DT.read_sidecar(write_xmp([other, step(1.0)], raw=False)) == {**defaults, "exposure": 1.0}
    assert DT.read_sidecar(write_xmp([step(1.0, enabled=False)], raw=False)) == defaults
    two = write_xmp([step(1.0), step(-2.0)], raw=False)
    second = two.rindex('multi_priority="0"')
    two = two[:second] + 'multi_priority="1"' + two[second + len('multi_priority="0"') :]
    assert DT.read_sidecar(two)["exposure"] == 1.0
    packed = "gz05eJw" if exposure.version != 6 else None
    assert packed is None or len(packed)


@needs
def test_sidecars_that_cannot_be_read():
    exposure = DT.modules["exposure"]
    good = encode(exposure.pack({}))
    nan = encode(exposure.pack({"exposure": float("nan")}))
    for step, says in (
        (Step("exposure", exposure.version + 1, good), f"version {exposure.version + 1} of the module exposure"),
        (Step("exposure", exposure.version, good[:-2]), "bytes of parameters"),
        (Step("exposure", exposure.version, "zz"), "cannot have written"),
        (Step("exposure", exposure.version, nan), "no number"),
    ):
        with pytest.raises(PixwardError, match=says):
            DT.read_sidecar(write_xmp([step], raw=False))
    with pytest.raises(PixwardError, match="not a sidecar"):
        DT.read_sidecar("[Exposure]")


def test_sidecar_path(tmp_path):
    path = tmp_path / "a.b.jpg"
    assert DT.sidecar_path(path, force=False) == tmp_path / "a.b.jpg.xmp"
    (tmp_path / "a.b.jpg.xmp").touch()
    assert DT.sidecar_path(path, force=False) == tmp_path / "a.b_01.jpg.xmp"
    (tmp_path / "a.b_01.jpg.xmp").symlink_to("nowhere")
    assert DT.sidecar_path(path, force=False) == tmp_path / "a.b_02.jpg.xmp"
    (tmp_path / "a.b_02.jpg").touch()  # another photo, and that would be its sidecar
    assert DT.sidecar_path(path, force=False) == tmp_path / "a.b_03.jpg.xmp"
    assert DT.sidecar_path(path, force=True) == tmp_path / "a.b.jpg.xmp"
    assert DT.sidecar_path(tmp_path / "raw", force=False) == tmp_path / "raw.xmp"


# --- sliders on request -------------------------------------------------------------------------------------------


@needs
def test_sliders_on_request():
    made = Darktable(extra=["sharpen.amount", "sharpen.radius=0.5:8", "channelmixerrgb.red[1]=-1:1"])
    *_, amount, radius, red = made.space
    assert (amount.name, amount.low, amount.high, amount.default) == ("sharpen.amount", 0, 2, 0)
    assert (radius.name, radius.low, radius.high, radius.default) == ("sharpen.radius", 0.5, 8, 2)
    assert (red.name, red.low, red.high, red.default) == ("channelmixerrgb.red[1]", -1, 1, 0)
    assert made.space.names[: len(DT.space)] == DT.space.names
    setting = {"sharpen.amount": 1.25, "sharpen.radius": 4.0, "channelmixerrgb.red[1]": 0.25}
    steps = {step.module: decode(step.params) for step in read_xmp(made.sidecar(setting, FRAME))}
    assert struct.unpack("<fff", steps["sharpen"])[:2] == (4.0, 1.25)
    read = made.read_sidecar(made.sidecar(setting, FRAME))
    assert {name: read[name] for name in setting} == pytest.approx(setting)


@needs
def test_radii_shrink_with_the_picture():
    quarter = Frame(FRAME.path, "q", False, 256, 0.25)
    for extra, expected in ((["sharpen.radius"], 4.0 / 4), (["sharpen.amount"], 2.0 / 4)):
        made = Darktable(extra=extra)
        text = made.sidecar({"sharpen.radius": 4.0} if expected == 1 else {"sharpen.amount": 1.0}, quarter)
        radius = struct.unpack("<fff", decode(read_xmp(text)[0].params))[0]
        assert radius == pytest.approx(expected)


@needs
def test_a_slider_on_request_acts(tmp_path):
    made = Darktable(extra=["sharpen.amount=0:2"])
    image = photo()
    with ExternalEditor(made, workers=1) as sharpened:
        rows = torch.stack([made.space.from_dict({"sharpen.amount": v}) for v in (0.0, 1.0, 2.0)])
        none, one, two = sharpened(image.expand(3, -1, -1, -1), rows)
    assert (none - image[0]).abs().max() < 0.5 / 255
    assert (two - none).abs().mean() > (one - none).abs().mean() > 0.1 / 255


@needs
@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("sharpen", "write module.field"),
        ("sharpen.amount=1", "write module.field"),
        ("sharpen.amount=a:b", "write module.field"),
        ("sharpen.amount=1e:2", "write module.field"),
        ("../sharpen.amount", "write module.field"),
        ("sharpness.amount", "has no module 'sharpness'"),
        ("sharpen.much", "module sharpen has no field 'much'; it has radius, amount, threshold"),
        ("sharpen.amount=5:9", "give a range within 0 to 2"),
        ("sharpen.amount=1:0", "give a range within 0 to 2"),
        ("toneequal.smoothing", "give a range within -3.40282e.38 to"),
        ("toneequal.details", "is a choice, not a number"),
        ("channelmixerrgb.clip=0:1", "is a choice, not a number"),
        ("exposure.exposure", "the slider exposure moves that already"),
    ],
)
def test_sliders_that_cannot_be(extra, says):
    with pytest.raises(PixwardError, match=re.escape(says).replace(r"e\.38", r"e\+38")) as caught:
        Darktable(extra=[extra])
    assert "\n" not in str(caught.value)
    assert extra in str(caught.value) or "module" in str(caught.value)


@needs
def test_the_same_slider_twice():
    with pytest.raises(PixwardError, match=r"the slider sharpen\.amount moves that already"):
        Darktable(extra=["sharpen.amount", "sharpen.amount=0:1"])


def test_sliders_need_no_darktable(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    program = Darktable()
    assert program.space.names == DT.space.names
    for call in (lambda: program.version, lambda: program.sidecar({}, FRAME), lambda: program.start(raw=False)):
        with pytest.raises(PixwardError, match="darktable-cli is not installed"):
            call()


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
