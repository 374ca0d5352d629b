from __future__ import annotations

import re

import pytest

from pixward.cubefile import read_cube
from pixward.errors import PixwardError

CORNERS = "0 0 0\n1 0 0\n0 1 0\n1 1 0\n0 0 1\n1 0 1\n0 1 1\n1 1 1\n"
FAULTS = {
    "empty": ("", "line 1: LUT_1D_SIZE or LUT_3D_SIZE is missing"),
    "comments only": ("# a\n\n# b\n", "line 3: LUT_1D_SIZE or LUT_3D_SIZE is missing"),
    "no size": ('TITLE "a"\n0 0 0\n', "line 2: LUT_1D_SIZE or LUT_3D_SIZE is missing"),
    "too few": ("LUT_3D_SIZE 2\n" + CORNERS[:-6], "line 8: the file ends after 7 rows, and LUT_3D_SIZE 2 asks for 8"),
    "no rows": ("LUT_1D_SIZE 5\n", "line 1: the file ends after 0 rows, and LUT_1D_SIZE 5 asks for 5"),
    "too many": (f"LUT_3D_SIZE 2\n{CORNERS}\n1 1 1\n", "line 11: more rows than the 8 that LUT_3D_SIZE 2 asks for"),
    "both, too few": (f"LUT_1D_SIZE 2\nLUT_3D_SIZE 2\n{CORNERS}", "LUT_1D_SIZE 2 with LUT_3D_SIZE 2 asks for 10"),
    "nan": (f"LUT_3D_SIZE 2\nnan 0 0\n{CORNERS}", "line 2: 'nan 0 0': NaN, infinite"),
    "inf": (f"LUT_3D_SIZE 2\n{CORNERS}".replace("1 1 0", "1 -inf 0"), "line 5: '1 -inf 0': NaN, infinite"),
    "huge": (f"LUT_3D_SIZE 2\n{CORNERS}".replace("1 1 0", "1 1e39 0"), "line 5: .* too large a number"),
    "two numbers": (f"LUT_3D_SIZE 2\n{CORNERS}".replace("1 1 0", "1 1"), "line 5: expected 3 numbers, got 2: '1 1'"),
    "four numbers": (f"LUT_3D_SIZE 2\n{CORNERS}".replace("1 1 0", "1 1 0 1"), "line 5: expected 3 numbers, got 4"),
    "commas": (f"LUT_3D_SIZE 2\n{CORNERS}".replace("1 1 0", "1,0 1,0 0"), "line 5: .* write 0.5, not 0,5"),
    "words": (f"LUT_3D_SIZE 2\n{CORNERS}".replace("1 1 0", "1 x 0"), "line 5: '1 x 0' are not 3 numbers"),
    "size 1": ("LUT_3D_SIZE 1\n0 0 0\n", "line 1: LUT_3D_SIZE must be a whole number from 2 to 256, got '1'"),
    "size 257": ("LUT_3D_SIZE 257\n", "from 2 to 256, got '257'"),
    "size in the billions": ("LUT_3D_SIZE 99999999999999999999\n", "from 2 to 256"),
    "size 65537": ("LUT_1D_SIZE 65537\n", "from 2 to 65536"),
    "size in words": ("LUT_3D_SIZE big\n", "got 'big'"),
    "size with a point": ("LUT_3D_SIZE 33.0\n", "got '33.0'"),
    "size twice": ("LUT_3D_SIZE 2\nLUT_3D_SIZE 2\n", "line 2: LUT_3D_SIZE is given twice"),
    "title twice": ("TITLE a\nTITLE b\n", "line 2: TITLE is given twice"),
    "domain of two": ("DOMAIN_MIN 0 0\n", "line 1: expected 3 numbers, got 2"),
    "domain backwards": (f"DOMAIN_MAX 1 0 1\nLUT_3D_SIZE 2\n{CORNERS}", "line 3: DOMAIN_MIN must lie below DOMAIN_MAX"),
    "domain too narrow": (f"DOMAIN_MIN 1 1 1\nDOMAIN_MAX 2 2 1.000000001\nLUT_3D_SIZE 2\n{CORNERS}", "the same number"),
    "range backwards": (f"LUT_3D_INPUT_RANGE 1 0\nLUT_3D_SIZE 2\n{CORNERS}", "LUT_3D_INPUT_RANGE: the lower end"),
    "range of nothing": (f"LUT_1D_INPUT_RANGE 0 1\nLUT_3D_SIZE 2\n{CORNERS}", "LUT_1D_INPUT_RANGE without LUT_1D_SIZE"),
    "domain and range": (
        f"LUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 0 2\nDOMAIN_MAX 2 2 2\n{CORNERS}",
        "line 4: DOMAIN_MIN and DOMAIN_MAX beside",
    ),
    "domain of two tables": (f"DOMAIN_MAX 2 2 2\nLUT_1D_SIZE 2\nLUT_3D_SIZE 2\n0 0 0\n1 1 1\n{CORNERS}", "two tables"),
    "late keyword": (f"LUT_3D_SIZE 2\n0 0 0\nDOMAIN_MIN 0 0 0\n{CORNERS}", "line 3: 'DOMAIN_MIN' stands below"),
    "another format": ("CSPLUTV100\n3D\n", "line 1: unknown keyword 'CSPLUTV100'"),
    "video levels": (f"LUT_3D_SIZE 2\nLUT_IN_VIDEO_RANGE\n{CORNERS}", "line 2: LUT_IN_VIDEO_RANGE: .*full range"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_says_where(tmp_path, fault):
    text, message = FAULTS[fault]
    path = tmp_path / "look.cube"
    path.write_text(text)
    with pytest.raises(PixwardError, match=message) as caught:
        read_cube(path)
    assert str(caught.value).startswith(f"{path}, line ") and "\n" not in str(caught.value)


def test_control_characters_are_not_passed_on(tmp_path):
    path = tmp_path / "look.cube"
    path.write_text("LUT_3D_SIZE 2\n0 \x1b[31m 0\n")
    with pytest.raises(PixwardError, match=re.escape("'0 ?[31m 0' are not 3 numbers")):
        read_cube(path)


def test_files_that_are_no_text(tmp_path):
    binary = tmp_path / "photo.cube"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(PixwardError, match="not text"):
        read_cube(binary)
    binary.write_bytes(b"\xff\xfeL\0U\0T")  # UTF-16, cut short
    with pytest.raises(PixwardError, match="not text|line 1"):
        read_cube(binary)
    with pytest.raises(PixwardError, match="no such file"):
        read_cube(tmp_path / "none.cube")
    with pytest.raises(PixwardError, match="is a folder"):
        read_cube(tmp_path)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "film.cube"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(PixwardError, match="too large"):
        read_cube(path)
