from __future__ import annotations

import numpy as np
import pytest
import torch

from pixward.cube import SIZES, Cube, bake, look_goal, pointwise, remainder
from pixward.editors.chain import PAPER, PHOTO
from pixward.editors.external import ExternalEditor, FrameEditor
from pixward.errors import PixwardError
from pixward.image import to_tensor
from pixward.metrics.image import delta_e
from pixward.ops.lut import as_table, lattice
from pixward.params import ParamSpace, ParamSpec

LEVEL = {"exposure": 0.4, "temperature": 20, "contrast": 30, "highlights": -20, "saturation": 25}


def photo(height: int = 40, width: int = 60) -> torch.Tensor:
    """Something with edges, gradients and colours."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    noise = torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))
    return (torch.stack([x, y, 0.3 + 0.4 * ((x * 6).floor() % 2)]) * 0.8 + 0.1 * noise)[None]


def setting(**values: float) -> torch.Tensor:
    return PHOTO.space.from_dict(values)[None]


class OneFile(ExternalEditor):
    """An external editor without a program, which renders as a chain does; it counts pictures and pixels."""

    def __init__(self, chain=PHOTO) -> None:
        self.chain, self.pictures, self.pixels = chain, 0, 0

    @property
    def name(self) -> str:
        return "one-file"

    @property
    def space(self) -> ParamSpace:
        return self.chain.space

    def __call__(self, images, params):
        self.pictures += len(images)
        self.pixels += images[:, 0].numel()
        return self.chain(images, params)


class AroundTheMean:
    """Contrast around the picture's own mean."""

    space, name = ParamSpace([ParamSpec("contrast", 0, 2, 1, "x", "Contrast.")]), "mean"

    def __call__(self, images, params):
        mean = images.mean((1, 2, 3), keepdim=True)
        return (mean + params[:, :, None, None] * (images - mean)).clamp(0, 1)


@pytest.mark.parametrize("editor", [PHOTO, PAPER], ids=["photo", "paper"])
def test_an_untouched_setting_is_the_identity(editor):
    cube = bake(editor, editor.space.defaults(), 17)
    torch.testing.assert_close(cube.table, as_table(lattice(17)), atol=2e-6, rtol=0)
    torch.testing.assert_close(cube.apply(photo()), photo(), atol=3e-6, rtol=0)


def test_entries_are_what_the_editor_makes_of_their_colours():
    cube = bake(PHOTO, setting(**LEVEL), 5)
    for blue, green, red in ((0, 0, 0), (1, 2, 3), (4, 0, 2), (4, 4, 4)):
        flat = torch.tensor([red, green, blue]).view(1, 3, 1, 1) / 4
        wanted = PHOTO(flat.expand(1, 3, 9, 9), setting(**LEVEL))[0, :, 4, 4]
        torch.testing.assert_close(cube.table[:, blue, green, red], wanted, atol=1e-6, rtol=0)


def test_larger_tables_are_truer():
    direct = PHOTO(photo(), setting(**LEVEL))
    errors = [float(delta_e(bake(PHOTO, setting(**LEVEL), size).apply(photo()), direct)) for size in SIZES[:2]]
    assert errors[1] < 0.5 * errors[0] and errors[1] < 0.1


def test_sliders_that_look_around_do_not_reach_the_table():
    plain = bake(PHOTO, setting(**LEVEL), 9)
    moved = bake(PHOTO, setting(**LEVEL, clarity=80, sharpness=-60), 9)
    torch.testing.assert_close(moved.table, plain.table, atol=2e-6, rtol=0)
    texture = bake(PAPER, PAPER.space.from_dict({"texture": 2.0}), 9)
    torch.testing.assert_close(texture.table, as_table(lattice(9)), atol=2e-6, rtol=0)


def test_an_editor_of_ones_own_gets_pictures_it_can_work_on():
    class Mirrored:
        """Needs more pixels than its blur is wide."""

        name, space = "own", PHOTO.space

        def __call__(self, images, params):
            blurred = torch.nn.functional.pad(images, (9, 9, 9, 9), mode="reflect").unfold(2, 19, 1).unfold(3, 19, 1)
            return PHOTO(images, params) + 0.5 * (images - blurred.mean((-1, -2)))

    found = pointwise(Mirrored(), setting(**LEVEL), lattice(3))
    torch.testing.assert_close(found, pointwise(PHOTO, setting(**LEVEL), lattice(3)), atol=1e-5, rtol=0)


def test_another_program_gets_one_picture():
    editor = OneFile()
    cube = bake(editor, setting(**LEVEL), 9)
    assert editor.pictures == 1 and editor.pixels <= 9 * 28**2
    torch.testing.assert_close(cube.table, bake(PHOTO, setting(**LEVEL), 9).table, atol=2e-6, rtol=0)


