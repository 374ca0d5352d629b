"""The text of .pp3 files. Needs no RawTherapee."""

from __future__ import annotations

import configparser

import pytest

from pixward.editors import pp3
from pixward.errors import PixwardError


def test_text_is_what_glib_key_files_are():
    made = pp3.text(
        {
            "Exposure": {"Compensation": 0.5, "Black": -2000, "Curve": (3.0, 0.0, 0.25, 1.0)},
            "Vibrance": {"Enabled": True, "ProtectSkins": False},
        }
    )
    reader = configparser.ConfigParser(interpolation=None)  # a reader of its own
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    reader.read_string(made)
    assert dict(reader["Version"]) == {"AppVersion": "5.9", "Version": "349"}
    assert dict(reader["Exposure"]) == {"Compensation": "0.5", "Black": "-2000", "Curve": "3;0;0.25;1;"}
    assert dict(reader["Vibrance"]) == {"Enabled": "true", "ProtectSkins": "false"}
    assert pp3.parse(made) == {name: dict(reader[name]) for name in reader.sections()}


def test_small_numbers_have_no_exponent_that_changes_them():
    assert float(pp3.parse(pp3.text({"A": {"b": 1e-6}}))["A"]["b"]) == 1e-6


def test_note_comes_back_and_is_a_comment():
    note = {"setting": {"exposure": 0.1}, "longest": 64}
    made = pp3.text({}, note)
    assert made.startswith("#")
    assert pp3.parse_note(made) == note
    assert "setting" not in str(pp3.parse(made))


@pytest.mark.parametrize("bad", ["", "#pixward {", "#pixward {}x", "#pixward [1]", "x #pixward {}"])
def test_broken_notes_are_no_notes(bad: str):
    assert pp3.parse_note(bad) == {}


def test_parse_is_lenient_where_rawtherapee_is():
    found = pp3.parse("\n# a comment\n[A b]\r\n key = 1;2; \nempty=\n\n[A b]\nkey=3\n[C]\n")
    assert found == {"A b": {"key": "3", "empty": ""}, "C": {}}


@pytest.mark.parametrize(
    "bad", ["", "   \n", "key=1\n", "[A]\nno value\n", "[A]\n=1\n", "\0[A]\n", "<xml/>", "[A\nb=1"]
)
def test_garbage_is_one_clear_line(bad: str):
    with pytest.raises(PixwardError, match="no RawTherapee sidecar") as caught:
        pp3.parse(bad)
    assert "\n" not in str(caught.value)


def test_numbers():
    assert pp3.numbers("1;0;0.5;") == (1, 0, 0.5)
    assert pp3.numbers("0;") == (0,)
    assert pp3.numbers("1;x;") == () == pp3.numbers("")
