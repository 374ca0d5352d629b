from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.data.colours import ColourTokens, lab_to_srgb, to_grey
from pixward.data.synth import Scenes
from pixward.metrics.frechet import frechet_distance
from pixward.metrics.image import psnr, srgb_to_lab
from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.predict.colour import (
    ColourTask,
    cell_colours,
    chroma_error,
    hue_histogram,
    vivid_share,
)
from pixward.predict.weights import load_policy, load_task, save_policy
from pixward.rewards.image import HUES, colourfulness
from pixward.run import Run
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.workers import Workers
from pixward.types import Samples

SCENES = Scenes(seed=3)
TASK = ColourTask.of(SCENES, 40, colours=16, cells=4)
KIND = TASK.kind
RAINBOW = ColourTask(
    ColourTokens(tuple((12 * math.cos(t), 12 * math.sin(t)) for t in [2 * math.pi * i / HUES for i in range(HUES)]), 8)
)


def policy(seed=0):
    torch.manual_seed(seed)
    shape = SequenceSettings(
        KIND.vocabulary, KIND.length, channels=1, patch=16, width=16, heads=2, encoder_layers=1, decoder_layers=1
    )
    return SequencePolicy(shape, KIND)


class Says(torch.nn.Module):
    """The tokens that ``choose`` makes of the true pictures."""

    def __init__(self, choose):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.choose, self.next = choose, 0

    def sample(self, images, count, decoding, generator):
        assert images.shape[1] == 1
        true = SCENES.batch(range(self.next, self.next + len(images))).images
        self.next += len(images)
        tokens = self.choose(true)[:, None].expand(-1, count, -1)
        return Samples(tokens, torch.zeros(tokens.shape), tokens > 0)


def flat(a, b, lightness=60.0, side=16):
    """One colour all over, ``(1, 3, side, side)``."""
    return lab_to_srgb(torch.tensor([lightness, float(a), float(b)]).view(1, 3, 1, 1).expand(-1, -1, side, side))


def test_the_palette_is_a_function_of_the_scenes():
    assert ColourTask.of(SCENES, 40, colours=16, cells=4) == TASK
    assert ColourTask.of(Scenes(seed=4), 40, colours=16, cells=4) != TASK
    with pytest.raises(ValueError, match="as many cells"):
        ColourTask.of(SCENES, 1, colours=17, cells=4)


def test_lessons_hide_the_colours_and_tell_them():
    batch = TASK.lessons(SCENES, 4)(2)
    true = SCENES.batch(range(8, 12)).images
    assert batch["images"].shape == (4, 1, 64, 64)
    assert torch.equal(batch["tokens"], KIND.encode(true))
    grey = srgb_to_lab(batch["images"].expand(-1, 3, -1, -1))
    torch.testing.assert_close(grey[:, 0], srgb_to_lab(true)[:, 0], atol=0.05, rtol=0)
    assert float(grey[:, 1:].abs().max()) < 0.05


def test_one_colour_earns_nothing_and_a_rainbow_the_most():
    grey = to_grey(flat(0, 0, 60, 64))
    same = torch.full((1, 2, 64), 3)
    assert RAINBOW.reward(same, {"images": grey}).abs().max() < 1e-6
    # Columns of cells, all seven hues and one of them twice; the borders' mixtures are vivid too.
    rainbow = (torch.arange(64) % 8 % HUES + 1).view(1, 1, 64)
    earned = RAINBOW.reward(rainbow, {"images": grey})
    assert earned.shape == (1, 1) and 1.7 < float(earned) <= math.log(HUES)


def test_the_reward_is_that_of_the_pictures_in_the_order_of_the_samples():
    batch = TASK.rewarded(SCENES, 3).batches(1)
    tokens = torch.randint(1, KIND.vocabulary, (3, 2, KIND.length), generator=torch.Generator().manual_seed(0))
    want = [
        [float(colourfulness(KIND.decode(row[None], grey[None]))) for row in rows]
        for rows, grey in zip(tokens, batch["images"], strict=True)
    ]
    torch.testing.assert_close(TASK.reward(tokens, batch), torch.tensor(want))


def test_monitors_look_at_the_truth():
    rewarded = TASK.rewarded(SCENES, 3)
    batch = rewarded.batches(0)
    right = KIND.encode(batch["truth"])[:, None].expand(-1, 2, -1).clone()
    wrong = right[:, [0, 0]].clone()
    wrong[:, 0] = 1 + (wrong[:, 0] + 5) % (KIND.vocabulary - 1)
    for name, better in (("sampled_psnr", 1), ("sampled_chroma_error", -1)):
        values = [rewarded.monitors[name](Samples(t, torch.zeros(t.shape), t > 0), batch) for t in (right, wrong)]
        assert values[0].shape == (3,) and bool((better * (values[0] - values[1]) > 0).all())
    want = psnr(KIND.decode(right[:, 0], batch["images"]), batch["truth"])
    torch.testing.assert_close(
        rewarded.monitors["sampled_psnr"](Samples(right, torch.zeros(right.shape), right > 0), batch), want
    )


