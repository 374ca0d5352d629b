"""``pixward match`` towards looks and tables of colours, and settings baked into tables, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands.conftest import Pixward, edited, picture
from tests.editors.programs import write_gain

from pixward.cube import Cube, read_cube, write_cube
from pixward.editors.chain import PHOTO
from pixward.image import load, quantize, to_tensor
from pixward.match import distances
from pixward.ops.lut import as_table, lattice

LOOK = ("--strategy", "least-squares", "--renders", 20)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photo.png and, of another scene and shape, darker and paler, reference.jpg. The current one."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture()).save("photo.png")
    Image.fromarray(edited(picture(40, 90, seed=5), exposure=-1.5, saturation=-70)).save("reference.jpg")
    return tmp_path


def curve(path: str) -> None:
    """A table that darkens: every value squared."""
    write_cube(path, Cube(table=as_table(lattice(17) ** 2), title="squared"))


def read(path: str | Path) -> torch.Tensor:
    return quantize(to_tensor(load(path).pixels))


def test_the_look_of_another_scene(pixward: Pixward, place: Path):
    done = pixward("match", "photo.png", "--like", "reference.jpg", *LOOK, "--json")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert set(result["distance"]) == {"look"}
    assert result["distance"]["look"] < result["source_distance"]["look"] / 2
    assert {path.name for path in Path("pixward-out").iterdir()} == {
        "photo.setting.json",
        "photo.jpg",
        "photo.film.png",
    }
    assert set(result["outputs"]) == {"setting", "image", "film"}
    before, after, wanted = (read(path).mean() for path in ("photo.png", "pixward-out/photo.jpg", "reference.jpg"))
    assert abs(after - wanted) < abs(before - wanted) / 2
    assert "another scene" in result["unreached"]["sentence"]
    assert len(result["unreached"]["render"]["tones"]) == len(result["unreached"]["reference"]["tones"]) == 5


def test_the_table_of_a_look_has_no_decibels(pixward: Pixward, place: Path):
    done = pixward("match", "photo.png", "--like", "reference.jpg", *LOOK)
    assert done.code == 0
    assert "distance to the look" in done.out and "lower is nearer" in done.out
    assert "dB" not in done.out
    assert "residual" not in done.out


def test_the_shipped_policy_gives_a_look(pixward: Pixward, place: Path):
    done = pixward("match", "photo.png", "--like", "reference.jpg", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["renders"] <= 10


def test_a_look_by_a_program_of_ones_own(pixward: Pixward, place: Path):
    write_gain(place)
    words = ("--editor", "command:gain.toml", "--renders", 6, "--json")
    done = pixward("match", "photo.png", "--like", "reference.jpg", *words)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["setting"]["exposure"] < -0.2
    assert result["distance"]["look"] < result["source_distance"]["look"]
    assert Path(result["outputs"]["sidecar"]).is_file()


@pytest.mark.parametrize("bad", ["missing.jpg", "text.jpg"])
def test_references_that_are_no_pictures(pixward: Pixward, place: Path, bad: str):
    Path("text.jpg").write_text("no picture")
    done = pixward("match", "photo.png", "--like", bad)
    assert done.code == 1
    assert bad in done.line
    assert not Path("pixward-out").exists()


def test_gradient_and_looks_do_not_go_together(pixward: Pixward, place: Path):
    assert "use hybrid" in pixward("match", "photo.png", "--like", "reference.jpg", "--strategy", "gradient").line


def test_a_table_of_colours_as_the_goal(pixward: Pixward, place: Path):
    curve("dark.cube")
    done = pixward("match", "photo.png", "--goal", "dark.cube", *LOOK, "--json", "--format", "png")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    wanted = (to_tensor(picture()) ** 2 * 255).round() / 255
    assert distances(read("pixward-out/photo.png"), wanted)["psnr"] == pytest.approx(
        result["distance"]["psnr"], abs=0.3
    )
    assert result["distance"]["psnr"] > result["source_distance"]["psnr"] + 8
    assert Path("pixward-out/photo.residual.png").is_file()


def test_a_table_that_is_none(pixward: Pixward, place: Path):
    Path("x.cube").write_text("hello")
    done = pixward("match", "photo.png", "--goal", "x.cube")
    assert "x.cube" in done.line


@pytest.mark.parametrize(("size", "where"), [(17, "tables/look.cube"), (33, "tables"), (65, "look.CUBE")])
def test_a_setting_as_a_table(pixward: Pixward, place: Path, size: int, where: str):
    Image.fromarray(edited(picture(), exposure=0.5, contrast=30)).save("goal.png")
    words = ("--cube", where, "--cube-size", size, "--format", "png", "--json", *LOOK)
    done = pixward("match", "photo.png", "--goal", "goal.png", "--lock", "clarity=0", "--lock", "sharpness=0", *words)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    path = Path(result["outputs"]["cube"])
    assert path == Path("tables/photo.cube" if where == "tables" else where)
    cube = read_cube(path)
    assert cube.table is not None and cube.table.shape[-1] == size
    assert distances(quantize(cube.apply(read("photo.png"))), read("pixward-out/photo.png"))["delta_e"] < 0.5
    assert result["cube"]["size"] == size
    assert "holds the whole setting" in result["cube"]["sentence"]


def test_what_a_table_cannot_hold_is_said(pixward: Pixward, place: Path):
    words = ("match", "photo.png", "--goal", "photo.png", "--lock", "clarity=90", "--renders", 2, "--cube", "a.cube")
    done = pixward(*words, "--strategy", "random")
    assert "clarity 90 %" in done.out.lower() and "not in the LUT" in done.out
    assert "wrote a.cube" in done.out
    again = pixward(*words, "--out", "other")
    assert "a.cube exists already" in again.line
    assert not Path("other").exists()


def test_a_table_would_not_overwrite_its_input(pixward: Pixward, place: Path):
    curve("dark.cube")
    done = pixward("match", "photo.png", "--goal", "dark.cube", "--cube", "dark.cube", "--force")
    assert "which is an input" in done.line


def test_sizes_that_no_program_reads(pixward: Pixward, place: Path):
    done = pixward("match", "photo.png", "--goal", "photo.png", "--cube", "a.cube", "--cube-size", 10)
    assert done.code == 2
    assert "17, 33, 65" in done.line


def test_one_setting_for_a_series(pixward: Pixward, place: Path):
    setting = {"exposure": -0.8, "temperature": 30.0}
    Path("goals").mkdir()
    for seed, size in enumerate(((48, 32), (32, 48), (48, 32))):
        Image.fromarray(picture(*size, seed=seed)).save(f"{seed}.png")
        Image.fromarray(edited(picture(*size, seed=seed), **setting)).save(f"goals/{seed}.png")
    words = ("match", *(f"{seed}.png" for seed in range(3)), "--goal-dir", "goals", "--one-setting", *LOOK)
    done = pixward(*words, "--cube", "all.cube", "--json")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    shared = result["one_setting"]
    assert shared["photos"] == 3 and shared["photo_renders"] == 3 * shared["renders"] <= 60
    assert shared["setting"]["exposure"] == pytest.approx(-0.8, abs=0.3)
    for seed in range(3):
        assert json.loads(Path(f"pixward-out/{seed}.setting.json").read_text())["setting"] == shared["setting"]
        assert result["photos"][seed]["distance"]["psnr"] > result["photos"][seed]["source_distance"]["psnr"] + 6
        assert Path(f"pixward-out/{seed}.residual.png").is_file()
        assert not Path(f"pixward-out/{seed}.film.png").exists()
    assert read_cube("all.cube").table is not None
    assert {path.name for path in Path("pixward-out").glob("series*")} == {"series.setting.json", "series.film.png"}
    again = json.loads(pixward(*words, "--cube", "all.cube", "--json").out)
    assert again["counts"] == {"done": 0, "kept": 3, "failed": 0}
    assert again["one_setting"] == shared
    table = pixward(*words, "--cube", "all.cube")
    assert "one setting for all" in table.out and "wrote all.cube" in table.out


def test_a_series_with_one_look(pixward: Pixward, place: Path):
    for seed in range(2):
        Image.fromarray(picture(seed=seed)).save(f"{seed}.png")
    done = pixward("match", "0.png", "1.png", "--like", "reference.jpg", "--one-setting", *LOOK)
    assert done.code == 0, done.err
    assert "look before" in done.out and "dB" not in done.out
    assert np.asarray(Image.open("pixward-out/contact.jpg")).shape[1] > 700


def test_tables_of_many_settings(pixward: Pixward, place: Path):
    for seed in range(2):
        Image.fromarray(picture(seed=seed)).save(f"{seed}.png")
    words = ("match", "0.png", "1.png", "--like", "reference.jpg", "--strategy", "random", "--renders", 2)
    done = pixward(*words, "--cube", "tables", "--cube-size", 17, "--json")
    assert done.code == 0, done.err
    assert {path.name for path in Path("tables").iterdir()} == {"0.cube", "1.cube"}
    assert json.loads(pixward(*words, "--cube", "tables", "--cube-size", 17, "--json").out)["counts"]["kept"] == 2


def test_render_writes_a_table_too(pixward: Pixward, place: Path):
    Path("s.json").write_text(json.dumps({"editor": "chain:photo", "setting": {"exposure": 0.5, "clarity": 80}}))
    words = ("render", "photo.png", "--setting", "s.json", "--out", "r.png", "--cube", "r.cube")
    done = pixward(*words)
    assert done.code == 0, done.err
    assert "clarity 80 %" in done.out.lower() and "not in the LUT" in done.out
    flat = PHOTO(read("photo.png"), PHOTO.space.from_dict({"exposure": 0.5})[None])
    assert distances(quantize(read_cube("r.cube").apply(read("photo.png"))), quantize(flat))["delta_e"] < 0.5
    assert "exists already" in pixward(*words).line
