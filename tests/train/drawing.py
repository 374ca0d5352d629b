"""A task small enough for tests: draw light or dark, as the prompt says. Also run by itself, under a launcher."""

from __future__ import annotations

import sys

import torch
from torch import nn

from pixward.envs.denoise import DenoiseEnv
from pixward.ops.sampler import ddim_sampler, lcm_sampler
from pixward.policies.denoiser import DenoiserPolicy
from pixward.run import Run
from pixward.train.direct import DirectSettings, direct
from pixward.train.pictures import PictureTask
from pixward.train.ppo import PPOSettings, ppo
from pixward.train.workers import Workers

LATENT = (3, 4, 4)
WORDS = ["light", "dark"]


class Net(nn.Module):
    """Says what the picture is: half of what it is shown, and a colour for the prompt."""

    def __init__(self):
        super().__init__()
        self.layer, self.words = nn.Conv2d(3, 3, 1), nn.Linear(2, 3)
        with torch.no_grad():
            self.layer.weight.copy_(0.5 * torch.eye(3)[..., None, None])
            for weight in (self.layer.bias, self.words.weight, self.words.bias):
                weight.zero_()

    def forward(self, latents, times, encoder_hidden_states=None):
        return self.layer(latents) + self.words(encoder_hidden_states[:, 0])[..., None, None]


SAMPLERS = {
    "keep": lcm_sampler(3, form="sample"),
    "drop": lcm_sampler(3, "drop", form="sample"),
    "head": lcm_sampler(2, "head", form="sample"),
    "ddim": ddim_sampler(3, form="sample"),
}


def make(kind="keep"):
    sampler = SAMPLERS[kind]
    return DenoiseEnv(sampler, LATENT, lambda latents: latents / 2 + 0.5), DenoiserPolicy(Net(), sampler)


def batches(index, count):
    """Half of the prompts ask for light, half for dark, beginning with the one or the other."""
    which = (torch.arange(count) + index) % 2
    return {"prompts": [WORDS[at] for at in which.tolist()], "prompt": torch.eye(2)[which][:, None]}


def asked(images, prompts, metadata):
    """How light the light ones are, how dark the dark ones."""
    light = images.mean((1, 2, 3))
    return torch.stack(
        [value if prompt == "light" else 1 - value for value, prompt in zip(light, prompts, strict=True)]
    )


TASK = PictureTask(batches, asked)

# A bit of everything: several updates, clipping, a divergence, statistics that a checkpoint must keep.
SETTINGS = PPOSettings(
    steps=20,
    batch=4,
    accumulate=4,
    parts=2,
    passes=2,
    clip=2e-3,
    kl=0.01,
    least=6,
    minibatch=5,
    learning_rate=1e-2,
    floor=0.5,
    average=0.5,
    log_every=1,
    checkpoint_every=10,
)


def learn(folder, settings, kind="keep", task=TASK, resume=False):
    workers = Workers()
    env, policy = make(kind)
    run = Run(folder, resume=resume, tensorboard=False) if workers.first else None
    lines = list(ppo(env, policy, task, settings, run, workers))
    if run is not None:
        run.close()
    return policy, lines


# The same for the direct gradient: part of the way, a divergence, a mean of weights.
DIRECT = DirectSettings(
    steps=4,
    batch=4,
    accumulate=4,
    depth=2,
    random=True,
    kl=0.01,
    learning_rate=1e-2,
    floor=0.5,
    average=0.5,
    checkpoint_every=2,
)


def learn_directly(folder, settings=DIRECT, resume=False):
    workers = Workers()
    env, policy = make()
    run = Run(folder, resume=resume, tensorboard=False) if workers.first else None
    lines = list(direct(env, policy, TASK, settings, run, workers))
    if run is not None:
        run.close()
    return policy, lines


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[2:] == ["direct"]:
        learn_directly(sys.argv[1])
    else:
        learn(sys.argv[1], SETTINGS)
    if Workers().first:
        print(Workers().count, "processes")
