"""CIDEr-D and its words, against pycocoevalcap."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixward.metrics.text import DocumentFrequencies, cider_d, cider_d_of_texts, tokenise, word_ids
from pixward.rewards.text import CiderD

WORDS = ["a", "the", "dog", "cat", "on", "in", "red", "blue", "mat", "house", "runs", "sits", "two", "near"]


def pycocoevalcap_scores(candidates: list[str], references: list[list[str]]) -> np.ndarray:
    """Of captions that are words with spaces between them already."""
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    gts = dict(enumerate(references))
    return cider.compute_score(gts, {i: [text] for i, text in enumerate(candidates)})[1]


def captions(seed: int, pictures: int = 12) -> tuple[list[str], list[list[str]]]:
    draw = random.Random(seed)

    def sentence(low: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(low, 12)))

    references = [[sentence(1) for _ in range(draw.randint(1, 5))] for _ in range(pictures)]
    near = [draw.choice(texts).split() for texts in references]
    return [" ".join(word for word in words if draw.random() < 0.9) for words in near], references


@settings(max_examples=30)
@given(st.integers(0, 2**31))
def test_equal_to_pycocoevalcap(seed):
    candidates, references = captions(seed)
    ours = cider_d_of_texts(candidates, references)
    np.testing.assert_allclose(ours.numpy(), pycocoevalcap_scores(candidates, references), atol=1e-9)


def test_equal_to_pycocoevalcap_on_coco(shared_data: Path):
    pytest.importorskip("pycocoevalcap")
    file = json.loads((shared_data / "coco" / "captions" / "captions_val2017.json").read_text())
    texts: dict[int, list[str]] = {}
    for entry in file["annotations"]:
        texts.setdefault(entry["image_id"], []).append(entry["caption"])
    pictures = [texts[key] for key in sorted(texts)[:128]]
    candidates, references = [captions[0] for captions in pictures], [captions[1:] for captions in pictures]
    words = [[" ".join(tokenise(text)) for text in captions] for captions in references]
    want = pycocoevalcap_scores([" ".join(tokenise(text)) for text in candidates], words)
    ours = cider_d_of_texts(candidates, references)
    np.testing.assert_allclose(ours.numpy(), want, atol=1e-9)
    assert 0.5 < want.mean() < 2  # people agree this much with each other


def test_frequencies_of_training_captions_make_the_score_independent_of_the_batch():
    _, corpus = captions(0, pictures=40)
    known: dict[str, int] = {}
    rows = word_ids([text.split() for texts in corpus for text in texts[:1]], known)[:, None]
    reward = CiderD(DocumentFrequencies.of(rows))
    whole = reward(rows.roll(1, 0)[:, 0], rows)
    assert whole.dtype == torch.float32
    for item in range(4):
        alone = reward(rows.roll(1, 0)[item : item + 1, 0], rows[item : item + 1])
        torch.testing.assert_close(alone, whole[item : item + 1])
    assert cider_d(rows[:1, 0], rows[:1], DocumentFrequencies.of(rows[:1])).item() == 0  # ln 1 = 0


def test_hand_computed():
    # Four pictures; all n-grams of the one reference occur in one picture: every idf is ln 4 and cancels.
    target = torch.tensor([[[1, 2, 3, 4, 5]], [[6, 7, 8, 9, 10]], [[11, 12, 13, 14, 0]], [[15, 16, 0, 0, 0]]])
    frequencies = DocumentFrequencies.of(target)
    assert frequencies.documents == 4 and (frequencies.counts == 1).all()
    output = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0], [11, 11, 0, 12, 13], [15, 16, 0, 0, 0]])
    got = cider_d(output, target, frequencies)
    assert got[0] == pytest.approx(10)
    gauss = np.exp(-(3**2) / 72)  # 1 bigram against 4
    assert got[1] == pytest.approx(10 / 4 * gauss * (2 / np.sqrt(2 * 5) + 1 / np.sqrt(1 * 4)))
    # What follows a 0 is not there; a word said twice counts once, but lengthens the caption's vector.
    assert got[2] == pytest.approx(10 / 4 * np.exp(-(2**2) / 72) * (1 / (2 * np.sqrt(4))))
    assert got[3] == pytest.approx(5)  # perfect, but too short for 3- and 4-grams


@given(st.integers(0, 2**31))
@settings(max_examples=20)
def test_order_of_references_padding_and_numbering_do_not_matter(seed):
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(1, 9, (6, 3, 7), generator=draw) * (torch.arange(7) < 5)
    target[0, 2] = 0  # one reference fewer
    output = torch.randint(0, 9, (6, 7), generator=draw)
    score = cider_d(output, target, DocumentFrequencies.of(target))
    assert ((score >= 0) & (score <= 10 + 1e-9)).all()
    wider = torch.nn.functional.pad(target.flip(1), (0, 2, 0, 1))
    torch.testing.assert_close(cider_d(output, wider, DocumentFrequencies.of(wider)), score)
    names = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(32000, generator=draw)[:8]])
    renamed = cider_d(names[output], names[target], DocumentFrequencies.of(names[target]))
    torch.testing.assert_close(renamed, score)


def test_empty_captions_score_nothing():
    target = torch.tensor([[[1, 2, 3]], [[4, 5, 6]]])
    frequencies = DocumentFrequencies.of(target)
    assert cider_d(torch.zeros(2, 3, dtype=torch.int64), target, frequencies).tolist() == [0, 0]
    assert cider_d(torch.zeros(2, 0, dtype=torch.int64), target, frequencies).tolist() == [0, 0]


def test_errors_name_the_item():
    target = torch.tensor([[[1, 2]], [[0, 0]]])
    with pytest.raises(ValueError, match="target: item 1 has no reference"):
        cider_d(torch.ones(2, 2, dtype=torch.int64), target, DocumentFrequencies.of(target))
    with pytest.raises(ValueError, match="output: item 1 has word id 40000"):
        cider_d(torch.tensor([[1], [40000]]), target, DocumentFrequencies.of(target))
    with pytest.raises(ValueError, match="references: item 0 has word id -1"):
        DocumentFrequencies.of(target - 1 - target)
    with pytest.raises(ValueError, match=r"output must be int64 \(B, L\)"):
        cider_d(torch.ones(2, 2), target, DocumentFrequencies.of(target))
    with pytest.raises(ValueError, match="1 captions and 2 targets"):
        cider_d(torch.ones(1, 2, dtype=torch.int64), target, DocumentFrequencies.of(target))
    with pytest.raises(ValueError, match="at least one picture"):
        DocumentFrequencies.of(target[:0])
    with pytest.raises(ValueError, match="got 1 and 2"):
        cider_d_of_texts(["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="32767 different words"):
        word_ids([[str(i) for i in range(40000)]], {})


@pytest.mark.parametrize(
    "text, words",
    [
        ("A man's dog, and two CATS.", "a man 's dog and two cats"),
        ("They don't see it; she can't.", "they do n't see it she ca n't"),
        ("A black-and-white photo of a tub/shower...", "a black-and-white photo of a tub/shower"),
        ('The corner of Furnace St. and "Main" Ave.', "the corner of furnace st. and main ave."),
        ("A T.V. (old) at 5:54pm & more", "a t.v. -lrb- old -rrb- at 5:54 pm & more"),
        ("You cannot park -- see W. Centre", "you can not park see w. centre"),
        ("on the road..", "on the road"),
        ("", ""),
    ],
)
def test_words_are_the_penn_treebank_s(text, words):
    """Each as pycocoevalcap's tokeniser gave it."""
    assert tokenise(text) == words.split()
