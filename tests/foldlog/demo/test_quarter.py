"""The made-up quarter: the same for the same seed, in its bounds, and of the shape that
its pages promise.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime

import pytest

from foldlog.demo.lines import line_of
from foldlog.demo.made import FUNNEL, Made, Tally
from foldlog.demo.quarter import Event, people_of_sites, quarter
from foldlog.demo.shape import DAY_MS, LAUNCH_AT
from shared.timestamps import utc_day

SHOP, BLOG = "shop.localhost", "blog.localhost"
# A Monday, at 14:20 UTC.
NOW_MS = int(datetime(2026, 11, 30, 14, 20, tzinfo=UTC).timestamp()) * 1000
DAYS = 35


def made_with(seed: int, days: int = DAYS, now_ms: int = NOW_MS) -> list[list[Event]]:
    return [*quarter(people_of_sites(seed), seed, days, now_ms)]


@pytest.fixture(scope="module")
def days() -> list[list[Event]]:
    return made_with(1)


@pytest.fixture(scope="module")
def events(days: list[list[Event]]) -> list[Event]:
    return [event for day in days for event in day]


@pytest.fixture(scope="module")
def made(days: list[list[Event]]) -> Made:
    tally = Tally()
    for day in days:
        tally.add(day)
    return tally.made(1, DAYS, NOW_MS)


def test_same_seed_makes_the_same_events_and_another_one_others() -> None:
    assert made_with(7, 3) == made_with(7, 3)
    assert made_with(7, 3) != made_with(8, 3)


def test_events_are_of_these_days_in_order_and_none_is_to_come(days: list[list[Event]]) -> None:
    assert len(days) == DAYS
    for number, day in enumerate(days):
        times = [event.time_ms for event in day]
        assert times == sorted(times)
        assert {utc_day(time) for time in times} == {utc_day(NOW_MS - (DAYS - 1 - number) * DAY_MS)}
    assert max(event.time_ms for event in days[-1]) <= NOW_MS


def test_hash_of_a_day_stands_on_one_day_and_in_one_visit(events: list[Event]) -> None:
    of_visitor: dict[str, set[tuple[object, str]]] = {}
    for event in events:
        if event.daily:
            of_visitor.setdefault(event.visitor, set()).add((utc_day(event.time_ms), event.site))
    assert {len(found) for found in of_visitor.values()} == {1}


def test_visitors_come_again_on_other_days(events: list[Event]) -> None:
    days_of: dict[str, set[object]] = {}
    for event in events:
        if not event.daily:
            days_of.setdefault(event.visitor, set()).add(utc_day(event.time_ms))
    again = sum(len(found) > 1 for found in days_of.values())
    assert again > len(days_of) / 10


def test_funnel_loses_visitors_at_each_step_and_most_on_phones(made: Made, events: list[Event]) -> None:
    steps = [made.sites[SHOP].steps[step] for step in FUNNEL]
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == len(FUNNEL)
    reached = Counter((event.step.name, event.person.is_phone) for event in events)
    bought = {phone: reached["order", phone] / reached["checkout", phone] for phone in (True, False)}
    assert bought[True] < bought[False] / 1.5


def test_each_who_reached_a_step_reached_those_before_it(events: list[Event]) -> None:
    seen: dict[str, list[str]] = {}
    for event in events:
        is_tea = event.step.name == "pageview" and event.step.path.startswith("/teas/")
        seen.setdefault(event.visitor, []).append(FUNNEL[0] if is_tea else event.step.name)
    for steps in seen.values():
        firsts = [steps.index(step) for step in FUNNEL if step in steps]
        assert firsts == sorted(firsts)
        assert len(firsts) == 0 or [step for step in FUNNEL if step in steps] == [*FUNNEL[: len(firsts)]]


def test_blog_rests_at_the_weekend_and_the_launch_is_its_best_day(days: list[list[Event]]) -> None:
    by_day = [sum(event.site == BLOG for event in day) for day in days[:-1]]
    weekday = [datetime.fromtimestamp(day[0].time_ms / 1000, UTC).weekday() for day in days[:-1]]
    launch = round(LAUNCH_AT * (DAYS - 1))
    usual = [(count, at) for number, (count, at) in enumerate(zip(by_day, weekday, strict=True)) if number < launch]
    rest = [count for count, at in usual if at >= 5]
    work = [count for count, at in usual if at < 5]
    assert sum(rest) / len(rest) < sum(work) / len(work)
    assert by_day.index(max(by_day)) == launch


def test_bots_open_one_page_each_and_count_for_nothing(made: Made, events: list[Event]) -> None:
    bots = [event for event in events if event.is_bot]
    assert len(bots) == made.bots > 0
    assert {event.step.name for event in bots} == {"pageview"}
    counted = sum(site.total.events for site in made.sites.values())
    assert counted + made.bots == made.lines == len(events)


def test_line_holds_no_moment_that_is_to_come(days: list[list[Event]]) -> None:
    lines = [line_of(event, NOW_MS, random.Random(1)) for event in days[-1]]
    assert max(line.received for line in lines) <= "2026-11-30T14:20:00.000Z"
    assert all(line.received >= line.time for line in lines)
