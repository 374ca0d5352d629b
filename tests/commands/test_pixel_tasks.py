"""``pixward pixel restore``, ``colour`` and ``actions``, and edits on the command line, as a user runs them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch
from imagecodecs import png_decode
from PIL import Image
from tests.commands.conftest import picture
from tests.test_icc import SRGB, matrix_profile

from pixward.ops.pixel import COLOUR, RESTORE
from pixward.pixel.run import improve
from pixward.pixel.trace import rounded
from pixward.policies.pixel import PixelPolicy, PixelSettings, load_pixel_policy, save_pixel_policy
from pixward.policies.pixel_half import noise_plane


def policy_file(place, **settings):
    """An untrained policy that does use several actions."""
    torch.manual_seed(3)
    net = PixelPolicy(PixelSettings(**{"width": 8, "horizon": 4, **settings}))
    save_pixel_policy(place, net.settings, net.state_dict())
    return place


@pytest.fixture
def weights(tmp_path):
    """For grey pictures, no condition."""
    return policy_file(tmp_path / "net.safetensors")


@pytest.fixture
def colour(tmp_path):
    """For colour pictures."""
    return policy_file(tmp_path / "colour.safetensors", actions="colour")


@pytest.fixture
def told(tmp_path):
    """Half the resolution, told the noise."""
    return policy_file(tmp_path / "told.safetensors", design="half", depth=3, condition=1, noise=(5.0, 60.0))


@pytest.fixture
def grey(tmp_path):
    """A grey array with wild values."""
    values = np.random.default_rng(0).normal(0.5, 0.4, (20, 24)).astype(np.float32)
    np.save(tmp_path / "grey.npy", values)
    return tmp_path / "grey.npy"


def shares(done):
    """The shares of the only picture."""
    return json.loads(done.out)["pictures"][0]["shares"]


@pytest.mark.parametrize("kind", ["text", "scratch", "salt-pepper"])
def test_restore_does_what_the_library_does(tmp_path, pixward, weights, grey, kind):
    done = pixward(
        *("pixel", "restore", grey, "--kind", kind, "--weights", weights, "--out", tmp_path / "o", "--maps", "--json")
    )
    assert (done.code, done.err) == (0, "")
    said = json.loads(done.out)
    assert (said["kind"], said["steps"], said["weights"]) == (kind, 4, str(weights))
    expected = improve(load_pixel_policy(weights), torch.from_numpy(np.load(grey))[None, None]).result[0, 0]
    assert np.abs(np.load(tmp_path / "o" / "grey.npy") - expected.numpy()).max() < 1e-6
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o" / "grey.png")), (rounded(expected) * 255).byte().numpy())
    assert (tmp_path / "o" / "grey.maps.png").is_file()


def test_restore_colours_by_channel_or_luma(tmp_path, pixward, weights, photo):
    each = pixward("pixel", "restore", photo, "--weights", weights, "--out", tmp_path / "a", "--json")
    light = pixward("pixel", "restore", photo, "--weights", weights, "--out", tmp_path / "b", "--json", "--luma")
    modes = [json.loads(done.out)["pictures"][0]["mode"] for done in (each, light)]
    assert modes == ["per channel", "luma"]
    planes = torch.from_numpy(picture().transpose(2, 0, 1).copy()).float()[:, None] / 255
    expected = improve(load_pixel_policy(weights), planes).result[:, 0]
    found = np.asarray(Image.open(tmp_path / "a" / "photo.png")).transpose(2, 0, 1)
    assert np.array_equal(found, (rounded(expected) * 255).byte().numpy())


def test_colour_does_what_the_library_does(tmp_path, pixward, colour, photo):
    done = pixward("pixel", "colour", photo, "--weights", colour, "--out", tmp_path / "o", "--maps", "--json")
    assert (done.code, done.err) == (0, "")
    row = json.loads(done.out)["pictures"][0]
    assert (row["mode"], row["width"], row["height"], len(row["shares"])) == ("colour", 48, 32, 4)
    assert set(row["shares"][0]) == set(COLOUR.names)
    values = torch.from_numpy(picture().transpose(2, 0, 1).copy()).float()[None] / 255
    expected = improve(load_pixel_policy(colour), values).result[0]
    found = np.asarray(Image.open(tmp_path / "o" / "photo.png")).transpose(2, 0, 1)
    assert np.array_equal(found, (rounded(expected) * 255).byte().numpy())
    assert min(Image.open(row["maps"]).size) > 300


def test_colour_of_sixteen_bits_arrays_and_alpha(tmp_path, pixward, colour):
    deep = (picture().astype(np.uint16) << 8) + 77
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    np.save(tmp_path / "array.npy", deep / np.float32(65535))
    clear = Image.fromarray(np.dstack([picture(), picture()[..., 0]]), "RGBA")
    exif = Image.Exif()
    exif[0x010E] = "kept"
    clear.save(tmp_path / "clear.png", exif=exif)
    files = [tmp_path / name for name in ("deep.tif", "array.npy", "clear.png")]
    assert pixward("pixel", "colour", *files, "--weights", colour, "--out", tmp_path / "o").code == 0
    out = png_decode((tmp_path / "o" / "deep.png").read_bytes())
    array = np.load(tmp_path / "o" / "array.npy")
    assert out.dtype == np.uint16
    assert array.shape == deep.shape
    assert np.abs(out / 65535 - array.clip(0, 1)).max() <= 0.51 / 65535
    found = Image.open(tmp_path / "o" / "clear.png")
    assert np.array_equal(np.asarray(found)[..., 3], picture()[..., 0])
    assert found.getexif()[0x010E] == "kept"


def test_colour_works_in_srgb_and_writes_the_files_own_profile(tmp_path, pixward, colour):
    """A photo in a profile with red and blue exchanged must come out as its sRGB twin does."""
    swapped = matrix_profile(SRGB[::-1])
    Image.fromarray(picture()).save(tmp_path / "plain.png")
    Image.fromarray(np.ascontiguousarray(picture()[..., ::-1])).save(tmp_path / "odd.png", icc_profile=swapped)
    files = [tmp_path / "plain.png", tmp_path / "odd.png"]
    assert pixward("pixel", "colour", *files, "--weights", colour, "--out", tmp_path / "o").code == 0
    plain, odd = (np.asarray(Image.open(tmp_path / "o" / name.name)).astype(int) for name in files)
    assert Image.open(tmp_path / "o" / "odd.png").info["icc_profile"] == swapped
    assert np.abs(odd[..., ::-1] - plain).max() <= 2


def test_noise_conditioned_weights_are_told_sigma(tmp_path, pixward, told, grey):
    image = torch.from_numpy(np.load(grey))[None, None]
    results = []
    for sigma in (10, 50):
        done = pixward("pixel", "denoise", grey, "--sigma", sigma, "--weights", told, "--out", tmp_path / f"{sigma}")
        assert (done.code, done.err) == (0, "")
        expected = improve(load_pixel_policy(told), image, condition=noise_plane(float(sigma), image)).result[0, 0]
        results.append(np.load(tmp_path / f"{sigma}" / "grey.npy"))
        assert np.abs(results[-1] - expected.numpy()).max() < 1e-6
    assert not np.array_equal(*results)
    for sigma in (4, 61):
        done = pixward("pixel", "denoise", grey, "--sigma", sigma, "--weights", told, "--out", tmp_path / "no")
        assert done.code == 1
        assert f"--sigma {sigma}" in done.line
        assert "knows noise between 5 and 60" in done.line


def test_luma_of_independent_noise_is_weaker(tmp_path, pixward, told):
    """Rec. 709 weights: a channel's sigma times sqrt(.2126^2 + .7152^2 + .0722^2) = 0.7496."""
    values = np.random.default_rng(1).random((12, 14, 3)).astype(np.float32)
    np.save(tmp_path / "c.npy", values)
    arguments = ("pixel", "denoise", tmp_path / "c.npy", "--sigma", 40, "--weights", told)
    assert pixward(*arguments, "--luma", "--out", tmp_path / "o").code == 0
    light = torch.from_numpy(values @ np.array([0.2126, 0.7152, 0.0722], np.float32))[None, None]
    expected = improve(load_pixel_policy(told), light, condition=noise_plane(40 * 0.74959, light)).result[0, 0]
    found = np.load(tmp_path / "o" / "c.npy") @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    assert np.abs(found - expected.numpy()).max() < 1e-4


