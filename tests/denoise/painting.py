"""A tiny pipeline's LoRA, tuned towards light pictures. Also run by itself, under a launcher."""

from __future__ import annotations

import sys
from dataclasses import replace

import torch
from tests.policies.pipes import PROMPTS, pipeline

from pixward.denoise.evaluate import Looks
from pixward.denoise.painter import painter
from pixward.denoise.settings import small_settings
from pixward.denoise.tuning import Tuning, tune
from pixward.policies.hub import Lora
from pixward.policies.pipelines import PainterSettings
from pixward.run import Run
from pixward.train.workers import Workers

SETTINGS = replace(
    small_settings("ddpo", 16),
    steps=2,
    batch=2,
    accumulate=4,
    parts=2,
    passes=2,
    minibatch=3,
    least=3,
    clip=2e-3,
    kl=0.01,
    learning_rate=1e-2,
    average=0.5,
    log_every=1,
    checkpoint_every=1,
)


def light(images, prompts, metadata):
    return images.mean((1, 2, 3))


def learn(folder, stop=None):
    """The pipeline with a LoRA of its own for each process, of which the first one's counts; up to line ``stop``."""
    workers = Workers()
    pipe = pipeline("sd")
    torch.manual_seed(workers.index)
    made = painter(pipe, PainterSettings(steps=2, last="drop", lora=Lora(2, 2.0)))
    run = Run(folder, resume=True, tensorboard=False) if workers.first else None
    for line in tune(made, Tuning(tuple(PROMPTS), light, SETTINGS, {"train": Looks(tuple(PROMPTS), 1)}), run, workers):
        if line["step"] == stop:
            break
    if run is not None:
        run.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    learn(sys.argv[1], 1)
    learn(sys.argv[1])
    if Workers().first:
        print(Workers().count, "processes")
