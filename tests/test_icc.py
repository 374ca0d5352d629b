"""Colour profiles against colour maths done by hand: matrices from the published primaries, nothing of Little CMS."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from pixward import icc
from pixward.image import load, save

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
SRGB = [(0.640, 0.330), (0.300, 0.600), (0.150, 0.060)]
DISPLAY_P3 = [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)]
ADOBE_RGB = [(0.640, 0.330), (0.210, 0.710), (0.150, 0.060)]
ADOBE_GAMMA = 563 / 256
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def to_xyz(primaries):
    """Linear RGB to XYZ under D50, Bradford adapted (what an ICC matrix profile stores in its columns)."""
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1, (1 - D65[0] - D65[1]) / D65[1]])
    adapt = np.linalg.inv(bradford) @ np.diag((bradford @ D50) / (bradford @ white)) @ bradford
    return adapt @ (columns * np.linalg.solve(columns, white))


def srgb_decode(v):
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb_encode(v):
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 1e-12) ** (1 / 2.4) - 0.055)


def s15(*values):
    return b"".join(struct.pack(">i", round(float(v) * 65536)) for v in values)


def profile_bytes(tags, space=b"RGB ", pcs=b"XYZ ", kind=b"mntr", version=(2, 0x10)):
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": text + bytes(-len(text) % 4), b"cprt": b"text\0\0\0\0none\0\0\0\0", **tags}
    tags[b"wtpt"] = b"XYZ \0\0\0\0" + s15(*D50)
    offset, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += content
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I", 128 + len(body)) + bytes(4) + bytes([*version, 0, 0]) + kind + space + pcs
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + s15(*D50)
    return head + bytes(128 - len(head)) + body


def gamma_curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def matrix_profile(primaries, gamma=None):
    """A v2 matrix profile; with the sRGB curve (then v4, which alone has it) unless ``gamma`` is given."""
    curve = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + s15(*SRGB_CURVE) if gamma is None else gamma_curve(gamma)
    tags = {}
    for letter, column in zip("rgb", to_xyz(primaries).T, strict=True):
        tags[f"{letter}XYZ".encode()] = b"XYZ \0\0\0\0" + s15(*column)
        tags[f"{letter}TRC".encode()] = curve
    return profile_bytes(tags, version=(4, 0x20) if gamma is None else (2, 0x10))


P3 = matrix_profile(DISPLAY_P3)
ADOBE = matrix_profile(ADOBE_RGB, ADOBE_GAMMA)
CASES = {
    "Display P3": (P3, DISPLAY_P3, srgb_decode, srgb_encode),
    "Adobe RGB": (ADOBE, ADOBE_RGB, lambda v: v**ADOBE_GAMMA, lambda v: np.maximum(v, 0) ** (1 / ADOBE_GAMMA)),
}
FULL = {np.uint8: 255, np.uint16: 65535, np.float32: 1}


def by_hand_to_srgb(values, case):
    _, primaries, decode, _ = CASES[case]
    return srgb_encode(decode(values) @ to_xyz(primaries).T @ np.linalg.inv(to_xyz(SRGB)).T)


def by_hand_from_srgb(values, case):
    _, primaries, _, encode = CASES[case]
    return encode(srgb_decode(values) @ to_xyz(SRGB).T @ np.linalg.inv(to_xyz(primaries)).T)


def colours(dtype, low=0.0):
    """A 30 x 30 picture of sRGB colours, many of them saturated."""
    values = np.random.default_rng(0).uniform(low, 1, (30, 30, 3)).round(1)
    return values.astype(dtype) if dtype is np.float32 else (values * FULL[dtype]).round().astype(dtype)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.uint8, 1.0), (np.uint16, 0.2), (np.float32, 0.2)])
def test_both_ways_agree_with_the_maths(case, dtype, tolerance):
    profile, full = CASES[case][0], FULL[dtype]
    wanted = colours(dtype, 0.1)
    inside = by_hand_from_srgb(wanted / full, case)
    out, kept = icc.from_srgb(wanted, profile)
    assert kept == profile and out.dtype == dtype
    assert np.abs(out / full - inside).max() * 255 <= tolerance
    assert np.abs(out / full - wanted / full).max() * 255 > 20  # leaving the numbers as they are would be wrong
    back = icc.to_srgb(out, profile)
    assert np.abs(back / full - by_hand_to_srgb(out / full, case)).max() * 255 <= tolerance


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("suffix", "bits", "dtype"), [(".png", 8, np.uint8), (".png", 16, np.uint16), (".tif", 32, np.float32)]
)
def test_a_file_in_a_wide_profile_comes_back(tmp_path, case, suffix, bits, dtype):
    """File in the profile -> load -> save with ``like``: the file's own numbers, within 1/255 (more bits: 0.2/255)."""
    profile, full = CASES[case][0], FULL[dtype]
    stored = icc.from_srgb(colours(dtype, 0.1), profile)[0]
    source = tmp_path / f"source{suffix}"
    save(source, stored, bits=bits)
    _embed(source, profile)
    photo = load(source)
    assert photo.icc == profile and photo.bits == bits
    tolerance = 1.01 if bits == 8 else 0.2
    assert np.abs(photo.pixels / full - by_hand_to_srgb(stored / full, case)).max() * 255 <= tolerance
    again = save(tmp_path / f"again{suffix}", photo.pixels, like=photo, bits=bits)
    plain = _without_profile(again, tmp_path)
    assert np.abs(plain / full - stored / full).max() * 255 <= tolerance
    assert load(again).icc == profile


