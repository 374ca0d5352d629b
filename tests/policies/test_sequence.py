from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.errors import PixwardError
from pixward.policies.decoding import distribution, draw, mask_of, nucleus
from pixward.policies.sequence import PAPER, SequencePolicy, SequenceSettings, load_sequence, save_sequence
from pixward.types import Decoding, Grammar, TokenPolicy

SMALL = SequenceSettings(
    vocabulary=7, length=5, image=16, patch=4, width=16, heads=2, encoder_layers=1, decoder_layers=2
)


class Pairs:
    """Tokens come in pairs, first 1-3, then 4-6; 0 ends, between pairs only."""

    def allowed(self, tokens):
        allowed = torch.zeros(len(tokens), 7, dtype=torch.bool)
        allowed[:, [0, 1, 2, 3] if tokens.shape[1] % 2 == 0 else [4, 5, 6]] = True
        return allowed


def policy(grammar=None, shape=SMALL, seed=0, scale=3.0):
    torch.manual_seed(seed)
    made = SequencePolicy(shape, grammar)
    # The head starts at zero, where every distribution is flat and no test would see a thing.
    torch.nn.init.normal_(made.head.weight, std=scale / shape.width**0.5)
    return made.eval()


def images(count=3, size=16):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("grammar", [None, Pairs()])
@pytest.mark.parametrize("decoding", [Decoding(), Decoding(0.7), Decoding(1.3, 0.8), Decoding(1, 0.6), Decoding(0)])
def test_sampled_and_rescored_agree(grammar, decoding):
    made = policy(grammar)
    drawn = made.sample(images(), 8, decoding, seeded())
    scored = made.log_prob(images(), drawn.tokens, decoding)
    assert drawn.tokens.shape == drawn.log_probs.shape == drawn.mask.shape == (3, 8, 5)
    torch.testing.assert_close(scored.log_probs, drawn.log_probs, rtol=0, atol=1e-5)
    torch.testing.assert_close(scored.total, drawn.log_probs.sum(2), rtol=0, atol=1e-5)
    assert float(drawn.log_probs.min()) < -0.05


def test_it_is_what_it_says_it_is():
    assert isinstance(policy(), TokenPolicy)
    assert isinstance(Pairs(), Grammar)


def test_probabilities_of_all_sentences_add_up_to_one():
    shape = replace(SMALL, vocabulary=3, length=3)
    made = policy(shape=shape)
    # All ways to say up to three of the words 1 and 2, filled up with ends.
    words = [(*said, *[0] * (3 - length)) for length in range(4) for said in itertools.product((1, 2), repeat=length)]
    assert len(words) == 15
    tokens = torch.tensor([words] * 2)
    total = made.log_prob(images(2), tokens).total
    torch.testing.assert_close(total.exp().sum(1), torch.ones(2), rtol=0, atol=1e-5)


def test_samples_follow_the_scores():
    shape = replace(SMALL, vocabulary=3, length=2)
    made = policy(shape=shape, scale=4)
    words = torch.tensor([[[0, 0], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]])
    want = made.log_prob(images(1), words).total.exp()[0]
    drawn = made.sample(images(1), 20_000, generator=seeded()).tokens[0]
    share = torch.stack([(drawn == word).all(1).double().mean() for word in words[0]]).float()
    # Five standard errors of a share of 20,000.
    torch.testing.assert_close(share, want, rtol=0, atol=5 * 0.5 / 20_000**0.5)


def test_each_picture_is_encoded_once():
    made = policy()
    seen = []
    made.stem.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    drawn = made.sample(images(), 8, generator=seeded())
    made.log_prob(images(), drawn.tokens)
    assert seen == [3, 3]


def test_the_grammar_is_kept_and_the_rest_renormalised():
    made = policy(Pairs())
    drawn = made.sample(images(), 50, generator=seeded())
    for position, words in enumerate([(0, 1, 2, 3), (4, 5, 6), (0, 1, 2, 3), (4, 5, 6), (0, 1, 2, 3)]):
        said = drawn.tokens[..., position][drawn.mask[..., position]]
        assert set(said.tolist()) <= set(words)
    table = made.log_prob(images(), drawn.tokens).table[drawn.mask]
    torch.testing.assert_close(table.exp().sum(1), torch.ones(len(table)))
    assert torch.isneginf(table).any()


