"""What goes wrong with real editors, and what pixward makes of it; writes docs/results/editors_faults.json.

    OMP_NUM_THREADS=1 python benchmarks/editors_faults.py
    OMP_NUM_THREADS=1 python benchmarks/editors_faults.py --only Ctrl-C --editor darktable     these rows anew
    OMP_NUM_THREADS=1 python benchmarks/editors_faults.py --rest     those that have not passed yet

Every row is one command, run as a user runs it, in a folder of its own. Where the editor itself has to fail, a script
of its name stands before it on the PATH. A row passes if exit status and last line are as they should be, the folder
holds what it held before and the files that are due, byte for byte, the home folder is empty, and two seconds after
the end no process and no scratch folder is left. Needs darktable, RawTherapee, root (for mounts), Linux.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from editors_faults_files import called, edited_before, full_disk, make_files, prepared, read_only
from editors_faults_run import Case, run, signals
from predict_results import Row, write

PLACE = Path("docs/results/editors_faults.json")
REAL = ("darktable", "rawtherapee")
SUFFIX = {"darktable": "xmp", "rawtherapee": "pp3", "command:copy.toml": "json"}
QUICK, SAFE = 3, 20
"""Seconds for a render: where nothing but a script has to answer, and where the editor has to."""
VERSION = {"darktable": "this is darktable-cli {}", "rawtherapee": "RawTherapee, version {}, command line."}
OLD = {"darktable": "4.0.1", "rawtherapee": "5.7"}
READY = {
    # As the scripts that pixward gives to the editors do: darktable.lua, and the list of files of RawTherapee.
    "darktable": 'exec 3<>"$PIXWARD_DARKTABLE/requests" 4<>"$PIXWARD_DARKTABLE/replies"; echo ready >&4\n'
    'tab=$(printf "\\t"); while IFS=$tab read -r source result <&3; do {} echo ok >&4; done',
    "rawtherapee": "i=0; echo Processing: h0.jpg; while :; do cat h$i.jpg.pp3; result=out/j$i.tif; {} i=$((i + 1))\n"
    "echo Processing: h$i.jpg; done",
}
NAMES = ("two words.jpg", 'it\'s "odd".jpg', "$(FILE_NAME) $HOME.jpg", "line\nbreak.jpg", "-dash.jpg", "Übung 日本.jpg")
NOTES = [
    "Exit status 1 is something to mend, 130 is Ctrl-C, 143 SIGTERM, -9 what pixward itself was killed by.",
    "A raw file is a synthetic DNG of 480 pixels. `--render-seconds` is there so that a row does not take minutes.",
    "The read-only folder is a read-only bind mount, the full disk a memory disk of 64 kB that is full.",
]


def script(editor: str, *, server: str = "", final: str = "", version: str = "") -> dict[str, str]:
    """A shell script in the editor's place; parts that are not given are the editor itself."""
    name = f"{editor}-cli"
    real = f'exec {shutil.which(name)} "$@"'
    start = f'here=$(dirname "$0")\nversion() {{ {version or real}; }}\n'
    # How each is asked for its version, and started to stay open; all else is one render.
    ways = {"darktable": '--version*) version "$@" ;;\n*/hold.tif*)', "rawtherapee": '"") version ;;\n*" -S "*)'}
    body = f"{ways[editor]} {server or real} ;;\n*) {final or real} ;;"
    return {name: f'#!/bin/sh\n{start}case "$*" in\n{body}\nesac\n'}


def slow_final(editor: str) -> dict[str, str]:
    """The editor itself, but its full-size render says that it begins, and waits a moment."""
    real = shutil.which(f"{editor}-cli")
    return script(editor, final=f'touch "$here/final"; sleep 5; exec {real} "$@"')


def outputs(photo: str, editor: str, sidecar: str | None = None) -> tuple[str, ...]:
    """The files of a match that went well."""
    stem = photo.rpartition(".")[0]
    written = tuple(f"pixward-out/{stem}.{end}" for end in ("setting.json", "jpg", "film.png"))
    return (*written, sidecar or f"{photo}.{SUFFIX[editor]}")


def match(
    editor: str, photo: str = "photo.jpg", *more: str, goal: str = "goal.jpg", renders: int = 3
) -> tuple[str, ...]:
    """The command line of a match."""
    return ("match", "--goal", goal, "--editor", editor, "--renders", str(renders), *more, "--", photo)


