from __future__ import annotations

import pytest

from pixward.editors.placeholders import fill, number_text, placeholders


def test_placeholders_and_their_formats_are_found() -> None:
    assert placeholders("-b {a:.3f}x{b} {a} {{no}}") == {"a": {".3f", ""}, "b": {""}}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{a", "twice"),
        ("a}", "twice"),
        ("{}", "no placeholder"),
        ("{0}", "no placeholder"),
        ("{a.__class__}", "no placeholder"),
        ("{a[0]}", "no placeholder"),
        ("{a!r}", "no placeholder"),
        ("{A}", "no placeholder"),
        ("{a:{b}}", "expected a format"),
        ("{a:d}", "expected a format"),
        ("{a:999999999f}", "expected a format"),
        ("{a:x}", "expected a format"),
    ],
)
def test_anything_else_in_braces_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        placeholders(text)


def test_filled() -> None:
    text = fill("{{{a:.1f}}} {a} {w}", {"a": 1.25}, {"w": "{a} $(touch x)"})
    assert text == "{1.2} 1.250000 {a} $(touch x)"


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1e-5, "", "0.000010"),
        (123456.5, "", "123456.500000"),
        (-1e-9, "", "0.000000"),
        (-0.0, ".0f", "0"),
        (-0.4, ".0f", "0"),
        (-0.4, "+.0f", "+0"),
        (2.5, "+.1f", "+2.5"),
        (5, "03.0f", "005"),
    ],
)
def test_numbers(value: float, form: str, text: str) -> None:
    assert number_text(value, form) == text
