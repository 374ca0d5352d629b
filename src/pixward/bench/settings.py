"""What ``pixward bench edit`` is asked to measure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pixward.errors import PixwardError

CHECKPOINTS = (0, 1, 5, 10, 15, 20, 30, 60, 100, 200)
"""Render counts that the page shows; PSNR is kept for every count in between as well."""

PSNR_ONLY = frozenset({15, 20})
"""Check points without the slower metrics: they are here for a promise about PSNR."""

STRATEGIES = ("identity", "random", "greedy", "cmaes", "least-squares", "gradient", "policy", "hybrid")
"""Measured unless fewer are asked for. ``identity`` is the untouched photo and renders nothing."""

GOALS = ("chain:paper@0.5", "chain:paper@1", "chain:photo@0.5", "chain:photo@1", "chain:photo@teacher")

BUDGETS = {"policy": 10}
"""Strategies with a render budget of their own; afterwards their result stands still."""

NOT_BLACK_BOX = frozenset({"identity", "gradient"})
"""``gradient`` looks inside the editor: it is a ceiling, no competitor."""


@dataclass(frozen=True)
class GoalSet:
    """One way to make goals.

    Attributes:
        editor: whose sliders are searched, ``chain:paper`` or ``chain:photo``.
        radius: goals are ``editor(photo, a)`` with ``a`` uniform in ``[-radius, radius]^d``; None: the teacher's.
        photos: only so many of the run's photos, None for all.
    """

    editor: str
    radius: float | None
    photos: int | None = None

    @property
    def name(self) -> str:
        """As the command line writes it: ``chain:paper@0.5``."""
        return f"{self.editor}@{'teacher' if self.radius is None else f'{self.radius:g}'}"

    @property
    def slug(self) -> str:
        """As a file name holds it: ``chain-paper_r0.5``."""
        return f"{self.editor.replace(':', '-')}_{'teacher' if self.radius is None else f'r{self.radius:g}'}"


def parse_goals(text: str) -> GoalSet:
    """``EDITOR@RADIUS`` or ``EDITOR@teacher``, ``:PHOTOS`` at will, to a :class:`GoalSet`; PixwardError otherwise."""
    editor, _, rest = text.rpartition("@")
    kind, colon, cap = rest.partition(":")
    try:
        photos = int(cap) if colon else None
        radius = None if kind == "teacher" else float(kind)
    except ValueError:
        photos, radius = None, 0.0
    if not editor or (radius is not None and not 0 < radius <= 1) or (photos is not None and photos < 1):
        raise PixwardError(
            f"goals {text!r}: write EDITOR@RADIUS with a radius in (0, 1], or EDITOR@teacher; "
            "for fewer photos add :PHOTOS"
        )
    return GoalSet(editor, radius, photos)


@dataclass(frozen=True)
class EditBenchSettings:
    """Settings of one benchmark run.

    Attributes:
        photos: folder of photos, taken in the order of their names.
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
    keep: tuple[str, ...] = ()
    catalogue: str = "pixward.match:STRATEGIES"
    page_only: bool = False

    def __post_init__(self) -> None:
        for name in ("limit", "renders", "jobs", "preview"):
            if getattr(self, name) < 1:
                raise PixwardError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.goals or not self.strategies:
            raise PixwardError("name at least one goal set and one strategy")
        wants_teacher = any(goal.radius is None for goal in self.goal_sets)
        if wants_teacher and self.teacher is None and not self.page_only:
            raise PixwardError("goals of the teacher need its weights: pass --teacher FOLDER")

    @property
    def goal_sets(self) -> list[GoalSet]:
        """``goals``, parsed."""
        return [parse_goals(text) for text in self.goals]

    @property
    def checkpoints(self) -> list[int]:
        """The check points within the budget."""
        return [count for count in CHECKPOINTS if count <= self.renders]


def command(settings: EditBenchSettings) -> str:
    """The command line that asks for ``settings``; what stands at its default is left out."""
    default = EditBenchSettings(photos=settings.photos, page_only=True)
    words = ["pixward bench edit", shown(settings.photos)]
    for name in ("out", "goals", "strategies", "limit", "renders", "seed", "jobs", "preview", "lpips", "teacher"):
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
