"""One row of ``editors_faults.py``: a command run as a user runs it, what is done to it meanwhile, and what is left."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from predict_results import Row

RUNNER = "import sys; sys.argv = ['pixward', *sys.argv[1:]]; from pixward.cli import main; sys.exit(main())"
MEMORY_DISK = Path("/dev/shm")
PATIENCE = 900.0
SETTLE = 2.0
"""Seconds after the end at which processes and folders that were left behind are counted."""


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes:
        what: what is wrong.
        editor: which editor.
        words: the command line after ``pixward``.
        status: the exit status that it must have.
        says: what the last line on stderr must match; of stdout where stderr is empty.
        new: names of the files that it must leave, and no others.
        programs: shell scripts that come first on the PATH.
        alone: whether nothing else is on the PATH.
        prepare: fills the command's folder; what it returns is called at the end.
        meanwhile: what is done while the command runs; whether it could be done.
        swept: whether a later command must remove what this one had to leave.
    """

    what: str
    editor: str
    words: tuple[str, ...]
    status: int
    says: str
    new: tuple[str, ...] = ()
    programs: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    prepare: Callable[[Path], Callable[[], None] | None] | None = None
    meanwhile: Callable[[Running], bool] | None = None
    swept: bool = False


@dataclass(frozen=True)
class Running:
    """A command that runs: its process, its folder, and the variable that it and all below it carry."""

    process: subprocess.Popen[bytes]
    folder: Path
    mark: str

    def wait_for(self, seen: Callable[[], bool]) -> bool:
        """Whether ``seen`` came true before the command ended."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            if seen():
                return True
            time.sleep(0.002)
        return False

    def searching(self) -> bool:
        """Whether a process of the editor is at its third render or later."""
        folders = scratch(self.process.pid, self.folder)
        darktable = any(re.fullmatch(r"[3-9]\.\w+(\.xmp)?|[3-9]-done\.tif", name) for f in folders for name in names(f))
        works = [folder / "work" for folder in folders]
        rawtherapee = any(
            os.path.lexists(work / "h9.jpg") and not any(map(os.path.lexists, (work / "j1.tif", work / "j1.dng")))
            for work in works
        )
        calls = self.folder / "bin" / "calls"
        return darktable or rawtherapee or (calls.exists() and calls.stat().st_size >= 3)

    def finishing(self) -> bool:
        """Whether the full-size render has begun: our script in the editor's place says so."""
        return (self.folder / "bin" / "final").exists()

    def editors(self) -> list[int]:
        """Process ids of the editor's processes, the oldest first."""
        return [pid for pid, name in marked(self.mark) if name.startswith(("darktable", "rawtherapee"))]


def names(folder: Path) -> list[str]:
    """What lies in a folder; nothing if it is gone."""
    with suppress(OSError):
        return os.listdir(folder)
    return []


def marked(mark: str) -> list[tuple[int, str]]:
    """Process ids and names of all processes that carry ``mark`` in their environment; dead ones do not count."""
    found = []
    for entry in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with suppress(OSError):
            if mark.encode() not in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                continue
            state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
            line = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            name = "guard.py" if any(word.endswith(b"guard.py") for word in line) else ""
            if state not in "ZX":
                found.append((entry, name or Path(f"/proc/{entry}/comm").read_text().strip()))
    return found


def scratch(pid: int, folder: Path) -> list[Path]:
    """Folders for files in passing that are left of the process ``pid``, whose TMPDIR lies in ``folder``.

    Not the empty folder that PyTorch makes when it is imported.
    """
    own = [path for path in (folder / "tmp").iterdir() if not path.name.startswith("torchinductor_")]
    return [*MEMORY_DISK.glob(f"pixward-{pid}-*"), *own]


def contents(folder: Path) -> dict[str, str]:
    """``{name: hash}`` of all files below a folder, and of empty folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not path.is_dir() or not any(path.iterdir()):
            found[f"{name}/"] = "folder"
    return found


def signals(when: str, number: signal.Signals, whom: str) -> Callable[[Running], bool]:
    """Send a signal in the middle of the ``when`` "search" or "full" size render.

    ``whom``: "pixward", its "group" as a terminal does on Ctrl-C, or the "editor", one process of it.
    """

    def send(running: Running) -> bool:
        if not running.wait_for(running.searching if when == "search" else running.finishing):
            return False
        if whom == "group":
            os.killpg(running.process.pid, number)
        else:
            pids = running.editors() if whom == "editor" else [running.process.pid]
            for pid in pids[-1:]:
                os.kill(pid, number)
            return bool(pids)
        return True

    return send


def command(case: Case, folder: Path, mark: str) -> subprocess.Popen[bytes]:
    """Start the command of a case."""
    path = str(folder / "bin") if case.alone else f"{folder / 'bin'}:{os.environ['PATH']}"
    own = {"PATH": path, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "COLUMNS": "400"}
    key, _, value = mark.partition("=")
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-c", RUNNER, *case.words],
            cwd=folder / "here",
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **own, key: value},
            process_group=0,  # no session of its own: that would leave the scheduling group of whoever starts this
        )


def last_line(folder: Path) -> str:
    """The last line on stderr, else on stdout."""
    for name in ("err", "out"):
        lines = [line.strip() for line in (folder / name).read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1].replace(str(folder), "...")
    return ""


def run(case: Case, folder: Path) -> Row:
    """Run a case in ``folder``, which holds "here" with the photos; its row."""
    mark = f"PIXWARD_FAULTS={uuid.uuid4().hex}"
    for name in ("bin", "tmp", "home"):
        (folder / name).mkdir()
    for name, script in case.programs.items():
        (folder / "bin" / name).write_text(script)
        (folder / "bin" / name).chmod(0o755)
    undo = case.prepare(folder) if case.prepare else None
    try:
        before = contents(folder / "here")
        start = time.perf_counter()
        process = command(case, folder, mark)
        done = case.meanwhile(Running(process, folder, mark)) if case.meanwhile else True
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        seconds = time.perf_counter() - start
        time.sleep(SETTLE)
        processes, after = marked(mark), contents(folder / "here")
        left = len(scratch(process.pid, folder))
        row: Row = {
            "what": case.what,
            "editor": case.editor,
            "command": shlex.join(["pixward", *case.words]),
            "exit": process.returncode,
            "says": last_line(folder),
            "seconds": round(seconds, 1),
            "unchanged": {name: after.get(name) for name in before} == before and not contents(folder / "home"),
            "new": sorted(set(after) - set(before)),
            "processes left": sorted(name for _, name in processes),
            "folders left": left,
        }
        if case.swept:
            command(Case("", "", ("editors", "--no-speed"), 0, ""), folder, mark).wait(PATIENCE)
            left = len(scratch(process.pid, folder))
            row["left after the next command"] = left
        for pid, _ in processes:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        fits = process.returncode == case.status and re.search(case.says, row["says"]) is not None
        clean = row["unchanged"] and row["new"] == sorted(case.new) and not processes and not left
        return {**row, "passed": bool(done and fits and clean)}
    finally:
        if undo:
            undo()
