"""Small studies with made-up pictures, and made-up people to count: nobody was asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

METHODS = ("unhurried-method", "hasty-method", "lazy-method")
"""Names too long to occur in a picture's code by chance."""


def picture(path: Path, seed: int, size: tuple[int, int] = (48, 32), exif: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soft = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    tags = Image.Exif()
    if exif:
        tags[0x010E] = exif  # ImageDescription
    Image.fromarray(soft).resize(size, Image.Resampling.BICUBIC).save(path, exif=tags)


def study_folder(folder: Path, tasks: int = 3, methods: tuple[str, ...] = METHODS) -> Path:
    for k in range(tasks):
        place = folder / f"very-secret-task-{k}"
        picture(place / "goal.png", 100 * k)
        picture(place / "source.jpg", 100 * k + 1)
        for m, method in enumerate(methods):
            picture(place / f"{method}.jpg", 100 * k + 2 + m, exif=method)
    return folder


def picks_file(path: Path, key: dict, participant: str, choose, shift: int = 0) -> Path:
    """What the page would save for a person who picks ``choose(question number) -> methods``."""
    answers = []
    for number, question in enumerate(key["questions"]):
        shown = sorted(question["results"])
        turn = (number + shift) % len(shown)
        shown = shown[turn:] + shown[:turn]
        picks = [name for name in shown if question["results"][name] in choose(number)]
        given = {"question": question["id"], "shown": shown, "picks": picks, "skipped": not picks}
        answers.append({**given, "seconds": 2.0 + number})
    data = {"format": "pixward-study-picks", "version": 1, "study": key["study"], "participant": participant}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**data, "picks": key["picks"], "answers": answers}))
    return path
