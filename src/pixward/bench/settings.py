"""What ``pixward bench edit`` is asked to measure."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pixward.errors import PixwardError

CHECKPOINTS = (0, 1, 5, 10, 15, 20, 30, 60, 100, 200, 500)
"""Render counts that the page shows; PSNR is kept for every count in between as well."""

PSNR_ONLY = frozenset({15, 20})
"""Check points without the slower metrics: they are here for a promise about PSNR."""

STRATEGIES = (
    *("identity", "random", "greedy", "cmaes", "least-squares", "gradient"),
    *("monolithic", "cascaded", "policy", "hybrid"),
)
"""Measured unless fewer are asked for. ``identity`` is the untouched photo and renders nothing."""

GOALS = ("chain:paper@0.5", "chain:paper@1", "chain:photo@0.5", "chain:photo@1", "chain:photo@teacher")

BUDGETS = {"policy": 10, "monolithic": 1, "cascaded": 1, "gradient": 30}
"""Strategies with a render budget of their own; afterwards their result stands still. A proxy's render is the end of
100 iterations, as in the paper, and takes seconds; ``benchmarks/proxies.py`` gives it more."""

FIGURE_RENDERS = 500
FIGURE_GOALS = ("chain:paper@0.5", "chain:paper@1", "chain:photo@0.5")
"""What the picture of PSNR over many renders shows, as far as the run has these goals."""

NOT_BLACK_BOX = frozenset({"identity", "gradient"})
"""``gradient`` looks inside the editor: it is a ceiling, no competitor."""


TEACHER, GIVEN = "teacher", "given"


@dataclass(frozen=True)
class GoalSet:
    """One way to make goals.

    Attributes:
        editor: whose sliders are searched, ``chain:paper`` or ``chain:photo``.
        how: a radius: goals are ``editor(photo, a)`` with ``a`` uniform in ``[-radius, radius]^d``; ``teacher``: the
            3D-LUT teacher's; ``given``: each photo comes with its own.
        photos: only so many of the run's photos, None for all.
    """

    editor: str
    how: float | str
    photos: int | None = None

    @property
    def radius(self) -> float | None:
        """Of random goals, None for others."""
        return None if isinstance(self.how, str) else self.how

    @property
    def name(self) -> str:
        """As the command line writes it: ``chain:paper@0.5``."""
        return f"{self.editor}@{self.how if isinstance(self.how, str) else f'{self.how:g}'}"

    @property
    def slug(self) -> str:
        """As a file name holds it: ``chain-paper_r0.5``."""
        return f"{self.editor.replace(':', '-')}_{self.how if isinstance(self.how, str) else f'r{self.how:g}'}"


def parse_goals(text: str) -> GoalSet:
    """``EDITOR@RADIUS``, ``EDITOR@teacher`` or ``EDITOR@given``, ``:PHOTOS`` at will; PixwardError otherwise."""
    editor, _, rest = text.rpartition("@")
    kind, colon, cap = rest.partition(":")
    try:
        photos = int(cap) if colon else None
        how = kind if kind in (TEACHER, GIVEN) else float(kind)
    except ValueError:
        photos, how = None, 0.0
    if not editor or (isinstance(how, float) and not 0 < how <= 1) or (photos is not None and photos < 1):
        raise PixwardError(
            f"goals {text!r}: write EDITOR@RADIUS with a radius in (0, 1], EDITOR@teacher or EDITOR@given; "
            "for fewer photos add :PHOTOS"
        )
    return GoalSet(editor, how, photos)


@dataclass(frozen=True)
class EditBenchSettings:
    """Settings of one benchmark run.

    Attributes:
        photos: folder of photos, taken in the order of their names; with ``pairs`` the folder of the data set.
        out: folder for ``edit.json``, ``edit.md`` and ``edit_*.png``.
        run: folder for finished units; a stopped run goes on from there.
        goals: goal sets, see :func:`parse_goals`.
        strategies: names in ``catalogue``, or ``identity``.
        limit: at most this many photos.
        renders: budget of each search.
        seed: fixes the goals (with the photo's number) and each solver's own draws.
        jobs: processes, one torch thread each.
        preview: longest side in pixels at which photos are edited and compared.
        lpips: file with the LPIPS weights; None leaves LPIPS out.
        teacher: folder with the 3D-LUT weights, for ``@teacher`` goals.
        timed: photos on which a search of 10 renders is timed, alone on the machine.
        second: another folder like ``photos``, from another source, for the same goals and strategies.
        figure: photos on which searches of 500 renders are made, for one picture of PSNR over renders.
        pairs: layout of a data set of photos and goals, see :func:`pixward.data.paired.pairs_of`; None: photos alone.
        keep: strategies whose finished units count even though the code has changed since.
        catalogue: ``module:NAME`` of a dict ``{strategy: editor -> Solver}``.
        page_only: write the page from ``out/edit.json`` again, measure nothing.
    """

    photos: Path
    out: Path = Path("docs/results")
    run: Path = Path("runs/bench-edit")
    goals: tuple[str, ...] = GOALS
    strategies: tuple[str, ...] = STRATEGIES
    limit: int = 100
    renders: int = 200
    seed: int = 0
    jobs: int = 2
    preview: int = 256
    lpips: Path | None = None
    teacher: Path | None = None
    timed: int = 12
    second: Path | None = None
    figure: int = 0
    pairs: str | None = None
    keep: tuple[str, ...] = ()
    catalogue: str = "pixward.match:STRATEGIES"
    page_only: bool = False

    def __post_init__(self) -> None:
        for name in ("limit", "renders", "jobs", "preview"):
            if getattr(self, name) < 1:
                raise PixwardError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.goals or not self.strategies:
            raise PixwardError("name at least one goal set and one strategy")
        wants_teacher = any(goal.how == TEACHER for goal in self.goal_sets)
        if wants_teacher and self.teacher is None and not self.page_only:
            raise PixwardError("goals of the teacher need its weights: pass --teacher FOLDER")
        if self.pairs is None and any(goal.how == GIVEN for goal in self.goal_sets):
            raise PixwardError(
                "goals that are given come with their photos: say how the folder holds them with --pairs"
            )

    @property
    def goal_sets(self) -> list[GoalSet]:
        """``goals``, parsed."""
        return [parse_goals(text) for text in self.goals]

    @property
    def checkpoints(self) -> list[int]:
        """The check points within the budget."""
        return [count for count in CHECKPOINTS if count <= self.renders]

    def for_second(self) -> EditBenchSettings | None:
        """The same work on the second source, whose searches are not timed; None without one."""
        return None if self.second is None else replace(self, photos=self.second, second=None, figure=0, timed=0)

    def for_figure(self) -> EditBenchSettings | None:
        """Long searches on a few photos, for PSNR alone; None where none are asked for."""
        goals = tuple(goal.name for goal in self.goal_sets if goal.name in FIGURE_GOALS)
        if not self.figure or not goals:
            return None
        few = {"goals": goals, "limit": self.figure, "renders": FIGURE_RENDERS, "lpips": None, "teacher": None}
        return replace(self, second=None, figure=0, timed=0, **few)  # type: ignore[arg-type]


_SHOWN: tuple[str, ...] = (
    *("out", "goals", "strategies", "limit", "renders", "seed", "jobs", "preview", "lpips", "teacher"),
    *("second", "figure", "pairs"),
)


def command(settings: EditBenchSettings) -> str:
    """The command line that asks for ``settings``; what stands at its default is left out."""
    default = EditBenchSettings(photos=settings.photos, page_only=True)
    words = ["pixward bench edit", shown(settings.photos)]
    for name in _SHOWN:
        value = getattr(settings, name)
        if value is None or value == getattr(default, name):
            continue
        if isinstance(value, tuple):
            words += [f"--{name} {item}" for item in value]
        else:
            words.append(f"--{name} {shown(value) if isinstance(value, Path) else value}")
    return " ".join(words)


def shown(path: Path) -> str:
    """``path`` as a page may print it: relative to the working folder or its parent, else its last part."""
    relative = Path(os.path.relpath(path))
    return str(relative) if relative.parts.count("..") < 2 else f".../{path.name}"
