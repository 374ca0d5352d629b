"""Tasks by name: what the command line and the recipe make of a word, for made-up scenes or for a user's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch

from pixward.boxes import Segments
from pixward.data.canvas import SceneSettings
from pixward.data.synth import Scenes
from pixward.errors import PixwardError
from pixward.policies.vqvae import PanopticCodes, VqSettings, train_codes
from pixward.predict.caption import CaptionTask
from pixward.predict.colour import ColourTask
from pixward.predict.detect import DetectTask
from pixward.predict.folders import MOST, FolderData
from pixward.predict.panoptic import PanopticTask
from pixward.predict.task import PredictTask, Source
from pixward.rewards.vision import class_weights

NAMES = ("detect", "panoptic", "colour", "caption")
"""All tasks."""

DetectionRewardName = Literal["recall", "map"]


def task_named(name: str, data: FolderData | None = None, codes: PanopticCodes | None = None) -> PredictTask:
    """The task ``name`` for a new policy.

    Args:
        name: one of :data:`NAMES`.
        data: the user's pictures; None for made-up scenes.
        codes: for ``panoptic``: what maps become tokens by, see :func:`new_codes`.

    Raises:
        PixwardError: no such task; panoptic without codes.
    """
    scene = SceneSettings()
    if name == "detect":
        return DetectTask(scene.classes) if data is None else DetectTask(data.names, boxes=max(10, data.most))
    if name == "panoptic":
        if codes is None:
            raise PixwardError("panoptic maps need codes to be told in: train them first")
        return PanopticTask(codes, scene.labels if data is None else data.names, precision="bf16")
    # Every phase reads the same scenes, and so has the same words or colours.
    source: Source = Scenes(seed=0) if data is None else data.train
    if name == "caption":
        return CaptionTask.of(source, 2_000 if data is None else len(data.train))
    if name == "colour":
        return ColourTask.of(source, 300 if data is None else min(300, len(data.train)))
    raise PixwardError(f"there is no task {name}: there are {', '.join(NAMES)}")


def with_reward(task: PredictTask, reward: DetectionRewardName, data: FolderData | None = None) -> PredictTask:
    """``task`` with the reward of that name, which matters to detection only; the others have one.

    ``recall`` pays for found boxes. ``map`` also teaches the confidence how well each box fits, as the paper does for
    mean average precision, and pays more for rare classes. A box is judged by what it adds to those before it, not by
    the whole reward: see :func:`pixward.predict.detect.reward_task`.
    """
    if not isinstance(task, DetectTask):
        return task
    if reward == "recall":
        return replace(task, confidence=0.0, discount=0.0)
    # The classes of scenes are equally frequent, so that their weights are all 1.
    weights = None if data is None else class_weights(data.counts)
    return replace(task, discount=0.0, settings=replace(task.settings, class_weights=weights))


def check_names(task: PredictTask, data: FolderData, where: str) -> None:
    """See that ``task``, which came from the weights ``where``, knows the classes of ``data``.

    Raises:
        PixwardError: other classes, or another order of them.
    """
    known = tuple(task.describe().get("names", ()))
    if not known or known == data.names:
        return
    strange = [name for name in data.names if name not in known]
    what = f"has no class {strange[0]}" if strange else "has them in another order, or further ones"
    raise PixwardError(
        f"the data have {len(data.names)} classes, and {where} {what}: train the phase mle on these data"
    )


def new_codes(
    source: Source, steps: int, seed: int, data: FolderData | None = None, watch: Callable[[int], None] | None = None
) -> PanopticCodes:
    """Codes for the panoptic maps of ``source``, trained for ``steps`` updates on batches of 16.

    Args:
        source: maps to learn from.
        steps: updates; 4,000 are what scenes take.
        seed: of the first weights.
        data: the user's pictures, for the number of classes; None for made-up scenes.
        watch: called with the number of updates done.
    """
    scene = SceneSettings()
    if data is None:
        shape = VqSettings(len(scene.labels), len(scene.classes), objects=scene.objects[1], codes=256, width=48)
    else:
        objects = max(1, min(MOST, data.most))
        shape = VqSettings(len(data.names), data.things, objects=objects, codes=256, width=48)
    torch.manual_seed(seed)
    codes = PanopticCodes(shape)

    def maps(index: int) -> Segments:
        return source.batch(range(index * 16, (index + 1) * 16)).segments

    for step, _ in enumerate(train_codes(codes, maps, steps, precision=torch.bfloat16), 1):
        if watch is not None:
            watch(step)
    return codes.eval()
