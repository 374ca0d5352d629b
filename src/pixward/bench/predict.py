"""Policies that predict, on held-out pictures, beside those that know nothing: one run, one set of pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pixward.bench.provenance import commit, hardware, today
from pixward.data.synth import Scenes
from pixward.errors import PixwardError
from pixward.policies.sequence import SequencePolicy
from pixward.predict.folders import FolderData
from pixward.predict.task import PredictTask, Source, new_policy
from pixward.predict.tasks import check_names
from pixward.predict.weights import load_policy, load_task
from pixward.types import Decoding


@dataclass(frozen=True)
class PredictBench:
    """What is measured.

    Attributes:
        weights: a file of weights.
        baselines: further ones of the same task, such as those that the first was tuned from.
        decodings: how answers of these are drawn; the likeliest answer always comes first.
        count: held-out pictures.
        data: a user's pictures; None for made-up scenes.
    """

    weights: Path
    baselines: tuple[Path, ...] = ()
    decodings: tuple[Decoding, ...] = ()
    count: int = 500
    data: FolderData | None = None


@dataclass(frozen=True)
class Row:
    """One policy with one way of drawing.

    Attributes:
        name: of the policy.
        decoding: how it draws.
        figures: those of the task's ``evaluate``.
        seconds: for each picture.
    """

    name: str
    decoding: Decoding
    figures: dict[str, float]
    seconds: float


LIKELIEST = Decoding(0)


def run_predict_bench(settings: PredictBench, watch: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Measure everything; ``watch`` is called with the name of what comes next.

    The baselines that know nothing are ``empty``, the shortest answer that the task's grammar allows (no box, no word;
    where an answer has a fixed length, the first token throughout), and ``random``, every token that the grammar
    allows being as likely as any other.

    Returns:
        JSON: ``task``, ``pictures``, ``rows`` (``name``, ``temperature``, ``top_p``, ``seconds``, ``figures``),
        ``commit``, ``hardware`` and ``date``.

    Raises:
        PixwardError: weights that cannot be read, of different tasks, or of other classes than the data.
    """
    held_out: Source = settings.data.held_out if settings.data is not None else Scenes(seed=0, split="held-out")
    count = min(settings.count, len(settings.data.held_out)) if settings.data is not None else settings.count
    loaded = [_loaded(path) for path in (settings.weights, *settings.baselines)]
    task = loaded[0][1]
    for path, (_, other) in zip((settings.weights, *settings.baselines), loaded, strict=True):
        if _classes(other) != _classes(task):
            raise PixwardError(f"{path} is for {_words(other)}, {settings.weights} for {_words(task)}: compare like")
        if settings.data is not None:
            check_names(other, settings.data, str(path))
    jobs: list[tuple[str, nn.Module, PredictTask, Decoding]] = [
        ("empty", shortest(task), task, LIKELIEST),
        ("random", uniform(task), task, Decoding()),
    ]
    names = _distinct([settings.weights, *settings.baselines])
    for name, (policy, own) in reversed(list(zip(names, loaded, strict=True))):
        jobs += [(name, policy, own, decoding) for decoding in (LIKELIEST, *settings.decodings)]
    rows = []
    for job in jobs:
        if watch is not None:
            watch(f"{job[0]}, {words(job[3])}")
        rows.append(_measured(*job, held_out, count))
    return {
        "task": task.name,
        "pictures": count,
        "rows": [_json(row) for row in rows],
        "commit": commit(),
        "hardware": hardware(),
        "date": today(),
    }


def uniform(task: PredictTask) -> SequencePolicy:
    """A policy to which all tokens that the grammar allows are alike."""
    policy = new_policy(task, width=16).eval()
    nn.init.zeros_(policy.head.weight)
    nn.init.zeros_(policy.head.bias)
    return policy


def shortest(task: PredictTask) -> SequencePolicy:
    """A policy whose likeliest token is the first that the grammar allows: the end, which is token 0, where it may."""
    policy = uniform(task)
    with torch.no_grad():
        policy.head.bias.copy_(-torch.arange(task.kind.vocabulary))
    return policy


def told(result: dict[str, Any], columns: int = 5) -> list[list[list[str]]]:
    """``result`` as tables of words: rows of cells, the first of each table its head, ``columns`` figures in each."""
    rows = result["rows"]
    figures = list(rows[0]["figures"])
    tables = []
    for first in range(0, len(figures), columns):
        part = figures[first : first + columns]
        table = [["", "answer", *part]]
        for row in rows:
            decoding = words(Decoding(row["temperature"], row["top_p"]))
            table.append([row["name"], decoding, *(f"{row['figures'][name]:.4g}" for name in part)])
        tables.append(table)
    return tables


def words(decoding: Decoding) -> str:
    """``decoding`` for a person."""
    if decoding.temperature == 0:
        return "likeliest"
    nucleus = f", top-p {decoding.top_p:g}" if decoding.top_p < 1 else ""
    return f"temperature {decoding.temperature:g}{nucleus}"


def _measured(name: str, policy: nn.Module, task: PredictTask, decoding: Decoding, held_out: Source, count: int) -> Row:
    began = time.perf_counter()
    figures = task.evaluate(policy, held_out, count, decoding)
    return Row(name, decoding, figures, (time.perf_counter() - began) / count)


def _json(row: Row) -> dict[str, Any]:
    head = {"name": row.name, "temperature": row.decoding.temperature, "top_p": row.decoding.top_p}
    figures = {name: round(value, 6) for name, value in row.figures.items()}
    return {**head, "seconds": round(row.seconds, 4), "figures": figures}


def _loaded(path: Path) -> tuple[SequencePolicy, PredictTask]:
    try:
        task = load_task(path)
        return load_policy(path, task), task
    except (FileNotFoundError, ValueError) as error:
        raise PixwardError(str(error)) from None


def _classes(task: PredictTask) -> tuple[str, tuple[str, ...]]:
    return task.name, tuple(task.describe().get("names", ()))


def _words(task: PredictTask) -> str:
    name, classes = _classes(task)
    return f"{name} of {', '.join(classes[:3])} ..." if classes else name


def _distinct(paths: Sequence[Path]) -> list[str]:
    """Names of files as short as tells them apart: the folder of a run, or the file, or the whole path."""
    short = [path.parent.name if path.name == "policy.safetensors" else path.name.split(".")[0] for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]
