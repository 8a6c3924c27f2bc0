"""The columns of the counters, and how their rows are keyed. Those of the archive
follow from shared/schema.py. docs/formats.md is the contract.
"""

from __future__ import annotations

TOTAL = "total"
# Ends the name of a dimension on rows that count a whole UTC day; `bucket` is its
# start.
DAY_SUM_SUFFIX = "/day"
OTHER = "(other)"
BUCKET_S = 15 * 60

# `events` counts one bucket of 15 minutes. `visitors` is set only on the rows that
# remain when the archive of a day expires: there `bucket` is the start of a calendar
# day, and a null site or bot is the sum over all of them.
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
