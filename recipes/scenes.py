"""A sheet of made-up scenes: what `pixward.data.synth` draws, with boxes, panoptic map and captions.

    python recipes/scenes.py --out docs/results/scenes.png

Some seconds on one core. ``--seed`` and ``--first`` choose other scenes, ``--photos`` a folder of photos as
backgrounds, ``--font`` the font Noto Color Emoji for emoji as classes. The sheet shows, from left to right: the image
with its boxes; the panoptic map, a colour for each segment; the grey image; that image with the nearest of 32 colours,
found by k-means, in each of 8 x 8 cells; the captions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from pixward.data.colours import ColourTokens, to_grey
from pixward.data.sprites import EMOJI
from pixward.data.synth import CLASSES, SceneBatch, Scenes, SceneSettings
from pixward.files import save_atomic
from pixward.image import from_tensor

ZOOM, GAP, TEXT = 2, 6, 330
SEGMENTS = torch.tensor(
    [
        *[(0, 0, 0), (230, 60, 60), (60, 130, 230), (240, 200, 50), (70, 180, 90)],
        *[(170, 90, 210), (240, 140, 40), (120, 120, 120), (190, 190, 190)],
    ]
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results/scenes.png"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--font", type=Path)
    options = parser.parse_args()
    classes = tuple(EMOJI) if options.font else CLASSES
    settings = SceneSettings(classes=classes, photos=options.photos, font=options.font)
    scenes = Scenes(settings, seed=options.seed)
    palette = ColourTokens.fit(scenes.batch(range(200)).images, colours=32)
    sheet = draw(scenes.batch(range(options.first, options.first + options.scenes)), settings, palette)
    # 128 colours: a third of the size, and noise looks the same.
    small = sheet.quantize(128, dither=Image.Dither.NONE)
    save_atomic(options.out, lambda part: small.save(part, optimize=True), force=True)
    print(f"{options.out}: {options.out.stat().st_size // 1000} kB")


def draw(batch: SceneBatch, settings: SceneSettings, palette: ColourTokens) -> Image.Image:
    """Two columns of scenes."""
    side = settings.size * ZOOM
    grey = to_grey(batch.images)
    coloured = palette.decode(palette.encode(batch.images), grey)
    maps = SEGMENTS[batch.segments.ids.clamp(max=len(SEGMENTS) - 1)].permute(0, 3, 1, 2) / 255
    rows = (len(batch.images) + 1) // 2
    width = 4 * (side + GAP) + TEXT
    sheet = Image.new("RGB", (2 * width + GAP, rows * (side + GAP) + GAP), "white")
    for i in range(len(batch.images)):
        left, top = GAP + (i % 2) * width, GAP + (i // 2) * (side + GAP)
        panels = (
            boxed(batch, i, settings),
            *(enlarged(p[i : i + 1]) for p in (maps, grey.expand(-1, 3, -1, -1), coloured)),
        )
        for k, panel in enumerate(panels):
            sheet.paste(panel, (left + k * (side + GAP), top))
        lines = "\n".join(wrapped(caption) for caption in batch.captions[i])
        place = (left + 4 * (side + GAP), top)
        ImageDraw.Draw(sheet).multiline_text(place, lines, "black", ImageFont.load_default(12), spacing=3)
    return sheet


def boxed(batch: SceneBatch, item: int, settings: SceneSettings) -> Image.Image:
    """A scene with its boxes and their classes."""
    panel = enlarged(batch.images[item : item + 1])
    pen = ImageDraw.Draw(panel)
    for corners, label, valid in zip(
        (batch.boxes.boxes[item] * panel.width).tolist(), batch.boxes.labels[item], batch.boxes.valid[item], strict=True
    ):
        if valid:
            x0, y0, x1, y1 = corners
            pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline="white")
            name = settings.classes[int(label)]
            pen.text((x0 + 2, y0 + 1), name, "white", ImageFont.load_default(10), stroke_width=1, stroke_fill="black")
    return panel


def enlarged(image: torch.Tensor) -> Image.Image:
    """``(1, 3, H, W)`` in [0, 1] as a picture, pixels as squares."""
    picture = Image.fromarray(from_tensor(image.float()))
    return picture.resize((picture.width * ZOOM, picture.height * ZOOM), Image.Resampling.NEAREST)


def wrapped(caption: str, width: int = 54) -> str:
    """A caption in lines of at most ``width`` letters."""
    lines = [""]
    for word in caption.split():
        if len(lines[-1]) + len(word) + 1 > width:
            lines.append("  ")
        lines[-1] += (" " if lines[-1].strip() else "") + word
    return "\n".join(lines)


if __name__ == "__main__":
    main()
