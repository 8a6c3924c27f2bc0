"""Which parts a report reads: counters where they suffice, the archive otherwise, and
nothing where it has expired. No file exists in these tests.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from reports.kinds import kind_of
from reports.plan import ArchiveScan, BreakdownRead, CounterScan, Parts, Plan, SeriesRead, counters_suffice, days_of
from reports.query import Query, parse
from shared.generations.snapshot import Day, Part, Snapshot

NOW = datetime(2026, 11, 22, 16, tzinfo=UTC)
FIRST = date(2026, 11, 16)


def part(generation: int) -> Part:
    return Part(generation, 1, 1, "")


def days(**changes: object) -> dict[date, Day]:
    """Seven days, each of two archive parts and counters; `changes` are those of the
    first day.
    """
    whole = {FIRST + timedelta(days=n): Day("", (part(1), part(2)), counters=(part(2),)) for n in range(7)}
    first: dict[str, object] = {"archive": (part(1), part(2)), "counters": (part(2),), **changes}
    return whole | {FIRST: Day("", **first)}  # type: ignore[arg-type]


def query(**parameters: str) -> Query:
    return parse({name.rstrip("_"): value for name, value in parameters.items()}, NOW, "UTC")


def plan(of: dict[date, Day], **parameters: str) -> Plan:
    wanted = query(**parameters)
    return kind_of(wanted).plan(wanted, days_of(Snapshot(days=of), wanted))


def read_days(parts: Parts) -> list[int]:
    return sorted({each.day.day for each in parts})


# Name; changes of the first day, parameters; whether the counters suffice.
SUFFICE: dict[str, tuple[dict[str, object], dict[str, str], bool]] = {
    "no filter": ({}, {}, True),
    "by a dimension": ({}, {"by": "path"}, True),
    "by a property": ({}, {"by": "props.plan"}, False),
    "a filter": ({}, {"filter": "path==/a"}, False),
    "an event": ({}, {"event": "signup"}, True),
    "an event, where events are capped": ({"capped": ("event",)}, {"event": "signup"}, False),
    "a site, where sites are capped": ({"capped": ("site",)}, {"site": "example.com"}, False),
    "an event, where paths are capped": ({"capped": ("path",)}, {"event": "signup"}, True),
    "from a quarter of an hour": ({}, {"from": "2026-11-20T10:15:00Z"}, True),
    "from a minute": ({}, {"from": "2026-11-20T10:16:00Z"}, False),
    "to a second": ({}, {"to": "2026-11-20T10:15:01Z"}, False),
}


@pytest.mark.parametrize(("changes", "parameters", "expected"), SUFFICE.values(), ids=SUFFICE)
def test_counters_suffice(changes: dict[str, object], parameters: dict[str, str], expected: bool) -> None:
    asked = parse(parameters, NOW, "UTC")
    assert counters_suffice(asked, days_of(Snapshot(days=days(**changes)), asked)) is expected


def test_only_days_that_the_query_touches_are_read() -> None:
    touched = days_of(Snapshot(days=days()), query(from_="2026-11-18", to="2026-11-19", tz="Europe/Berlin"))
    assert [each.day.day for each in touched] == [17, 18, 19]


WEEK = [16, 17, 18, 19, 20, 21, 22]
PATHS = {"by": "path"}
# Name; parameters; days read by quarter of an hour, by day, and days with edges.
COUNTERS: dict[str, tuple[dict[str, str], list[int], list[int], list[int]]] = {
    "the total": ({}, WEEK, [], []),
    "the total from noon": ({"from": "2026-11-20T12:00:00Z"}, [20, 21, 22], [], []),
    "whole UTC days": (PATHS, [], WEEK, []),
    "days of UTC": (PATHS | {"interval": "day"}, [], WEEK, []),
    "hours": (PATHS | {"interval": "hour"}, [], [], WEEK),
    "days of another zone": (PATHS | {"interval": "day", "tz": "Asia/Kathmandu"}, [], WEEK, WEEK[:-1]),
    "all of a time in another zone": (PATHS | {"tz": "Asia/Kathmandu"}, [], WEEK, []),
    "from noon": (PATHS | {"from": "2026-11-20T12:00:00Z"}, [], [21, 22], [20]),
    "an event": ({"event": "signup"}, [], WEEK, []),
}


@pytest.mark.parametrize(("parameters", "quarters", "by_day", "edges"), COUNTERS.values(), ids=COUNTERS)
def test_counters_answer_but_for_the_edges(
    parameters: dict[str, str], quarters: list[int], by_day: list[int], edges: list[int]
) -> None:
    scan = counter_scan_of(days(), **parameters)
    assert (read_days(scan.quarters), read_days(scan.day_rows)) == (quarters, by_day)
    assert (read_days(scan.edges.parts) if scan.edges else []) == edges


def counter_scan_of(kept: dict[date, Day], **parameters: str) -> CounterScan:
    made = plan(kept, visitors="none", **{name.replace("from", "from_"): text for name, text in parameters.items()})
    scan = (made.groups or made.total).events  # type: ignore[union-attr]
    assert isinstance(scan, CounterScan)
    return scan


def test_day_is_read_as_it_is_counted() -> None:
    by_quarter = counter_scan_of(days(quarters=("path",)), by="path", interval="hour")
    assert (read_days(by_quarter.quarters), by_quarter.edges and read_days(by_quarter.edges.parts)) == ([16], WEEK[1:])
    uncounted = counter_scan_of(days(uncounted=("path",)), by="path")
    assert (read_days(uncounted.day_rows), uncounted.edges and read_days(uncounted.edges.parts)) == (WEEK[1:], [16])


def test_day_is_cut_at_the_midnights_of_its_zone() -> None:
    scan = counter_scan_of(days(zone="Asia/Kathmandu"), by="path", tz="Asia/Kathmandu", **{"from": "2026-11-17"})
    assert scan.cuts[0] == datetime(2026, 11, 16, 18, 15, tzinfo=UTC)
    assert not scan.edges or read_days(scan.edges.parts) == [22]


def test_edge_of_an_expired_day_has_no_answer() -> None:
    kept = days(archive=(), expired=True)
    assert plan(kept, visitors="none", by="path").has_answer
    assert not plan(kept, visitors="none", by="path", interval="hour").has_answer
    assert plan(days(archive=(), expired=True, quarters=("path",)), visitors="none", by="path").has_answer


def test_events_alone_read_no_archive() -> None:
    for parameters in ({}, {"by": "path"}, {"interval": "day"}):
        made = plan(days(), visitors="none", **parameters)
        assert not [read for read in made.reads.values() if isinstance(getattr(read, "events", None), ArchiveScan)]
        assert made.total is None or not made.total.with_visitors


def test_total_of_all_the_time_is_one_read() -> None:
    made = plan(days())
    assert list(made.reads) == ["total"]
    assert made.total is not None
    assert isinstance(made.total.events, ArchiveScan)


def test_visitors_are_read_from_the_archive() -> None:
    made = plan(days(), by="path", limit="5")
    assert isinstance(made.groups, BreakdownRead)
    assert made.groups.limit == 5
    assert isinstance(made.groups.events, CounterScan)
    assert made.groups.visitors is not None
    assert len(made.groups.visitors.parts) == 14
    assert made.groups.visitors.capped is None


def test_values_that_are_capped_in_the_counters_are_capped_in_the_archive() -> None:
    made = plan(days(capped=("path",)), by="path")
    assert made.groups is not None
    assert made.groups.visitors is not None
    assert made.groups.visitors.capped is not None
    assert made.groups.visitors.capped.days == (FIRST,)
    filtered = plan(days(capped=("path",)), by="path", filter="country==DE")
    assert filtered.groups is not None
    assert isinstance(filtered.groups.events, ArchiveScan)
    assert filtered.groups.events.capped is None


EXPIRED = days(archive=(), expired=True, visitor_zone="UTC")


def test_filter_of_an_expired_day_has_no_answer() -> None:
    assert not plan(EXPIRED, filter="path==/a").has_answer
    assert plan(EXPIRED, filter="path==/a", from_="2026-11-17").has_answer


# Name; parameters; the dimension of the kept visitors that are read, None for no read.
KEPT: dict[str, tuple[dict[str, str], str | None]] = {
    "days": ({"interval": "day"}, "total"),
    "the day itself": ({"from_": "2026-11-16", "to": "2026-11-16"}, "total"),
    "hours of the day itself": ({"from_": "2026-11-16", "to": "2026-11-16", "interval": "hour"}, "total"),
    "days by path": ({"interval": "day", "by": "path"}, "path"),
    "days of an event": ({"interval": "day", "event": "signup"}, "event"),
    "days of an event by path": ({"interval": "day", "event": "signup", "by": "path"}, None),
    "several days together": ({}, None),
    "weeks": ({"interval": "week"}, None),
    "hours": ({"interval": "hour"}, None),
    "days of another zone": ({"interval": "day", "tz": "Europe/Berlin"}, None),
    "days that have not expired": ({"interval": "day", "from_": "2026-11-17"}, None),
    "days without visitors": ({"interval": "day", "visitors": "none"}, None),
}


@pytest.mark.parametrize(("parameters", "dimension"), KEPT.values(), ids=KEPT)
def test_kept_visitors_are_read_of_expired_calendar_days(parameters: dict[str, str], dimension: str | None) -> None:
    made = plan(EXPIRED, **parameters)
    assert (made.kept_visitors.dimension if made.kept_visitors else None) == dimension


def test_total_visitors_of_an_expired_day_are_not_counted() -> None:
    made = plan(EXPIRED, interval="day")
    assert isinstance(made.groups, SeriesRead)
    assert made.total is None
    alone = plan(EXPIRED)
    assert alone.total is not None
    assert not alone.total.with_visitors
