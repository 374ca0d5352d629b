"""The policy of system 2: a picture in, tokens out.

A vision transformer behind a small convolutional stem and an autoregressive decoder, as in "Tuning computer vision
models with task rewards" (Pinto et al., ICML 2023) and UViM (Kolesnikov et al. 2022): pre-norm blocks, attention
without biases, GELU, learnt positions, a head that starts at zero, inputs shifted right by one. The defaults train on
two cores; :data:`PAPER` has the sizes of the paper's detector.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from pixward.policies.decoding import (
    PLAIN,
    distribution,
    draw,
    lengthened,
    mask_of,
    permitted,
    permitted_everywhere,
    scores,
)
from pixward.policies.transformer import Cache, DecoderBlock, EncoderBlock, Keys, conv_stem
from pixward.policies.weights import load_weights, save_weights
from pixward.types import Decoding, Grammar, Samples, Scores

KIND = "sequence"
"""What weight files of this policy say they hold."""


@dataclass(frozen=True)
class SequenceSettings:
    """Shape of a :class:`SequencePolicy`.

    Attributes:
        vocabulary: number of tokens, V.
        length: most tokens in a sequence, L.
        end: the token that ends a sequence, and fills what follows.
        image: height and width of the pictures it reads.
        channels: of those pictures.
        patch: pixels, in height and in width, that become one place of the encoder; a power of two with ``conv``.
        stem: ``conv`` halves the picture until patches are left, which learns faster from little; ``patch`` is the
            vision transformer's one convolution.
        width: of every layer.
        heads: of every attention.
        encoder_layers: transformer blocks over the picture.
        decoder_layers: transformer blocks over the tokens.
    """

    vocabulary: int
    length: int
    end: int = 0
    image: int = 64
    channels: int = 3
    patch: int = 8
    stem: Literal["conv", "patch"] = "conv"
    width: int = 128
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 3


PAPER = SequenceSettings(1084, 600, 0, 1280, 3, 16, "patch", 768, 12, 12, 6)
"""The paper's detector: ViT-B/16 at 1280 pixels, six decoder layers, 100 boxes of six tokens."""


