"""``pixward sample`` and ``train denoise`` with the models that ship: what is said where a user is likely to err."""

from __future__ import annotations

import json

import pytest

from pixward.commands.denoise_training import DenoiseTraining, _settings
from pixward.commands.train_denoise import _said
from pixward.denoise.builtin import builtin_pipeline
from pixward.denoise.painter import PainterSettings, painter
from pixward.policies.hub import Lora
from pixward.train.ppo_settings import DDPO, RLCM

pytest.importorskip("diffusers")
pytest.importorskip("peft")

LARGE = 10**20


def test_prompts_that_name_no_animal_are_drawn_and_told(tmp_path, pixward):
    run = ("sample", "--steps", 1, "--out", tmp_path / "out", "--json")
    done = pixward(*run, "a tiger", "a red car", "", "a Fox on sand")
    assert done.code == 0 and len(json.loads(done.out)["pictures"]) == 4
    assert done.err.startswith("note: emoji-lcm knows 42 animals and none in 'a red car' and 1 more; they are: ant, ")
    assert done.err.count("\n") == 1 and "tiger" in done.err
    done = pixward(*run, "a tiger", "a Fox on sand", "--force")
    assert (done.code, done.err) == (0, "")


def test_one_step_is_told_as_one(tmp_path, pixward):
    done = pixward("sample", "a tiger", "--steps", 1, "--out", tmp_path / "a.png")
    assert done.out.splitlines()[-1].startswith("emoji-lcm, 1 step, guidance 4: ")


def test_a_lora_of_another_model_is_told(tmp_path, pixward):
    painter(builtin_pipeline("emoji"), PainterSettings(lora=Lora(2, 2.0))).save_lora(tmp_path / "run")
    run = ("sample", "a tiger", "--steps", 1, "--force", "--out", tmp_path / "a.png", "--lora")
    for made_on, says in (
        (None, ""),
        ({"model": "emoji"}, f"note: the LoRA {tmp_path / 'run'} was tuned on emoji, and is used on emoji-lcm\n"),
        ({"model": "emoji-lcm"}, ""),
        ([], ""),
    ):
        if made_on is not None:
            (tmp_path / "run" / "job.json").write_text(json.dumps(made_on))
        done = pixward(*run, tmp_path / "run")
        assert (done.code, done.err) == (0, says)


def test_what_cannot_be(tmp_path, pixward):
    (tmp_path / "file").write_text("x")
    train = ("train", "denoise", "--reward", "jpeg", "--out")
    cases = {
        ("sample", "a tiger", "--model", "emoji_lcm"): "there is no model emoji_lcm: give emoji-lcm, emoji, the folder",
        ("sample", "a tiger", "--seed", LARGE): f"--seed {LARGE} is too large",
        ("bench", "denoise", "--seed", LARGE): f"--seed {LARGE} is too large",
        (*train, tmp_path / "run", "--seed", LARGE): f"--seed {LARGE} is too large",
        (*train, tmp_path / "file"): "file is a file: give the name of a folder",
        (*train, tmp_path / "run", "--steps", 1): "with one step nothing rlcm decides reaches the picture",
        ("train", "denoise", "--resume", "--out", tmp_path / "run"): "there is no run in",
    }
    for arguments, says in cases.items():
        done = pixward(*arguments)
        assert done.code == 1, says
        assert says in done.line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "algorithm, lora, rate",
    [("rlcm", 0, 3e-5), ("ddpo", 0, 3e-5), ("direct", 0, 3e-5), ("rlcm", 4, RLCM.learning_rate),
     ("ddpo", 4, DDPO.learning_rate)],
)  # fmt: skip
def test_all_weights_of_a_small_model_are_moved_little(tmp_path, algorithm, lora, rate):
    job = DenoiseTraining(tmp_path, algorithm=algorithm, lora=lora, queries=64, seed=0)
    assert _settings(job, True).learning_rate == rate
    assert _settings(DenoiseTraining(tmp_path, rate=1e-6, algorithm=algorithm, lora=lora, queries=64, seed=0),
                     True).learning_rate == 1e-6  # fmt: skip


def test_a_few_sets_raise_the_reward_and_pictures_still_show_what_prompts_say(tmp_path, pixward):
    job = ("train", "denoise", "--reward", "jpeg", "--queries", 96, "--steps", 2, "--looks", 12, "--json")
    done = pixward(*job, "--out", tmp_path / "run")
    assert (done.code, done.err) == (0, "")
    last = json.loads(done.out.splitlines()[-1])
    assert last["reward_after"] > last["reward_before"] + 0.005
    assert last["accuracy_before"] == 1 and last["accuracy_after"] >= 0.9
    assert last["held_out"]["accuracy_after"] >= 0.9


def test_a_line_of_figures_begins_with_how_far_it_is():
    first = {"step": 0, "cpu_seconds": 0.0, "train/reward": -0.5, "train/blank": 0.0, "queries": 0}
    last = {"step": 1500, "loss": 1.0, "kl": 0.25, "queries": 48_000, "held-out/reward": 1 / 3, "train/reward": 0.5}
    assert _said(first) == "step 0  queries 0  train/reward -0.5"
    assert _said(last) == "step 1500  queries 48000  train/reward 0.5  held-out/reward 0.3333  kl 0.25"
