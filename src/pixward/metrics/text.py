"""How near a caption is to what people wrote: CIDEr-D, equal to pycocoevalcap's, and the words that it counts.

Captions are rows of word ids ``(B, L)`` int64 from 1, ended and padded by 0; references ``(B, R, L)``, a row of zeros
where a picture has fewer. :func:`tokenise` makes words of text as the COCO evaluation does, without its Java: of the
25,014 captions of COCO val2017, by which its rules were chosen, all but one come out the same ("in KY.": that one knows
the states by their letters).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LONGEST = 4
"""Words in the longest n-gram."""
MOST_WORDS = 2**15 - 1
"""The highest word id: four of them make one int64."""
SIGMA = 6.0

_DROPPED = frozenset(["'", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", "..", ";", "''", "``"])
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_JOINED = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "wanna": ("wan", "na"), "gotta": ("got", "ta")}
_TOKEN = re.compile(
    r"""
    \.\.+ | --+                                                          # an ellipsis, a dash
    | (?:[a-z]\.){2,}[a-z]?(?![a-z0-9])                                  # t.v.  u.s.a
    | (?:st|ave|blvd|rd|dr|mr|mrs|ms|jr|sr|vs|etc|inc|co|corp|ltd|ft|mt|no)\.(?![a-z0-9])
    | (?<![^\s])[a-hj-z]\.(?=\s+\S)                                     # w. centre street
    | \d+:\d+(?=[ap]m\b)                                                 # 5:54pm
    | [^\W_]+(?:[-./:&'][^\W_]+)*                                        # a word, with what joins its parts
    | \S
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?<=[a-z0-9])(?:n't|'(?:s|m|d|re|ve|ll))$")


def tokenise(caption: str) -> list[str]:
    """The words of a caption in lower case, without punctuation, as COCO's evaluation counts them.

    Follows the Penn Treebank rules of pycocoevalcap's tokeniser: ``dog's`` is two words, ``don't`` is ``do n't``,
    ``black-and-white`` is one, and a bracket is the word ``-lrb-``.
    """
    words: list[str] = []
    for token in _TOKEN.findall(caption.lower().replace("\u2019", "'")):
        if token in _DROPPED or set(token) == {"."}:
            continue
        clitic = _CLITIC.search(token)
        if token in _BRACKETS:
            words.append(_BRACKETS[token])
        elif token in _JOINED:
            words.extend(_JOINED[token])
        elif clitic:
            words.extend((token[: clitic.start()], token[clitic.start() :]))
        else:
            words.append(token)
    return words


def word_ids(sentences: Sequence[Sequence[str]], known: dict[str, int]) -> Tensor:
    """Rows of word ids ``(len(sentences), L)``, padded by 0. Words that are new are added to ``known``.

    Raises:
        ValueError: more than 32,767 different words.
    """
    for sentence in sentences:
        for word in sentence:
            known.setdefault(word, len(known) + 1)
    if len(known) > MOST_WORDS:
        raise ValueError(f"at most {MOST_WORDS} different words can be told apart, got {len(known)}")
    rows = torch.zeros(len(sentences), max((len(sentence) for sentence in sentences), default=0), dtype=torch.int64)
    for row, sentence in zip(rows, sentences, strict=True):
        row[: len(sentence)] = torch.tensor([known[word] for word in sentence], dtype=torch.int64)
    return rows


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many pictures' references each n-gram of 1 to 4 words occurs.

    Attributes:
        keys: ``(n,)`` int64, sorted; an n-gram's word ids packed, 15 bits each.
        counts: ``(n,)`` float64, pictures.
        documents: how many pictures there were.
    """

    keys: Tensor
    counts: Tensor
    documents: int

    @staticmethod
    def of(references: Tensor) -> DocumentFrequencies:
        """Counted over ``references`` ``(B, R, L)``: a training set's, so that a reward does not hang on its batch.

        Raises:
            ValueError: another shape, no picture, or ids outside [0, 32767]; with the item.
        """
        _check(references, 3, "references")
        count = len(references)
        if count == 0:
            raise ValueError("document frequencies need the references of at least one picture")
        keys = torch.cat([_ngrams(references, n).flatten(1) for n in range(1, LONGEST + 1)], 1)
        place = torch.arange(count, device=keys.device)[:, None].expand_as(keys)
        present = keys > 0
        keys, order = keys[present].sort(stable=True)
        place = place[present][order]
        # Sorted by n-gram, then picture: the first of each pair is kept.
        first = torch.ones_like(keys, dtype=torch.bool)
        first[1:] = (keys[1:] != keys[:-1]) | (place[1:] != place[:-1])
        found, counts = keys[first].unique_consecutive(return_counts=True)
        return DocumentFrequencies(found, counts.double(), count)

    def to(self, device: torch.device | str) -> DocumentFrequencies:
        """The same on another device."""
        return DocumentFrequencies(self.keys.to(device), self.counts.to(device), self.documents)

    def idf(self, keys: Tensor) -> Tensor:
        """``ln documents - ln max(1, count)`` of each packed n-gram, float64."""
        if not len(self.keys):
            return torch.full(keys.shape, math.log(self.documents), dtype=torch.float64, device=keys.device)
        place = torch.searchsorted(self.keys, keys).clamp_max(len(self.keys) - 1)
        counts = torch.where(self.keys[place] == keys, self.counts[place], 1)
        return math.log(self.documents) - counts.log()


@torch.no_grad()
def cider_d(output: Tensor, target: Tensor, frequencies: DocumentFrequencies) -> Tensor:
    """CIDEr-D of each caption, ``(B,)`` float64 in [0, 10].

    Vedantam et al., CVPR 2015, as pycocoevalcap computes it: clipped cosine similarity of weighted n-gram counts, n
    from 1 to 4, times a Gaussian (sigma 6) of the difference in length; the mean over n and references, times 10. Its
    length counts bigrams, and a perfect caption of fewer than four words stays below 10. If ``frequencies`` come from
    one picture, every weight is ln 1 = 0 and so is the score.

    Args:
        output: ``(B, L)`` word ids.
        target: ``(B, R, L')`` word ids of the references.
        frequencies: of n-grams, on the device of the captions.

    Raises:
        ValueError: other shapes, ids outside [0, 32767], or a picture without references; with the item.
    """
    _check(output, 2, "output")
    _check(target, 3, "target")
    if len(output) != len(target):
        raise ValueError(f"need references for each caption, got {len(output)} captions and {len(target)} targets")
    present = (target > 0).any(2)
    if not bool(present.any(1).all()):
        raise ValueError(f"target: item {int((~present.any(1)).nonzero()[0])} has no reference")
    length = _length(output).sub(1).clamp_min(0)[:, None] - _length(target).sub(1).clamp_min(0)  # in bigrams
    near = torch.exp(-length.double().square() / (2 * SIGMA**2))
    total = torch.zeros(present.shape, dtype=torch.float64, device=output.device)
    for n in range(1, LONGEST + 1):
        said, true = _ngrams(output, n), _ngrams(target, n)
        idf, idf_true = frequencies.idf(said), frequencies.idf(true)
        own, count = _counts(said, said), _counts(true, true)
        shared = _counts(said[:, None].expand(-1, true.shape[1], -1), true)
        # A sum over different n-grams is a sum over places, each divided by how often its n-gram occurs.
        once = (said > 0) / own.clamp_min(1)
        weight, weight_true = (own * idf)[:, None], shared * idf[:, None]
        value = (torch.minimum(weight, weight_true) * weight_true * once[:, None]).sum(2)
        norm = (own * idf.square() * (said > 0)).sum(1).sqrt()[:, None]
        norm_true = (count * idf_true.square() * (true > 0)).sum(2).sqrt()
        both = norm * norm_true
        total += torch.where(both > 0, value / torch.where(both > 0, both, 1), value) * near
    return 10 * (total * present).sum(1) / present.sum(1) / LONGEST


def cider_d_of_texts(
    candidates: Sequence[str], references: Sequence[Sequence[str]], corpus: Sequence[Sequence[str]] | None = None
) -> Tensor:
    """CIDEr-D of each caption given as text, ``(B,)`` float64; the corpus' figure is the mean.

    Args:
        candidates: one caption for each picture.
        references: what people wrote of each picture.
        corpus: references of the pictures from which document frequencies are counted, ``references`` by default.

    Raises:
        ValueError: lists of different lengths; a picture without a reference that has words; with the item.
    """
    if len(candidates) != len(references) or not candidates:
        raise ValueError(f"need references for each caption, got {len(candidates)} and {len(references)}")
    known: dict[str, int] = {}
    target = _reference_ids(references, known)
    counted = target if corpus is None else _reference_ids(corpus, known)
    output = word_ids([tokenise(text) for text in candidates], known)
    return cider_d(output, target, DocumentFrequencies.of(counted))


def _reference_ids(references: Sequence[Sequence[str]], known: dict[str, int]) -> Tensor:
    most = max(len(texts) for texts in references)
    sentences = [tokenise(text) for texts in references for text in [*texts, *[""] * (most - len(texts))]]
    rows = word_ids(sentences, known)
    return rows.view(len(references), most, rows.shape[1])


def _ngrams(ids: Tensor, n: int) -> Tensor:
    """Packed n-grams at every place of ``(..., L)``: ``(..., max(L - n + 1, 0))``, 0 where the sentence has ended."""
    ids = ids * (ids > 0).cumprod(-1)
    places = max(ids.shape[-1] - n + 1, 0)
    keys = ids.new_zeros(*ids.shape[:-1], places)
    for offset in range(n):
        keys = keys * (MOST_WORDS + 1) + ids[..., offset : offset + places]
    return keys * (ids[..., n - 1 :][..., :places] > 0)


def _counts(keys: Tensor, among: Tensor) -> Tensor:
    """How often each of ``keys`` ``(..., L)`` occurs in ``among`` ``(..., L')``, float64."""
    return (keys[..., :, None] == among[..., None, :]).sum(-1).double()


def _length(ids: Tensor) -> Tensor:
    return (ids > 0).cumprod(-1).sum(-1)


def _check(ids: Tensor, axes: int, name: str) -> None:
    if ids.ndim != axes or ids.dtype != torch.int64:
        shape = "(B, L)" if axes == 2 else "(B, R, L)"
        raise ValueError(f"{name} must be int64 {shape}, got {ids.dtype} {tuple(ids.shape)}")
    bad = (ids < 0) | (ids > MOST_WORDS)
    if bool(bad.any()):
        place = bad.nonzero()[0].tolist()
        raise ValueError(f"{name}: item {place[0]} has word id {int(ids[tuple(place)])}, not in [0, {MOST_WORDS}]")
