"""What an editor's sliders could not reach: where the last difference lies, in words that suggest what to do about it.

The difference between goal and best render is taken apart in L*a*b*, one explanation after the other, each an
orthogonal projection, so that the shares of its energy add up to 1:

1. tone: a curve of lightness alone (mean difference in L* for each lightness of the render);
2. colour: what depends on a pixel's own hue, chroma and lightness (casts, single hues);
3. local: what varies slowly over the picture (vignettes, gradients, dodging; the lowest 6x6 cosines);
4. detail: the rest (sharpness, grain, noise, retouching).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pixward.metrics.image import ciede2000, srgb_to_lab
from pixward.params import ParamSpace

VISIBLE = 2.0
"""CIEDE2000 above which people see a difference between two pictures side by side."""
TONES = (5, 25, 50, 75, 95)
"""Percentiles of lightness that a look is told by."""
LOOKS_OFF = 3.0
"""Difference of two pictures' lightness, spread of it or chroma, in L*a*b*, below which they count as alike."""
REACHED = 0.995
"""Share of the picture that has to lie within :data:`VISIBLE` for the goal to count as reached."""

_WORDS = {
    "tone": "tone (how light and dark tones are spread)",
    "colour": "colour (a cast or single hues)",
    "local": "local (a vignette, a gradient, dodging or burning)",
    "detail": "fine detail (sharpness, grain, noise or retouching)",
}


def explain(
    output: Tensor,
    goal: Tensor,
    space: ParamSpace,
    setting: Mapping[str, float],
    locked: Sequence[str] = (),
) -> dict[str, object]:
    """Compare the best render with the goal.

    Args:
        output: the best render, ``(1, 3, H, W)`` in [0, 1], 8 bit.
        goal: the goal, the same shape.
        space: the editor's sliders.
        setting: ``{slider: value}`` of the render.
        locked: sliders that the user held.

    Returns:
        Plain data: ``within`` (share of pixels within :data:`VISIBLE`), ``delta_e`` (``mean`` and ``worst``, the 99th
        percentile), ``parts`` (share of the remaining difference by kind, summing to 1, or all 0), ``at_limit``
        (``{slider: value}`` of the free sliders at an end of their range), ``locked``, and ``sentence``.
    """
    with torch.no_grad():
        ours, theirs = srgb_to_lab(output), srgb_to_lab(goal)
        error = ciede2000(ours, theirs).flatten()
        parts = _parts(ours[0], theirs[0])
    within = float((error <= VISIBLE).float().mean())
    limits = _at_limit(space, setting, locked)
    return {
        "within": round(within, 4),
        "delta_e": {"mean": round(float(error.mean()), 3), "worst": round(float(error.quantile(0.99)), 3)},
        "parts": parts,
        "at_limit": limits,
        "locked": list(locked),
        "sentence": _sentence(within, parts, limits, space, locked),
    }


def explain_look(
    output: Tensor,
    reference: Tensor,
    space: ParamSpace,
    setting: Mapping[str, float],
    locked: Sequence[str] = (),
) -> dict[str, object]:
    """The same for a look: no pixel of ``reference`` is the truth of a pixel here, so only distributions are compared.

    Args:
        output: the best render, ``(1, 3, H, W)`` in [0, 1].
        reference: the picture whose look was wanted, of any size.
        space: the editor's sliders.
        setting: ``{slider: value}`` of the render.
        locked: sliders that the user held.

    Returns:
        Plain data: ``render`` and ``reference``, each with ``tones`` (the percentiles :data:`TONES` of L*),
        ``chroma`` (mean, of L*a*b*) and ``cast`` (mean a* and b*); ``at_limit``, ``locked`` and ``sentence``. There is
        no map of what is left: that the two differ in a place says nothing, since they show different things there.
    """
    ours, theirs = _tells(output), _tells(reference)
    limits = _at_limit(space, setting, locked)
    text = "The reference shows another scene, so what was not reached cannot be said pixel by pixel"
    text += f"; beside it the result {_beside(ours, theirs)}"
    return {
        "render": ours,
        "reference": theirs,
        "at_limit": limits,
        "locked": list(locked),
        "sentence": f"{text}{_held(limits, space, locked)}.",
    }


def _tells(image: Tensor) -> dict[str, list[float] | float]:
    """Lightness, contrast and colour of a picture as a whole."""
    with torch.no_grad():
        light, a, b = srgb_to_lab(image)[0].flatten(1)
    tones = light.quantile(torch.tensor(TONES).to(light) / 100)
    return {
        "tones": [round(float(value), 2) for value in tones],
        "chroma": round(float(torch.hypot(a, b).mean()), 2),
        "cast": [round(float(a.mean()), 2), round(float(b.mean()), 2)],
    }


