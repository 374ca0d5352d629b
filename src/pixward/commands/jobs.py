"""Jobs of commands that train: a frozen dataclass of what was asked, which its run's folder keeps for a resume."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import Field, asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pixward.errors import PixwardError
from pixward.files import save_text
from pixward.train.workers import Workers

NOTE = "job.json"
"""The file that keeps it."""
_OWN = ("out", "device", "resume")
"""Of a job, what is no part of the run."""


class Job(Protocol):
    """A frozen dataclass, in which None stands for a default, or for what the run to resume had."""

    @property
    def out(self) -> Path:
        """The run's folder."""
        ...

    @property
    def device(self) -> str:
        """Where it computes."""
        ...

    @property
    def resume(self) -> bool:
        """Go on with the run in ``out``."""
        ...

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


_Job = TypeVar("_Job", bound=Job)


def begun_as(job: Job, command: str) -> dict[str, Any]:
    """What the run in the job's folder was begun with; nothing for a new one.

    Raises:
        PixwardError: the folder holds a run that is not to be resumed, another one than ``job`` says, or one of another
            command than ``command``, such as ``train predict``.
    """
    place = job.out / NOTE
    there = any((job.out / name).exists() for name in (NOTE, "log.jsonl", "checkpoint.pt"))
    if not job.resume and there:
        raise PixwardError(f"{job.out} holds a run already: resume it (--resume) or choose another folder")
    if not job.resume or not place.is_file():
        return {}
    try:
        known = dict(json.loads(place.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise PixwardError(f"{place} is damaged: begin anew in another folder") from None
    if set(known) - ({field.name for field in fields(job)} - set(_OWN)):
        raise PixwardError(f"{place} is not of `pixward {command}`: begin anew in another folder")
    for name, value in known.items():
        given = getattr(job, name)
        if given is not None and given != value:
            raise PixwardError(
                f"{job.out} holds a run with {name} {value}, not {given}: leave it out to resume that run, "
                f"or choose another folder"
            )
    return known


def filled(job: _Job, usual: Mapping[str, Any]) -> _Job:
    """``job`` with what it does not say as in ``usual``."""
    return replace(job, **{name: value for name, value in usual.items() if getattr(job, name) is None})


def note(job: Job) -> None:
    """Write down what the run is, for a resume."""
    known = {name: value for name, value in asdict(job).items() if name not in _OWN and value is not None}
    save_text(job.out / NOTE, json.dumps(known, indent=1) + "\n")


def speaks() -> bool:
    """Whether this process tells people what happens: the only one, or the first of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def workers_on(device: str) -> Workers:
    """The processes, on ``device`` unless a launcher has shared the devices out.

    Raises:
        PixwardError: Accelerate is missing.
    """
    if "LOCAL_RANK" not in os.environ:
        os.environ["ACCELERATE_TORCH_DEVICE"] = device
    return Workers()
