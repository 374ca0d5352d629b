"""Trainers' tests share tasks; see tokens.py and drawing.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tokens():
    """The module tokens.py, which a launcher runs as a script as well."""
    return load("tokens")


@pytest.fixture(scope="session")
def drawing():
    """The module drawing.py, which a launcher runs as a script as well."""
    return load("drawing")


def load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
