from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from pixward.data.synth import CLASSES, Scenes
from pixward.data.tokens import END, WordTokens, words
from pixward.errors import PixwardError
from pixward.metrics.text import DocumentFrequencies
from pixward.policies.sequence import SequencePolicy, SequenceSettings
from pixward.predict.caption import CaptionTask, references, repeated_words, write_below
from pixward.predict.weights import load_policy, load_task, save_policy
from pixward.run import Run
from pixward.train.likelihood import LikelihoodSettings, likelihood
from pixward.train.reinforce import ReinforceSettings, reinforce
from pixward.train.workers import Workers
from pixward.types import Samples

SCENES = Scenes(seed=3)


@pytest.fixture(scope="module")
def task() -> CaptionTask:
    return CaptionTask.of(SCENES, 150, columns=3)


def policy(task, seed=0):
    torch.manual_seed(seed)
    kind = task.kind
    shape = SequenceSettings(
        kind.vocabulary, kind.length, patch=16, width=16, heads=2, encoder_layers=1, decoder_layers=1
    )
    return SequencePolicy(shape, kind)


class Says(torch.nn.Module):
    """Says of each scene the caption that ``choose`` takes."""

    def __init__(self, task, choose):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.task, self.choose, self.next = task, choose, 0

    def sample(self, images, count, decoding, generator):
        told = SCENES.batch(range(self.next, self.next + len(images))).captions
        self.next += len(images)
        tokens = self.task.kind.encode([self.choose(captions) for captions in told])[:, None].expand(-1, count, -1)
        return Samples(tokens, torch.zeros(tokens.shape), tokens != END)


def test_the_reward_equals_pycocoevalcap(task):
    """With document frequencies of other pictures than those that are scored."""
    scorer = pytest.importorskip("pycocoevalcap.cider.cider_scorer")
    batch = task.rewarded(SCENES, 4).batches(50)
    told = SCENES.batch(range(200, 204)).captions
    said = [[told[i][0], told[(i + 1) % 4][1], "a red star and a red star and a"] for i in range(4)]
    tokens = torch.stack([task.kind.encode(captions) for captions in said])
    counted = scorer.CiderScorer(n=4, sigma=6.0)
    for captions in SCENES.batch(range(150)).captions:
        counted += ("", [" ".join(words(caption)) for caption in captions])
    counted.compute_doc_freq()
    want = []
    for row, captions in zip(said, told, strict=True):
        for caption in row:
            one = scorer.CiderScorer(n=4, sigma=6.0)
            one += (" ".join(words(caption)), [" ".join(words(other)) for other in captions])
            one.document_frequency = counted.document_frequency
            # It takes the number of documents from here, and scores no more pictures than it has captions.
            one.crefs += [None] * 149
            want.append(float(one.compute_cider()[0]))
    got = task.reward(tokens, batch)
    assert got.shape == (4, 3) and want[0] > 1
    torch.testing.assert_close(got.flatten(), torch.tensor(want), rtol=1e-5, atol=1e-5)


def test_the_end_is_no_word(task):
    batch = task.rewarded(SCENES, 1).batches(0)
    tokens = task.kind.encode([SCENES.scene(0).captions[0]])[None]
    wider = torch.nn.functional.pad(tokens, (0, 3), value=END)
    torch.testing.assert_close(task.reward(tokens, batch), task.reward(wider, batch))


def test_lessons_are_true_captions_and_a_function_of_their_number(task):
    draw = task.lessons(SCENES, 4, seed=1)
    one, two = draw(5), draw(5)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert one["tokens"].shape == one["weights"].shape == (4, 3, task.kind.length)
    for i, captions in enumerate(SCENES.batch(range(20, 24)).captions):
        known = {" ".join(words(caption)) for caption in captions}
        for tokens, weight in zip(one["tokens"][i], one["weights"][i], strict=True):
            assert bool((weight == 0).all()) or task.kind.decode(tokens[None])[0] in known
    assert bool((replace(task, columns=7).lessons(SCENES, 2)(0)["weights"][:, 5:] == 0).all())


def test_no_lesson_has_a_word_that_the_policy_may_not_say():
    kind = WordTokens.of(["a red star and a heart"], 6)
    task = CaptionTask(kind, DocumentFrequencies.of(kind.encode(["a red star"])[None]), 5)
    batch = task.lessons(SCENES, 8)(0)
    assert not bool((batch["tokens"] == kind.UNKNOWN).any())
    assert bool((batch["weights"] == 0).any())
    made = policy(task)
    assert bool(made.log_prob(batch["images"], batch["tokens"]).total.isfinite().all())


