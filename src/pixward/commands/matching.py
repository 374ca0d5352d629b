"""What every ``pixward match`` does: search with a progress display, and tell what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pixward.errors import PixwardError

if TYPE_CHECKING:
    from torch import Tensor

    from pixward.align import Alignment
    from pixward.commands.match_job import Found, Job
    from pixward.match import MatchResult
    from pixward.search.problem import Goal, Look, Problem, Solver
    from pixward.types import Editor


def check_locks(locked: Mapping[str, float], editor: Editor) -> None:
    """PixwardError for a slider that the editor does not have, or a value that it cannot take."""
    try:
        editor.space.from_dict(locked)
    except ValueError as error:
        raise PixwardError(f"--lock: {error}") from None


def solver_for(job: Job, editor: Editor) -> Solver:
    """What searches; PixwardError for a strategy that there is not, or that cannot serve this editor or goal."""
    from pixward.strategies import build, build_look

    if job.fixed is not None:
        return _standing(job.fixed)
    return (build_look if job.files.look else build)(job.strategy, editor, job.networks)


def search(job: Job, editor: Editor, source: Tensor, goal: Tensor | Goal | Look, *, quiet: bool) -> MatchResult:
    """The search with its progress display on stderr."""
    from pixward.commands.console import progress
    from pixward.match import match
    from pixward.report import LOOK, PSNR
    from pixward.search.problem import Trial

    measure = LOOK if job.files.look else PSNR
    with progress("renders", "{task.fields[best]}", quiet=quiet) as display:
        task = display.add_task("Searching", total=job.renders, best="")
        best = [float("inf")]

        def watch(trial: Trial) -> None:
            best[0] = min(best[0], trial.mse)
            display.update(task, advance=1, best=measure.figure(measure.value(best[0])))

        found = match(
            source,
            goal,
            editor=editor,
            strategy=solver_for(job, editor),
            renders=job.renders if job.fixed is None else 1,
            locked=job.locked if job.fixed is None else None,
            seed=job.seed,
            on_render=watch,
        )
    # The setting as it was given, not as it comes back from [-1, 1].
    return replace(found, strategy=job.strategy, setting=found.setting if job.fixed is None else dict(job.fixed))


def _standing(setting: Mapping[str, float]) -> Solver:
    """A solver that knows the answer already."""

    def solve(problem: Problem, seed: int) -> None:
        row = problem.space.normalize(problem.space.from_dict(setting)[None])
        problem.render(row.to(problem.source.device)[:, problem.free])
        problem.settle()

    return solve


def best_picture(result: MatchResult, editor: Editor, source: Tensor) -> Tensor:
    """The best render as the search saw it, ``(1, 3, h, w)``, 8 bit; where no render was, what the defaults give."""
    import torch

    from pixward.image import quantize

    if result.best is not None:
        return result.trials[result.best].image[None].to(source) / 255
    with torch.no_grad():
        picture = quantize(editor(source, editor.space.defaults(device=source.device)))
    untouched = quantize(source)
    # As match() does: what the rounding of 8 bit could make is no change.
    return untouched if float((picture - untouched).abs().max()) < 1.5 / 255 else picture


def as_data(job: Job, found: Found) -> dict[str, object]:
    """What was found, as ``--json`` prints it."""
    result, finish = found.result, found.finish
    written = {name: str(path) for name, path in job.files.outputs.named().items()}
    answer: dict[str, object] = {
        "editor": job.editor,
        "strategy": result.strategy,
        "setting": result.setting,
        "renders": result.renders,
        "distance": result.distance,
        "source_distance": result.source_distance,
        "seconds": {"search": round(result.seconds, 4), "render": round(finish.seconds, 4)},
        "outputs": written,
        "unreached": result.unreached,
    }
    if finish.sidecar is not None:
        written["sidecar"] = str(finish.sidecar)
        answer |= {"version": finish.version, "agreement": finish.agreement}
    if finish.alignment is not None:
        answer["alignment"] = laid(finish.alignment)
    if finish.cube is not None:
        written["cube"] = str(job.files.cube)
        answer["cube"] = dict(finish.cube)
    return answer


def laid(found: Alignment) -> dict[str, object]:
    """How the goal of a raw file was laid over it, as plain data."""
    return {
        "shift": [round(value, 2) for value in found.shift],
        "zoom": round(found.zoom, 4),
        "k1": round(found.k1, 4),
        "turns": found.turns,
        "quality": round(found.quality, 3),
        "compared": round(float((found.weight > 0).float().mean()), 3),
    }
