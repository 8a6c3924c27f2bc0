"""In which form days of several hosts are read. No file exists in these tests."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from reports.hosts.combine import combined_days
from reports.kinds import kind_of
from reports.plan import CounterScan, Plan, SeriesRead
from reports.query import parse
from shared.generations.counter_schema import COUNTED
from shared.generations.snapshot import Day, Part, Snapshot

DAY = date(2026, 11, 16)
NOW = datetime(2026, 11, 22, 16, tzinfo=UTC)


def kept(number: int, **changes: object) -> Day:
    """A day with an archive part and a counters part of this generation."""
    part = (Part(number, 1, 1, f"{number:064x}"),)
    return Day("", **{"archive": part, "counters": part, **changes})  # type: ignore[arg-type]


def plan(*hosts: Day | None, dropped: tuple[int, ...] = (), **parameters: str) -> Plan:
    """Of a report about DAY; None: a host without that day."""
    query = parse({"from": str(DAY), "to": str(DAY), **parameters}, NOW, "UTC")
    snapshots = [
        Snapshot(days={DAY: day} if day else {}, dropped_days={DAY: 9} if number in dropped else {})
        for number, day in enumerate(hosts)
    ]
    return kind_of(query).plan(query, combined_days(snapshots, query))


def counter_scan(found: Plan) -> CounterScan:
    read = found.groups
    assert read is not None and isinstance(read.events, CounterScan)
    return read.events


def generations(scan: CounterScan) -> dict[str, list[int]]:
    parts = {
        "quarters": scan.quarters,
        "day_rows": scan.day_rows,
        "edges": scan.edges.parts if scan.edges else (),
        "removed": scan.removed.parts if scan.removed else (),
    }
    return {name: [each.part.generation for each in found] for name, found in parts.items() if found}


# Name; the days of two hosts; what is read of which generation for events by path.
BY_PATH: dict[str, tuple[Day | None, Day | None, dict[str, list[int]]]] = {
    "both by day": (kept(1), kept(2), {"day_rows": [1, 2]}),
    "both by quarter": (kept(1, quarters=("path",)), kept(2, quarters=("path",)), {"quarters": [1, 2]}),
    "one by quarter": (kept(1), kept(2, quarters=("path",)), {"quarters": [2], "day_rows": [1]}),
    "one uncounted": (kept(1, uncounted=("path",)), kept(2), {"edges": [1, 2]}),
    "one capped": (kept(1, capped=("path",)), kept(2), {"edges": [1, 2]}),
    "another dimension capped": (kept(1, capped=("country",)), kept(2), {"day_rows": [1, 2]}),
    "cut at other midnights": (kept(1, zone="Asia/Kathmandu"), kept(2), {"edges": [1, 2]}),
    "of other midnights, by quarter": (
        kept(1, zone="Asia/Kathmandu", quarters=("path",)),
        kept(2, quarters=("path",)),
        {"quarters": [1, 2]},
    ),
    "only one has the day": (kept(1, capped=("path",)), None, {"day_rows": [1]}),
}


@pytest.mark.parametrize(("first", "second", "expected"), BY_PATH.values(), ids=BY_PATH)
def test_days_of_two_hosts_are_read_in_a_form_that_both_have(
    first: Day | None, second: Day | None, expected: dict[str, list[int]]
) -> None:
    scan = counter_scan(plan(first, second, by="path", visitors="none"))
    assert generations(scan) == expected
    assert len(scan.cuts) == len(set(scan.cuts))  # a row would count once for each


def test_values_of_a_capped_day_of_one_host_stay_other() -> None:
    found = plan(kept(1, capped=("path",)), None, by="path")
    assert found.groups is not None and found.groups.visitors is not None
    assert found.groups.visitors.capped is not None
    found = plan(kept(1, capped=("path",)), kept(2), by="path")
    assert found.groups is not None and found.groups.visitors is not None
    assert found.groups.visitors.capped is None


def test_archive_of_edges_is_only_of_hosts_that_have_no_rows_there() -> None:
    found = plan(kept(1), kept(2, quarters=("path",)), by="path", visitors="none", to="2026-11-16T18:00:00Z")
    assert generations(counter_scan(found)) == {"quarters": [2], "day_rows": [1], "removed": [1]}
    found = plan(kept(1), kept(2, quarters=("path",)), by="path", visitors="none", to="2026-11-16T06:00:00Z")
    assert generations(counter_scan(found)) == {"quarters": [2], "edges": [1]}


# Name; the days of two hosts; the question; whether it has an answer.
EXPIRED: dict[str, tuple[Day, Day, dict[str, str], bool]] = {
    "the total": (kept(1, archive=(), expired=True), kept(2), {}, True),
    "by path": (kept(1, archive=(), expired=True), kept(2), {"by": "path"}, True),
    "with a filter": (kept(1, archive=(), expired=True), kept(2), {"filter": "path==/"}, False),
    "capped on the other": (kept(1, archive=(), expired=True), kept(2, capped=("path",)), {"by": "path"}, False),
    "capped and expired": (kept(1, archive=(), expired=True, capped=("path",)), kept(2), {"by": "path"}, False),
    "an event, capped": (
        kept(1, archive=(), expired=True, capped=("event",)),
        kept(2),
        {"event": "signup", "by": "path"},
        False,
    ),
    "a site, capped": (kept(1, archive=(), expired=True, capped=("site",)), kept(2), {"site": "a.example"}, False),
    "the total, all capped": (kept(1, archive=(), expired=True, capped=("site", *COUNTED)), kept(2), {}, True),
}


@pytest.mark.parametrize(("first", "second", "asked", "expected"), EXPIRED.values(), ids=EXPIRED)
def test_expired_day_of_several_hosts_has_an_answer_only_if_it_is_exact(
    first: Day, second: Day, asked: dict[str, str], expected: bool
) -> None:
    assert plan(first, second, dropped=(), **asked).has_answer is expected


def test_day_that_one_of_several_hosts_has_dropped_has_no_answer() -> None:
    assert not plan(None, kept(2), dropped=(0,)).has_answer
    assert plan(None, None, dropped=(0,)).has_answer  # zeros, as of one host
    assert plan(kept(1), kept(2), dropped=(0,)).has_answer  # imported again since


def test_kept_visitors_are_of_one_host_or_none() -> None:
    gone = kept(1, archive=(), expired=True, visitor_zone="UTC")
    start, end = datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 17, tzinfo=UTC)
    assert plan(gone, None, interval="day").is_of_one_host(start, end)
    assert not plan(gone, kept(2), interval="day").is_of_one_host(start, end)


def test_series_reads_the_archives_of_all_hosts_for_visitors() -> None:
    found = plan(kept(1), kept(2), interval="hour")
    assert isinstance(found.groups, SeriesRead) and found.groups.visitors is not None
    assert [(each.host, each.part.generation) for each in found.groups.visitors.parts] == [(0, 1), (1, 2)]
