"""``save_atomic``: the whole file or none."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from pixward.errors import PixwardError
from pixward.files import check_target, save_atomic


def write(text):
    return lambda path: path.write_text(text)


def without_links(monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture(params=["links", "no links"])
def disk(request, monkeypatch, tmp_path):
    """An ordinary disk, and one without hard links (FAT)."""
    if request.param == "no links":
        without_links(monkeypatch)
    return tmp_path


def test_writes_and_replaces(disk):
    path = save_atomic(str(disk / "a.json"), write("one"), force=False)
    assert path == disk / "a.json" and path.read_text() == "one"
    save_atomic(path, write("two"), force=True)
    assert path.read_text() == "two" and os.listdir(disk) == ["a.json"]


def test_the_temporary_name_is_beside_and_ends_alike(tmp_path):
    seen = []
    save_atomic(tmp_path / "a.tar.gz", lambda path: (seen.append(path), path.touch()), force=False)
    assert seen[0].parent == tmp_path and seen[0].suffix == ".gz" and seen[0].name != "a.tar.gz"


def test_refuses_before_any_work(tmp_path):
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "no" / "a", tmp_path):
        with pytest.raises(PixwardError, match=str(path)):
            save_atomic(path, lambda _: pytest.fail("called"), force=False)
        with pytest.raises(PixwardError):
            check_target(path, force=False)


def test_a_file_that_appears_meanwhile_stays(disk):
    def slow(temporary):
        temporary.write_text("ours")
        (disk / "a").write_text("theirs")

    with pytest.raises(PixwardError, match="exists already"):
        save_atomic(disk / "a", slow, force=False)
    assert (disk / "a").read_text() == "theirs" and os.listdir(disk) == ["a"]


def test_of_many_writers_one_wins(disk):
    def one(number):
        try:
            save_atomic(disk / "a", write(str(number)), force=False)
        except PixwardError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(one, range(32)) if number is not None]
    assert len(winners) == 1 and (disk / "a").read_text() == str(winners[0]) and os.listdir(disk) == ["a"]


def test_a_full_disk_as_safetensors_tells_it(tmp_path):
    safetensors = pytest.importorskip("safetensors")

    def full(_):
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    with pytest.raises(PixwardError, match="cannot write .*weights: I/O error: No space left"):
        save_atomic(tmp_path / "weights", full, force=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, RuntimeError])
def test_other_errors_pass_and_leave_nothing(tmp_path, error):
    (tmp_path / "a").write_text("old")

    def broken(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(error):
        save_atomic(tmp_path / "a", broken, force=True)
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    save_atomic(tmp_path / "link", write("new"), force=True)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_failed_rename_without_links_leaves_nothing(tmp_path, monkeypatch):
    without_links(monkeypatch)

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(PixwardError, match="disk is full"):
        save_atomic(tmp_path / "a", write("x"), force=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PixwardError, match="no permission"):
            save_atomic(tmp_path / "a", write("x"), force=False)
    finally:
        tmp_path.chmod(0o700)
