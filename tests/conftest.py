"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure, so nothing has a deadline; CI draws the same examples every time.
settings.register_profile("pixward", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("pixward")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The optional data folder, ``../shared/data`` beside the checkout or ``$PIXWARD_SHARED``; skips if absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PIXWARD_SHARED") or default)
    if not folder.is_dir():
        pytest.skip(f"needs the shared data folder: {folder} is missing, set PIXWARD_SHARED to its place")
    return folder
