"""Ids that the server makes: valid, unique, ordered by time, and split by SQL into time
and random bytes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

from shared.duckdb_engine import connect, one_row
from shared.event_ids import RANDOM_BYTES, make_event_ids, server_id_random_sql, server_id_sql, server_id_time_sql
from shared.timestamps import epoch_ms

RECEIVED_MS = epoch_ms("2026-11-22T16:00:00.120Z")


def test_ids_are_unique_ordered_by_time_and_valid() -> None:
    made = [make_event_ids(500, RECEIVED_MS + later) for later in range(20)]
    ids = [id_ for group in made for id_ in group]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{8,64}", id_) for id_ in ids)
    assert all(max(before) < min(after) for before, after in pairwise(made))


def test_sql_splits_and_joins_the_ids_that_the_server_makes() -> None:
    (id_,) = make_event_ids(1, RECEIVED_MS)
    with connect(128 << 20, 1) as database:
        parts = (
            f"SELECT {server_id_time_sql('e')} AS made_at, {server_id_random_sql('e')} AS random FROM (SELECT "
            f"$1 AS id) e"
        )
        at, random = one_row(database, parts, [id_])
        assert at.replace(tzinfo=UTC) == datetime.fromtimestamp(RECEIVED_MS / 1000, UTC)
        assert len(random) == RANDOM_BYTES
        assert one_row(database, f"SELECT {server_id_sql('made_at', 'random')} FROM ({parts})", [id_]) == (id_,)
        for other in (id_.upper(), id_[:-1], f"{id_}0", "client-id"):
            assert one_row(database, parts, [other]) == (None, None)
