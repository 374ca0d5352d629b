"""What a checkpoint holds of a policy, of which some weights may be frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixward.errors import PixwardError
from pixward.run import Run, read_log
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.workers import Learner, Workers

WIDE = 400
SETTINGS = LikelihoodSettings(steps=4, accumulate=1, warmup=1, average=0.5, log_every=1, checkpoint_every=2)
LEARNT = {"beside.weight", "beside.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


class Adapted(nn.Module):
    """A large frozen layer, used twice, a small one beside it, and a norm that keeps its own counts."""

    def __init__(self, narrow=3, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.base = nn.Linear(WIDE, WIDE)
        self.again = self.base
        torch.manual_seed(0)
        self.beside = nn.Linear(narrow, WIDE)
        self.norm = nn.BatchNorm1d(WIDE, affine=False)
        self.base.requires_grad_(False)

    def log_prob(self, seen):
        wide = self.norm(seen.repeat(1, WIDE // seen.shape[1] + 1)[:, :WIDE])
        return self.base(self.again(wide)) + self.beside(seen[:, : self.beside.in_features])


def error(learner, batch):
    loss = (learner.score(batch["seen"]) - 1).square().mean()
    return loss, {"loss": float(loss.detach())}


def batches(index):
    return {"seen": torch.randn(4, 5, generator=torch.Generator().manual_seed(index))}


def train(policy, folder, lines=None):
    with Run(folder, resume=True, tensorboard=False) as run:
        for count, _ in enumerate(likelihood(policy, batches, SETTINGS, run, Workers(), loss_of=error), 1):
            if count == lines:
                break
    return policy


def losses(folder):
    return [row["loss"] for row in read_log(folder / "log.jsonl")]


def same(one, other):
    return all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


def test_frozen_weights_are_not_written(tmp_path):
    policy = train(Adapted(), tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt")["state"]
    assert set(saved["policy"]) == set(saved["mean"]) == LEARNT
    # The frozen layer alone has 4 * 400 * 400 bytes.
    assert (tmp_path / "checkpoint.pt").stat().st_size < 100_000
    assert torch.equal(policy.base.weight, Adapted().base.weight)
    # Without frozen weights a checkpoint holds all.
    whole = Adapted()
    whole.requires_grad_(True)
    assert set(Learner(whole, Workers(), 0.0, 0.0).state_dict()["policy"]) == set(whole.state_dict())


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path):
    straight = train(Adapted(), tmp_path / "straight")
    train(Adapted(), tmp_path / "parts", lines=1)
    resumed = train(Adapted(), tmp_path / "parts")
    assert same(straight, resumed)
    assert losses(tmp_path / "straight") == losses(tmp_path / "parts")


def test_a_checkpoint_of_the_whole_policy_still_loads(tmp_path):
    straight = train(Adapted(), tmp_path / "straight")
    train(Adapted(), tmp_path / "old", lines=1)
    path = tmp_path / "old" / "checkpoint.pt"
    content = torch.load(path)
    for part in ("policy", "mean"):
        content["state"][part] = {**Adapted().state_dict(), **content["state"][part]}
    torch.save(content, path)
    # It brings the frozen weights as well, as it did.
    resumed = train(Adapted(seed=1), tmp_path / "old")
    assert same(straight, resumed)
    assert losses(tmp_path / "straight") == losses(tmp_path / "old")
    assert set(torch.load(path)["state"]["mean"]) == LEARNT


def test_what_does_not_fit_is_named_and_changes_nothing():
    saved = Learner(Adapted(), Workers(), 0.0, 0.0).state_dict()
    other = Adapted(narrow=2)
    with pytest.raises(PixwardError, match=r"has another shape, in beside\.weight: resume it with the settings"):
        Learner(other, Workers(), 0.0, 0.0).load_state_dict(saved)
    assert same(other, Adapted(narrow=2))
    thawed = Adapted(seed=1)
    thawed.requires_grad_(True)
    with pytest.raises(PixwardError, match=r"has another shape, in base\.weight"):
        Learner(thawed, Workers(), 0.0, 0.0).load_state_dict(saved)
    colder = Adapted(seed=1)
    colder.beside.bias.requires_grad_(False)
    with pytest.raises(PixwardError, match="trained other weights: resume it with the settings of its start"):
        Learner(colder, Workers(), 0.0, 0.0).load_state_dict(saved)
    assert same(colder, Adapted(seed=1))
