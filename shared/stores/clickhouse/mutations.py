"""Waiting until rows that were deleted are gone from the files of a server."""

from __future__ import annotations

import time

from shared.stores.clickhouse.client import ClickHouse
from shared.stores.ledger import StoreUnavailable

MUTATION_POLL_S = 0.2
MUTATION_PATIENCE_S = 600.0


def wait_for_mutations(server: ClickHouse, table: str, patience_s: float) -> None:
    """No server answers only when a mutation is done, and one that is not says so."""
    until = time.monotonic() + patience_s
    pending = (
        f"SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = '{table}' AND NOT is_done"
    )
    while server.rows(pending)[0][0]:
        if time.monotonic() > until:
            raise StoreUnavailable(
                str(server),
                f"rows are still being deleted after {patience_s:.0f} s: system.mutations says why "
                "(latest_fail_reason). What is asked to be erased is not confirmed before",
            )
        time.sleep(MUTATION_POLL_S)
