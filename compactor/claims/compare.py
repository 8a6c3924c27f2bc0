"""Comparing the ids of a host with what others have claimed: what is lost, what is won,
and what was yielded and counts here after all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

from compactor.claims.claims_table import DayHashes, LedgerRow
from compactor.claims.known_claims import blocks_of, epochs_text
from compactor.sql import count_rows, sql_file
from shared.duckdb_engine import one_row
from shared.generations.snapshot import Snapshot
from shared.lateness import DEDUPE_DAYS

if TYPE_CHECKING:
    import duckdb


def find_lost(database: duckdb.DuckDBPyConnection, instance: UUID, since: int = 0) -> None:
    """Add to `lost` the wanted ids that blocks with higher numbers than `since` have;
    with 0, compare with everything that is known.
    """
    if not since:
        database.execute("DELETE FROM lost")
    values = {"instance": instance, "window": DEDUPE_DAYS, "since": since}
    database.execute(sql_file(__file__, "lost.sql"), values)


def won(database: duckdb.DuckDBPyConnection) -> Iterator[DayHashes]:
    """What can be claimed now."""
    return blocks_of(database, "SELECT day, hash FROM won")


# A new epoch keeps the claims of ids that were published, also where their events are
# gone, and the claims on other days of ids that it claims.
_OWN = "SELECT day, hash FROM known.claims WHERE instance = $1::UUID"
_PUBLISHED = f"{_OWN} AND seq <= $2 UNION SELECT day, hash FROM won WHERE is_kept"
_NEW = f"SELECT day, hash FROM won UNION ({_OWN} AND hash IN (SELECT hash FROM won))"


def won_anew(database: duckdb.DuckDBPyConnection, row: LedgerRow) -> tuple[Iterator[DayHashes], Iterator[DayHashes]]:
    """What can be claimed in a new epoch: of ids that were published, and of others. To
    be read one after the other.
    """
    values = [row.instance, row.published_seq]
    published = blocks_of(database, _PUBLISHED, values)
    return published, blocks_of(database, f"{_NEW} EXCEPT ({_PUBLISHED})", values)


def has_outcome(database: duckdb.DuckDBPyConnection) -> bool:
    """Whether there is anything to yield, or to count after all."""
    return any(count_rows(database, table) for table in ("lost", "again"))


def find_again(
    database: duckdb.DuckDBPyConnection, newest: Snapshot, pruned: date | None, rows: Mapping[UUID, LedgerRow]
) -> None:
    """Fill `again`: what was yielded and no instance claims any more, or this one does
    now. Looked for where the claims were fetched anew, or other events were yielded.
    """
    epochs = [(str(each.instance), str(each.epoch_name)) for each in rows.values()]
    values = {
        "pruned": pruned or date.min,
        "instances": [instance for instance, _ in epochs],
        "names": [name for _, name in epochs],
        "is_compared": is_compared(database, newest),
    }
    database.execute(sql_file(__file__, "again.sql"), values)


def note_compared(database: duckdb.DuckDBPyConnection, newest: Snapshot) -> None:
    """Note that what this host has yielded was compared with the known claims."""
    database.execute("UPDATE known.cursor SET compared = $1", [_yielded_parts(newest)])


def is_compared(database: duckdb.DuckDBPyConnection, newest: Snapshot) -> bool:
    """Whether it was."""
    (compared,) = one_row(database, "SELECT compared FROM known.cursor")
    return bool(compared == _yielded_parts(newest))


def _yielded_parts(snapshot: Snapshot) -> str:
    """Which parts of yielded events a generation has, as a text to be compared."""
    return ",".join(f"{day}:{part.generation}" for day, kept in snapshot.days.items() for part in kept.yielded)


def has_seen_all(database: duckdb.DuckDBPyConnection, rows: Mapping[UUID, LedgerRow]) -> bool:
    """Whether what this host yielded was compared with the claims of these epochs: only
    then does its horizon say what may still come from it.
    """
    compared, epochs = one_row(database, "SELECT compared, epochs FROM known.cursor")
    return compared is not None and epochs == epochs_text(rows)
