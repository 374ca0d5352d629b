"""``pixward match``: the setting that makes a photo look like a goal, or many photos like theirs."""

from __future__ import annotations

from pathlib import Path

import typer

from pixward.commands import match_options as option
from pixward.commands.editors import is_real
from pixward.commands.match_job import Format, Order, Watch, Wish, check_picture_options, parse_locks
from pixward.errors import PixwardError

RENDERS, REAL_RENDERS = 10, 30
"""How many renders a search may use when nobody says; a real editor's sliders are less well known."""


def command(
    photos: option.Photos,
    goal: option.Goal = None,
    goal_dir: option.GoalDir = None,
    like: option.Like = None,
    one_setting: option.OneSetting = False,
    jobs: option.Jobs = 1,
    sheet: option.Sheet = 24,
    editor: option.Editor = "chain:photo",
    strategy: option.Strategy = "hybrid",
    renders: option.Renders = None,
    lock: option.Lock = None,
    extra: option.Extra = None,
    networks: option.Networks = None,
    out: option.Out = Path("pixward-out"),
    cube: option.Cube = None,
    cube_size: option.CubeSize = 33,
    render_seconds: option.RenderSeconds = 60.0,
    sidecar: option.Sidecar = None,
    seed: option.Seed = 0,
    force: option.Force = False,
    file_format: option.FileFormat = Format.jpg,
    bits: option.Bits = None,
    as_json: option.AsJson = False,
) -> None:
    """Find the setting that makes PHOTO look like GOAL.

    Writes DIR/PHOTO.setting.json, the full-size render DIR/PHOTO.jpg, DIR/PHOTO.film.png, a picture of the search, and
    DIR/PHOTO.residual.png, a map of what the sliders could not reach (not with --like: another scene has no pixels to
    compare with). With darktable, RawTherapee or a program of your own as the editor also the sidecar that the editor
    opens, beside PHOTO; a sidecar that is there stays, and the new one gets a number.

    Of several photos, one that fails never stops the rest: the summary names it, and the exit code is 1. A run that
    was stopped goes on where it was when the same command is given again: DIR/batch.jsonl knows what is done.

    \b
    Example:  pixward match photo.jpg --goal liked.jpg --lock sharpness=0 --out matched
    Example:  pixward match photo.nef --goal embedded --editor darktable
    Example:  pixward match photo.jpg --like another-scene.jpg --cube look.cube
    Example:  pixward match photo.jpg --goal film-stock.cube
    Example:  pixward match shoot/*.jpg --goal-dir edited --jobs 4 --out matched
    Example:  pixward match shoot/*.jpg --like liked.jpg --one-setting --cube shoot.cube
    """  # noqa: D301 - the backspace keeps the lines of examples apart
    check_picture_options(bits, file_format, cube_size)
    wish = _wish(goal, goal_dir, like)
    renders = renders or (REAL_RENDERS if is_real(editor) else RENDERS)
    locked, further = parse_locks(lock or []), tuple(extra or ())
    order = Order(
        out, file_format, editor, strategy, renders, locked, seed, networks, further, render_seconds, sidecar, force,
        bits, cube, cube_size,
    )  # fmt: skip
    if len(photos) == 1 and goal_dir is None and not one_setting:
        _one(order, photos[0], wish, as_json=as_json)
        return
    from pixward.commands.batch import Batch, run_batch

    if not run_batch(Batch(order, tuple(photos), wish, one_setting, jobs, sheet), as_json=as_json):
        raise typer.Exit(1)


def _wish(goal: Path | None, goal_dir: Path | None, like: Path | None) -> Wish:
    given = [path for path in (goal, goal_dir, like) if path is not None]
    if len(given) != 1:
        raise typer.BadParameter(
            "name one of --goal GOAL, --goal-dir DIR and --like REF" + (", not several" if given else "")
        )
    return Wish(goal, goal_dir, like)


def _one(order: Order, photo: Path, wish: Wish, *, as_json: bool) -> None:
    """One photo, told in full."""
    target = wish.goal or wish.like
    if target is None:
        raise PixwardError("one photo needs --goal or --like")
    from pixward.commands.match_run import run_job

    job = order.job(photo, target, look=wish.like is not None)
    found = run_job(job, Watch(quiet=as_json))
    if as_json:
        from pixward.commands.console import print_json
        from pixward.commands.matching import as_data

        print_json(as_data(job, found))
        return
    from pixward.commands.match_tables import print_found

    print_found(job, found)
