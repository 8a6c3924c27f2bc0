"""A funnel equals a count that tries every chain of events, whatever the steps, the
window and the order of events of one time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect.encode import Line
from reports.kinds import parse_question
from reports.query_error import QueryError
from shared.duckdb_engine import connect
from shared.sql.texts import TextNumbers
from tests.builders import funnel_recount
from tests.builders.asked_kind import AskedKind
from tests.builders.funnel_recount import Counted, as_counted, funnel, funnel_by
from tests.builders.logs import FIREFOX, GOOGLEBOT, NOON, data_directory, fold_all, line, sealed

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
SPAN = {"from": "2026-11-15", "to": "2026-11-23"}
ALWAYS = {"kind": "funnel", **SPAN}
NAMES = ("view", "cart", "buy")
VISITORS = 60


def make_events() -> list[Line]:
    """Half of the visitors have events of few milliseconds, so that many share one; and
    some of these were received at one time, too.
    """
    pick = random.Random(21)
    return [
        line(
            f"event-{pick.randrange(10**6):06}-{number}",
            NOON - 6 * DAY_MS + (pick.randrange(4) if visitor % 2 else pick.randrange(6 * 24) * HOUR_MS),
            NOON + pick.randrange(2),
            name=pick.choice(NAMES),
            visitor=f"visitor-{visitor}",
            url=f"https://example.com/{pick.choice('ab')}",
            country=pick.choice(["DE", "FR", None]),
            site=pick.choice(["example.com", "example.org"]),
            ua=GOOGLEBOT if visitor % 10 == 0 else FIREFOX,
            daily=True if visitor % 7 == 0 else None,
            sender=pick.choice([None, "key"]),
        )
        for visitor in range(VISITORS)
        for number in range(pick.randrange(1, 8))
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedKind]:
    data, events = data_directory(tmp_path_factory.mktemp("funnel")), make_events()
    sealed(data, events[::2])
    fold_all(data, NOON)
    sealed(data, events[1::2])
    fold_all(data, NOON + 2 * DAY_MS)
    with closing(connect(256 << 20, 1)) as database:
        yield AskedKind(data, database, events, NOW, ALWAYS)


def named(name: str) -> Callable[[Line], bool]:
    return lambda event: event.name == name


# A step, and the same in Python. Some match events that others match, too.
STEPS: dict[str, Callable[[Line], bool]] = {
    **{f"event=={name}": named(name) for name in NAMES},
    "event!=buy": lambda event: event.name != "buy",
    "path==/a": lambda event: event.url == "https://example.com/a",
    "path==/a;event==cart": lambda event: event.url == "https://example.com/a" and event.name == "cart",
    "site!=": lambda _: True,
    "country==": lambda event: event.country is None,
}
FUNNELS = st.lists(st.sampled_from(list(STEPS)), min_size=2, max_size=4)


@given(steps=FUNNELS, days=st.integers(1, 7))
def test_visitors_and_times_of_each_step_are_those_of_every_chain(made: AskedKind, steps: list[str], days: int) -> None:
    answer = made.ask(steps=";;".join(steps), window=f"{days}d")
    expected = funnel(made.people, [STEPS[step] for step in steps], timedelta(days=days))
    assert as_counted(answer["steps"]) == expected
    assert answer["total"]["visitors"] == expected.visitors[0]
    assert answer["total"]["converted"] == expected.visitors[-1]


@given(steps=FUNNELS, limit=st.integers(1, 4))
def test_values_are_those_of_the_first_event_of_the_first_step(made: AskedKind, steps: list[str], limit: int) -> None:
    answer = made.ask(steps=";;".join(steps), window="2d", by="country", limit=str(limit))
    expected = funnel_by(made.people, [STEPS[step] for step in steps], timedelta(days=2), lambda event: event.country)
    shown = _by_value(answer["rows"])
    assert sorted(shown) == sorted(range(min(limit, len(expected)) + (limit < len(expected))))
    for place, (value, others, counted) in shown.items():
        if not others:
            assert counted == expected[value], place
    for step in range(len(steps)):
        rows = [counted.visitors[step] for _, _, counted in shown.values()]
        assert sum(rows) == answer["steps"][step]["visitors"]
    assert sum(others or 1 for _, others, _ in shown.values()) == len(expected)


def _by_value(rows: list[dict[str, Any]]) -> dict[int, tuple[str | None, int, Counted]]:
    """By place: value, how many others, numbers of the steps."""
    starts = [place for place, row in enumerate(rows) if row["step"] == 1]
    found = {}
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(rows)], strict=True)):
        found[number] = (rows[start]["value"], rows[start].get("others", 0), as_counted(rows[start:end]))
    return found


@pytest.mark.parametrize(
    ("parameters", "keep"),
    [
        ({"bots": "include"}, lambda _: True),
        ({"bots": "only"}, lambda event: event.ua == GOOGLEBOT),
        ({"site": "example.org"}, lambda event: event.site == "example.org" and event.ua == FIREFOX),
        ({"filter": "country!=DE"}, lambda event: event.country != "DE" and event.ua == FIREFOX),
        (
            {"from": "2026-11-17T00:00:00.500Z", "to": "2026-11-19T06:00:00Z"},
            lambda event: "2026-11-17T00:00:00.500" <= event.time < "2026-11-19T06:00:00" and event.ua == FIREFOX,
        ),
    ],
    ids=["with bots", "bots", "site", "filter", "instants"],
)
def test_bots_site_filter_and_time_choose_the_events(
    made: AskedKind, parameters: dict[str, str], keep: Callable[[Line], bool]
) -> None:
    answer = made.ask(steps="event==view;;event==cart", **parameters)
    kept = [event for event in made.events if keep(event)]
    assert as_counted(answer["steps"]) == funnel(kept, [named("view"), named("cart")], timedelta(days=7))


def test_visitors_of_a_daily_hash_are_counted(made: AskedKind) -> None:
    answer = made.ask(steps="event==view;;event==cart")
    daily = {event.visitor for event in made.people if event.daily and event.name == "view"}
    assert answer["total"]["daily_visitors"] == len(daily) > 0


def test_visitors_of_one_number_are_told_apart(made: AskedKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all visitors had one of eight numbers."""
    strong = TextNumbers.number
    monkeypatch.setattr(
        TextNumbers,
        "number",
        lambda self, text, column=None: (
            f"({strong(self, text, column)}) % 8" if self.keyed and "% 8" not in text else strong(self, text, column)
        ),
    )
    answer = made.ask(steps="event==view;;event==cart;;event==buy")
    expected = funnel(made.people, [named(name) for name in NAMES], timedelta(days=7))
    assert as_counted(answer["steps"]) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"steps": "event==a"},
        {"steps": ";;".join(["event==a"] * 9)},
        {"steps": "event==a;;nonsense==b"},
        {"steps": "event==a;;b"},
        {"steps": "event==a;;\udc80==b"},
        {"steps": "event==a;;" + ";".join(["event==b"] * 21)},
        *({"steps": "event==a;;event==b", "window": window} for window in ("0d", "366d", "-1d", "7", "visits", "٣d")),
        {"steps": "event==a;;event==b", "interval": "day"},
        {"steps": "event==a;;event==b", "event": "a"},
        {"steps": "event==a;;entry==/"},
        {"steps": "event==a;;event==b", "by": "exit"},
        {"steps": "event==a;;event==b", "filter": "entry==/"},
    ],
    ids=str,
)
def test_what_is_no_funnel_is_refused_by_name(parameters: dict[str, str]) -> None:
    with pytest.raises(QueryError) as found:
        parse_question({"kind": "funnel", **parameters}, NOW, "UTC")
    assert found.value.parameter == next(iter(reversed(parameters)), "steps")


