"""The hashes by which hosts compare ids: of site, sender and the id that a client made,
with a key that the hosts of a store share. An id of version 1 may be of any sender, so
it has a hash for each, and counts where all of them are claimed.
"""

from __future__ import annotations

from collections.abc import Iterable

from compactor.generations.archive import OpenedPart, stored_events

SENDERS = "['page', 'key', 'import']"
FIRST_SENDER = "'page'"


def id_hashes_sql(parts: Iterable[OpenedPart], *more: str) -> str:
    """A relation (`hash`, `head`, and `more` columns of archive parts), of the
    parameter `$key`: rows without an id of a client are left out. `head`: of an event
    with several hashes the first one, else NULL.
    """
    columns = "".join(f", {name}" for name in more)
    senders = f"unnest(CASE WHEN sender IS NULL THEN {SENDERS} ELSE [sender] END) AS sender"
    events = stored_events(parts, *_with_place(more))
    rows = f"SELECT site, client_id, sender AS of_event, {senders}{columns} FROM {events} WHERE client_id IS NOT NULL"
    head = f"CASE WHEN of_event IS NULL THEN {hash_sql(FIRST_SENDER)} END AS head"
    return f"(SELECT {hash_sql('sender')} AS hash, {head}{columns} FROM ({rows}))"


def hash_sql(sender: str) -> str:
    """SQL of the hash of an id; json_array marks where each text ends."""
    return f"left(sha256($key || json_array(site, {sender}, client_id)::VARCHAR), 32)::UUID"


def _with_place(more: Iterable[str]) -> list[str]:
    return ["file_row_number AS file_row" if name == "file_row" else name for name in more]
