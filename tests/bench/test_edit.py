from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pixward.bench import EditBenchSettings, run_edit_bench
from pixward.bench.edit import told
from pixward.bench.runner import Worker
from pixward.errors import PixwardError

VOLATILE = {"seconds", "timing", "date", "commit", "commits", "command", "jobs"}


def steady(value):
    """A result without what differs from run to run."""
    if isinstance(value, dict):
        return {key: steady(inner) for key, inner in value.items() if key not in VOLATILE}
    return [steady(inner) for inner in value] if isinstance(value, list) else value


def units_file(settings: EditBenchSettings) -> Path:
    (path,) = settings.run.glob("*/units.jsonl")
    return path


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    call = Worker.__call__

    def counted(self, key):
        done.append(key.strategy)
        return call(self, key)

    monkeypatch.setattr(Worker, "__call__", counted)
    return done


def test_files_and_figures(settings: EditBenchSettings) -> None:
    result = run_edit_bench(settings)
    names = {path.name for path in settings.out.iterdir()}
    assert names == {"edit.json", "edit.md", "edit_chain-paper_r0.5.png", "edit_chain-photo_r1.png"}
    assert json.loads((settings.out / "edit.json").read_text()) == json.loads(json.dumps(result))
    assert result["photos"] == ["a.png", "b.png"]
    lines = [json.loads(line) for line in units_file(settings).read_text().splitlines()]
    curves = [
        unit["psnr"]
        for unit in lines
        if unit["key"]["strategy"] == "dice" and unit["key"]["goals"] == "chain:photo@1" and not unit["key"]["timed"]
    ]
    found = result["goals"]["chain:photo@1"]["strategies"]["dice"]
    assert found["curve"]["p5"] == pytest.approx(list(np.percentile(curves, 5, axis=0)), abs=0.006)
    assert found["at"]["10"]["psnr"]["mean"] == pytest.approx(np.mean(curves, axis=0)[10], abs=0.006)
    assert found["psnr"]["10"] == pytest.approx([curve[10] for curve in curves], abs=0.006)
    assert (found["renders"], found["worse_than_untouched"]) == (12, 0)
    still = result["goals"]["chain:photo@1"]["strategies"]["still"]
    assert (still["renders"], still["kept_untouched"], still["at"]["5"]["stopped"]) == (3, 2, 2)