def test_nothing_after_the_end_counts():
    made = policy()
    tokens = torch.tensor([[[3, 0, 0, 0, 0]]])
    scored = made.log_prob(images(1), tokens)
    assert mask_of(tokens, 0).tolist() == [[[True, True, False, False, False]]]
    assert (scored.log_probs[0, 0] != 0).tolist() == [True, True, False, False, False]
    assert (scored.entropy[0, 0] > 0).tolist() == [True, True, False, False, False]


def test_a_batch_of_short_sequences_is_scored_in_full_length():
    made = policy()
    tokens = torch.tensor([[[3, 2, 0, 0, 0], [0, 0, 0, 0, 0]]])
    scored = made.log_prob(images(1), tokens)
    assert scored.mask.sum(2).tolist() == [[3, 1]]
    assert scored.log_probs.shape == scored.entropy.shape == scored.mask.shape == (1, 2, 5)
    # Nobody says anything in the last two places: the end is sure there.
    assert bool((scored.table[..., 3:, :].exp() == torch.nn.functional.one_hot(torch.tensor(0), 7)).all())
    whole = made(images(1), tokens).log_softmax(-1)
    torch.testing.assert_close(scored.table[..., :3, :], whole[..., :3, :])


def test_sequences_that_go_on_alone_are_the_ones_they_would_have_been():
    made = policy(scale=1)
    with torch.no_grad():
        made.head.bias[0] = 5
    drawn = made.sample(images(), 20, generator=seeded())
    ended = (~drawn.mask).flatten(0, 1).float().mean(0)
    assert float(ended[3]) > 0.75 and float(ended[4]) < 1  # rows were left out, twice, and some went on
    tokens, live, generator = torch.zeros(60, 5).long(), torch.ones(60).bool(), seeded()
    for step in range(5):
        logits = made(images(), tokens.view(3, 20, 5)).flatten(0, 1)[:, step]
        said = draw(logits.log_softmax(1).masked_fill(~live[:, None], 0), Decoding(), generator)
        tokens[:, step] = torch.where(live, said, 0)
        live &= tokens[:, step] != 0
    assert torch.equal(drawn.tokens.flatten(0, 1), tokens)


def test_entropy_against_its_definition_and_gradients_are_finite():
    made = policy(Pairs())
    drawn = made.sample(images(), 4, generator=seeded())
    scored = made.log_prob(images(), drawn.tokens)
    step = scored.table[0, 0, 0].detach()
    possible = step[~step.isneginf()]
    assert scored.entropy[0, 0, 0].item() == pytest.approx(float(-(possible.exp() * possible).sum()), rel=1e-5)
    (scored.total.sum() + scored.entropy.sum()).backward()
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in made.parameters())


def test_samples_hang_on_the_generator_and_on_nothing_else():
    made = policy()
    one = made.sample(images(), 4, generator=seeded(5)).tokens
    torch.manual_seed(77)
    assert torch.equal(one, made.sample(images(), 4, generator=seeded(5)).tokens)
    assert not torch.equal(one, made.sample(images(), 4, generator=seeded(6)).tokens)


def test_greedy_takes_the_most_probable_token_each_time():
    made = policy(Pairs())
    drawn = made.sample(images(), 2, Decoding(0), seeded())
    table = made.log_prob(images(), drawn.tokens).table
    assert torch.equal(drawn.tokens[:, 0], drawn.tokens[:, 1])
    assert torch.equal(table.argmax(-1)[drawn.mask], drawn.tokens[drawn.mask])


