"""The rules of docs/architecture.md, checked on the source itself."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "pixward"
ADAPTERS = {
    "envs/gym.py",
    "editors/darktable.py",
    "editors/rawtherapee.py",
    "editors/command.py",
    "policies/hub.py",
    "rewards/trl.py",
}
FILES = sorted(PACKAGE.rglob("*.py"))
CODE = FILES + [path for folder in ("tests", "examples", "recipes") for path in sorted((ROOT / folder).rglob("*.py"))]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def short(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix() if PACKAGE in path.parents else path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """``search/problem.py`` -> ``search.problem``; the package itself is the empty string."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path) for path in FILES}


def layers() -> dict[str, int]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```layers\n(.*?)```", text, re.DOTALL)
    assert block, "docs/architecture.md has lost its list of layers"
    return {name: row for row, line in enumerate(block[1].splitlines()) for name in line.split()}


def imports(tree: ast.Module, source: str) -> Iterator[str]:
    """Modules of pixward that ``source`` imports, at top level or inside functions, without the leading package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("pixward."):
                    yield alias.name.removeprefix("pixward.")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import in line {node.lineno}"
            if node.module == "pixward" or (node.module or "").startswith("pixward."):
                base = (node.module or "").removeprefix("pixward").removeprefix(".")
                for alias in node.names:
                    inner = f"{base}.{alias.name}".removeprefix(".")
                    target = inner if inner in MODULES else base
                    if target:
                        yield target


def forbidden(source: str, target: str, order: dict[str, int]) -> str | None:
    """Why ``source`` may not import ``target``, or None where it may."""
    here, there = source.split(".")[0], target.split(".")[0]
    if order[there] > order[here]:
        return f"{source} imports {target}, which lies in a higher layer"
    if here == "train" and there in {"editors", "envs", "policies", "rewards"}:
        return f"{source} imports {target}: trainers are handed their env, policy and reward"
    return None


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node.name, node


def public(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Public classes and functions of a module, and the public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, Function) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def test_every_module_has_a_layer() -> None:
    homeless = {name.split(".")[0] for name in MODULES if name} - set(layers())
    assert not homeless, f"give {sorted(homeless)} a row in docs/architecture.md"


@pytest.mark.parametrize("path", FILES, ids=short)
def test_imports_point_downwards(path: Path) -> None:
    order, source = layers(), module_name(path)
    if not source:
        return  # the package itself re-exports what it likes
    found = [forbidden(source, target, order) for target in imports(tree_of(path), source)]
    assert not [reason for reason in found if reason]


def test_a_wrong_import_is_seen() -> None:
    order = layers()
    upwards = ast.parse("def f():\n    from pixward.search import problem\n")
    assert [forbidden("ops.tone", target, order) for target in imports(upwards, "ops.tone")] == [
        "ops.tone imports search.problem, which lies in a higher layer"
    ]
    assert forbidden("search.hybrid", "policies.goal", order) is None
    assert "handed" in (forbidden("train.td3", "envs.edit", order) or "")


@pytest.mark.parametrize("path", FILES, ids=short)
def test_public_names_have_docstrings(path: Path) -> None:
    tree = tree_of(path)
    bare = [name for name, node in public(tree) if not ast.get_docstring(node)]
    assert ast.get_docstring(tree), "the module has no docstring"
    assert not bare, f"no docstring: {bare}"


@pytest.mark.parametrize("path", CODE, ids=short)
def test_files_and_functions_are_short(path: Path) -> None:
    length = len(path.read_text(encoding="utf-8").splitlines())
    assert length <= 500, f"{length} lines"
    long = {name: node.end_lineno - node.lineno + 1 for name, node in functions(tree_of(path)) if node.end_lineno}
    assert not {name: lines for name, lines in long.items() if lines > 60}


@pytest.mark.parametrize("path", FILES, ids=short)
def test_signatures_are_small_and_closed(path: Path) -> None:
    many, open_ended = [], []
    for name, node in functions(tree_of(path)):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        count = len([argument for argument in arguments if argument.arg not in ("self", "cls")])
        # A typer command is a list of options, one parameter each: it is a table, not an interface.
        if count > 8 and not short(path).startswith("commands/"):
            many.append(f"{name}: {count}")
        if node.args.kwarg and short(path) not in ADAPTERS:
            open_ended.append(name)
    assert not many, f"more than 8 parameters: {many}"
    assert not open_ended, f"**{{...}} in the signature: {open_ended}"


@pytest.mark.skipif(importlib.util.find_spec("pixward.cli") is None, reason="there is no command line yet")
def test_the_command_line_imports_torch_late() -> None:
    code = "import sys, pixward.cli; print(*sorted({'torch', 'scipy', 'PIL', 'cma'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""


def test_no_path_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: the tracked files are not known")
    # Written so that this file does not find itself.
    pattern = re.compile("(?<![A-Za-z0-9_.*)-])/(" + "|".join(("work", "tmp", "root", r"home/[a-z]+")) + ")/")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture or weights; or deleted but not yet committed
        found += [
            f"{name}:{row}: {line.strip()[:80]}"
            for row, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    assert not found
