"""RLPixTuner's reward for looks: how near a picture's style is to that of a reference of another scene.

Gram matrices of VGG's relu1_1, relu2_1, relu3_1 and relu4_1 (Gatys, Ecker, Bethge, CVPR 2016), histograms of luminance
and chroma, and a price for content that changes (Wu et al., NeurIPS 2024; ``envs/isp_style_env.py`` of their code).
Where the paper and the released code differ:

==========  ============================================  ==========================================================
term        paper: :data:`PRINTED`                        released code: :data:`RELEASED`
==========  ============================================  ==========================================================
Gram        1 x sum of squared differences                100 x mean of squared differences, of ``F F^T / (C H W)``
luminance   100 x squared L2 between histograms of Y      100 x mean over the 64 bins of the squared differences
chroma      50 x the same for U and V                     100 x 0.5 x the same for U and V
content     0.5 x, printed between goal and picture,      0.5 x mean squared difference of relu4_1 between picture
            and taken off what a step gained              and photo as it was; what a step gains is that of the whole
network     VGG-19                                        VGG-19 normalised (``vgg_normalised.pth``), at 512 x 512
==========  ============================================  ==========================================================

Both options here take the code's content term: goal and picture show different scenes, whose features are no content
to keep. Both divide the Gram matrix by ``C H W``, without which pictures of two sizes could not be compared; the
paper's own normaliser is not known here. Unlike the code's ``torch.histc`` the histograms are linearly interpolated,
so that they have gradients, and V beyond +-0.5, which vivid reds and cyans reach, goes to the last bin instead of
nowhere. Nothing is resized: hand in pictures of the size that you mean.

The released prices belong to the normalised network. On a plain one the Gram matrices are far smaller and the content
term is not, so that no edit scores above the untouched photo: ``StyleReward(VGG.load(path).scaled(photos))`` scales it.
``docs/results/look_rewards.json`` has how often each variant knows a look when it sees one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from pixward.metrics.vgg import SMALLEST, VGG
from pixward.policies.nets import histogram

BINS = 64
"""Of each histogram."""

# Analogue YUV of BT.601 (luma of REC601, to three digits), as in the released code.
_YUV = ((0.299, 0.587, 0.114), (-0.14713, -0.28886, 0.436), (0.615, -0.51499, -0.10001))


@dataclass(frozen=True)
class StyleTerms:
    """What each term costs.

    Attributes:
        gram: of the four Gram matrices together.
        luminance: of the histogram of Y.
        chroma: of the histograms of U and V together.
        content: of the mean squared difference of relu4_1 from the photo as it was.
        over: whether the squared differences of a matrix or a histogram are added up or averaged.
    """

    gram: float
    luminance: float
    chroma: float
    content: float
    over: Literal["sum", "mean"]

    def __post_init__(self) -> None:
        """Raises ValueError for a negative price."""
        if not min(self.gram, self.luminance, self.chroma, self.content) >= 0:
            raise ValueError(f"no term may cost less than 0, got {self}")


PRINTED = StyleTerms(gram=1.0, luminance=100.0, chroma=50.0, content=0.5, over="sum")
"""The paper's formula."""
RELEASED = StyleTerms(gram=100.0, luminance=100.0, chroma=50.0, content=0.5, over="mean")
"""The released code's, with the options of its ``run_pst.sh``."""


