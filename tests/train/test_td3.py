from __future__ import annotations

import copy
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pixward.editors.chain import PAPER
from pixward.envs.edit import EditEnv
from pixward.errors import PixwardError
from pixward.run import Run, read_log
from pixward.train.td3 import TD3Settings, _Learner, train

SMALL = TD3Settings(
    steps=20, batch=4, replay=30, start_steps=4, random_steps=2, image_keys=("picture",), checkpoint_every=10
)


class Reach:
    """Four steps to move a point to a goal; the reward is the squared distance gained. Optimum: action = goal."""

    horizon = 4

    def reset(self, batch):
        count = batch["goal"].shape[0]
        zeros = torch.zeros(count, 2)
        return {"goal": batch["goal"], "x": zeros, "step": zeros[:, 0], "picture": batch["picture"]}

    def step(self, state, action):
        gain = ((state["x"] - state["goal"]) ** 2).sum(1) - ((action - state["goal"]) ** 2).sum(1)
        return {**state, "x": action, "step": state["step"] + 1}, gain

    def image(self, state):
        return state["picture"]


def batches(index, count=3):
    generator = torch.Generator().manual_seed(index)
    goal = 1.6 * torch.rand(count, 2, generator=generator) - 0.8
    return {"goal": goal, "picture": torch.randint(256, (count, 1, 2, 2), generator=generator) / 255}


class Actor(nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(9, hidden), nn.ReLU(), nn.Linear(hidden, 2), nn.Tanh())

    def forward(self, state):
        parts = [state["goal"], state["x"], state["step"][:, None] / 4, state["picture"].flatten(1)]
        return self.net(torch.cat(parts, 1))


class Critic(nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(7, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, state, action):
        return self.net(torch.cat([state["goal"], state["x"], state["step"][:, None] / 4, action], 1))[:, 0]


def networks(hidden=8):
    torch.manual_seed(0)
    return Actor(hidden), (Critic(hidden), Critic(hidden))


def weights(*modules):
    return torch.cat([weight.detach().flatten() for module in modules for weight in module.parameters()])


def play(folder, settings=SMALL, resume=False, evaluate=None):
    actor, critics = networks()
    with Run(folder, resume=resume, tensorboard=False) as run:
        train(Reach(), actor, critics, batches, settings, run, evaluate)
    rows = [{key: row[key] for key in row if key != "seconds"} for row in read_log(Path(folder) / "log.jsonl")]
    return rows, weights(actor, *critics)


# Made by this file on a CPU with torch 2.13: return, critic loss, actor loss after each of five episodes.
GOLDEN = [
    (-0.17082159, 0.0, 0.0),
    (-0.18464792, 0.18206829, -0.25891334),
    (0.03173758, 0.08990245, -0.23676041),
    (-0.43342649, 0.02790804, -0.20212467),
    (-0.47164899, 0.08188531, -0.27332908),
]


def test_golden_trace(tmp_path):
    rows, _ = play(tmp_path)
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20]
    trace = [(row["return"], row.get("critic_loss", 0.0), row.get("actor_loss", 0.0)) for row in rows]
    np.testing.assert_allclose(trace, GOLDEN, rtol=1e-4, atol=1e-5)


# Ten steps end in the middle of an episode.
@pytest.mark.parametrize("anchor", [0.0, 0.4])
def test_resumed_equals_straight(tmp_path, anchor):
    settings = replace(SMALL, lambda_anchor=anchor)
    straight = play(tmp_path / "straight", settings)
    play(tmp_path / "halves", replace(settings, steps=10))
    torch.manual_seed(12345)
    resumed = play(tmp_path / "halves", settings, resume=True)
    assert resumed[0] == straight[0]
    assert torch.equal(resumed[1], straight[1])


def test_killed_after_a_checkpoint_equals_straight(tmp_path):
    straight = play(tmp_path / "straight")

    def stop(actor):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(tmp_path / "killed", replace(SMALL, eval_every=17), evaluate=stop)
    resumed = play(tmp_path / "killed", resume=True)
    assert resumed[0] == straight[0]
    assert torch.equal(resumed[1], straight[1])


def test_resume_refuses_other_settings(tmp_path):
    play(tmp_path)
    with pytest.raises(PixwardError, match=r"gamma=0\.9, not 0\.5"):
        play(tmp_path, replace(SMALL, steps=30, gamma=0.5), resume=True)


