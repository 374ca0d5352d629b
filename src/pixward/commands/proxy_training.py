"""``pixward train edit`` for the proxies of Tseng et al.: which filters an editor has, and one training run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from pixward.commands.training import EditTraining, Watch, follow_lines, keep, with_steps
from pixward.data.pairs import draw_tiles, random_actions
from pixward.params import ParamSpace
from pixward.policies.proxy import (
    Cascaded,
    CascadedSettings,
    Filter,
    Monolithic,
    MonolithicSettings,
    Proxy,
    describe_proxy,
    one_filter_each,
)
from pixward.run import Run
from pixward.train.proxy import CASCADED, ProxyTraining, acts_on_areas, cascade_lesson, train_proxy, whole_lesson
from pixward.types import Editor

FILTERS: dict[str, tuple[tuple[str, bool], ...]] = {
    "chain:paper": (
        ("exposure", False),
        ("wb_red wb_green wb_blue", False),
        ("saturation", False),
        ("contrast", False),
        ("highlights", False),
        ("shadows", False),
        ("texture", True),
    ),
    "chain:photo": (
        ("exposure temperature tint", False),
        ("whites", False),
        ("blacks", False),
        ("highlights", False),
        ("shadows", False),
        ("contrast", False),
        ("vibrance saturation", False),
        ("clarity", True),
        ("sharpness", True),
    ),
}
"""The stages of the built-in editors in the order in which they act: the sliders of each, and whether it is areawise.

chain:paper's are RLPixTuner's seven. chain:photo measures clarity and sharpness on one luma; taken one after the other
they are as near to it as filters in a row can be.
"""


def filters_of(editor: Editor) -> tuple[Filter, ...]:
    """The filters of ``editor``: those known of a built-in one, else one for each slider, areawise by a probe."""
    if editor.name in FILTERS:
        return named_filters(editor.space, FILTERS[editor.name])
    return one_filter_each(editor.space, acts_on_areas(editor))


def named_filters(space: ParamSpace, stages: tuple[tuple[str, bool], ...]) -> tuple[Filter, ...]:
    """Names of sliders, separated by spaces, to filters."""
    return tuple(
        Filter(names.split()[0], tuple(space.index(name) for name in names.split()), areawise)
        for names, areawise in stages
    )


def train_proxies(job: EditTraining, bank: Tensor, run: Run, watch: Watch) -> Path:
    """Train the proxy that ``job.algorithm`` names on tiles of ``bank``; returns the file of its weights."""
    sliders = len(job.editor.space)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        return draw_tiles(bank, count).to(job.device), random_actions(count, sliders).to(job.device)

    proxy: Proxy
    lines: Iterator[dict[str, float]]
    if job.algorithm == "monolithic":
        settings = with_steps(ProxyTraining(), job.steps)
        proxy = Monolithic(MonolithicSettings(sliders)).to(job.device)
        lines = train_proxy(proxy, whole_lesson(proxy, job.editor, draw, settings), settings, run)
    else:
        settings = with_steps(CASCADED, job.steps)
        proxy = Cascaded(CascadedSettings(sliders, filters_of(job.editor))).to(job.device)
        lines = train_proxy(proxy, cascade_lesson(proxy, job.editor, draw, settings), settings, run)
    follow_lines(lines, job, watch)
    return keep(job.out / f"{job.algorithm}.safetensors", proxy, job.algorithm, describe_proxy(proxy))
