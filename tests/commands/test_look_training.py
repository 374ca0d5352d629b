"""``pixward train edit --algorithm look`` and ``look-td3``, and what a few updates of the first do."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands.conftest import picture

from pixward.commands.look_training import SUPERVISED, after_steps, look_tasks
from pixward.commands.training import EditTraining
from pixward.data.pairs import draw_scenes, photo_files, scene_bank
from pixward.editors.chain import PAPER
from pixward.envs.look import LookEnv, neg_colour_distance
from pixward.policies.look import LookPolicy, LookSettings, load_look
from pixward.run import Run, read_log, seed_everything
from pixward.train.pretrain import PretrainSettings, pretrain

SMALL = PretrainSettings(steps=20, batch=4, checkpoint_every=5, restart=0.3, parameter_weight=0.3, image_weight=0.1)
# Made by this file on a CPU with torch 2.13: parameter loss and PSNR to the truth, means of five updates each.
GOLDEN = [(0.207345, 15.126749), (0.206976, 17.898531), (0.193695, 15.726147), (0.190787, 19.390859)]


@pytest.fixture
def photos(tmp_path):
    """A folder of three photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(picture(64, 56, seed)).save(folder / f"{seed}.png")
    return folder


def trace(photos, folder, resume=False, stop=None):
    seed_everything(0)
    job = EditTraining((photos,), folder, PAPER, algorithm="look")
    tasks = look_tasks(job, scene_bank(photo_files([photos]), side=16, tiles=3))
    policy = LookPolicy(LookSettings(len(PAPER.space), horizon=3, width=16, scene=8))
    env = LookEnv(PAPER, 3, neg_colour_distance, "truth")
    with Run(folder, resume=resume, tensorboard=False) as run:
        lines = pretrain(env, PAPER, policy.train(), tasks, SMALL, run, lambda *pair: -neg_colour_distance(*pair))
        for count, _ in enumerate(lines, 1):
            if count == stop:
                break
    return read_log(folder / "log.jsonl"), torch.nn.utils.parameters_to_vector(policy.parameters()).detach()


def test_golden_trace(photos, tmp_path):
    rows, _ = trace(photos, tmp_path / "run")
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    np.testing.assert_allclose([(row["parameter"], row["psnr"]) for row in rows], GOLDEN, rtol=1e-3)


def test_resumed_equals_straight(photos, tmp_path):
    straight = trace(photos, tmp_path / "straight")
    trace(photos, tmp_path / "halves", stop=2)
    resumed = trace(photos, tmp_path / "halves", resume=True)
    assert resumed[0] == straight[0]
    assert torch.equal(resumed[1], straight[1])


def test_the_truth_is_the_goals_setting_on_the_source(photos):
    torch.manual_seed(0)
    bank = scene_bank(photo_files([photos]), side=16, tiles=3)
    tasks = look_tasks(EditTraining((photos,), photos, PAPER), bank)(8)
    render = PAPER(tasks["source"], PAPER.space.denormalize(tasks["action"]))
    assert float((render - tasks["truth"]).abs().max()) <= 0.5 / 255 + 1e-6
    assert tasks["goal"].shape == tasks["truth"].shape
    assert float((tasks["goal"] - tasks["truth"]).abs().mean((1, 2, 3)).min()) > 0.01


def test_scenes_are_pairs_of_different_photos():
    bank = torch.arange(4, dtype=torch.uint8)[:, None, None, None, None].expand(4, 2, 3, 8, 8)
    first, second = draw_scenes(bank, 200, torch.Generator().manual_seed(0))
    assert bool((first[:, 0, 0, 0] != second[:, 0, 0, 0]).all())
    assert set((second[:, 0, 0, 0] * 255).round().int().tolist()) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="at least two photos"):
        draw_scenes(bank[:1], 2)


def test_scene_bank_shows_most_of_a_photo(photos):
    bank = scene_bank(photo_files([photos]), side=16, tiles=3)
    assert bank.shape == (3, 3, 3, 16, 16) and bank.dtype == torch.uint8
    assert torch.equal(bank, scene_bank(photo_files([photos]), side=16, tiles=3))


def test_figures_of_a_policy_that_knows(photos):
    """One that says the true setting has a distance of (nearly) nothing after its first step."""
    torch.manual_seed(0)
    tasks = look_tasks(EditTraining((photos,), photos, PAPER), scene_bank(photo_files([photos]), side=16, tiles=3))(4)
    env = LookEnv(PAPER, 3, neg_colour_distance, "truth")
    figures = after_steps(env, lambda state: tasks["action"], tasks)
    assert figures["colour_1"] == pytest.approx(0.1, abs=0.02)
    assert figures["colour_0"] > 1


def test_trains_resumes_and_is_reinforced(pixward, photos, tmp_path):
    out = tmp_path / "run"
    train = ("train", "edit", "--photos", photos, "--out", out, "--editor", "chain:paper")
    done = pixward(*train, "--algorithm", "look", "--steps", 1)
    assert done.code == 0 and done.out == f"weights: {out / 'look.safetensors'}\n"
    assert "colour_10" in done.err
    assert load_look(out) is not None
    assert pixward(*train, "--algorithm", "look", "--steps", 2, "--resume").code == 0
    assert [row["step"] for row in read_log(out / "look" / "log.jsonl")] == [1, 2]
    done = pixward(*train, "--algorithm", "look-td3", "--steps", 3)
    assert done.code == 0 and done.out == f"weights: {out / 'look-reinforced.safetensors'}\n"


def test_one_photo_is_no_pair(pixward, photos, tmp_path):
    (photos / "1.png").unlink()
    (photos / "2.png").unlink()
    done = pixward("train", "edit", "--photos", photos, "--out", tmp_path / "run", "--algorithm", "look")
    assert done.line == "pixward: looks are learnt from pairs of photos: name a folder of two or more"


def test_nothing_to_reinforce(pixward, photos, tmp_path):
    own = ("--editor", "chain:paper", "--algorithm", "look-td3")
    done = pixward("train", "edit", "--photos", photos, "--out", tmp_path / "run", *own)
    assert done.line.endswith("has no policy for looks yet: train one first, with --algorithm look")


def test_defaults_are_those_that_shipped():
    assert (SUPERVISED.steps, SUPERVISED.batch) == (3_000, 64)
