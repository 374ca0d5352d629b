"""The policy for looks: its shapes, its files, and what it must not depend on."""

import dataclasses

import pytest
import torch

from pixward.checks import check_policy
from pixward.editors.chain import PHOTO
from pixward.envs.look import LookEnv
from pixward.errors import PixwardError
from pixward.policies.look import LookCritic, LookPolicy, LookSettings, describe_look, load_look, reduced
from pixward.policies.weights import save_weights

SMALL = LookSettings(len(PHOTO.space), horizon=3, width=16, scene=8)


def tasks(count: int = 2, goal: tuple[int, int] = (40, 30)) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "source": torch.rand(count, 3, 48, 64, generator=generator),
        "goal": torch.rand(count, 3, *goal, generator=generator),
    }


def state(count: int = 2, goal: tuple[int, int] = (40, 30)) -> dict[str, torch.Tensor]:
    return LookEnv(PHOTO, 3).reset(tasks(count, goal))


def test_keeps_the_contract():
    torch.manual_seed(0)
    check_policy(LookPolicy(SMALL).eval(), state())


def test_starts_near_the_untouched_sliders():
    torch.manual_seed(0)
    assert float(LookPolicy(SMALL).eval()(state()).abs().max()) < 0.1


def test_dropout_only_in_training():
    torch.manual_seed(0)
    policy, seen = LookPolicy(dataclasses.replace(SMALL, dropout=0.5)), state()
    torch.nn.init.normal_(list(policy.head.parameters())[-2])
    assert torch.equal(policy.eval()(seen), policy(seen))
    assert not torch.equal(policy.train()(seen), policy(seen))


def test_rows_do_not_see_each_other():
    torch.manual_seed(0)
    policy, seen = LookPolicy(SMALL).eval(), state(3)
    alone = policy({name: value[1:2] for name, value in seen.items()})
    assert torch.allclose(policy(seen)[1:2], alone, atol=1e-5)


def test_reference_of_any_size():
    torch.manual_seed(0)
    policy = LookPolicy(SMALL).eval()
    for size in ((16, 16), (200, 90)):
        assert policy(state(1, size)).shape == (1, len(PHOTO.space))


def test_reduced_keeps_the_shape_and_never_enlarges():
    assert reduced(torch.rand(1, 3, 96, 192), 48).shape == (1, 3, 48, 96)
    assert reduced(torch.rand(1, 3, 30, 40), 48).shape == (1, 3, 30, 40)


def test_critic_sees_the_action():
    torch.manual_seed(0)
    critic, seen = LookCritic(SMALL).eval(), state()
    values = [critic(seen, torch.full((2, len(PHOTO.space)), level)) for level in (-0.5, 0.5)]
    assert values[0].shape == (2,) and not torch.allclose(*values)


def test_saved_and_loaded(tmp_path):
    torch.manual_seed(0)
    policy = LookPolicy(SMALL).eval()
    save_weights(tmp_path / "look.safetensors", policy.state_dict(), "look", describe_look(policy), torch.float32)
    again = load_look(tmp_path)
    assert again is not None and torch.equal(again(state()), policy(state()))


def test_faults_are_one_line(tmp_path):
    with pytest.raises(PixwardError, match=r"holds no look\.safetensors"):
        load_look(tmp_path)
    policy = LookPolicy(SMALL)
    save_weights(tmp_path / "look.safetensors", policy.state_dict(), "look", describe_look(policy))
    save_weights(tmp_path / "look.safetensors", policy.state_dict(), "look", {**describe_look(policy), "width": 17})
    with pytest.raises(PixwardError, match="train it again"):
        load_look(tmp_path)
    assert load_look("no such editor") is None
