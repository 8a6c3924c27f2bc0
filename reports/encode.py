"""Rows as JSON, NDJSON or CSV, without characters that control a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from reports.compared_rows import count_table
from reports.csv_text import encode_csv
from reports.kinds import csv_table
from shared.control_chars import escape_control_chars

PARQUET = "parquet"
REPORT_FORMATS = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    PARQUET: "application/vnd.apache.parquet",
}
EXPORT_FORMATS = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    PARQUET: REPORT_FORMATS[PARQUET],
}

# Between a worker and its reader: CSV with the values as they are (`raw=1`).
RAW_CSV = "csv-raw"


def csv_format(format_: str, *, raw: bool) -> str:
    """The format with what `raw` asks for: only CSV differs."""
    return RAW_CSV if raw and format_ == "csv" else format_


def encode_report(report: Mapping[str, Any], format_: str) -> bytes:
    """A report in one of REPORT_FORMATS but Parquet (parquet_rows.py), or RAW_CSV. CSV
    and NDJSON hold the rows only.
    """
    if format_ == "json":
        return escape_control_chars(orjson.dumps(report))
    if format_ == "ndjson":
        return escape_control_chars(b"".join(orjson.dumps(row) + b"\n" for row in report["rows"]))
    if "kind" in report:
        columns, rows = csv_table(report)
        return encode_csv(columns, rows, raw=format_ == RAW_CSV).encode("utf-8")
    columns, rows = count_table(report)
    return encode_csv(columns, rows, raw=format_ == RAW_CSV).encode("utf-8")