def test_forbid_and_replace(tmp_path, pixward, weights, grey):
    run = ("pixel", "restore", grey, "--weights", weights, "--json", "--force", "--out", tmp_path / "o")
    before = shares(pixward(*run))
    used = [name for name, share in before[0].items() if share > 0.02]
    assert len(used) >= 3
    after = shares(pixward(*run, "--forbid", used[0], "--forbid", used[1]))
    assert all(step[used[0]] == step[used[1]] == 0 for step in after)
    after = shares(pixward(*run, "--replace", f"{used[0]}=nothing"))
    assert after[0][used[0]] == 0
    assert after[0]["nothing"] == pytest.approx(before[0]["nothing"] * (used[0] != "nothing") + before[0][used[0]])


def test_freeze_keeps_what_is_white(tmp_path, pixward, colour, photo):
    mask = np.zeros((32, 48), np.uint8)
    mask[:, 20:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "photo.png")
    for given in (tmp_path / "mask.png", tmp_path / "masks"):
        done = pixward(
            *("pixel", "colour", photo, "--weights", colour, "--freeze", given, "--out", tmp_path / "o", "--force")
        )
        assert (done.code, done.err) == (0, "")
        found = np.asarray(Image.open(tmp_path / "o" / "photo.png"))
        assert np.array_equal(found[:, 20:], picture()[:, 20:])
        assert not np.array_equal(found[:, :20], picture()[:, :20])


