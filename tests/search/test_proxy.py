from __future__ import annotations

import pytest
import torch
from tests.search.conftest import photo
from torch import nn

from pixward.editors.chain import PAPER, PHOTO, Chain
from pixward.errors import PixwardError
from pixward.policies.proxy import KINDS, Cascaded, CascadedSettings, Filter, ProxyEditor, load_proxy
from pixward.search.problem import Goal, Look, Problem, psnr, run
from pixward.search.proxy import descend, optimise, proxy_search, tiles
from pixward.strategies import build


class Truth(nn.Module):
    """A proxy without error: the editor itself."""

    def forward(self, images, params):
        return PAPER(images, PAPER.space.denormalize(params.expand(len(images), -1)))


def untrained():
    torch.manual_seed(0)
    return Cascaded(CascadedSettings(9, (Filter("all", tuple(range(9))),), pointwise_width=8))


def test_a_true_proxy_finds_the_goal_with_one_render(make_problem, black_box):
    problem = make_problem(black_box, 1, radius=0.3)
    run(proxy_search(Truth()), problem, 0)
    assert len(problem.trials) == sum(black_box.rows) - 1 == 1  # The goal was a render as well.
    assert psnr(problem.best.mse) > 32 > psnr(problem.source_mse) + 5


def test_every_render_is_another_start(make_problem, black_box):
    problem = make_problem(black_box, 4, radius=0.6)
    black_box.rows.clear()
    trials = run(proxy_search(Truth()), problem, 0)
    assert black_box.rows == [1, 1, 1, 1]
    assert len({tuple(trial.action.tolist()) for trial in trials}) == 4
    assert problem.best.mse == min(trial.mse for trial in trials)
    assert all(float(trial.action.abs().max()) <= 1 for trial in trials)


def test_repeats_by_the_seed(make_problem):
    def actions(seed):
        return torch.stack([trial.action for trial in run(proxy_search(untrained()), make_problem(PAPER, 3), seed)])

    assert torch.equal(actions(0), actions(0))
    assert torch.equal(actions(0)[0], actions(1)[0])  # The untouched sliders need no luck.
    assert not torch.equal(actions(0)[1], actions(1)[1])


def test_locked_sliders_do_not_move(make_problem, black_box):
    problem = make_problem(black_box, 3, locked={"exposure": 0.5, "contrast": -0.25})
    settings = [PAPER.space.denormalize(trial.action) for trial in run(proxy_search(Truth()), problem, 0)]
    assert {(round(float(s[0]), 5), round(float(s[5]), 5)) for s in settings} == {(0.5, -0.25)}
    assert len({round(float(s[4]), 5) for s in settings}) == 3


def test_a_descent_takes_locked_sliders_for_what_they_are():
    source = photo()
    start = torch.zeros(9)
    start[0] = 0.25
    goal = Truth()(source, start[None] + torch.eye(9)[4:5] * 0.5)
    found = descend(Truth(), source, lambda renders: ((renders - goal) ** 2).mean(), start, range(1, 9))
    assert float(found[0]) == 0.25
    assert float(found[4]) == pytest.approx(0.5, abs=0.1)


def test_pixels_that_count_for_nothing_are_not_met(make_problem):
    made = make_problem(PAPER, 1, radius=0.3)
    half = torch.zeros(1, 1, *made.goal.shape[-2:])
    half[..., : half.shape[-1] // 2] = 1
    spoilt = torch.where(half > 0, made.goal, 1 - made.goal)
    for weighted, least in ((True, 30), (False, 0)):
        goal = Goal(spoilt, half) if weighted else spoilt
        problem = Problem(PAPER, made.source, goal, budget=1)
        run(proxy_search(Truth()), problem, 0)
        reached = psnr(float(((problem.trials[0].image / 255 - made.goal) ** 2)[..., half[0, 0, 0] > 0].mean()))
        assert reached > 30 if weighted else least < reached < 25


def test_a_look_is_come_nearer_to(make_problem):
    made = make_problem(PAPER, 2, radius=0.5)
    problem = Problem(PAPER, made.source, Look(made.goal.flip(-1)), budget=2)
    run(proxy_search(Truth()), problem, 0)
    assert problem.best.mse < 0.2 * problem.source_mse


def test_optimise_looks_at_all_pixels_and_comes_nearer():
    torch.manual_seed(1)
    source = torch.rand(1, 3, 70, 50)
    action = 0.3 * (2 * torch.rand(1, 9) - 1)
    goal, start = Truth()(source, action), torch.zeros(9)
    found = optimise(Truth(), source, goal, start, iterations=60)
    assert found.shape == (9,) and not found.requires_grad
    before, after = (float(((Truth()(source, each[None]) - goal) ** 2).mean()) for each in (start, found))
    assert after < 0.02 * before
    torch.testing.assert_close(optimise(Truth(), source, goal, start, iterations=1), start)


def test_tiles_are_cut_where_they_should_be():
    height, width = 100, 200
    image = torch.arange(float(height * width)).reshape(1, 1, height, width)
    cut = tiles(image)
    assert cut.shape == (8, 1, 24, 24)
    corners = [divmod(int(tile[0, 0, 0]), width) for tile in cut]
    assert corners == [(top, left) for top in (13, 63) for left in (13, 63, 113, 163)]
    assert torch.equal(cut[4, 0], image[0, 0, 63:87, 13:37])
    assert tiles(image.transpose(2, 3)).shape == (8, 1, 24, 24)
    small = image[..., :47]
    assert torch.equal(tiles(small), small)


def test_an_editor_without_a_proxy_is_told_how_to_get_one(black_box):
    for kind in ("monolithic", "cascaded"):
        with pytest.raises(PixwardError, match=f"no {kind} proxy is shipped for black-box: train one .pixward train"):
            build(kind, black_box)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("editor", [PAPER, PHOTO], ids=["paper", "photo"])
def test_shipped_proxies_know_their_editor(kind: str, editor: Chain) -> None:
    source, generator = photo(side=32), torch.Generator().manual_seed(3)
    found, untouched, imitated = [], [], []
    for _ in range(2):
        action = 0.5 * (2 * torch.rand(1, len(editor.space), generator=generator) - 1)
        goal = editor(source, editor.space.denormalize(action))
        problem = Problem(editor, source, goal, budget=1)
        run(build(kind, editor), problem, 0)
        found.append(psnr(problem.trials[0].mse))
        untouched.append(psnr(problem.source_mse))
        imitation = ProxyEditor(kind, editor.space, load_proxy(editor.name, kind))
        imitated.append(psnr(problem.mse(imitation(source, editor.space.denormalize(action)))))
    assert sum(imitated) > sum(untouched) + 2 * 5
    assert sum(found) > sum(untouched) + 2 * 5
