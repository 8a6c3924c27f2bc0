"""Visitors who are to be erased, in what a retired instance has published: no host
carries that out, so that each answer leaves them out.

Their days are counted from the archive, without them. Where that has expired, the
counters stay: they name no visitor.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from reports.sql.postgres import erased_statement
from shared.generations.counter_schema import ALL_COUNTED
from shared.generations.snapshot import Day, Snapshot

if TYPE_CHECKING:
    from psycopg import Connection


class ErasedVisitor(NamedTuple):
    """`site`: None for all sites."""

    visitor: str
    site: str | None


def erased_visitors(connection: Connection) -> dict[str, tuple[ErasedVisitor, ...]]:
    """By retired instance; none in a store that an earlier Foldlog has migrated
    last.
    """
    from psycopg.errors import UndefinedTable  # here: see connection.py

    found: dict[str, list[ErasedVisitor]] = defaultdict(list)
    try:
        rows = connection.execute(erased_statement(), binary=True).fetchall()
    except UndefinedTable:
        return {}
    for instance, *erased in rows:
        found[instance].append(ErasedVisitor(*erased))
    return {instance: tuple(erased) for instance, erased in found.items()}


def without_counters(snapshot: Snapshot) -> Snapshot:
    """The snapshot as one that has counted nothing of days with an archive."""
    return replace(snapshot, days={day: _from_archive(kept) for day, kept in snapshot.days.items()})


def _from_archive(kept: Day) -> Day:
    if not kept.archive:
        return kept
    return replace(kept, uncounted=ALL_COUNTED, capped=(), sessions=(), visits=(), visits_of=None)
