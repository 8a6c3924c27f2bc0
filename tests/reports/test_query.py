"""The grammar of a report: what each parameter may say, and where days, weeks and
months begin when clocks are set.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.query import BUCKETS_MAX, FILTERS_MAX, LIMIT_MAX, Condition, Query, QueryError, edges, midnight, parse
from shared.schema import DIMENSIONS

NOW = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)


def query(given: Mapping[str, str] | None = None, zone: str = "UTC", **parameters: str) -> Query:
    """Parsed parameters; `from_` stands for `from`."""
    named = {name.rstrip("_"): value for name, value in parameters.items()}
    return parse({**(given or {}), **named}, NOW, zone)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


SPANS: dict[str, tuple[dict[str, str], str, str]] = {
    "the seven days that end today": ({}, "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
    "today is where the zone is": ({"tz": "Pacific/Auckland"}, "2026-11-17T00:00+13:00", "2026-11-24T00:00+13:00"),
    "one day": ({"from": "2026-11-22", "to": "2026-11-22"}, "2026-11-22T00:00Z", "2026-11-23T00:00Z"),
    "one day in a zone": (
        {"from": "2026-11-22", "to": "2026-11-22", "tz": "Europe/Berlin"},
        "2026-11-22T00:00+01:00",
        "2026-11-23T00:00+01:00",
    ),
    "from alone ends today": ({"from": "2026-11-01"}, "2026-11-01T00:00Z", "2026-11-23T00:00Z"),
    "to alone begins six days before": ({"to": "2026-03-07"}, "2026-03-01T00:00Z", "2026-03-08T00:00Z"),
    "instants are half open": (
        {"from": "2026-11-22T15:00:00Z", "to": "2026-11-22T16:00:00Z"},
        "2026-11-22T15:00Z",
        "2026-11-22T16:00Z",
    ),
    "instants have zones of their own": (
        {"from": "2026-11-22T15:00:00+01:00", "to": "2026-11-22T16:00:00-05:00", "tz": "Asia/Tokyo"},
        "2026-11-22T14:00Z",
        "2026-11-22T21:00Z",
    ),
    "a plus that a URL made a blank": (
        {"from": "2026-11-22T15:00:00 01:00", "to": "2026-11-23"},
        "2026-11-22T14:00Z",
        "2026-11-24T00:00Z",
    ),
    "empty is absent": ({"from": "", "to": "", "tz": ""}, "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
    "a leap day": ({"from": "2028-02-29", "to": "2028-02-29"}, "2028-02-29T00:00Z", "2028-03-01T00:00Z"),
}


@pytest.mark.parametrize(("given", "start", "end"), SPANS.values(), ids=SPANS)
def test_span(given: dict[str, str], start: str, end: str) -> None:
    found = query(given)
    assert (found.start, found.end) == (at(start), at(end))


def test_default_zone_is_that_of_the_settings() -> None:
    assert query(zone="Asia/Tokyo", from_="2026-11-22").start == at("2026-11-22T00:00+09:00")
    assert query(zone="Asia/Tokyo", tz="UTC", from_="2026-11-22").start == at("2026-11-22T00:00Z")


GOOD: dict[str, tuple[dict[str, str], str, object]] = {
    "interval none": ({"interval": "none"}, "interval", "none"),
    "interval hour": ({"interval": "hour"}, "interval", "hour"),
    "interval empty": ({"interval": ""}, "interval", "none"),
    "by a dimension": ({"by": "path"}, "by", "path"),
    "by a property": ({"by": "props.plan"}, "by", "props.plan"),
    "by a property with points": ({"by": "props.a.b c"}, "by", "props.a.b c"),
    "by a property of 100 characters": ({"by": "props." + "k" * 100}, "by", "props." + "k" * 100),
    "by empty": ({"by": ""}, "by", None),
    "event": ({"event": "sign up; or -- not"}, "event", "sign up; or -- not"),
    "event empty": ({"event": ""}, "event", None),
    "site": ({"site": "example.com"}, "site", "example.com"),
    "limit 1": ({"limit": "1"}, "limit", 1),
    "limit at its limit": ({"limit": str(LIMIT_MAX)}, "limit", LIMIT_MAX),
    "limit with zeros": ({"limit": "00010"}, "limit", 10),
    "limit empty": ({"limit": ""}, "limit", 100),
    "bots include": ({"bots": "include"}, "bots", "include"),
    "bots only": ({"bots": "only"}, "bots", "only"),
    "bots by default": ({}, "bots", "exclude"),
    "visitors none": ({"visitors": "none"}, "visitors", "none"),
    "visitors by default": ({}, "visitors", "exact"),
    "format is for whoever writes the answer": ({"format": "csv"}, "interval", "none"),
}


@pytest.mark.parametrize(("given", "field", "expected"), GOOD.values(), ids=GOOD)
def test_parameter_is_understood(given: dict[str, str], field: str, expected: object) -> None:
    assert getattr(query(given), field) == expected


def test_every_dimension_may_be_asked_for() -> None:
    assert [query(by=name).by for name in DIMENSIONS] == list(DIMENSIONS)


BAD: dict[str, tuple[dict[str, str], str]] = {
    "an unknown parameter": ({"form": "2026-11-22"}, "form"),
    "a parameter in another case": ({"From": "2026-11-22"}, "From"),
    "from a word": ({"from": "yesterday"}, "from"),
    "from without a zone": ({"from": "2026-11-22T15:00:00"}, "from"),
    "from no day of any calendar": ({"from": "2026-02-29"}, "from"),
    "from before 1970": ({"from": "1969-12-31T23:59:59Z"}, "from"),
    "from in year 9999": ({"from": "9999-12-31T00:00:00Z"}, "from"),
    "from after to": ({"from": "2026-11-23", "to": "2026-11-22"}, "from"),
    "from at to": ({"from": "2026-11-22T15:00:00Z", "to": "2026-11-22T15:00:00Z"}, "from"),
    "from tomorrow": ({"from": "2026-11-24"}, "from"),
    "to a word": ({"to": "x" * 10}, "to"),
    "to the end of time": ({"to": "9999-12-31"}, "to"),
    "to with SQL": ({"to": "2026-11-22'; DROP TABLE x; --"}, "to"),
    "tz unknown": ({"tz": "Mars/Olympus"}, "tz"),
    "tz a path": ({"tz": "../../etc/passwd"}, "tz"),
    "tz an absolute path": ({"tz": "/etc/localtime"}, "tz"),
    "tz a folder": ({"tz": "Europe"}, "tz"),
    "tz a file that is no zone": ({"tz": "zone.tab"}, "tz"),
    "tz with NUL": ({"tz": "UTC\0"}, "tz"),
    "tz with a lone surrogate": ({"tz": "\udcff"}, "tz"),
    "tz very long": ({"tz": "x" * 10_000}, "tz"),
    "interval unknown": ({"interval": "minute"}, "interval"),
    "interval in another case": ({"interval": "Day"}, "interval"),
    "interval that makes too many rows": ({"from": "2026-01-01", "to": "2026-12-31", "interval": "15m"}, "interval"),
    "by unknown": ({"by": "visitor"}, "by"),
    "by no property": ({"by": "props."}, "by"),
    "by a property of 101 characters": ({"by": "props." + "k" * 101}, "by"),
    "by SQL": ({"by": "path; DROP TABLE x"}, "by"),
    "limit 0": ({"limit": "0"}, "limit"),
    "limit negative": ({"limit": "-1"}, "limit"),
    "limit above its limit": ({"limit": str(LIMIT_MAX + 1)}, "limit"),
    "limit a fraction": ({"limit": "1.5"}, "limit"),
    "limit a word": ({"limit": "all"}, "limit"),
    "limit in other digits": ({"limit": "١٢"}, "limit"),
    "limit of 5000 digits": ({"limit": "9" * 5000}, "limit"),
    "bots unknown": ({"bots": "yes"}, "bots"),
    "filter with one =": ({"filter": "path=/a"}, "filter"),
    "filter without a field": ({"filter": "==a"}, "filter"),
    "filter over an unknown field": ({"filter": "visitor==a"}, "filter"),
    "filter over no property": ({"filter": "props.==a"}, "filter"),
    "filter over a property of 101 characters": ({"filter": f"props.{'k' * 101}==a"}, "filter"),
    "filter with a good and a bad condition": ({"filter": "path==/a;x"}, "filter"),
    "filter with too many conditions": ({"filter": ";".join(["path==/a"] * (FILTERS_MAX + 1))}, "filter"),
    "filter with SQL for a field": ({"filter": "1=1 OR path==/a"}, "filter"),
}


@pytest.mark.parametrize(("given", "parameter"), BAD.values(), ids=BAD)
def test_parameter_that_is_not_understood_is_named(given: dict[str, str], parameter: str) -> None:
    with pytest.raises(QueryError) as caught:
        query(given)
    assert caught.value.parameter == parameter
    assert str(caught.value).startswith(f"{parameter}: ")


ENDS_OF_TIME = {
    "a week before the first day": {"to": "0001-01-03"},
    "the first day in the east": {"to": "0001-01-01", "tz": "Asia/Tokyo"},
    "the month after the last": {"from": "9999-12-01", "to": "9999-12-30", "interval": "month"},
    "the week after the last": {"from": "9999-12-20", "to": "9999-12-30", "interval": "week"},
}


@pytest.mark.parametrize("given", ENDS_OF_TIME.values(), ids=ENDS_OF_TIME)
def test_end_of_the_calendar_is_a_bad_parameter(given: dict[str, str]) -> None:
    with pytest.raises(QueryError):
        query(given)


FILTERS: dict[str, tuple[str, list[Condition]]] = {
    "one": ("path==/a", [Condition("path", True, "/a")]),
    "not": ("country!=DE", [Condition("country", False, "DE")]),
    "two": ("path==/a;country!=DE", [Condition("path", True, "/a"), Condition("country", False, "DE")]),
    "empty": ("", []),
    "only semicolons": (";;", []),
    "a last semicolon": ("path==/a;", [Condition("path", True, "/a")]),
    "an escaped semicolon": (r"path==/a\;b", [Condition("path", True, "/a;b")]),
    "escaped semicolons and a plain one": (
        r"path==\;a\;;browser==x",
        [Condition("path", True, ";a;"), Condition("browser", True, "x")],
    ),
    "a backslash of its own": (r"path==a\b", [Condition("path", True, r"a\b")]),
    "no value: events that have none": ("referrer==", [Condition("referrer", True, "")]),
    "any value": ("referrer!=", [Condition("referrer", False, "")]),
    "a property": ("props.plan==pro", [Condition("props.plan", True, "pro")]),
    "a property with blanks and points": ("props.a b.c==d", [Condition("props.a b.c", True, "d")]),
    "= in the value": ("path==a==b!=c", [Condition("path", True, "a==b!=c")]),
    "a newline in the value": ("path==a\nb", [Condition("path", True, "a\nb")]),
    "quotes in the value": ("path==a'b\"c", [Condition("path", True, "a'b\"c")]),
    "as many as may be": (";".join(["path==/a"] * FILTERS_MAX), [Condition("path", True, "/a")] * FILTERS_MAX),
}


@pytest.mark.parametrize(("text", "expected"), FILTERS.values(), ids=FILTERS)
def test_filter_grammar(text: str, expected: list[Condition]) -> None:
    assert list(query(filter=text).conditions) == expected


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\\", exclude_categories=["Cs"]), min_size=1))
def test_any_value_can_be_asked_for(value: str) -> None:
    escaped = value.replace(";", r"\;")
    assert query(filter=f"path=={escaped};os!=x").conditions == (
        Condition("path", True, value),
        Condition("os", False, "x"),
    )


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["to", "tz", "interval", "by", "event", "site", "filter", "limit", "bots"]),
        st.text(max_size=12)
        | st.sampled_from(["day", "path", "UTC", "2026-11-22", "1", "only", "props.x", "path==/a"]),
    )
)
def test_any_parameters_are_a_query_or_a_named_error(given: dict[str, str]) -> None:
    try:
        found = query(given)
    except QueryError as error:
        assert error.parameter in {*given, "from"}
    else:
        assert found.start < found.end


# A day, a zone, and how many hours the day has there.
DAYS = {
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


@pytest.mark.parametrize(("day", "tz", "hours"), DAYS.values(), ids=DAYS)
def test_day_has_as_many_hours_as_its_zone_gives_it(day: str, tz: str, hours: float) -> None:
    found = query(from_=day, to=day, tz=tz, interval="day")
    assert found.end - found.start == timedelta(hours=hours)
    assert edges(found) == [found.start]


@pytest.mark.parametrize(("day", "tz", "hours"), DAYS.values(), ids=DAYS)
def test_quarters_of_a_day(day: str, tz: str, hours: float) -> None:
    found = query(from_=day, to=day, tz=tz, interval="15m")
    assert edges(found) == [found.start + timedelta(minutes=15) * n for n in range(int(hours * 4))]


WHOLE_HOURS = {name: row for name, row in DAYS.items() if row[2] == int(row[2])}
HALF_HOURS = {name: row for name, row in DAYS.items() if row[2] != int(row[2])}


@pytest.mark.parametrize(("day", "tz", "hours"), WHOLE_HOURS.values(), ids=WHOLE_HOURS)
def test_hours_of_a_day(day: str, tz: str, hours: float) -> None:
    found = query(from_=day, to=day, tz=tz, interval="hour")
    assert edges(found) == [found.start + timedelta(hours=n) for n in range(int(hours))]


@pytest.mark.parametrize(("day", "tz", "hours"), HALF_HOURS.values(), ids=HALF_HOURS)
def test_hours_begin_on_the_hour_or_where_the_clock_is_set(day: str, tz: str, hours: float) -> None:
    found = query(from_=day, to=day, tz=tz, interval="hour")
    zone = ZoneInfo(tz)
    for edge in edges(found):
        before, after = (edge - timedelta(seconds=1)).astimezone(zone), edge.astimezone(zone)
        assert after.minute == 0 or before.utcoffset() != after.utcoffset(), after.isoformat()


def test_hours_of_berlin_when_clocks_go_back_have_two_at_two() -> None:
    found = query(from_="2026-10-25", to="2026-10-25", tz="Europe/Berlin", interval="hour")
    local = [edge.astimezone(found.zone).strftime("%H%z") for edge in edges(found)]
    assert local[:5] == ["00+0200", "01+0200", "02+0200", "02+0100", "03+0100"]


def test_days_of_a_year_begin_at_midnight_or_when_it_is_over() -> None:
    for tz in ("Europe/Berlin", "America/Santiago", "Asia/Beirut", "America/Havana", "Australia/Lord_Howe"):
        found = query(from_="2026-01-01", to="2026-12-31", tz=tz, interval="day")
        days = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
        assert [edge.astimezone(found.zone).date() for edge in edges(found)] == days
        before = [(edge - timedelta(seconds=1)).astimezone(found.zone).date() for edge in edges(found)]
        assert before == [day - timedelta(days=1) for day in days]


def test_day_that_a_zone_skipped_is_no_bucket() -> None:
    found = query(from_="2011-12-29", to="2012-01-01", tz="Pacific/Apia", interval="day")
    assert [edge.astimezone(found.zone).day for edge in edges(found)] == [29, 31, 1]


def test_weeks_begin_on_monday() -> None:
    found = query(from_="2026-11-18", to="2026-12-01", tz="Europe/Berlin", interval="week")
    assert edges(found) == [at(f"2026-{day}T00:00+01:00") for day in ("11-16", "11-23", "11-30")]


def test_week_in_which_clocks_are_set_is_a_week() -> None:
    found = query(from_="2026-03-23", to="2026-03-30", tz="Europe/Berlin", interval="week")
    assert edges(found) == [at("2026-03-23T00:00+01:00"), at("2026-03-30T00:00+02:00")]


def test_months_begin_on_the_first() -> None:
    found = query(from_="2027-12-15", to="2028-03-01", interval="month")
    assert edges(found) == [at(f"{month}-01T00:00Z") for month in ("2027-12", "2028-01", "2028-02", "2028-03")]


def test_first_edge_is_at_or_before_the_start() -> None:
    for interval in ("15m", "hour", "day", "week", "month"):
        found = query(from_="2026-11-18T15:07:30Z", to="2026-11-19T01:00:00Z", tz="Asia/Kathmandu", interval=interval)
        first = edges(found)[0]
        assert first <= found.start
        assert all(edge > found.start for edge in edges(found)[1:])


def test_number_of_rows_is_limited_exactly() -> None:
    end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=BUCKETS_MAX)
    assert len(edges(query(from_="2026-01-01T00:00:00Z", to=end.isoformat(), interval="hour"))) == BUCKETS_MAX
    with pytest.raises(QueryError, match="interval"):
        query(from_="2026-01-01T00:00:00Z", to=(end + timedelta(hours=1)).isoformat(), interval="hour")


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Santiago", "Asia/Beirut", "Asia/Kathmandu", "America/Havana"])


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001  made UTC below
    st.timedeltas(timedelta(minutes=1), timedelta(days=60)),
    st.sampled_from(["15m", "hour", "day", "week", "month"]),
    ZONES,
)
def test_edges_rise_and_cover_the_span(start: datetime, length: timedelta, interval: str, tz: str) -> None:
    begins = start.replace(tzinfo=UTC)
    found = query(from_=begins.isoformat(), to=(begins + length).isoformat(), interval=interval, tz=tz)
    starts = edges(found)
    assert starts[0] <= found.start
    assert starts[-1] < found.end
    assert all(before < after for before, after in pairwise(starts))


@settings(deadline=None)
@given(st.dates(date(1971, 1, 1), date(2037, 1, 1)), ZONES)
def test_midnight_is_the_first_instant_of_its_day(day: date, tz: str) -> None:
    zone = ZoneInfo(tz)
    first = midnight(day, zone)
    assert first.astimezone(zone).date() >= day
    assert (first - timedelta(microseconds=1)).astimezone(zone).date() < day
