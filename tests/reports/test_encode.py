"""A report as JSON, NDJSON and CSV."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reports.encode import RAW_CSV, csv_format, encode_report
from shared.control_chars import CONTROL_CHARS


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
        'time,value,events,visitors\r\n2026-11-22T00:00:00+01:00,"\'=1",3,\r\n',
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


HOSTILE = "=1\x1b]0;x\x07\x7f\x9b2J\u202e\u2028"


@pytest.mark.parametrize("format_", ["json", "ndjson", "csv"])
def test_no_format_has_a_character_that_controls_a_terminal(format_: str) -> None:
    made = report(by="path", rows=[{"value": HOSTILE, "events": 1, "visitors": 1}])
    text = encode_report(made, format_).decode("utf-8")
    assert CONTROL_CHARS.search(text.replace("\r\n", "").replace("\n", "")) is None
    if format_ == "json":
        assert json.loads(text)["rows"][0]["value"] == HOSTILE


def test_raw_csv_has_the_values_as_they_are() -> None:
    made = report(by="path", rows=[{"value": HOSTILE, "events": 1, "visitors": 1}])
    assert encode_report(made, RAW_CSV).decode("utf-8") == f"value,events,visitors\r\n{HOSTILE},1,1\r\n"


def test_raw_changes_csv_only() -> None:
    assert [csv_format(each, raw=True) for each in ("json", "csv", "parquet")] == ["json", RAW_CSV, "parquet"]
    assert csv_format("csv", raw=False) == "csv"