def _beside(ours: Mapping[str, list[float] | float], theirs: Mapping[str, list[float] | float]) -> str:
    """How one picture as a whole differs from another, the differences that people would see."""
    mine, other = ours["tones"], theirs["tones"]
    assert isinstance(mine, list) and isinstance(other, list)
    pairs = (
        ("darker", "lighter", mine[2], other[2], "median L* {:.0f} against {:.0f}"),
        ("flatter", "steeper", mine[4] - mine[0], other[4] - other[0], "L* spread over {:.0f} against {:.0f}"),
        ("paler", "more colourful", ours["chroma"], theirs["chroma"], "chroma {:.0f} against {:.0f}"),
    )
    words = []
    for less, more, own, wanted, figures in pairs:
        own, wanted = float(str(own)), float(str(wanted))
        if abs(own - wanted) >= LOOKS_OFF:
            words.append(f"{less if own < wanted else more} ({figures.format(own, wanted)})")
    return f"is {_listed(words)}" if words else "is as light, as steep and as colourful"


def _parts(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Shares of the squared difference in L*a*b*, ``(3, H, W)`` each."""
    rest = theirs - ours
    energies = [float(rest.square().sum())]
    light, chroma = ours[0], torch.hypot(ours[1], ours[2])
    tone_bins = (light / 100 * 31).long().clamp(0, 31)
    rest = torch.cat([_without_means(rest[:1], tone_bins), rest[1:]])
    energies.append(float(rest.square().sum()))
    hue = ((torch.atan2(ours[2], ours[1]) / (2 * math.pi) + 0.5) * 12).long().clamp(0, 11)
    depth = (chroma / 15).long().clamp(0, 4)
    hue = torch.where(depth == 0, 0, hue)  # A grey's hue is noise.
    rest = _without_means(rest, (hue * 5 + depth) * 4 + (light / 25).long().clamp(0, 3))
    energies.append(float(rest.square().sum()))
    rest = rest - _slow(rest)
    energies += [float(rest.square().sum()), 0.0]
    total = energies[0]
    names = ("tone", "colour", "local", "detail")
    drops = [max(0.0, before - after) for before, after in itertools.pairwise(energies)]
    return {name: round(drop / total, 4) if total > 1e-9 else 0.0 for name, drop in zip(names, drops, strict=True)}


def _without_means(rest: Tensor, bins: Tensor) -> Tensor:
    """``rest`` ``(C, H, W)`` less its mean over the pixels of each bin ``(H, W)``."""
    index, flat = bins.flatten(), rest.flatten(1)
    size = int(index.max()) + 1
    count = torch.zeros(size, device=rest.device).index_add_(0, index, torch.ones_like(flat[0])).clamp_min(1)
    means = torch.zeros(len(flat), size, device=rest.device).index_add_(1, index, flat) / count
    return (flat - means[:, index]).view_as(rest)


def _slow(rest: Tensor) -> Tensor:
    """The part of ``(C, H, W)`` made of the six slowest cosines along each side."""
    tall, wide = _cosines(rest.shape[1]).to(rest), _cosines(rest.shape[2]).to(rest)
    return tall.T @ (tall @ rest @ wide.T) @ wide


def _cosines(size: int, count: int = 6) -> Tensor:
    """Orthonormal DCT-II rows, ``(min(count, size), size)``."""
    k = torch.arange(min(count, size))[:, None]
    rows = torch.cos(math.pi * k * (torch.arange(size) + 0.5) / size)
    return rows / rows.norm(dim=1, keepdim=True)


def _at_limit(space: ParamSpace, setting: Mapping[str, float], locked: Sequence[str]) -> dict[str, float]:
    found = {}
    for spec in space:
        value = setting[spec.name]
        near = 1e-3 * (spec.high - spec.low)
        at_end = value - spec.low <= near or spec.high - value <= near
        if at_end and abs(value - spec.default) > near and spec.name not in locked:
            found[spec.name] = value
    return found


def _sentence(
    within: float, parts: Mapping[str, float], limits: Mapping[str, float], space: ParamSpace, locked: Sequence[str]
) -> str:
    if within >= REACHED:
        return f"The goal was reached: {_percent(within)} of the picture is within deltaE {VISIBLE:g} of it."
    ranked = sorted(parts, key=lambda name: -parts[name])
    kinds = [name for name in ranked[:2] if parts[name] >= 0.25]
    text = f"{_percent(within)} of the picture is within deltaE {VISIBLE:g} of the goal"
    text += f"; what is left is mostly {' and '.join(_WORDS[name] for name in kinds or ranked[:1])}"
    return f"{text}{_held(limits, space, locked)}."


def _held(limits: Mapping[str, float], space: ParamSpace, locked: Sequence[str]) -> str:
    """Why the sliders could do no more, if they stand at an end or were locked."""
    text = ""
    if limits:
        named = [f"{name} ({value:g}{_unit(space, name)})" for name, value in limits.items()]
        text += f"; {_listed(named)} {'stands' if len(named) == 1 else 'stand'} at the end of the range"
    if locked:
        text += f"; {_listed(locked)} {'was' if len(locked) == 1 else 'were'} locked"
    return text


def _listed(words: Sequence[str]) -> str:
    """One, one and two, or one, two and three."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def _percent(share: float) -> str:
    # Rounded down, so that 99.97 % does not read as all of it.
    return f"{math.floor(share * 1000) / 10:g} %"


def _unit(space: ParamSpace, name: str) -> str:
    unit = space.specs[space.index(name)].unit
    return f" {unit}" if unit else ""
