from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from tests.editors.programs import alive, calls, write_gain

from pixward.checks import check_editor
from pixward.editors.command import CommandEditor
from pixward.editors.external import ExternalEditor
from pixward.editors.pool import Frame, Job, WorkerLost
from pixward.errors import PixwardError
from pixward.image import from_tensor, load, preview, save
from pixward.match import distances, match

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "editors" / "imagemagick.toml"
SIDECAR = (
    '[sidecar]\nsuffix = ".xmp"\ntemplate = "<!-- {setting} -->\\n<x gain=\\"{gain:.3f}\\" size=\\"{longest:.0f}\\"/>"'
)


@pytest.fixture
def frame(tmp_path: Path) -> Frame:
    pixels = np.arange(6 * 8 * 3, dtype=np.uint16).reshape(6, 8, 3) * 400
    tifffile.imwrite(tmp_path / "frame.tif", pixels, photometric="rgb")
    return Frame(tmp_path / "frame.tif", "k", False, 8)


def loaded(folder: Path, mode: str = "gain", more: str = "") -> CommandEditor:
    return CommandEditor.load(write_gain(folder, mode=mode, more=more))


def rendered(program: CommandEditor, frame: Frame, exposure: float, seconds: float = 20) -> np.ndarray:
    worker = program.start(raw=False)
    try:
        return worker.render(Job(frame, program.sidecar({"exposure": exposure}, frame)), seconds)
    finally:
        worker.close()


# --- what it renders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", SIDECAR], ids=["arguments", "sidecar"])
def test_the_picture_is_what_the_program_makes(tmp_path: Path, frame: Frame, more: str) -> None:
    # 2 ** 0.5, in six decimals as programs get it.
    want = np.minimum(65535, np.round(tifffile.imread(frame.path) * 1.414214)).astype(np.uint16)
    assert np.array_equal(rendered(loaded(tmp_path, more=more), frame, 0.5), want)


def test_the_program_finds_its_parameter_file(tmp_path: Path, frame: Frame) -> None:
    program = loaded(tmp_path, "copy-sidecar", SIDECAR)
    rendered(program, frame, 1.0)
    assert (tmp_path / "seen").read_text() == program.sidecar({"exposure": 1.0}, frame)
    assert (tmp_path / "seen").read_text().endswith('<x gain="2.000" size="8"/>')


def test_a_png_holds_the_same_samples(tmp_path: Path, frame: Frame) -> None:
    path = write_gain(tmp_path, mode="copy:input.png", more='input = "png"\noutput = "png"')  # in its own folder
    got = rendered(CommandEditor.load(path), frame, 0.0)
    assert got.dtype == np.uint16 and np.array_equal(got, tifffile.imread(frame.path))


def test_a_program_that_writes_into_its_input_does_no_harm(tmp_path: Path, frame: Frame) -> None:
    before = frame.path.read_bytes()
    got = rendered(loaded(tmp_path, "in-place"), frame, 1.0)
    assert got.max() > 65000 and frame.path.read_bytes() == before


def test_it_keeps_the_contract_of_editors(tmp_path: Path) -> None:
    with ExternalEditor(loaded(tmp_path), workers=2) as editor:
        check_editor(editor, tolerance=1 / 65535)
        images = torch.rand(2, 3, 5, 7)
        out = editor(images, torch.tensor([[1.0], [-1.0]]))
        want = (images * torch.tensor([2.0, 0.5])[:, None, None, None]).clamp(0, 1)
        assert float((out - want).abs().max()) <= 1.5 / 65535
        with pytest.raises(ValueError, match=r"params must be \(2, 1\)"):
            editor(images, torch.zeros(2, 2))


