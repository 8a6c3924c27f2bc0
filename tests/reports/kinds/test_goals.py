"""Conversions equal a recount in plain Python over the same events."""

from __future__ import annotations

import random
from collections import defaultdict
from math import fsum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ingest.collect.encode import Line
from reports.kinds import goals, parse_question
from reports.query_error import QueryError
from reports.report import make_report
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.named_filters import NamedFilter
from tests.builders.kinds import NOW, Folded, ask, at, in_days, is_selected, matches
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.recount import bucket_start

GOALS = [
    NamedFilter("goal", "sign up", "event==signup"),
    NamedFilter("goal", "from Germany", "country==DE;path!=/a", 2.5),
    NamedFilter("goal", "everything", "event!="),
    NamedFilter("goal", "nothing", "path==/none"),
    NamedFilter("goal", "pro", "props.plan==pro", 0.0),
    NamedFilter("goal", "any of several", "path=~/*|/a;value>2;country!=FR|"),
    NamedFilter("goal", "mail", "source==mail;event==pageview", -1.0),
]
Numbers = tuple[int, int, int, float]  # events, visitors, all visitors, sum of values


def recount(events: list[Line], goal: NamedFilter) -> Numbers:
    matched = [event for event in events if matches(event, goal.filter)]
    values = [event.value for event in matched if event.value is not None]
    return (
        len(matched),
        _visitors(matched),
        _visitors(events),
        fsum(values) if goal.value is None else len(matched) * goal.value,
    )


def _visitors(events: list[Line]) -> int:
    return len({event.visitor for event in events} - {None})


def numbers_of(row: dict[str, Any]) -> Numbers:
    if row["all_visitors"]:
        assert row["rate"] == round(row["visitors"] / row["all_visitors"], 6)
    else:
        assert row["rate"] is None
    return row["events"], row["visitors"], row["all_visitors"], row["value_sum"]


def asked_events(events: list[Line], asked: dict[str, str], first: str, last: str) -> list[Line]:
    is_within = in_days(ZoneInfo(asked.get("tz", "UTC")), first, last)
    named = {name: asked[name] for name in ("site", "bots") if name in asked}
    return [
        event
        for event in events
        if is_within(event)
        and is_selected(event, **named)
        and asked.get("event", event.name) == event.name
        and matches(event, asked.get("filter", ""))
    ]


QUESTIONS: dict[str, dict[str, str]] = {
    "whole": {},
    "days": {"interval": "day"},
    "weeks elsewhere": {"interval": "week", "tz": "America/New_York"},
    "months": {"interval": "month", "tz": "Europe/Berlin"},
    "one site": {"site": "example.org", "interval": "week"},
    "with bots": {"bots": "include"},
    "a filter": {"filter": "country!=FR", "interval": "month"},
    "one event": {"event": "signup"},
    "no visitor": {"filter": "path==/none", "interval": "month"},
}
SPAN = ("2026-10-05", "2026-11-20")


@pytest.mark.parametrize("asked", QUESTIONS.values(), ids=QUESTIONS)
def test_conversions_equal_a_recount(folded: Folded, asked: dict[str, str]) -> None:
    report = ask(folded.data, "goals", goals=goals.given(GOALS), **{"from": SPAN[0], "to": SPAN[1]}, **asked)
    events = asked_events(folded.events, asked, *SPAN)
    assert [each["goal"] for each in report["goals"]] == [goal.name for goal in GOALS]
    assert [(each["filter"], each["value"]) for each in report["goals"]] == [
        (goal.filter, goal.value) for goal in GOALS
    ]
    assert [numbers_of(each) for each in report["goals"]] == [recount(events, goal) for goal in GOALS]
    assert report["total"] == {"events": len(events), "visitors": _visitors(events)}
    interval, zone = asked.get("interval", "none"), ZoneInfo(asked.get("tz", "UTC"))
    by_bucket = defaultdict(list)
    for event in events:
        by_bucket[bucket_start(at(event), interval, zone)].append(event)
    for row in report["rows"]:
        goal = next(goal for goal in GOALS if goal.name == row["goal"])
        assert numbers_of(row) == recount(by_bucket[row.get("time")], goal)
    times = {row.get("time") for row in report["rows"]}
    assert set(by_bucket) <= {*times}
    assert len(report["rows"]) == len(GOALS) * len(times)


