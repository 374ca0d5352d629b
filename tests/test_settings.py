from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pixward import __version__
from pixward.settings import read_setting, setting_text


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), st.floats(-1e300, 1e300)))
def test_what_is_written_is_read(tmp_path_factory, values: dict[str, float]):
    path = tmp_path_factory.mktemp("settings") / "s.json"
    path.write_text(setting_text("chain:photo", values), encoding="utf-8")
    setting = read_setting(path)
    assert (setting.editor, setting.values) == ("chain:photo", values)


def test_the_text_names_the_version():
    assert json.loads(setting_text("e", {}))["pixward"] == __version__


def test_a_byte_order_mark_is_forgiven(tmp_path: Path):
    path = tmp_path / "s.json"
    path.write_bytes(b"\xef\xbb\xbf" + setting_text("e", {"a": 1}).encode())
    assert read_setting(path).values == {"a": 1}