class StyleReward:
    """Minus the style score, ``(output, target) -> (B,)``, at most 0; gradients flow to ``output``.

    The features of the last target are kept, so that a search pays for them once.

    Attributes:
        network: what the features are.
        terms: what each term costs.
    """

    def __init__(self, network: VGG, terms: StyleTerms = RELEASED, content: Tensor | None = None) -> None:
        """``content``: relu4_1 of the photo as it was, which :meth:`keeping` takes; without it the term is left out."""
        self.network, self.terms = network, terms
        self._content = content
        self._known: tuple[Tensor, list[Tensor], Tensor] | None = None

    @staticmethod
    def load(path: str | Path | None = None, terms: StyleTerms = RELEASED) -> StyleReward:
        """The reward with the weights at ``path``, or where :meth:`pixward.metrics.vgg.VGG.load` finds some.

        Raises:
            PixwardError: no weights, or a file that holds none.
        """
        return StyleReward(VGG.load(path), terms)

    @torch.no_grad()
    def keeping(self, source: Tensor) -> StyleReward:
        """The same reward with the content term: what is drawn is to keep the content of ``source``.

        ``source``: the photo as it was, ``(1, 3, H, W)`` or ``(B, 3, H, W)``, of the size that will be scored.

        Raises:
            ValueError: no such pictures, or pixels that are no finite numbers.
        """
        _check("source", source)
        return StyleReward(self.network, self.terms, self.network(source)[-1])

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Score ``output`` ``(B, 3, H, W)`` against ``target`` ``(1 or B, 3, h, w)``, of any size.

        Raises:
            ValueError: other shapes, sides under 16 pixels, pixels that are no finite numbers, or a size that is not
                that of the photo whose content is kept.
        """
        return -torch.stack(list(self.parts(output, target).values())).sum(0)

    def parts(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What each term costs, ``(B,)`` and 0 or more: "gram", "luminance", "chroma", and "content" where it is kept.

        Arguments and errors: see :meth:`__call__`.
        """
        _check("output", output)
        _check("target", target)
        if len(target) not in (1, len(output)):
            raise ValueError(f"{len(output)} pictures need one target or as many, got {len(target)}")
        features, terms = self.network(output), self.terms
        grams, bins = self._aims(target.to(output))
        style = [self._apart(gram(ours).flatten(1), aim) for ours, aim in zip(features, grams, strict=True)]
        light, u, v = self._apart(yuv_histograms(output), bins).unbind(1)
        costs = {
            "gram": terms.gram * torch.stack(style).sum(0).to(output),
            "luminance": terms.luminance * light,
            "chroma": terms.chroma * (u + v),
        }
        if self._content is not None:
            costs["content"] = terms.content * self._moved(features[-1], self._content).to(output)
        return costs

    def _apart(self, ours: Tensor, aim: Tensor) -> Tensor:
        squares = (ours - aim).square()
        return squares.sum(-1) if self.terms.over == "sum" else squares.mean(-1)

    @staticmethod
    def _moved(feature: Tensor, content: Tensor) -> Tensor:
        if feature.shape[1:] != content.shape[1:] or len(content) not in (1, len(feature)):
            raise ValueError(
                "pictures must have the size of the photo whose content is kept, and be as many if those are several: "
                f"at relu4_1 they are {tuple(feature.shape)} and {tuple(content.shape)}"
            )
        return (feature - content).square().mean((1, 2, 3))

    @torch.no_grad()
    def _aims(self, target: Tensor) -> tuple[list[Tensor], Tensor]:
        """Gram matrices and histograms of ``target``, taken anew only where it is another picture."""
        if self._known is None or not _same(self._known[0], target):
            grams = [gram(feature).flatten(1) for feature in self.network(target)]
            self._known = (target.clone(), grams, yuv_histograms(target))
        return self._known[1:]


def gram(feature: Tensor) -> Tensor:
    """``F F^T / (C H W)``, ``(B, C, H, W)`` to ``(B, C, C)``: which channels are active together, wherever that is."""
    flat = feature.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def yuv_histograms(images: Tensor) -> Tensor:
    """Histograms of Y, U + 0.5 and V + 0.5 on [0, 1], ``(B, 3, H, W)`` to ``(B, 3, 64)``, each summing to 1.

    Analogue YUV of BT.601, from encoded RGB. Each pixel is shared between the two nearest bins: gradients flow.
    """
    offset = images.new_tensor([0.0, 0.5, 0.5])
    yuv = images.flatten(2).transpose(1, 2) @ images.new_tensor(_YUV).T + offset
    return histogram(yuv, BINS).view(len(images), 3, BINS) / BINS


def _same(first: Tensor, second: Tensor) -> bool:
    return first.device == second.device and torch.equal(first, second)


def _check(name: str, images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < SMALLEST:
        raise ValueError(f"{name} must be (B, 3, H, W) of {SMALLEST} pixels a side or more, got {tuple(images.shape)}")
    finite = images.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        raise ValueError(f"{name}: item {int((~finite).nonzero()[0])} has pixels that are no finite numbers")
