"""BERTScore (Zhang et al., ICLR 2020): how alike two texts are, word by word, in a language model's own terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixward.errors import PixwardError


@dataclass(frozen=True)
class TextScores:
    """Of ``B`` candidates, each against its reference, without rescaling.

    Attributes:
        precision: how well the words of the candidate are found in the reference, ``(B,)``.
        recall: how well the words of the reference are found in the candidate, ``(B,)``; DDPO's choice.
        f1: their harmonic mean, ``(B,)``.
    """

    precision: Tensor
    recall: Tensor
    f1: Tensor


class BertScore:
    """Scores by one layer of a model.

    Args:
        model: an encoder of ``transformers``, with ``hidden_states``.
        tokenizer: its tokeniser; its begin and end tokens are not averaged over.
        layer: which hidden states, 0 the embeddings; the last if None. The paper's tool takes 40 of
            ``microsoft/deberta-xlarge-mnli``, DDPO's model, 17 of ``roberta-large``, 9 of ``bert-base-uncased``.

    Raises:
        ValueError: the model has no such layer.
    """

    def __init__(self, model: Any, tokenizer: Any, layer: int | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        depth = int(self.model.config.num_hidden_layers)
        if layer is not None and not 0 <= layer <= depth:
            raise ValueError(f"the model has layers 0 to {depth}, not {layer}")
        self.layer = depth if layer is None else layer

    @staticmethod
    def load(name: str | Path, layer: int | None = None) -> BertScore:
        """Model and tokeniser from a folder, or by their name on the hub.

        Raises:
            PixwardError: transformers is missing, or there is no such model.
            ValueError: the model has no such layer.
        """
        try:
            from transformers import AutoModel, AutoTokenizer
        except ImportError:
            raise PixwardError("BERTScore needs transformers: pip install 'pixward[denoise]'") from None
        try:
            model, tokenizer = AutoModel.from_pretrained(str(name)), AutoTokenizer.from_pretrained(str(name))
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise PixwardError(f"cannot load a language model from {name}: {reason}") from error
        return BertScore(model, tokenizer, layer)

    @torch.no_grad()
    def __call__(self, candidates: Sequence[str], references: Sequence[str]) -> TextScores:
        """Scores of each candidate against its own reference, float32; 0 where either has no words.

        Each token takes the most alike of the other text (equations 1 and 2, without weights of words). As in the
        paper's tool, begin and end may be taken but do not count themselves.

        Raises:
            ValueError: not as many candidates as references.
        """
        if len(candidates) != len(references):
            raise ValueError(f"{len(candidates)} candidates need as many references, got {len(references)}")
        if not candidates:
            return TextScores(*torch.zeros(3, 0))
        (here, shown, counted), (there, known, wanted) = self._embedded(candidates), self._embedded(references)
        alike = here @ there.transpose(1, 2)
        precision = _mean(alike.masked_fill(~known[:, None, :], -2).amax(2), counted, wanted)
        recall = _mean(alike.masked_fill(~shown[:, :, None], -2).amax(1), wanted, counted)
        f1 = 2 * precision * recall / (precision + recall)
        return TextScores(precision, recall, torch.where(precision + recall == 0, 0, f1))

    def _embedded(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Directions of tokens ``(B, L, D)``, which are there ``(B, L)``, and which count."""
        device = next(self.model.parameters()).device
        said = self.tokenizer([text.strip() for text in texts], padding=True, truncation=True, return_tensors="pt")
        tokens, mask = said["input_ids"].to(device), said["attention_mask"].to(device)
        hidden = self.model(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states[self.layer]
        edge = torch.zeros_like(mask, dtype=torch.bool)
        for token in (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id):
            if token is not None:
                edge |= tokens == token
        return F.normalize(hidden.float(), dim=-1), mask.bool(), mask.bool() & ~edge


def _mean(best: Tensor, counted: Tensor, other: Tensor) -> Tensor:
    """The mean of ``best`` ``(B, L)`` over ``counted``; 0 where one of the two texts has no words."""
    both = counted.any(1) & other.any(1)
    return torch.where(both, (best * counted).sum(1) / counted.sum(1).clamp_min(1), 0)
