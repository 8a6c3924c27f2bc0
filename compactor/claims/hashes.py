"""The hashes by which hosts compare ids: of site, sender and the id that a client made,
with a key that the hosts of a store share. An id of version 1 may be of any sender, so
it has a hash for each.
"""

from __future__ import annotations

from collections.abc import Iterable

from compactor.generations.archive import OpenedPart, stored_events

SENDERS = "['page', 'key', 'import']"


def id_hashes_sql(parts: Iterable[OpenedPart], *more: str) -> str:
    """A relation (`hash`, and `more` columns of archive parts), of the parameter
    `$key`: rows without an id of a client are left out.
    """
    columns = "".join(f", {name}" for name in more)
    senders = f"unnest(CASE WHEN sender IS NULL THEN {SENDERS} ELSE [sender] END) AS sender"
    events = stored_events(parts, *_with_place(more))
    rows = f"SELECT site, client_id, {senders}{columns} FROM {events} WHERE client_id IS NOT NULL"
    return f"(SELECT {HASH_SQL} AS hash{columns} FROM ({rows}))"


# json_array marks where each text ends.
HASH_SQL = "left(sha256($key || json_array(site, sender, client_id)::VARCHAR), 32)::UUID"


def _with_place(more: Iterable[str]) -> list[str]:
    return ["file_row_number AS file_row" if name == "file_row" else name for name in more]
