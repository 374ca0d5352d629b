"""darktable's sidecars: ours and a person's, where they go, and sliders on request. Renders nothing."""

from __future__ import annotations

import base64
import re
import shutil
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.editors.darktable import Darktable
from pixward.editors.darktable_modules import decode, encode
from pixward.editors.darktable_xmp import Step, read_xmp, write_xmp
from pixward.editors.pool import Frame
from pixward.errors import PixwardError

needs = pytest.mark.skipif(not shutil.which("darktable-cli"), reason="needs darktable-cli")
DT = Darktable()
FRAME = Frame(Path("a.tif"), "a", False, 1024)
ALL = {
    "exposure": 0.4, "black": 0.5, "temperature": 5600.0, "tint": -10.0, "contrast": 12.0, "shadows": 0.4,
    "highlights": -0.5, "chroma": 10.0, "saturation": -5.0, "vibrance": 15.0, "clarity": 30.0,
}  # fmt: skip
"""Every slider off its default."""


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
    packed = "gz01" + base64.b64encode(zlib.compress(exposure.pack({"exposure": -1.5}))).decode()
    assert DT.read_sidecar(write_xmp([Step("exposure", exposure.version, packed)], raw=False))["exposure"] == -1.5


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
