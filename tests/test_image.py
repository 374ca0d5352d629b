"""What goes in and comes out: formats, depths, channels, orientation, metadata, sizes."""

from __future__ import annotations

import io
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixward import image as module
from pixward.image import from_tensor, load, preview, quantize, resize_to, save, to_tensor


def picture(dtype=np.uint8, height=12, width=20):
    full = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    values = np.random.default_rng(0).random((height, width, 3))
    return (values * full).astype(dtype)


def smooth(height=40, width=60):
    """A gradient, which JPEG and lossy WebP keep well."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (np.stack([x, y, 1 - x], -1) * 200 + 20).astype(np.uint8)


# Formats and depths


@pytest.mark.parametrize(
    ("suffix", "bits", "dtype"),
    [
        (".png", 8, np.uint8),
        (".tif", 8, np.uint8),
        (".tiff", 8, np.uint8),
        (".png", 16, np.uint16),
        (".tif", 16, np.uint16),
        (".tif", 32, np.float32),
    ],
)
def test_lossless_formats_come_back_exactly(tmp_path, suffix, bits, dtype):
    pixels = picture(dtype)
    photo = load(save(tmp_path / f"a{suffix}", pixels, bits=bits))
    assert (photo.pixels == pixels).all() and photo.pixels.dtype == dtype
    assert (photo.bits, photo.size) == (bits, (20, 12))
    assert photo.alpha is None and photo.exif is None and photo.icc is None


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".JPG"])
def test_lossy_formats_come_close(tmp_path, suffix):
    photo = load(save(tmp_path / f"a{suffix}", smooth()))
    assert np.abs(photo.pixels.astype(int) - smooth()).max() <= 6 and photo.bits == 8


def test_webp_of_quality_100_is_lossless(tmp_path):
    assert (load(save(tmp_path / "a.webp", picture(), quality=100)).pixels == picture()).all()


def test_other_libraries_read_what_is_written(tmp_path):
    pixels = picture(np.uint16)
    assert (imagecodecs.png_decode(save(tmp_path / "a.png", pixels, bits=16).read_bytes()) == pixels).all()
    assert (tifffile.imread(save(tmp_path / "a.tif", pixels, bits=16)) == pixels).all()
    with Image.open(save(tmp_path / "b.tif", picture())) as image:
        assert (np.asarray(image) == picture()).all()


def test_depths_convert_on_save(tmp_path):
    """1.0 is 255 is 65535; 8 to 16 bit is times 257; halves round."""
    pixels = np.array([[[0.0, 0.5, 1.0], [1.5, -0.5, 100.4 / 255]]], np.float32)
    assert load(save(tmp_path / "8.png", pixels)).pixels.tolist() == [[[0, 128, 255], [255, 0, 100]]]
    assert load(save(tmp_path / "16.png", pixels, bits=16)).pixels.tolist() == [[[0, 32768, 65535], [65535, 0, 25803]]]
    assert (load(save(tmp_path / "up.png", picture(), bits=16)).pixels == picture().astype(int) * 257).all()
    assert load(save(tmp_path / "down.png", np.full((1, 1, 3), 65535, np.uint16))).pixels.max() == 255


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_layouts(tmp_path, planar, compression, order):
    pixels = picture(np.uint16)
    data = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", data, photometric="rgb", planarconfig=planar, compression=compression, byteorder=order
    )
    assert (load(tmp_path / "a.tif").pixels == pixels).all()


@pytest.mark.parametrize("options", [{"bigtiff": True}, {"tile": (16, 16)}])
def test_big_and_tiled_tiff(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", picture(np.uint16), photometric="rgb", **options)
    assert (load(tmp_path / "a.tif").pixels == picture(np.uint16)).all()


def test_jpeg_in_tiff_and_12_bit(tmp_path):
    tifffile.imwrite(tmp_path / "j.tif", smooth(48, 64), photometric="rgb", compression="jpeg")
    assert np.abs(load(tmp_path / "j.tif").pixels.astype(int) - smooth(48, 64)).max() <= 12
    grey = np.array([[0, 2048, 4095]], np.uint16)
    tifffile.imwrite(tmp_path / "12.tif", grey, bitspersample=12, photometric="minisblack")
    assert load(tmp_path / "12.tif").pixels[0, :, 0].tolist() == [0, round(2048 / 4095 * 65535), 65535]


def test_float_tiff_is_clipped(tmp_path):
    values = np.array([[[-0.5, 0.25, 7.0]]], np.float32)
    for dtype in (np.float16, np.float32, np.float64):
        tifffile.imwrite(tmp_path / "f.tif", values.astype(dtype), photometric="rgb")
        photo = load(tmp_path / "f.tif")
        assert photo.pixels.tolist() == [[[0.0, 0.25, 1.0]]] and photo.bits == 32


def test_integers_of_32_bit_become_float(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 2**31, 2**32 - 1]], np.uint32), photometric="minisblack")
    assert load(tmp_path / "a.tif").pixels[0, :, 0] == pytest.approx([0, 0.5, 1])


def test_the_first_page_and_frame_count(tmp_path):
    first, second = Image.fromarray(picture()), Image.fromarray(255 - picture())
    for name, options in (("a.tif", {}), ("a.webp", {"lossless": True}), ("a.png", {})):
        first.save(tmp_path / name, save_all=True, append_images=[second], **options)
        assert (load(tmp_path / name).pixels == picture()).all()


# Grey, palette, alpha, CMYK


def grey8():
    return picture()[..., 0]


def test_grey(tmp_path):
    wide = picture(np.uint16)[..., 0]
    Image.fromarray(grey8()).save(tmp_path / "l.png")
    Image.fromarray(grey8()).save(tmp_path / "l.tif")
    Image.fromarray(wide).save(tmp_path / "i16.png")
    Image.fromarray(wide).save(tmp_path / "i16.tif")
    for name in ("l.png", "l.tif"):
        assert (load(tmp_path / name).pixels == grey8()[..., None]).all()
    for name in ("i16.png", "i16.tif"):
        photo = load(tmp_path / name)
        assert (photo.pixels == wide[..., None]).all() and photo.bits == 16
    Image.fromarray(smooth()[..., 0]).save(tmp_path / "l.jpg", quality=95)
    assert np.abs(load(tmp_path / "l.jpg").pixels.astype(int) - smooth()[..., :1]).max() <= 4


def test_one_bit_and_white_is_zero(tmp_path):
    bits = grey8() > 127
    for name in ("b.png", "b.tif"):
        Image.fromarray(bits).save(tmp_path / name)
        assert (load(tmp_path / name).pixels == bits[..., None] * 255).all()
    for data in (grey8(), picture(np.uint16)[..., 0], bits):
        tifffile.imwrite(tmp_path / "w.tif", data, photometric="miniswhite")
        wanted = (~data * np.uint8(255)) if data.dtype == bool else np.iinfo(data.dtype).max - data
        assert (load(tmp_path / "w.tif").pixels == wanted[..., None]).all()


def test_palette(tmp_path):
    image = Image.fromarray(picture()).quantize(8)
    wanted = np.asarray(image.convert("RGB"))
    for name in ("p.png", "p.tif"):
        image.save(tmp_path / name)
        photo = load(tmp_path / name)
        assert (photo.pixels == wanted).all() and photo.alpha is None
    image.save(tmp_path / "t.png", transparency=3)
    photo = load(tmp_path / "t.png")
    assert (photo.alpha == np.where(np.asarray(image) == 3, 0, 255)).all() and (photo.pixels == wanted).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_png(tmp_path, dtype, channels):
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (9, 7, channels), dtype=dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    photo = load(tmp_path / "a.png")
    assert (photo.alpha == array[..., -1]).all() and photo.alpha.dtype == dtype
    assert (photo.pixels == array[..., :-1]).all()  # one grey channel broadcasts to three


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_transparent_colour_in_png(tmp_path, mode):
    image = Image.new(mode, (2, 1), 255 if mode == "L" else (255, 255, 255))
    image.putpixel((0, 0), 7 if mode == "L" else (7, 8, 9))
    image.save(tmp_path / "a.png", transparency=7 if mode == "L" else (7, 8, 9))
    assert load(tmp_path / "a.png").alpha.tolist() == [[0, 255]]


def test_associated_alpha_is_undone(tmp_path):
    """128/255 of 100/255, stored as 50: the colour is 100 (within the rounding of the file)."""
    stored = np.array([[[50, 0, 128, 128], [0, 0, 0, 0]]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    photo = load(tmp_path / "a.tif")
    assert photo.pixels.tolist() == [[[100, 0, 255], [0, 0, 0]]] and photo.alpha.tolist() == [[128, 0]]


def test_alpha_is_kept_where_the_format_has_it(tmp_path):
    alpha = np.random.default_rng(0).integers(0, 256, (12, 20), dtype=np.uint8)
    Image.fromarray(np.dstack([picture(), alpha])).save(tmp_path / "in.png")
    photo = load(tmp_path / "in.png")
    for name, bits in (("a.png", 8), ("a.tif", 8), ("a.webp", 8), ("b.png", 16), ("b.tif", 16), ("c.tif", 32)):
        again = load(save(tmp_path / name, photo.pixels, like=photo, bits=bits, quality=100))
        full = {8: 255, 16: 65535, 32: 1}[bits]
        assert (again.alpha / full * 255).round().astype(int).tolist() == alpha.tolist(), name
        assert ((again.pixels / full * 255).round() == picture()).all(), name  # also where alpha is 0
    flat = load(save(tmp_path / "a.jpg", photo.pixels, like=photo))
    opaque = load(save(tmp_path / "b.jpg", photo.pixels))
    assert flat.alpha is None and (flat.pixels == opaque.pixels).all()  # dropped, not blended


def test_cmyk_jpeg_without_profile(tmp_path):
    """(1 - ink) * (1 - black)."""
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[...] = (255, 51, 0, 102)
    Image.fromarray(ink, "CMYK").save(tmp_path / "a.jpg", quality=100)
    wanted = [0, (1 - 0.2) * (1 - 0.4) * 255, (1 - 0.4) * 255]
    assert np.abs(load(tmp_path / "a.jpg").pixels - np.array(wanted)).max() <= 2
    tifffile.imwrite(tmp_path / "a.tif", ink, photometric="separated")
    assert np.abs(load(tmp_path / "a.tif").pixels - np.array(wanted)).max() <= 0.5


# EXIF


def tags(maker=b"maker note" * 20, **more):
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif[0x8769] = {0x829A: (1, 250), 0x927C: maker}  # exposure time, maker note
    exif[0x8825] = {1: "N"}
    for key, value in more.items():
        exif[int(key.removeprefix("t"))] = value
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "deep.png", "deep.tif"])
def test_orientation(tmp_path, orientation, name):
    """Against Pillow's transposition: the picture that is stored turned must come back upright."""
    upright = Image.fromarray(smooth(24, 40))
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse, as Image.Transpose
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(turn[orientation]))
    path = tmp_path / name
    if name == "deep.png":
        path.write_bytes(_with_exif(np.asarray(stored).astype(np.uint16) * 257, tags(t274=orientation)))
    elif name.endswith(".tif"):
        data = np.asarray(stored) if name == "a.tif" else np.asarray(stored).astype(np.uint16) * 257
        tifffile.imwrite(path, data, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    else:
        stored.save(path, exif=tags(t274=orientation), quality=95)
    photo = load(path)
    assert photo.size == (40, 24)
    values = photo.pixels / (257 if photo.bits == 16 else 1)
    assert np.abs(values - smooth(24, 40)).max() <= (12 if name in ("a.jpg", "a.webp") else 0)
    exif = Image.Exif()
    exif.load(photo.exif)
    assert exif[274] == 1
    again = save(tmp_path / f"again{path.suffix}", photo.pixels, like=photo, bits=photo.bits)
    assert load(again).size == (40, 24)  # not turned twice


def _with_exif(array, exif):
    """A 16-bit PNG whose EXIF comes after the pixels, as exiftool writes it."""
    data = imagecodecs.png_encode(array)
    body = b"eXIf" + exif.tobytes()[6:]
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[:-12] + chunk + data[-12:]


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize(
    ("target", "bits"), [("b.jpg", 8), ("b.png", 8), ("b.png", 16), ("b.webp", 8), ("b.tif", 8), ("b.tif", 16)]
)
def test_exif_travels_between_formats(tmp_path, source, target, bits):
    Image.fromarray(smooth()).save(tmp_path / source, exif=tags(t274=1).tobytes())
    photo = load(tmp_path / source)
    again = load(save(tmp_path / target, photo.pixels, like=photo, bits=bits))
    exif = Image.Exif()
    exif.load(again.exif)
    assert exif[0x010F] == "Camera"
    assert float(exif.get_ifd(0x8769)[0x829A][0]) == 1 and exif.get_ifd(0x8769)[0x927C] == b"maker note" * 20
    assert exif.get_ifd(0x8825)[1] == "N"
    with Image.open(tmp_path / target) as other:
        assert other.getexif().get_ifd(0x8769)[0x927C] == b"maker note" * 20


def test_exif_of_a_jpeg_is_kept_byte_for_byte(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=tags(t274=1))
    photo = load(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert photo.exif == image.info["exif"]


def test_the_thumbnail_is_unlinked(tmp_path):
    """It shows the photo before the edit, and unrotated."""
    first = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\x1a\0\0\0" + bytes(6)
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + first)
    exif = load(tmp_path / "a.jpg").exif
    assert exif == b"Exif\0\0" + first.replace(b"\x06\0\0\0", b"\x01\0\0\0").replace(b"\x1a\0\0\0", bytes(4))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "junk", [b"", b"rubbish", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_does_not_cost_the_picture(tmp_path, junk):
    (tmp_path / "a.png").write_bytes(png_with_exif(junk))
    photo = load(tmp_path / "a.png")
    assert (photo.pixels == picture()).all() and photo.exif is None
    for name in ("b.png", "b.jpg", "b.tif", "b.webp"):
        assert load(save(tmp_path / name, photo.pixels, like=photo)).size == (20, 12)


def png_with_exif(exif):
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG")
    data, body = buffer.getvalue(), b"eXIf" + exif
    return data[:33] + len(exif).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big") + data[33:]


def test_exif_that_no_jpeg_holds_is_left_out_with_a_warning(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=tags(bytes(70_000)))
    photo = load(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="EXIF left out"):
        assert load(save(tmp_path / "a.jpg", photo.pixels, like=photo)).exif is None


# Sizes


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1)])
def test_tiny(tmp_path, name, size):
    photo = load(save(tmp_path / name, picture(height=size[0], width=size[1])))
    assert photo.size == size[::-1] and preview(photo).shape == (1, 3, *size)
    assert preview(photo, 1).shape == (1, 3, 1, 1)