def test_a_run_cut_short_goes_on_to_the_same_result(settings: EditBenchSettings, count: list[str]) -> None:
    whole = run_edit_bench(settings)
    total = len(count)
    path = units_file(settings)
    lines = path.read_bytes().splitlines(keepends=True)
    # As a kill in the middle of a write leaves it: five whole lines and a half.
    path.write_bytes(b"".join(lines[:5]) + lines[5][: len(lines[5]) // 2])
    count.clear()
    assert steady(run_edit_bench(settings)) == steady(whole)
    assert len(count) == total - 5
    count.clear()
    run_edit_bench(settings)
    assert not count


def test_two_processes_give_the_same(settings: EditBenchSettings) -> None:
    alone = run_edit_bench(settings)
    both = run_edit_bench(dataclasses.replace(settings, jobs=2, run=settings.run / "two"))
    assert steady(alone) == steady(both)


def test_more_photos_go_on_from_fewer(settings: EditBenchSettings, count: list[str]) -> None:
    run_edit_bench(dataclasses.replace(settings, limit=1))
    assert told(run_edit_bench(settings))[0].startswith("chain:paper@0.5: dice ")
    assert len(count) == 2 * (2 * 3 + 2 + 2)  # curves, and timed searches with a warm-up each


def test_a_second_source_and_long_searches(
    settings: EditBenchSettings, tmp_path: Path, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixward.bench.settings.FIGURE_RENDERS", 20)
    (tmp_path / "other").mkdir()
    shutil.copy(settings.photos / "b.png", tmp_path / "other" / "c.png")
    more = dataclasses.replace(settings, second=tmp_path / "other", figure=1)
    result = run_edit_bench(more)
    assert result["second"]["photos"] == ["c.png"]
    assert result["second"]["goals"].keys() == result["goals"].keys()
    assert list(result["figure"]["goals"]) == ["chain:paper@0.5"]
    assert result["figure"]["photos"] == ["a.png"]
    curve = result["figure"]["goals"]["chain:paper@0.5"]["strategies"]["dice"]["curve"]["mean"]
    assert len(curve) == 21
    ten = result["goals"]["chain:paper@0.5"]["strategies"]["dice"]["psnr"]["10"]
    assert curve[10] == ten[0]  # The same search, only longer.
    assert any(line.startswith("second source, chain:photo@1: dice") for line in told(result))
    count.clear()
    assert steady(run_edit_bench(more)) == steady(result)
    assert not count


@pytest.mark.parametrize(
    ("layout", "sources", "goals", "names"),
    [
        ("folders", "source", "goal", ("a", "b")),
        ("fivek", "input", "expertC_gt", ("a0001", "a0002")),
        ("hdrplus", "middle_480p", "output_480p", ("0006_20160722_115157_431", "c1b1_20150424_201100_596")),
    ],
)
def test_pairs_of_a_data_set(
    settings: EditBenchSettings, tmp_path: Path, layout: str, sources: str, goals: str, names: tuple[str, str]
) -> None:
    for part in (sources, goals):
        (tmp_path / "set" / part).mkdir(parents=True)
        for photo, name in zip(("a", "b"), names, strict=True):
            shutil.copy(settings.photos / f"{photo}.png", tmp_path / "set" / part / f"{name}.png")
    asked = dataclasses.replace(
        settings, photos=tmp_path / "set", pairs=layout, goals=("chain:paper@given",), strategies=("still",)
    )
    result = run_edit_bench(asked)
    assert result["photos"] == list(names)
    assert f"--pairs {layout}" in result["command"]
    found = result["goals"]["chain:paper@given"]["strategies"]["still"]
    assert found["psnr"]["0"] == [100.0, 100.0]  # The goals are the photos themselves.
    with pytest.raises(PixwardError, match="unknown layout"):
        run_edit_bench(dataclasses.replace(asked, pairs="lightroom"))


def test_another_seed_is_another_run(settings: EditBenchSettings) -> None:
    first = run_edit_bench(settings)
    second = run_edit_bench(dataclasses.replace(settings, seed=6))
    assert first["goals"]["chain:photo@1"]["strategies"] != second["goals"]["chain:photo@1"]["strategies"]
    assert steady(run_edit_bench(settings)) == steady(first)


def test_changed_code_is_measured_again_unless_kept(
    settings: EditBenchSettings, count: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_edit_bench(settings)
    monkeypatch.setattr("pixward.bench.edit.code_digest", lambda: "other")
    count.clear()
    result = run_edit_bench(dataclasses.replace(settings, keep=("dice",)))
    assert set(count) == {"identity", "still"}
    assert "dice" in (settings.out / "edit.md").read_text().split("**Not one run:**")[1].split("\n")[0]
    assert result["goals"]["chain:photo@1"]["strategies"]["still"]["codes"] == ["other"]


def test_page_only(settings: EditBenchSettings, count: list[str]) -> None:
    run_edit_bench(settings)
    page = (settings.out / "edit.md").read_bytes()
    (settings.out / "edit.md").unlink()
    count.clear()
    run_edit_bench(dataclasses.replace(settings, page_only=True))
    assert (settings.out / "edit.md").read_bytes() == page
    assert not count


def test_errors_are_one_clear_line(settings: EditBenchSettings, tmp_path: Path) -> None:
    with pytest.raises(PixwardError, match="unknown strategy 'magic'; choose from: identity, still"):
        run_edit_bench(dataclasses.replace(settings, strategies=("magic",)))
    with pytest.raises(PixwardError, match=r"strategy broken failed on a\.png, goals chain:paper@0\.5: .*no luck"):
        run_edit_bench(dataclasses.replace(settings, strategies=("broken",)))
    with pytest.raises(PixwardError, match="pass a folder of photos"):
        run_edit_bench(dataclasses.replace(settings, photos=tmp_path / "none"))
    with pytest.raises(PixwardError, match=r"edit\.json: run the benchmark once"):
        run_edit_bench(dataclasses.replace(settings, page_only=True))
    with pytest.raises(PixwardError, match="no-such"):
        run_edit_bench(dataclasses.replace(settings, lpips=tmp_path / "no-such.safetensors"))
    (settings.out).mkdir()
    (settings.out / "edit.json").write_text('{"schema": "other"}')
    with pytest.raises(PixwardError, match="not the JSON of this benchmark"):
        run_edit_bench(dataclasses.replace(settings, page_only=True))