def test_on_a_chart_surroundings_do_little():
    table = bake(OneFile(), setting(clarity=50), 17).table
    shift = (table - as_table(lattice(17))).abs()
    assert float(shift.mean()) < 0.01 and float(shift.max()) < 0.06
    mixed = photo()[0].flatten(1).T
    shuffled = mixed[torch.randperm(len(mixed), generator=torch.Generator().manual_seed(0))]
    crossed = PHOTO(shuffled.T.reshape(1, 3, 40, 60), setting(clarity=50))[0].flatten(1).T
    assert float((crossed - shuffled).abs().mean()) > 5 * float(shift.mean())


def test_a_chart_in_the_company_of_a_photo():
    bright, half = photo() * 0.3 + 0.7, torch.tensor([[0.5]])
    editor = OneFile(AroundTheMean())
    direct = editor(bright, half)
    any_photo = bake(editor, half, 9).apply(bright)
    for_it = bake(editor, half, 9, like=bright).apply(bright)
    assert float(delta_e(for_it, direct)) < 0.3 * float(delta_e(any_photo, direct))


def test_remainder_of_a_pointwise_setting():
    left = remainder(PHOTO, setting(**LEVEL), photo(), bake(PHOTO, setting(**LEVEL), 33))
    assert left["surroundings"]["mean"] < 1e-3
    assert left["delta_e"]["mean"] == pytest.approx(left["grid"]["mean"], abs=1e-3)
    assert set(left["sliders"]) == set(LEVEL)
    assert all(blame["share"] == 0 and blame["alone"] < 1e-3 for blame in left["sliders"].values())
    assert left["sentence"].startswith("The LUT holds the whole setting: mean deltaE 0.0")


def test_remainder_names_the_sliders_that_look_around():
    given = setting(**LEVEL, clarity=40, sharpness=15)
    left = remainder(PHOTO, given, photo(), bake(PHOTO, given, 33))
    sliders = left["sliders"]
    assert list(sliders)[:2] == ["clarity", "sharpness"]
    assert sliders["clarity"]["share"] + sliders["sharpness"]["share"] == pytest.approx(1, abs=1e-3)
    assert sliders["contrast"]["share"] == 0 and sliders["contrast"]["value"] == 30
    direct = PHOTO(photo(), given)
    without = PHOTO(photo(), setting(**LEVEL))  # Everything else is pointwise, so this is what a table can hold.
    assert left["surroundings"]["mean"] == pytest.approx(float(delta_e(direct, without)), abs=1e-3)
    assert left["sentence"].startswith("Clarity 40 % and sharpness 15 % are not in the LUT: mean deltaE")


def test_remainder_of_a_coarse_table():
    given = setting(contrast=100, blacks=-60)
    left = remainder(PHOTO, given, photo(), bake(PHOTO, given, 3))
    assert left["grid"]["mean"] > 1 and "a table of 3 points is coarse" in left["sentence"].lower()


def test_another_programs_remainder():
    given = setting(exposure=0.3, clarity=50)
    left = remainder(OneFile(), given, photo(), bake(OneFile(), given, 17))
    assert left["sliders"]["clarity"]["share"] == 1 and left["sliders"]["exposure"]["alone"] < 0.1


def test_a_look_as_a_goal():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    inverse = Cube(table=1 - as_table(lattice(2)))
    assert np.array_equal(look_goal(pixels, inverse), 255 - pixels)
    deep = pixels.astype(np.uint16) * 257
    assert np.array_equal(look_goal(deep, inverse), 255 - pixels)
    look = bake(PHOTO, setting(**LEVEL), 33)
    wanted = PHOTO(to_tensor(pixels), setting(**LEVEL))[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(look_goal(pixels, look) - wanted).mean() < 1


def test_a_tall_photo_is_done_in_strips(monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    look = bake(PHOTO, setting(**LEVEL), 9)
    whole = look_goal(pixels, look)
    monkeypatch.setattr("pixward.cube._STRIP", 70)
    assert np.array_equal(look_goal(pixels, look), whole)


def test_mistakes():
    with pytest.raises(ValueError, match="2 to 256 points"):
        bake(PHOTO, setting(), 1)
    with pytest.raises(ValueError, match="must be"):
        bake(PHOTO, torch.zeros(1, 3), 3)
    with pytest.raises(PixwardError, match="renders a raw file"):
        bake(FrameEditor(OneFile(), frame=None), setting(), 3)

    class Broken:
        name, space = "broken", PHOTO.space

        def __call__(self, images, params):
            return images * torch.nan

    with pytest.raises(PixwardError, match="not numbers"):
        pointwise(Broken(), setting(), lattice(3))