@pytest.mark.filterwarnings("error")
def test_100_megapixels(tmp_path):
    """More than the 89 million at which Pillow warns."""
    image = Image.new("L", (12_500, 8_000), 1)
    image.paste(200, (0, 0, 6_250, 8_000))
    image.save(tmp_path / "a.jpg")
    photo = load(tmp_path / "a.jpg")
    assert photo.size == (12_500, 8_000)
    small = preview(photo, 250)
    assert small.shape == (1, 3, 160, 250)
    assert small[0, 0, 80, 10].item() == pytest.approx(200 / 255, abs=0.005)
    assert small[0, 0, 80, 240].item() == pytest.approx(1 / 255, abs=0.005)


# Tensors


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_every_value_survives_the_trip_through_a_tensor(dtype, bits):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1, 1).repeat(3, 2)
    tensor = to_tensor(values)
    assert tensor.dtype == torch.float32 and tensor.shape == (1, 3, 1, values.shape[1])
    assert tensor.min() == 0 and tensor.max() == 1
    assert (from_tensor(tensor, bits) == values).all()


def test_channels_keep_their_order():
    assert to_tensor(np.array([[[255, 0, 51]]], np.uint8)).flatten().tolist() == pytest.approx([1, 0, 0.2])
    assert from_tensor(torch.tensor([1.0, 0.0, 0.2]).reshape(1, 3, 1, 1)).tolist() == [[[255, 0, 51]]]


