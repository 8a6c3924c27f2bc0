"""What stands in the Parquet parts: the columns that the fold writes and the reports read. docs/formats.md is the contract."""

from __future__ import annotations

# In the order in which reports show them; each is a column of the archive by the same name.
DIMENSIONS = (
    "event",
    "site",
    "path",
    "referrer",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "country",
    "language",
    "browser",
    "os",
    "device",
)
# Event and site stand on every row of the counters; each of the others has rows of its own.
COUNTED_DIMENSIONS = DIMENSIONS[2:]
TOTAL = "total"
OTHER = "(other)"
BUCKET_S = 15 * 60

ARCHIVE_COLUMNS = {
    "id": "VARCHAR",
    "event": "VARCHAR",
    "time": "TIMESTAMP",
    "received": "TIMESTAMP",
    "site": "VARCHAR",
    "visitor": "VARCHAR",
    "session": "VARCHAR",
    "url": "VARCHAR",
    "referrer_url": "VARCHAR",
    "ua": "VARCHAR",
    "language": "VARCHAR",
    "country": "VARCHAR",
    "consent": "VARCHAR",
    "value": "DOUBLE",
    "props": "VARCHAR",
    "path": "VARCHAR",
    "referrer": "VARCHAR",
    "utm_source": "VARCHAR",
    "utm_medium": "VARCHAR",
    "utm_campaign": "VARCHAR",
    "browser": "VARCHAR",
    "os": "VARCHAR",
    "device": "VARCHAR",
    "bot": "BOOLEAN",
}

# `events` of a row: how many in that quarter of an hour. `visitors` is set only on the rows that stay when the archive of a
# day goes: `bucket` is then the beginning of a calendar day, and a null site or bot stands for all of them together.
COUNTER_COLUMNS = {
    "bucket": "TIMESTAMP",
    "site": "VARCHAR",
    "bot": "BOOLEAN",
    "event": "VARCHAR",
    "dimension": "VARCHAR",
    "value": "VARCHAR",
    "events": "BIGINT",
    "visitors": "BIGINT",
}


def no_rows(columns: dict[str, str]) -> str:
    """SQL of a relation with these columns and no rows, for where there is no part to read."""
    return "(SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items()) + " LIMIT 0)"
