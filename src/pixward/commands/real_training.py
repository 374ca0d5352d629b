"""``pixward train edit`` for a real editor's response and map: renders first, made once, then the networks."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from pixward import decode
from pixward.commands.training import EditTraining, Watch, follow_lines, keep, with_steps
from pixward.data.pairs import photo_files
from pixward.data.renders import Gathering, PixelPairs, RenderBank, Sources, gather
from pixward.editors.external import ExternalEditor
from pixward.errors import PixwardError
from pixward.files import save_text
from pixward.policies.mapped import MappedResponse, MapSettings, SliderMap, describe_map
from pixward.policies.response import Response, ResponseSettings, describe_response, pixel_features
from pixward.real import RealProgram, open_photo
from pixward.run import Run
from pixward.train.calibrate import CalibrationSettings, calibrate
from pixward.train.response import ResponseTraining, train_response
from pixward.types import Editor

PAIRS = 8
"""Pairs of renders of one photo, in one file of the bank."""
_MAP_BATCH = 24


def train_real(job: EditTraining, watch: Watch) -> Path:
    """Gather the renders that ``job`` asks for, unless they are there, and train; returns the network's file.

    Raises:
        PixwardError: no photos, an editor that fails, a run folder in use.
    """
    assert isinstance(job.editor, ExternalEditor)
    raw = job.editor.name.endswith(":raw")
    files = _raw_files(job.photos) if raw else _pictures(job.photos)
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(job.seed)).tolist()
    with tempfile.TemporaryDirectory(prefix=f"pixward-{os.getpid()}-") as small:
        sources = partial(_source, job.editor, [files[place] for place in order], Path(small))
        return _gathered(job, sources, len(files), watch)


def _gathered(job: EditTraining, sources: Sources, photos: int, watch: Watch) -> Path:
    how = Gathering(photos, max(2, job.renders // (2 * PAIRS)), PAIRS, seed=job.seed)
    folder = job.out / "renders"
    _check_bank(folder, job, photos)
    for have, total in gather(folder, sources, pixel_features, how):
        if have % 50 == 0 or have == total:
            watch({"step": 0, "renders": 2 * PAIRS * have, "of": 2 * PAIRS * total})
    return fit(job, RenderBank(folder), watch)


def _check_bank(folder: Path, job: EditTraining, photos: int) -> None:
    """Renders that are there must be of this editor, these photos and this seed: mixed ones would teach nothing."""
    wanted = {"editor": job.editor.name, "sliders": list(job.editor.space.names), "photos": photos, "seed": job.seed}
    place = folder / "bank.json"
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_text(place, json.dumps(wanted, indent=1) + "\n")
    elif json.loads(place.read_text(encoding="utf-8")) != wanted:
        raise PixwardError(
            f"{folder} holds renders of another editor, other photos or another seed: choose another RUN"
        )


def _pictures(folders: Sequence[Path]) -> list[Path]:
    try:
        return photo_files(folders)
    except (FileNotFoundError, OSError) as error:
        raise PixwardError(f"cannot read training photos: {error}") from None


def _raw_files(folders: Sequence[Path]) -> list[Path]:
    files = sorted(path for folder in folders for path in folder.rglob("*") if decode.RAW.search(path.name))
    if not files:
        raise PixwardError(f"no raw files in {', '.join(map(str, folders))}")
    return files


def _source(editor: ExternalEditor, files: Sequence[Path], folder: Path, number: int) -> tuple[Editor, Tensor]:
    """What renders a photo, and the untouched picture: of a raw file the editor's own render of a small copy."""
    opened = open_photo(files[number], cast(RealProgram, editor.program), editor, folder)
    return opened.editor, opened.source


def fit(job: EditTraining, bank: RenderBank, watch: Watch) -> Path:
    """Train the response or the map of ``job``'s editor on ``bank``."""
    space = job.editor.space

    def pairs(count: int) -> Callable[[], PixelPairs]:
        return lambda: _to(bank.draw(count), job.device)

    with Run(job.out / job.algorithm, resume=job.resume) as run:
        if job.algorithm == "response":
            response = Response(ResponseSettings(len(space))).to(job.device)
            training = with_steps(ResponseTraining(), job.steps)
            follow_lines(train_response(response, pairs(training.batch), training, run), job, watch)
            return keep(job.out / "response.safetensors", response, "response", describe_response(response))
        start = tuple(space.default_action()[0].tolist())
        mapped = MappedResponse(SliderMap(MapSettings(len(space), start))).to(job.device)
        settings = with_steps(CalibrationSettings(), job.steps)
        follow_lines(calibrate(mapped, mapped.map, pairs(_MAP_BATCH), settings, run), job, watch)
        return keep(job.out / "map.safetensors", mapped.map, "map", describe_map(mapped.map))


def _to(batch: PixelPairs, device: str) -> PixelPairs:
    parts = (batch.pixels, batch.first, batch.second, batch.before, batch.after)
    return PixelPairs(*(part.to(device) for part in parts))
