"""The columns of the counters, and how their rows are keyed. Those of the archive
follow from shared/schema.py. docs/formats.md is the contract.
"""

from __future__ import annotations

from shared.schema import COUNTED_DIMENSIONS

# Its rows have neither event nor value, those of EVENT no value.
TOTAL = "total"
EVENT = "event"
# On every row. Capped like a dimension, but without rows of its own.
SITE = "site"
# A dimension that is not counted by quarter of an hour has rows of a day: its name then
# ends with this, and `bucket` is one of the day's cuts (day_cuts.py).
DAY_ROWS_SUFFIX = "/day"
OTHER = "(other)"
BUCKET_S = 15 * 60

# Each may be capped, counted by quarter of an hour, or not counted yet.
COUNTED = (EVENT, *COUNTED_DIMENSIONS)
# All that a day may not have counted: then each question is for its archive.
ALL_COUNTED = (TOTAL, SITE, *COUNTED)

# `events` counts one bucket. `visitors` is set only on the rows that remain when the
# archive of a day expires: there `bucket` is the start of a calendar day, and a null
# site or bot is the sum over all of them.
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
