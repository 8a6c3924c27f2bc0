"""A year that a host has counted by itself is moved into a cluster, and compared day by
day.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.collect.encode import Line
from reports.cluster.cluster_store import ClusterStore
from reports.hosts.asked import Asked
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.tables import events_table
from shared.timestamps import epoch_ms
from tests.builders.archive import HOUR_MS
from tests.builders.clickhouse_kinds import ClickHouses
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.stores import publish, wrong

pytestmark = [pytest.mark.component, pytest.mark.long]
DAY_MS = 24 * HOUR_MS
DAYS = 365
A_DAY = 8


@pytest.mark.parametrize("days", [pytest.param(365, marks=pytest.mark.whole), 100])
def test_a_year_is_moved_into_a_cluster(tmp_path: Path, clickhouse_today: ClickHouses, days: int) -> None:
    """In the sample, a quarter of one."""
    data, address = data_directory(tmp_path / "data"), clickhouse_today.database()
    lines = [_line(day, number) for day in range(DAYS - days, DAYS) for number in range(A_DAY)]
    half = len(lines) // 2
    for written in (lines[:half], lines[half - 20 :]):  # what stands in both counts once
        sealed(data, written)
        fold_all(data, NOON)
    store = publish(data, store=address)
    cluster = parse_cluster(address)
    asked = f"SELECT toString(day), count() FROM {cluster.database}.{events_table(cluster)} FINAL GROUP BY day"
    found = {day: int(rows) for day, rows in (row.split("\t") for row in clickhouse_today.ask(asked).splitlines())}
    assert found == Counter(each.time[:10] for each in lines)
    assert wrong(data, store) == []
    _answers_are_those_of_the_host(data, address)


def _answers_are_those_of_the_host(data: DataDirectory, address: str) -> None:
    span = {"from": "2025-11-22", "to": "2026-11-22"}
    for asked in ({"interval": "month"}, {"by": "path"}, {"interval": "week", "filter": "country==DE"}):
        query = parse({**span, **asked}, datetime(2026, 12, 1, tzinfo=UTC), "UTC")
        answer = ClusterStore(data, address).report(Asked(query, "UTC"))
        with connect(256 << 20, 1) as database:
            expected = make_report(database, data, load_snapshot(data), query)
        assert (answer["rows"], answer["total"]) == (expected["rows"], expected["total"]), asked


def _line(day: int, number: int) -> Line:
    at_ms = NOON - (DAYS - 1 - day) * DAY_MS - number * HOUR_MS // 3
    assert epoch_ms("2025-11-20T00:00:00.000Z") < at_ms <= NOON
    return line(
        f"event-{day}-{number}",
        at_ms,
        visitor=f"visitor-{(day * 7 + number) % 900}",
        url=f"https://example.com/{number % 9}",
        country=("DE", "FR", None)[number % 3],
    )