def test_seeds_matter(tmp_path):
    assert not torch.equal(play(tmp_path / "a")[1], play(tmp_path / "b", replace(SMALL, seed=1))[1])


def test_actor_waits_for_the_critics(tmp_path):
    start = weights(networks()[0])
    for warmup, moved in ((16, False), (4, True)):
        actor, critics = networks()
        with Run(tmp_path / str(warmup), tensorboard=False) as run:
            train(Reach(), actor, critics, batches, replace(SMALL, critic_warmup=warmup), run)
        assert (not torch.equal(weights(actor), start)) == moved
        assert not torch.equal(weights(*critics), weights(*networks()[1]))


def test_evaluate_is_logged(tmp_path):
    rows, _ = play(tmp_path, replace(SMALL, eval_every=10), evaluate=lambda actor: {"score": 1.5})
    assert [row["step"] for row in rows if "score" in row] == [10, 20]


def test_divergence_is_told(tmp_path):
    with pytest.raises(PixwardError, match="diverged at step"):
        play(tmp_path, replace(SMALL, reward_scale=1e38))


@torch.no_grad()
def distance(actor):
    state = Reach().reset(batches(999, 200))
    for _ in range(4):
        state, _ = Reach().step(state, actor(state))
    return float((state["x"] - state["goal"]).norm(dim=1).mean())


LEARN = TD3Settings(
    steps=500, lr_actor=3e-3, lr_critic=3e-3, start_steps=20, random_steps=20, gamma=0.5, log_every=100,
    checkpoint_every=10**6, image_keys=("picture",),
)  # fmt: skip


def test_learns_to_reach(tmp_path):
    actor, critics = networks(32)
    before = distance(actor)
    with Run(tmp_path, tensorboard=False) as run:
        train(Reach(), actor, critics, lambda i: batches(i, 16), LEARN, run)
    assert before > 0.5
    assert distance(actor) < 0.2


def test_anchor_holds_the_actor(tmp_path):
    moves = []
    for anchor in (0.4, 40.0):
        actor, critics = networks(32)
        state = Reach().reset(batches(999, 200))
        start = actor(state).detach()
        settings = replace(LEARN, steps=150, lambda_anchor=anchor)
        with Run(tmp_path / str(anchor), tensorboard=False) as run:
            train(Reach(), actor, critics, lambda i: batches(i, 16), settings, run)
        moves.append(float((actor(state).detach() - start).abs().mean()))
    assert moves[1] < 0.3 * moves[0]


class Constant(nn.Module):
    """A critic of one number, so that its fixed point can be worked out by hand."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))

    def forward(self, state, action):
        return self.value + 0 * action.sum(1)


class One:
    """Reward 1 at every one of the two steps."""

    horizon = 2

    def reset(self, batch):
        return {"x": batch["x"]}

    def step(self, state, action):
        return {"x": state["x"] + 0}, torch.ones_like(state["x"])

    def image(self, state):
        return state["x"]


class Still(nn.Module):
    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))

    def forward(self, state):
        return self.value.expand(state["x"].shape[0], 1)


@pytest.mark.parametrize(
    ("at_horizon", "expected"),
    [
        # Half of the transitions end: Q = 1 + gamma Q / 2, so 1 / (1 - .25) = 4/3 with gamma .5.
        ("stop", 4 / 3),
        # None ends: Q = 1 + gamma Q = 2.
        ("bootstrap", 2.0),
    ],
)
def test_the_value_stops_at_the_horizon_or_goes_through(tmp_path, at_horizon, expected):
    settings = TD3Settings(
        steps=600, lr_critic=2e-2, tau=0.2, gamma=0.5, start_steps=20, at_horizon=at_horizon, batch=256, log_every=1000
    )
    critics = (Constant(), Constant())
    with Run(tmp_path, tensorboard=False) as run:
        train(One(), Still(), critics, lambda i: {"x": torch.zeros(2)}, settings, run)
    assert critics[0].value.item() == pytest.approx(expected, abs=0.05)


def test_the_benchmarks_pendulum_is_gymnasiums():
    gymnasium = pytest.importorskip("gymnasium")
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "td3_pendulum.py"
    spec = importlib.util.spec_from_file_location("td3_pendulum", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    theirs, ours = gymnasium.make("Pendulum-v1").unwrapped, module.Pendulum()
    rng = np.random.default_rng(0)
    theirs.reset(seed=0)
    for _ in range(5):
        theirs.state = rng.uniform(-1, 1, 2) * [np.pi, 8]
        state = {key: torch.tensor([value]) for key, value in zip(("theta", "omega"), theirs.state, strict=True)}
        for action in rng.uniform(-1, 1, 20):
            observation, reward, *_ = theirs.step(np.array([2 * action]))
            state, gained = ours.step(state, torch.tensor([[action]]))
            assert float(gained) == pytest.approx(float(reward), abs=1e-9)
            np.testing.assert_allclose(module.observe(state)[0].numpy(), observation, atol=1e-5)


class Mirror(nn.Module):
    """A network of stable-baselines3's behind our calls, on the observation ``state["x"]``."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, state, action=None):
        return self.network(state["x"]) if action is None else self.network(torch.cat([state["x"], action], 1))[:, 0]


