from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pixward.boxes import Segments
from pixward.data.synth import Scenes, SceneSettings
from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.policies.vqvae import PanopticCodes, VqSettings
from pixward.predict.detect import DetectTask
from pixward.predict.panoptic import CodeTokens, PanopticReward, PanopticTask, areas, ceiling, figures, outcome_of
from pixward.predict.task import new_policy
from pixward.predict.weights import load_policy, load_task, save_policy
from pixward.run import Run
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.workers import Workers
from pixward.types import Decoding, Samples

NAMES = SceneSettings().labels
SHAPE = VqSettings(len(NAMES), 12, objects=6, down=16, codes=9, width=8, code_width=4)
SCENES = Scenes(seed=3)


def task(seed=0, **settings):
    torch.manual_seed(seed)
    return PanopticTask(PanopticCodes(SHAPE), NAMES, **settings)


def policy(made):
    torch.manual_seed(0)
    shape = SequenceSettings(
        made.kind.vocabulary, made.kind.length, patch=16, width=16, heads=2, encoder_layers=1, decoder_layers=1
    )
    return SequencePolicy(shape, made.kind)


class Knows(torch.nn.Module):
    """Says the codes of the truth."""

    def __init__(self, made):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.made, self.next = made, 0

    def sample(self, images, count, decoding, generator):
        assert images.shape[1:] == (3, 64, 64)
        truth = SCENES.batch(range(self.next, self.next + len(images))).segments
        self.next += len(images)
        tokens = self.made.encode(truth)[:, None].expand(-1, count, -1)
        return Samples(tokens, torch.zeros(tokens.shape), tokens > 0)


def two_pictures():
    """A thing (class 0) left of stuff (class 1); said: two pixels too wide, and then nothing but stuff."""
    ids = torch.tensor([[1, 1, 2, 2]] * 4).repeat(2, 1, 1)
    true = Segments(ids, torch.tensor([[0, 1]] * 2), torch.ones(2, 2, dtype=torch.bool))
    said = ids.clone()
    said[0, :2, 2] = 1
    said[1] = 2
    return Segments(said, true.labels, true.valid), true


def test_what_may_be_said():
    kind = CodeTokens(codes=3, length=2)
    assert kind.vocabulary == 4
    assert kind.allowed(torch.zeros(5, 1).long()).tolist() == [[False, True, True, True]] * 5
    assert kind.allowed_along(torch.ones(5, 2).long()).shape == (5, 2, 4)
    made = task()
    assert (made.kind.vocabulary, made.kind.length) == (made.codes.vocabulary, made.codes.length) == (10, 16)
    drawn = policy(made).sample(torch.rand(2, 3, 64, 64), 3, Decoding(), torch.Generator().manual_seed(0))
    assert bool((drawn.tokens > 0).all()) and bool(drawn.mask.all())


def test_outcome_and_figures_by_hand():
    said, true = two_pictures()
    outcome = outcome_of(said, true, cost=0.3)
    # 8 of 10 and 6 of 8 pixels; then half of 16, which is no match, and a miss of both.
    torch.testing.assert_close(outcome.reward, torch.tensor([0.8 + 0.75, -0.3]))
    assert outcome.segments.tolist() == [2, 1] and outcome.matches.tolist() == [2, 0]
    assert outcome.false_positives.tolist() == [0, 1] and outcome.false_negatives.tolist() == [0, 2]
    assert areas(said).tolist() == [[10, 6], [0, 16]]
    got = figures([(said, true)], VqSettings(classes=2, things=1))
    # F1 of the thing 1 / (1 + 1/2), of stuff 1 / (1 + 1/2 + 1/2).
    assert got["pq_things"] == pytest.approx(0.8 * 2 / 3) and got["rq_things"] == pytest.approx(2 / 3)
    assert got["pq_stuff"] == pytest.approx(0.75 / 2) and got["sq_stuff"] == pytest.approx(0.75)
    assert got["pq"] == pytest.approx((0.8 * 2 / 3 + 0.75 / 2) / 2)
    assert got["greedy_reward"] == pytest.approx((1.55 - 0.3) / 2) and got["greedy_segments"] == 1.5
    halves = [(said.select(slice(i, i + 1)), true.select(slice(i, i + 1))) for i in range(2)]
    assert figures(halves, VqSettings(classes=2, things=1)) == pytest.approx(got)


