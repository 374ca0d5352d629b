from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixward.editors.chain import PHOTO, Chain
from pixward.errors import PixwardError
from pixward.match import STRATEGIES, distances, match
from pixward.params import ParamSpace, ParamSpec
from pixward.search.problem import Problem

SPACE = ParamSpace(
    [
        ParamSpec("gain", 0, 2, 1, "x", "Brightness."),
        ParamSpec("lift", -0.5, 0.5, 0, "", "Added to every value."),
    ]
)


def _render(images: Tensor, params: Tensor) -> Tensor:
    return (images * params[:, :1, None, None] + params[:, 1:, None, None]).clamp(0, 1)


EDITOR = Chain("test:affine", SPACE, _render, differentiable=False)


def source(height: int = 12, width: int = 16) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.1


def use(monkeypatch: pytest.MonkeyPatch, *settings: dict[str, float]) -> None:
    """Make the strategy ``random`` try exactly these settings."""

    def solve(problem: Problem, seed: int) -> None:
        for setting in settings:
            problem.render(SPACE.normalize(SPACE.from_dict(setting))[None][:, problem.free])

    monkeypatch.setitem(STRATEGIES, "random", lambda editor, networks=None: solve)


def test_the_best_render_wins_wherever_it_came(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, {"gain": 0.5}, {"gain": 1.5}, {"gain": 1.9})
    photo, seen = source(), []
    goal = EDITOR(photo, SPACE.from_dict({"gain": 1.45})[None])
    result = match(photo, goal, editor=EDITOR, strategy="random", renders=3, on_render=seen.append)
    assert (result.editor, result.strategy, result.renders, result.best) == ("test:affine", "random", 3, 1)
    assert result.setting == {"gain": 1.5, "lift": 0.0}
    assert list(result.trials) == seen
    eight_bit = (EDITOR(photo, SPACE.from_dict({"gain": 1.5})[None]) * 255).round() / 255
    assert result.distance == distances(eight_bit, (goal * 255).round() / 255)
    assert result.distance["psnr"] > result.source_distance["psnr"]
    assert result.seconds >= 0


def test_never_worse_than_the_untouched_photo(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, {"gain": 0.2}, {"gain": 1.9})
    result = match(source(), source(), editor=EDITOR, strategy="random", renders=2)
    assert result.best is None
    assert result.setting == {"gain": 1.0, "lift": 0.0}
    assert result.distance == result.source_distance == {"psnr": 100, "ssim": 1, "delta_e": 0}


def test_a_tie_leaves_the_photo_alone(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, {"gain": 1.0})
    assert match(source(), source(), editor=EDITOR, strategy="random", renders=1).best is None


BRIGHT = Chain(
    "test:bright", SPACE, lambda images, params: _render(images, params + params.new_tensor([0.5, 0])), False
)
"""Its photo at the default is half as bright again; ``gain`` 0.5 leaves it alone."""


def test_an_editor_that_changes_the_photo_at_its_defaults_is_judged_by_what_it_renders(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, {"gain": 0.2}, {"gain": 0.6})
    result = match(source(), source(), editor=BRIGHT, strategy="random", renders=2)
    assert (result.setting["gain"], result.best, result.renders) == (pytest.approx(0.6), 1, 2)
    shown = (BRIGHT(source(), SPACE.from_dict(result.setting)[None]) * 255).round() / 255
    assert result.distance == distances(shown, (source() * 255).round() / 255)
    assert result.distance["psnr"] < result.source_distance["psnr"]


def test_defaults_that_beat_every_render_are_returned_with_their_true_distance(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, {"gain": 0.0})
    result = match(source(), source(), editor=BRIGHT, strategy="random", renders=1)
    assert (result.setting, result.best) == ({"gain": 1.0, "lift": 0.0}, None)
    shown = (BRIGHT(source(), SPACE.defaults()) * 255).round() / 255
    assert result.distance == distances(shown, (source() * 255).round() / 255)


