"""The queries of docs/examples/grafana-clickhouse.json have answers from today's
engine, with what the plugin's documentation puts in the place of its macros.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import parse_cluster
from tests.builders.clickhouse_today import running
from tests.builders.logs import GOOGLEBOT, NOON, data_directory, fold_all, line, sealed
from tests.builders.pages import page
from tests.builders.stores import publish

DAY_S = 86_400
FROM, TO = (f"toDateTime({NOON // 1000 + days * DAY_S}, 'UTC')" for days in (-7, 1))
MACROS = {
    r"\$__fromTime\b": FROM,
    r"\$__toTime\b": TO,
    r"\$__timeFilter\((\w+)\)": rf"(\1 >= {FROM} AND \1 <= {TO})",
    r"\$__timeInterval\((\w+)\)": r"toStartOfInterval(toDateTime(\1, 'UTC'), INTERVAL 3600 second)",
    r"\$\{events\}": "analytics_events",
    r"\$\{site\}": "example.com",
}


def queries() -> dict[str, str]:
    panels = json.loads(page("docs/examples/grafana-clickhouse.json"))["panels"]
    return {panel["title"]: target["rawSql"] for panel in panels for target in panel["targets"]}


def expanded(sql: str) -> str:
    for macro, text in MACROS.items():
        sql = re.sub(macro, text, sql)
    assert "$" not in sql
    return sql


@pytest.mark.component
def test_queries_of_the_dashboard_have_answers(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    seen = [line(f"seen-{n}", url=f"https://example.com/{n % 2}", visitor=f"visitor-{n % 2}") for n in range(5)]
    others = [line("bot", ua=GOOGLEBOT), line("elsewhere", site="example.org"), line("old", NOON - 9 * DAY_S * 1000)]
    sealed(data, [*seen, *others])
    fold_all(data)
    with running() as server:
        address = server.database()
        publish(data, store=address)
        asked = ClickHouse(parse_cluster(address), parse_cluster(address).shards[0])
        found = {title: asked.rows(expanded(sql)) for title, sql in queries().items()}
    (host,) = found.pop("Hosts")
    assert (host[2], host[5]) == (1, 0)
    assert [row[1:] for row in found.pop("Events")] == [[5]]
    assert [row[1:] for row in found.pop("Visitors by day")] == [[2]]
    assert found == {
        "Pages": [["/0", 3, 1], ["/1", 2, 1]],
        "Sources": [[None, 5, 2]],
        "Events by name": [["pageview", 5, 2]],
    }
