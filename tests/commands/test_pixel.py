"""``pixward pixel import`` and ``pixward pixel denoise``, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from imagecodecs import png_decode, png_encode
from PIL import Image

from pixward.pixel.run import improve
from pixward.pixel.trace import rounded
from pixward.policies.pixel import PixelPolicy, PixelSettings, load_pixel_policy, save_pixel_policy


@pytest.fixture
def weights(tmp_path):
    """An untrained policy that does use several actions."""
    torch.manual_seed(3)
    net = PixelPolicy(PixelSettings(width=8, sigma=25))
    save_pixel_policy(tmp_path / "net.safetensors", net.settings, net.state_dict())
    return tmp_path / "net.safetensors"


def noise(*shape):
    """Floats that leave [0, 1] on both sides."""
    values = np.random.default_rng(0).normal(0.5, 0.4, shape).astype(np.float32)
    assert values.size < 10 or (values.min() < 0 and values.max() > 1)
    return values


def expected(weights, planes, steps=5):
    """The result of the library for ``(C, H, W)``."""
    return improve(load_pixel_policy(weights), torch.from_numpy(planes)[:, None], steps).result[:, 0]


def test_arrays_are_neither_clipped_nor_rounded(tmp_path, pixward, weights):
    for name, shape in {"plain": (20, 24), "one": (20, 24, 1), "rgb": (12, 14, 3)}.items():
        values = noise(*shape)
        np.save(tmp_path / f"{name}.npy", values)
        done = pixward("pixel", "denoise", tmp_path / f"{name}.npy", "--weights", weights, "--out", tmp_path / "out")
        assert (done.code, done.err) == (0, "")
        planes = np.moveaxis(values.reshape(*shape[:2], -1), 2, 0).copy()
        result = expected(weights, planes)
        found = np.load(tmp_path / "out" / f"{name}.npy")
        assert (found.shape, found.dtype) == (shape, np.float32)
        assert np.abs(np.moveaxis(found.reshape(*shape[:2], -1), 2, 0) - result.numpy()).max() < 1e-6
        picture = np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        seen = (rounded(result) * 255).byte().numpy()
        assert np.array_equal(picture, seen[0] if len(seen) == 1 else np.moveaxis(seen, 0, 2))
    assert found.min() < 0 or found.max() > 1
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".npy"] * 3 + [".png"] * 3


def test_pictures_of_every_depth(tmp_path, pixward, weights):
    values = noise(10, 12)
    eight, sixteen = (values.clip(0, 1) * 255).astype(np.uint8), (values.clip(0, 1) * 65535).astype(np.uint16)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(eight).save(folder / "a8.png")
    (folder / "b16.png").write_bytes(png_encode(sixteen))
    tifffile.imwrite(folder / "cfloat.tif", values)
    (folder / "notes.txt").write_text("no picture")
    done = pixward("pixel", "denoise", folder, "--weights", weights, "--out", tmp_path / "out", "--json")
    result = json.loads(done.out)
    assert [row["input"].rsplit("/", 1)[-1] for row in result["pictures"]] == ["a8.png", "b16.png", "cfloat.tif"]
    assert (result["steps"], result["sigma"]) == (5, 25)
    for row, given in zip(result["pictures"], (eight / 255, sixteen / 65535, values), strict=True):
        out = png_decode(Path(row["output"]).read_bytes())
        full = 255 if row["output"].endswith("a8.png") else 65535
        assert out.dtype == (np.uint8 if full == 255 else np.uint16) and out.shape == (10, 12)
        clean = expected(weights, given.astype(np.float32)[None])[0].clamp(0, 1).numpy()
        assert np.abs(out / full - clean).max() <= 0.51 / full
        assert (row["width"], row["height"], row["mode"]) == (12, 10, "grey")
        assert len(row["shares"]) == len(row["changes"]) == 5
        assert sum(row["shares"][0].values()) == pytest.approx(1, abs=1e-3)


def test_alpha_profile_and_orientation_survive(tmp_path, pixward, weights):
    from pixward.icc import srgb

    picture = Image.fromarray((noise(6, 9, 4).clip(0, 1) * 255).astype(np.uint8), "RGBA")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "kept"
    picture.save(tmp_path / "a.png", icc_profile=srgb(), exif=exif)
    assert pixward("pixel", "denoise", tmp_path / "a.png", "--weights", weights, "--out", tmp_path / "o").code == 0
    found = Image.open(tmp_path / "o" / "a.png")
    assert (found.mode, found.size) == ("RGBA", (6, 9))
    assert found.info["icc_profile"] == srgb() and found.getexif()[0x010E] == "kept"
    assert found.getexif()[0x0112] == 1
    alpha = np.rot90(np.asarray(picture)[..., 3], -1)
    assert np.array_equal(np.asarray(found)[..., 3], alpha)


def test_colour_per_channel_or_luma(tmp_path, pixward, weights):
    values = noise(8, 9, 3)
    np.save(tmp_path / "c.npy", values)
    assert pixward("pixel", "denoise", tmp_path / "c.npy", "--weights", weights, "--out", tmp_path / "o").code == 0
    done = pixward(
        "pixel", "denoise", tmp_path / "c.npy", "--weights", weights, "--out", tmp_path / "l", "--luma", "--json"
    )
    assert json.loads(done.out)["pictures"][0]["mode"] == "luma"
    each, light = np.load(tmp_path / "o" / "c.npy"), np.load(tmp_path / "l" / "c.npy")
    assert not np.allclose(each, light)
    assert np.allclose(light - light[..., :1], values - values[..., :1], atol=1e-6)  # colours stay
    weight = np.array([0.2126, 0.7152, 0.0722], np.float32)
    grey = expected(weights, (values @ weight)[None])
    assert np.allclose(light @ weight, grey[0].numpy(), atol=1e-5)


def test_one_pixel_steps_and_maps(tmp_path, pixward, weights):
    np.save(tmp_path / "dot.npy", noise(1, 1, 3))
    done = pixward(
        *("pixel", "denoise", tmp_path / "dot.npy", "--weights", weights, "--out", tmp_path / "o"),
        *("--steps", 7, "--maps", "--json"),
    )
    row = json.loads(done.out)["pictures"][0]
    assert len(row["shares"]) == 7 and row["maps"].endswith("dot.maps.png")
    assert np.load(row["array"]).shape == (1, 1, 3)
    assert min(Image.open(row["maps"]).size) > 300


def test_the_maps_show_the_actions(tmp_path, pixward, weights):
    from pixward.ops.pixel import RESTORE
    from pixward.pixel.maps import colours

    np.save(tmp_path / "x.npy", noise(30, 40))
    done = pixward(
        "pixel", "denoise", tmp_path / "x.npy", "--weights", weights, "--out", tmp_path / "o", "--maps", "--json"
    )
    row = json.loads(done.out)["pictures"][0]
    pixels = np.asarray(Image.open(row["maps"])).reshape(-1, 3)
    used = {name for step in row["shares"] for name, share in step.items() if share > 0.01}
    assert len(used) >= 3
    legend = 17 * 17  # each colour is in the legend; those used are in the maps as well
    for name, colour in zip(RESTORE.names, colours(RESTORE), strict=True):
        count = int((pixels == np.array(colour)).all(1).sum())
        assert count >= legend and (name not in used or count > 2 * legend), name
    assert len(set(colours(RESTORE))) == 9


def test_all_files_or_none(tmp_path, pixward, weights):
    np.save(tmp_path / "a.npy", noise(4, 4))
    np.save(tmp_path / "b.npy", np.full((4, 4), np.nan))
    done = pixward(
        "pixel", "denoise", tmp_path / "a.npy", tmp_path / "b.npy", "--weights", weights, "--out", tmp_path / "o"
    )
    assert done.code == 1 and "b.npy holds 16 values that are NaN" in done.line
    assert not (tmp_path / "o").exists()
    again = ("pixel", "denoise", tmp_path / "a.npy", "--weights", weights, "--out", tmp_path / "o")
    assert pixward(*again).code == 0
    assert "exists already" in pixward(*again).line
    assert pixward(*again, "--force").code == 0
    done = pixward("pixel", "denoise", tmp_path / "a.npy", "--weights", weights, "--out", tmp_path, "--force")
    assert "would overwrite" in done.line


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((4, 4), np.uint8), "holds uint8: it takes floats in [0, 1]"),
        (np.full((4, 4), 128.0), "has a mean of 128: floats must be about [0, 1]"),
        (np.zeros((4, 4, 2)), "has the shape (4, 4, 2)"),
        (np.zeros((0, 4)), "has the shape (0, 4)"),
        (np.full((2, 2), np.inf), "holds 4 values that are NaN or infinite"),
    ],
)
def test_bad_arrays(tmp_path, pixward, weights, array, words):
    np.save(tmp_path / "x.npy", array)
    done = pixward("pixel", "denoise", tmp_path / "x.npy", "--weights", weights, "--out", tmp_path / "o")
    assert done.code == 1 and words in done.line


def test_bad_input(tmp_path, pixward, weights):
    np.save(tmp_path / "x.npy", noise(4, 4))
    (tmp_path / "junk.npy").write_bytes(b"hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "d").mkdir()
    np.save(tmp_path / "d" / "x.npy", noise(4, 4))
    (tmp_path / "w.npz").write_bytes(b"x")
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    save_other = PixelPolicy(PixelSettings(actions="colour", width=8))
    save_pixel_policy(tmp_path / "colour.safetensors", save_other.settings, save_other.state_dict())
    good = ("pixel", "denoise", tmp_path / "x.npy", "--out", tmp_path / "o", "--weights", weights)
    plain = good[:-2]
    cases = {
        (*good, "--sigma", 0): "--sigma 0: the noise must lie between 1 and 100",
        (*good, "--sigma", 500): "--sigma 500: the noise must lie between",
        (*good, "--sigma", "nan"): "--sigma nan",
        (*plain, "--weights", "no-such"): "there is no weight file",
        (*plain, "--weights", tmp_path / "none"): "there is no weight file",
        (*plain, "--weights", tmp_path / "w.npz"): "pixward pixel import",
        (*plain, "--weights", tmp_path / "bad.safetensors"): "bad.safetensors is no whole file of weights",
        (*plain, "--weights", tmp_path / "colour.safetensors"): "is for the task colour",
        (*good, tmp_path / "junk.npy"): "junk.npy is not a whole .npy array",
        (*good, tmp_path / "gone.npy"): "gone.npy does not exist",
        (*good, tmp_path / "gone.png"): "gone.png does not exist",
        (*good, tmp_path / "empty"): "there is no picture in",
        (*good, tmp_path / "d"): "would both become x.png",
    }
    for arguments, words in cases.items():
        done = pixward(*arguments)
        assert done.code == 1 and words in done.line, words
    assert pixward(*good, "--steps", 0).code == 2
    assert not (tmp_path / "o").exists()


def test_other_noise_than_trained_for_is_noted(tmp_path, pixward, weights):
    np.save(tmp_path / "x.npy", noise(4, 4))
    done = pixward("pixel", "denoise", tmp_path / "x.npy", "--weights", weights, "--out", tmp_path / "o", "--sigma", 15)
    assert done.code == 0 and "note:" in done.err and "was trained for sigma 25, not 15" in done.err


def test_import_and_denoise(tmp_path, pixward, shared_data):
    source = shared_data / "pixelrl" / "weights" / "plain_sigma25.npz"
    done = pixward("pixel", "import", source, "--out", tmp_path / "p.safetensors")
    assert done.code == 0 and "without a ConvGRU, 5 steps, for sigma 25" in done.out
    clean = np.asarray(Image.open(shared_data / "denoise" / "BSD68" / "test001.png").convert("L"))[100:180, 100:180]
    clean = clean.astype(np.float32) / 255
    noisy = clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape).astype(np.float32)
    np.save(tmp_path / "n.npy", noisy)
    assert pixward(
        "pixel", "denoise", tmp_path / "n.npy", "--weights", tmp_path / "p.safetensors", "--out", tmp_path / "o"
    ).code == 0  # fmt: skip
    found = np.load(tmp_path / "o" / "n.npy")
    before, after = (10 * np.log10(1 / np.mean((x - clean) ** 2)) for x in (noisy, found))
    assert before < 21 and after > before + 6


def test_import_refuses(tmp_path, pixward):
    (tmp_path / "junk.npz").write_bytes(b"hello")
    done = pixward("pixel", "import", tmp_path / "junk.npz", "--out", tmp_path / "p.safetensors")
    assert done.code == 1 and "junk.npz is not a whole .npz of weights" in done.line
    assert "ending .safetensors" in pixward("pixel", "import", "a.npz", "--out", tmp_path / "p.pt").line
    assert "does not exist" in pixward("pixel", "import", "a.npz", "--out", tmp_path / "p.safetensors").line
    assert not (tmp_path / "p.safetensors").exists()