@pytest.mark.parametrize("kind", ["uint8", "grey", "float"])
def test_other_depths_and_grey_are_read(tmp_path: Path, frame: Frame, kind: str) -> None:
    eight = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    data = {"uint8": eight, "grey": eight[..., 0], "float": eight.astype(np.float32) / 255}[kind]
    tifffile.imwrite(tmp_path / "made.tif", data, photometric="minisblack" if kind == "grey" else "rgb")
    got = rendered(loaded(tmp_path, f"copy:{tmp_path / 'made.tif'}"), frame, 0.0)
    want = {"uint8": eight, "grey": np.repeat(eight[..., :1], 3, 2), "float": eight.astype(np.uint16) * 257}[kind]
    assert got.dtype == want.dtype and np.array_equal(got, want)


# --- sidecars ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", SIDECAR])
def test_a_sidecar_is_read_back(tmp_path: Path, frame: Frame, more: str) -> None:
    write_gain(tmp_path, more=more)
    path = (tmp_path / "gain.toml").rename(tmp_path / "a--b.toml")
    program = CommandEditor.load(path)
    text = program.sidecar({"exposure": -0.123456}, frame)
    assert program.read_sidecar(text) == {"exposure": -0.123456}
    assert program.read_sidecar(program.sidecar({}, frame)) == {"exposure": 0.0}
    if more:
        assert text.count("--") == 2 and text.endswith('<x gain="0.918" size="8"/>')  # 2 ** -0.123456
        assert program.suffix == ".xmp"
    else:
        data = json.loads(text)
        assert data["editor"] == f"command:{path}" and data["setting"] == {"exposure": -0.123456}
        assert program.suffix == ".json"


def test_a_sidecar_moves_with_its_command_file(tmp_path: Path, frame: Frame) -> None:
    text = loaded(tmp_path).sidecar({"exposure": 1.0}, frame)
    (tmp_path / "elsewhere").mkdir()
    assert loaded(tmp_path / "elsewhere").read_sidecar(text) == {"exposure": 1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no setting"),
        ("<xml/>", "holds no setting"),
        ('{"editor": "command:gain.toml", "setting": {"expo', "holds no setting"),
        ('{"editor": "command:gain.toml", "setting": []}', "holds no setting"),
        ('{"editor": ' + "[" * 100_000, "holds no setting"),
        ('{"editor": "chain:photo", "setting": {"exposure": 1}}', "is of the editor chain:photo, not of command:"),
        ('{"editor": "command:other.toml", "setting": {}}', "is of the editor command:other.toml"),
        ('{"editor": "command:gain.toml", "setting": {"tint": 1}}', "unknown slider 'tint'"),
        ('{"editor": "command:gain.toml", "setting": {"exposure": 9}}', "9 is outside -2 to 2 EV"),
        ('{"editor": "command:gain.toml", "setting": {"exposure": NaN}}', "nan is outside"),
        ('{"editor": "command:gain.toml", "setting": {"exposure": true}}', "True is not a number"),
    ],
)
def test_what_is_no_sidecar_of_ours_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PixwardError) as caught:
        loaded(tmp_path).read_sidecar(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_sidecar_never_takes_an_existing_name(tmp_path: Path) -> None:
    program, photo = loaded(tmp_path), tmp_path / "a.b.jpg"
    assert program.sidecar_path(photo, force=False).name == "a.b.jpg.json"
    (tmp_path / "a.b.jpg.json").touch()
    (tmp_path / "a.b.jpg_01.json").symlink_to("gone")
    assert program.sidecar_path(photo, force=False).name == "a.b.jpg_02.json"
    assert program.sidecar_path(photo, force=True).name == "a.b.jpg.json"
    for i in range(2, 100):
        (tmp_path / f"a.b.jpg_{i:02d}.json").touch()
    with pytest.raises(PixwardError, match="hundred sidecars"):
        program.sidecar_path(photo, force=False)


# --- faults ------------------------------------------------------------------------------------------------------


def test_a_failure_is_said_once_and_not_tried_again(tmp_path: Path) -> None:
    with ExternalEditor(loaded(tmp_path, "fail")) as editor, pytest.raises(PixwardError) as caught:
        editor(torch.rand(1, 3, 4, 4), editor.space.defaults())
    path = tmp_path / "gain.toml"
    assert str(caught.value) == f"command:{path} failed: it ended with status 3: no such operator `sharpn'"
    assert len(calls(tmp_path)) == 1


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("crash", r"crashed \(SIGSEGV\), twice in a row"),
        ("nothing", "wrote no picture: done, I think, twice in a row"),
        ("copy:/dev/null", "wrote no picture, twice in a row"),
        ("copy:{here}/gain.toml", "wrote no picture that can be read: its output is not a JPEG.*, twice in a row"),
        ("copy:{here}/nan.tif", "wrote no picture that can be read: its output holds 3 values that are NaN.*twice"),
    ],
    ids=["crash", "nothing", "empty", "garbage", "nan"],
)
def test_a_fault_is_tried_again_once_and_then_one_line(tmp_path: Path, mode: str, message: str) -> None:
    pixels = np.full((4, 4, 3), 0.5, np.float32)
    pixels[1, 1] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", pixels, photometric="rgb")
    with ExternalEditor(loaded(tmp_path, mode)) as editor, pytest.raises(PixwardError, match=message) as caught:
        editor(torch.rand(1, 3, 4, 4), editor.space.defaults())
    assert "\n" not in str(caught.value) and len(calls(tmp_path)) == 2


