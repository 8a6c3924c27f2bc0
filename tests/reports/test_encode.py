"""Rows as text: a formula is disarmed, quotes are escaped, None is an empty cell."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.encode import encode_csv, encode_report

# Name; a value; the cell that a CSV reader finds.
CELLS: dict[str, tuple[object, str]] = {
    "text": ("/pricing", "/pricing"),
    "empty text": ("", ""),
    "None": (None, ""),
    "integer": (5, "5"),
    "negative integer": (-5, "-5"),
    "float": (1.5, "1.5"),
    "true": (True, "True"),
    "formula": ("=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
    "plus": ("+1", "'+1"),
    "minus": ("-1", "'-1"),
    "at": ("@SUM(1)", "'@SUM(1)"),
    "tab": ("\t=1", "'\t=1"),
    "carriage return": ("\r=1", "'\r=1"),
    "formula with quotes": ('="x","y"', '\'="x","y"'),
    "operators inside": ("a=b+c", "a=b+c"),
    "comma": ("a,b", "a,b"),
    "quote": ('say "x"', 'say "x"'),
    "newline": ("a\nb", "a\nb"),
    "semicolon": ("a;b", "a;b"),
    "unicode": ("größe 漢字", "größe 漢字"),
}


@pytest.mark.parametrize(("value", "expected"), CELLS.values(), ids=CELLS)
def test_cell(value: object, expected: str) -> None:
    text = encode_csv(["value", "events"], [{"value": value, "events": 1}])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["value", "events"], [expected, "1"]]


@given(st.text(), st.text())
def test_no_text_becomes_a_formula_or_another_row(first: str, second: str) -> None:
    text = encode_csv(["a", "b"], [{"a": first, "b": second}], header=False)
    (row,) = csv.reader(io.StringIO(text, newline=""))
    assert [cell.removeprefix("'") for cell in row] == [first.removeprefix("'"), second.removeprefix("'")]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_csv_follows_rfc_4180() -> None:
    rows: list[dict[str, Any]] = [{"value": 'a "b", c', "events": 2}, {"value": None, "events": 1}]
    assert encode_csv(["value", "events"], rows) == 'value,events\r\n"a ""b"", c",2\r\n,1\r\n'


def test_csv_without_rows_is_its_header() -> None:
    assert encode_csv(["a", "b"], []) == "a,b\r\n"


def test_csv_without_a_header() -> None:
    assert encode_csv(["a"], [{"a": 1}], header=False) == "1\r\n"


def test_column_that_a_row_lacks_is_empty() -> None:
    assert encode_csv(["a", "b"], [{"a": 1}], header=False) == "1,\r\n"


def report(**changes: Any) -> dict[str, Any]:
    rows = [{"events": 3, "visitors": 2}]
    return {"interval": "none", "by": None, "rows": rows, "total": {"events": 3, "visitors": 2}} | changes


BY_DAY = [{"time": "2026-11-22T00:00:00+01:00", "value": "=1", "events": 3, "visitors": None}]
# Name; a report; its CSV.
REPORTS: dict[str, tuple[dict[str, Any], str]] = {
    "totals": (report(), "events,visitors\r\n3,2\r\n"),
    "by value": (
        report(by="path", rows=[{"value": "/a", "events": 1, "visitors": 1}]),
        "value,events,visitors\r\n/a,1,1\r\n",
    ),
    "by time": (
        report(interval="day", rows=[{"time": "2026-11-22", "events": 1, "visitors": 1}]),
        "time,events,visitors\r\n2026-11-22,1,1\r\n",
    ),
    "by time and value": (
        report(interval="day", by="path", rows=BY_DAY),
        "time,value,events,visitors\r\n2026-11-22T00:00:00+01:00,'=1,3,\r\n",
    ),
    "no rows": (report(by="path", rows=[]), "value,events,visitors\r\n"),
}


@pytest.mark.parametrize(("made", "expected"), REPORTS.values(), ids=REPORTS)
def test_report_as_csv(made: dict[str, Any], expected: str) -> None:
    assert encode_report(made, "csv").decode("utf-8") == expected


@pytest.mark.parametrize(("made", "_expected"), REPORTS.values(), ids=REPORTS)
def test_report_as_json_is_the_whole_report(made: dict[str, Any], _expected: str) -> None:
    assert json.loads(encode_report(made, "json")) == made


@pytest.mark.parametrize(("made", "_expected"), REPORTS.values(), ids=REPORTS)
def test_report_as_ndjson_is_a_row_a_line(made: dict[str, Any], _expected: str) -> None:
    encoded = encode_report(made, "ndjson")
    assert [json.loads(line) for line in encoded.splitlines()] == made["rows"]
    assert encoded == b"" or encoded.endswith(b"\n")
