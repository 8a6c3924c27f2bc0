"""What a ClickHouse cluster answers: to every question the rows that DuckDB has for the
same events.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.cluster.cluster_store import ClusterStore
from reports.hosts.asked import Asked
from reports.query import parse
from reports.report import make_report
from reports.rows import Row
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.clickhouse_kinds import ClickHouses
from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold_all, line, sealed
from tests.builders.questions import questions
from tests.builders.random_lines import random_lines
from tests.builders.stores import publish

pytestmark = pytest.mark.component
HOUR_MS = 3_600_000
FILTERS = (
    "path==/1",
    "path!=/1",
    "country==",
    "country!=",
    "utm_source==news;path!=/2",
    "props.plan==pro",
    "props.plan!=pro",
    "props.plan==",
    "props.it's a/key~==\\N\t'",
    "referrer!=other.org",
    "source==news",
    "path=~/*1|/2",
    "path!~*1*",
    "path=~",
    "props.plan=~p*|",
    "props.it's a/key~=~\\N*",
    "country==DE|FR|",
    "country!=DE|",
    "value>3.5;value<1e2",
    "value>1e200",
    "value<-1e200",
)


def both(data: DataDirectory, address: str, asked: Mapping[str, str]) -> tuple[Row, Row]:
    """What the cluster answers, and what DuckDB does."""
    query = parse(asked, datetime(2026, 12, 1, tzinfo=UTC), "UTC")
    found = ClusterStore(data, address).report(Asked(query, "UTC"))
    with connect(256 << 20, 1) as database:
        expected = make_report(database, data, load_snapshot(data), query)
    del found["hosts"]
    return found, expected


def test_a_report_has_ten_thousand_buckets_and_values(tmp_path: Path, clickhouse_today: ClickHouses) -> None:
    data, address = data_directory(tmp_path / "data"), clickhouse_today.database()
    sealed(data, [line(f"event-{n}", NOON - n, url=f"https://example.com/{n}") for n in range(10_050)])
    fold_all(data, max_values=100_000)
    publish(data, store=address)
    span = {"from": "2026-08-12", "to": "2026-11-22", "interval": "15m"}
    found, expected = both(data, address, {**span, "by": "path", "limit": "10000"})
    assert len(found["rows"]) == 10_000
    assert found == expected


@pytest.mark.parametrize("seed", [5, pytest.param(6, marks=[pytest.mark.long, pytest.mark.whole])])
def test_a_cluster_answers_as_duckdb_does(tmp_path: Path, clickhouse_today: ClickHouses, seed: int) -> None:
    pick, data, address = random.Random(seed), data_directory(tmp_path / "data"), clickhouse_today.database()
    lines = random_lines(pick, NOON, 80, 0)
    props = [{"plan": "pro"}, {"plan": "free", "it's a/key~": "\\N\t'"}, {"plan": 1.5}, {"plan": True}, {}]
    more = [
        line(f"own-{n}", NOON - n * 7 * HOUR_MS // 5, props=props[n % 5], language="de" if n % 2 else None, value=n / 3)
        for n in range(25)
    ]
    more += [
        line(
            f"seen-{n}",
            NOON - n * HOUR_MS,
            name="engaged",
            visitor=f"v-{n % 4}",
            url=f"https://a.example/{n % 3}",
            value=s,
        )
        for n, s in enumerate([1, 2.0005, 17, 0.1, 0.7, 86_400, 86_401, -1, 0, 1e18, None, *range(20)])
    ]
    more += [
        line(f"far-{n}", NOON - n * HOUR_MS, value=far, url="https://far.example/")
        for n, far in enumerate([1e300, -1e300, 1.7976931348623157e308, 5e-324, 1e22, 0.1, 1e-5])
    ]
    for turn, written in enumerate((lines[:40], lines[40:], more, [line("bot", ua=GOOGLEBOT)])):
        sealed(data, written)
        fold_all(data, NOON + turn * 9 * HOUR_MS)
        publish(data, store=address)
    asked = questions(NOON, pick)
    span = {"from": "2026-11-15", "to": "2026-11-23"}
    asked += [{**span, "filter": each, "by": "event"} for each in FILTERS]
    measures = "value_sum,events,value_avg,value_p50,value_p95"
    asked += [
        {**span, "measures": measures, **more} for more in ({}, {"by": "path"}, {"by": "props.plan", "limit": "2"})
    ]
    compared = {"from": "2026-11-22", "to": "2026-11-23", "compare": "previous", "limit": "2"}
    asked += [
        {**compared, "measures": f"{measures},visitors", **more}
        for more in (
            {},
            {"by": "path"},
            {"by": "country", "interval": "day"},
            {"interval": "hour"},
            {"filter": "path!="},
        )
    ]
    asked += [{**span, "measures": measures, "interval": "day", **more} for more in ({}, {"by": "country"})]
    measures = "engaged_time,visitors,engaged_p50"
    asked += [
        {**span, "measures": measures, **more}
        for more in ({}, {"by": "path"}, {"interval": "day", "event": "pageview"})
    ]
    asked += [
        {**span, "by": by, "limit": limit, **more}
        for by in ("path", "props.plan", "props.it's a/key~")
        for limit in "12"
        for more in ({}, {"visitors": "none"})
    ]
    for question in asked:
        found, expected = both(data, address, question)
        assert found == expected, question
