"""Deleting a visitor from what retired instances have in a cluster: no host has their
directories, and none deletes there by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.ledger_rows import held_rows
from shared.stores.clickhouse.own_events import OwnEvents
from shared.stores.clickhouse.table_names import CURRENT


def erase_from_retired(shards: Sequence[ClickHouse], visitor: str, site: str | None, patience_s: float) -> None:
    """Returns when the files of all shards are without the visitor; `site`: None for
    all sites. To be called while no rebuild copies these rows. Raises StoreUnavailable.
    """
    condition = f"visitor = {_text(visitor)}" + ("" if site is None else f" AND site = {_text(site)}")
    found = [row for each in shards for row in held_rows(each, snapshot_of="").values()]
    for instance in sorted({row.instance for row in found if row.is_retired}):
        OwnEvents(shards, CURRENT.events, instance, patience_s).delete(condition)


def _text(value: str) -> str:
    """A mutation has no parameters before 24.8: hexadecimal digits end no literal."""
    return f"unhex('{value.encode().hex()}')"
