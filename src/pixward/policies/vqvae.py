"""Panoptic maps as a few tokens, and back: a small VQ-VAE.

UViM's (Kolesnikov et al. 2022) as "Tuning computer vision models with task rewards" uses it: the map becomes one-hot
channels, a convolutional encoder, a grid of codes from a learnt dictionary (van den Oord et al. 2017), a decoder, and
logits for class and instance of each pixel. Every instance gets one class, by the sum of its pixels' logits
(:func:`pixward.data.panoptic.join_segments`). Token 0 ends a sequence elsewhere, so code ``k`` is token ``k + 1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixward.boxes import Segments
from pixward.data.panoptic import VOID, join_segments, split_segments
from pixward.policies.weights import load_weights, save_weights

KIND = "panoptic-codes"
"""What weight files of this network say they hold."""


@dataclass(frozen=True)
class VqSettings:
    """Shape of a :class:`PanopticCodes`.

    Attributes:
        classes: of segments.
        things: the first so many classes come in objects; the others are stuff.
        objects: the most of them that a map can hold; of further ones only the class is drawn.
        image: height and width of the maps.
        down: pixels, in height and width, that one code stands for; a power of two.
        codes: size of the dictionary.
        width: channels of the hidden layers.
        code_width: length of a dictionary entry.
    """

    classes: int
    things: int
    objects: int = 8
    image: int = 64
    down: int = 8
    codes: int = 256
    width: int = 64
    code_width: int = 32


class PanopticCodes(nn.Module):
    """``encode`` maps to tokens, ``decode`` tokens to maps.

    Attributes:
        length: tokens of a map, ``(image / down)^2``, none of them the end.
        vocabulary: number of tokens, the end included.
    """

    def __init__(self, settings: VqSettings) -> None:
        """Raises ValueError for sizes that do not fit."""
        super().__init__()
        halvings = settings.down.bit_length() - 1
        if 2**halvings != settings.down or settings.image % settings.down or not halvings:
            raise ValueError(f"image must be a multiple of down, a power of two above 1; got {settings}")
        self.settings = settings
        self.side = settings.image // settings.down
        self.length, self.vocabulary = self.side**2, settings.codes + 1
        inside, width = settings.classes + settings.objects + 2, settings.width
        down: list[nn.Module] = [nn.Conv2d(inside, width, 1)]
        up: list[nn.Module] = [nn.Conv2d(settings.code_width, width, 1), Residual(width), Residual(width)]
        for _ in range(halvings):
            down += [nn.Conv2d(width, width, 4, 2, 1), Residual(width)]
            up += [nn.ConvTranspose2d(width, width, 4, 2, 1), Residual(width)]
        self.down = nn.Sequential(*down, Residual(width), nn.Conv2d(width, settings.code_width, 1))
        self.up = nn.Sequential(*up, nn.Conv2d(width, inside, 1))
        self.places = nn.Parameter(torch.zeros(settings.code_width, self.side, self.side))
        self.dictionary = nn.Parameter(torch.randn(settings.codes, settings.code_width))

    def encode(self, segments: Segments) -> Tensor:
        """Tokens ``(B, length)``, 1 to ``codes``.

        Raises:
            ValueError: maps of another size, or a class that there is not.
        """
        return self._nearest(self.down(self.one_hot(segments))).flatten(1) + 1

    def decode(self, tokens: Tensor, size: tuple[int, int] | None = None) -> Segments:
        """The maps that ``tokens`` ``(B, length)`` tell of; any tokens will do, the end counts as code 0.

        Every pixel belongs to a segment or to none, and every segment has one class; see :meth:`settle`. With ``size``
        (height, width) logits are stretched to it first, so that outlines stay smooth.
        """
        codes = self.dictionary[(tokens - 1).clamp(0, self.settings.codes - 1)]
        logits = self._paint(codes.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)).float()
        return self.settle(logits if size is None else F.interpolate(logits, size, mode="bilinear"))

    def forward(self, segments: Segments, quantised: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """What training minimises: cross-entropies of class and instance, and the dictionary's loss; scalars.

        |sg(z) - e|^2 + 0.25 |z - sg(e)|^2 pulls entries to what was encoded, and that to the entries, with the
        gradient of what follows passed straight through (van den Oord et al. 2017, eq. 3).
        """
        shown = self.one_hot(segments)
        z = self.down(shown)
        e = self.dictionary[self._nearest(z)].permute(0, 3, 1, 2)
        dictionary = F.mse_loss(e, z.detach()) + 0.25 * F.mse_loss(z, e.detach())
        logits = self._paint(z + (e - z).detach() if quantised else z)
        split = self.settings.classes + 1
        truth = shown[:, :split].argmax(1), shown[:, split:].argmax(1)
        return (
            F.cross_entropy(logits[:, :split], truth[0]),
            F.cross_entropy(logits[:, split:], truth[1]),
            dictionary,
        )

    def one_hot(self, segments: Segments) -> Tensor:
        """``(B, 1 + classes + 1 + objects, H, W)``: void or class, no object or its number.

        Objects are numbered by the row of their centre, then by its column, so that a map reads the same whatever order
        its segments came in.

        Raises:
            ValueError: maps of another size, or a class that there is not.
        """
        settings = self.settings
        if segments.ids.shape[1:] != (settings.image, settings.image):
            raise ValueError(f"maps must be {settings.image} pixels a side, got {tuple(segments.ids.shape[1:])}")
        if bool((segments.labels[segments.valid] >= settings.classes).any()):
            raise ValueError(f"a segment has a class that is not below {settings.classes}")
        classes, objects = split_segments(segments, self._things())
        objects = self._renumbered(objects)
        hot = F.one_hot(classes - VOID, settings.classes + 1), F.one_hot(objects, settings.objects + 1)
        return torch.cat(hot, 3).permute(0, 3, 1, 2).to(self.dictionary)

    def settle(self, logits: Tensor) -> Segments:
        """Logits ``(B, 1 + classes + 1 + objects, H, W)`` to maps: one class for each object, by their sum.

        Sums of log-probabilities would choose the same: they differ from these by what all classes of a pixel share.
        """
        split = self.settings.classes + 1
        classes, objects = logits[:, :split], logits[:, split:].argmax(1)
        joined = join_segments(classes[:, 1:], objects, self._things())
        return Segments(
            torch.where(classes[:, 0] >= classes[:, 1:].amax(1), 0, joined.ids), joined.labels, joined.valid
        )

    def _things(self) -> Tensor:
        return torch.arange(self.settings.classes, device=self.dictionary.device) < self.settings.things

    def _renumbered(self, objects: Tensor) -> Tensor:
        """Objects ``(B, H, W)`` numbered as :meth:`one_hot` says; what is too many becomes 0."""
        count = int(objects.amax()) + 1
        inside = F.one_hot(objects, count)[..., 1:].float()
        area = inside.sum((1, 2))
        rows, columns = (torch.arange(size, device=inside.device).float() for size in objects.shape[1:])
        row = torch.einsum("bhws,h->bs", inside, rows) / area.clamp_min(1)
        column = torch.einsum("bhws,w->bs", inside, columns) / area.clamp_min(1)
        key = torch.where(area > 0, row.round() * objects.shape[2] + column, torch.inf)
        number = key.argsort(stable=True, dim=1).argsort(1) + 1
        number = torch.where((area > 0) & (number <= self.settings.objects), number, 0)
        return F.pad(number, (1, 0)).gather(1, objects.flatten(1)).view_as(objects)

    def _nearest(self, z: Tensor) -> Tensor:
        """Index of the nearest entry, ``(B, side, side)``."""
        # In full precision, or near entries are mixed up.
        with torch.autocast(z.device.type, enabled=False):
            flat = z.float().permute(0, 2, 3, 1)
            distance = self.dictionary.square().sum(1) - 2 * flat @ self.dictionary.T
        return distance.argmin(3)

    def _paint(self, codes: Tensor) -> Tensor:
        return self.up(codes + self.places)


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *[nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)],
            *[nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 1)],
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, width, H, W)`` to the same."""
        return x + self.layers(x)


