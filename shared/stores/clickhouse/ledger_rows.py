"""The ledger of a ClickHouse store: each shard says what it holds of each instance.

Only the host of an instance writes its rows, a new version after each insert. Shards
that were cut off, or restored, say less than the others, and get again what they lack.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from shared.generations.snapshot import Snapshot, decode_snapshot
from shared.stores.clickhouse.client import UNKNOWN_TABLE, ClickHouse, ServerError
from shared.stores.clickhouse.table_names import CURRENT, TableNames

_COLUMNS = "instance, version, host, timezone, generation, snapshot_sha256, as_of, snapshot, retired, published_at"
_HELD = (
    "SELECT toString(instance), version, host, timezone, generation, snapshot_sha256, as_of, {snapshot}, retired, "
    "toUnixTimestamp(published_at) FROM {table} FINAL ORDER BY host, instance"
)


class HeldRow(NamedTuple):
    """What a shard holds of an instance. `sha256`: of the snapshot file; empty while
    the generation is published in part. `content`: a snapshot of the days that are
    there.
    """

    instance: str
    version: int
    host: str
    timezone: str
    generation: int
    sha256: str
    as_of: str
    content: str
    is_retired: bool
    published_at: datetime

    @property
    def snapshot(self) -> Snapshot:
        return decode_snapshot(self.content.encode(), Path("the ledger of the store")) if self.content else Snapshot()


def held_rows(server: ClickHouse, names: TableNames = CURRENT, *, snapshot_of: str | None = None) -> dict[str, HeldRow]:
    """By instance. A shard without the tables has none. `snapshot_of`: the instance
    whose row has a snapshot, "" for no row; None for all. They are most of a ledger.
    """
    snapshot = "snapshot" if snapshot_of is None else "''"
    if snapshot_of:
        snapshot = f"if(instance = '{UUID(snapshot_of)}', snapshot, '')"
    try:
        rows = server.rows(_HELD.format(table=names.folded, snapshot=snapshot))
    except ServerError as error:
        if error.code == UNKNOWN_TABLE:
            return {}
        raise
    found = [HeldRow._make([*row[:-2], bool(row[-2]), datetime.fromtimestamp(row[-1], UTC)]) for row in rows]
    return {each.instance: each for each in found}


def write_held(server: ClickHouse, row: HeldRow, names: TableNames = CURRENT) -> None:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["retired"] = int(row.is_retired)
    values["published_at"] = int(row.published_at.timestamp())
    server.insert(
        f"INSERT INTO {names.folded} ({_COLUMNS}) FORMAT JSONEachRow",
        [json.dumps(values, ensure_ascii=False).encode()],
    )
