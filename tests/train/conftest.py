"""Trainers' tests share a task; see tokens.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tokens():
    """The module tokens.py, which a launcher runs as a script as well."""
    spec = importlib.util.spec_from_file_location("tokens", Path(__file__).with_name("tokens.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
