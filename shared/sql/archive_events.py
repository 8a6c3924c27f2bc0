"""SQL between events and archive parts: `to_archive_sql` leaves out what another column
already contains, `from_archive_sql` restores it without loss.

The columns are in shared/schema.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.event_ids import server_id_random_sql, server_id_sql, server_id_time_sql
from shared.schema import ARCHIVE_COLUMNS, COLUMNS_OF_VERSION_2, STORED_COLUMNS
from shared.sql.parquet import parquet
from shared.sql.texts import keyed_number, stored_number

# Of files that have only some of the columns, after one that has all and no rows.
SOME_COLUMNS = 0


def empty_relation_sql(columns: dict[str, str]) -> str:
    """A relation with these columns and no rows, for a query that has no part to
    read.
    """
    return "(SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items()) + " LIMIT 0)"


def id_number_sql(site: str, id_: str) -> str:
    """SQL of the number of an event id as this process joins it (UBIGINT)."""
    return keyed_number(stored_id_number_sql(site, id_))


def stored_id_number_sql(site: str, id_: str) -> str:
    """SQL of the number of an event id in the index of ids (UBIGINT)."""
    return stored_number(f"({site} || chr(31) || {id_})")


def stored_events_sql(paths: Mapping[int, str], *more: str) -> str:
    """A relation with STORED_COLUMNS, and `more` columns, over archive parts. `paths`:
    by version of the parts, SQL of a list of their paths.
    """
    if paths.keys() == {2} and not more:
        return parquet(paths[2])
    added = [f"NULL::{kind} AS {name}" for name, kind in COLUMNS_OF_VERSION_2.items()]
    common = [name for name in STORED_COLUMNS if name not in COLUMNS_OF_VERSION_2]
    last = {SOME_COLUMNS: list(COLUMNS_OF_VERSION_2), 1: added, 2: list(COLUMNS_OF_VERSION_2)}
    options = {SOME_COLUMNS: "union_by_name = true"}
    sources = [
        f"SELECT {', '.join((*common, *last[version], *more))} "
        f"FROM {parquet(files, options.get(version, 'file_row_number = true'))}"
        for version, files in sorted(paths.items())
    ]
    return f"({' UNION ALL '.join(sources)})" if sources else empty_relation_sql(STORED_COLUMNS)


def from_archive_sql(source: str, *more: str) -> str:
    """Events with ARCHIVE_COLUMNS, and `more` columns, from a relation with
    STORED_COLUMNS. Columns that the query does not use are not read.
    """
    restored = {
        "id": f"coalesce(client_id, {server_id_sql('received', 'random_id')})",
        "url": "coalesce(url_head || path || url_tail, url_tail)",
        "referrer_url": "coalesce(referrer_head || referrer || referrer_tail, referrer_tail)",
    }
    columns = (f"{restored[name]} AS {name}" if name in restored else name for name in (*ARCHIVE_COLUMNS, *more))
    return f"(SELECT {', '.join(columns)} FROM {source})"


def to_archive_sql(events: str, *more: str, is_derived: str = "") -> str:
    """Rows of an archive part, with STORED_COLUMNS and `more`, from a relation with
    ARCHIVE_COLUMNS and `more`. `is_derived`: SQL of whether the server made the id as
    it received the event, where the relation knows it.
    """
    is_derived = is_derived or f"{server_id_random_sql('e')} IS NOT NULL AND {server_id_time_sql('e')} = received"
    encoded = {
        "client_id": f"CASE WHEN {is_derived} THEN NULL ELSE id END",
        "random_id": f"CASE WHEN {is_derived} THEN {server_id_random_sql('e')} END",
        "time": "time::TIMESTAMP_MS",
        "received": "received::TIMESTAMP_MS",
        **_split_around("url", "url", "path"),
        **_split_around("referrer", "referrer_url", "referrer"),
    }
    columns = ", ".join(f"{encoded.get(name, name)} AS {name}" for name in (*STORED_COLUMNS, *more))
    return f"(SELECT {columns} FROM {events} e)"


def _split_around(name: str, text: str, middle: str) -> dict[str, str]:
    """The head and the tail of a text around `middle`; the tail is all of it where
    `middle` does not occur.
    """
    found, place = f"contains({text}, {middle})", f"instr({text}, {middle})"
    return {
        f"{name}_head": f"CASE WHEN {found} THEN left({text}, {place} - 1) END",
        f"{name}_tail": f"CASE WHEN {found} THEN substr({text}, {place} + length({middle})) ELSE {text} END",
    }
