"""With what a report is compared: to the letter on days when clocks change, on leap
days and on a day that is not over; and numbers that equal a recount of both times.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect.encode import Line
from reports.encode import encode_report
from reports.query import Query, parse
from reports.query_error import QueryError
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.timestamps import epoch_ms
from tests.builders.logs import data_directory, fold, line, sealed

LONG_AFTER = datetime(2030, 1, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def query(now: datetime = LONG_AFTER, **parameters: str) -> Query:
    return parse({name.rstrip("_"): text for name, text in parameters.items()}, now, "UTC")


# Name; parameters; start and end of the earlier time.
SPANS: dict[str, tuple[dict[str, str], str, str]] = {
    "a week": (
        {"from": "2026-11-16", "to": "2026-11-22", "compare": "previous"},
        "2026-11-09T00:00+00:00",
        "2026-11-16T00:00+00:00",
    ),
    "a month is as many days": (
        {"from": "2026-03-01", "to": "2026-03-31", "compare": "previous"},
        "2026-01-29T00:00+00:00",
        "2026-03-01T00:00+00:00",
    ),
    "the day after clocks went forward": (
        {"from": "2026-03-30", "to": "2026-03-30", "tz": BERLIN, "compare": "previous"},
        "2026-03-29T00:00+01:00",
        "2026-03-30T00:00+02:00",
    ),
    "a day of 25 hours": (
        {"from": "2026-10-25", "to": "2026-10-25", "tz": BERLIN, "compare": "previous"},
        "2026-10-24T00:00+02:00",
        "2026-10-25T00:00+02:00",
    ),
    "instants are as long": (
        {"from": "2026-03-29T00:30:00+01:00", "to": "2026-03-29T04:30:00+02:00", "tz": BERLIN, "compare": "previous"},
        "2026-03-28T21:30+01:00",
        "2026-03-29T00:30+01:00",
    ),
    "the same dates a year before": (
        {"from": "2026-11-16", "to": "2026-11-22", "compare": "year"},
        "2025-11-16T00:00+00:00",
        "2025-11-23T00:00+00:00",
    ),
    "February after a leap year": (
        {"from": "2025-02-01", "to": "2025-02-28", "compare": "year"},
        "2024-02-01T00:00+00:00",
        "2024-03-01T00:00+00:00",
    ),
    "February of a leap year": (
        {"from": "2024-02-01", "to": "2024-02-29", "compare": "year"},
        "2023-02-01T00:00+00:00",
        "2023-03-01T00:00+00:00",
    ),
    "a time on a leap day": (
        {"from": "2024-02-28T12:00:00Z", "to": "2024-02-29T12:00:00Z", "compare": "year"},
        "2023-02-28T12:00+00:00",
        "2023-03-01T00:00+00:00",
    ),
    "a year before by the clock": (
        {"from": "2026-03-28T12:00:00+01:00", "to": "2026-03-31T12:00:00+02:00", "tz": BERLIN, "compare": "year"},
        "2025-03-28T12:00+01:00",
        "2025-03-31T12:00+02:00",
    ),
}


@pytest.mark.parametrize(("parameters", "start", "end"), SPANS.values(), ids=SPANS)
def test_earlier_time(parameters: dict[str, str], start: str, end: str) -> None:
    found = query(LONG_AFTER, **parameters).compared
    assert found is not None
    assert (found.start, found.end) == (datetime.fromisoformat(start), datetime.fromisoformat(end))


def test_leap_day_alone_has_no_day_a_year_before() -> None:
    found = query(from_="2024-02-29", to="2024-02-29", compare="year").compared
    assert found is not None
    assert found.start == found.end
    assert found.buckets == (None,)


# When the question is asked; until when the day before it is compared.
PARTIAL = [
    ("2026-11-22T00:00:00Z", "2026-11-21T00:15:00Z"),
    ("2026-11-22T09:07:00Z", "2026-11-21T09:15:00Z"),
    ("2026-11-22T09:15:00Z", "2026-11-21T09:30:00Z"),
    ("2026-11-22T23:59:00Z", "2026-11-22T00:00:00Z"),
    ("2026-11-23T09:00:00Z", "2026-11-22T00:00:00Z"),
]


@pytest.mark.parametrize(("now", "end"), PARTIAL)
def test_day_that_is_not_over_is_compared_with_as_much(now: str, end: str) -> None:
    asked = query(datetime.fromisoformat(now), from_="2026-11-22", to="2026-11-22", compare="previous")
    assert asked.compared is not None
    assert asked.compared.end == datetime.fromisoformat(end)


def test_time_to_come_is_compared_with_nothing() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    found = query(now, from_="2026-11-22", to="2026-11-22", compare="previous").compared
    assert found is not None
    assert found.start == found.end


def test_rows_after_now_have_no_counterpart() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    found = query(now, from_="2026-11-18", to="2026-11-22", interval="day", compare="previous").compared
    assert found is not None
    assert [None if each is None else each.day for each in found.buckets] == [13, 14, 15, None, None]


def test_hour_that_the_earlier_clock_skipped_is_no_counterpart() -> None:
    asked = query(from_="2026-03-30", to="2026-03-30", tz=BERLIN, interval="hour", compare="previous")
    assert asked.compared is not None
    hours = [each and each.astimezone(asked.zone).hour for each in asked.compared.buckets]
    assert hours == [0, 1, None, *range(3, 24)]


def test_leap_day_row_has_no_counterpart_and_the_day_before_has_one() -> None:
    found = query(from_="2024-02-28", to="2024-03-01", interval="day", compare="year").compared
    assert found is not None
    assert [each and each.date().isoformat() for each in found.buckets] == ["2023-02-28", None, "2023-03-01"]


@pytest.mark.parametrize("compare", ["previous", "year"])
@pytest.mark.parametrize("span", [("1970-01-01", "1970-01-02"), ("1970-06-01", "9998-12-29")])
def test_nothing_is_compared_with_a_time_before_1970(compare: str, span: tuple[str, str]) -> None:
    with pytest.raises(QueryError) as caught:
        query(from_=span[0], to=span[1], compare=compare)
    assert caught.value.parameter == "compare"


def test_unknown_comparison_is_named_in_the_error() -> None:
    with pytest.raises(QueryError, match="compare: must be one of previous, year"):
        query(compare="month")


ZONES = ["UTC", BERLIN, "America/Santiago", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia", "America/Havana"]


@given(
    st.datetimes(datetime(1973, 1, 1), datetime(2029, 1, 1)),  # noqa: DTZ001  UTC is set below
    st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(20)),
    st.sampled_from(["15m", "hour", "day", "week", "month"]),
    st.sampled_from(ZONES),
    st.sampled_from(["previous", "year"]),
)
def test_counterparts_rise_within_the_earlier_time(
    start: datetime, length: Any, interval: str, zone: str, compare: str
) -> None:
    first = start.replace(tzinfo=UTC)
    asked = query(from_=first.isoformat(), to=(first + length).isoformat(), interval=interval, tz=zone, compare=compare)
    found = asked.compared
    assert found is not None
    assert len(found.buckets) == len(asked.bucket_starts())
    places = [each for each in found.buckets if each is not None]
    assert places == sorted(set(places))
    assert all(found.start <= each < found.end for each in places)


FIRST = epoch_ms("2025-10-20T00:00:00Z")
DAY_MS = 86_400_000
NOW = datetime(2026, 10, 28, 13, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataDirectory, list[Line]]:
    """Two weeks in October of two years."""
    pick, data = random.Random(5), data_directory(tmp_path_factory.mktemp("compare"))
    events = []
    for number in range(900):
        at = FIRST + pick.choice([0, 365]) * DAY_MS + pick.randrange(14 * DAY_MS)
        if at < NOW.timestamp() * 1000:
            path = pick.choice("abcd") if number % 7 else None
            url = f"https://example.com/{path}" if path else None
            value = pick.choice([None, 1.5, 4])
            events.append(line(f"event-{number:04d}", at, at, url=url, visitor=f"v-{pick.randrange(40)}", value=value))
    for month in ("2025", "2026"):
        of = [event for event in events if event.time.startswith(month)]
        sealed(data, of)
        fold(data, epoch_ms(max(event.time for event in of)))
    return data, events


def report(data: DataDirectory, **parameters: str) -> dict[str, Any]:
    with connect(256 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), query(NOW, **parameters))


def numbers(events: list[Line]) -> dict[str, Any]:
    return {
        "events": len(events),
        "visitors": len({event.visitor for event in events}),
        "value_sum": sum(float(event.value or 0) for event in events),
    }


def between(events: list[Line], start: str, end: str, path: str | None = "") -> list[Line]:
    """`path`: "" for all."""
    found = [event for event in events if start <= event.time < end]
    return [event for event in found if path == "" or path_of(event) == path]


def path_of(event: Line) -> str | None:
    return event.url.removeprefix("https://example.com") if event.url else None


MEASURES = {"measures": "events,visitors,value_sum"}
# Parameters; the time asked for and the earlier one, as texts that compare like times.
TIMES: list[tuple[dict[str, str], tuple[str, str], tuple[str, str]]] = [
    (
        {"from_": "2026-10-25", "to": "2026-10-27", "compare": "previous"},
        ("2026-10-25", "2026-10-28"),
        ("2026-10-22", "2026-10-25"),
    ),
    (
        {"from_": "2026-10-20", "to": "2026-10-27", "compare": "year"},
        ("2026-10-20", "2026-10-28"),
        ("2025-10-20", "2025-10-28"),
    ),
    (
        {"from_": "2026-10-27", "to": "2026-10-28", "compare": "previous"},
        ("2026-10-27", "2026-10-29"),
        ("2026-10-25", "2026-10-26T13:15"),
    ),
]


@pytest.mark.parametrize(("asked", "now", "before"), TIMES)
@pytest.mark.parametrize("more", [{}, {"filter": "value>1"}])
def test_totals_and_values_equal_a_recount_of_both_times(
    folded: tuple[DataDirectory, list[Line]],
    asked: dict[str, str],
    now: tuple[str, str],
    before: tuple[str, str],
    more: dict[str, str],
) -> None:
    data, events = folded
    kept = [event for event in events if not more or event.value is not None]
    made = report(data, **asked, **MEASURES, **more)
    assert_compared(made["total"], numbers(between(kept, *now)), numbers(between(kept, *before)))
    assert made["rows"] == [made["total"]]
    made = report(data, **asked, **MEASURES, **more, by="path", limit="3")
    assert len(made["rows"]) == 3
    for row in made["rows"]:
        value = row.pop("value")
        assert_compared(row, numbers(between(kept, *now, value)), numbers(between(kept, *before, value)))
    assert_compared(made["total"], numbers(between(kept, *now)), numbers(between(kept, *before)))


def assert_compared(row: dict[str, Any], now: dict[str, Any], before: dict[str, Any]) -> None:
    change = {name: (now[name] - before[name]) / before[name] if before[name] else None for name in now}
    assert row == {**now, "previous": before, "change": change}


@pytest.mark.parametrize("by", [{}, {"by": "path"}])
def test_each_day_is_compared_with_its_own(folded: tuple[DataDirectory, list[Line]], by: dict[str, str]) -> None:
    data, events = folded
    made = report(data, from_="2026-10-24", to="2026-10-28", interval="day", compare="previous", **MEASURES, **by)
    assert (made["previous_from"], made["previous_to"]) == ("2026-10-19T00:00:00+00:00", "2026-10-23T13:15:00+00:00")
    days = {f"2026-10-{24 + n}": f"2026-10-{19 + n}" for n in range(5)}
    for row in made["rows"]:
        day, value = row.pop("time")[:10], row.pop("value", "")
        earlier = row["previous"].pop("time")
        assert earlier[:10] == days[day]
        until = "2026-10-23T13:15" if day == "2026-10-28" else f"{days[day]}T24"
        assert_compared(
            row,
            numbers(between(events, day, f"{day}T24", value)),
            numbers(between(events, days[day], until, value)),
        )
    assert len(made["rows"]) >= 5


def test_days_between_both_times_are_not_read(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, _ = folded
    asked = query(NOW, from_="2026-10-27", to="2026-10-27", compare="year")
    days = [day for day in load_snapshot(data).days if asked.reads(day)]
    assert [day.isoformat() for day in days] == ["2025-10-27", "2026-10-27"]


def test_visitors_left_out_and_a_limit_keep_the_earlier_total(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, events = folded
    asked = {"from_": "2026-10-20", "to": "2026-10-27", "compare": "year", "by": "path", "limit": "1"}
    made = report(data, **asked, visitors="none")
    assert made["total"]["previous"] == {"events": len(between(events, "2025-10-20", "2025-10-28"))}


def test_csv_has_a_column_for_each_number(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, _ = folded
    made = report(data, from_="2026-10-27", to="2026-10-27", interval="day", compare="previous", by="path")
    header, first, *_ = encode_report(made, "csv").decode().splitlines()
    assert header == (
        "time,value,events,visitors,previous_time,previous_events,previous_visitors,change_events,change_visitors"
    )
    row = made["rows"][0]
    assert first.split(",")[2:6] == [
        str(row["events"]),
        str(row["visitors"]),
        row["previous"]["time"],
        str(row["previous"]["events"]),
    ]


@pytest.mark.parametrize("by", [{}, {"by": "path"}, {"by": "entry", "measures": "visits,bounce_rate"}])
def test_visits_of_the_earlier_time_are_those_of_its_own_report(
    folded: tuple[DataDirectory, list[Line]], by: dict[str, str]
) -> None:
    data, _ = folded
    asked = {"measures": "visits,events", **by}
    made = report(data, from_="2026-10-20", to="2026-10-27", compare="year", **asked, limit="1")
    earlier = report(data, from_="2025-10-20", to="2025-10-27", **asked)
    assert made["total"]["previous"] == earlier["total"]
    (row,) = made["rows"]
    (expected,) = [each for each in earlier["rows"] if each.get("value") == row.get("value")]
    expected.pop("value", None)
    assert row["previous"] == expected