def test_another_size_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "half.tif", np.zeros((2, 3, 3), np.uint8), photometric="rgb")
    program = loaded(tmp_path, "copy:{here}/half.tif")
    with (
        ExternalEditor(program) as editor,
        pytest.raises(PixwardError, match="picture of 3 x 2 pixels for one of 5 x 4"),
    ):
        editor(torch.rand(1, 3, 4, 5), editor.space.defaults())
    save(tmp_path / "photo.png", np.zeros((4, 5, 3), np.uint8))
    text = program.sidecar({}, Frame(tmp_path, "", False, 5))
    with pytest.raises(PixwardError, match="3 x 2 pixels for one of 5 x 4: programs that crop"):
        program.final(tmp_path / "photo.png", text, tmp_path / "out.png", bits=8, seconds=20)
    assert not (tmp_path / "out.png").exists()


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path, frame: Frame) -> None:
    start = time.monotonic()
    with pytest.raises(WorkerLost, match="did not end within 0.7 s"):
        rendered(loaded(tmp_path, "hang"), frame, 0.0, seconds=0.7)
    assert time.monotonic() - start < 10
    assert [alive(pid) for pid in calls(tmp_path)] == [False]


def test_close_ends_a_render_of_another_thread(tmp_path: Path, frame: Frame) -> None:
    program = loaded(tmp_path, "hang")
    worker = program.start(raw=False)
    said: list[BaseException] = []

    def render() -> None:
        try:
            worker.render(Job(frame, program.sidecar({}, frame)), 60)
        except BaseException as error:
            said.append(error)

    thread = threading.Thread(target=render)
    thread.start()
    for _ in range(400):
        if calls(tmp_path):
            break
        time.sleep(0.02)
    worker.close()
    worker.close()
    thread.join(10)
    assert not thread.is_alive() and isinstance(said[0], WorkerLost) and "was closed" in str(said[0])
    assert [alive(pid) for pid in calls(tmp_path)] == [False]
    with pytest.raises(WorkerLost, match="was closed"):
        worker.render(Job(frame, program.sidecar({}, frame)), 60)


