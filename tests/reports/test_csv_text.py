"""CSV: no text is a formula, wherever a reader splits a line; numbers stay numbers."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.csv_text import encode_csv
from shared.control_chars import CONTROL_CHARS
from tests.builders.spreadsheet import FORMULAS, is_formula

# Name; a value; what stands in the line.
CELLS: dict[str, tuple[object, str]] = {
    "text": ("/pricing", "/pricing"),
    "empty text": ("", ""),
    "None": (None, ""),
    "integer": (5, "5"),
    "negative integer": (-5, "-5"),
    "float": (1.5, "1.5"),
    "negative float": (-1e-9, "-1e-09"),
    "true": (True, "True"),
    "text that is a number": ("5", "5"),
    "text that is a negative number": ("-5", '"\'-5"'),
    "formula": ("=1", '"\'=1"'),
    "formula with quotes": ('="x","y"', '"\'=""x"",""y"""'),
    "formula after a semicolon": ("a;=1", '"a;\'=1"'),
    "operators inside": ("a=b+c", "a=b+c"),
    "a time": ("2026-11-22T00:00:00+01:00", "2026-11-22T00:00:00+01:00"),
    "comma": ("a,b", '"a,b"'),
    "semicolon": ("a;b", '"a;b"'),
    "quote": ('say "x"', '"say ""x"""'),
    "blank in front": (" a", '" a"'),
    "tab": ("a\tb", '"a\\u0009b"'),
    "newline": ("a\nb", '"a\\u000ab"'),
    "escape": ("a\x1b[2J", '"a\\u001b[2J"'),
    "bidirectional": ("a\u202eb", '"a\\u202eb"'),
    "unicode": ("größe 漢字", "größe 漢字"),
    "another script": ("漢字", "漢字"),
    "joined emoji": ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),
    "braces": ('{"a":"b"}', '"{""a"":""b""}"'),
    "in brackets": ("[a]", "[a]"),
}


@pytest.mark.parametrize(("value", "expected"), CELLS.values(), ids=CELLS)
def test_cell(value: object, expected: str) -> None:
    assert encode_csv(["value", "events"], [{"value": value, "events": 1}]) == f"value,events\r\n{expected},1\r\n"


def cells(text: str, separator: str) -> list[str]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [cell for line in lines for cell in line]


def check(first: str, second: str) -> None:
    text = encode_csv(["a", "b", "c"], [{"a": first, "b": second, "c": 1}, {"a": second, "b": first}], header=False)
    for separator in ",;\t|":
        assert not any(map(is_formula, cells(text, separator))), (separator, text)
    assert CONTROL_CHARS.search(text.replace("\r\n", "")) is None
    assert [len(line) for line in csv.reader(io.StringIO(text, newline=""))] == [3, 3]


@pytest.mark.parametrize("value", FORMULAS.values(), ids=FORMULAS)
def test_no_text_is_a_formula_wherever_lines_are_split(value: str) -> None:
    check(value, value)
    check("/a", value)
    check(value, '"')


# Before a `=`, or in its place.
ODD = {
    "a character of a newer Unicode": "\U00018cd6=1",
    "for private use": "\ue000=1",
    "a beam of music": "\U0001d173=1",
    "a joint of hieroglyphs": "\U00013430=1",
    "a filler that counts as a letter": "\u3164=1",
    "above the line": "\u207c1",
    "below the line": "\u208a1",
    "doubled": "\u2a751",
    "of Hebrew": "\ufb291",
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_nothing_odd_hides_a_formula(value: str) -> None:
    check(value, f"a;{value}")


hostile = st.text("=+-@;,\t\r\n\"' a1\ufeff\u200b\uff1d|\0\x85\u2028\u3164", max_size=12)


@given(st.text() | hostile, st.text() | hostile)
def test_no_text_becomes_a_formula_or_another_row(first: str, second: str) -> None:
    check(first, second)


@given(st.text() | hostile, st.text() | hostile)
def test_raw_cells_are_read_as_they_were(first: str, second: str) -> None:
    text = encode_csv(["a", "b"], [{"a": first, "b": second}], header=False, raw=True)
    assert list(csv.reader(io.StringIO(text, newline=""))) == [[first, second]]


def test_csv_follows_rfc_4180() -> None:
    rows: list[dict[str, Any]] = [{"value": 'a "b", c', "events": 2}, {"value": None, "events": 1}]
    for raw in (False, True):
        assert encode_csv(["value", "events"], rows, raw=raw) == 'value,events\r\n"a ""b"", c",2\r\n,1\r\n'


@pytest.mark.parametrize("raw", [False, True])
def test_rows_and_header(raw: bool) -> None:
    assert encode_csv(["a", "b"], [], raw=raw) == "a,b\r\n"
    assert encode_csv(["a"], [{"a": 1}], header=False, raw=raw) == "1\r\n"
    assert encode_csv(["a", "b"], [{"a": 1}], header=False, raw=raw) == "1,\r\n"