def test_updates_are_stable_baselines3s(tmp_path):
    """The same weights and the same transitions give the same weights after six updates; the noise is off."""
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.type_aliases import ReplayBufferSamples

    model = sb3.TD3(
        "MlpPolicy", "Pendulum-v1", learning_rate=1e-3, target_policy_noise=0.0, tau=0.01, gamma=0.9, seed=0,
        policy_kwargs={"net_arch": [16]}, device="cpu",
    )  # fmt: skip
    model.set_logger(Logger(None, []))
    generator = torch.Generator().manual_seed(0)
    samples = [
        {
            "state.x": torch.randn(32, 3, generator=generator),
            "next.x": torch.randn(32, 3, generator=generator),
            "action": 2 * torch.rand(32, 1, generator=generator) - 1,
            "reward": torch.randn(32, generator=generator),
            "continues": (torch.rand(32, generator=generator) > 0.3).float(),
        }
        for _ in range(6)
    ]
    critics = tuple(Mirror(copy.deepcopy(net)) for net in model.critic.q_networks)
    settings = TD3Settings(lr_actor=1e-3, lr_critic=1e-3, tau=0.01, gamma=0.9, target_sigma=0.0)
    learner = _Learner(Mirror(copy.deepcopy(model.actor.mu)), critics, settings)
    start = weights(learner.actor)
    for sample in samples:
        learner.update(sample, generator)

    queue = [
        ReplayBufferSamples(s["state.x"], s["action"], s["next.x"], 1 - s["continues"][:, None], s["reward"][:, None])
        for s in samples
    ]
    model.replay_buffer.sample = lambda *_, **__: queue.pop(0)
    model.train(gradient_steps=6, batch_size=32)
    for ours, theirs in (
        (learner.actor, model.actor),
        (learner.critics, model.critic),
        (learner.actor_target, model.actor_target),
        (learner.critics_target, model.critic_target),
    ):
        torch.testing.assert_close(weights(ours), weights(theirs), atol=2e-6, rtol=1e-5)
    assert (weights(learner.actor) - start).abs().max() > 1e-3


class Pooled(nn.Module):
    """The smallest network that sees an edit: mean colours and sliders."""

    def __init__(self, extra, outputs):
        super().__init__()
        self.net = nn.Linear(6 + 9 + extra, outputs)

    def forward(self, state, action=None):
        parts = [state["image"].mean((2, 3)), state["goal"].mean((2, 3)), state["params"]]
        return (
            self.net(torch.cat(parts, 1)).tanh() if action is None else self.net(torch.cat([*parts, action], 1))[:, 0]
        )


def test_edits_are_kept_as_bytes_and_once(tmp_path):
    env = EditEnv(PAPER, horizon=3)
    settings = TD3Settings(steps=7, start_steps=2, batch=4, replay=10, checkpoint_every=7)
    pictures = torch.rand(2, 2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    with Run(tmp_path, tensorboard=False) as run:
        actor, critics = Pooled(0, 9), (Pooled(9, 1), Pooled(9, 1))
        train(env, actor, critics, lambda i: {"source": pictures[0], "goal": pictures[1]}, settings, run)
        store = run.load()["replay"]["store"]
    kept = {key for key, value in store.items() if value.dtype == torch.uint8}
    assert kept == {"state.source", "state.goal", "state.image", "next.image"}
    assert "next.source" not in store
    assert store["state.image"].shape == (10, 3, 6, 6)
    # Seven steps of two tasks in a ring of ten: steps 5 and 6 lie over 0 and 1; every third step is an episode's last.
    assert store["state.step"].tolist() == [2, 2, 0, 0, 2, 2, 0, 0, 1, 1]
    assert (store["continues"] == (store["next.step"] < 3)).all()