def test_8_bit_tensors_equal_quantize():
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    assert torch.equal(to_tensor(from_tensor(image)), quantize(image))
    assert from_tensor(image, 32).min() == 0 and from_tensor(image, 32).max() == 1


def test_from_tensor_takes_a_graph_and_keeps_its_input():
    image = torch.full((1, 3, 2, 2), 2.0, requires_grad=True)
    assert (from_tensor(image, 32) == 1).all() and (image == 2).all()


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        to_tensor(np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match="int32"):
        to_tensor(np.zeros((4, 4, 3), np.int32))
    with pytest.raises(ValueError, match="1, 3, H, W"):
        from_tensor(torch.zeros(2, 3, 4, 4))
    with pytest.raises(ValueError, match="bits"):
        from_tensor(torch.zeros(1, 3, 4, 4), 12)
    with pytest.raises(ValueError, match="NaN"):
        from_tensor(torch.full((1, 3, 1, 1), float("nan")))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(1, 400))
def test_preview_is_resize_to_in_strips(height, width, longest, strip):
    pixels = picture(np.uint16, height, width)
    before, module._STRIP = module._STRIP, strip
    try:
        small = preview(pixels, longest)
    finally:
        module._STRIP = before
    assert max(small.shape[2:]) == min(longest, max(height, width))
    assert small.shape[2] <= height and small.shape[3] <= width
    wanted = resize_to(to_tensor(pixels), tuple(small.shape[2:]))
    assert torch.allclose(small, wanted, atol=1e-5)
    assert small.min() >= 0 and small.max() <= 1 + 1e-6


def test_resize_averages_areas():
    """Antialiased halving of a 1-pixel checkerboard is flat grey inside; without antialiasing it is not in general."""
    board = (torch.arange(64)[:, None] + torch.arange(64)[None]).remainder(2).float()[None, None]
    assert torch.allclose(resize_to(board, (16, 16))[..., 1:-1, 1:-1], torch.tensor(0.5), atol=1e-6)
    assert resize_to(board, (64, 64)) is board


def test_real_photos(shared_data, tmp_path):
    paths = sorted((shared_data / "photos" / "hires_cc0").glob("*.jpg"))[:1]
    for path in paths:
        photo = load(path)
        with Image.open(path) as image:
            assert photo.size == image.size
        out = save(tmp_path / path.name, photo.pixels, like=photo, quality=98)
        again = load(out)
        assert again.exif == photo.exif and again.icc == photo.icc
        assert (preview(again) - preview(photo)).abs().max() < 2 / 255