def train_codes(
    network: PanopticCodes,
    batches: Callable[[int], Segments],
    steps: int,
    learning_rate: float = 2e-3,
    precision: torch.dtype = torch.float32,
) -> Iterator[dict[str, float]]:
    """Train ``network`` in place on ``batches(i)``, ``steps`` updates; yields the losses of each.

    ``precision`` is that of the convolutions; bfloat16 takes two thirds of the time on two cores.

    The first quarter goes by without the dictionary, which then starts from what is encoded; chasing an encoder that
    knows nothing yet takes it several times as long. Entries that nothing has chosen for 50 updates move to where
    something was encoded, or few of them would ever be used.
    """
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, learning_rate / 50)
    idle = torch.zeros(network.settings.codes, device=network.dictionary.device)
    free = steps // 4
    for step in range(steps):
        segments = batches(step)
        with torch.autocast(network.dictionary.device.type, precision, enabled=precision != torch.float32):
            semantic, instance, dictionary = network.train()(segments, step >= free)
        optimizer.zero_grad()
        (semantic + instance + (dictionary if step >= free else 0)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        used = _revive(network, segments, idle, step, everything=step < free)
        yield {
            "semantic": semantic.item(),
            "instance": instance.item(),
            "dictionary": dictionary.item(),
            "used": used,
        }


@torch.no_grad()
def _revive(network: PanopticCodes, segments: Segments, idle: Tensor, step: int, everything: bool) -> float:
    """Count how long each entry has been idle, move the idle ones; the share in use."""
    z = network.down(network.one_hot(segments))
    chosen = network._nearest(z).flatten().bincount(minlength=len(idle)) > 0
    idle.add_(1).masked_fill_(chosen, 0)
    dead = ((idle > 50) | everything).nonzero()[:, 0]
    if len(dead):
        flat = z.permute(0, 2, 3, 1).flatten(0, 2)
        generator = torch.Generator().manual_seed(step)
        picked = torch.randint(len(flat), (len(dead),), generator=generator).to(dead.device)
        network.dictionary[dead] = flat[picked] + 1e-3 * torch.randn(len(dead), flat.shape[1], generator=generator).to(
            flat
        )
        idle[dead] = 0
    return chosen.float().mean().item()


def save_codes(path: Path, network: PanopticCodes) -> None:
    """Write weights and settings."""
    save_weights(path, network.state_dict(), KIND, asdict(network.settings), torch.float32)


def load_codes(name: str | Path) -> PanopticCodes:
    """What :func:`save_codes` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or holds something else.
    """
    tensors, settings = load_weights(name, KIND)
    try:
        network = PanopticCodes(VqSettings(**settings))
        network.load_state_dict(tensors)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: these weights fit no network of this version of pixward: train it again") from error
    return network.eval()
