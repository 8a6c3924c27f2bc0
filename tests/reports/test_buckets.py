"""The bucket of each moment, however buckets begin, and however many there are."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import closing
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.sql.duckdb.buckets import bucket_join, utc_timestamp
from reports.sql.statement import Parameters

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_MS, QUARTER_MS = 86_400_000, 900_000


def instant(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def joined(starts: list[int], until: int, moments: list[int], *, keeps_earlier: bool) -> list[tuple[int, int | None]]:
    """(moment, number of its bucket), in order."""
    bound = Parameters()
    join = bucket_join("a.time", [instant(ms) for ms in starts], instant(until), bound, keeps_earlier=keeps_earlier)
    given_moments = [utc_timestamp(instant(ms)) for ms in moments]
    rows = f"SELECT unnest({bound.value('moments', given_moments)}::TIMESTAMP[]) AS time"
    with closing(duckdb.connect()) as database:
        found = database.execute(f"SELECT epoch_ms(a.time), b.number FROM ({rows}) a {join}", bound.values).fetchall()
    return sorted(found)


def expected(starts: list[int], moments: list[int], *, keeps_earlier: bool) -> list[tuple[int, int | None]]:
    found = [(moment, bisect_right(starts, moment) - 1) for moment in moments]
    return sorted((moment, number if number >= 0 else None) for moment, number in found if number >= 0 or keeps_earlier)


@given(
    st.sampled_from([1, 60_000, QUARTER_MS, DAY_MS]),
    st.lists(st.integers(0, 20_000), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(0, 30_000 * DAY_MS), min_size=1, max_size=20),
    st.integers(1, DAY_MS),
    st.booleans(),
)
def test_each_moment_is_in_the_last_bucket_that_has_begun(
    unit: int, places: list[int], moments: list[int], rest: int, keeps_earlier: bool
) -> None:
    starts = sorted(place * unit for place in places)
    until = starts[-1] + rest
    edges = [moment for start in starts for moment in (start - 1, start, start + 1)]
    within = [moment for moment in (*edges, *(each % until for each in moments), until - 1) if 0 <= moment < until]
    for_all = joined(starts, until, within, keeps_earlier=keeps_earlier)
    assert for_all == expected(starts, within, keeps_earlier=keeps_earlier)


@pytest.mark.parametrize("start", [0, QUARTER_MS, 1])
def test_eight_thousand_years_cost_no_more_than_their_buckets(start: int) -> None:
    """As many quarters of an hour would be 281,000,000 rows."""
    starts, until = [start, start + 365 * DAY_MS], 250_000_000 * DAY_MS // 100
    moments = [start, until - 1]
    assert joined(starts, until, moments, keeps_earlier=False) == [(start, 0), (until - 1, 1)]