def _embed(path, profile):
    """Add a profile to a file without touching its numbers."""
    if path.suffix == ".tif":
        import tifffile

        tifffile.imwrite(path, tifffile.imread(path), photometric="rgb", iccprofile=profile)
        return
    import zlib

    data = path.read_bytes()
    body = b"iCCP" + b"p\0\0" + zlib.compress(profile)
    path.write_bytes(
        data[:33] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[33:]
    )


def _without_profile(path, tmp_path):
    """The numbers in a file, read by another library than pixward's."""
    import imagecodecs
    import tifffile

    return tifffile.imread(path) if path.suffix == ".tif" else imagecodecs.png_decode(path.read_bytes())


def test_16_bit_does_not_pass_through_a_coarse_table():
    """Little CMS does so by default: a round trip is then more than 10/255 off."""
    pixels = np.random.default_rng(1).integers(0, 65536, (100, 100, 3), dtype=np.uint16)
    out, _ = icc.from_srgb(pixels, ADOBE)
    assert np.abs(icc.to_srgb(out, ADOBE).astype(int) - pixels).max() / 65535 * 255 < 0.1


def test_colours_outside_srgb_are_clipped(tmp_path):
    path = tmp_path / "green.png"
    Image.fromarray(np.full((2, 2, 3), (0, 255, 0), np.uint8)).save(path, icc_profile=P3)
    assert load(path).pixels[0, 0].tolist() == [0, 255, 0]
    save(tmp_path / "green.tif", np.full((2, 2, 3), (0, 1, 0), np.float32), bits=32)
    _embed(tmp_path / "green.tif", P3)
    pixels = load(tmp_path / "green.tif").pixels
    assert pixels.min() >= 0 and pixels.max() <= 1


def test_an_srgb_profile_changes_nothing(tmp_path):
    """Other editions of sRGB differ from ours by rounding; a photo in one must still come back untouched."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = matrix_profile(SRGB)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for number, icc_profile in enumerate((profile, other)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png", icc_profile=icc_profile)
        photo = load(tmp_path / f"{number}.png")
        assert (photo.pixels == pixels).all() and photo.icc == icc_profile
        again = save(tmp_path / f"again{number}.png", photo.pixels, like=photo)
        with Image.open(again) as image:
            assert image.info["icc_profile"] == icc_profile and (np.asarray(image) == pixels).all()
    assert not icc.is_srgb(P3) and not icc.is_srgb(ADOBE)


def test_grey_profile(tmp_path):
    """Gamma 1.8 grey: 100/255 ** 1.8 in linear light, then the sRGB curve. It cannot go into an RGB file."""
    profile = profile_bytes({b"kTRC": gamma_curve(1.8)}, space=b"GRAY")
    values = np.array([[0, 60, 100, 180, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / "grey.png", icc_profile=profile)
    photo = load(tmp_path / "grey.png")
    wanted = srgb_encode((values / 255) ** 1.8) * 255
    assert np.abs(photo.pixels - wanted[..., None]).max() <= 1
    assert abs(int(photo.pixels[0, 2, 0]) - 100) > 5
    again = save(tmp_path / "again.png", photo.pixels, like=photo)
    assert load(again).icc is None and (load(again).pixels == photo.pixels).all()


def test_cmyk_profile(tmp_path):
    """A table profile where cyan alone prints neutral L* = 50, so sRGB 119 (L* = 50 is Y = 0.1842)."""
    nodes = [(0, 128, 128) if c + m + y + k > 1 or k else (128, 128, 128) if c else (255, 128, 128)
             for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]  # fmt: skip
    line = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1) + line * 4
    lut += b"".join(bytes(node) for node in nodes) + line * 3
    profile = profile_bytes({b"A2B0": lut, b"A2B1": lut}, space=b"CMYK", pcs=b"Lab ", kind=b"prtr")
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[..., 0] = 255
    Image.fromarray(ink, "CMYK").save(tmp_path / "ink.jpg", quality=100, icc_profile=profile)
    photo = load(tmp_path / "ink.jpg")
    assert np.abs(photo.pixels.astype(int) - 119).max() <= 2
    again = save(tmp_path / "again.jpg", photo.pixels, like=photo, quality=100)
    assert load(again).icc is None and np.abs(load(again).pixels.astype(int) - 119).max() <= 2


@pytest.mark.parametrize("damage", [b"not a profile", P3[:200], P3[:16] + b"Lab " + P3[20:]])
def test_a_damaged_profile_counts_as_srgb(tmp_path, damage):
    pixels = colours(np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path, icc_profile=damage)
    icc.usable.cache_clear()
    with pytest.warns(UserWarning, match="taken as sRGB"):
        photo = load(path)
    assert (photo.pixels == pixels).all()
    again = save(tmp_path / "again.png", photo.pixels, like=photo)
    assert load(again).icc is None


def test_a_profile_for_other_channels_is_ignored(tmp_path):
    """An RGB file with a CMYK or grey profile: seen in the wild, means nothing."""
    pixels = colours(np.uint8)
    Image.fromarray(pixels).save(
        tmp_path / "a.png", icc_profile=profile_bytes({b"kTRC": gamma_curve(1.8)}, space=b"GRAY")
    )
    assert (load(tmp_path / "a.png").pixels == pixels).all()


def test_strips_do_not_show(monkeypatch):
    pixels = colours(np.uint16)
    whole = icc.to_srgb(pixels, P3)
    ink = np.random.default_rng(0).integers(0, 256, (30, 30, 4), dtype=np.uint8)
    paper = icc.to_srgb(ink, None)
    monkeypatch.setattr(icc, "_STRIP", 70)
    assert (icc.to_srgb(pixels, P3) == whole).all() and (icc.to_srgb(ink, None) == paper).all()
