"""What stands in the Parquet parts: the columns that the fold writes and the reports
read. docs/formats.md is the contract.

Whoever reads a part compares it with its sha256 first: Parquet has no checksum of its
own, and a flipped bit would become a wrong number in a report, or go into the next part
under a new sha256.
"""

from __future__ import annotations

# In the order in which reports show them; each is a column of the archive by the same
# name.
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
# Event and site stand on every row of the counters; each of the others has rows of its
# own.
COUNTED_DIMENSIONS = DIMENSIONS[2:]
TOTAL = "total"
# Ends the name of a dimension on the rows that count a whole UTC day: `bucket` is its
# beginning.
DAY_SUM_SUFFIX = "/day"
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

# How an event stands in an archive part. What another column says already is not stored
# again: of an id that the server made the time in front, of a URL its path, of a
# referrer its host. shared/sql/archive_events.py converts both ways without loss.
STORED_COLUMNS = {
    "client_id": "VARCHAR",
    "random_id": "BLOB",
    "url_head": "VARCHAR",
    "url_tail": "VARCHAR",
    "referrer_head": "VARCHAR",
    "referrer_tail": "VARCHAR",
    **{name: kind for name, kind in ARCHIVE_COLUMNS.items() if name not in {"id", "url", "referrer_url"}},
}

# `events` of a row: how many in that quarter of an hour. `visitors` is set only on the
# rows that stay when the archive of a day goes: `bucket` is then the beginning of a
# calendar day, and a null site or bot stands for all of them together.
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
