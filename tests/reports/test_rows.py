"""From fetched tuples to rows: empty buckets, expired days, and the reason of a number
that is missing.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from reports.kinds import kind_of
from reports.plan import days_of
from reports.query import parse
from reports.rows import EXPIRED, EXPIRED_FILTER, Fetched, no_answer, with_header
from shared.generations.snapshot import Day, Part, Snapshot

NOW = datetime(2026, 11, 22, 16, tzinfo=UTC)
FIRST, SECOND, THIRD = (date(2026, 11, 20) + timedelta(days=n) for n in range(3))
PART = Part(1, 1, 1, "")
# The archive of the first day has expired; the visitors of its day in UTC were kept.
DAYS = {
    FIRST: Day("", (), counters=(PART,), expired=True, visitor_zone="UTC"),
    SECOND: Day("", (PART,), counters=(PART,)),
}


def at(day: date, hour: int = 0) -> datetime:
    """As a TIMESTAMP column: UTC without a zone."""
    return datetime(day.year, day.month, day.day, hour)  # noqa: DTZ001


def report(parameters: dict[str, str], fetched: Fetched) -> dict[str, Any]:
    query = parse({"from": "2026-11-20", "to": "2026-11-22", **parameters}, NOW, "UTC")
    kind = kind_of(query)
    plan = kind.plan(query, days_of(Snapshot(days=DAYS), query))
    rows, total = kind.shape(plan, fetched) if plan.has_answer else no_answer(plan)
    return with_header(plan, rows, total, 7, "2026-11-22T16:00:00.000Z")


def test_series_has_a_row_of_zeros_for_an_empty_bucket() -> None:
    made = report({"from": "2026-11-21", "interval": "day"}, {"groups": [(at(SECOND), 5, 3)], "total": [(5, 3)]})
    assert made["rows"] == [
        {"time": "2026-11-21T00:00:00+00:00", "events": 5, "visitors": 3},
        {"time": "2026-11-22T00:00:00+00:00", "events": 0, "visitors": 0},
    ]
    assert made["total"] == {"events": 5, "visitors": 3}
    assert "reason" not in made


def test_series_shows_kept_visitors_of_an_expired_day() -> None:
    fetched: Fetched = {"groups": [(at(FIRST), 9, 0), (at(SECOND), 5, 3)], "kept_visitors": [(at(FIRST), None, 4)]}
    made = report({"interval": "day"}, fetched)
    assert [(row["events"], row["visitors"]) for row in made["rows"]] == [(9, 4), (5, 3), (0, 0)]
    assert made["total"] == {"events": 14, "visitors": None}
    assert made["reason"] == EXPIRED


def test_hours_of_an_expired_day_have_no_visitors() -> None:
    fetched: Fetched = {"groups": [(at(FIRST, 10), 9, 0), (at(SECOND, 10), 5, 3)]}
    rows = {row["time"]: row["visitors"] for row in report({"interval": "hour"}, fetched)["rows"] if row["events"]}
    assert rows == {"2026-11-20T10:00:00+00:00": None, "2026-11-21T10:00:00+00:00": 3}


def test_rest_of_an_expired_day_does_not_show_the_visitors_of_the_whole_day() -> None:
    fetched: Fetched = {"groups": [(at(FIRST), 9, 0), (at(SECOND), 5, 3)], "kept_visitors": [(at(FIRST), None, 4)]}
    made = report({"from": "2026-11-20T10:00:00Z", "to": "2026-11-22T00:00:00Z", "interval": "day"}, fetched)
    assert [(row["events"], row["visitors"]) for row in made["rows"]] == [(9, None), (5, 3)]
    assert made["reason"] == EXPIRED


def test_expired_day_alone_has_its_kept_visitors_as_total() -> None:
    fetched: Fetched = {"total": [(9, None)], "kept_visitors": [(at(FIRST), None, 4)]}
    made = report({"to": "2026-11-20"}, fetched)
    assert made["rows"] == [made["total"]] == [{"events": 9, "visitors": 4}]


def test_kept_visitors_of_an_event_are_those_of_its_value() -> None:
    fetched: Fetched = {"total": [(9, None)], "kept_visitors": [(at(FIRST), "pageview", 4), (at(FIRST), "signup", 2)]}
    assert report({"to": "2026-11-20", "event": "signup"}, fetched)["total"]["visitors"] == 2


def test_breakdown_shows_kept_visitors_by_value() -> None:
    fetched: Fetched = {
        "groups": [(at(FIRST), "/a", 9, 0, 20), (at(FIRST), None, 1, 0, 20), (at(SECOND), "/a", 5, 3, 20)],
        "kept_visitors": [(at(FIRST), "/a", 4)],
    }
    made = report({"interval": "day", "by": "path"}, fetched)
    assert [(row["time"][8:10], row["value"], row["events"], row["visitors"]) for row in made["rows"]] == [
        ("20", "/a", 9, 4),
        ("20", None, 1, None),
        ("21", "/a", 5, 3),
    ]
    assert made["total"] == {"events": 20, "visitors": None}


def test_breakdown_of_all_the_time_has_no_times() -> None:
    fetched: Fetched = {"groups": [(None, "/a", 5, 3, 7)], "total": [(7, 4)]}
    made = report({"from": "2026-11-21", "by": "path"}, fetched)
    assert made["rows"] == [{"value": "/a", "events": 5, "visitors": 3}]
    assert made["total"] == {"events": 7, "visitors": 4}


def test_breakdown_without_events_has_no_rows() -> None:
    made = report({"from": "2026-11-21", "by": "path"}, {"groups": [], "total": [(0, 0)]})
    assert (made["rows"], made["total"]) == ([], {"events": 0, "visitors": 0})


@pytest.mark.parametrize("by", [{}, {"by": "path"}, {"interval": "day"}])
def test_filter_of_an_expired_day_is_none_with_the_reason(by: dict[str, str]) -> None:
    made = report({"filter": "country==DE", **by}, {})
    assert (made["rows"], made["total"]) == ([], {"events": None, "visitors": None})
    assert made["reason"] == EXPIRED_FILTER


def test_visitors_that_are_not_asked_for_are_in_no_row() -> None:
    made = report({"visitors": "none", "interval": "day"}, {"groups": [(at(FIRST), 9, None)]})
    assert [row["events"] for row in made["rows"]] == [9, 0, 0]
    assert not any("visitors" in row for row in (made["total"], *made["rows"]))
    assert "reason" not in made


def test_header_repeats_the_query_in_its_zone() -> None:
    made = report({"tz": "Europe/Berlin", "to": "2026-11-21", "from": "2026-11-21"}, {"total": [(1, 1)]})
    assert {name: made[name] for name in ("from", "to", "tz", "interval", "by", "generation", "as_of")} == {
        "from": "2026-11-21T00:00:00+01:00",
        "to": "2026-11-22T00:00:00+01:00",
        "tz": "Europe/Berlin",
        "interval": "none",
        "by": None,
        "generation": 7,
        "as_of": "2026-11-22T16:00:00.000Z",
    }