def test_references_are_never_cut():
    kind = WordTokens.of(["one two three four"], 2)
    rows = references(kind, [["one two three four", "two"], ["three"]])
    assert kind.decode(rows.flatten(0, 1)) == ["one two three four", "two", "three", ""]
    with pytest.raises(PixwardError, match="item 1 has no caption"):
        references(kind, [["one"], ["..."]])


def test_repeated_words_by_hand():
    assert repeated_words(torch.tensor([[5, 6, 5, 5, 0, 0], [0, 0, 0, 0, 0, 0]])).tolist() == [0.5, 0.0]


def test_evaluation_of_one_who_knows_and_one_who_always_says_the_same(task):
    knows = task.evaluate(Says(task, lambda told: told[0]), SCENES, 30, batch=20)
    same = task.evaluate(Says(task, lambda _: "a red star"), SCENES, 30, batch=20)
    assert knows["cider_d"] > 2 > 0.5 > same["cider_d"]
    assert knows["cider_d"] > knows["reference_cider_d"] == same["reference_cider_d"] > 0
    assert knows["truth"] == 1 and knows["false_facts"] == 0 and knows["facts"] > 1.5
    assert same["truth"] < 0.3 and same["facts"] == 1
    assert (same["words"], same["distinct_words"], same["distinct_captions"]) == (3, 3, 1 / 30)
    assert same["repeated_words"] == 0
    assert knows["distinct_captions"] > 0.8


def test_weights_bring_the_task_back(task, tmp_path):
    made = policy(task)
    torch.nn.init.normal_(made.head.weight)
    save_policy(tmp_path / "caption.safetensors", made, task)
    again = load_task(tmp_path / "caption.safetensors")
    assert again == task and again.describe() == task.describe() == json.loads(json.dumps(task.describe()))
    tokens = made.sample(SCENES.batch(range(6)).images, 3).tokens
    batch = task.rewarded(SCENES, 6).batches(0)
    # N-grams of one picture are left out of the file, for they weigh as much as unknown ones.
    assert len(again.frequencies.keys) < len(task.frequencies.keys)
    truth = batch["references"][:, :3]
    for said in (tokens, truth):
        assert torch.equal(again.reward(said, batch), task.reward(said, batch))
    loaded = load_policy(tmp_path / "caption.safetensors", again)
    image = torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(0))
    shown = task.show(made.eval(), image)
    assert again.show(loaded, image).said == shown.said
    assert set(shown.said) == {"task", "caption"} and shown.picture.shape[0::2] == (3, 120)
    assert shown.picture.shape[1] > 90
    torch.testing.assert_close(shown.picture[:, :90], image, atol=0.5 / 255 + 1e-6, rtol=0)


def test_text_below_a_picture_takes_as_many_lines_as_it_needs():
    image = torch.zeros(3, 64, 64)
    short, long = write_below(image, "a star"), write_below(image, "a star " * 12)
    assert short.shape[1] < long.shape[1]
    assert bool((short[:, :64] == 0).all()) and float(short[:, 64:].min()) < 0.5 < float(short[:, 64:].max())


def test_both_phases_run(task, tmp_path):
    made = policy(task)
    settings = LikelihoodSettings(steps=3, warmup=1)
    with Run(tmp_path / "mle", tensorboard=False) as run:
        lines = list(likelihood(made, task.lessons(SCENES, 4), settings, run, Workers()))
    assert 0 < lines[-1]["nll"] < 5
    before = made.head.weight.detach().clone()
    with Run(tmp_path / "reward", tensorboard=False) as run:
        tuned = task.rewarded(SCENES, 2)
        line = list(reinforce(made, tuned, ReinforceSettings(steps=3, samples=3), run, Workers()))[-1]
    assert {"reward/cider_d", "sampled_words", "sampled_repeated_words", "sampled_truth"} <= set(line)
    assert line["sampled_words"] > 0 and not torch.equal(before, made.head.weight)


def test_truth_of_tokens(task):
    shown = SCENES.batch(range(5))
    tokens = references(task.kind, shown.captions)
    true, told, false = task.truth(tokens, shown.scenes, CLASSES)
    assert true.shape == (5, 5) and bool((true == 1).all()) and bool((told > 0).all()) and not false.any()
    assert not task.truth(torch.zeros_like(tokens), shown.scenes, CLASSES).any()


def test_no_words_no_task():
    with pytest.raises(PixwardError, match="no word occurs 9999 times"):
        CaptionTask.of(SCENES, 2, minimum=9999)
