from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.editors.programs import write_gain

from pixward.editors.command_file import read_command_file
from pixward.errors import PixwardError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "editors" / "imagemagick.toml"

GOOD = """
name = "Tool"
program = ["tool7", "tool"]
arguments = ["{input}", "-x", "{amount:.2f}", "{output}"]

[[slider]]
name = "amount"
low = 0
high = 10
default = 5
"""
SIDECAR = """
name = "Tool"
program = "tool"
arguments = ["{input}", "{sidecar}", "{output}"]
[sidecar]
suffix = ".ini"
template = "# {setting}\\namount={amount}"
[[slider]]
name = "amount"
low = 0
high = 10
default = 5
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "tool.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_with_what_is_needed_only(tmp_path: Path) -> None:
    file = read_command_file(write(tmp_path, GOOD))
    assert (file.name, file.programs, file.suffix, file.template) == ("Tool", ("tool7", "tool"), ".json", None)
    assert (file.input, file.output, file.version, file.oldest, file.install) == ("tiff", "tiff", (), "", "")
    (slider,) = file.space
    assert (slider.name, slider.low, slider.high, slider.default, slider.scale) == ("amount", 0, 10, 5, "linear")
    assert file.numbers({"amount": 7.0}, 256) == {"amount": 7.0, "longest": 256.0}


def test_a_parameter_file(tmp_path: Path) -> None:
    file = read_command_file(write(tmp_path, SIDECAR))
    assert (file.suffix, file.template) == (".ini", "# {setting}\namount={amount}")


def test_the_numbers_of_the_example() -> None:
    file = read_command_file(EXAMPLE)
    setting = {spec.name: float(spec.default) for spec in file.space}
    numbers = file.numbers({**setting, "exposure": 1.0, "warmth": 100.0, "saturation": -40.0}, 600)
    assert numbers["gain"] == 2 and numbers["colour"] == 60
    assert numbers["red"] == pytest.approx(2**0.5) and numbers["blue"] == pytest.approx(2**-0.5)
    assert file.space.names == ("exposure", "warmth", "gamma", "brightness", "contrast", "saturation")


def test_a_relative_value_follows_the_longest_side(tmp_path: Path) -> None:
    text = GOOD.replace('"-x"', '"{r}"').replace(
        "[[slider]]", "[values]\nr = { offset = 0.01, relative = true }\n[[slider]]"
    )
    file = read_command_file(write(tmp_path, text))
    assert file.numbers({"amount": 5.0}, 600)["r"] == pytest.approx(6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "Tool"', "", "name: is missing; expected a text"),
        ('name = "Tool"', "name = 3", "name: expected a text in quotes, got 3"),
        ('program = ["tool7", "tool"]', "", "program: is missing; expected a list of texts"),
        ('program = ["tool7", "tool"]', "program = []", "program: is empty"),
        ('program = ["tool7", "tool"]', 'program = ["a", 1]', "program: expected a list of texts"),
        ('program = ["tool7", "tool"]', 'program = ""', "program: expected a text that is not empty"),
        ('"-x"', '"-x\\u0000"', "arguments: expected a list of texts"),
        ('"{input}"', '"in"', "arguments: {input} is missing"),
        ('"{output}"', '"out"', "arguments: {output} is missing"),
        ('"-x"', '"{sidecar}"', "arguments: {sidecar} needs a [sidecar] table"),
        ('"-x"', '"{amont}"', "arguments: {amont} stands for nothing; known are input, output"),
        ('"-x"', '"{input:.2f}"', "arguments: {input} is no number"),
        ('"-x"', '"{"', "arguments: "),
        ('"{amount:.2f}"', '"{amount:d}"', 'arguments: "{amount:d}": expected a format'),
        ('"{amount:.2f}"', '"5"', "slider amount: is used nowhere"),
        ("default = 5", "default = 50", "slider amount: need finite low <= default <= high"),
        ("default = 5", 'default = "5"', 'slider amount: default: expected a number, got "5"'),
        ("default = 5", "default = true", "slider amount: default: expected a number, got true"),
        ("default = 5", "default = nan", "slider amount: default: expected a number, got nan"),
        ("default = 5", "default = 1" + "0" * 400, "slider amount: default: expected a number"),
        ("default = 5", "", "slider amount: default: is missing; expected a number"),
        ("default = 5", 'default = 5\nscale = "log"', "slider amount: a log scale needs low > 0"),
        ("default = 5", 'default = 5\nscale = "sqrt"', 'slider amount: scale: expected "linear" or "log", got "sqrt"'),
        ("default = 5", "default = 5\nstep = 1", "slider amount: step: is not a key here; known are name, low"),
        ('name = "amount"', 'name = "Amount"', 'slider 1: name: expected small letters, digits and _, got "Amount"'),
        ('name = "amount"', 'name = "input"', "slider input: name: is a placeholder of pixward's"),
        ("[[slider]]", "[[sliders]]", "slider: is missing"),
        ("[[slider]]", "[slider]", "slider: expected one [[slider]] table or more"),
        ('name = "Tool"', 'name = "Tool"\noutput = "jpeg"', 'output: expected "tiff" or "png", got "jpeg"'),
        ('name = "Tool"', 'name = "Tool"\noutptu = "png"', "outptu: is not a key here; known are name, help"),
        ('name = "Tool"', 'name = "Tool"\noldest = "6.9"', "oldest: expected numbers and points"),
        ('name = "Tool"', 'name = "Tool"\nversion = "-v"', "version: expected a list of texts"),
        ('name = "Tool"', "name = Tool", "is not valid TOML"),
        ("[[slider]]", "[values]\namount = {}\n[[slider]]", "[values] amount: expected a name"),
        ("[[slider]]", "[values]\nb = 3\n[[slider]]", "[values] b: expected a table like"),
        ("[[slider]]", "[values]\nb = {}\n[[slider]]", "[values] b: is used nowhere"),
        ("[[slider]]", '[values]\nb = {slider = "c"}\n[[slider]]', '[values] b: slider: there is no slider "c"'),
        ("[[slider]]", "[values]\nb = {base = -2}\n[[slider]]", "[values] b: base: expected a number above 0"),
        ("[[slider]]", "[values]\nb = {power = 2}\n[[slider]]", "[values] b: power: is not a key here"),
        ("[[slider]]", "[values]\nb = {relative = 1}\n[[slider]]", "[values] b: relative: expected true or false"),
        ("[[slider]]", '[sidecar]\nsuffix = ".x"\n[[slider]]', "[sidecar] template: is missing"),
    ],
)
def test_a_slip_is_one_line_that_names_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(PixwardError) as caught:
        read_command_file(path)
    said = str(caught.value)
    assert said.startswith(str(path)) and message in said and "\n" not in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{setting}", "setting", "[sidecar] template: {setting} is missing"),
        ("{amount}", "{output}", "[sidecar] template: {output} stands for nothing"),
        ('".ini"', '"../x"', "[sidecar] suffix: expected a point and letters"),
        ('"{sidecar}", ', "", "arguments: {sidecar} is missing"),
        ("suffix", "sufix", "[sidecar] suffix: is missing"),
    ],
)
def test_a_slip_in_the_parameter_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(PixwardError) as caught:
        read_command_file(write(tmp_path, SIDECAR.replace(old, new)))
    assert message in str(caught.value)


def test_a_slider_given_twice(tmp_path: Path) -> None:
    with pytest.raises(PixwardError, match="slider amount: name: is given twice"):
        read_command_file(write(tmp_path, GOOD + GOOD[GOOD.index("[[slider]]") :]))


def test_a_value_that_overflows(tmp_path: Path) -> None:
    text = GOOD.replace('"-x"', '"{b}"').replace(
        "[[slider]]", '[values]\nb = {slider = "amount", base = 1e200}\n[[slider]]'
    )
    with pytest.raises(PixwardError, match=r"\[values\] b: is too large"):
        read_command_file(write(tmp_path, text))


def test_files_that_are_no_command_files(tmp_path: Path) -> None:
    with pytest.raises(PixwardError, match="cannot read the command file .*no such file"):
        read_command_file(tmp_path / "none.toml")
    with pytest.raises(PixwardError, match="cannot read the command file .*is a directory"):
        read_command_file(tmp_path)
    (tmp_path / "photo.toml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(PixwardError, match="it is not text"):
        read_command_file(tmp_path / "photo.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(PixwardError, match="too large"):
        read_command_file(tmp_path / "long.toml")


def test_the_program_of_the_tests_is_a_good_file(tmp_path: Path) -> None:
    assert read_command_file(write_gain(tmp_path)).programs == (sys.executable,)
