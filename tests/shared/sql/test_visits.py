"""The definition of a visit in SQL says what a recount in plain Python says: out of
order, at equal times, around midnights of any zone and changed clocks, over chains of
days, for several sessions and sites, and for hashes of a day.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.duckdb_engine import connect
from shared.schema import ARCHIVE_COLUMNS
from shared.sql.texts import TextNumbers
from shared.sql.visits import VISIT_COLUMNS, VisitDay, go_on_sql, visits_digest
from tests.builders.collisions import colliding
from tests.builders.recount_visits import Event, Visit, visits_of

# Days on which Berlin puts its clocks back, and forward.
FIRST_DAYS = (date(2026, 10, 24), date(2026, 3, 28))
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu")
COLUMNS = "begun_at, ended_at, site, visitor, session, bot, events, views, others, entry, exit, country"


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(256 << 20, 1) as found:
        yield found


def load(database: duckdb.DuckDBPyConnection, events: list[Event]) -> None:
    """The table `events`, with the columns of the archive."""
    named = {"event": "name"}
    given = {name: [getattr(each, named.get(name, name)) for each in events] for name in ARCHIVE_COLUMNS if has(name)}
    for name in ("time", "received"):
        given[name] = [each.replace(tzinfo=None) for each in given[name]]
    unnested = ", ".join(f"unnest(${name}::{ARCHIVE_COLUMNS[name]}[]) AS {name}" for name in given)
    columns = ", ".join(name if name in given else f"NULL::{kind} AS {name}" for name, kind in ARCHIVE_COLUMNS.items())
    database.execute(f"CREATE OR REPLACE TEMP TABLE given AS SELECT {unnested}", given)
    database.execute(f"CREATE OR REPLACE TEMP TABLE events AS SELECT {columns}, rowid AS row FROM given")


def has(name: str) -> bool:
    return name == "event" or name in Event._fields


def made(database: duckdb.DuckDBPyConnection, events: list[Event], zone: str) -> list[Visit]:
    """The visits of all days, one day after another, as a pass makes them."""
    load(database, events)
    days = sorted({each.time.date() for each in events})
    rows: list[tuple[Any, ...]] = []
    database.execute(f"CREATE OR REPLACE TEMP TABLE earlier ({', '.join(map(' '.join, VISIT_COLUMNS.items()))})")
    for back in range((days[-1] - days[0]).days + 2):
        day = days[0] + timedelta(days=back)
        of = VisitDay(day, zone, TextNumbers(strong=True))
        own = f"(FROM events WHERE time::DATE = DATE '{day}')"
        for statement in of.statements(own, of.carried_sql("earlier")):
            database.execute(statement)
        pieces = f"(FROM visits_of_day WHERE begun_at < DATE '{day}')"
        rows += database.execute(f"SELECT {COLUMNS} FROM ({of.extended_sql('earlier', pieces)})").fetchall()
        database.execute(f"CREATE OR REPLACE TEMP TABLE earlier AS FROM visits_of_day WHERE begun_at >= DATE '{day}'")
    visits = [Visit(begun.replace(tzinfo=UTC), ended.replace(tzinfo=UTC), *rest) for begun, ended, *rest in rows]
    return sorted(visits, key=repr)


# Minutes from the beginning of the first day: near midnights and limits, and anywhere.
minutes = st.one_of(
    st.integers(0, 4 * 24 * 60),
    st.sampled_from([0, 24 * 60, 48 * 60, 72 * 60, 22 * 60, 46 * 60, 23 * 60]).flatmap(
        lambda at: st.integers(-61, 61).map(lambda more: max(0, at + more))
    ),
)


@st.composite
def some_events(draw: st.DrawFn) -> list[Event]:
    start = datetime.combine(draw(st.sampled_from(FIRST_DAYS)), datetime.min.time(), UTC)
    times = draw(st.lists(minutes, min_size=1, max_size=12))
    # A chain of events 29 minutes apart, or just half an hour.
    step, length = draw(st.sampled_from([(29, 0), (29, 110), (30, 20), (10, 3)]))
    times += [draw(minutes) + step * number for number in range(length)]
    return [
        Event(
            start + timedelta(minutes=at, milliseconds=draw(st.sampled_from([0, 0, 0, 1, -1])) if at else 0),
            start + timedelta(days=5, seconds=draw(st.integers(0, 1))),
            f"id-{draw(st.integers(0, 3))}-{number}",
            draw(st.sampled_from(["example.com", "example.com", "example.org"])),
            draw(st.sampled_from(["ann", "ann", "bob", None])),
            draw(st.sampled_from([None, None, None, "s", "t"])),
            draw(st.sampled_from([None, None, True])),
            draw(st.sampled_from([False, False, False, True])),
            draw(st.sampled_from(["pageview", "pageview", "click", "engaged"])),
            draw(st.sampled_from(["/", "/a", None])),
            draw(st.sampled_from(["DE", None])),
            draw(st.sampled_from([None, "key"])),
        )
        for number, at in enumerate(times)
    ]


@given(events=some_events(), zone=st.sampled_from(ZONES))
def test_visits_are_those_of_a_recount(database: duckdb.DuckDBPyConnection, events: list[Event], zone: str) -> None:
    assert made(database, events, zone) == visits_of(events, zone)


START = datetime(2026, 11, 22, 12, tzinfo=UTC)


def chain(minutes_apart: float, count: int, **fields: Any) -> list[Event]:
    return [
        Event(START + timedelta(minutes=minutes_apart * number), START, f"id-{number:04}", **fields)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("events", "zone", "expected"),
    [
        (chain(29.99, 3), "UTC", [3]),
        (chain(30, 3), "UTC", [1, 1, 1]),
        (chain(300, 3, session="s"), "UTC", [3]),
        (chain(720, 5, session="s"), "UTC", [2, 2, 1]),
        (chain(20, 6 * 36), "UTC", [72, 72, 72]),
        (chain(20, 72, daily=True), "UTC", [36, 36]),
        (chain(20, 72, daily=True), "Europe/Berlin", [33, 39]),
        (
            [*chain(0, 2), *chain(0, 2, visitor="bob"), *chain(0, 2, site="b.org"), *chain(0, 1, bot=True)],
            "UTC",
            [2, 2, 2, 1],
        ),
        (chain(0, 3, visitor=None), "UTC", []),
    ],
    ids=["gap", "no gap", "session", "long session", "chain", "hash", "hash in Berlin", "apart", "no visitor"],
)
def test_visits_are_cut(
    database: duckdb.DuckDBPyConnection, events: list[Event], zone: str, expected: list[int]
) -> None:
    found = made(database, events, zone)
    assert sorted(each.events for each in found) == sorted(expected)
    assert found == visits_of(events, zone)


def test_texts_cannot_move_into_each_other(database: duckdb.DuckDBPyConnection) -> None:
    """A separator in one of them would join visits that are apart."""
    apart = [
        Event(START, START, f"id-{number}", site, visitor, session)
        for number, (site, visitor, session) in enumerate(
            [("a", "b\x1fc", "d"), ("a\x1fb", "c", "d"), ("a", "b", "c\x1fd"), ("a", "b", ""), ("a", "b", None)]
        )
    ]
    assert len(made(database, apart, "UTC")) == len(apart)


def test_digest_tells_visits_that_go_on_apart(database: duckdb.DuckDBPyConnection) -> None:
    seen = set()
    for count in (10, 37, 38, 39):
        load(database, chain(20, count))
        of = VisitDay(START.date(), "UTC", TextNumbers(strong=True))
        for statement in of.statements("(FROM events)"):
            database.execute(statement)
        (row,) = database.execute(go_on_sql("visits_of_day", START.date())).fetchall()
        seen.add(visits_digest(row))
    assert len(seen) == 4 and "" in seen


@pytest.mark.long
@pytest.mark.parametrize("kind", ["one visitor", "one instant", "sessions of one visitor", "colliding visitors"])
def test_worst_events_cost_as_much_as_others(database: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Four times the events take about four times as long, not sixteen."""
    seconds = [cost(database, kind, count) for count in (50_000, 200_000)]
    assert seconds[1] < 10 * seconds[0]


def cost(database: duckdb.DuckDBPyConnection, kind: str, count: int) -> float:
    visitors = colliding(count // 4) if kind == "colliding visitors" else ["ann"]
    shift = 0 if kind == "one instant" else 1
    load(
        database,
        [
            Event(
                START + timedelta(milliseconds=shift * number % 40_000_000),
                START,
                f"id-{number}",
                visitor=visitors[number % len(visitors)],
                session=f"s-{number}" if kind == "sessions of one visitor" else None,
            )
            for number in range(count)
        ],
    )
    started = time.process_time()
    for statement in VisitDay(START.date(), "UTC", TextNumbers(strong=True)).statements("(FROM events)"):
        database.execute(statement)
    return time.process_time() - started
