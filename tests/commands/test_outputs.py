from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pixward.commands.outputs import check_outputs, staged, sweep
from pixward.errors import PixwardError


def test_all_files_appear_together(tmp_path: Path):
    outputs = [tmp_path / "new" / name for name in ("a.txt", "b.txt")]
    with staged(outputs) as place:
        for path in outputs:
            assert place[path].suffix == path.suffix
            place[path].write_text(path.name)
        assert not any(path.exists() for path in outputs)
    assert [path.read_text() for path in outputs] == ["a.txt", "b.txt"]
    assert sorted(os.listdir(tmp_path / "new")) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), PixwardError("no")])
def test_an_error_leaves_no_trace(tmp_path: Path, error: BaseException | type[BaseException]):
    output = tmp_path / "new" / "deep" / "a.txt"

    def fail() -> None:
        with staged([output]) as place:
            place[output].write_text("half")
            raise error

    with pytest.raises((KeyboardInterrupt, PixwardError)):
        fail()
    assert os.listdir(tmp_path) == []


def test_files_get_the_usual_permissions(tmp_path: Path):
    before = os.umask(0o027)
    try:
        with staged([tmp_path / "a"]) as place:
            place[tmp_path / "a"].write_text("")
            place[tmp_path / "a"].chmod(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_ctrl_c_while_moving_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outputs = [tmp_path / "a", tmp_path / "b"]
    replace = os.replace

    def pressed(source: Path, target: Path) -> None:
        replace(source, target)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(os, "replace", pressed)
    with staged(outputs) as place:
        for path in outputs:
            place[path].write_text("whole")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_folders_in_the_way(tmp_path: Path):
    (tmp_path / "a").mkdir()
    with pytest.raises(PixwardError, match="folder of that name"):
        check_outputs([tmp_path / "a"], [], force=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PixwardError, match="leads nowhere"):
        check_outputs([tmp_path / "dangling" / "a"], [], force=True)
    with pytest.raises(PixwardError, match="exists"):
        check_outputs([tmp_path / "dangling"], [], force=False)


def test_what_a_killed_process_left_is_swept(tmp_path: Path):
    gone = subprocess.Popen(["true"])
    time.sleep(0.2)  # Over, but not asked yet how it ended.
    names = [f".pixward-{gone.pid}-abc", f".pixward-{os.getpid()}-abc", ".pixward-x-abc", "other"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("")
    sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])
    gone.wait()


def test_files_for_several_folders_appear_together(tmp_path: Path):
    outputs = [tmp_path / "one" / "a", tmp_path / "two" / "deep" / "b"]

    def fail() -> None:
        with staged(outputs) as place:
            place[outputs[0]].write_text("")
            raise PixwardError("no")

    with pytest.raises(PixwardError, match="no"):
        fail()
    assert os.listdir(tmp_path) == []
    with staged(outputs) as place:
        for path in outputs:
            place[path].write_text("")
            assert place[path].parent.parent == path.parent  # A rename, never a copy across disks.
    assert all(path.exists() for path in outputs)
    assert os.listdir(tmp_path / "two" / "deep") == ["b"]
