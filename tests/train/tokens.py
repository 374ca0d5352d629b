"""A task small enough for tests: name the brightest quarter of a picture. Also run by itself, under a launcher."""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.run import Run
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.task import RewardTask
from pixward.train.workers import Workers

SHAPE = SequenceSettings(
    vocabulary=6, length=3, image=8, patch=4, width=16, heads=2, encoder_layers=1, decoder_layers=1
)


def policy(seed=0):
    torch.manual_seed(seed)
    return SequencePolicy(SHAPE)


def batches(index, count=4):
    """Noise with one bright quarter, 1 to 4; the sentence is its number, twice, and the end."""
    generator = torch.Generator().manual_seed(index)
    quarter = torch.randint(4, (count,), generator=generator)
    images = 0.5 * torch.rand(count, 3, 8, 8, generator=generator)
    for image, at in zip(images, quarter.tolist(), strict=True):
        image[:, at // 2 * 4 : at // 2 * 4 + 4, at % 2 * 4 : at % 2 * 4 + 4] += 0.5
    word = quarter + 1
    return {"images": images, "word": word, "tokens": torch.stack([word, word, torch.zeros_like(word)], 1)}


def right(tokens, batch):
    """Share of the first two places that name the quarter."""
    return (tokens[..., :2] == batch["word"][:, None, None]).float().mean(2)


def short(tokens, batch):
    return (tokens[..., 2] == 0).float()


TASK = RewardTask(batches, [right, short], [1.0, 0.1])


def learn(kind, folder, settings, resume=False, precision="no"):
    workers, made = Workers(precision), policy()
    run = Run(folder, resume=resume, tensorboard=False) if workers.first else None
    if kind == "likelihood":
        lines = list(likelihood(made, batches, settings, run, workers))
    else:
        lines = list(reinforce(made, TASK, settings, run, workers))
    if run is not None:
        run.close()
    return made, lines


SETTINGS = {
    "likelihood": LikelihoodSettings(
        steps=20, accumulate=2, learning_rate=3e-3, warmup=5, log_every=1, checkpoint_every=10
    ),
    "reinforce": ReinforceSettings(
        steps=20, accumulate=2, learning_rate=3e-3, warmup=5, log_every=1, checkpoint_every=10
    ),
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for each, folder in (("likelihood", sys.argv[1]), ("reinforce", sys.argv[2])):
        learn(each, folder, replace(SETTINGS[each], steps=10))
    if Workers().first:
        print(Workers().count, "processes")
