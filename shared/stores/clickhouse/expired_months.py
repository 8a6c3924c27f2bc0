"""Months that a cluster may forget: those whose archive has expired on every host.

The rows of an expired day stay until its month is deleted as a whole, with its
partition on each shard, which costs nothing. One host whose clock is wrong deletes only
its own days, so that it deletes no other host's rows (P9). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from msgspec.structs import replace

from shared.generations.snapshot import Day, Snapshot
from shared.stores.clickhouse.ledger_rows import HeldRow


def month_of(day: date) -> str:
    """As a partition of `analytics_events` is named."""
    return f"{day:%Y%m}"


def expired_months(months: Iterable[str], rows: Sequence[HeldRow], oldest: date) -> list[str]:
    """Which of these months go. `rows`: the ledgers of all shards. `oldest`: the first
    day that the archive of a retired instance is kept of, as no host of it says so.
    """
    living = [row for row in rows if not row.is_retired]
    if not living or any(not row.sha256 for row in living):
        return []  # what is published in part may be of any month
    retired = [_expired_by_age(row.snapshot, oldest) for row in rows if row.is_retired]
    return _gone(months, [row.snapshot for row in living] + retired)


def without_months(row: HeldRow, months: Sequence[str]) -> Snapshot | None:
    """The snapshot of a retired instance once these months are deleted; None if it had
    none of them. Reports then say that their days have expired.
    """
    before = row.snapshot
    days = {day: _expired(kept) if month_of(day) in months else kept for day, kept in before.days.items()}
    return replace(before, days=days) if days != before.days else None


def _gone(months: Iterable[str], snapshots: Sequence[Snapshot]) -> list[str]:
    """Each of these has expired somewhere, and nowhere a day of it is left."""
    left, expired = set[str](), set[str]()
    for snapshot in snapshots:
        left |= {month_of(day) for day, kept in snapshot.days.items() if not kept.expired}
        expired |= {month_of(day) for day, kept in snapshot.days.items() if kept.expired}
        expired |= {month_of(day) for day in snapshot.dropped_days}
    return sorted((expired - left) & set(months))


def _expired_by_age(snapshot: Snapshot, oldest: date) -> Snapshot:
    """As its host would have it, if it still ran."""
    days = {day: _expired(kept) if _since(day, kept) < oldest else kept for day, kept in snapshot.days.items()}
    return replace(snapshot, days=days)


def _expired(kept: Day) -> Day:
    return replace(kept, archive=(), ids=(), expired=True)


def _since(day: date, kept: Day) -> date:
    """The age of a day counts from the last fold that added to it."""
    return max(day, date.fromisoformat(kept.added_at[:10])) if kept.added_at else day


def oldest_archived(today: date, server_today: date, retention_days: int) -> date:
    """By the slower of two clocks."""
    return min(today, server_today) - timedelta(days=retention_days)
