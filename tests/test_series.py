from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pixward.editors.chain import PAPER, PHOTO
from pixward.image import quantize
from pixward.match import match
from pixward.search.problem import Goal, Look, Problem
from pixward.series import PIXELS, SMALLEST, Part, SeriesEditor, reduced, series, tile_side

SETTING = {"exposure": 0.4, "contrast": 20.0, "saturation": -30.0, "clarity": 40.0}
SIZES = [(24, 36), (36, 24), (24, 36), (20, 20), (24, 36)]


def photos(sizes: list[tuple[int, int]] = SIZES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    coarse = [torch.rand(1, 3, 5, 5, generator=generator) for _ in sizes]
    return [
        torch.nn.functional.interpolate(c, size, mode="bicubic").clamp(0, 1)
        for c, size in zip(coarse, sizes, strict=True)
    ]


def rows(*settings: dict[str, float]) -> Tensor:
    return torch.stack([PHOTO.space.from_dict(setting) for setting in settings])


def laid(sizes: list[tuple[int, int]] = SIZES, setting: dict[str, float] = SETTING):
    return [Part(image, quantize(PHOTO(image, rows(setting))), PHOTO) for image in photos(sizes)]


def test_every_photo_is_rendered_as_if_it_were_alone():
    parts = laid()
    found = series(parts)
    two = found.editor(found.source.expand(2, -1, -1, -1), rows(SETTING, {"exposure": -1.0, "sharpness": 80.0}))
    for k, part in enumerate(parts):
        alone = PHOTO(part.source.expand(2, -1, -1, -1), rows(SETTING, {"exposure": -1.0, "sharpness": 80.0}))
        assert torch.allclose(found.editor.cut(two, k), alone, atol=1e-6)


def test_photos_of_one_size_are_one_batch():
    calls = []

    class Counting:
        name, space, differentiable = PHOTO.name, PHOTO.space, False

        def __call__(self, images: Tensor, params: Tensor) -> Tensor:
            calls.append(tuple(images.shape))
            return PHOTO(images, params)

    editor = Counting()
    found = series([Part(part.source, part.goal, editor) for part in laid()])
    found.editor(found.source.expand(2, -1, -1, -1), rows(SETTING, SETTING))
    assert sorted(calls) == [(2, 3, 20, 20), (2, 3, 36, 24), (6, 3, 24, 36)]


@pytest.mark.parametrize("sizes", [SIZES, SIZES[:1], [(24, 36)] * 4, [(24, 36)] * 3])
def test_the_error_is_the_mean_of_the_photos_errors(sizes: list[tuple[int, int]]):
    parts = laid(sizes)
    found = series(parts)
    problem = Problem(found.editor, found.source, found.goal, budget=1)
    alone = [Problem(PHOTO, part.source, part.goal, budget=1).source_mse for part in parts]
    assert problem.source_mse == pytest.approx(sum(alone) / len(alone), rel=1e-4)


def test_parts_that_do_not_count_do_not_count_in_a_series():
    first, second = laid([(24, 36), (24, 36)])
    weight = torch.zeros(1, 1, 24, 36)
    weight[..., :10] = 1
    broken = first.goal.clone()
    broken[..., 10:] = 1 - broken[..., 10:]
    found = series([Part(first.source, Goal(broken, weight), PHOTO), second])
    problem = Problem(found.editor, found.source, found.goal, budget=1)
    alone = Problem(PHOTO, first.source, Goal(first.goal, weight), budget=1).source_mse
    other = Problem(PHOTO, second.source, second.goal, budget=1).source_mse
    assert problem.source_mse == pytest.approx((alone + other) / 2, rel=1e-4)


def test_the_setting_behind_all_goals_is_found():
    found = series(laid())
    result = match(found.source, found.goal, editor=found.editor, strategy="least-squares", renders=30)
    assert result.distance["psnr"] > result.source_distance["psnr"] + 15
    assert result.setting["exposure"] == pytest.approx(0.4, abs=0.3)
    assert result.renders <= 30


def test_slopes_go_through_the_wrapper():
    found = series(laid(SIZES[:2]))
    result = match(found.source, found.goal, editor=found.editor, strategy="gradient", renders=5)
    assert result.distance["psnr"] > result.source_distance["psnr"] + 5


def test_a_look_for_all_has_nothing_in_it_that_is_of_no_photo():
    parts = [Part(torch.full((1, 3, *size), 0.5), None, PHOTO) for size in SIZES]
    found = series(parts, torch.rand(1, 3, 9, 9))
    assert isinstance(found.goal, Look)
    assert bool((found.source == 0.5).all())


def test_tiles_shrink_only_as_far_as_they_must():
    sides = [tile_side(count) for count in (1, 16, 17, 40, 200, 5000)]
    assert sides[:2] == [256, 256] and sides[-1] == SMALLEST
    assert sides == sorted(sides, reverse=True)
    assert all(count * tile_side(count) ** 2 <= PIXELS for count in (1, 17, 40, 100))
    assert reduced(torch.zeros(1, 3, 200, 300), 150).shape == (1, 3, 100, 150)
    assert reduced(torch.zeros(1, 3, 20, 30), 150).shape == (1, 3, 20, 30)


def test_mistakes():
    part = laid(SIZES[:1])[0]
    with pytest.raises(ValueError, match="at least one"):
        series([])
    with pytest.raises(ValueError, match="goal of its own shape"):
        series([part, Part(part.source, None, PHOTO)])
    with pytest.raises(ValueError, match="same sliders"):
        series([part, Part(part.source, part.goal, PAPER)])
    assert SeriesEditor([PHOTO] * 7, [(10, 30)] * 7).columns == 2


def test_the_example_of_the_guide_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch):
    root = Path(__file__).resolve().parents[1]
    (example,) = re.findall(
        r"```python\n(.*?)```", (root / "docs/guides/many-photos.md").read_text(encoding="utf-8"), re.DOTALL
    )
    monkeypatch.chdir(root)
    names: dict = {}
    exec(compile(example, "many-photos.md", "exec"), names)
    assert names["result"].distance["psnr"] > names["result"].source_distance["psnr"]
    assert names["result"].renders <= 10
