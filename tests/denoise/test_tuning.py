"""One tuning for all: the look before it, figures of every look, and how it goes on after a stop."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

from tests.denoise.tiny import tiny_parts

from pixward.denoise.builtin import builtin_pipeline
from pixward.denoise.evaluate import Looks
from pixward.denoise.painter import painter
from pixward.denoise.settings import small_settings
from pixward.denoise.tuning import Tuning, prompt_batches, tune
from pixward.policies.pipelines import PainterSettings
from pixward.run import Run, read_log
from pixward.train.workers import Workers

PROMPTS = ("a tiger", "a fox", "a cat")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return tiny_parts(tmp_path_factory.mktemp("parts"))


def light(images, prompts, metadata):
    return images.mean((1, 2, 3))


def tuning(steps, **more):
    settings = small_settings("rlcm", 8 * steps)
    settings = replace(settings, steps=steps, batch=4, minibatch=4, least=2, checkpoint_every=1)
    return Tuning(PROMPTS, light, settings, {"train": Looks(PROMPTS[:2], 2), "held-out": Looks(PROMPTS[2:], 2)}, **more)


def test_prompts_are_drawn_by_the_number_of_the_batch(parts):
    batches = prompt_batches(drawn := painter(builtin_pipeline("emoji-lcm", parts)), PROMPTS, seed=3)
    assert batches(5, 8)["prompts"] == batches(5, 8)["prompts"]
    assert len({tuple(batches(index, 8)["prompts"]) for index in range(5)}) > 1
    torch.testing.assert_close(batches(0, 2)["prompt"], drawn.read(batches(0, 2)["prompts"])["prompt"])


def test_goes_on_where_it_stopped_with_the_same_lines(parts, tmp_path):
    def lines_of(folder, stops):
        for stop in stops:
            drawn = painter(builtin_pipeline("emoji-lcm", parts), PainterSettings(steps=2))
            lines = tune(drawn, tuning(3), Run(folder, resume=True), Workers())
            for line in lines:
                if line["step"] == stop:
                    break
        timed = ("seconds", "cpu_seconds")
        return [{name: line[name] for name in line if name not in timed} for line in read_log(folder / "log.jsonl")]

    whole, parted = lines_of(tmp_path / "whole", [3]), lines_of(tmp_path / "parted", [2, 3])
    assert [line["step"] for line in whole] == [0, 1, 2, 3]
    assert whole[0]["train/reward"] != whole[3]["train/reward"]
    assert parted == whole


def test_shows_each_look(parts):
    seen = []
    drawn = painter(builtin_pipeline("emoji-lcm", parts), PainterSettings(steps=1))
    shown = lambda name, pictures, step: seen.append((name, tuple(pictures.shape), step))  # noqa: E731
    lines = list(tune(drawn, tuning(1, shown=shown), None, Workers()))
    assert seen == [
        (name, (count, 3, 32, 32), step) for step in (0, 1) for name, count in (("train", 4), ("held-out", 2))
    ]
    assert lines[0]["queries"] == 0 and lines[1]["queries"] == 4 and lines[1]["cpu_seconds"] > 0
    assert "accuracy" not in " ".join(lines[0])
