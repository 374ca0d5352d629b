"""``pixward sample``, ``train denoise`` and ``bench denoise``, as a user runs them, on models that learnt nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.denoise.tiny import tiny_parts, tiny_pipeline

from pixward.commands import denoise_training
from pixward.commands.denoise_training import DenoiseTraining, train_denoise
from pixward.denoise import builtin
from pixward.denoise.builtin import builtin_prompts
from pixward.denoise.painter import PainterSettings, load_pipeline, painter
from pixward.run import read_log

pytest.importorskip("diffusers")
pytest.importorskip("peft")

TINY = ("--steps", 2, "--looks", 2)
TOUCHES = '''
"""A reward that goes wrong when it is asked for the {fails}th time."""
import torch
asked = 0
def darkness(images, prompts, metadata):
    global asked
    asked += 1
    assert len(images) == len(prompts) == len(metadata)
    scores = -images.mean((1, 2, 3))
    return {wrong} if asked == {fails} else (scores, {{"asked": asked}})
def stop():
    raise KeyboardInterrupt
'''


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """``parts`` as they ship, and pipelines of them: ``lcm``, a consistency model, ``sd``, a diffusion model."""
    folder = tmp_path_factory.mktemp("models")
    parts = tiny_parts(folder / "parts")
    tiny_pipeline(parts, "emoji-lcm", folder / "lcm")
    tiny_pipeline(parts, "emoji", folder / "sd")
    return folder


@pytest.fixture
def shipped(models, monkeypatch):
    """The same as what comes with pixward."""
    monkeypatch.setattr(builtin, "builtin_folder", lambda: models / "parts")
    return models


@pytest.fixture
def own(tmp_path, monkeypatch):
    """``own(name, wrong)``: the module ``name`` in the current folder; its reward is ``wrong`` the sixth time."""

    def write(name, wrong="scores", fails=6):
        (tmp_path / f"{name}.py").write_text(TOUCHES.format(wrong=wrong, fails=fails))
        return f"{name}:darkness"

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return write


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def weights(folder):
    return load_pipeline(folder).unet.state_dict()


# --- sample -----------------------------------------------------------------------------------------------------------


def test_a_picture_on_the_first_day(tmp_path, pixward, shipped):
    out = tmp_path / "out"
    done = pixward("sample", "a tiger", "--out", out)
    assert (done.code, done.err) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == ["a-tiger-0.png", "a-tiger-0.sheet.png"]
    assert done.out.startswith(
        f"{out / 'a-tiger-0.png'}: 32 x 32\n{out / 'a-tiger-0.sheet.png'}: enlarged\nemoji-lcm, 8 st"
    )
    picture, sheet = pixels(out / "a-tiger-0.png"), pixels(out / "a-tiger-0.sheet.png")
    assert (sheet[8:264, 8:264] == picture.repeat(8, 0).repeat(8, 1)).all()
    made = painter(builtin.builtin_pipeline("emoji-lcm"), PainterSettings(guidance=4.0))
    drawn = made.draw(["a tiger"], [0])[0].permute(1, 2, 0) * 255
    assert np.abs(picture - drawn.numpy()).max() <= 0.51
    again = pixward("sample", "a tiger", "--out", out)
    assert again.code == 1 and "exists already" in again.line
    assert pixward("sample", "a tiger", "--out", out, "--seed", 1, "--force").code == 0


def test_several_prompts_seeds_and_a_file(tmp_path, pixward, models):
    out = tmp_path / "out"
    run = ("sample", "A fox, on sand!", "a fox on sand", "--model", models / "sd", "--steps", 2, "--count", 2)
    done = pixward(*run, "--seed", 3, "--guidance", 2, "--out", out, "--json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    names = ["a-fox-on-sand-3", "a-fox-on-sand-4", "a-fox-on-sand-again2-3", "a-fox-on-sand-again2-4"]
    assert [one["output"] for one in told["pictures"]] == [str(out / f"{name}.png") for name in names]
    assert [one["seed"] for one in told["pictures"]] == [3, 4, 3, 4]
    assert told["sheet"] == str(out / "a-fox-on-sand-3.sheet.png")
    assert (told["steps"], told["guidance"], told["width"], told["height"]) == (2, 2.0, 32, 32)
    assert told["network_calls"] == 4 * 2 * 2  # pictures, steps, with and without the prompt
    # A picture hangs on its own seed alone.
    alone = ("sample", "a fox on sand", "--model", models / "sd", "--steps", 2, "--guidance", 2, "--seed", 4)
    assert pixward(*alone, "--out", tmp_path / "one.png").code == 0
    assert np.abs(pixels(tmp_path / "one.png") - pixels(out / f"{names[3]}.png")).max() <= 1
    assert pixels(tmp_path / "one.png").shape == (32, 32, 3)
    done = pixward(*run, "--out", tmp_path / "sheet.png")
    assert done.code == 0 and done.out.startswith(f"{tmp_path / 'sheet.png'}: all of them")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "out", "sheet.png"]


def test_sampling_what_is_not_there(tmp_path, pixward, models):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "pytorch_lora_weights.safetensors").write_bytes(b"x")
    (tmp_path / "run" / "model").mkdir(parents=True)
    run = ("sample", "a tiger", "--out", tmp_path / "out", "--model")
    cases = {
        (*run, models / "lcm", "--out", tmp_path / "a.jpg"): "pictures are written as PNG",
        (*run, tmp_path / "gone"): "there is no folder",
        (*run, models / "parts"): "holds no pipeline",
        (*run, tmp_path / "lora"): "holds a LoRA, not a model: give it as --lora",
        (*run, models / "lcm", "--lora", tmp_path / "run"): "holds a whole model, not a LoRA: give it as --model",
        (*run, models / "lcm", "--lora", tmp_path / "lora"): "cannot read the LoRA",
        (*run, models / "lcm", "--lora", tmp_path / "gone"): "there is no LoRA",
        (*run, models / "lcm", "--device", "abacus"): "cannot use the device abacus",
        (*run, models / "lcm", "--steps", 999): "steps",
    }
    for arguments, says in cases.items():
        done = pixward(*arguments)
        assert done.code == 1, says
        assert says in done.line
    assert not (tmp_path / "out").exists()


# --- train denoise ----------------------------------------------------------------------------------------------------


def test_a_run_leaves_a_model_pictures_and_figures(tmp_path, pixward, shipped):
    run = tmp_path / "run"
    done = pixward("train", "denoise", "--reward", "jpeg", "--queries", 40, "--out", run, "--json", *TINY)
    assert (done.code, done.err) == (0, "")
    *curve, last = map(json.loads, done.out.splitlines())
    assert [line["step"] for line in curve] == [line["step"] for line in read_log(run / "log.jsonl")] == [0, 1, 2]
    assert (last["algorithm"], last["model"], last["lora"], last["queries"]) == ("rlcm", "emoji-lcm", 0, 64)
    assert last["network_calls"] == 64 * 2 * 2 and last["seconds"] > 0  # drawn and learnt from, in two steps
    for name in ("reward", "accuracy", "diversity", "kilobytes", "blank"):
        assert last[f"{name}_before"] == pytest.approx(curve[0][f"train/{name}"], abs=1e-6)
        assert last[f"{name}_after"] == pytest.approx(curve[2][f"train/{name}"], abs=1e-6)
        assert last["held_out"][f"{name}_after"] == pytest.approx(curve[2][f"held-out/{name}"], abs=1e-6)
    assert last["reward_before"] == pytest.approx(-last["kilobytes_before"], abs=1e-6)
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        f"{look}-0000{step}.png" for look in ("held-out", "train") for step in range(3)
    ]
    assert Image.open(run / "curve.png").size == (860, 420)
    before, after = (
        load.state_dict() for load in (builtin.builtin_pipeline("emoji-lcm").unet, load_pipeline(run / "model").unet)
    )
    assert any(not torch.equal(before[name], after[name]) for name in before)
    # The weights that were looked at last are those that are kept.
    made = painter(load_pipeline(run / "model"), PainterSettings(steps=2, guidance=4.0))
    prompt = builtin_prompts("train")[0]
    first = np.asarray(Image.open(run / "samples" / "train-00002.png"))[8:264, 8:264]
    drawn = made.draw([prompt], [1_000_000])[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(first[::8, ::8] - drawn).max() <= 0.51
    assert pixward("sample", "a tiger", "--model", run, "--steps", 2, "--out", tmp_path / "a.png").code == 0
    again = pixward("train", "denoise", "--reward", "jpeg", "--out", run)
    assert again.code == 1 and "holds a run already: resume it (--resume)" in again.line


def test_pictures_are_shown_in_tensorboard(tmp_path, pixward, models):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = tmp_path / "run"
    job = ("train", "denoise", "--model", models / "lcm", "--reward", "colour", "--queries", 32, "--out", run, *TINY)
    done = pixward(*job)
    assert done.code == 0, done.err
    assert "colour by rlcm: 32 pictures judged" in done.out and "held-out, after" in done.out
    assert done.out.splitlines()[-1] == f'draw with them: pixward sample "a tiger" --model {run} --steps 2'
    assert [line.split()[1] for line in done.err.splitlines()] == ["0", "1"]
    events = accumulator.EventAccumulator(str(run)).Reload()
    assert {"samples/train", "samples/held-out"} == set(events.Tags()["images"])
    assert [event.step for event in events.Images("samples/train")] == [0, 1]
    assert {"train/reward", "reward", "loss"} <= set(events.Tags()["scalars"])


def test_a_lora_of_a_diffusion_model(tmp_path, pixward, models):
    run, model = tmp_path / "run", models / "sd"
    job = ("train", "denoise", "--model", model, "--reward", "incompressible", "--lora", 2, "--kl", 0.1, "--rate", 1e-2)
    (tmp_path / "prompts.txt").write_text("a cat\n\n  a dog \na cat\n")
    done = pixward(*job, "--queries", 32, "--prompts", tmp_path / "prompts.txt", "--out", run, "--json", *TINY)
    assert (done.code, done.err) == (0, "")
    last = json.loads(done.out.splitlines()[-1])
    assert (last["algorithm"], last["lora"], last["held_out"]) == ("ddpo", 2, None)
    assert last["weights"] == str(run / "pytorch_lora_weights.safetensors")
    assert "kl" in read_log(run / "log.jsonl")[1]
    assert not (run / "model").exists()
    drawn = []
    for index, lora in enumerate([(), ("--lora", run), ("--lora", run / "pytorch_lora_weights.safetensors")]):
        out = tmp_path / f"{index}.png"
        assert pixward("sample", "a cat", "--model", model, "--steps", 2, *lora, "--out", out).code == 0
        drawn.append(pixels(out))
    assert (drawn[0] != drawn[1]).any() and (drawn[1] == drawn[2]).all()


def test_the_gradient_of_a_reward_raises_it(tmp_path, pixward, shipped):
    run = tmp_path / "run"
    (tmp_path / "prompts.txt").write_text("a cat\n")
    job = ("train", "denoise", "--reward", "align", "--algorithm", "direct", "--rate", 1e-3, "--queries", 96)
    done = pixward(*job, "--prompts", tmp_path / "prompts.txt", "--out", run, "--json", *TINY)
    assert (done.code, done.err) == (0, "")
    last = json.loads(done.out.splitlines()[-1])
    assert last["reward_after"] > last["reward_before"] + 0.01


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path, pixward, models):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    first = ("train", "denoise", "--model", models / "lcm", "--reward", "jpeg", "--queries", 64, "--seed", 5, *TINY)
    assert pixward(*first, "--out", whole).code == 0

    def stop(seen):
        if seen.step == 1 and seen.line is not None:
            raise KeyboardInterrupt

    job = DenoiseTraining(stopped, str(models / "lcm"), "jpeg", queries=64, seed=5, steps=2, looks=2)
    with pytest.raises(KeyboardInterrupt):
        train_denoise(job, stop)
    assert [line["step"] for line in read_log(stopped / "log.jsonl")] == [0, 1]
    resume = ("train", "denoise", "--out", stopped, "--resume")
    other = pixward(*resume, "--reward", "colour")
    assert other.code == 1 and "holds a run with reward jpeg, not colour" in other.line
    done = pixward(*resume, "--json")
    assert (done.code, done.err) == (0, "")
    times = ("seconds", "cpu_seconds")
    one, two = ([{k: v for k, v in line.items() if k not in times} for line in read_log(run / "log.jsonl")]
                for run in (whole, stopped))  # fmt: skip
    assert one == two
    left, right = weights(whole / "model"), weights(stopped / "model")
    assert all(torch.equal(left[name], right[name]) for name in left)
    # With nothing left to do, the figures are told once more.
    assert json.loads(pixward(*resume, "--json").out) == json.loads(done.out.splitlines()[-1])


@pytest.mark.parametrize(
    "name, wrong, says",
    [
        ("own_nan", "scores * float('nan')", "the reward own_nan:darkness is nan for picture 0, prompt 'a"),
        (
            "own_few",
            "scores[:3]",
            "the reward own_few:darkness must return (32,), one number for each picture, got (3,)",
        ),
        ("own_raises", "1 / 0", "the reward own_raises:darkness failed: ZeroDivisionError: division by zero"),
    ],
)
def test_a_reward_that_goes_wrong_is_named_and_costs_no_checkpoint(tmp_path, pixward, models, own, name, wrong, says):
    reward, run = own(name, wrong), tmp_path / "run"
    done = pixward("train", "denoise", "--model", models / "lcm", "--reward", reward, "--queries", 96,
                   "--out", run, "--json", *TINY)  # fmt: skip
    assert done.code == 1
    assert done.err.startswith(f"pixward: {says}") and done.err.count("\n") == 1
    # Two looks, a set, two looks; the second set fails.
    assert [json.loads(line)["step"] for line in done.out.splitlines()] == [0, 1]
    assert torch.load(run / "checkpoint.pt", weights_only=True)["state"]["step"] == 1
    assert load_pipeline(run / "model")
    # It has been asked six times by now and does well from here on.
    done = pixward("train", "denoise", "--out", run, "--resume", "--json")
    assert (done.code, done.err) == (0, "")
    assert [line["step"] for line in read_log(run / "log.jsonl")] == [0, 1, 2, 3]
    assert read_log(run / "log.jsonl")[-1]["reward/asked"] == 10


def test_of_several_processes_the_first_alone_writes(tmp_path, models, monkeypatch):
    """The second: it learns with the first and is told what came of it."""

    class Second:
        first, device = False, torch.device("cpu")

        def mine(self, accumulate):
            assert accumulate == 1

        def share(self, value):
            return ("what the first said", value)

    runs = []

    def tune(drawn, tuning, run, workers):
        runs.append(run)
        yield {"step": 0, "queries": 0}
        yield {"step": 1, "queries": 32}

    monkeypatch.setattr(denoise_training, "workers_on", lambda device: Second())
    monkeypatch.setattr(denoise_training, "tune", tune)
    job = DenoiseTraining(tmp_path / "run", str(models / "lcm"), "jpeg", queries=32, steps=2, looks=2)
    assert train_denoise(job, pytest.fail) == ("what the first said", None)
    assert runs == [None] and not (tmp_path / "run").exists()


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path, pixward, models, own):
    reward, run = own("own_stop", "stop()"), tmp_path / "run"
    done = pixward("train", "denoise", "--model", models / "lcm", "--reward", reward, "--queries", 96,
                   "--out", run, "--json", *TINY)  # fmt: skip
    assert done.code == 130
    assert done.err.splitlines() == [
        f"the newest checkpoint is kept; go on with: pixward train denoise --out {run} --resume",
        "pixward: stopped",
    ]
    assert torch.load(run / "checkpoint.pt", weights_only=True)["state"]["step"] == 1


def test_what_does_not_go_together(tmp_path, pixward, shipped, own):
    (tmp_path / "none.txt").write_text("\n \n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "cars.txt").write_text("a red car\n")
    flat = own("own_flat")
    run = ("train", "denoise", "--out", tmp_path / "run", "--queries", 32, *TINY)
    cases = {
        run: "say what to tune for: --reward jpeg",
        (*run, "--reward", "gone"): "unknown reward 'gone': known are jpeg, incompressible",
        (*run, "--reward", "nowhere:gone"): "cannot import the reward nowhere:gone",
        (*run, "--reward", "jpeg", "--model", "emoji", "--algorithm", "rlcm"): "rlcm tunes consistency models",
        (*run, "--reward", "jpeg", "--model", "emoji-lcm", "--algorithm", "ddpo"): "ddpo tunes diffusion models",
        (*run, "--reward", "jpeg", "--algorithm", "direct"): "the reward jpeg has no gradient",
        (*run, "--reward", "aesthetic"): "needs the head of LAION's improved-aesthetic-predictor",
        (*run, "--reward", "aesthetic", "--scorer", tmp_path / "gone.pth", "--clip", tmp_path): "cannot load CLIP from",
        (*run, "--reward", "align", "--prompts", tmp_path / "cars.txt"): "knows no animal in the prompt 'a red car'",
        (*run, "--reward", "align", "--scorer", tmp_path / "gone"): "--scorer",
        (*run, "--reward", "jpeg", "--prompts", tmp_path / "none.txt"): "none.txt holds no prompt",
        (*run, "--reward", "jpeg", "--prompts", tmp_path / "bytes.txt"): "bytes.txt is no text in UTF-8",
        (*run, "--reward", "jpeg", "--prompts", tmp_path / "gone.txt"): "gone.txt: no such file",
        (*run, "--reward", "jpeg", "--device", "abacus"): "cannot use the device abacus",
    }
    for arguments, says in cases.items():
        done = pixward(*arguments)
        assert done.code == 1, says
        assert says in done.line
    assert not (tmp_path / "run").exists()
    assert pixward(*run, "--reward", flat, "--algorithm", "guess").code == 2


def test_without_diffusers_the_extra_is_named(tmp_path, pixward, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    for command in (("sample", "a tiger"), ("train", "denoise", "--reward", "jpeg"), ("bench", "denoise")):
        done = pixward(*command, *(() if command[0] == "bench" else ("--out", tmp_path / "out")))
        assert done.code == 1 and "pip install 'pixward[denoise]'" in done.line


# --- bench denoise ----------------------------------------------------------------------------------------------------


def test_models_beside_pictures_of_nothing(tmp_path, pixward, shipped):
    (tmp_path / "prompts.txt").write_text("a cat\na dog on grass\na tiger\n")
    kept = tmp_path / "kept.json"
    run = ("bench", "denoise", "--prompts", tmp_path / "prompts.txt", "--reward", "jpeg", "--steps", "1,2")
    done = pixward(*run, "--model", "emoji-lcm", "--model", shipped / "lcm", "--best-of", 3, "--out", kept, "--json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert told == json.loads(kept.read_text())
    assert (told["reward"], told["pictures"], told["prompts"]) == ("jpeg", 6, ["a cat", "a dog on grass", "a tiger"])
    rows = {(row["name"], row["steps"]): row for row in told["rows"]}
    best = "emoji-lcm, best of 3"
    names = [("emoji-lcm", 1), ("emoji-lcm", 2), (str(shipped / "lcm"), 1), (str(shipped / "lcm"), 2), (best, 2)]
    assert list(rows) == [("blank", None), ("noise", None), *names]
    blank, noise = rows["blank", None], rows["noise", None]
    assert (blank["reward"], blank["blank"], blank["diversity"], blank["seconds"]) == (0, 1, 0, None)
    # Two independent pictures of uniform noise lie sqrt(1/6) apart.
    assert noise["diversity"] == pytest.approx((1 / 6) ** 0.5, abs=0.01) and noise["reward"] < -1
    assert [rows[name]["network_calls"] for name in names] == [1, 2, 1, 2, 6]
    # Both are the same model at the same seeds.
    one, other = (
        {k: v for k, v in rows[name].items() if k not in ("name", "seconds")} for name in (names[1], names[3])
    )
    assert one == other and one["accuracy"] is not None
    assert rows[best, 2]["reward"] > rows["emoji-lcm", 2]["reward"]
    table = pixward(*run)
    assert table.code == 0 and table.out.startswith("jpeg, 6 pictures of 3 prompts\n")
    assert [line.split()[0] for line in table.out.splitlines()[2:4]] == ["blank", "noise"]
    wrong = pixward(*run, "--steps", "1,many")
    assert wrong.code == 1 and "--steps 1,many: give whole numbers from 1" in wrong.line
