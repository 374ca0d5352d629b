"""Transformer blocks that remember: for a decoder that says one token at a time about a picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

Keys = tuple[Tensor, Tensor]
"""Keys and values of one attention, ``(N, heads, S, width / heads)`` each."""


@dataclass
class Cache:
    """Keys and values of the tokens so far.

    Attributes:
        keys: ``(N, heads, L, size)``, of which the first ``length`` are known.
        values: likewise.
        length: how many.
    """

    keys: Tensor
    values: Tensor
    length: int = 0

    @classmethod
    def empty(cls, rows: int, length: int, like: Tensor) -> Cache:
        """Room for ``length`` tokens in ``rows`` sequences, with heads as in ``like`` ``(B, heads, S, size)``."""
        shape = (rows, like.shape[1], length, like.shape[3])
        return cls(like.new_empty(shape), like.new_empty(shape))

    def append(self, keys: Tensor, values: Tensor) -> Keys:
        """All keys and values, with these ``(N, heads, 1, size)`` as the last."""
        self.keys[:, :, self.length], self.values[:, :, self.length] = keys[:, :, 0], values[:, :, 0]
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def select(self, rows: Tensor) -> Cache:
        """The sequences ``rows`` alone, by their indices."""
        return Cache(self.keys[rows], self.values[rows], self.length)


class Attention(nn.Module):
    """Multi-head attention without biases; keys are made apart from queries, so that they can be kept."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.pair = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def keys(self, x: Tensor) -> Keys:
        """Keys and values of ``x`` ``(N, S, width)``."""
        keys, values = self.pair(x).chunk(2, -1)
        return self._split(keys), self._split(values)

    def forward(self, x: Tensor, keys: Keys, causal: bool = False) -> Tensor:
        """What ``x`` ``(N, T, width)`` finds under ``keys``."""
        found = F.scaled_dot_product_attention(self._split(self.query(x)), *keys, is_causal=causal)
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class EncoderBlock(nn.Module):
    """Pre-norm attention over all places, then two linear layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attend = Attention(width, heads)
        self.think = _two_layers(width)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, S, width)`` to the same."""
        y = self.norms[0](x)
        x = x + self.attend(y, self.attend.keys(y))
        return x + self.think(self.norms[1](x))


class DecoderBlock(nn.Module):
    """Pre-norm: causal attention over the tokens, a look at the picture, then two linear layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.attend = Attention(width, heads)
        self.look = Attention(width, heads)
        self.think = _two_layers(width)

    def forward(self, x: Tensor, looked: Keys, cache: Cache | None = None) -> Tensor:
        """``(B, K, T, width)`` to the same; with ``cache``, ``T`` is 1 and the earlier tokens are remembered there."""
        shape = x.shape
        y = self.norms[0](x).flatten(0, 1)
        keys = self.attend.keys(y)
        found = self.attend(y, keys if cache is None else cache.append(*keys), causal=cache is None)
        x = x + found.view(shape)
        # All sequences of one picture ask in one go: its keys are not repeated.
        x = x + self.look(self.norms[1](x).flatten(1, 2), looked).view(shape)
        return x + self.think(self.norms[2](x))


def _two_layers(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def conv_stem(channels: int, width: int, patch: int) -> nn.Sequential:
    """Halves ``(B, channels, H, W)`` until each place stands for ``patch`` x ``patch`` pixels: ``(B, width, ...)``.

    Raises:
        ValueError: ``patch`` is no power of two, or 1.
    """
    halvings = patch.bit_length() - 1
    if 2**halvings != patch or not halvings:
        raise ValueError(f"the conv stem needs a patch that is a power of two and at least 2, got {patch}")
    sizes = [channels, *(max(width >> left, 16) for left in range(halvings - 1, -1, -1))]
    layers: list[nn.Module] = []
    for inside, outside in pairwise(sizes):
        layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.GroupNorm(8, outside), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(width, width, 1))