def test_semicolons_in_values_are_no_steps() -> None:
    query = parse_question({"kind": "funnel", "steps": r"path==/a\;\;b;;path==/c\;;;path==/d"}, NOW, "UTC")
    assert [step[0].values for step in query.steps] == [("/a;;b",), ("/c;",), ("/d",)]  # type: ignore[attr-defined]


def test_eight_steps_of_one_visitor(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each step needs an event of its own, though every event matches every step."""
    data = data_directory(tmp_path_factory.mktemp("steps"))
    events = [line(f"event-{number}", NOON - DAY_MS + number % 3, name="view", visitor="ann") for number in range(7)]
    sealed(data, events)
    fold_all(data, NOON)
    with closing(connect(256 << 20, 1)) as database:
        answer = AskedKind(data, database, events, NOW, ALWAYS).ask(steps=";;".join(["event==view"] * 8))
    assert [row["visitors"] for row in answer["steps"]] == [1] * 7 + [0]


def test_recount_tries_every_chain() -> None:
    """What it is there to find: a later beginning within the window, and the order of
    events of one time.
    """
    first, second = NOON - 3 * DAY_MS, NOON - DAY_MS
    events = [
        line("b", first, name="view"),
        line("a", second, name="view"),
        line("c", second, name="buy"),
        line("0", second, name="buy"),
    ]
    found = funnel_recount.reached_by(events, [named("view"), named("buy")], timedelta(days=1))
    assert found == [(0, 0), (0, 0)]
    assert funnel_recount.reached_by(events[:2], [named("view"), named("buy")], timedelta(days=1)) == [(0, 0)]


MANY = 20_000


def test_events_of_one_visitor_cost_what_those_of_many_do(tmp_path: Path) -> None:
    """All match all of eight steps. In the square of them it would be 20,000 times as
    much.
    """
    one_s, many_s = (_seconds_of_eight_steps(tmp_path / str(visitors), visitors) for visitors in (1, MANY // 8))
    assert one_s < 5 * many_s


def _seconds_of_eight_steps(root: Path, visitors: int) -> float:
    data = data_directory(root)
    sealed(data, [line(f"event-{n}", NOON - DAY_MS + n, visitor=f"visitor-{n % visitors}") for n in range(MANY)])
    fold_all(data, NOON)
    with closing(connect(256 << 20, 1)) as database:
        made = AskedKind(data, database, [], NOW, ALWAYS)
        started = time.process_time()
        answer = made.ask(steps=";;".join(["event==pageview"] * 8))
        seconds = time.process_time() - started
    assert [row["visitors"] for row in answer["steps"]] == [visitors] * 8
    return seconds
