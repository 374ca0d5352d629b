"""Damage for training and tests of the pixel tasks: noise, salt and pepper, text written over a picture, scratches.

All take grey images ``(B, 1, H, W)``, floats in [0, 1], and leave them as they are. Random numbers come from a
generator on the CPU, or from torch's global one. A strength is a number, or a range from which every image draws its
own.
"""

from __future__ import annotations

import importlib.util
import io
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Strength = float | tuple[float, float]
"""One number, or ``(low, high)``: drawn uniformly, once for each image."""


def gaussian_noise(clean: Tensor, sigma: Strength, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """``clean`` plus normal noise, neither clipped nor rounded, and the sigma of each image ``(B,)``.

    Args:
        clean: ``(B, C, H, W)`` in [0, 1].
        sigma: standard deviation on the scale of 0 to 255.
        generator: on the CPU; torch's global one without.

    Raises:
        ValueError: a sigma below 0, or a range the wrong way round.
    """
    drawn = _drawn(clean, sigma, (0, math.inf), generator)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return clean + noise * (drawn / 255).view(-1, 1, 1, 1), drawn


def poisson_noise(clean: Tensor, peak: Strength, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Photon counts over ``peak``, and the peak of each image ``(B,)``: noise of variance ``clean / peak``.

    Args:
        clean: ``(B, C, H, W)`` in [0, 1]; what lies below 0 counts as 0.
        peak: the mean count of a white pixel, above 0; the fewer, the noisier.
        generator: on the CPU; torch's global one without.

    Raises:
        ValueError: a peak of 0 or less, or a range the wrong way round.
    """
    drawn = _drawn(clean, peak, (1e-6, math.inf), generator)
    scale = drawn.view(-1, 1, 1, 1)
    counts = torch.poisson((clean * scale).clamp_min(0).cpu(), generator=generator)
    return counts.to(clean) / scale, drawn


def salt_pepper(clean: Tensor, density: Strength, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Pixels set to 0 or 1, and the density of each image ``(B,)``.

    Args:
        clean: ``(B, C, H, W)`` in [0, 1]; all channels of a pixel suffer alike.
        density: the chance of a pixel to be hit, 0 to 1; it turns black or white with equal chance.
        generator: on the CPU; torch's global one without.

    Raises:
        ValueError: a density outside [0, 1], or a range the wrong way round.
    """
    drawn = _drawn(clean, density, (0, 1), generator)
    chance = torch.rand(len(clean), 1, *clean.shape[2:], generator=generator).to(clean)
    half = drawn.view(-1, 1, 1, 1) / 2
    return torch.where(chance < half, 0.0, torch.where(chance < 2 * half, 1.0, clean)).to(clean), drawn


@dataclass(frozen=True)
class TextStyle:
    """How text is written over pictures; the defaults are those of PixelRL's 68 test pictures, widened a little.

    Those hold mails in Times and Arial, upright, bold and italic, in pure black or white, with hard edges, saved as
    JPEG of quality 75.

    Attributes:
        sizes: of the letters, least and most, pixels.
        extreme: share of the pictures whose text is black or white; the others draw a grey level.
        smooth: share with soft (anti-aliased) edges.
        tilted: share whose lines are turned, by up to 10 degrees either way.
        jpeg: share that went through JPEG of quality 75 afterwards, which rounds to 8 bits.
        fonts: files of further fonts; see :func:`find_fonts`. Pillow's own is always among them.
        page: side of the page in pixels that a smaller picture is a random cut of.
    """

    sizes: tuple[int, int] = (11, 30)
    extreme: float = 0.9
    smooth: float = 0.2
    tilted: float = 0.1
    jpeg: float = 0.7
    fonts: tuple[str, ...] = ()
    page: int = 481


def text_overlay(
    clean: Tensor, style: TextStyle | None = None, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Random words written over each image, and where: bool ``(B, 1, H, W)``.

    Args:
        clean: ``(B, 1, H, W)`` in [0, 1].
        style: how it looks; the default also writes in the fonts that :func:`find_fonts` finds.
        generator: on the CPU; torch's global one without.
    """
    style = style or TextStyle(fonts=find_fonts())

    def ink(size: tuple[int, int], rng: random.Random) -> tuple[Image.Image, float, bool]:
        page = _page(size, style, rng)
        return page, _level(rng, style.extreme), rng.random() < style.jpeg

    return _inked(clean, ink, generator)


@dataclass(frozen=True)
class ScratchStyle:
    """How scratches look.

    Attributes:
        count: least and most in an image.
        width: least and most, pixels.
        extreme: share of the images whose scratches are black or white; the others draw a grey level.
        smooth: share with soft (anti-aliased) edges.
    """

    count: tuple[int, int] = (2, 8)
    width: tuple[int, int] = (1, 3)
    extreme: float = 0.7
    smooth: float = 0.5


def scratches(
    clean: Tensor, style: ScratchStyle | None = None, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Thin random curves drawn across each image, and where: bool ``(B, 1, H, W)``.

    Args:
        clean: ``(B, 1, H, W)`` in [0, 1].
        style: how they look.
        generator: on the CPU; torch's global one without.
    """
    style = style or ScratchStyle()

    def ink(size: tuple[int, int], rng: random.Random) -> tuple[Image.Image, float, bool]:
        return _curves(size, style, rng), _level(rng, style.extreme), False

    return _inked(clean, ink, generator)


def jpeg(images: Tensor, quality: int = 75) -> Tensor:
    """``images`` ``(B, 1, H, W)``, clipped and rounded to 8 bits, saved as JPEG and read again."""
    out = []
    for image in images:
        file = io.BytesIO()
        levels = (image[0].detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        Image.fromarray(levels).save(file, "JPEG", quality=quality)
        out.append(torch.from_numpy(np.array(Image.open(file))).to(images)[None] / 255)
    return torch.stack(out)


_PLAIN = re.compile(
    r"(?i)^(stixgeneral|dejavus(ans|erif)(-(bold|oblique|italic|boldoblique|bolditalic))?\.|"
    r"liberations(ans|erif)-|times|arial|free(sans|serif)|nimbus)"
)
_PLACES = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts")


@lru_cache(maxsize=1)
def find_fonts() -> tuple[str, ...]:
    """Files of common text fonts on this machine, sorted: matplotlib's where it is installed, then the system's.

    Text drawn with them differs from machine to machine; ``TextStyle(fonts=())`` does not.
    """
    places = [Path(place) for place in _PLACES]
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin:
        places.insert(0, Path(found.origin).parent / "mpl-data" / "fonts" / "ttf")
    fonts: dict[str, str] = {}
    for place in places:
        for path in sorted(place.rglob("*.ttf")) if place.is_dir() else []:
            if _PLAIN.match(path.name):
                fonts.setdefault(path.name, str(path))
    return tuple(fonts[name] for name in sorted(fonts))


def _drawn(clean: Tensor, strength: Strength, limits: tuple[float, float], generator: torch.Generator | None) -> Tensor:
    """The strength of each image, ``(B,)``."""
    low, high = strength if isinstance(strength, tuple) else (strength, strength)
    if not limits[0] <= low <= high <= limits[1]:  # NaN as well
        raise ValueError(f"a strength of {strength} does not lie in {limits[0]:g} to {limits[1]:g}, low end first")
    return (low + (high - low) * torch.rand(len(clean), generator=generator)).to(clean)


Ink = Callable[[tuple[int, int], random.Random], tuple[Image.Image, float, bool]]


def _inked(clean: Tensor, ink: Ink, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """``clean`` with one ``ink(size, rng)`` each: a picture of its cover, its grey level, and whether JPEG follows."""
    if clean.ndim != 4 or clean.shape[1] != 1:
        raise ValueError(f"grey images (B, 1, H, W) are needed, got {tuple(clean.shape)}")
    height, width = clean.shape[2:]
    seeds = torch.randint(2**62, (len(clean),), generator=generator).tolist()
    damaged, where = [], []
    for image, seed in zip(clean, seeds, strict=True):
        cover, level, saved = ink((width, height), random.Random(seed))
        share = torch.from_numpy(np.array(cover)).to(clean)[None] / 255
        mixed = torch.lerp(image, torch.full_like(image, level), share)
        damaged.append(jpeg(mixed[None])[0] if saved else mixed)
        where.append(share > 0)
    return torch.stack(damaged), torch.stack(where)


def _level(rng: random.Random, extreme: float) -> float:
    return float(rng.randrange(2)) if rng.random() < extreme else rng.randrange(256) / 255


def _page(size: tuple[int, int], style: TextStyle, rng: random.Random) -> Image.Image:
    """The cover of a picture's text, mode L: a window of a page of ragged lines and blank ones."""
    width, height = size
    points = rng.randint(*style.sizes)
    name = rng.choice(style.fonts) if style.fonts and rng.random() > 0.25 else ""
    font, stroke = _font(name, points), int(not name and rng.random() < 0.3)
    page = Image.new("L", size, 0)
    draw = ImageDraw.Draw(page)
    draw.fontmode = "L" if rng.random() < style.smooth else "1"
    left = 10 - rng.uniform(0, max(0, style.page - width))
    y = 8 - rng.uniform(0, max(0, style.page - height))
    pitch = points * rng.uniform(1.05, 1.25)
    while y < height:
        text = _line(rng)
        if rng.random() > 0.3 and y + 2 * points > 0:
            draw.text((left, y), text, fill=255, font=font, stroke_width=stroke)
        y += pitch
    if not name and rng.random() < 0.3:  # the bundled font has no italics: lean its lines
        page = page.transform(size, Image.Transform.AFFINE, (1, 0.25, -0.125 * height, 0, 1, 0))
    if rng.random() < style.tilted:
        soft = Image.Resampling.BILINEAR if draw.fontmode == "L" else Image.Resampling.NEAREST
        page = page.rotate(rng.uniform(-10, 10), soft)
    # Pillow softens the edges of a stroke in any mode.
    return page if draw.fontmode == "L" else page.point([0] * 128 + [255] * 128)


@lru_cache(maxsize=512)
def _font(name: str, points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(name, points) if name else ImageFont.load_default(points)


_LETTERS = "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddlllluuuccmmmwwffggyyppbbvkjxqz"


def _line(rng: random.Random) -> str:
    """A line of made-up words, of any length: what a page does not hold is cut off."""
    words = []
    for _ in range(rng.randint(1, 14)):
        kind = rng.random()
        if kind < 0.08:
            word = str(rng.randrange(10 ** rng.randint(1, 5)))
        else:
            word = "".join(rng.choices(_LETTERS, k=rng.randint(1, 9)))
            word = word.upper() if kind < 0.14 else word.capitalize() if kind < 0.3 else word
        if rng.random() < 0.2:
            word += rng.choice(".,:;?!)>")
        words.append(word)
    return rng.choice(("", "", "", ">", ">>", "> ")) + " ".join(words)


def _curves(size: tuple[int, int], style: ScratchStyle, rng: random.Random) -> Image.Image:
    """The cover of an image's scratches, mode L: quadratic Bezier curves, drawn at four times the size if soft."""
    width, height = size
    fine = 4 if rng.random() < style.smooth else 1
    page = Image.new("L", (width * fine, height * fine), 0)
    draw = ImageDraw.Draw(page)
    for _ in range(rng.randint(*style.count)):
        ends = [(rng.uniform(-0.1, 1.1) * width * fine, rng.uniform(-0.1, 1.1) * height * fine) for _ in range(3)]
        steps = [i / 24 for i in range(25)]
        points = [
            tuple((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c for a, b, c in zip(*ends, strict=True))
            for t in steps
        ]
        draw.line(points, fill=255, width=rng.randint(*style.width) * fine, joint="curve")
    return page if fine == 1 else page.resize(size, Image.Resampling.BOX)
