"""What the tables of a shard are called."""

from __future__ import annotations

from typing import NamedTuple


class TableNames(NamedTuple):
    """`events`, and `folded`, the ledger of what is in them."""

    events: str
    folded: str


CURRENT = TableNames("analytics_events", "analytics_folded")
# Those that a rebuild fills, and the name that a table has until it is deleted.
REBUILT = TableNames("analytics_events_new", "analytics_folded_new")
REPLACED = "analytics_events_old"
EVENTS_OF_ALL_SHARDS = "analytics_events_all"