def test_sum_of_values_beyond_any_number_is_null(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line(f"event-{n}", value=1.7e308) for n in range(3)])
    fold(data)
    goal = [NamedFilter("goal", "all", "event!="), NamedFilter("goal", "none", "event==none")]
    report = ask(data, "goals", goals=goals.given(goal), **{"from": "2026-11-22", "to": "2026-11-22"})
    assert [row["value_sum"] for row in report["rows"]] == [None, 0.0]
    assert report["reason"] == "a sum of values is larger than a number can be"


def test_one_goal_is_of_that_alone(folded: Folded) -> None:
    report = ask(folded.data, "goals", goals=goals.given(GOALS), goal="sign up", **{"from": SPAN[0], "to": SPAN[1]})
    assert [row["goal"] for row in report["rows"]] == ["sign up"]
    assert numbers_of(report["rows"][0]) == recount(asked_events(folded.events, {}, *SPAN), GOALS[0])


def test_goal_with_an_invalid_filter_costs_itself_alone(folded: Folded) -> None:
    bad = [GOALS[0], NamedFilter("goal", "edited", "no filter"), GOALS[1]]
    report = ask(folded.data, "goals", goals=goals.given(bad), **{"from": SPAN[0], "to": SPAN[1]})
    events = asked_events(folded.events, {}, *SPAN)
    first, edited, last = report["goals"]
    assert (edited["events"], edited["visitors"], edited["rate"]) == (None, None, None)
    assert "reason" in edited and "reason" not in first
    assert [numbers_of(first), numbers_of(last)] == [recount(events, GOALS[0]), recount(events, GOALS[1])]


def test_most_goals_fit_into_the_bits(folded: Folded) -> None:
    """Many of them match the same events, and all have as many comparisons as one
    report may make; one more goal is not answered with them, and is alone.
    """
    pick = random.Random(5)
    many = [
        NamedFilter("goal", f"goal {n}", ";".join([f"path!=/{pick.randrange(9)}" for _ in range(4)] + ["path!=/b"]))
        for n in range(99)
    ]
    last = NamedFilter("goal", "last", "path!=" + "|".join(f"/{n}" for n in range(9)))
    asked = {"goals": goals.given([*many, last]), "from": SPAN[0], "to": SPAN[1]}
    report = ask(folded.data, "goals", **asked)
    events = asked_events(folded.events, {}, *SPAN)
    assert [numbers_of(row) for row in report["rows"][:-1]] == [recount(events, goal) for goal in many]
    assert report["rows"][-1]["events"] is None
    assert "compare with 500 values; ask for this goal alone" in report["goals"][-1]["reason"]
    (alone,) = ask(folded.data, "goals", goal="last", **asked)["rows"]
    assert numbers_of(alone) == recount(events, last)


def test_without_goals_there_are_no_rows(folded: Folded) -> None:
    report = ask(folded.data, "goals", interval="day", **{"from": SPAN[0], "to": SPAN[1]})
    assert (report["goals"], report["rows"]) == ([], [])
    assert (report["total"], report["reason"]) == ({"events": None, "visitors": None}, "there are no goals")


def test_goals_of_an_expired_archive_are_null(folded: Folded) -> None:
    snapshot = load_snapshot(folded.data)
    gone = {day: msgspec.structs.replace(kept, archive=(), expired=True) for day, kept in snapshot.days.items()}
    expired = msgspec.structs.replace(snapshot, days=gone)
    query = parse_question({"kind": "goals", "goals": goals.given(GOALS), "from": SPAN[0], "to": SPAN[1]}, NOW, "UTC")
    with connect(256 << 20, 1) as database:
        report = make_report(database, folded.data, expired, query)
    assert (report["rows"], report["total"]) == ([], {"events": None, "visitors": None})
    assert "past its retention" in report["reason"]


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "a goal that is not there": ({"goal": "absent"}, "goal"),
    "more rows than may be": ({"interval": "15m", "from": "2026-10-01", "to": "2026-11-20"}, "interval"),
    "a dimension": ({"by": "path"}, "by"),
}


@pytest.mark.parametrize(("asked", "parameter"), REFUSED.values(), ids=REFUSED)
def test_conversions_that_cannot_be_are_refused(asked: dict[str, str], parameter: str) -> None:
    with pytest.raises(QueryError) as error:
        parse_question({"kind": "goals", "goals": goals.given(GOALS), **asked}, NOW, "UTC")
    assert error.value.parameter == parameter