def limited(editor: str, seconds: float, *more: str, renders: int = 3) -> tuple[str, ...]:
    return match(editor, "photo.jpg", "--render-seconds", str(seconds), *more, renders=renders)


def editors_fail(editor: str) -> Iterator[Case]:
    """Programs that are missing, old, stuck, dying, or that write nonsense."""
    make = partial(script, editor)
    nothing, garbage = READY[editor].format(""), READY[editor].format('echo garbage > "$result";')
    quick, said = limited(editor, QUICK), partial(Case, editor=editor, status=1)
    yield said("missing", words=quick, says="is not installed; .*sudo apt install", alone=True)
    old = make(version=f'echo "{VERSION[editor].format(OLD[editor])}"')
    yield said("too old", words=quick, says="too old", programs=old)
    rows = [
        ("hangs when it starts", "sleep 600", "(hung and was ended|did not answer in time), twice in a row"),
        ("dies every time", "echo no room; kill -9 $$", r"(ended with status|died).*\(no room\), twice in a row"),
        ("writes nothing", nothing, "(rendered nothing|gave no picture).*, twice in a row"),
        ("writes garbage", garbage, "(cannot be read|gave no picture).*, twice in a row"),
    ]
    for what, server, says in rows:
        yield said(what, words=quick, says=says, programs=make(server=server))
    rows = [
        ("the full-size render fails", "echo no room; exit 9", "no room"),
        ("the full-size render writes nothing", "exit 0", "(did not render|rendered nothing)"),
        ("the full-size render hangs", "sleep 600", r"(did not finish|did not render) photo.jpg (in|within) \d+ s"),
    ]
    for what, final, says in rows:
        words = limited(editor, 8 if "hangs" in what else SAFE)
        yield said(what, words=words, says=says, programs=make(final=final))


def stopped(editor: str) -> Iterator[Case]:
    """Signals, to the editor and to pixward."""
    said = partial(Case, editor=editor, words=limited(editor, SAFE, renders=40))
    done = {"status": 0, "says": "", "new": outputs("photo.jpg", editor)}
    yield said("hangs in the middle of a search", meanwhile=signals("search", signal.SIGSTOP, "editor"), **done)
    yield said("killed in the middle of a search", meanwhile=signals("search", signal.SIGKILL, "editor"), **done)
    rows = [
        ("Ctrl-C, to pixward alone", signal.SIGINT, "pixward", 130, "^pixward: stopped$"),
        ("Ctrl-C, to the foreground group", signal.SIGINT, "group", 130, "^pixward: stopped$"),
        ("SIGTERM", signal.SIGTERM, "pixward", 143, ""),
    ]
    for what, number, whom, status, says in rows:
        for when in ("search", "full"):
            programs = slow_final(editor) if when == "full" else {}
            name = f"{what}, in the {'full-size render' if programs else 'search'}"
            words = limited(editor, SAFE, renders=3 if programs else 40)
            act = signals(when, number, whom)
            yield said(name, words=words, status=status, says=says, programs=programs, meanwhile=act)
    killed = signals("search", signal.SIGKILL, "pixward")
    words = match(editor, "shot.dng", goal="embedded", renders=40)
    yield said("SIGKILL to pixward, raw file", words=words, status=-9, says="", meanwhile=killed, swept=True)


def files_fail(editor: str) -> Iterator[Case]:
    """Photos, goals and places that will not do."""
    said = partial(Case, editor=editor, status=1)
    raw = partial(match, editor, goal="embedded")
    yield said("a raw file of garbage", words=raw("garbage.nef"), says="LibRaw .* does not know|damaged")
    yield said("a raw file cut short", words=raw("cut.dng"), says="cut.dng cannot be read")
    yield said("an empty raw file", words=raw("empty.nef"), says="empty.nef is empty; copy it again")
    yield said("a raw file without a JPEG", words=raw("plain.dng"), says="plain.dng holds no JPEG")
    other = match(editor, "shot.dng", goal="other.jpg")
    yield said("a raw file and another scene", words=other, says="same (scene|shot)|correspond")
    yield said("a goal of another shape", words=match(editor, goal="upright.jpg"), says="must show the same framing")
    away = match(editor, "photos/photo.jpg")
    yield said("a read-only photo folder", words=away, says="--sidecar DIR", prepare=read_only)
    elsewhere, there = match(editor, "photos/photo.jpg", "--sidecar", "."), outputs("photo.jpg", editor)
    case = said("a read-only photo folder, sidecar elsewhere", words=elsewhere, says="", new=there, prepare=read_only)
    yield replace(case, status=0)
    full = match(editor, "photo.jpg", "--sidecar", "full")
    yield said("a full disk for the sidecar", words=full, says="the disk is full; free some space", prepare=full_disk)


