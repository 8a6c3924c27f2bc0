"""What the servers of a ClickHouse store say of themselves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import Cluster
from shared.stores.clickhouse.table_names import CURRENT
from shared.stores.clickhouse.tables import known_shards
from shared.stores.ledger import StoreRefused, StoreUnavailable

PATIENCE_S = 5.0
_PARTS = "SELECT partition FROM system.parts WHERE database = currentDatabase() AND table = '{table}' AND active"
_HAS_DISKS = "SELECT count() FROM system.tables WHERE database = 'system' AND name = 'disks'"
_DISKS = "SELECT name, free_space, total_space FROM system.disks WHERE total_space > 0 ORDER BY name"


class Disk(NamedTuple):
    name: str
    free: int
    total: int


class ShardState(NamedTuple):
    """One server. `ahead_s`: of the clock of this host. `parts`: the most that a month
    has, `month`. `disks` of a server that tells. `shards`: how many the server knows;
    None where the address names no cluster.
    """

    server: str
    version: tuple[int, ...]
    ahead_s: float
    month: str
    parts: int
    disks: tuple[Disk, ...]
    shards: int | None


def states_of(cluster: Cluster, clock: Callable[[], float] = time.time) -> list[ShardState | str]:
    """Of each shard; why it could not be asked."""
    return [_asked(cluster, ClickHouse(cluster, endpoint, PATIENCE_S), clock) for endpoint in cluster.shards]


def _asked(cluster: Cluster, server: ClickHouse, clock: Callable[[], float]) -> ShardState | str:
    try:
        return _state(cluster, server, clock)
    except (StoreUnavailable, StoreRefused) as error:
        return str(error)


def _state(cluster: Cluster, server: ClickHouse, clock: Callable[[], float]) -> ShardState:
    version = server.version
    ((now_s,),) = server.rows("SELECT toUnixTimestamp(now())")  # whole seconds
    ahead_s = now_s + 0.5 - clock()
    found = Counter(month for (month,) in server.rows(_PARTS.format(table=CURRENT.events)))
    month, parts = max(found.items(), key=lambda each: each[1], default=("", 0))
    has_disks = bool(server.rows(_HAS_DISKS)[0][0])
    disks = tuple(Disk(*row) for row in server.rows(_DISKS)) if has_disks else ()
    shards = known_shards(cluster, server) if cluster.name else None
    return ShardState(str(server), version, ahead_s, month, parts, disks, shards)
