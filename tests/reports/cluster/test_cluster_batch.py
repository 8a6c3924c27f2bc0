"""Several reports in one question to a cluster: each is the report of it alone, or its
problem.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.cluster.cluster_store import ClusterStore
from reports.hosts.asked import Asked
from reports.kinds import parse_question
from reports.query_error import QueryError
from reports.rows import Row
from tests.builders.clickhouse_kinds import ClickHouses
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.stores import publish

pytestmark = pytest.mark.component
NOW = datetime(2026, 12, 1, tzinfo=UTC)
EACH = (
    {"by": "path"},
    {"by": "nothing"},
    {"measures": "visits"},
    {"interval": "day", "measures": "visitors", "compare": "previous"},
)


def test_each_report_is_that_of_it_alone_or_its_problem(tmp_path: Path, clickhouse_today: ClickHouses) -> None:
    data, address = data_directory(tmp_path / "data"), clickhouse_today.database()
    urls = (f"https://a.example/{n % 3}" for n in range(9))
    sealed(data, [line(f"e-{n}", NOON - n, visitor=f"v-{n % 2}", url=url) for n, url in enumerate(urls)])
    fold_all(data, NOON)
    publish(data, store=address)
    store = ClusterStore(data, address)

    def answer(**asked: str) -> Row:
        query = parse_question({"from": "2026-11-20", "to": "2026-11-24", **asked}, NOW, "UTC")
        return store.answer(Asked(query, "UTC"))

    found = answer(kind="batch", reports=json.dumps(EACH))
    once = {name: of for name, of in found.items() if name not in ("kind", "reports")}
    paths, nothing, visits, chart = found["reports"]
    assert once | paths == answer(**EACH[0]) and paths["total"] == {"events": 9, "visitors": 2}
    assert once | chart == answer(**EACH[3])
    assert nothing["problem"]["detail"].startswith("by: ")
    assert "counts no visits" in visits["problem"]["detail"]
    with pytest.raises(QueryError, match="counts no visits"):
        answer(kind="batch", reports=json.dumps([EACH[2]]))
