"""Benchmarks: measured by code, written by code, losses beside wins."""

from __future__ import annotations

from pixward.bench.edit import run_edit_bench
from pixward.bench.settings import EditBenchSettings

__all__ = ["EditBenchSettings", "run_edit_bench"]
