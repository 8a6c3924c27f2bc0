"""A cluster of which a shard is away answers with the number of that shard, and never
with a part of the sum; one that is too old says which version is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.cluster.cannot_answer import ANSWERED, CannotAnswer, naming_shards_away
from reports.cluster.cluster_store import ClusterStore
from reports.dimensions import COMPUTED
from reports.hosts.asked import Asked
from reports.kinds import NAMED, parse_question
from reports.measures.names import VISIT_MEASURES
from reports.query_error import QueryError
from shared.sql.visits import ENDS_OF_VISITS
from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.ledger import StoreUnavailable
from tests.builders import clickhouse, clickhouse_today
from tests.builders.cut_requests import cutting
from tests.builders.logs import data_directory, fold_all, line, sealed
from tests.builders.server import Server
from tests.builders.stores import publish
from tests.builders.waiting import until

pytestmark = pytest.mark.component
SPAN = {"from": "2026-11-01", "to": "2026-11-30"}


@pytest.fixture(scope="module")
def shards() -> Iterator[clickhouse.Shards]:
    with clickhouse.running(2) as found:
        yield found


# What a question of a kind cannot do without.
NEEDED = {"paths": {"at": "/"}, "funnel": {"steps": "path==/;;event==signup"}}


@pytest.mark.parametrize("kind", sorted({*NAMED} - {*ANSWERED}))
def test_a_kind_without_a_statement_of_a_cluster_says_so(tmp_path: Path, kind: str) -> None:
    assert _why_not(tmp_path, {"kind": kind, **NEEDED.get(kind, {})}) == f"does not answer {kind}"


@pytest.mark.parametrize("name", COMPUTED)
def test_a_dimension_that_a_cluster_has_no_column_of_says_so(tmp_path: Path, name: str) -> None:
    assert _why_not(tmp_path, {"by": name}) == "has no such dimension"
    assert _why_not(tmp_path, {"filter": f"{name}=="}) == "has no such dimension"
    assert _why_not(tmp_path, {"filter": "query.q==a"}) == "has no such dimension"


@pytest.mark.parametrize(
    "asked", [*({"measures": f"events,{name}"} for name in VISIT_MEASURES), *({"by": name} for name in ENDS_OF_VISITS)]
)
def test_visits_which_no_host_ships_are_said_not_to_be_counted(tmp_path: Path, asked: dict[str, str]) -> None:
    assert _why_not(tmp_path, asked) == "counts no visits"


def _why_not(tmp_path: Path, asked: dict[str, str]) -> str:
    """What is said without a word to the cluster."""
    query = parse_question({**(SPAN if "kind" not in asked else {}), **asked}, datetime(2026, 12, 1, tzinfo=UTC), "UTC")
    store = ClusterStore(data_directory(tmp_path / "data"), "clickhouse://127.0.0.1:1/none")
    with pytest.raises(QueryError) as found:
        store.report(Asked(query, "UTC"))
    assert found.value.parameter == "scope"
    _, _, said = str(found.value).partition("a ClickHouse store ")
    why, _, instead = said.partition(": ")
    assert instead == "ask each host with scope=host, or ClickHouse itself"
    return why


@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_a_shard_that_is_away_is_named_instead_of_a_part_of_the_sum(
    tmp_path: Path, shards: clickhouse.Shards, fault: str
) -> None:
    data, address = data_directory(tmp_path / "data"), shards.database()
    sealed(data, [line(f"event-{n}") for n in range(30)])
    fold_all(data)
    publish(data, store=address)
    cluster, shard = parse_cluster(address), shards.servers[1]
    server = ClickHouse(cluster, cluster.shards[0], 30)
    asked = "SELECT count() FROM analytics_events_all FINAL"
    assert server.rows(asked) == [[30]]
    (shard.kill if fault == "killed" else shard.stand_still)()
    try:
        with pytest.raises(CannotAnswer) as found, naming_shards_away(cluster):
            raise AssertionError("the shards are asked first")
        if fault == "killed":  # with no setting, and with all others, that would let it be left out
            with pytest.raises(StoreUnavailable):
                server.rows(asked)
    finally:
        (shard.start if fault == "killed" else shard.go_on)()
    assert found.value.detail.startswith(
        "shard 2 of 2 of the ClickHouse store does not answer. Ask again, or with scop"
    )
    assert f"127.0.0.1:{shard.http}" in str(found.value)
    with naming_shards_away(cluster):
        assert server.rows(asked) == [[30]]


@pytest.mark.long
def test_an_old_server_says_which_version_reports_need(tmp_path: Path, shards: clickhouse.Shards) -> None:
    with Server(tmp_path, store=shards.database(), fold_interval=1) as server:
        answer = server.get("/admin/api/report", **SPAN)
        assert (answer.status, answer.code) == (503, "store_unavailable")
        assert "need ClickHouse 24.8 or later, and the store is 18.16: ask with scope=host" in answer.json()["detail"]
        assert server.get("/admin/api/report", scope="host", **SPAN).status == 200


@pytest.mark.long
def test_a_store_that_is_down_is_named_and_the_host_still_answers(tmp_path: Path) -> None:
    with (
        clickhouse_today.running() as today,
        cutting(today.database()) as cut,
        Server(tmp_path, store=cut.address, fold_interval=1) as server,
    ):
        assert server.post([{"name": "a", "id": "event-one"}]).status == 200
        server.fold()
        ask = {"from": "2020-01-01", "bots": "include"}
        until(lambda: server.get("/admin/api/report", **ask).json().get("total", {}).get("events") == 1)
        today.kill()
        answer = server.get("/admin/api/report", **ask)
        assert (answer.status, answer.code) == (503, "store_unavailable")
        assert answer.json()["detail"].startswith("shard 1 of 1 of the ClickHouse store does not answer. Ask again, or")
        assert cut.address.split("/")[2] not in answer.body.decode()
        assert server.get("/admin/api/report", scope="host", **ask).json()["total"]["events"] == 1