def test_a_worker_leaves_no_files(tmp_path: Path, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "scratch"
    monkeypatch.setattr("pixward.editors.once.scratch", lambda: place)
    program = loaded(tmp_path)
    worker = program.start(raw=False)
    worker.render(Job(frame, program.sidecar({}, frame)), 20)
    assert list(place.iterdir()) == []
    worker.close()
    assert not place.exists()


def test_a_missing_program(tmp_path: Path) -> None:
    for name in ("no-such-program-anywhere", "./no-such-program"):
        program = CommandEditor.load(write_gain(tmp_path, program=name))
        with pytest.raises(PixwardError, match=f"^{name} is not installed; install Python$"):
            program.start(raw=False)
        with pytest.raises(PixwardError, match="is not installed"):
            _ = program.version


def test_a_program_beside_the_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho tool 2.10\n")
    (tmp_path / "tool").chmod(0o755)
    assert CommandEditor.load(write_gain(tmp_path, program="./tool")).version == "2.10"


def test_the_version_and_programs_that_are_too_old(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho Version: Tool 6.9.11-60 Q16 2021\n")
    (tmp_path / "tool").chmod(0o755)
    program = CommandEditor.load(write_gain(tmp_path, program="./tool"))
    assert program.version == "6.9.11-60"
    fine = CommandEditor(replace(program.file, oldest="6.9.2"), program.name)
    fine.start(raw=False).close()
    old = CommandEditor(replace(program.file, oldest="6.10"), program.name)
    with pytest.raises(PixwardError, match="is 6.9.11-60, needed is 6.10 or newer; install Python"):
        old.start(raw=False)


def test_a_program_that_cannot_say_its_version(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\necho libtool.so.5 is missing\nexit 127\n")
    (tmp_path / "tool").chmod(0o755)
    with pytest.raises(PixwardError, match="failed: libtool.so.5 is missing; install Python"):
        _ = CommandEditor.load(write_gain(tmp_path, program="./tool")).version


def test_raw_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PixwardError, match="takes no camera raw files"):
        loaded(tmp_path).start(raw=True)


# --- the photo at full size --------------------------------------------------------------------------------------

NAMES = ["a b.png", 'it\'s "q".png', "$(touch x).png", "-r 5.png", "line\nbreak.png", "50%d[0].png", "é.png"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_works(tmp_path: Path, name: str) -> None:
    folder = tmp_path / f"f {name}"
    folder.mkdir()
    program = loaded(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    save(folder / name, pixels)
    text = program.sidecar({"exposure": -1.0}, Frame(folder, "", False, 9))
    program.final(folder / name, text, folder / f"out-{name}", bits=16, seconds=20)
    assert np.array_equal(load(folder / f"out-{name}").pixels, np.round(pixels * 257.0 / 2).astype(np.uint16))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [name, f"out-{name}", "calls.log", "edit.py", "gain.toml"]
    )


def test_the_final_picture_keeps_what_belongs_to_the_photo(tmp_path: Path) -> None:
    program, photo, like = loaded(tmp_path), tmp_path / "photo.jpg", load(ROOT / "examples" / "photos" / "tea.jpg")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0Cam\0\0\0\0\0"  # the camera's make is "Cam"
    save(photo, like.pixels[:80, :60], like=replace(like, exif=exif))
    text = program.sidecar({"exposure": 0.0}, Frame(photo, "", False, 80))
    program.final(photo, text, tmp_path / "out.png", bits=8, seconds=20)
    got, want = load(tmp_path / "out.png"), load(photo)
    assert np.array_equal(got.pixels, want.pixels) and got.icc == want.icc
    assert got.exif is not None and b"Cam" in got.exif
    with pytest.raises(PixwardError, match="did not end within 0.3 s"):
        loaded(tmp_path, "hang").final(photo, text, tmp_path / "late.png", bits=8, seconds=0.3)
    assert not (tmp_path / "late.png").exists()


# --- the guide ---------------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "guides" / "your-editor.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_files_in_the_guide_are_right(tmp_path: Path) -> None:
    whole, sidecar = blocks("toml")
    (tmp_path / "a.toml").write_text(whole)
    one = CommandEditor.load(tmp_path / "a.toml")
    assert one.file.numbers({"exposure": -1.0, "saturation": 25.0}, 9)["gain"] == 0.5
    assert one.file.numbers({"exposure": -1.0, "saturation": 25.0}, 9)["colour"] == 125
    (tmp_path / "b.toml").write_text(whole.replace('"{output}"', '"{sidecar}", "{output}"') + sidecar)
    two = CommandEditor.load(tmp_path / "b.toml")
    text = two.sidecar({"exposure": 1.0}, Frame(tmp_path, "", False, 9))
    assert text.endswith("\nexposure=1.000\ngain=2.000000\n") and text.startswith("# {")
    assert two.read_sidecar(text) == {"exposure": 1.0, "saturation": 0.0}


def test_the_guide_names_every_key() -> None:
    text = (ROOT / "docs" / "guides" / "your-editor.md").read_text(encoding="utf-8")
    keys = [
        "name",
        "help",
        "install",
        "program",
        "arguments",
        "version",
        "oldest",
        "input",
        "output",
        "[sidecar]",
        "[values]",
        "[[slider]]",
    ]
    assert not [key for key in keys if f"| `{key}` |" not in text]
    inner = ["low", "high", "default", "unit", "scale", "slider", "offset", "base", "relative", "suffix", "template"]
    assert not [key for key in inner if key not in text]


# --- ImageMagick -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def magick() -> Iterator[ExternalEditor]:
    program = CommandEditor.load(EXAMPLE)
    try:
        _ = program.version
    except PixwardError as error:
        pytest.skip(f"needs ImageMagick: {error}")
    with ExternalEditor(program) as editor:
        yield editor


def test_imagemagick_keeps_the_contract_of_editors(
    magick: ExternalEditor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python")  # as the guide does it
    monkeypatch.chdir(ROOT)
    exec(compile(code, "your-editor.md", "exec"), {})
    program = CommandEditor.load(EXAMPLE)
    assert capsys.readouterr().out.split() == [str(program.program), program.version]


def test_imagemagick_changes_nothing_at_its_defaults(magick: ExternalEditor) -> None:
    image = preview(load(ROOT / "examples" / "photos" / "tea.jpg"), 64)
    assert float((magick(image, magick.space.defaults()) - image).abs().max()) < 0.1 / 255


def test_imagemagick_does_what_the_sliders_say(magick: ExternalEditor) -> None:
    image = 0.05 + 0.4 * torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def render(**setting: float) -> torch.Tensor:
        return magick(image, magick.space.from_dict(setting)[None])

    def linear(encoded: torch.Tensor) -> torch.Tensor:  # IEC 61966-2-1
        return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)

    assert torch.allclose(linear(render(exposure=1.0)), 2 * linear(image), atol=2e-4)
    warm = linear(render(warmth=60.0)) / linear(image)
    gains = torch.tensor([2**0.3, 1.0, 2**-0.3])[None, :, None, None]
    assert torch.allclose(warm, gains.expand_as(warm), rtol=5e-3)
    assert torch.allclose(render(gamma=2.0), image**0.5, atol=2e-4)
    grey = render(saturation=-100.0)
    assert float((grey.amax(1) - grey.amin(1)).max()) < 1e-4


def test_a_photo_is_matched_with_imagemagick(magick: ExternalEditor) -> None:
    photos = ROOT / "examples" / "photos"
    image, goal = (preview(load(photos / name), 64) for name in ("otters.jpg", "otters-goal.jpg"))
    result = match(image, goal, editor=magick, renders=40)
    assert result.renders <= 40
    assert result.distance["psnr"] > result.source_distance["psnr"] + 10


def test_the_full_size_picture_is_the_one_of_the_preview(magick: ExternalEditor, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    save(photo, from_tensor(preview(load(ROOT / "examples" / "photos" / "tea.jpg"), 320)))
    setting = {"exposure": 0.4, "warmth": -30.0, "gamma": 1.2, "contrast": 10.0, "saturation": 20.0}
    program = CommandEditor.load(EXAMPLE)
    program.final(
        photo, program.sidecar(setting, Frame(photo, "", False, 320)), tmp_path / "out.png", bits=16, seconds=60
    )
    small = magick(preview(load(photo), 160), magick.space.from_dict(setting)[None])
    assert distances(preview(load(tmp_path / "out.png"), 160), small)["psnr"] > 35
