"""Conversions over a cluster are those that DuckDB counts of the same events."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.cluster.cluster_store import ClusterStore
from reports.hosts.asked import Asked
from reports.kinds import goals, parse_question
from reports.query_error import QueryError
from reports.report import make_report
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.named_filters import NamedFilter
from tests.builders.clickhouse_kinds import ClickHouses
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.random_lines import random_lines
from tests.builders.stores import publish

pytestmark = pytest.mark.component
HOUR_MS = 3_600_000
NOW = datetime(2026, 12, 1, tzinfo=UTC)
GOALS = [
    NamedFilter("goal", "signed up", "event==signup"),
    NamedFilter("goal", "not there", "path!=/1;country!=DE|", 2.5),
    NamedFilter("goal", "invalid", "nothing=="),
    NamedFilter("goal", "everything", "event!="),
    NamedFilter("goal", "nothing", "path==/none"),
    NamedFilter("goal", "dear", "props.plan=~p*|;value>2;path=~/*1|/2|", 0.0),
    NamedFilter("goal", "odd", "props.it's a/key~==\\N\t'", -1.0),
]
ASKED: list[dict[str, str]] = [
    {},
    {"interval": "day", "tz": "Asia/Kathmandu"},
    {"interval": "hour", "filter": "path!=/1", "bots": "include"},
    {"event": "signup", "interval": "week"},
    {"site": "www.other.org"},
    {"filter": "path==/none"},
]


def test_goals_over_a_cluster_are_those_of_the_host(tmp_path: Path, clickhouse_today: ClickHouses) -> None:
    data, address = data_directory(tmp_path / "data"), clickhouse_today.database()
    props = [{"plan": "pro"}, {"plan": "free", "it's a/key~": "\\N\t'"}, {}]
    values = [1e300, -1e300, 0.1, 0.2, 5e-324, 3, None, -0.0]
    lines = random_lines(random.Random(8), NOON, 60, 0) + [
        line(
            f"own-{n}",
            NOON - n * 3 * HOUR_MS,
            name=("signup", "pageview")[n % 2],
            visitor=(None, "a", "b")[n % 3],
            url=f"https://a.example/{n % 3}",
            props=props[n % 3],
            value=values[n % 8],
        )
        for n in range(40)
    ]
    sealed(data, lines)
    fold_all(data)
    publish(data, store=address)
    store, converted = ClusterStore(data, address), 0
    for given in (GOALS, []):
        for asked in ASKED:
            parameters = {
                "kind": "goals",
                "from": "2026-11-16",
                "to": "2026-11-23",
                "goals": goals.given(given),
                **asked,
            }
            query = parse_question(parameters, NOW, "UTC")
            found = store.report(Asked(query, "UTC"))
            with connect(256 << 20, 1) as database:
                expected = make_report(database, data, load_snapshot(data), query)
            assert [host["host"] for host in found.pop("hosts")]
            assert found == expected, asked
            converted += sum(row["events"] or 0 for row in found["goals"])
    assert converted > 100


def test_a_computed_dimension_of_a_goal_is_said_not_to_be_there(tmp_path: Path) -> None:
    given = goals.given([GOALS[0], NamedFilter("goal", "by channel", "channel==Direct")])
    query = parse_question({"kind": "goals", "goals": given}, NOW, "UTC")
    store = ClusterStore(data_directory(tmp_path / "data"), "clickhouse://127.0.0.1:1/none")
    with pytest.raises(QueryError, match="has no such dimension"):
        store.report(Asked(query, "UTC"))
