"""Run a program that must not outlive whoever started it; a script of its own, see :mod:`pixward.editors.processes`.

``python guard.py PROGRAM ARGUMENT...`` runs the program and ends with its exit status. Its standard input is a pipe
that nobody writes to: when that pipe closes, because the parent asked for it or was killed, the program and all that it
started are killed. That holds on every POSIX system, even where the program is stuck in a system call and where the
parent got a signal that it cannot catch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def _when_closed(group: int) -> None:
    while os.read(0, 4096):
        pass
    with suppress(OSError):
        os.killpg(group, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run ``command`` to its end; its exit status, or 128 + the signal that ended it, as shells have it."""
    # In a group of its own, so that it can be killed whole and still be waited for.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_when_closed, args=(child.pid,), daemon=True).start()
    status = child.wait()
    with suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)  # what it has left running
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
