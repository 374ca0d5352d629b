"""Parameters of darktable's modules against structs packed by hand, and the installation itself, real and broken."""

from __future__ import annotations

import base64
import os
import shutil
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixward.editors import darktable_modules as modules
from pixward.editors.darktable_modules import Field, Module, decode, encode
from pixward.errors import PixwardError

needs = pytest.mark.skipif(not shutil.which("darktable-cli"), reason="needs darktable-cli")
TOY = Module(
    "toy",
    3,
    16,
    {
        "gain": Field("gain", "float", 0, 1.5, -2.0, 2.0),
        "mode": Field("mode", "enum", 4, 1, values={"A": 0, "B": 7}),
        "on": Field("on", "bool", 8, 0, 0, 1),
        "count": Field("count", "ushort", 12, 3, 0, 9),
    },
)


def known(name, version, size):
    """The installed module, if it is the version whose layout is known here."""
    module = modules.describe(modules.installation(), (name,))[name]
    if module.version != version:
        pytest.skip(f"this darktable has {name} in version {module.version}, not {version}")
    assert module.size == size
    return module


# --- packing ------------------------------------------------------------------------------------------------------


def test_pack_and_unpack():
    assert TOY.pack({}) == struct.pack("<fiiHxx", 1.5, 1, 0, 3)
    assert TOY.pack({"gain": -0.25, "mode": "B", "on": 1, "count": 4.6}) == struct.pack("<fiiHxx", -0.25, 7, 1, 5)
    assert TOY.unpack(struct.pack("<fiiHxx", 0.5, 7, 1, 2)) == {"gain": 0.5, "mode": 7, "on": 1, "count": 2}


def test_pack_says_what_there_is():
    with pytest.raises(PixwardError, match="module toy has no field 'gian'; it has gain, mode, on, count"):
        TOY.pack({"gian": 1})
    with pytest.raises(PixwardError, match="field mode does not know 'C'; it has A, B"):
        TOY.pack({"mode": "C"})
    with pytest.raises(PixwardError, match="toy: 15 bytes of parameters, and version 3 has 16"):
        TOY.unpack(bytes(15))


@given(st.binary(max_size=200))
def test_encoding(packed):
    assert decode(encode(packed)) == packed
    assert decode("gz07" + base64.b64encode(zlib.compress(packed)).decode()) == packed


@pytest.mark.parametrize("text", ["0", "xy", "gz", "gz07", "gz07%%%%", "gz07AAAA", "gz07eJw="])
def test_encoding_of_nothing_known(text):
    with pytest.raises(PixwardError, match="cannot have written"):
        decode(text)


@needs
def test_exposure_as_by_hand():
    packed = known("exposure", 6, 24).pack({"black": 0.02, "exposure": 1.25})
    assert packed == struct.pack("<iffffi", 0, 0.02, 1.25, 50.0, -4.0, 0)


@needs
def test_local_contrast_as_by_hand():
    values = {"mode": "s_mode_local_laplacian", "sigma_r": 1.0, "sigma_s": 1.0, "detail": 0.3}
    assert known("bilat", 3, 20).pack(values) == struct.pack("<iffff", 1, 1.0, 1.0, 0.3, 0.5)


@needs
@pytest.mark.parametrize(
    ("name", "version", "size", "places"),
    [
        ("sigmoid", 1, 24, {"middle_grey_contrast": 0, "contrast_skewness": 4}),
        ("colorbalancergb", 5, 132, {"chroma_global": 68, "saturation_global": 76, "vibrance": 116, "contrast": 124}),
        ("toneequal", 2, 72, {"noise": 0, "shadows": 16, "speculars": 32}),
        ("channelmixerrgb", 3, 160, {"red[0]": 0, "green[1]": 20, "blue[2]": 40, "x": 136, "y": 140, "gamut": 148}),
        ("sharpen", 1, 12, {"radius": 0, "amount": 4, "threshold": 8}),
        ("shadhi", 5, 48, {"radius": 4, "shadows": 8, "highlights": 16, "compress": 24}),
    ],
)
def test_floats_lie_where_they_should(name, version, size, places):
    module = known(name, version, size)
    values = {field: 0.125 * (i + 1) for i, field in enumerate(places)}
    packed = module.pack(values)
    for field, place in places.items():
        assert struct.unpack_from("<f", packed, place) == (values[field],)
    assert {field: module.unpack(packed)[field] for field in places} == values


