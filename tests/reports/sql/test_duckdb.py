"""The statements of reports in DuckDB: text from outside is bound, and each `.sql` file
runs by hand over views.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from importlib import resources
from typing import Any

import duckdb
import pytest

from reports.kinds import kind_of
from reports.plan import days_of, events_read
from reports.query import parse
from reports.sql.duckdb import events_statement, statement
from reports.sql.statement import Statement
from shared.generations.snapshot import Day, Part, Snapshot
from shared.sql.texts import TextNumbers

PART = Part(1, 1, 1, "")
SNAPSHOT = Snapshot(
    days={
        date(2026, 11, 16): Day("", (), counters=(PART,), expired=True, visitor_zone="UTC"),
        date(2026, 11, 17): Day("", (PART,), counters=(PART,), capped=("path",)),
    }
)
HOSTILE = "x'; DROP TABLE y; --"
ESCAPED = HOSTILE.replace(";", r"\;")

# Name; parameters of the report. Each makes other statements.
QUERIES: dict[str, dict[str, str]] = {
    "total": {},
    "total of counters": {"visitors": "none"},
    "series of counters": {"interval": "day", "visitors": "none"},
    "series of counters and archive": {"interval": "hour"},
    "series of the archive": {"interval": "hour", "filter": f"path!={ESCAPED}", "from": "2026-11-17"},
    "breakdown": {"by": "path", "interval": "week"},
    "breakdown of counters": {"by": "path", "visitors": "none"},
    "breakdown of an event": {"by": "event", "event": HOSTILE, "site": HOSTILE},
    "breakdown by a property": {"by": f"props.{HOSTILE}", "from": "2026-11-17"},
    "filter on a property": {"filter": "props.x'\\; DROP==x;country==", "from": "2026-11-17T00:01:00Z"},
    "a time without parts": {"from": "2020-01-01", "to": "2020-01-02", "by": "path"},
}


def statements(parameters: dict[str, str]) -> list[Statement]:
    query = parse({"from": "2026-11-16", "to": "2026-11-22", **parameters}, datetime(2026, 11, 22, tzinfo=UTC), "UTC")
    days = days_of(SNAPSHOT, query)
    reads = kind_of(query).plan(query, days).reads.values()
    return [
        *(statement(read, TextNumbers(keyed=True)) for read in reads),
        events_statement(events_read(query, days)),
    ]


@pytest.mark.parametrize("parameters", QUERIES.values(), ids=QUERIES)
def test_text_from_outside_is_bound(parameters: dict[str, str]) -> None:
    made = statements(parameters)
    assert len(made) > 1
    assert not [sql.text for sql in made if "DROP" in sql.text]


@pytest.mark.parametrize("parameters", QUERIES.values(), ids=QUERIES)
def test_every_placeholder_is_bound_and_nothing_else(parameters: dict[str, str]) -> None:
    for sql in statements(parameters):
        assert set(re.findall(r"\$(\w+)", re.sub("--.*", "", sql.text))) == {
            *sql.parameters.values,
            *sql.parameters.parts,
        }


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """With the relations that the comments of the files name, as views."""
    with duckdb.connect() as database:
        rows = "(16, 1, '/a', 7), (16, 1, '/a', 8), (17, 2, '/b', 7), (17, 2, '/b', 7)"
        database.execute(
            "CREATE VIEW events AS SELECT TIMESTAMP '2026-11-01' + to_days(day - 1) AS bucket, number, value, visitor "
            f"FROM (VALUES {rows}) t(day, number, value, visitor)"
        )
        database.execute("CREATE VIEW visits AS SELECT bucket, number, value, visitor FROM events")
        database.execute(
            "CREATE VIEW counts AS SELECT bucket, number, value, count(*) AS events FROM events GROUP BY ALL"
        )
        database.execute("CREATE VIEW matching_counters AS SELECT bucket, value, events FROM counts")
        yield database


def run_file(database: duckdb.DuckDBPyConnection, name: str, **values: object) -> list[tuple[Any, ...]]:
    text = resources.files("reports.sql.duckdb").joinpath(name).read_text("utf-8")
    return database.execute(text, values).fetchall()


@pytest.mark.parametrize("name", ["series.sql", "series_of_events.sql"])
def test_series_runs_by_hand(database: duckdb.DuckDBPyConnection, name: str) -> None:
    found = run_file(database, name)
    assert sorted((start.day, *numbers) for start, *numbers in found) == [(16, 2, 2), (17, 2, 1)]


def test_total_runs_by_hand(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("CREATE OR REPLACE VIEW visits AS SELECT visitor, visitor AS number FROM events")
    assert run_file(database, "total.sql") == [(4, 2, False)]


def test_number_of_several_visitors_is_said(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("CREATE OR REPLACE VIEW visits AS SELECT visitor, 1 AS number FROM events")
    assert run_file(database, "total.sql") == [(4, 2, True)]


def test_breakdown_runs_by_hand(database: duckdb.DuckDBPyConnection) -> None:
    found = run_file(database, "breakdown.sql", limit=1)
    assert [(start.day, *row) for start, *row in found] == [(16, "/a", 2, 2, 4)]


def test_breakdown_without_visitors_runs_by_hand(database: duckdb.DuckDBPyConnection) -> None:
    found = run_file(database, "breakdown_events.sql", limit=1)
    assert [(start.day, *row) for start, *row in found] == [(16, "/a", 2, None, 4)]


@pytest.mark.parametrize("name", ["breakdown.sql", "breakdown_events.sql"])
def test_values_of_one_number_are_told_apart(database: duckdb.DuckDBPyConnection, name: str) -> None:
    for view, columns in {"counts": "value, count(*) AS events", "visits": "value, visitor"}.items():
        groups = "GROUP BY bucket, value" if view == "counts" else ""
        database.execute(f"CREATE OR REPLACE VIEW {view} AS SELECT bucket, 1 AS number, {columns} FROM events {groups}")
    found = run_file(database, name, limit=2)
    visitors = {"breakdown.sql": (2, 1), "breakdown_events.sql": (None, None)}[name]
    assert [row[1:] for row in found] == [("/a", 2, visitors[0], 4), ("/b", 2, visitors[1], 4)]