class SequencePolicy(nn.Module):
    """A :class:`pixward.types.TokenPolicy`.

    The encoder runs once for each picture, however many sequences are drawn for it, and so do the keys that the
    decoder looks them up by.
    """

    def __init__(self, settings: SequenceSettings, grammar: Grammar | None = None) -> None:
        """Without ``grammar`` every token may follow every other. Raises ValueError for sizes that do not fit."""
        super().__init__()
        if settings.image % settings.patch or settings.width % settings.heads:
            raise ValueError("image must be a multiple of patch, and width of heads")
        self.settings, self.grammar = settings, grammar
        width, places = settings.width, (settings.image // settings.patch) ** 2
        self.stem = (
            conv_stem(settings.channels, width, settings.patch)
            if settings.stem == "conv"
            else nn.Conv2d(settings.channels, width, settings.patch, settings.patch)
        )
        self.places = nn.Parameter(0.02 * torch.randn(places, width))
        self.encoder = nn.ModuleList(EncoderBlock(width, settings.heads) for _ in range(settings.encoder_layers))
        self.encoded = nn.LayerNorm(width)
        self.words = nn.Embedding(settings.vocabulary, width)
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(settings.length, width))
        self.decoder = nn.ModuleList(DecoderBlock(width, settings.heads) for _ in range(settings.decoder_layers))
        self.decoded = nn.LayerNorm(width)
        self.head = nn.Linear(width, settings.vocabulary)
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        """What the encoder sees in the pictures ``(B, C, H, W)``: ``(B, places, width)``, row by row.

        Raises:
            ValueError: pictures of another size than the settings'.
        """
        want = (self.settings.channels, self.settings.image, self.settings.image)
        if images.ndim != 4 or images.shape[1:] != want:
            raise ValueError(f"images must be (B, {want[0]}, {want[1]}, {want[2]}), got {tuple(images.shape)}")
        x = self.stem(2 * images - 1).flatten(2).transpose(1, 2) + self.places
        for block in self.encoder:
            x = block(x)
        return self.encoded(x)

    def encode(self, images: Tensor) -> list[Keys]:
        """What each decoder block looks up in the pictures ``(B, C, H, W)``; raises ValueError as :meth:`features`."""
        x = self.features(images)
        return [cast(DecoderBlock, block).look.keys(x) for block in self.decoder]

    def encoder_state(self) -> dict[str, Tensor]:
        """The weights that read pictures, for another policy to begin with (``load_state_dict(..., strict=False)``)."""
        return {
            name: weight
            for name, weight in self.state_dict().items()
            if name.startswith(("stem.", "places", "encoder.", "encoded."))
        }

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits ``(B, K, L, V)`` of every token given those before it, ``tokens`` ``(B, K, L)``, any ``L`` that fits.

        Raises:
            ValueError: tokens of a wrong shape.
        """
        if tokens.ndim != 3 or len(tokens) != len(images) or tokens.shape[2] > self.settings.length:
            raise ValueError(
                f"tokens must be ({len(images)}, K, L) with L at most {self.settings.length}, got {tuple(tokens.shape)}"
            )
        memory = self.encode(images)
        shifted = torch.cat([self.start.expand(*tokens.shape[:2], 1, -1), self.words(tokens[..., :-1])], 2)
        x = shifted + self.positions[: tokens.shape[2]]
        for block, looked in zip(self.decoder, memory, strict=True):
            x = block(x, looked)
        return self.head(self.decoded(x))

    def log_prob(self, images: Tensor, tokens: Tensor, decoding: Decoding = PLAIN) -> Scores:
        """Score ``tokens`` ``(B, K, L)`` as :meth:`sample` did, with gradients.

        Raises:
            PixwardError: the grammar forbids one of the tokens.
            ValueError: shapes that do not fit.
        """
        mask = mask_of(tokens, self.settings.end)
        # Past the end of the longest sequence there is nothing to score, and every place costs the same.
        told = max(1, int(mask.any(0).any(0).sum()))
        short, mask = tokens[..., :told], mask[..., :told]
        logits = self(images, short)
        allowed = None
        if self.grammar is not None:
            allowed = permitted_everywhere(self.grammar, short.flatten(0, 1), mask.flatten(0, 1)).view(logits.shape)
        return lengthened(scores(logits, short, mask, allowed, decoding), tokens.shape[2], self.settings.end)

    @torch.no_grad()
    def sample(
        self, images: Tensor, count: int, decoding: Decoding = PLAIN, generator: torch.Generator | None = None
    ) -> Samples:
        """Draw ``count`` sequences for each image ``(B, C, H, W)``; ``generator`` is on the CPU.

        Raises:
            PixwardError: the grammar leaves nothing to draw.
            ValueError: pictures of a wrong size.
        """
        settings, batch = self.settings, len(images)
        memory = self.encode(images)
        caches = [Cache.empty(batch * count, settings.length, keys) for keys, _ in memory]
        tokens = torch.full((batch * count, settings.length), settings.end, device=images.device)
        log_probs = torch.zeros(batch * count, settings.length, device=images.device)
        live = torch.ones(batch * count, dtype=torch.bool, device=images.device)
        # The rows that the blocks compute, and how many of them share a picture's keys.
        kept, shared = torch.arange(batch * count, device=images.device), count
        x = self.start.expand(batch, count, 1, -1)
        for step in range(settings.length):
            x = x + self.positions[step]
            for block, looked, cache in zip(self.decoder, memory, caches, strict=True):
                x = block(x, looked, cache)
            logits = self.head(self.decoded(x)).flatten(0, 2)[live[kept]]
            allowed = None if self.grammar is None else permitted(self.grammar, tokens[live, :step])
            table = distribution(logits, allowed, decoding)
            # Ended rows draw too: what a row gets must not hang on which others are still going.
            everyone = table.new_zeros(batch * count, table.shape[1]).index_put((live,), table)
            drawn = draw(everyone, decoding, generator)
            tokens[live, step] = drawn[live]
            log_probs[live, step] = table.gather(1, drawn[live, None])[:, 0]
            live = live & (tokens[:, step] != settings.end)
            if not live.any():
                break
            if 2 * int(live.sum()) <= len(kept):
                # Half of the work would be for sequences that have ended: go on with the others alone.
                going = live[kept].nonzero()[:, 0]
                memory = [(keys[going // shared], values[going // shared]) for keys, values in memory]
                caches = [cache.select(going) for cache in caches]
                kept, shared = kept[going], 1
            x = self.words(tokens[kept, step]).unflatten(0, (-1, shared))[:, :, None]
        shape = (batch, count, settings.length)
        return Samples(tokens.view(shape), log_probs.view(shape), mask_of(tokens, settings.end).view(shape))


# --- files --------------------------------------------------------------------------------------------------------


def save_sequence(path: Path, policy: SequencePolicy) -> None:
    """Write weights and settings; the grammar is code, and whoever loads them brings it again."""
    save_weights(path, policy.state_dict(), KIND, asdict(policy.settings), torch.float32)


def load_sequence(name: str | Path, grammar: Grammar | None = None) -> SequencePolicy:
    """What :func:`save_sequence` wrote, ready to sample.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or holds something else.
    """
    tensors, settings = load_weights(name, KIND)
    try:
        policy = SequencePolicy(SequenceSettings(**settings), grammar)
        policy.load_state_dict(tensors)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: these weights fit no policy of this version of pixward: train it again") from error
    return policy.eval()
