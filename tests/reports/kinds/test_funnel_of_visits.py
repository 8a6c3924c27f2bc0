"""A funnel within visits equals a count that makes the visits of all events and tries
every chain of each, whatever the steps, the time and where visits are known from.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect.encode import Line
from reports.kinds import parse_question
from reports.report import make_report
from reports.visits.days import NOT_MADE
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders import recount_visits
from tests.builders.asked_kind import AskedKind
from tests.builders.funnel_recount import Counted, as_counted, funnel_of_visits
from tests.builders.logs import FIREFOX, GOOGLEBOT, NOON, data_directory, fold_all, line, sealed

NOW = datetime(2026, 11, 24, tzinfo=UTC)
MIDNIGHT = NOON - 12 * 3_600_000
MINUTE_MS, DAY_MS = 60_000, 86_400_000
ZONE = "America/New_York"
ALWAYS = {"kind": "funnel", "from": "2026-11-18", "to": "2026-11-23", "window": "visit", "bots": "include"}
NAMES = ("view", "cart", "buy")
VISITORS = 80


def make_events() -> list[Line]:
    """Visits of a few events around the midnights of UTC and of the zone, whose pauses
    are about half an hour; some with sessions, some that last for more than a day, and
    some of one millisecond.
    """
    pick = random.Random(7)
    events: list[Line] = []
    for visitor in range(VISITORS):
        at = MIDNIGHT - pick.randrange(1, 5) * DAY_MS + pick.choice([-40, -5, 0, 275, 299, 700]) * MINUTE_MS
        has_session, is_daily = visitor % 4 == 0, visitor % 5 == 0
        for _ in range(pick.randrange(2, 9)):
            at += pick.choice([0, 1, 29 * MINUTE_MS, 30 * MINUTE_MS - 1, 30 * MINUTE_MS, 9 * 60 * MINUTE_MS])
            events.append(
                line(
                    f"event-{pick.randrange(10**6):06}-{len(events)}",
                    at,
                    at + pick.randrange(2),
                    name=pick.choice(NAMES),
                    visitor=f"visitor-{visitor}",
                    url=f"https://example.com/{pick.choice('ab')}",
                    country=pick.choice(["DE", "FR", None]),
                    site=pick.choice(["example.com", "example.org"]) if visitor % 3 == 0 else "example.com",
                    ua=GOOGLEBOT if visitor % 10 == 0 else FIREFOX,
                    session=pick.choice(["s", "t", None]) if has_session else None,
                    daily=True if is_daily else None,
                )
            )
    return events


def ask(made: AskedKind, **parameters: str) -> dict[str, Any]:
    query = parse_question({**made.always, **parameters}, made.now, ZONE)
    return make_report(made.database, made.data, load_snapshot(made.data), query)


@pytest.fixture(scope="module", params=["made when asked", "made by passes"])
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[AskedKind]:
    """Passes of later days merge days and make their visits."""
    data, events = data_directory(tmp_path_factory.mktemp("visits")), make_events()
    sealed(data, events[::2])
    fold_all(data, NOON, timezone=ZONE)
    sealed(data, events[1::2])
    fold_all(data, NOON, timezone=ZONE)
    if request.param == "made by passes":
        for later in range(2, 14):
            fold_all(data, NOON + later * DAY_MS, timezone=ZONE)
    kept = load_snapshot(data).days.values()
    assert any(day.sessions for day in kept) == (request.param == "made by passes")
    # Visits that are made for one question are remembered there for the next.
    with closing(connect(256 << 20, 1, tmp_path_factory.mktemp("spill"))) as database:
        yield AskedKind(data, database, events, NOW, ALWAYS)


def visits(events: list[Line]) -> list[list[Line]]:
    """The events of each visit."""
    by_id = {event.id: event for event in events}
    assert len(by_id) == len(events)
    moments = [
        recount_visits.Event(
            datetime.fromisoformat(event.time),
            datetime.fromisoformat(event.received),
            event.id,
            event.site,
            event.visitor,
            event.session,
            event.daily,
            event.ua == GOOGLEBOT,
        )
        for event in events
    ]
    return [[by_id[each.id] for each in visit] for visit in recount_visits.events_of_visits(moments, ZONE)]


def named(name: str) -> Callable[[Line], bool]:
    return lambda event: event.name == name


STEPS: dict[str, Callable[[Line], bool]] = {
    **{f"event=={name}": named(name) for name in NAMES},
    "event!=buy": lambda event: event.name != "buy",
    "path==/a": lambda event: event.url == "https://example.com/a",
    "site!=": lambda _: True,
}
FUNNELS = st.lists(st.sampled_from(list(STEPS)), min_size=2, max_size=4)
KEPT: dict[str, tuple[dict[str, str], Callable[[Line], bool]]] = {
    "all": ({}, lambda _: True),
    "people": ({"bots": "exclude"}, lambda event: event.ua == FIREFOX),
    "a site": ({"site": "example.org"}, lambda event: event.site == "example.org"),
    "a filter": ({"filter": "country!=DE"}, lambda event: event.country != "DE"),
    "a time that cuts visits": (
        {"from": "2026-11-19T00:10:00Z", "to": "2026-11-21T00:00:00.001Z"},
        lambda event: "2026-11-19T00:10:00" <= event.time < "2026-11-21T00:00:00.001",
    ),
    "a day of another zone": (
        {"from": "2026-11-20", "to": "2026-11-20", "tz": "Asia/Tokyo"},
        lambda event: "2026-11-19T15:00:00" <= event.time < "2026-11-20T15:00:00",
    ),
}


@given(steps=FUNNELS, kept=st.sampled_from(list(KEPT)))
def test_steps_are_those_of_one_visit(made: AskedKind, steps: list[str], kept: str) -> None:
    parameters, keep = KEPT[kept]
    answer = ask(made, **({"from": "2026-11-17"} | {"steps": ";;".join(steps)} | parameters))
    assert answer["window"] == "visit"
    asked = [list(filter(keep, visit)) for visit in visits(made.events)]
    if not any(STEPS[steps[0]](event) for visit in asked for event in visit):
        assert answer["total"]["visitors"] == 0
        return
    expected = funnel_of_visits(asked, [STEPS[step] for step in steps])
    assert as_counted(answer["steps"]) == expected[None]


@given(steps=FUNNELS)
def test_values_are_those_of_the_first_event_of_the_first_step(made: AskedKind, steps: list[str]) -> None:
    answer = ask(made, steps=";;".join(steps), by="country", **{"from": "2026-11-17"})
    expected = funnel_of_visits(visits(made.events), [STEPS[step] for step in steps], lambda event: event.country)
    found: dict[str | None, Counted] = {
        value: as_counted([row for row in answer["rows"] if row["value"] == value])
        for value in {row["value"] for row in answer["rows"]}
    }
    assert found == expected


def test_visits_change_the_answer(made: AskedKind) -> None:
    """Fewer than within days, and more than none: or the tests above would compare
    nothing.
    """
    of_visits, of_days = (
        ask(made, steps="event==view;;event==buy", window=window)["total"]["converted"] for window in ("visit", "7d")
    )
    assert 0 < of_visits < of_days


def test_visits_of_too_many_events_are_left_to_the_passes(made: AskedKind, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(day.sessions for day in load_snapshot(made.data).days.values()):
        pytest.skip("these visits are made")
    monkeypatch.setattr("reports.visits.days.MADE_EVENTS_MAX", 1)
    answer = ask(made, steps="event==view;;event==buy")
    assert answer["reason"] == NOT_MADE
    assert answer["steps"][0]["visitors"] is answer["total"]["converted"] is None
    assert ask(made, steps="event==view;;event==buy", window="7d")["total"]["visitors"]


def test_steps_of_a_time_without_archive_are_not_known(made: AskedKind) -> None:
    snapshot = load_snapshot(made.data)
    gone = {day: msgspec.structs.replace(kept, archive=(), expired=True) for day, kept in snapshot.days.items()}
    query = parse_question({**made.always, "steps": "event==view;;event==buy"}, made.now, ZONE)
    expired = msgspec.structs.replace(snapshot, days=gone)
    answer = make_report(made.database, made.data, expired, query)
    assert "past its retention" in answer["reason"]
    assert answer["total"]["visitors"] is None