def test_chroma_error_and_vividness_by_hand():
    torch.testing.assert_close(chroma_error(flat(10, 5), flat(7, 1)), torch.tensor([5.0]), atol=0.02, rtol=0)
    # 3^2 + 1^2 = 10 is the limit.
    assert vivid_share(torch.cat([flat(3.3, 1), flat(2.7, 1)])).tolist() == [1, 0]
    torch.testing.assert_close(
        cell_colours(torch.cat([flat(10, 5), flat(-8, 2)]), 2),
        torch.tensor([[10.0, 5.0]] * 4 + [[-8.0, 2.0]] * 4, dtype=torch.float64),
        atol=0.02,
        rtol=0,
    )


def test_hues_by_hand():
    colours = torch.tensor([[10.0, 1.0], [-10.0, 1.0], [-10.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    shares = hue_histogram(colours, bins=4)
    # Quarters from -pi: the third is (0, pi/2), the fourth (pi/2, pi); the last share is what is not vivid.
    assert shares.tolist() == [0, 0, 0.25, 0.5, 0.25]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_frechet_distance_equals_that_of_matrix_square_roots(seed):
    linalg = pytest.importorskip("scipy.linalg")
    generator = torch.Generator().manual_seed(seed)
    one, two = (
        torch.randn(30, 2, generator=generator, dtype=torch.float64)
        @ torch.randn(2, 2, generator=generator, dtype=torch.float64)
        + torch.randn(2, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    covariances = [part.T.cov(correction=0).numpy() for part in (one, two)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    want = float((one.mean(0) - two.mean(0)).square().sum()) + (sum(covariances) - 2 * root).trace()
    assert frechet_distance(one, two) == pytest.approx(want, rel=1e-6, abs=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, one + torch.tensor([3.0, 4.0])) == pytest.approx(25)


def test_evaluation_of_one_who_knows_and_one_who_likes_rainbows():
    knows = TASK.evaluate(Says(KIND.encode), SCENES, 30, batch=20)
    # The greenest and the reddest that there is, by turns.
    rainbow = torch.tensor([1, KIND.vocabulary - 1]).repeat(KIND.length // 2)
    fond = TASK.evaluate(Says(lambda true: rainbow.expand(len(true), -1)), SCENES, 30)
    assert knows["right_cells"] == 1 and knows["psnr"] == knows["best_psnr"] == fond["best_psnr"]
    assert fond["psnr"] < knows["psnr"] and fond["true_colourfulness"] == pytest.approx(knows["true_colourfulness"])
    for name in ("frechet", "hue_distance", "delta_e", "chroma_error"):
        assert knows[name] < fond[name], name
    assert knows["colourfulness"] == knows["best_colourfulness"] == fond["best_colourfulness"] > 0.3
    assert fond["colourfulness"] != knows["colourfulness"]
    assert 0 < knows["vivid"] <= 1 and 0 < knows["true_vivid"] <= 1


def test_weights_bring_the_task_back(tmp_path):
    made = policy()
    torch.nn.init.normal_(made.head.weight)
    save_policy(tmp_path / "colour.safetensors", made, TASK)
    again = load_task(tmp_path / "colour.safetensors")
    assert again == TASK and again.describe() == json.loads(json.dumps(TASK.describe()))
    loaded = load_policy(tmp_path / "colour.safetensors", again)
    image = torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    shown = again.show(loaded, image)
    assert shown.said == TASK.show(made.eval(), image).said
    assert len(shown.said["colours"]) == 4 and {len(row) for row in shown.said["colours"]} == {4}
    assert shown.picture.shape == image.shape


def test_a_shown_picture_keeps_its_lightness_and_does_not_depend_on_its_colours():
    made = policy().eval()
    torch.nn.init.normal_(made.head.weight)
    mild = ColourTask(ColourTokens(tuple((a / 8, b / 8) for a, b in KIND.palette), KIND.cells))
    image = torch.rand(3, 50, 70, generator=torch.Generator().manual_seed(1)) * 0.3 + 0.35
    first, second = mild.show(made, image), mild.show(made, to_grey(image[None])[0].expand(3, -1, -1))
    assert first.said == second.said
    torch.testing.assert_close(first.picture, second.picture, atol=2e-3, rtol=0)
    lightness = [srgb_to_lab(picture[None])[0, 0] for picture in (first.picture, image)]
    torch.testing.assert_close(*lightness, atol=0.2, rtol=0)


def test_both_phases_run(tmp_path):
    made = policy()
    with Run(tmp_path / "mle", tensorboard=False) as run:
        lines = list(likelihood(made, TASK.lessons(SCENES, 4), LikelihoodSettings(steps=3, warmup=1), run, Workers()))
    assert 0 < lines[-1]["nll"] < 3
    before = made.head.weight.detach().clone()
    with Run(tmp_path / "reward", tensorboard=False) as run:
        rewarded = TASK.rewarded(SCENES, 2)
        line = list(reinforce(made, rewarded, ReinforceSettings(steps=3, samples=3), run, Workers()))[-1]
    assert {"reward/colourfulness", "sampled_psnr", "sampled_chroma_error"} <= set(line)
    assert 0 < line["reward"] < math.log(HUES) and not torch.equal(before, made.head.weight)


def test_a_picture_with_colours_is_not_for_this_policy():
    with pytest.raises(ValueError, match="images must be"):
        policy().sample(SCENES.batch(range(1)).images, 1)
    with pytest.raises(ValueError, match="colour tokens lie in"):
        TASK.reward(torch.zeros(1, 1, KIND.length, dtype=torch.int64), {"images": torch.zeros(1, 1, 64, 64)})
