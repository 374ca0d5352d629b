from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pixward.commands.batch_journal import NAME, Journal
from pixward.commands.batch_summary import _percentile
from pixward.commands.batch_work import reason
from pixward.errors import PixwardError


def wrote(journal: Journal, key: str, text: str = "x") -> Path:
    """A photo's one file, written down."""
    path = journal.path.parent / f"{key}.txt"
    path.write_text(text)
    journal.write(key, Path(f"{key}.jpg"), {"key": key}, {path: path})
    return path


def test_done_is_what_has_a_line_and_all_its_files(tmp_path: Path):
    with Journal(tmp_path / "new") as journal:
        path = wrote(journal, "a")
        assert journal.finished("a") is None  # It knows what it has read.
        journal.refresh()
        assert journal.finished("a") == {"key": "a"} and journal.is_ours(path)
        assert journal.finished("b") is None and not journal.is_ours(tmp_path / "other")
        path.write_text("longer")
        assert journal.finished("a") is None and not journal.is_ours(path)
        path.unlink()
        assert journal.finished("a") is None


@pytest.mark.parametrize("cut", [1, 5, 60, 10_000])
def test_a_torn_line_costs_itself_only(tmp_path: Path, cut: int):
    with Journal(tmp_path) as journal:
        wrote(journal, "a")
        whole = journal.path.stat().st_size
        wrote(journal, "b")
        torn = journal.path.read_bytes()[: max(whole, journal.path.stat().st_size - cut)]
        journal.path.write_bytes(torn)
        wrote(journal, "c")  # Written behind the torn line, as a run that goes on does.
    again = Journal(tmp_path)
    assert again.finished("a") == {"key": "a"} and again.finished("c") == {"key": "c"}
    assert (again.finished("b") is not None) == (cut == 1)  # Only the line's own end was missing.


def test_lines_of_several_writers_do_not_mix(tmp_path: Path):
    with Journal(tmp_path):
        writers = [
            threading.Thread(target=lambda k=k: [wrote(Journal(tmp_path), f"{k}-{n}") for n in range(20)])
            for k in range(4)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    lines = [line for line in (tmp_path / NAME).read_text().split("\n") if line]
    assert sorted(json.loads(line)["key"] for line in lines) == sorted(f"{k}-{n}" for k in range(4) for n in range(20))


def test_a_file_of_somebody_elses_stays(tmp_path: Path):
    (tmp_path / NAME).write_text('{"my": "data"}\n')
    with pytest.raises(PixwardError, match="not a journal of pixward's"):
        Journal(tmp_path)
    assert (tmp_path / NAME).read_text() == '{"my": "data"}\n'


def test_nothing_done_leaves_nothing(tmp_path: Path):
    with (
        Journal(tmp_path / "new") as first,
        pytest.raises(PixwardError, match="another pixward match"),
        Journal(tmp_path / "new"),
    ):
        pass
    assert first.path.parent == tmp_path / "new"
    assert not (tmp_path / "new").exists()


def test_a_second_batch_does_not_take_the_firsts_journal_away(tmp_path: Path):
    with Journal(tmp_path) as first:
        for _ in range(2):
            with pytest.raises(PixwardError, match="another pixward match"), Journal(tmp_path):
                pass
        assert first.path.exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PixwardError("two\n lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.jpg"), "a.jpg: no such file or directory"),
        (MemoryError(), "out of memory"),
        (KeyError("x"), "this is a bug, please report it: KeyError"),
    ],
)
def test_reasons_are_one_line(error: Exception, said: str):
    assert said in reason(error) and "\n" not in reason(error)


def test_percentiles_are_numpys():
    import numpy as np

    values = sorted(np.random.default_rng(0).normal(size=37))
    for share in (0.0, 0.05, 0.5, 0.95, 1.0):
        assert _percentile(values, share) == pytest.approx(np.percentile(values, 100 * share))
