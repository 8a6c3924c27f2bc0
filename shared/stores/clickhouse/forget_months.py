"""Deleting months from a cluster, with what retired instances say of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from shared.generations.snapshot import encode_snapshot
from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.expired_months import expired_months, oldest_archived, without_months
from shared.stores.clickhouse.ledger_rows import held_rows, write_held
from shared.stores.clickhouse.table_names import CURRENT

MONTHS = (
    "SELECT DISTINCT partition FROM system.parts WHERE database = currentDatabase() AND table = '{table}' AND active"
)


def forget_expired(servers: Sequence[ClickHouse], archive_days: int, *, dry_run: bool) -> list[str]:
    """Delete the months whose archive has expired on every host; to be called while no
    other host publishes. Returns them.

    What is retired says so before: reports have no answer for these days then.
    """
    found = [held_rows(server) for server in servers]
    months = {month for server in servers for (month,) in server.rows(MONTHS.format(table=CURRENT.events))}
    ((now_s,),) = servers[0].rows("SELECT toUnixTimestamp(now())")
    oldest = oldest_archived(datetime.now(UTC).date(), datetime.fromtimestamp(now_s, UTC).date(), archive_days)
    gone = expired_months(months, [row for rows in found for row in rows.values()], oldest)
    if dry_run or not gone:
        return gone
    for server, rows in zip(servers, found, strict=True):
        for row in rows.values():
            if row.is_retired and (left := without_months(row, gone)):
                write_held(server, row._replace(version=row.version + 1, content=encode_snapshot(left).decode()))
    for server in servers:
        for month in gone:
            server.run(f"ALTER TABLE {CURRENT.events} DROP PARTITION {int(month)}")
    return gone
