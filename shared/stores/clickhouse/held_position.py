"""What a cluster holds of an instance, of what its shards say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from msgspec.structs import replace

from shared.generations.snapshot import Snapshot
from shared.stores.clickhouse.ledger_rows import HeldRow
from shared.stores.ledger import Position


def least_position(held: Sequence[HeldRow | None]) -> Position | None:
    """Of the shard that says least."""
    known = [row for row in held if row]
    if not known:
        return None
    if len(known) < len(held):
        return Position(known[0].instance, 0, "", Snapshot())
    least = min(known, key=lambda row: (row.generation, bool(row.sha256), row.version))
    return position_of(least)


def position_of(row: HeldRow) -> Position:
    return Position(row.instance, row.generation, row.sha256, row.snapshot)


def with_days(snapshot: Snapshot, after: Snapshot, days: Sequence[date]) -> Snapshot:
    """A snapshot that has these days as a newer one has them."""
    others = {day: kept for day, kept in snapshot.days.items() if day not in days}
    return replace(snapshot, days=others | {day: after.days[day] for day in days if day in after.days})