@needs
def test_ranges_and_defaults():
    field = known("sigmoid", 1, 24).field("middle_grey_contrast")
    assert (field.kind, field.default) == ("float", 1.5)
    assert (field.low, field.high) == pytest.approx((0.1, 10))
    kind = known("toneequal", 2, 72).field("details")
    assert kind.kind == "enum"
    assert kind.values is not None
    assert kind.default in kind.values.values()


@needs
def test_what_cannot_be_described():
    where = modules.installation()
    with pytest.raises(PixwardError, match="has no module 'nothing'"):
        modules.describe(where, ("exposure", "nothing"))
    with pytest.raises(PixwardError, match="does not describe its module overexposed: it cannot be tuned"):
        modules.describe(where, ("overexposed",))


@needs
def test_described_by_several_threads_at_once():
    where = modules.installation()
    modules.describe.cache_clear()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: modules.describe(where, ("exposure", "sharpen")), range(3)))
    assert found[0] == found[1] == found[2]
    assert list(found[0]["sharpen"].fields) == ["radius", "amount", "threshold"]


# --- the installation ---------------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """``fake(script)`` puts a darktable-cli of our own on the PATH, with libraries of a sort."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib" / "darktable" / "plugins").mkdir(parents=True)
    (tmp_path / "lib" / "darktable" / "libdarktable.so").write_text("no library")
    (tmp_path / "lib" / "darktable" / "plugins" / "libexposure.so").write_text("no library")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def make(script):
        path = tmp_path / "bin" / "darktable-cli"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


def test_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PixwardError, match="darktable-cli is not installed; on Debian and Ubuntu: sudo apt install"):
        modules.installation()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ('echo "this is darktable-cli 3.0.0"', "darktable 3.0.0 is too old, it must be 4.2 or newer"),
        ('echo "this is darktable 4.1.9"', "darktable 4.1.9 is too old"),
        ("echo hello", r"does not say its version \(hello\)"),
        ("exit 127", r"does not say its version \(nothing\)"),
        ("sleep 600", "--version gave no answer"),
    ],
)
def test_no_good_version(fake, monkeypatch, script, says):
    fake(script)
    monkeypatch.setattr(modules, "_VERSION_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(PixwardError, match=says) as caught:
        modules.installation()
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("this is darktable-cli 4.2.1\ncopyright (c) 2012-2023", "4.2.1"),
        ("darktable 5.2.0\nCopyright (C) 2012-2025 Johannes Hanika", "5.2.0"),
        ("(cli:7): Gtk-WARNING **: 12:30:01.234: cannot open display\ndarktable-cli 4.10+12~g0", "4.10"),
    ],
)
def test_newer_versions(fake, tmp_path, said, version):
    fake(f'echo "{said}"')
    found = modules.installation()
    assert (found.version, found.library) == (version, tmp_path / "lib" / "darktable")
    assert found.command == tmp_path / "bin" / "darktable-cli"


def test_an_update_is_noticed(fake, tmp_path):
    fake("echo darktable 4.2.1")
    assert modules.installation().version == "4.2.1"
    fake("echo darktable 5.0.0")
    os.utime(tmp_path / "bin" / "darktable-cli", (1, 1))
    assert modules.installation().version == "5.0.0"


def test_without_its_libraries(fake, tmp_path):
    fake("echo darktable 4.2.1")
    shutil.rmtree(tmp_path / "lib")
    with pytest.raises(PixwardError, match="libraries of .* are not below .*; install darktable by its package"):
        modules.installation()


def test_libraries_that_cannot_be_loaded(fake):
    fake("echo darktable 4.2.1")
    with pytest.raises(PixwardError, match=r"the modules of darktable 4\.2\.1 cannot be read: exposure"):
        modules.describe(modules.installation(), ("exposure",))
