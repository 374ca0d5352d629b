"""From what is true of a picture to a sequence of tokens, and back: boxes, words, colours, panoptic maps.

Every tokeniser keeps to the same rules, so that trainers and policies need not know which one they serve. Tokens are
int64 from 0 to ``vocabulary - 1``; a sequence has ``length`` of them; token 0 is :data:`END`, and all that follows it
is END again. Sequences hold no start token. ``allowed(tokens)`` is the :class:`pixward.types.Grammar` of a sampler,
``allowed_along(tokens)`` gives the same for every place of whole sequences at once, which re-scoring needs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pixward.boxes import Boxes
from pixward.errors import PixwardError

END = 0
"""The token that ends a sequence, and fills the rest of it."""

Order = Literal["given", "random", "area"]

_FIELDS = 6  # tokens of one box


@dataclass(frozen=True)
class BoxTokens:
    """Boxes as tokens, six each: ``y0 x0 y1 x1 class confidence``; the numbering of the paper's released code.

    "Tuning computer vision models with task rewards", big_vision ``detection_reward.py``: 0 is END, 1 stands for a
    wrong box and 2 for a right one, coordinate ``k`` of ``0 ... steps`` is ``k + 3``, class ``c`` is ``steps + 4 + c``;
    with 1,000 steps and 80 classes 1,084 tokens.

    Attributes:
        classes: how many.
        boxes: the most boxes of a sequence, which has ``6 * boxes`` tokens. A full one has no END.
        steps: coordinates are rounded to multiples of ``1 / steps``, so each moves by ``0.5 / steps`` at most.
    """

    classes: int
    boxes: int = 100
    steps: int = 1000

    WRONG = 1
    RIGHT = 2
    _FIRST = 3

    def __post_init__(self) -> None:
        """Raises ValueError for a number below 1."""
        if min(self.classes, self.boxes, self.steps) < 1:
            raise ValueError(f"classes, boxes and steps must be at least 1, got {self}")

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return self.steps + 4 + self.classes

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return _FIELDS * self.boxes

    def encode(
        self,
        boxes: Boxes,
        order: Order = "given",
        generator: torch.Generator | None = None,
        right: Tensor | None = None,
    ) -> Tensor:
        """Tokens ``(B, length)`` of the valid boxes, crowds left out.

        Args:
            boxes: at most ``boxes`` valid ones for each picture, corners in order.
            order: ``"given"``, ``"random"`` (Pix2seq), or ``"area"``, the largest first.
            generator: for ``"random"``, on the CPU.
            right: ``(B, N)`` bool, which boxes get the token for a right box; all, if None.

        Raises:
            PixwardError: too many boxes, a box outside the picture or a class that there is not, with its item.
        """
        try:
            boxes.check("boxes")
        except ValueError as error:
            raise PixwardError(str(error)) from None
        wanted = boxes.valid if boxes.crowd is None else boxes.valid & ~boxes.crowd
        self._check(boxes, wanted)
        _, places = self.arrange(boxes, order, generator)
        corners = (boxes.boxes * self.steps).round().long() + self._FIRST
        sure = torch.full_like(boxes.labels, self.RIGHT) if right is None else self.WRONG + right.long()
        rows = torch.cat([corners[..., [1, 0, 3, 2]], (boxes.labels + self.steps + 4)[..., None], sure[..., None]], 2)
        rows = torch.where(wanted[..., None], rows, END).gather(1, places[..., None].expand(-1, -1, _FIELDS))
        short = max(0, self.boxes - rows.shape[1])
        return torch.nn.functional.pad(rows[:, : self.boxes], (0, 0, 0, short), value=END).flatten(1)

    def arrange(self, boxes: Boxes, order: Order, generator: torch.Generator | None = None) -> tuple[Boxes, Tensor]:
        """The boxes in the order of their tokens, valid ones first, and the index ``(B, N)`` that puts them so.

        To encode several columns about the same boxes, arrange first and encode as ``"given"``.
        """
        wanted = boxes.valid if boxes.crowd is None else boxes.valid & ~boxes.crowd
        if order == "random":
            key = torch.rand(wanted.shape, generator=generator).to(boxes.boxes)
        elif order == "area":
            key = 1 - (boxes.boxes[..., 2:] - boxes.boxes[..., :2]).prod(2)
        else:
            key = torch.zeros_like(boxes.boxes[..., 0])
        places = torch.where(wanted, key, 2.0).argsort(dim=1, stable=True)
        arranged = Boxes(
            boxes.boxes.gather(1, places[..., None].expand(-1, -1, 4)),
            boxes.labels.gather(1, places),
            wanted.gather(1, places),
            None if boxes.scores is None else boxes.scores.gather(1, places),
        )
        return arranged, places

    def decode(self, tokens: Tensor, scores: Tensor | None = None) -> Boxes:
        """The boxes that ``tokens`` ``(B, length)`` tell of, any tokens at all: what is no box is not valid.

        A box counts where its four coordinates, class and confidence are tokens of their kind, its corners are in order
        and no END came before it.

        Args:
            tokens: int64.
            scores: ``(B, boxes)``, how sure each box is; if None, 1 for a right box and 0 for a wrong one.
        """
        rows = tokens.unflatten(1, (self.boxes, _FIELDS))
        corners, label, sure = rows[..., :4] - self._FIRST, rows[..., 4] - self.steps - 4, rows[..., 5]
        going = (rows != END).all(2).long().cumprod(1).bool()
        fine = ((corners >= 0) & (corners <= self.steps)).all(2) & (corners[..., 2:] >= corners[..., :2]).all(2)
        fine &= (label >= 0) & (label < self.classes) & ((sure == self.WRONG) | (sure == self.RIGHT)) & going
        shares = torch.where(fine[..., None], corners, 0)[..., [1, 0, 3, 2]].float() / self.steps
        scores = (sure == self.RIGHT).float() if scores is None else scores
        return Boxes(shares, torch.where(fine, label, 0), fine, scores)

    def allowed(self, tokens: Tensor) -> Tensor:
        """Which tokens may be drawn after ``tokens`` ``(N, t)``: ``(N, vocabulary)`` bool.

        As of :meth:`allowed_along`, but a box is never drawn as wrong: what is said next leans on what was found, and a
        policy that learns to doubt its boxes would say them over and over. How sure it is, is read, not drawn.
        """
        start = max(0, tokens.shape[1] - 2)
        ended = (tokens == END).any(1)
        mask = self._follow(torch.nn.functional.pad(tokens[:, start:], (0, 1)), ended, start)[:, -1]
        mask[:, self.WRONG] = False
        return mask

    def allowed_along(self, tokens: Tensor) -> Tensor:
        """Which tokens may stand in each place of ``tokens`` ``(N, L)``, given those before: ``(N, L, vocabulary)``.

        Six in turn: ``y0`` or END, ``x0``, ``y1`` of at least ``y0``, ``x1`` of at least ``x0``, a class, wrong or
        right. After END only END.
        """
        ended = torch.nn.functional.pad((tokens == END).long().cumsum(1)[:, :-1] > 0, (1, 0))
        return self._follow(tokens, ended, 0)

    def _follow(self, tokens: Tensor, ended: Tensor, start: int) -> Tensor:
        """The rules for places ``start, start + 1, ...``; the other corner always stands two places before."""
        field = (torch.arange(tokens.shape[1], device=tokens.device) + start) % _FIELDS
        every = torch.arange(self.vocabulary, device=tokens.device)
        coordinate = (every >= self._FIRST) & (every <= self.steps + self._FIRST)
        mask = torch.where((field < 4)[:, None], coordinate, every >= self.steps + 4)
        mask = torch.where((field == 5)[:, None], (every == self.WRONG) | (every == self.RIGHT), mask)
        mask = mask | ((field == 0)[:, None] & (every == END))
        least = torch.nn.functional.pad(tokens, (2, 0))[:, : tokens.shape[1]]
        far = ((field == 2) | (field == 3))[:, None]
        mask = mask & (~far | (every >= least[..., None]))
        ended = ended if ended.ndim == 2 else ended[:, None]
        return torch.where(ended[..., None], every == END, mask)

    def _check(self, boxes: Boxes, wanted: Tensor) -> None:
        many = wanted.sum(1) > self.boxes
        if bool(many.any()):
            item = int(many.nonzero()[0, 0])
            raise PixwardError(f"item {item} has {int(wanted[item].sum())} boxes, a sequence holds {self.boxes}")
        for what, wrong in (
            (f"a class that is not below {self.classes}", boxes.labels >= self.classes),
            ("corners in the wrong order", (boxes.boxes[..., 2:] < boxes.boxes[..., :2]).any(2)),
        ):
            if bool((wrong & wanted).any()):
                item, index = (int(i) for i in (wrong & wanted).nonzero()[0])
                raise PixwardError(f"item {item}: box {index} has {what}")


def words(caption: str) -> list[str]:
    """A caption's words: lower case, punctuation dropped, ``man's`` kept in one."""
    return re.findall(r"\w+(?:'\w+)*", caption.lower().replace("’", "'"))


@dataclass(frozen=True)
class WordTokens:
    """Words as tokens: END is 0, START 1 for decoders that want one in their vocabulary, UNKNOWN 2, words from 3.

    Attributes:
        known: the words, from the most frequent.
        length: tokens of a sequence; a caption of ``length`` words or more has no END.
    """

    known: tuple[str, ...]
    length: int = 20

    START = 1
    UNKNOWN = 2
    _FIRST = 3

    @staticmethod
    def of(captions: Iterable[str], length: int = 20, minimum: int = 1) -> WordTokens:
        """The vocabulary of ``captions``: words that occur ``minimum`` times, frequent ones first, then by alphabet.

        Raises:
            PixwardError: no word is that frequent.
        """
        counts = Counter(word for caption in captions for word in words(caption))
        known = sorted((word for word, count in counts.items() if count >= minimum), key=lambda w: (-counts[w], w))
        if not known:
            raise PixwardError(f"no word occurs {minimum} times in the captions: there is no vocabulary")
        return WordTokens(tuple(known), length)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self.known) + self._FIRST

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Tokens ``(B, length)``; what is longer is cut, words not known become UNKNOWN."""
        number = {word: i + self._FIRST for i, word in enumerate(self.known)}
        out = torch.full((len(captions), self.length), END)
        for i, caption in enumerate(captions):
            row = [number.get(word, self.UNKNOWN) for word in words(caption)[: self.length]]
            out[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return out

    def decode(self, tokens: Tensor) -> list[str]:
        """Captions of ``tokens`` ``(B, L)``, up to the first END; START is skipped, UNKNOWN reads ``?``."""
        names = ["", "", "?", *self.known]
        captions = []
        for row in tokens.tolist():
            row = row[: row.index(END)] if END in row else row
            captions.append(" ".join(names[token] for token in row if token != self.START))
        return captions

    def allowed(self, tokens: Tensor) -> Tensor:
        """Which tokens may follow ``tokens`` ``(N, t)``: ``(N, vocabulary)``; words and END, after END only END."""
        return self._follow((tokens == END).any(1))

    def allowed_along(self, tokens: Tensor) -> Tensor:
        """The same for each place of ``tokens`` ``(N, L)``: ``(N, L, vocabulary)``."""
        return self._follow(torch.nn.functional.pad((tokens == END).long().cumsum(1)[:, :-1] > 0, (1, 0)))

    def _follow(self, ended: Tensor) -> Tensor:
        every = torch.arange(self.vocabulary, device=ended.device)
        return torch.where(ended[..., None], every == END, (every == END) | (every >= self._FIRST))
