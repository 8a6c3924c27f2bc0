"""Where the buckets of a report begin, also on days when clocks are changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.calendar import Interval, bucket_starts, has_more_buckets, is_calendar_day, midnight, overlaps_utc_day

LIMIT = 40_000


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def starts_of(first: str, last: str, interval: Interval, tz: str = "UTC") -> list[datetime]:
    """The bucket starts of the days `first` to `last`, both inclusive."""
    zone = ZoneInfo(tz)
    end = midnight(date.fromisoformat(last) + timedelta(days=1), zone)
    return bucket_starts(midnight(date.fromisoformat(first), zone), end, interval, zone, LIMIT)


# Name; a day, a zone, and the hours of that day in it.
DAYS: dict[str, tuple[str, str, float]] = {
    "an ordinary day": ("2026-11-22", "Europe/Berlin", 24),
    "Berlin, clocks go forward": ("2026-03-29", "Europe/Berlin", 23),
    "Berlin, clocks go back": ("2026-10-25", "Europe/Berlin", 25),
    "New York, clocks go forward": ("2026-03-08", "America/New_York", 23),
    "New York, clocks go back": ("2026-11-01", "America/New_York", 25),
    "Santiago, midnight does not exist": ("2026-09-06", "America/Santiago", 23),
    "Santiago, the hour before midnight comes twice": ("2026-04-04", "America/Santiago", 25),
    "Beirut, midnight does not exist": ("2026-03-29", "Asia/Beirut", 23),
    "Beirut, the hour before midnight comes twice": ("2026-10-24", "Asia/Beirut", 25),
    "Havana, midnight comes twice": ("2026-11-01", "America/Havana", 25),
    "Kathmandu, 45 minutes off": ("2026-11-22", "Asia/Kathmandu", 24),
    "Lord Howe, half an hour forward": ("2026-10-04", "Australia/Lord_Howe", 23.5),
    "Lord Howe, half an hour back": ("2026-04-05", "Australia/Lord_Howe", 24.5),
}
WHOLE_HOURS = {name: row for name, row in DAYS.items() if row[2] == int(row[2])}
HALF_HOURS = {name: row for name, row in DAYS.items() if row[2] != int(row[2])}


@pytest.mark.parametrize(("day", "tz", "hours"), DAYS.values(), ids=DAYS)
def test_day_has_the_hours_of_its_zone(day: str, tz: str, hours: float) -> None:
    begins, next_begins = starts_of(day, str(date.fromisoformat(day) + timedelta(days=1)), "day", tz)
    assert next_begins - begins == timedelta(hours=hours)
    assert starts_of(day, day, "day", tz) == [begins]
    assert is_calendar_day(begins, next_begins, ZoneInfo(tz))


@pytest.mark.parametrize(("day", "tz", "hours"), DAYS.values(), ids=DAYS)
def test_quarters_of_a_day(day: str, tz: str, hours: float) -> None:
    (begins,) = starts_of(day, day, "day", tz)
    assert starts_of(day, day, "15m", tz) == [begins + timedelta(minutes=15) * n for n in range(int(hours * 4))]


@pytest.mark.parametrize(("day", "tz", "hours"), WHOLE_HOURS.values(), ids=WHOLE_HOURS)
def test_hours_of_a_day(day: str, tz: str, hours: float) -> None:
    (begins,) = starts_of(day, day, "day", tz)
    assert starts_of(day, day, "hour", tz) == [begins + timedelta(hours=n) for n in range(int(hours))]


@pytest.mark.parametrize(("day", "tz", "_hours"), HALF_HOURS.values(), ids=HALF_HOURS)
def test_hours_begin_on_the_hour_or_where_the_clock_is_changed(day: str, tz: str, _hours: float) -> None:
    zone = ZoneInfo(tz)
    for start in starts_of(day, day, "hour", tz):
        before, after = (start - timedelta(seconds=1)).astimezone(zone), start.astimezone(zone)
        assert after.minute == 0 or before.utcoffset() != after.utcoffset(), after.isoformat()


def test_hours_of_berlin_when_clocks_go_back_have_two_at_two() -> None:
    starts = starts_of("2026-10-25", "2026-10-25", "hour", "Europe/Berlin")
    local = [start.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H%z") for start in starts]
    assert local[:5] == ["00+0200", "01+0200", "02+0200", "02+0100", "03+0100"]


@pytest.mark.parametrize(
    "tz", ["Europe/Berlin", "America/Santiago", "Asia/Beirut", "America/Havana", "Australia/Lord_Howe"]
)
def test_days_of_a_year_begin_at_midnight_or_at_their_first_instant(tz: str) -> None:
    zone = ZoneInfo(tz)
    starts = starts_of("2026-01-01", "2026-12-31", "day", tz)
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    assert [start.astimezone(zone).date() for start in starts] == days
    before = [(start - timedelta(seconds=1)).astimezone(zone).date() for start in starts]
    assert before == [day - timedelta(days=1) for day in days]


# Name; first day, last day, interval, zone; the bucket starts.
STARTS: dict[str, tuple[tuple[str, str, Interval, str], list[str]]] = {
    "a day that the zone skipped is no bucket": (
        ("2011-12-29", "2012-01-01", "day", "Pacific/Apia"),
        ["2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00", "2012-01-01T00:00+14:00"],
    ),
    "weeks begin on Monday": (
        ("2026-11-18", "2026-12-01", "week", "Europe/Berlin"),
        ["2026-11-16T00:00+01:00", "2026-11-23T00:00+01:00", "2026-11-30T00:00+01:00"],
    ),
    "a week in which clocks are changed": (
        ("2026-03-23", "2026-03-30", "week", "Europe/Berlin"),
        ["2026-03-23T00:00+01:00", "2026-03-30T00:00+02:00"],
    ),
    "months begin on the first": (
        ("2027-12-15", "2028-03-01", "month", "UTC"),
        ["2027-12-01T00:00Z", "2028-01-01T00:00Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"],
    ),
    "quarters begin with four of the months": (
        ("2027-11-15", "2028-07-01", "quarter", "Europe/Berlin"),
        ["2027-10-01T00:00+02:00", "2028-01-01T00:00+01:00", "2028-04-01T00:00+02:00", "2028-07-01T00:00+02:00"],
    ),
    "years begin on the first of January": (
        ("2027-12-31", "2029-01-01", "year", "America/New_York"),
        ["2027-01-01T00:00-05:00", "2028-01-01T00:00-05:00", "2029-01-01T00:00-05:00"],
    ),
    "no interval is one bucket": (("2026-11-18", "2026-12-01", "none", "UTC"), ["2026-11-18T00:00Z"]),
}


@pytest.mark.parametrize(("days", "expected"), STARTS.values(), ids=STARTS)
def test_bucket_starts(days: tuple[str, str, Interval, str], expected: list[str]) -> None:
    assert starts_of(*days) == [at(text) for text in expected]


def test_week_begins_on_the_day_that_is_asked_for() -> None:
    zone = ZoneInfo("Europe/Berlin")
    sundays = bucket_starts(at("2026-11-22T12:00Z"), at("2026-12-01T00:00Z"), "week", zone, LIMIT, "sunday")
    assert sundays == [at("2026-11-22T00:00+01:00"), at("2026-11-29T00:00+01:00")]


@pytest.mark.parametrize("interval", get_args(Interval))
def test_only_the_first_bucket_may_begin_before_the_time(interval: Interval) -> None:
    start, end = at("2026-11-18T15:07:30Z"), at("2026-11-19T01:00:00Z")
    first, *others = bucket_starts(start, end, interval, ZoneInfo("Asia/Kathmandu"), LIMIT)
    assert first <= start
    assert all(start < other < end for other in others)


def test_number_of_buckets_is_limited() -> None:
    start, end = at("2026-11-18T00:00Z"), at("9998-11-19T00:00Z")
    starts = bucket_starts(start, end, "15m", ZoneInfo("UTC"), 3)
    assert starts == [start, start + timedelta(minutes=15), start + timedelta(minutes=30)]


# Name; start, end, zone; whether that is one whole day.
SPANS: dict[str, tuple[tuple[str, str, str], bool]] = {
    "a day": (("2026-11-22T00:00Z", "2026-11-23T00:00Z", "UTC"), True),
    "a day of another zone": (("2026-11-22T00:00Z", "2026-11-23T00:00Z", "Europe/Berlin"), False),
    "two days": (("2026-11-22T00:00Z", "2026-11-24T00:00Z", "UTC"), False),
    "24 hours": (("2026-11-22T01:00Z", "2026-11-23T01:00Z", "UTC"), False),
    "the rest of a day": (("2026-11-22T01:00Z", "2026-11-23T00:00Z", "UTC"), False),
    "24 hours of a day of 25": (("2026-10-25T00:00+02:00", "2026-10-25T23:00+01:00", "Europe/Berlin"), False),
}


@pytest.mark.parametrize(("span", "expected"), SPANS.values(), ids=SPANS)
def test_calendar_day(span: tuple[str, str, str], expected: bool) -> None:
    start, end, tz = span
    assert is_calendar_day(at(start), at(end), ZoneInfo(tz)) is expected


# Name; start, end; whether they overlap 2026-11-22 in UTC.
OVERLAPS: dict[str, tuple[tuple[str, str], bool]] = {
    "the day": (("2026-11-22T00:00Z", "2026-11-23T00:00Z"), True),
    "until its beginning": (("2026-11-21T00:00Z", "2026-11-22T00:00Z"), False),
    "from its end": (("2026-11-23T00:00Z", "2026-11-24T00:00Z"), False),
    "its last hour, in a zone": (("2026-11-23T00:00+01:00", "2026-11-24T00:00+01:00"), True),
    "around it": (("2026-11-01T00:00Z", "2026-12-01T00:00Z"), True),
}


@pytest.mark.parametrize(("span", "expected"), OVERLAPS.values(), ids=OVERLAPS)
def test_overlap_with_a_utc_day(span: tuple[str, str], expected: bool) -> None:
    assert overlaps_utc_day(date(2026, 11, 22), at(span[0]), at(span[1])) is expected


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Santiago", "Asia/Beirut", "Asia/Kathmandu", "America/Havana"])


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001  UTC is set below
    st.timedeltas(timedelta(minutes=1), timedelta(days=60)),
    st.sampled_from(get_args(Interval)),
    ZONES,
)
def test_bucket_starts_rise_and_cover_the_time(start: datetime, length: timedelta, interval: Interval, tz: str) -> None:
    start = start.replace(tzinfo=UTC)
    starts = bucket_starts(start, start + length, interval, ZoneInfo(tz), LIMIT)
    assert starts[0] <= start
    assert starts[-1] < start + length
    assert all(before < after for before, after in pairwise(starts))


@given(st.dates(date(1971, 1, 1), date(2037, 1, 1)), ZONES)
def test_midnight_is_the_first_instant_of_its_day(day: date, tz: str) -> None:
    zone = ZoneInfo(tz)
    first = midnight(day, zone)
    assert first.astimezone(zone).date() >= day
    assert (first - timedelta(microseconds=1)).astimezone(zone).date() < day


# Zones whose offsets or changes are not whole hours, or that crossed the date line.
ODD_ZONES = st.sampled_from(
    [
        *["UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Santiago", "Asia/Beirut"],
        *["Asia/Kathmandu", "Asia/Kolkata", "Asia/Tehran", "America/St_Johns", "Pacific/Chatham"],
        *[
            "Australia/Lord_Howe",
            "Antarctica/Troll",
            "Asia/Pyongyang",
            "America/Caracas",
            "Pacific/Apia",
            "Pacific/Kiritimati",
        ],
    ]
)
LONG_BUCKETS = {"day": 1, "week": 7, "month": 30, "quarter": 30, "year": 60}


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001  UTC is set below
    st.timedeltas(timedelta(minutes=1), timedelta(days=400)),
    st.sampled_from(["15m", "hour", "day", "week", "month", "quarter", "year"]),
    ODD_ZONES,
    st.integers(1, 3000),
)
def test_bucket_starts_are_those_of_a_walk_over_the_clock(
    start: datetime, length: timedelta, interval: Interval, tz: str, limit: int
) -> None:
    start, zone = start.replace(tzinfo=UTC), ZoneInfo(tz)
    end = start + length * LONG_BUCKETS.get(interval, 1)
    expected = list(islice(takewhile(lambda moment: moment < end, walk(start, interval, zone)), limit + 1))
    assert bucket_starts(start, end, interval, zone, limit + 1) == expected
    assert has_more_buckets(start, end, interval, zone, limit) == (len(expected) > limit)


def walk(start: datetime, interval: Interval, zone: ZoneInfo) -> Iterator[datetime]:
    """Bucket starts, each looked for a quarter of an hour or a day at a time."""
    local, quarter = start.astimezone(zone), timedelta(minutes=15)
    if interval not in {"15m", "hour"}:
        yield from walk_days(local.date(), interval, zone)
    minutes = 15 if interval == "15m" else 60
    moment = start - timedelta(minutes=local.minute % minutes, seconds=local.second, microseconds=local.microsecond)
    while True:
        yield moment
        before, moment = moment, moment + quarter
        while minutes == 60 and (local := moment.astimezone(zone)).minute:
            if local.utcoffset() != before.astimezone(zone).utcoffset():
                break
            before, moment = moment, moment + quarter


def walk_days(day: date, interval: Interval, zone: ZoneInfo) -> Iterator[datetime]:
    while not begins(day, interval):
        day -= timedelta(days=1)
    while True:
        moment = midnight(day, zone)
        day += timedelta(days=1)
        while not begins(day, interval):
            day += timedelta(days=1)
        if midnight(day, zone) > moment:
            yield moment


def begins(day: date, interval: Interval) -> bool:
    """Whether an interval begins on that day."""
    first = day.day == 1
    return {
        "week": day.isoweekday() == 1,
        "month": first,
        "quarter": first and day.month in (1, 4, 7, 10),
        "year": first and day.month == 1,
    }.get(interval, True)


class CountingZone(ZoneInfo):
    """How often its clock is read."""

    readings = 0

    def fromutc(self, moment: datetime) -> datetime:
        CountingZone.readings += 1
        return super().fromutc(moment)


@pytest.mark.parametrize("tz", ["UTC", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_hours_are_computed_and_not_looked_for(tz: str) -> None:
    start, zone = at("2026-01-01T00:00Z"), CountingZone.no_cache(tz)
    CountingZone.readings = 0
    assert len(bucket_starts(start, at("2030-01-01T00:00Z"), "hour", zone, 10_000)) == 10_000
    assert 0 < CountingZone.readings < 3_000


@pytest.mark.parametrize("interval", ["15m", "hour", "day", "week", "month", "quarter", "year"])
def test_time_that_is_far_too_long_is_refused_without_its_buckets(interval: Interval) -> None:
    zone = CountingZone.no_cache("Australia/Lord_Howe")
    CountingZone.readings = 0
    assert has_more_buckets(at("1970-01-01T00:00Z"), at("9998-01-01T00:00Z"), interval, zone, 1000)
    assert CountingZone.readings == 0


@pytest.mark.parametrize(
    "zone", [ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("America/New_York")], ids=str
)
@pytest.mark.parametrize("interval", ["day", "week", "month", "quarter", "year"])
def test_buckets_end_with_the_last_year_that_can_be_asked(interval: Interval, zone: ZoneInfo) -> None:
    """`to` may be 9998-12-31: the bucket after it would begin in the year 10000."""
    start, end = (midnight(date(year, 1, 1), zone) for year in (9997, 9999))
    found = bucket_starts(start, end, interval, zone, 10_000)
    assert found[0] <= start and found[-1] < end
    if interval == "year":
        assert found == [start, midnight(date(9998, 1, 1), zone)]