def test_a_shorter_sequence_scores_as_its_beginning():
    made = policy()
    tokens = made.sample(images(), 2, generator=seeded()).tokens
    whole, part = (made.log_prob(images(), tokens[..., :length]).log_probs for length in (5, 3))
    torch.testing.assert_close(whole[..., :3], part, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stem", ["conv", "patch"])
def test_saved_and_loaded_is_the_same(tmp_path, stem):
    made = policy(Pairs(), replace(SMALL, stem=stem))
    save_sequence(tmp_path / "p.safetensors", made)
    loaded = load_sequence(tmp_path / "p.safetensors", Pairs())
    assert loaded.settings == made.settings
    one, two = (each.sample(images(), 3, generator=seeded()) for each in (made, loaded))
    assert torch.equal(one.log_probs, two.log_probs)


def test_the_paper_is_the_same_code_larger():
    with torch.device("meta"):
        made = SequencePolicy(PAPER)
    millions = sum(weight.numel() for weight in made.parameters()) / 1e6
    # ViT-B has 86 million; six decoder blocks of 4 + 4 + 8 squares of the width, and the words, come on top.
    assert 86 < millions - 6 * 16 * 768**2 / 1e6 - 2 * 1084 * 768 / 1e6 < 92


# --- decoding by itself -------------------------------------------------------------------------------------------


def test_nucleus_by_hand():
    probs = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    for top_p, inside in [(0.4, [1]), (0.5, [1]), (0.6, [1, 3]), (0.8, [1, 2, 3]), (1.0, [0, 1, 2, 3])]:
        assert nucleus(probs, top_p)[0].nonzero()[:, 0].tolist() == inside


def test_distribution_by_hand():
    logits = torch.tensor([0.2, 0.3, 0.5]).log()
    half = distribution(logits, None, Decoding(0.5)).exp()
    torch.testing.assert_close(half, torch.tensor([0.04, 0.09, 0.25]) / 0.38)
    cut = distribution(logits, None, Decoding(1, 0.6)).exp()
    torch.testing.assert_close(cut, torch.tensor([0.0, 0.375, 0.625]))
    barred = distribution(logits, torch.tensor([True, True, False]), Decoding()).exp()
    torch.testing.assert_close(barred, torch.tensor([0.4, 0.6, 0.0]))
    kept = distribution(logits, None, Decoding(1, 0.1), torch.tensor(0)).exp()
    torch.testing.assert_close(kept, torch.tensor([2 / 7, 0, 5 / 7]))


@given(st.integers(0, 2**31), st.integers(1, 12))
@settings(max_examples=30)
def test_only_what_has_a_share_is_drawn(seed, words):
    generator = seeded(seed)
    table = torch.randn(200, words, generator=generator)
    barred = torch.rand(200, words, generator=generator) < 0.5
    barred[torch.arange(200), torch.randint(words, (200,), generator=generator)] = False
    table = table.masked_fill(barred, -torch.inf).log_softmax(1)
    token = draw(table, Decoding(), generator)
    assert bool(table.gather(1, token[:, None]).isfinite().all())


# --- faults -------------------------------------------------------------------------------------------------------


def test_faults_are_named():
    made = policy(Pairs())
    with pytest.raises(ValueError, match=r"images must be \(B, 3, 16, 16\)"):
        made.sample(images(size=20), 1)
    with pytest.raises(ValueError, match=r"tokens must be \(3, K, L\)"):
        made.log_prob(images(), torch.zeros(3, 5).long())
    with pytest.raises(PixwardError, match=r"sequence 1 breaks the grammar Pairs at token 1: 2 after \[1\]"):
        made.log_prob(images(1), torch.tensor([[[1, 4, 0, 0, 0], [1, 2, 0, 0, 0]]]))
    with pytest.raises(ValueError, match="temperature"):
        Decoding(-1)
    with pytest.raises(ValueError, match="top_p"):
        Decoding(1, 0)
    with pytest.raises(ValueError, match="power of two"):
        SequencePolicy(replace(SMALL, image=18, patch=6))
    with pytest.raises(ValueError, match="multiple of patch"):
        SequencePolicy(replace(SMALL, image=18))


def test_a_grammar_that_forbids_everything_is_named():
    class Dumb:
        def allowed(self, tokens):
            return torch.zeros(len(tokens), 7, dtype=torch.bool)

    with pytest.raises(PixwardError, match=r"the grammar Dumb allows no token after \[\]"):
        policy(Dumb()).sample(images(), 1)
