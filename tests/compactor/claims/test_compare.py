"""What a comparison with claims reads: under the lock, the wanted ids and what others
have claimed since the comparison before it, however many claims are known.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compactor.claims import claim, compare
from compactor.claims.compare import find_lost
from compactor.claims.known_claims import open_known_claims
from compactor.sql import count_rows, run_script, sql_file
from shared.lateness import DEDUPE_DAYS
from tests.builders.logs import line
from tests.builders.postgres import Server
from tests.builders.store_hosts import StoreHost

if TYPE_CHECKING:
    import duckdb

BLOCKS = 5
BLOCK = 100_000
WANTED = 100
CAME = 10
# DuckDB reads or skips so many rows at once.
ROW_GROUP = 122_880
HASHES = "md5(range::VARCHAR)::UUID"
CLAIMS = f"INSERT INTO known.claims SELECT $1, DATE '2026-01-01', {HASHES}, uuid(), uuid() FROM range($2)"


@pytest.fixture
def known(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Many claims, and few that came last."""
    with open_known_claims(tmp_path / "claims.duckdb", 256 << 20, tmp_path) as database:
        run_script(database, sql_file(claim.__file__, "wanted.sql"))
        for seq in range(1, BLOCKS + 1):
            database.execute(CLAIMS, [seq, BLOCK])
        database.execute("CHECKPOINT known")
        database.execute(CLAIMS, [BLOCKS + 1, CAME])
        wanted = f"SELECT DATE '2026-01-01', {HASHES}, NULL, false FROM range($1)"
        database.execute(f"INSERT INTO wanted {wanted}", [WANTED])
        yield database


def rows_read(database: duckdb.DuckDBPyConnection, since: int) -> int:
    values = {"instance": uuid.uuid4(), "window": DEDUPE_DAYS, "since": since}
    sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {sql_file(compare.__file__, 'lost.sql')}"
    ((_, explained),) = database.execute(sql, values).fetchall()
    return int(json.loads(explained)["query"]["total_rows_scanned"])


def test_only_blocks_that_came_since_are_read(known: duckdb.DuckDBPyConnection) -> None:
    assert rows_read(known, 0) >= BLOCKS * BLOCK
    known.execute("DELETE FROM lost")
    assert rows_read(known, BLOCKS) <= WANTED + ROW_GROUP


def test_a_comparison_since_a_block_adds_to_the_one_before(known: duckdb.DuckDBPyConnection) -> None:
    known.execute(
        "DELETE FROM known.claims WHERE seq > $1 OR hash IN (SELECT hash FROM wanted LIMIT $2)", [BLOCKS, CAME]
    )
    find_lost(known, uuid.uuid4())
    assert count_rows(known, "lost") == WANTED - CAME
    known.execute(CLAIMS, [BLOCKS + 1, WANTED])
    find_lost(known, uuid.uuid4(), BLOCKS)
    assert count_rows(known, "lost") == WANTED


@pytest.mark.component
def test_the_comparison_under_the_lock_begins_where_the_one_before_it_ended(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []

    def recorded(database: Any, instance: uuid.UUID, since: int = 0) -> None:
        found.append(since)
        find_lost(database, instance, since)

    address = server.database()
    first, second = (StoreHost(tmp_path / name, address) for name in "ab")
    first.receive([line("event-000001")])
    first.settle()
    monkeypatch.setattr("compactor.claims.claim.find_lost", recorded)
    second.receive([line("event-000002")])
    second.settle()
    before, under_lock = found
    assert before == 0 < under_lock
