"""RawTherapee against hand-computed light, against itself started afresh, and against every way in which it fails."""

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

from pixward import checks
from pixward.editors import rawtherapee_once as once
from pixward.editors import rawtherapee_sliders as sliders
from pixward.editors.dng import DngInfo, write_dng
from pixward.editors.external import ExternalEditor
from pixward.editors.pool import Frame, Job
from pixward.editors.rawtherapee import RawTherapee
from pixward.errors import PixwardError
from pixward.ops.tone import linear_to_srgb, srgb_to_linear

needs = pytest.mark.skipif(not shutil.which("rawtherapee-cli"), reason="needs rawtherapee-cli")
RT = RawTherapee()
ALL = {
    "exposure": 0.4, "temperature": 20.0, "tint": -10.0, "contrast": 12.0, "highlights": -40.0, "midtones": 10.0,
    "shadows": 25.0, "blacks": -10.0, "highlight_compression": 20.0, "vibrance": 15.0, "saturation": -5.0,
    "clarity": 30.0,
}  # fmt: skip
"""Every slider off its default."""


def photo(height=48, width=64, low=0.02, high=0.9):
    """Smooth colours and a little texture, ``(1, 3, H, W)``, values that 8 bits hold exactly."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    image = torch.stack([x, 0.3 + 0.5 * y, 0.6 - 0.4 * x * y]) + 0.04 * torch.sin(40 * x + 30 * y)
    return ((low + (high - low) * image.clamp(0, 1))[None] * 255).round() / 255


def raw_file(path):
    """Smooth colours as an RGGB mosaic whose camera sees linear sRGB, red and blue weaker."""
    neutral = np.array([0.5, 1.0, 0.65])
    to_srgb = np.array([[3.2405, -1.5371, -0.4985], [-0.9693, 1.8760, 0.0416], [0.0556, -0.2040, 1.0572]])
    info = DngInfo(((0, 1), (1, 2)), 256.0, 16383.0, tuple(neutral), tuple(map(tuple, np.diag(neutral) @ to_srgb)))
    light = srgb_to_linear(photo(200, 300))[0].permute(1, 2, 0).numpy() * neutral * 0.8
    mosaic = np.empty(light.shape[:2])
    for y, x, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = light[y::2, x::2, colour]
    write_dng(path, (mosaic * (16383 - 256) + 256).round().astype(np.uint16), info)
    return Frame(path, path.name, True, 300)


def psnr(a, b):
    return -10 * np.log10(np.mean((np.asarray(a, float) / 65535 - np.asarray(b, float) / 65535) ** 2) + 1e-20)


def fresh(folder, *arguments):
    """rawtherapee-cli by hand, in ``folder``, with a home of its own."""
    home = {"HOME": str(folder), "PATH": os.environ["PATH"], "RT_SETTINGS": str(folder / "rt"), "OMP_NUM_THREADS": "1"}
    command = ["rawtherapee-cli", "-Y", "-q", "-o", "fresh.tif", "-t", "-b16", *arguments]
    subprocess.run(command, cwd=folder, env=home, check=True, capture_output=True, timeout=60)
    return tifffile.imread(folder / "fresh.tif")


@pytest.fixture(scope="module")
def editor():
    if not shutil.which("rawtherapee-cli"):
        pytest.skip("needs rawtherapee-cli")
    with ExternalEditor(RT, workers=1) as made:
        yield made


def row(**setting):
    return RT.space.from_dict(setting)[None]


# --- what the sliders do ------------------------------------------------------------------------------------------


def test_keeps_the_contract(editor):
    checks.check_editor(editor)


def test_identity_at_the_defaults(editor):
    image = photo()
    assert (editor(image, RT.space.defaults()) - image).abs().max() < 0.2 / 255


def test_one_stop_doubles_the_light(editor):
    image = photo(low=0.1, high=0.6)
    expected = linear_to_srgb(2 * srgb_to_linear(image))
    assert (editor(image, row(exposure=1.0)) - expected).abs().max() < 0.6 / 255


def test_white_balance_goes_the_right_way(editor):
    image = torch.full((1, 3, 16, 16), 0.5)
    red, green, blue = editor(image, row(temperature=50.0))[0].mean((1, 2))
    assert red > green > blue
    red, green, blue = editor(image, row(tint=50.0))[0].mean((1, 2))
    assert green < min(red, blue)


@needs
@pytest.mark.parametrize("extra", [False, True])
def test_every_slider_acts_steadily(extra):
    """From one end to the other the picture goes one way, and a tiny step from the default is a tiny change."""
    program = RawTherapee(extra=tuple(sliders.EXTRA)) if extra else RT
    image = photo()
    with ExternalEditor(program, workers=1) as made:
        start = made(image, program.space.defaults())
        for spec in list(program.space)[len(RT.space) if extra else 0 :]:
            steps = torch.linspace(spec.low, spec.high, 5)
            rows = torch.stack([program.space.from_dict({spec.name: float(v)}) for v in steps])
            renders = made(image.expand(5, -1, -1, -1), rows)
            # Along the way from the first to the last picture, every step leads on.
            way = (renders[-1] - renders[0]).flatten()
            along = (renders - renders[0]).flatten(1) @ way / way.square().sum()
            assert way.abs().mean() * 255 > 0.5, spec.name
            assert (along.diff() > 0).all(), (spec.name, along)
            end = spec.high if spec.high > spec.default else spec.low
            tiny = made(image, program.space.from_dict({spec.name: end / 100})[None])
            assert (tiny - start).abs().mean() < 0.1 * (renders[-1] - start).abs().mean() + 1e-6, spec.name
            assert (tiny - start).abs().max() * 255 < 16, spec.name  # dark and vivid pixels move most


@needs
def test_radii_are_relative_to_the_picture(tmp_path):
    """The clarity of a large picture, reduced, is the clarity of the reduced picture."""
    small = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    big = torch.nn.functional.interpolate(small, scale_factor=8, mode="nearest")
    with ExternalEditor(RT, workers=1) as made:
        one, other = (made(image, row(clarity=80.0)) for image in (small, big))
    reduced = torch.nn.functional.avg_pool2d(other, 8)
    assert (one - small).abs().mean() * 255 > 5
    assert (one - reduced).abs().mean() < 0.15 * (one - small).abs().mean()


def test_unknown_extra_lists_what_there_is():
    with pytest.raises(PixwardError, match=r"'Sharpening.Colour'.*Sharpening\.Amount"):
        RawTherapee(extra=["Sharpening.Colour"])


# --- sidecars -----------------------------------------------------------------------------------------------------

FRAME = Frame(Path("a.tif"), "a", False, 1024)


def test_our_own_sidecar_comes_back_exactly():
    odd = {name: round(value * 1.0371, 6) for name, value in ALL.items()}
    assert RT.read_sidecar(RT.sidecar(odd, FRAME)) == odd
    assert RT.read_sidecar(RT.sidecar({}, FRAME)) == RT.space.to_dict(RT.space.defaults()[0])


def test_a_changed_sidecar_says_what_its_keys_say():
    text = RT.sidecar(ALL, FRAME).replace("Contrast=12", "Contrast=30")
    read = RT.read_sidecar(text)
    assert read["contrast"] == 30
    assert read["temperature"] == pytest.approx(20, abs=0.1)  # whole kelvins
    assert {k: v for k, v in read.items() if k not in ("contrast", "temperature", "tint")} == pytest.approx(
        {k: v for k, v in ALL.items() if k not in ("contrast", "temperature", "tint")}
    )


@pytest.mark.parametrize("note", ["", '#pixward {"setting": {"exposure": "x"}}\n', '#pixward {"setting": 1}\n'])
def test_foreign_sidecars_are_clipped_and_passed_over(note):
    text = "[Exposure]\nCompensation=9\nContrast=abc\n[Local Contrast]\nEnabled=false\nAmount=0.9\n[Crop]\nX=3\n"
    assert RT.read_sidecar(note + text) == {**RT.space.to_dict(RT.space.defaults()[0]), "exposure": 3}
    with pytest.raises(PixwardError, match="no RawTherapee sidecar"):
        RT.read_sidecar("\x7fELF")


@needs
def test_a_sidecar_that_rawtherapee_wrote(tmp_path):
    Image.fromarray((photo()[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "e.pp3").write_text(RT.sidecar(ALL, FRAME))
    fresh(tmp_path, "-O", "fresh.tif", "-a", "-p", "e.pp3", "-c", "a.png")
    assert RT.read_sidecar((tmp_path / "fresh.tif.pp3").read_text()) == pytest.approx(ALL, abs=0.1)


def test_sidecar_path(tmp_path):
    a = tmp_path / "a.b.jpg"
    assert RT.sidecar_path(a, force=False) == tmp_path / "a.b.jpg.pp3"
    (tmp_path / "a.b.jpg.pp3").touch()
    (tmp_path / "a.b_01.jpg.pp3").symlink_to("nowhere")
    assert RT.sidecar_path(a, force=False) == tmp_path / "a.b_02.jpg.pp3"
    assert RT.sidecar_path(a, force=True) == tmp_path / "a.b.jpg.pp3"


# --- the same picture everywhere ----------------------------------------------------------------------------------


@needs
@pytest.mark.parametrize("name", ["a.jpg", 'it\'s a $(NAME) "x"\n.JPG', "-Y.jpg"])
def test_worker_final_and_a_fresh_process_agree(tmp_path, editor, name):
    pixels = (photo()[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / name, "JPEG", quality=95)
    decoded = np.asarray(Image.open(tmp_path / name)).astype(np.uint16) * 257
    frame = editor.frame(torch.from_numpy(decoded / 65535.0).permute(2, 0, 1).float())
    text = RT.sidecar(ALL, frame)
    rendered = editor.pool.render([Job(frame, text)])[0]
    path = RT.sidecar_path(tmp_path / name, force=False)
    path.write_text("[Exposure]\nCompensation=2\n")
    RT.final(tmp_path / name, text, tmp_path / "out.tif", bits=16, seconds=60)
    assert psnr(tifffile.imread(tmp_path / "out.tif"), rendered) > 60  # not with the sidecar that lies there
    path.write_text(text)
    assert psnr(fresh(tmp_path, "-s", "-c", str(tmp_path / name)), rendered) > 60


@needs
def test_raw_files(tmp_path):
    program, frame = RawTherapee(raw=True), raw_file(tmp_path / "a.dng")
    assert program.name == "rawtherapee:raw"
    worker = program.start(raw=True)
    neutral, warm, tiny, moved = (
        worker.render(Job(frame, program.sidecar(s, frame)), 60)
        for s in ({}, {"temperature": 50.0}, {"temperature": 0.01}, ALL)
    )
    worker.close()
    expected = photo(200, 300)[0].permute(1, 2, 0)[4:-4, 4:-4]  # it leaves out a border
    light = linear_to_srgb(0.8 * srgb_to_linear(expected.permute(2, 0, 1)[None]))[0].permute(1, 2, 0).numpy()
    assert np.abs(neutral / 65535 - light)[8:-8, 8:-8].mean() * 255 < 1
    assert psnr(tiny, neutral) > 60  # temperature and green as shot, not daylight's
    assert (warm.astype(float) - neutral).mean((0, 1))[0] > 0 > (warm.astype(float) - neutral).mean((0, 1))[2]
    program.final(frame.path, program.sidecar(ALL, frame), tmp_path / "out.tif", bits=16, seconds=60)
    assert psnr(tifffile.imread(tmp_path / "out.tif"), moved) > 60
    assert program.read_sidecar(program.sidecar(ALL, frame)) == ALL


@needs
def test_the_default_look(tmp_path):
    frame = raw_file(tmp_path / "a.dng")
    RT.final_default(frame.path, tmp_path / "a.png", bits=8, seconds=60)
    text = RT.default_sidecar(frame)
    assert "HistogramMatching=true" in text
    RT.final(frame.path, text, tmp_path / "b.png", bits=8, seconds=60)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(tmp_path / "b.png")))


@needs
def test_final_says_what_is_wrong(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(PixwardError, match=r"rendered nothing from .*a\.jpg"):
        RT.final(tmp_path / "a.jpg", "", tmp_path / "o.jpg", bits=8, seconds=60)
    with pytest.raises(PixwardError, match=r"bmp"):
        RT.final(tmp_path / "a.jpg", "", tmp_path / "o.bmp", bits=8, seconds=60)
    with pytest.raises(PixwardError, match=r"no.such"):
        RT.final(tmp_path / "no.such", "", tmp_path / "o.jpg", bits=8, seconds=60)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg"]
    with pytest.raises(PixwardError, match="white balance"):
        once.as_shot(Frame(tmp_path / "a.jpg", "x", True, 1))