def test_figures_equal_torchmetrics():
    detection = pytest.importorskip("torchmetrics.detection")
    truth = SCENES.batch(range(16)).segments
    moved = Segments(truth.ids.roll((2, -3), (1, 2)), truth.labels, truth.valid)
    ours = figures([(moved, truth)], SHAPE)
    seen = set(truth.labels[truth.valid].tolist())
    things = {label for label in seen if label < 12}
    metric = detection.PanopticQuality(things, seen - things, return_per_class=True)

    def coloured(segments):
        kinds = segments.labels.gather(1, segments.ids.flatten(1) - 1).view_as(segments.ids)
        return torch.stack([kinds, torch.where(kinds < 12, segments.ids, 0)], 3)

    metric.update(coloured(moved), coloured(truth))
    theirs = metric.compute()[0]
    assert ours["pq"] == pytest.approx(float(theirs.mean()), abs=1e-6) and 0.3 < ours["pq"] < 0.9
    assert ours["pq_things"] == pytest.approx(float(theirs[: len(things)].mean()), abs=1e-6)
    assert ours["pq_stuff"] == pytest.approx(float(theirs[len(things) :].mean()), abs=1e-6)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_one_who_says_the_codes_of_the_truth_reaches_the_ceiling(precision):
    made = task(precision=precision)
    reached = made.evaluate(Knows(made), SCENES, 20, batch=8)
    assert reached == pytest.approx(ceiling(made.codes, SCENES, 20, precision, batch=20))
    assert {"pq", "sq_things", "rq_stuff", "greedy_segments"} <= set(reached)
    with pytest.raises(ValueError, match="no picture"):
        made.evaluate(Knows(made), SCENES, 0)


def test_lessons_are_pictures_and_their_codes():
    made = task()
    draw = made.lessons(SCENES, 4)
    batch, shown = draw(2), SCENES.batch(range(8, 12))
    assert torch.equal(batch["images"], shown.images)
    assert torch.equal(batch["tokens"], made.codes.encode(shown.segments))
    assert not batch["tokens"].requires_grad and int(batch["tokens"].min()) >= 1
    assert bool(policy(made).log_prob(batch["images"], batch["tokens"][:, None]).total.isfinite().all())


def test_maps_are_decoded_once_for_the_reward_and_all_monitors():
    calls = []
    said, true = two_pictures()

    def decode(tokens):
        calls.append(len(tokens))
        return said.repeat(3)

    reward, batch = PanopticReward(decode, cost=0.5), {"segments": true}
    tokens = torch.ones(2, 3, 16).long()
    torch.testing.assert_close(reward(tokens, batch), torch.tensor([[1.55] * 3, [-0.5] * 3]))
    assert reward.outcome(tokens, batch).matches.tolist() == [2, 2, 2, 0, 0, 0]
    assert calls == [6]
    reward(tokens.clone(), batch)
    assert calls == [6, 6]
    assert reward.__name__ == "panoptic"


def test_maps_of_any_size():
    made = task()
    tokens = torch.randint(1, 10, (2, 16), generator=torch.Generator().manual_seed(0))
    wide = made.decode(tokens, (96, 160))
    wide.check("wide")
    assert wide.ids.shape == (2, 96, 160)
    plain, same = made.decode(tokens), made.decode(tokens, (64, 64))
    assert torch.equal(plain.ids, same.ids) and torch.equal(plain.labels, same.labels)


def test_what_is_shown_is_what_was_said():
    made = task()
    image = torch.rand(3, 90, 150, generator=torch.Generator().manual_seed(0))
    shown = made.show(Knows(made), image)
    assert shown.picture.shape == image.shape and 0 <= float(shown.picture.min()) <= float(shown.picture.max()) <= 1
    drawn = made.decode(made.encode(SCENES.batch([0]).segments), (90, 150))
    want = sorted(areas(drawn)[0][areas(drawn)[0] > 0].tolist(), reverse=True)
    told = shown.said["segments"]
    assert [round(segment["share"] * 90 * 150) for segment in told] == pytest.approx(want, abs=1)
    for segment in told:
        x0, y0, x1, y1 = segment["box"]
        assert 0 <= x0 < x1 <= 150 and 0 <= y0 < y1 <= 90
        assert (x1 - x0) * (y1 - y0) >= segment["share"] * 90 * 150 - 1
        assert segment["thing"] == (NAMES.index(segment["label"]) < 12)
    # Larger than maps are drawn for, and then enlarged.
    large = made.show(Knows(made), torch.rand(3, 700, 600)).picture
    assert large.shape == (3, 700, 600)


