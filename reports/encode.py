"""Rows as JSON, NDJSON or CSV. A CSV cell that a spreadsheet would run as a formula
gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

REPORT_FORMATS = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}
EXPORT_FORMATS = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}

# OWASP's list for CSV injection.
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")


def encode_report(report: Mapping[str, Any], format_: str) -> bytes:
    """A report in one of REPORT_FORMATS. CSV and NDJSON hold the rows only."""
    if format_ == "json":
        return orjson.dumps(report)
    if format_ == "ndjson":
        return b"".join(orjson.dumps(row) + b"\n" for row in report["rows"])
    columns = [name for name, shown in (("time", report["interval"] != "none"), ("value", report["by"])) if shown]
    return encode_csv([*columns, *report["total"]], report["rows"]).encode("utf-8")


def encode_csv(columns: list[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    """CSV by RFC 4180. None, or a column that a row lacks, is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(columns)
    writer.writerows([[_cell(row.get(name)) for name in columns] for row in rows])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_PREFIXES) else value
