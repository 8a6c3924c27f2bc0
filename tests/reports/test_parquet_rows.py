"""A report as Parquet: the columns of CSV, each of one type, with the values as they
are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from reports.compared_rows import count_table
from reports.kinds import cohorts, funnel, goals, live, paths
from reports.measures.names import MEASURES
from reports.parquet_rows import encode_parquet, type_of
from shared.duckdb_engine import connect

HOSTILE = "=1\x1b]0;x\x07\x9b2J\u202e\u2028\"'"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(connect(64 << 20, 2, tmp_path_factory.mktemp("spill"))) as made:
        yield made


def report(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    total = {
        name: value for name, value in (rows[0] if rows else {"events": 0}).items() if name not in ("time", "value")
    }
    return {"interval": "none", "by": "path", "rows": rows, "total": total} | changes


def read(database: duckdb.DuckDBPyConnection, content: bytes, path: Path) -> tuple[list[tuple[str, str]], list[Any]]:
    """Columns with their types, and rows, in order."""
    path.write_bytes(content)
    found = database.execute("FROM read_parquet($path, hive_partitioning = false)", {"path": str(path)})
    described = [(each[0], str(each[1])) for each in found.description or ()]
    return described, found.fetchall()


def test_values_are_as_they_are_and_rows_in_order(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rows = [{"value": HOSTILE, "events": 3, "visitors": None}]
    rows += [{"value": f"/{number}", "events": number, "visitors": 1} for number in range(3_000)]
    columns, found = read(database, encode_parquet(database, report(rows)), tmp_path / "a.parquet")
    assert columns == [("value", "VARCHAR"), ("events", "BIGINT"), ("visitors", "BIGINT")]
    assert found == [tuple(row.values()) for row in rows]


def test_times_are_instants(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rows = [{"time": "2026-11-22T00:00:00+05:30", "events": 3}]
    content = encode_parquet(database, report(rows, interval="day", by=None))
    (tmp_path / "a.parquet").write_bytes(content)
    asked = "SELECT typeof(time), epoch_ms(time) FROM read_parquet($path, hive_partitioning = false)"
    moment = datetime(2026, 11, 21, 18, 30, tzinfo=UTC)
    assert database.execute(asked, {"path": str(tmp_path / "a.parquet")}).fetchall() == [
        ("TIMESTAMP WITH TIME ZONE", int(moment.timestamp() * 1000))
    ]


def test_type_of_a_column_does_not_depend_on_its_values(database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Whole, broken and unknown sums, and no rows."""
    for rows in (
        [{"value": "/", "value_sum": 1}],
        [{"value": "/", "value_sum": 0.5}],
        [{"value": "/", "value_sum": None}],
    ):
        columns, found = read(database, encode_parquet(database, report(rows)), tmp_path / "a.parquet")
        assert columns == [("value", "VARCHAR"), ("value_sum", "DOUBLE")]
        assert found == [tuple(rows[0].values())]
    columns, found = read(database, encode_parquet(database, report([])), tmp_path / "a.parquet")
    assert (columns, found) == ([("value", "VARCHAR"), ("events", "BIGINT")], [])


def test_nothing_is_left_on_the_disk(database: duckdb.DuckDBPyConnection) -> None:
    (spill,) = database.execute("SELECT current_setting('temp_directory')").fetchone() or ("",)
    encode_parquet(database, report([{"value": "/", "events": 1}]))
    assert [path for path in Path(spill).rglob("*") if path.is_file()] == []


def test_each_number_that_may_be_broken_has_a_column_for_it() -> None:
    """So that a new measure, or a new column of a kind, is given its type."""
    whole = {"events", "visitors", "visits", *live.table({"rows": []})[0][2:]}
    assert {name for name in MEASURES if type_of(name) == "BIGINT"} == whole & set(MEASURES)
    kinds = [
        *funnel.NUMBERS,
        *paths.COLUMNS,
        *cohorts.table({"rows": []})[0],
        *goals.table({"interval": "day"} | {"rows": []})[0],
    ]
    assert {name for name in kinds if type_of(name) == "DOUBLE"} == {
        *("conversion", "step_conversion", "median_s", "median_from_first_s", "rate", "value_sum")
    }
    columns, _ = count_table(report([{"events": 1}], compare="previous", interval="day"))
    assert [type_of(name) for name in columns] == [
        *("TIMESTAMPTZ", "VARCHAR", "BIGINT", "TIMESTAMPTZ", "BIGINT", "DOUBLE")
    ]
