"""Searches towards a look: what is counted as near, which trial is the answer, when it ends."""

import pytest
import torch

from pixward.editors.chain import PHOTO
from pixward.errors import PixwardError
from pixward.image import load, preview, quantize
from pixward.match import build_look, match
from pixward.policies.look import LookPolicy, LookSettings, describe_look
from pixward.policies.weights import save_weights
from pixward.rewards.image import neg_mse
from pixward.rewards.look import look
from pixward.search.follow import settle
from pixward.search.least_squares import least_squares
from pixward.search.problem import Goal, Look, Problem, run

OTTERS, TEA = "examples/photos/otters.jpg", "examples/photos/tea.jpg"


@pytest.fixture(scope="module")
def photos(request):
    root = request.config.rootpath
    return tuple(preview(load(root / name), 96) for name in (OTTERS, TEA))


class Fixed:
    """A policy that says one setting after the other."""

    def __init__(self, *settings: float) -> None:
        self.said = list(settings)
        self.settings = type("Settings", (), {"sliders": len(PHOTO.space), "horizon": 4})()
        self.seen: list[dict[str, torch.Tensor]] = []

    def __call__(self, state):
        self.seen.append(state)
        return torch.full((1, len(PHOTO.space)), self.said[min(int(state["step"]), len(self.said) - 1)])

    def to(self, device):
        return self


def test_error_is_minus_the_reward_and_sizes_may_differ(photos):
    source, reference = photos
    problem = Problem(PHOTO, source, Look(reference), budget=2)
    assert problem.source_mse == pytest.approx(-float(look(quantize(source), quantize(reference))))
    image = problem.render(problem.start[None])
    assert problem.trials[0].mse == pytest.approx(-float(look(image, quantize(reference))))


def test_any_reward_will_do(photos):
    source = photos[0]
    goal = source.flip(3)
    plain, own = (Problem(PHOTO, source, aim, budget=1) for aim in (goal, Look(goal, neg_mse)))
    assert own.source_mse == pytest.approx(plain.source_mse)


def test_a_goal_of_another_size_is_still_refused(photos):
    source, reference = photos
    for goal in (reference[..., :-5], Goal(reference[..., :-5], torch.ones(1, 1, *reference[..., :-5].shape[-2:]))):
        with pytest.raises(ValueError, match="must both be"):
            Problem(PHOTO, source, goal, budget=1)
    with pytest.raises(ValueError, match="must both be"):
        Problem(PHOTO, source, Look(reference[:, :1]), budget=1)


def test_least_squares_finds_a_look_that_can_be_reached(photos):
    """The reference is the photo's own render: its look can be reached, and tones and colours are right then."""
    source = photos[0]
    action = torch.zeros(1, len(PHOTO.space))
    action[0, :4] = torch.tensor([0.2, 0.3, -0.2, 0.3])
    truth = quantize(PHOTO(source, PHOTO.space.denormalize(action)))
    problem = Problem(PHOTO, source, Look(truth), budget=60)
    run(least_squares, problem)
    assert problem.best.mse < 1e-3 * problem.source_mse
    assert float((problem.best.image.float() / 255 - truth[0]).abs().mean()) < 0.02


@pytest.mark.parametrize("strategy", ["random", "greedy", "cmaes", "least-squares"])
def test_searches_come_nearer(photos, strategy):
    source, reference = photos
    found = match(source, Look(reference), editor=PHOTO, strategy=strategy, renders=40)
    assert set(found.distance) == {"look"}
    assert found.distance["look"] < found.source_distance["look"]
    assert "another scene" in str(found.unreached["sentence"])


def test_policy_has_the_last_word(photos):
    """Its second setting is the farther one, and still the answer: distance in look is not what it knows."""
    source, reference = photos
    policy = Fixed(0.0, 0.5)
    problem = Problem(PHOTO, source, Look(reference), budget=10)
    run(settle(policy), problem)
    assert len(problem.trials) == 2 and problem.settled == 1
    found = match(source, Look(reference), editor=PHOTO, strategy=settle(Fixed(0.0, 0.5)), renders=10)
    assert found.best == 1 and found.setting["exposure"] == pytest.approx(1.5)
    assert found.renders == 2


def test_settle_stops_at_the_budget_and_keeps_locks(photos):
    source, reference = photos
    policy = Fixed(0.1, 0.2, 0.3, 0.4)
    found = match(source, Look(reference), editor=PHOTO, strategy=settle(policy), renders=3, locked={"exposure": 0.5})
    assert found.renders == 3 and found.best == 2
    assert found.setting["exposure"] == 0.5 and found.setting["saturation"] == pytest.approx(30)
    gaps = policy.seen[2]["history"][0, :, -1]
    assert bool((gaps[:2] > 0).all()) and bool((gaps[2:] == 0).all())


def test_strategies_for_looks(tmp_path):
    with pytest.raises(PixwardError, match="use hybrid for a look"):
        build_look("gradient", PHOTO)
    with pytest.raises(PixwardError, match="unknown strategy"):
        build_look("no such", PHOTO)
    with pytest.raises(PixwardError, match=r"holds no look\.safetensors"):
        build_look("hybrid", PHOTO, tmp_path)


def test_networks_of_another_editor(tmp_path):
    policy = LookPolicy(LookSettings(9, horizon=3, width=16, scene=8))
    save_weights(tmp_path / "look.safetensors", policy.state_dict(), "look", describe_look(policy))
    with pytest.raises(PixwardError, match="know 9 sliders, and chain:photo has 12"):
        build_look("hybrid", PHOTO, tmp_path)


def test_editor_without_a_policy_gets_least_squares():
    class Other:
        name, space, differentiable = "other", PHOTO.space, False

        def __call__(self, images, params):
            return images

    assert build_look("hybrid", Other()) is least_squares
    with pytest.raises(PixwardError, match="--algorithm look"):
        build_look("policy", Other())