def test_both_phases_run(tmp_path):
    made = task()
    small = policy(made)
    with Run(tmp_path / "mle", tensorboard=False) as run:
        settings = LikelihoodSettings(steps=3, warmup=1, learning_rate=1e-2)
        line = list(likelihood(small, made.lessons(SCENES, 4), settings, run, Workers()))[-1]
    assert line["nll"] < 2.3  # ln 9 = 2.197 at the start
    with Run(tmp_path / "reward", tensorboard=False) as run:
        rewarded = made.rewarded(SCENES, 2)
        line = list(reinforce(small, rewarded, ReinforceSettings(steps=3, samples=3), run, Workers()))[-1]
    assert {"reward/panoptic", "segments", "found", "false_segments", "missed", "repeated"} <= set(line)
    assert line["segments"] >= line["found"] + line["false_segments"] > 0 and line["length"] == 16
    assert line["reward"] < 0  # nothing fits, everything costs


def test_the_codes_travel_with_the_weights(tmp_path):
    made, path = task(cost=0.4, precision="bf16"), tmp_path / "policy.safetensors"
    small = policy(made)
    save_policy(path, small, made)
    again = load_task(path)
    assert isinstance(again, PanopticTask) and again.describe() == made.describe()
    assert (again.cost, again.precision, again.names) == (0.4, "bf16", NAMES)
    loaded = load_policy(path, again)
    images, segments = SCENES.batch(range(3)).images, SCENES.batch(range(3)).segments
    assert torch.equal(again.encode(segments), made.encode(segments))
    tokens = made.encode(segments)[:, None]
    torch.testing.assert_close(loaded.log_prob(images, tokens).total, small.eval().log_prob(images, tokens).total)
    load_policy(path)  # without a task too, for its encoder
    save_policy(path, small, made, torch.float16)
    load_policy(path, made)
    assert set(load_task(path).encode(segments).unique().tolist()) <= set(range(1, 10))


def test_faults_are_named(tmp_path):
    path = tmp_path / "policy.safetensors"
    made = task()
    save_policy(path, policy(made), made)
    with pytest.raises(ValueError, match="other codes"):
        load_policy(path, task(seed=1))
    detect = DetectTask(NAMES[:12])
    with pytest.raises(ValueError, match="10 tokens, detect has"):
        load_policy(path, detect)
    save_policy(path, policy(made), replace(detect, names=NAMES))  # no codes among its tensors
    with pytest.raises(ValueError, match="other codes"):
        load_policy(path, made)
    with pytest.raises(ValueError, match="18 classes, 2 names"):
        PanopticTask(PanopticCodes(SHAPE), ("a", "b"))


def test_a_new_policy_fits():
    made = new_policy(task(), width=16)
    assert made.settings.vocabulary == 10 and made.settings.length == 16 and made.settings.channels == 3


def test_a_token_is_judged_by_what_its_cell_shows():
    said, true = two_pictures()
    made = PanopticReward(lambda tokens: said)
    tokens = torch.ones(2, 1, 4).long()
    worth = made.outcome(tokens, {"segments": true}).worth
    torch.testing.assert_close(worth.sum(1), torch.tensor([0.8 + 0.75, -0.3]))
    # Four cells of two by two pixels. The upper right one of the first picture shows a column of the thing as well.
    near = made.nearby(tokens, {"segments": true})
    torch.testing.assert_close(near[0, 0], torch.tensor([0.8, 0.8 + 0.75, 0.8, 0.75]))
    torch.testing.assert_close(near[1, 0], torch.full((4,), -0.3))
    assert task(local=True).rewarded(SCENES, 2).returns is not None and task().rewarded(SCENES, 2).returns is None
