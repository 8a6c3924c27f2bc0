"""Filling the second table of a ClickHouse store, while a rebuild is ordered: a month
after the other, and a part of them in each publish, so that the first table is never
far behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from compactor.claims.session import Claims
from shared.generations.snapshot import Snapshot, encode_snapshot
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.ledger import Position
from shared.stores.store import Changes, Store

# After that long the rest is left to the next publish.
FILL_S = 30.0

# Between two snapshots.
ChangesOf = Callable[[Snapshot, Snapshot], Changes]


def wants_filling(store: Store, after: Position) -> bool:
    """Whether a rebuild lacks this generation."""
    if not isinstance(store, ClickHouseStore) or store.rebuild.is_ending() or not store.rebuild.is_filling():
        return False
    base = store.rebuilt().position()
    return base is None or base.sha256 != after.sha256


def fill_rebuilt(store: Store, claims: Claims, after: Position, content: bytes, changes: ChangesOf) -> None:
    """To be called where `wants_filling`. Raises as a publish."""
    if isinstance(store, ClickHouseStore):
        claims.intend(after, after)
        publish_by_months(store.rebuilt(), after, content, changes, time.monotonic() + FILL_S)


def publish_by_months(
    store: ClickHouseStore, after: Position, content: bytes, changes: ChangesOf, until: float | None = None
) -> bool:
    """Publish a generation over whatever the store holds of it, the oldest month first.
    Returns whether all of it is there: not, if the clock passed `until` before.
    """
    base = store.position()
    for part in _parts(base.snapshot if base else Snapshot(), after.snapshot):
        if until is not None and time.monotonic() > until:
            return False
        step = after._replace(sha256="", snapshot=part)
        store.publish(base, step, encode_snapshot(part), changes(base.snapshot if base else Snapshot(), part))
        base = step
    store.publish(base, after, content, changes(base.snapshot if base else Snapshot(), after.snapshot))
    return True


def _parts(before: Snapshot, after: Snapshot) -> Iterator[Snapshot]:
    """Snapshots between the two: first with the days of both, then each with a month
    more.

    So rows of a day that a snapshot has not, and rows of a later generation than its
    own, are what a publish left that was cut off.
    """
    days = {day: kept for day, kept in after.days.items() if day in before.days}
    if before.days != days:
        yield replace(after, days=dict(days))
    for month in sorted({(day.year, day.month) for day in after.days if day not in days}):
        days |= {day: kept for day, kept in after.days.items() if (day.year, day.month) == month}
        yield replace(after, days=dict(days))