def test_actions_are_listed(pixward, tmp_path, weights, colour):
    done = pixward("pixel", "actions", "colour")
    assert done.out.splitlines()[0] == "colour (colour pictures)"
    assert done.out.splitlines()[4] == "   3  less saturation"
    for given, expected in (
        ("restore", RESTORE),
        ("denoise", RESTORE),
        ("colour", COLOUR),
        (weights, RESTORE),
        (colour, COLOUR),
    ):
        done = pixward("pixel", "actions", given, "--json")
        assert json.loads(done.out) == {expected.name: list(expected.names)}
    assert set(json.loads(pixward("pixel", "actions", "--json").out)) >= {"restore", "restore+stop", "colour"}
    assert "there are no actions 'nonsense': give one of restore" in pixward("pixel", "actions", "nonsense").line


def test_weights_by_name(tmp_path, pixward, weights, grey, monkeypatch):
    """As if a policy of that name came with pixward."""
    home = tmp_path / "package"
    (home / "weights").mkdir(parents=True)
    (home / "weights" / "text.pixel.safetensors").write_bytes(weights.read_bytes())
    monkeypatch.setattr("importlib.resources.files", lambda package: home)
    done = pixward("pixel", "restore", grey, "--out", tmp_path / "o", "--json")
    assert (done.code, json.loads(done.out)["weights"]) == (0, "text")
    assert pixward("pixel", "restore", grey, "--kind", "scratch", "--out", tmp_path / "p").code == 0
    done = pixward("pixel", "restore", grey, "--weights", "txt", "--out", tmp_path / "n")
    assert "there is no weight file txt; by name there are: text" in done.line
    done = pixward("pixel", "denoise", grey, "--weights", "text", "--out", tmp_path / "n")
    assert "text are for `pixward pixel restore`, not for denoise" in done.line
    assert "none comes with this version" in pixward("pixel", "colour", grey, "--out", tmp_path / "n").line


def test_bad_input(tmp_path, pixward, weights, colour, told, grey, photo):
    Image.fromarray(picture()[..., 0]).save(tmp_path / "flat.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "none").mkdir()
    np.save(tmp_path / "nan.npy", np.full((4, 4, 3), np.nan))
    restore = ("pixel", "restore", grey, "--out", tmp_path / "o", "--weights", weights)
    enhance = ("pixel", "colour", photo, "--out", tmp_path / "o", "--weights", colour)
    cases = {
        (*restore, "--forbid", "explode"): "there is no action 'explode'; choose from: darker, nothing, brighter",
        (*restore, "--replace", "median=explode"): "there is no action 'explode'; choose from: darker",
        (*restore, "--replace", "median"): "say it as OLD=NEW",
        (*restore, *(word for name in RESTORE.names for word in ("--forbid", name))): "all actions are forbidden",
        (*restore, "--freeze", tmp_path / "small.png"): "small.png is 9 x 9 pixels",
        (*restore, "--freeze", tmp_path / "gone.png"): "gone.png does not exist",
        (*restore, "--freeze", tmp_path / "none"): "holds no masks named grey",
        (*restore[:-1], colour): "is for the task colour, not for restore",
        (*restore[:-1], told): "use `pixward pixel denoise`",
        (*enhance[:-1], weights): "is for the task restore, not for colour",
        (*enhance, tmp_path / "flat.png"): "flat.png is grey: this needs a picture in colour",
        (*enhance, tmp_path / "nan.npy"): "holds 48 values that are NaN or infinite",
        (*enhance, "--forbid", "median"): "there is no action 'median'; choose from: nothing, less contrast",
    }
    for arguments, words in cases.items():
        done = pixward(*arguments)
        assert done.code == 1, words
        assert words in done.line
    assert pixward(*restore, "--kind", "mud").code == 2
    assert not (tmp_path / "o").exists()


def test_one_pixel(tmp_path, pixward, weights, colour):
    np.save(tmp_path / "dot.npy", np.full((1, 1, 3), 0.4, np.float32))
    for command, file in (("restore", weights), ("colour", colour)):
        done = pixward("pixel", command, tmp_path / "dot.npy", "--weights", file, "--out", tmp_path / command, "--maps")
        assert done.code == 0
        assert np.load(tmp_path / command / "dot.npy").shape == (1, 1, 3)
