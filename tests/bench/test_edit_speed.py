"""Seconds by size, and the command that repeats everything: the parts that need no quiet machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixward.editors.chain import PAPER
from pixward.search.greedy import greedy
from pixward.search.problem import run

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import edit_all  # noqa: E402
import edit_speed  # noqa: E402
import edit_speed_one as one  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One photo of 160 x 90 pixels."""
    low = np.random.default_rng(0).integers(40, 200, (9, 16, 3)).astype(np.uint8)
    Image.fromarray(low).resize((160, 90), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path


def test_a_search_at_full_size_is_judged_by_whole_renders(folder: Path) -> None:
    pixels, goal = one.pair(folder, (160, 90), PAPER)
    problem = one.Whole(PAPER, pixels, goal, budget=12, shown=False)
    run(greedy, problem)
    assert len(problem.trials) == 12
    worst = max(problem.trials, key=lambda trial: trial.mse)
    photo = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    whole = PAPER(photo, PAPER.space.denormalize(worst.action[None]))[0].permute(1, 2, 0).numpy()
    assert worst.mse == pytest.approx(
        float(np.mean((np.rint(whole * 255) - goal.astype(float)) ** 2)) / 255**2, rel=1e-2
    )
    shown = one.Whole(PAPER, pixels, goal, budget=2, shown=True).render(problem.start[None])
    assert shown.shape == problem.source.shape


def test_one_method_in_a_process_of_its_own(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one, "RUNS", 1)
    monkeypatch.setattr(one.resource, "setrlimit", lambda *_: None)  # This process is the tests'.
    arguments = ["edit_speed_one.py", "chain:paper", "hybrid", "160x90", "--photos", str(folder)]
    monkeypatch.setattr(sys, "argv", arguments)
    one.main()
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["method"] == "hybrid, 10 renders of a preview"
    assert row["psnr"] > 30
    assert row["seconds"] == pytest.approx(sum(row["parts"].values()))
    assert set(row["parts"]) == {"preview", "search", "render"}
    assert 0.05 < row["base_gib"] <= row["peak_gib"]

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr(one, "choose", lambda method: full)
    one.main()
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (row["seconds"], row["note"]) == (None, "out of memory")


def a_row(key: str, size: str, seconds: float | None, search: float = 1.0) -> dict:
    row = {"editor": "chain:photo", "key": key, "method": key, "size": size, "seconds": seconds, "peak_gib": 0.5}
    return {**row, "extrapolated": False, "note": "", "parts": {"search": search}, "psnr": None, "runs": 1}


def test_promises() -> None:
    rows = [
        a_row("hybrid", "720p", 0.3, search=0.20),
        a_row("hybrid", "4K", 0.5, search=0.21),
        a_row("cmaes", "4K", 49.0),
        a_row("cmaes-plain", "4K", 500.0),
        a_row("cascaded", "4K", None),
    ]
    found = edit_speed.promises(rows)
    assert [(row["reached"], row["met"]) for row in found] == [
        ("1000 times", True),
        ("98 times", False),
        ("1.05 times", True),
    ]


def test_finished_rows_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run" / "rows.jsonl"
    kept = edit_speed.Kept(path)
    assert kept.row("chain:photo", "hybrid", "4K") is None
    kept.add(a_row("hybrid", "4K", 0.5))
    again = edit_speed.Kept(path)
    assert again.row("chain:photo", "hybrid", "4K") == kept.rows[0]
    assert again.row("chain:photo", "hybrid", "2K") is None


def test_a_piece_that_is_finished_is_passed_over(tmp_path: Path) -> None:
    words = (sys.executable, "-c", f"open({str(tmp_path / 'log')!r}, 'a').write('x')")
    piece = edit_all.Piece("echo", 1, words)
    assert edit_all.done(piece, tmp_path)
    assert edit_all.done(piece, tmp_path)
    assert (tmp_path / "log").read_text() == "x"
    assert not edit_all.done(edit_all.Piece("bad", 1, (sys.executable, "-c", "raise SystemExit(3)")), tmp_path)
    assert not (tmp_path / "edit-all" / "bad.json").exists()


def test_all_pieces_are_commands_that_exist(tmp_path: Path) -> None:
    import argparse

    options = argparse.Namespace(shared=tmp_path, out=tmp_path, runs=tmp_path, quick=False)
    pieces = edit_all.whole(options)
    assert [piece.name for piece in pieces] == ["bench", "speed", "proxies", "looks", "cube", "batch", "ablation"]
    scripts = [Path(piece.words[1]) for piece in pieces if piece.name != "bench"]
    assert not [path for path in scripts if not path.is_file()]


def test_the_page_holds_rows_and_promises() -> None:
    rows = [
        {**a_row("hybrid", "720p", 0.3), "base_gib": 0.3, "parts": {"preview": 0.01, "search": 0.2, "render": 0.09}},
        {**a_row("cascaded", "720p", None), "peak_gib": None, "note": "out of memory"},
    ]
    machine = {"processor": "abacus", "cores": 2, "memory_gib": 1, "torch": "2"}
    origin = {"command": "python x.py", "commit": "abc", "date": "2026-01-02", "hardware": machine, "memory_gib": 20.0}
    result = {**origin, "sizes": {"720p": [1280, 720]}, "rows": rows, "gates": edit_speed.promises(rows)}
    text = edit_speed.page(result)
    assert "| chain:photo | hybrid | 0.3 s, 0.5 GiB |" in text
    assert "| chain:photo | hybrid | 720p | 0.01 | 0.2 | 0.09 |" in text
    assert "| chain:photo | cascaded | out of memory |" in text
    assert "at most 20 GiB" in text
    assert "hybrid's search at 4K" not in text
