"""Rewards for captions: ``(output, target)``, word ids ``(B, L)`` and ``(B, R, L)``, to ``(B,)``; higher is better."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pixward.metrics.text import DocumentFrequencies, cider_d


@dataclass(frozen=True)
class CiderD:
    """CIDEr-D with document frequencies counted beforehand, those of the training captions.

    Counted over a batch instead they would change with it, and over one picture the score is 0.
    """

    frequencies: DocumentFrequencies

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The reward ``(B,)`` float32, in [0, 10]; see :func:`pixward.metrics.text.cider_d` for shapes and errors.

        A picture's samples may share its references: give each sample a row of ``target``.
        """
        return cider_d(output, target, self.frequencies.to(output.device)).float()