def test_rounding_at_the_defaults_is_no_change(monkeypatch: pytest.MonkeyPatch):
    off = Chain("test:off", SPACE, lambda images, params: _render(images, params) + 0.6 / 255, False)
    use(monkeypatch, {"gain": 0.5})
    result = match(source(), source(), editor=off, strategy="random", renders=1)
    assert result.best is None
    assert result.distance == result.source_distance


def test_a_lock_away_from_the_default_rules_the_untouched_photo_out(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, {"gain": 0.8}, {"gain": 0.5})
    result = match(source(), source(), editor=EDITOR, strategy="random", renders=2, locked={"lift": 0.25})
    assert result.setting == {"gain": 0.5, "lift": 0.25}
    assert result.distance["psnr"] < result.source_distance["psnr"]
    assert result.unreached["locked"] == ["lift"]


def test_a_lock_at_the_default_does_not(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, {"gain": 0.5})
    result = match(source(), source(), editor=EDITOR, strategy="random", renders=1, locked={"lift": 0.0})
    assert result.setting == {"gain": 1.0, "lift": 0.0}


def test_a_solver_that_gives_up_still_yields_the_locked_setting(monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch)
    result = match(source(), source(), editor=EDITOR, strategy="random", renders=5, locked={"lift": 0.25})
    assert result.renders == 1
    assert result.setting == {"gain": 1.0, "lift": 0.25}


@pytest.mark.parametrize(
    "strategy", [name for name in STRATEGIES if name not in ("policy", "gradient", "monolithic", "cascaded")]
)
def test_every_strategy_serves_an_editor_without_networks(strategy: str):
    photo = source()
    goal = EDITOR(photo, SPACE.from_dict({"gain": 1.3, "lift": 0.05})[None])
    result = match(photo, goal, editor=EDITOR, strategy=strategy, renders=25)
    assert 1 <= result.renders <= 25
    assert result.distance["psnr"] > result.source_distance["psnr"] + 3


def test_hybrid_without_networks_is_least_squares():
    photo = source()
    goal = EDITOR(photo, SPACE.from_dict({"gain": 1.3, "lift": 0.05})[None])
    results = [match(photo, goal, editor=EDITOR, strategy=name, renders=8) for name in ("hybrid", "least-squares")]
    assert results[0].setting == results[1].setting


def test_policy_without_networks_says_so():
    with pytest.raises(PixwardError, match="no policy is shipped for test:affine"):
        match(source(), source(), editor=EDITOR, strategy="policy")


def test_gradient_needs_a_differentiable_editor():
    with pytest.raises(PixwardError, match="no"):
        match(source(), source(), editor=EDITOR, strategy="gradient")
    photo = source()
    goal = PHOTO(photo, PHOTO.space.from_dict({"exposure": 0.4})[None])
    result = match(photo, goal, editor=PHOTO, strategy="gradient", renders=10)
    assert result.distance["psnr"] > result.source_distance["psnr"] + 5


def test_what_match_refuses():
    with pytest.raises(PixwardError, match="unknown strategy 'magic'"):
        match(source(), source(), editor=EDITOR, strategy="magic")
    with pytest.raises(ValueError, match="unknown slider"):
        match(source(), source(), editor=EDITOR, locked={"nothing": 1})
    with pytest.raises(ValueError, match="must both be"):
        match(source(), source(10, 10), editor=EDITOR)
    with pytest.raises(ValueError, match="at least one render"):
        match(source(), source(), editor=EDITOR, renders=0)


def test_an_editor_that_returns_nan_is_named():
    broken = Chain("test:broken", SPACE, lambda images, params: images * float("nan"), differentiable=False)
    with pytest.raises(PixwardError, match="test:broken returned pixels that are not numbers"):
        match(source(), source(), editor=broken, strategy="random")


def test_distances_round_and_cap():
    same = torch.full((1, 3, 4, 4), 0.5)
    assert distances(same, same) == {"psnr": 100, "ssim": 1, "delta_e": 0}
    assert distances(same, same + 0.1)["psnr"] == pytest.approx(20, abs=1e-3)
    worst = distances(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4))["psnr"]
    assert f"{worst:.2f}" == "0.00"