def names(editor: str) -> Iterator[Case]:
    """Sidecars that are there, and odd file names."""
    said = partial(Case, editor=editor, status=0, says="")
    suffix = SUFFIX[editor]
    new = outputs("photo.jpg", editor, f"photo_02.jpg.{suffix}")
    sidecars = partial(edited_before, suffix)
    yield said("two sidecars are there already", words=match(editor), new=new, prepare=sidecars)
    for name in NAMES:
        new = outputs(name, editor)
        yield said(f"a photo called {name!r}", words=match(editor, name), new=new, prepare=partial(called, name))


def commands() -> Iterator[Case]:
    """A program of one's own; it runs once for each render."""
    editor = "command:copy.toml"
    said = partial(Case, editor=editor, status=1)
    quick = limited(editor, QUICK)
    yield said("missing", words=quick, says="copy-picture is not installed; put copy-picture on the PATH", alone=True)
    rows = [
        ("hangs", "sleep 600", "did not end within 3 s, twice in a row"),
        ("dies every time", "echo no room; kill -11 $$", r"crashed \(SIGSEGV\): no room, twice in a row"),
        ("fails", "echo no such operator; exit 3", "it ended with status 3: no such operator"),
        ("writes nothing", "exit 0", "wrote no picture, twice in a row"),
        ("writes garbage", 'echo garbage > "$2"', "wrote no picture that can be read"),
    ]
    for what, does, says in rows:
        yield said(what, words=quick, says=says, programs={"copy-picture": f"#!/bin/sh\n{does}\n"})
    copy = {"copy-picture": '#!/bin/sh\nprintf x >> "$(dirname "$0")/calls"\nsleep 0.5\ncp "$1" "$2"\n'}
    for whom in ("pixward", "group"):
        act = signals("search", signal.SIGINT, whom)
        words = limited(editor, SAFE, renders=40)
        case = said(f"Ctrl-C, to the {whom}", words=words, says="stopped", programs=copy, meanwhile=act)
        yield replace(case, status=130)
    for name in NAMES:
        case = said(f"a photo called {name!r}", words=match(editor, name), says="", new=outputs(name, editor))
        yield replace(case, status=0, programs=copy, prepare=partial(called, name))


def cases() -> Iterator[Case]:
    """All rows."""
    says = "rawtherapee-cli is not installed; .*sudo apt install rawtherapee"
    yield Case("both missing", "editors", ("editors", "--no-speed"), 0, says, alone=True)
    for editor in REAL:
        yield from editors_fail(editor)
        yield from stopped(editor)
        yield from files_fail(editor)
        yield from names(editor)
    yield from commands()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name matches this; the others stay as they are")
    parser.add_argument("--editor", default="", help="rows of editors whose name matches this")
    parser.add_argument("--rest", action="store_true", help="rows that have not passed yet")
    options = parser.parse_args()
    known: dict[tuple[str, str], Row] = {}
    if PLACE.exists():
        known = {(row["editor"], row["what"]): row for row in json.loads(PLACE.read_text())["rows"]}
    everything = list(cases())
    wanted = [case for case in everything if re.search(options.only, case.what)]
    wanted = [case for case in wanted if re.search(options.editor, case.editor)]
    if options.rest:
        wanted = [case for case in wanted if not known.get((case.editor, case.what), {}).get("passed")]
    with tempfile.TemporaryDirectory(prefix="faults-") as kept:
        files = Path(kept) / "files"
        make_files(files)
        for number, case in enumerate(wanted):
            folder = Path(kept) / f"{number}"
            folder.mkdir()
            shutil.copytree(files, folder / "here")
            prepared(case, folder)
            row = run(case, folder)
            known[case.editor, case.what] = row
            print(
                "ok  " if row["passed"] else "FAIL", case.editor, case.what, "|", row["exit"], row["says"], flush=True
            )
            if not row["passed"]:
                print("    ", json.dumps(row), flush=True)
            rows = [known[key] for key in ((c.editor, c.what) for c in everything) if key in known]
            write(PLACE, ["OMP_NUM_THREADS=1 python benchmarks/editors_faults.py"], {"rows": rows, "notes": NOTES})
    sys.exit(any(not known[case.editor, case.what]["passed"] for case in wanted))


if __name__ == "__main__":
    main()
