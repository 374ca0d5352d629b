"""``pixward``, the command line. Importing it is cheap: ``pixward --help`` must answer at once."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from pixward import __version__
from pixward.commands import (
    bench_denoise,
    bench_edit,
    bench_predict,
    list_editors,
    match,
    pixel_actions,
    pixel_colour,
    pixel_denoise,
    pixel_export,
    pixel_import,
    pixel_restore,
    pixel_saliency,
    predict,
    render,
    reward,
    sample,
    sliders,
    study,
    train_denoise,
    train_edit,
    train_pixel,
    train_predict,
)
from pixward.errors import PixwardError

FAILED, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes: something the user can mend, a command line that makes no sense, Ctrl-C."""

app = typer.Typer(
    name="pixward",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Plain help takes half as long, and copies well.
    context_settings={"help_option_names": ["-h", "--help"]},
)
train = typer.Typer(rich_markup_mode=None, help="Train the networks that find settings.", no_args_is_help=True)
bench = typer.Typer(rich_markup_mode=None, help="Measure, and write the figures down.", no_args_is_help=True)
pixel = typer.Typer(rich_markup_mode=None, help="Let every pixel pick its own filters (PixelRL).", no_args_is_help=True)
app.add_typer(train, name="train")
app.add_typer(bench, name="bench")
app.add_typer(pixel, name="pixel")
app.command("match")(match.command)
app.command("render")(render.command)
app.command("sliders")(sliders.command)
app.command("editors")(list_editors.command)
app.command("predict")(predict.command)
app.command("reward")(reward.command)
app.command("sample")(sample.command)
app.command("study")(study.command)
train.command("edit")(train_edit.command)
train.command("pixel")(train_pixel.command)
train.command("predict")(train_predict.command)
train.command("denoise")(train_denoise.command)
bench.command("edit")(bench_edit.command)
bench.command("predict")(bench_predict.command)
bench.command("denoise")(bench_denoise.command)
pixel.command("import")(pixel_import.command)
pixel.command("export")(pixel_export.command)
pixel.command("denoise")(pixel_denoise.command)
pixel.command("restore")(pixel_restore.command)
pixel.command("colour")(pixel_colour.command)
pixel.command("saliency")(pixel_saliency.command)
pixel.command("actions")(pixel_actions.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pixward {__version__}")
        raise typer.Exit


@app.callback(epilog="Example:  pixward match photo.jpg --goal liked.jpg --out matched")
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Find the slider setting that makes a photo look like a picture you like, and render it at full size."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``pixward`` and leave with its exit code: 0, 1 (one line says why), 2 (usage) or 130 (Ctrl-C).

    With ``PIXWARD_DEBUG=1`` an error also shows its traceback.
    """
    _interrupted.clear()
    # OpenMP's threads wait by spinning: with another busy program on the machine a search of 3 s took 100 s.
    # It is read when torch is imported, which no command has done yet; a value of the user's own stays.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Libraries warn programmers; a person is told what pixward itself has to say.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module="pixward")
    warnings.filterwarnings("ignore", category=ResourceWarning)
    warnings.showwarning = lambda message, *_: _say(f"note: {message}")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(None if arguments is None else list(arguments), prog_name="pixward", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        code = _explain(error)
    if code == INTERRUPTED:
        _say("stopped")
    sys.exit(code if isinstance(code, int) else 0)


_interrupted: list[bool] = []


def _interrupt(*_: object) -> NoReturn:
    """Ctrl-C. A library that is just being imported may turn the exception into one of its own, so remember it."""
    _interrupted.append(True)
    raise KeyboardInterrupt


def _terminate(*_: object) -> NoReturn:
    """Asked to end, by ``kill`` or a batch system: leave by the door, so that editors and their files go too."""
    sys.exit(128 + signal.SIGTERM)


def _explain(error: BaseException) -> int:
    """Say in one line what went wrong; the exit code for it."""
    if os.environ.get("PIXWARD_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)) or _interrupted:
        return INTERRUPTED
    if hasattr(error, "format_message"):  # What the parser raises; its class differs between versions of typer.
        return _usage(error)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        # The reader has gone, as in `pixward sliders | head`. Keep the interpreter from trying to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror.lower()}")
    elif isinstance(error, (PixwardError, ValueError, FileNotFoundError)):
        _say(str(error))
    elif isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        _say("out of memory; try a smaller photo")
    elif type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
        _say(f"the GPU has too little memory: {str(error).split('. ')[0]}; try smaller pictures, or --device cpu")
    else:
        _say(f"this is a bug, please report it: {type(error).__name__}: {error} (PIXWARD_DEBUG=1 shows where)")
    return FAILED


def _usage(error: BaseException) -> int:
    message = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # A group called without a command: its help is the answer.
        if message:  # Older versions have printed it themselves.
            print(message, file=sys.stderr)
        return USAGE
    path = context.command_path if context is not None else "pixward"
    _say(f"{message.rstrip('.')} (see `{path} --help`)")
    return int(getattr(error, "exit_code", USAGE))


def _say(message: str) -> None:
    print("pixward:", " ".join(message.split()), file=sys.stderr)


if __name__ == "__main__":
    main()
