"""Why a cluster cannot answer a report: a shard that is away, which would make it a sum
of a part, or a server that is too old. Addresses are for the log; an answer has the
number of the shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reports.kinds.goals import GoalsQuery
from reports.query import Query
from reports.query_error import QueryError
from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import Cluster
from shared.stores.clickhouse.tables import FIRST_VERSION
from shared.stores.ledger import StoreUnavailable

PROBE_S = 5.0
ANSWERED = ("goals",)
_ELSE = "or with scope=host for this host alone"


class CannotAnswer(StoreUnavailable):
    """`detail` is for who asked."""

    def __init__(self, cluster: Cluster, error: str, detail: str) -> None:
        super().__init__(str(cluster), error)
        self.detail = detail


@contextmanager
def naming_shards_away(cluster: Cluster) -> Iterator[None]:
    """Ask in this block: where a shard does not answer, that is why. Raises
    CannotAnswer.
    """
    if len(cluster.shards) > 1:
        _require_shards(cluster)
    try:
        yield
    except CannotAnswer:
        raise
    except StoreUnavailable:
        _require_shards(cluster)
        raise


def require_counts(query: Query) -> None:
    """Raises QueryError for what has no statement of a cluster: most kinds of report
    with a name, visits, which hosts do not ship, and dimensions that are no column
    there.
    """
    kind = getattr(query, "kind", "")
    if kind not in ("", *ANSWERED):
        what = f"does not answer {kind}"
    elif query.asks_visits:
        what = "counts no visits"
    elif query.asks_computed or (isinstance(query, GoalsQuery) and query.goals_ask_computed):
        what = "has no such dimension"
    else:
        return
    raise QueryError("scope", f"a ClickHouse store {what}: ask each host with scope=host, or ClickHouse itself")


def require_version(cluster: Cluster, server: ClickHouse) -> None:
    """Raises CannotAnswer."""
    if server.version >= FIRST_VERSION:
        return
    needed, found = (".".join(map(str, version[:2])) for version in (FIRST_VERSION, server.version))
    error = f"reports over all hosts need ClickHouse {needed} or later, and {server} is {found}"
    detail = f"reports over all hosts need ClickHouse {needed} or later, and the store is {found}: ask with scope=host"
    raise CannotAnswer(cluster, error, detail)


def _require_shards(cluster: Cluster) -> None:
    away = {}
    for number, endpoint in enumerate(cluster.shards, 1):
        try:
            ClickHouse(cluster, endpoint, PROBE_S).ping()
        except StoreUnavailable as error:
            away[number] = str(error)
    if not away:
        return
    numbers = ", ".join(map(str, away))
    which = f"shard {numbers} of {len(cluster.shards)} of the ClickHouse store does not answer"
    raise CannotAnswer(cluster, "; ".join(away.values()), f"{which}. Ask again, {_ELSE}")
