"""The claims of all hosts as this host knows them: a DuckDB file beside the data, which
is brought up to date by what the store has added, and made anew where the store was
restored or an instance began a new epoch.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from compactor.claims.claims_table import (
    HASH_BYTES,
    NIL,
    Block,
    DayHashes,
    LedgerRow,
    blocks_after,
    has_block,
    pruned_before,
)
from compactor.sql import run_script, sql_file, sql_text
from shared.duckdb_engine import connect, one_row

if TYPE_CHECKING:
    import duckdb
    from psycopg import Connection

# 1.6 MB of hashes, and some 20 MB while they are made.
BLOCK_IDS = 100_000


@contextmanager
def open_known_claims(path: Path, memory_bytes: int, spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the known claims as `known.claims`. After any error of DuckDB the
    file is deleted, for it may be damaged, or of another version: the next publish
    fetches everything again.
    """
    import duckdb

    try:
        with closing(connect(memory_bytes, 1, spill)) as database:
            _attach(database, path)
            yield database
    except duckdb.Error:
        for each in (path, path.with_name(f"{path.name}.wal")):
            each.unlink(missing_ok=True)
        raise


def _attach(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    database.execute(f"ATTACH {sql_text(str(path))} AS known")
    run_script(database, sql_file(__file__, "known_claims.sql"))


def fetch(
    database: duckdb.DuckDBPyConnection,
    connection: Connection,
    store: str,
    rows: Mapping[UUID, LedgerRow],
    instance: UUID,
) -> int:
    """Add what the store has and this host does not know, in one transaction of the
    file. Returns the number of the block after which that was: 0 where all is new.
    """
    epochs = epochs_text(rows)
    database.execute("BEGIN")
    try:
        since = _cursor(database, connection, store, epochs, instance)
        for block in blocks_after(connection, since):
            _add(database, block)
            database.execute("UPDATE known.cursor SET seq = $1, name = $2", [block.seq, block.name])
        _prune(database, pruned_before(connection))
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
    return since


def _prune(database: duckdb.DuckDBPyConnection, pruned: date | None) -> None:
    """Delete claims of days before this one, once."""
    (done,) = one_row(database, "SELECT pruned FROM known.cursor")
    if pruned is None or pruned == done:
        return
    for table in ("claims", "before"):
        database.execute(f"DELETE FROM known.{table} WHERE day < $1", [pruned])
    database.execute("UPDATE known.cursor SET pruned = $1", [pruned])


def epochs_text(rows: Mapping[UUID, LedgerRow]) -> str:
    """The epochs of all instances as one text, to be compared. A new instance changes
    nothing.
    """
    begun = (each for each in rows.values() if (each.epoch, each.epoch_name, each.absorbed) != (1, NIL, None))
    return ",".join(sorted(f"{each.instance}={each.epoch}:{each.epoch_name}:{each.absorbed or ''}" for each in begun))


def _cursor(
    database: duckdb.DuckDBPyConnection, connection: Connection, store: str, epochs: str, instance: UUID
) -> int:
    """The number of the last block that is known. 0, and nothing is known, if that
    block is gone or is another's, or if an instance is in another epoch.
    """
    seq, name, of_store, of_epochs = one_row(database, "SELECT seq, name, store, epochs FROM known.cursor")
    is_same = (of_store, of_epochs) == (store, epochs) and (not seq or has_block(connection, seq, name))
    if is_same:
        return int(seq)
    if of_store == store:
        own = "SELECT day, hash FROM known.claims WHERE instance = $1::UUID"
        database.execute(f"INSERT INTO known.before {own} EXCEPT FROM known.before", [instance])
    else:  # another key of hashes
        database.execute("DELETE FROM known.before")
    database.execute("DELETE FROM known.claims")
    values = [NIL, store, epochs]
    anew = "UPDATE known.cursor SET seq = 0, name = $1, store = $2, epochs = $3, compared = NULL, pruned = NULL"
    database.execute(anew, values)
    return 0


def forget_own(database: duckdb.DuckDBPyConnection, instance: UUID) -> None:
    """Know nothing of the claims of an instance that is about to release some: they
    must not be made again. In its new epoch all claims are fetched anew.
    """
    database.execute("DELETE FROM known.claims WHERE instance = $1::UUID", [instance])
    database.execute("DELETE FROM known.before")


def _add(database: duckdb.DuckDBPyConnection, block: Block) -> None:
    text = block.hashes.hex()
    width = 2 * HASH_BYTES
    hashes = [text[start : start + width] for start in range(0, len(text), width)]
    database.execute(
        "INSERT INTO known.claims SELECT $1, $2::DATE, unnest($3::VARCHAR[])::UUID, $4::UUID, $5::UUID",
        [block.seq, block.day, hashes, block.instance, block.epoch_name],
    )


def blocks_of(database: duckdb.DuckDBPyConnection, sql: str, values: object = None) -> Iterator[DayHashes]:
    """The rows (day, hash) of a query as blocks of BLOCK_IDS at most: a first publish
    may have many millions. To be read before the next statement.
    """
    found = database.execute(f"FROM ({sql}) ORDER BY day", values)
    while rows := found.fetchmany(BLOCK_IDS):
        for day, same in groupby(rows, itemgetter(0)):
            yield day, b"".join(sorted(hash_.bytes for _, hash_ in same))


def new_name() -> UUID:
    """The name of a block: never used twice, whatever is restored."""
    return uuid.uuid4()
