"""A tiny program for the tests of editors that are other programs: needs nothing but Python, and starts in 20 ms."""

from __future__ import annotations

import json
import sys
from pathlib import Path

SCRIPT = r'''
import array, os, shutil, signal, struct, subprocess, sys, time

def gain_tiff(source, target, gain):
    """A plain 16-bit TIFF of one strip, as pixward writes it, times ``gain``."""
    data = bytearray(open(source, "rb").read())
    assert data[:4] == b"II*\0"
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    tags = {}
    for i in range(count):
        tag, kind, number, value = struct.unpack_from("<HHII", data, at + 2 + 12 * i)
        tags[tag] = value if kind == 4 else value & 0xFFFF
    start, length = tags[273], tags[279]
    pixels = array.array("H", bytes(data[start : start + length]))
    data[start : start + length] = array.array("H", [min(65535, round(v * gain)) for v in pixels]).tobytes()
    open(target, "wb").write(data)

mode, source, target, gain = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
with open(os.path.join(os.path.dirname(__file__), "calls.log"), "a") as log:
    log.write(f"{os.getpid()}\n")
if mode == "hang":
    subprocess.Popen(["sleep", "600"])
    time.sleep(600)
elif mode == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
elif mode == "fail":
    print("reading\nno such operator `sharpn'")
    sys.exit(3)
elif mode == "nothing":
    print("done, I think")
elif mode == "in-place":
    gain_tiff(source, source, gain)
    shutil.copyfile(source, target)
elif mode == "copy-sidecar":
    shutil.copyfile(sys.argv[5], os.path.join(os.path.dirname(__file__), "seen"))
    shutil.copyfile(source, target)
elif mode.startswith("copy:"):
    shutil.copyfile(mode[5:], target)
else:
    gain_tiff(source, target, gain)
'''

TOML = """
name = "Gain"
program = {python}
arguments = ["-I", "-S", "{{here}}/edit.py", {mode}, "{{input}}", "{{output}}", "{{gain}}"{last}]
version = ["--version"]
install = "install Python"
{more}
[values]
gain = {{ slider = "exposure", base = 2 }}

[[slider]]
name = "exposure"
low = -2
high = 2
default = 0
unit = "EV"
"""


def write_gain(folder: Path, *, mode: str = "gain", more: str = "", program: str = sys.executable) -> Path:
    """``gain.toml`` in ``folder``: an editor of one slider, exposure, that multiplies all samples by two to that."""
    (folder / "edit.py").write_text(SCRIPT, encoding="utf-8")
    path = folder / "gain.toml"
    last = ', "{sidecar}"' if "[sidecar]" in more else ""
    text = TOML.format(python=json.dumps(program), mode=json.dumps(mode), more=more, last=last)
    path.write_text(text, encoding="utf-8")
    return path


def calls(folder: Path) -> list[int]:
    """Process ids of the program's runs so far."""
    log = folder / "calls.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
