"""Make the goals of the example photos: `python examples/make_goals.py`.

Two looks are drawn from the sliders of ``chain:photo``, so that a perfect match exists: nobody chose them by hand, and
``pixward match`` is not told. The third, on ``street.jpg``, is a film-like look that no slider of the chain can make
exactly (a curve for each channel and crosstalk between the dyes): what is left over is what ``match`` reports as
unreached. Goals are smaller than the photos, as goals from elsewhere usually are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pixward.editors.chain import PHOTO
from pixward.image import quantize

SEEDS = {"otters": 6, "tea": 4}
FOLDER = Path(__file__).parent / "photos"
LONGEST_SIDE = 768
SPREAD = 0.3
"""Standard deviation of a drawn slider, over its range from the default to an end."""


def drawn_look(image: torch.Tensor, seed: int) -> torch.Tensor:
    """``image`` ``(1, 3, H, W)`` through ``chain:photo`` at a setting drawn from ``seed``."""
    draw = np.random.default_rng(seed).normal(0, SPREAD, (1, len(PHOTO.space)))
    action = torch.tensor(draw, dtype=torch.float32).clamp(-1, 1)
    action[:, PHOTO.space.index("exposure")] *= 0.4  # three stops are a wide range
    return PHOTO(image, PHOTO.space.denormalize(action))


def film_look(image: torch.Tensor) -> torch.Tensor:
    """Faded blacks, a toe and a shoulder of its own for each channel, then dyes that leak into one another."""
    gamma = torch.tensor([0.92, 1.0, 1.12])[None, :, None, None]
    floor = torch.tensor([0.05, 0.055, 0.085])[None, :, None, None]
    ceiling = torch.tensor([0.985, 0.965, 0.90])[None, :, None, None]
    curve = image**gamma
    curve = curve + 0.35 * curve * (1 - curve) * (2 * curve - 1)
    image = floor + (ceiling - floor) * curve
    dyes = torch.tensor([[0.90, 0.08, 0.02], [0.04, 0.91, 0.05], [0.02, 0.10, 0.88]])
    return torch.einsum("ij,bjhw->bihw", dyes, image)


def main() -> None:
    """Write ``NAME-goal.jpg`` beside every example photo."""
    for name in ("otters", "tea", "street"):
        with Image.open(FOLDER / f"{name}.jpg") as file:
            photo = torch.from_numpy(np.asarray(file.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)[None]
        goal = drawn_look(photo, SEEDS[name]) if name in SEEDS else film_look(photo)
        pixels = (quantize(goal)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        picture = Image.fromarray(pixels)
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        picture.save(FOLDER / f"{name}-goal.jpg", quality=90, subsampling=0, optimize=True)
        print(f"{name}-goal.jpg", picture.size)


if __name__ == "__main__":
    main()
