"""Where a figure comes from: code, machine, day. Shared by every benchmark."""

from __future__ import annotations

import ast
import datetime
import hashlib
import os
import platform
import subprocess
from pathlib import Path

import pixward

_NOT_MEASURED = {"cli.py", "commands", "web", "train", "page.py", "plots.py", "summary.py", "words.py"}
_NOT_MEASURED |= {"details.py", "tables.py", "paper.py"}
"""Files whose changes cannot alter a result of the edit benchmark."""


def commit() -> str:
    """Short hash of the checkout's commit, with ``+changes`` where files differ from it; ``unknown`` outside git."""
    folder = Path(pixward.__file__).parent
    try:
        head = _git(folder, "rev-parse", "--short", "HEAD")
        return head + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def hardware() -> dict[str, object]:
    """Processor, cores, memory in GiB, and the versions that decide speed."""
    import numpy
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def today() -> str:
    """The day in UTC, ``2025-01-31``."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def code_digest(folder: Path | None = None) -> str:
    """Twelve hex digits that change when code or weights change that decide a result.

    Comments, docstrings and layout do not count: results stay good when words change.
    """
    root = folder or Path(pixward.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if not path.is_file() or _NOT_MEASURED & set(relative.parts):
            continue
        if path.suffix == ".py":
            digest.update(f"{relative}\n".encode() + _meaning(path.read_text(encoding="utf-8")).encode())
        elif relative.parts[0] == "weights":
            digest.update(f"{relative}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
