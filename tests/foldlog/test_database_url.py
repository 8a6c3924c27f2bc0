"""Whether DATABASE_URL is the store is said at the start of `serve` and by the doctor,
without its password.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foldlog.database_url import ignored_database_url, log_database_url
from foldlog.doctor.examine import examine
from shared.disk.layout import DataDirectory
from shared.settings import load

URL = "postgresql://web:a-secret@db.internal/analytics"
MYSQL = "mysql://web:a-secret@db.internal/analytics"

# Settings, then the event and its level; "" if nothing is to be said.
CASES: list[tuple[dict[str, str], str]] = [
    ({}, ""),
    ({"DATABASE_URL": " "}, ""),
    ({"DATABASE_URL": URL}, "info store_from_database_url"),
    ({"DATABASE_URL": URL, "FOLDLOG_RATE_STORE": "postgres"}, "info store_from_database_url"),
    ({"DATABASE_URL": URL, "FOLDLOG_STORE": "postgres"}, ""),
    ({"DATABASE_URL": URL, "FOLDLOG_STORE": URL}, ""),
    ({"DATABASE_URL": URL, "FOLDLOG_STORE": "file"}, "info store_not_used"),
    ({"DATABASE_URL": URL, "FOLDLOG_STORE": "sqlite:///a.db"}, "info store_not_used"),
    ({"DATABASE_URL": URL, "FOLDLOG_STORE": "file", "FOLDLOG_RATE_STORE": "postgres"}, ""),
    ({"DATABASE_URL": MYSQL}, "warning store_not_used"),
    ({"DATABASE_URL": "a-secret"}, "warning store_not_used"),
    ({"DATABASE_URL": MYSQL, "FOLDLOG_STORE": "file"}, "info store_not_used"),
]


class Said:
    """A log that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def debug(self, event: str, **fields: Any) -> None:
        self.lines.append((f"debug {event}", fields))

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((f"info {event}", fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append((f"warning {event}", fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append((f"error {event}", fields))


@pytest.mark.parametrize(("environ", "expected"), CASES)
def test_start_says_what_becomes_of_it(environ: dict[str, str], expected: str) -> None:
    log = Said()
    log_database_url(environ, None, load(environ), log)
    assert [event for event, _ in log.lines] == ([expected] if expected else [])
    assert "a-secret" not in str(log.lines)
    if "store_from" in expected:
        assert "FOLDLOG_STORE=file turns it off" in log.lines[0][1]["reason"]


def test_store_in_the_file_of_settings_counts_as_set(tmp_path: Path) -> None:
    config = tmp_path / "foldlog.toml"
    config.write_text('store = "file"\n', "utf-8")
    ignored = ignored_database_url({"DATABASE_URL": URL}, str(config))
    assert ignored is not None and ignored.is_meant


def test_doctor_names_the_scheme_that_is_no_store(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": MYSQL, "FOLDLOG_DATA_DIR": str(tmp_path)}
    found = examine(DataDirectory(tmp_path), load(environ), ignored_database_url(environ, None))
    (finding,) = [each for each in found if each.check == "DATABASE_URL"]
    assert finding.level == "warning" and "begins with mysql://" in finding.found
    assert "FOLDLOG_STORE=postgresql://" in finding.do
