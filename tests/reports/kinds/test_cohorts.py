"""Cohorts equal a recount in plain Python over the same events."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ingest.collect.encode import Line
from reports.kinds import parse_question
from reports.query_error import QueryError
from reports.report import make_report
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.kinds import NOW, Folded, ask, at, in_days, is_selected, matches, period_of, periods_between

Rows = list[tuple[date, int, list[int]]]


def recount(events: list[Line], first: str, last: str, asked: dict[str, str]) -> tuple[Rows, int]:
    """(first day of the period, visitors, how many came back in each later one), and
    how many visitors are hashes of a day.
    """
    zone, period = ZoneInfo(asked.get("tz", "UTC")), asked.get("period", "week")
    base = {name: asked[name] for name in ("site", "bots") if name in asked}

    def is_first(event: Line) -> bool:
        is_event = asked.get("event", event.name) == event.name
        return is_event and matches(event, asked.get("filter", ""))

    def is_return(event: Line) -> bool:
        return matches(event, asked["return"]) if asked.get("return") else is_first(event)

    is_within = in_days(zone, first, last)
    kept = [
        event
        for event in events
        if is_selected(event, **base) and event.visitor and at(event).astimezone(zone).date().isoformat() <= last
    ]
    people = defaultdict(list)
    for event in kept:
        if not event.daily:
            people[event.visitor].append(event)
    daily = {event.visitor for event in kept if event.daily and is_first(event) and is_within(event)}
    periods = periods_between(date.fromisoformat(first), date.fromisoformat(last), period)
    members: dict[date, list[str]] = defaultdict(list)
    came: dict[str, set[date]] = {}
    for visitor, seen in people.items():
        firsts = sorted((event for event in seen if is_first(event)), key=at)
        if firsts and is_within(firsts[0]):
            members[period_of(firsts[0], period, zone)].append(visitor or "")
        came[visitor or ""] = {period_of(event, period, zone) for event in seen if is_return(event)}
    rows = [
        (
            begin,
            len(members[begin]),
            [sum(later in came[each] for each in members[begin]) for later in periods[n + 1 :]],
        )
        for n, begin in enumerate(periods)
    ]
    return rows, len(daily)


def as_rows(report: dict[str, Any]) -> Rows:
    return [(datetime.fromisoformat(row["time"]).date(), row["visitors"], row["returned"]) for row in report["rows"]]


QUESTIONS: dict[str, dict[str, str]] = {
    "weeks": {},
    "days": {"period": "day"},
    "months": {"period": "month"},
    "months elsewhere": {"period": "month", "tz": "America/New_York"},
    "days where clocks are changed": {"period": "day", "tz": "Europe/Berlin"},
    "one site": {"site": "example.org"},
    "with bots": {"bots": "include"},
    "only bots": {"bots": "only", "period": "month"},
    "who signed up": {"event": "signup"},
    "by a filter": {"filter": "country==DE;path!=/a"},
    "who came back and signed up": {"return": "event==signup"},
    "who signed up and saw a page": {"event": "signup", "return": "event==pageview;props.plan!=pro"},
    "no visitor": {"filter": "path==/none"},
}
SPANS = (("2026-10-01", "2026-11-29"), ("2026-10-14", "2026-11-10"))


@pytest.mark.parametrize("asked", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize(("first", "last"), SPANS)
def test_cohorts_equal_a_recount(folded: Folded, asked: dict[str, str], first: str, last: str) -> None:
    report = ask(folded.data, "cohorts", **{"from": first, "to": last}, **asked)
    rows, daily = recount(folded.events, first, last, asked)
    assert as_rows(report) == rows
    assert report["total"] == {"visitors": sum(visitors for _, visitors, _ in rows), "daily_visitors": daily}
    assert report["archive_since"] == "2026-10-01"
    assert (sum(visitors for _, visitors, _ in rows) > 5) == (asked.get("filter") != "path==/none")


def test_visitor_who_came_before_the_question_is_in_no_cohort(folded: Folded) -> None:
    whole = ask(folded.data, "cohorts", **{"from": "2026-10-01", "to": "2026-11-29", "period": "month"})
    november = ask(folded.data, "cohorts", **{"from": "2026-11-01", "to": "2026-11-29", "period": "month"})
    assert [row["visitors"] for row in november["rows"]] == [row["visitors"] for row in whole["rows"]][1:]


# Name; what is asked; the parameter that is wrong.
REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "another period": ({"period": "hour"}, "period"),
    "too many periods": ({"period": "day", "from": "2026-01-01", "to": "2026-11-29"}, "period"),
    "no condition": ({"return": "signup"}, "return"),
    "half a character": ({"return": "path==\ud800"}, "return"),
    "too many conditions": ({"return": ";".join(f"path!=/{n}" for n in range(21))}, "return"),
    "a dimension": ({"by": "path"}, "by"),
    "an interval": ({"interval": "day"}, "interval"),
}


@pytest.mark.parametrize(("asked", "parameter"), REFUSED.values(), ids=REFUSED)
def test_cohorts_that_cannot_be_are_refused(asked: dict[str, str], parameter: str) -> None:
    with pytest.raises(QueryError) as error:
        parse_question({"kind": "cohorts", **asked}, NOW, "UTC")
    assert error.value.parameter == parameter


@pytest.mark.parametrize(("period", "rows"), [("day", 12), ("week", 12), ("month", 12)])
def test_cohorts_without_a_time_are_of_twelve_periods(folded: Folded, period: str, rows: int) -> None:
    assert len(ask(folded.data, "cohorts", period=period)["rows"]) == rows


def test_most_periods_fit_into_the_bits(folded: Folded) -> None:
    report = ask(folded.data, "cohorts", period="day", **{"from": "2026-08-22", "to": "2026-11-29"})
    assert len(report["rows"]) == 100
    rows, _ = recount(folded.events, "2026-08-22", "2026-11-29", {"period": "day"})
    assert as_rows(report) == rows


def test_cohorts_of_an_expired_archive_are_null(folded: Folded) -> None:
    snapshot = load_snapshot(folded.data)
    gone = {
        day: msgspec.structs.replace(kept, archive=(), expired=True)
        for day, kept in snapshot.days.items()
        if day.month == 10
    }
    expired = msgspec.structs.replace(snapshot, days=snapshot.days | gone)
    with connect(256 << 20, 1) as database:

        def of(first: str) -> dict[str, Any]:
            query = parse_question(
                {"kind": "cohorts", "period": "month", "from": first, "to": "2026-11-29"}, NOW, "UTC"
            )
            return make_report(database, folded.data, expired, query)

        touched, after = of("2026-10-30"), of("2026-11-01")
    assert (touched["rows"], touched["total"]) == ([], {"visitors": None, "daily_visitors": None})
    assert "past its retention" in touched["reason"]
    later = [event for event in folded.events if at(event).month == 11]
    assert as_rows(after) == recount(later, "2026-11-01", "2026-11-29", {"period": "month"})[0]
    assert after["archive_since"] == "2026-11-01"
