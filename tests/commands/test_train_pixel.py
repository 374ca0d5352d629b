"""``pixward train pixel``, as a user runs it, with tiny sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tests.commands.conftest import edited, picture

from pixward.commands import pixel_training
from pixward.commands.pixel_training import PixelTraining, begin_from, settings_of, train_pixel
from pixward.policies.pixel import PixelPolicy, PixelSettings, load_pixel_policy, save_pixel_policy
from pixward.policies.pixel_half import HalfDenoiser
from pixward.policies.weights import save_weights
from pixward.run import read_log

TINY = ("--batch", 2, "--side", 12)


@pytest.fixture
def photos(tmp_path):
    """Ten small photos: one of them is held out."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(10):
        Image.fromarray(picture(32, 24, seed)).save(folder / f"{seed}.png")
    return folder


def policy_file(place, **settings):
    torch.manual_seed(0)
    net = PixelPolicy(PixelSettings(**{"width": 8, "depth": 2, "design": "half", "horizon": 2, **settings}))
    save_pixel_policy(place, net.settings, net.state_dict())
    return place


@pytest.fixture
def start(tmp_path):
    """A tiny policy to begin with, for text and salt and pepper."""
    return policy_file(tmp_path / "start.safetensors")


@pytest.mark.parametrize("task", ["noise", "text", "salt-pepper"])
def test_trains_scores_and_says_so(tmp_path, pixward, photos, start, task):
    if task == "noise":
        start = policy_file(tmp_path / "told.safetensors", condition=1, noise=(10.0, 30.0))
    out = tmp_path / "run"
    done = pixward("train", "pixel", task, "--photos", photos, "--out", out, "--updates", 3, "--weights", start, *TINY)
    assert done.code == 0, done.err
    lines = read_log(out / "log.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {"return", "cpu_seconds", "psnr", "psnr_before"} <= set(lines[-1])
    assert len({line["psnr_before"] for line in lines}) == 1
    assert done.err.count("step ") == 3
    assert "s left" in done.err
    assert done.out.startswith("3 updates, ")
    assert f"{lines[-1]['psnr']:.2f} dB now" in done.out
    assert done.out.endswith(f"weights: {out / 'policy.safetensors'}\n")
    first, last = load_pixel_policy(start), load_pixel_policy(out / "policy.safetensors")
    assert last.settings.noise == first.settings.noise
    moved = [not torch.equal(a, b) for a, b in zip(first.parameters(), last.parameters(), strict=True)]
    assert any(moved)
    command = ("denoise", "--sigma", 20) if task == "noise" else ("restore",)
    np.save(tmp_path / "x.npy", np.full((8, 8), 0.5, np.float32))
    assert pixward(
        *("pixel", *command, tmp_path / "x.npy", "--weights", out / "policy.safetensors", "--out", tmp_path / "o")
    ).code == 0  # fmt: skip


def test_colour_learns_from_pairs(tmp_path, pixward, photos):
    labels = tmp_path / "labels"
    labels.mkdir()
    for seed in range(10):
        Image.fromarray(edited(picture(32, 24, seed), saturation=40.0)).save(labels / f"{seed}.png")
    start = policy_file(tmp_path / "start.safetensors", actions="colour")
    done = pixward(
        *("train", "pixel", "colour", "--inputs", photos, "--labels", labels, "--out", tmp_path / "run"),
        *("--updates", 2, "--weights", start, "--json", *TINY),
    )
    assert (done.code, done.err) == (0, "")
    *lines, last = map(json.loads, done.out.splitlines())
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[-1]["lab_before"] > 1
    assert last["curve"] == lines
    assert load_pixel_policy(last["weights"]).actions.name == "colour"


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path, pixward, photos, start):
    """The same log and weights, but for the processor seconds."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    arguments = ("--photos", photos, "--updates", 4, "--weights", start, "--seed", 5, *TINY)
    assert pixward("train", "pixel", "salt-pepper", *arguments, "--out", whole).code == 0

    def stop(line):
        if line["step"] == 2:
            raise KeyboardInterrupt

    job = PixelTraining("salt-pepper", stopped, (photos,), updates=4, start=str(start), seed=5, batch=2, side=12)
    with pytest.raises(KeyboardInterrupt):
        train_pixel(job, stop)
    assert len(read_log(stopped / "log.jsonl")) == 2
    again = ("train", "pixel", "salt-pepper", *arguments, "--out", stopped)
    assert "holds a run already: resume it" in pixward(*again).line
    assert pixward(*again, "--resume").code == 0
    logs = [
        [{key: value for key, value in line.items() if key != "cpu_seconds"} for line in read_log(run / "log.jsonl")]
        for run in (whole, stopped)
    ]
    assert logs[0] == logs[1]
    one, other = (load_pixel_policy(run / "policy.safetensors").state_dict() for run in (whole, stopped))
    assert all(torch.equal(one[name], other[name]) for name in one)
    # Nothing is left to do: the same once more.
    assert pixward(*again, "--resume").code == 0
    done = pixward("train", "pixel", "text", *arguments, "--out", stopped, "--resume")
    assert "holds a run of the task salt-pepper, not text" in done.line


def test_gradients_differ(tmp_path, pixward, photos, start):
    logs = []
    for gradient in ("all", "sampled"):
        out = tmp_path / gradient
        run = ("--photos", photos, "--out", out, "--updates", 2, "--weights", start, "--gradient", gradient, *TINY)
        assert pixward("train", "pixel", "text", *run).code == 0
        logs.append(load_pixel_policy(out / "policy.safetensors").state_dict())
    assert any(not torch.equal(logs[0][name], logs[1][name]) for name in logs[0])


def test_a_denoiser_lends_its_encoder(tmp_path):
    torch.manual_seed(1)
    denoiser = HalfDenoiser(1, width=8, depth=3)
    save_weights(tmp_path / "d.safetensors", denoiser.state_dict(), "denoiser", {"width": 8, "depth": 3}, torch.float32)
    job = PixelTraining("noise", tmp_path / "run", start=str(tmp_path / "d.safetensors"))
    settings = settings_of(job)
    assert (settings.width, settings.depth, settings.condition, settings.noise) == (8, 3, 1, (5.0, 60.0))
    policy = PixelPolicy(settings)
    begin_from(policy, job.start)
    own = policy.state_dict()
    shared = [name for name in denoiser.state_dict() if name.startswith("encoder.")]
    assert len(shared) >= 6  # a first layer and three more, weights and biases
    assert all(torch.equal(own[f"net.{name}"], denoiser.state_dict()[name]) for name in shared)


def test_photos_are_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_training, "LONGEST", 20)
    Image.fromarray(picture(60, 40)).save(tmp_path / "a.png")
    small = pixel_training._reduced(tmp_path / "a.png")
    assert (small.shape, small.dtype) == ((1, 13, 20), torch.uint8)
    expected = np.asarray(Image.fromarray(picture(60, 40)).convert("L")).mean()
    assert small.float().mean().item() == pytest.approx(expected, abs=1.5)


def test_bad_input(tmp_path, pixward, photos, start):
    (tmp_path / "empty").mkdir()
    colour = policy_file(tmp_path / "colour.safetensors", actions="colour")
    train = ("train", "pixel", "text", "--out", tmp_path / "run", *TINY)
    known = (*train, "--weights", start)
    cases = {
        known: "text learns from clean photos: give a folder with --photos DIR",
        (*known, "--photos", tmp_path / "empty"): "no pictures in",
        (*known, "--photos", photos, "--side", 64): "less than a crop of 64",
        (*known, "--photos", photos, "--device", "abacus"): "cannot use the device abacus",
        (*known, "--photos", photos, "--inputs", photos): "pairs need both folders",
        (*train, "--photos", photos, "--weights", tmp_path / "gone"): "there are no weights",
        (*train, "--photos", photos, "--weights", colour): "cannot start text: it is for colour",
    }
    for arguments, words in cases.items():
        done = pixward(*arguments)
        assert done.code == 1, words
        assert words in done.line
    pairs = ("train", "pixel", "colour", "--out", tmp_path / "run", "--weights", colour)
    assert "colour learns from pairs" in pixward(*pairs, "--photos", photos).line
    assert "no pictures in" in pixward(*pairs, "--inputs", photos, "--labels", tmp_path / "empty").line
    assert pixward("train", "pixel", "mud").code == 2
    assert not (tmp_path / "run" / "log.jsonl").exists()
