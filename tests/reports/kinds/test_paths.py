"""Paths equal a count in plain Python that makes a list of stays of each visit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.collect.encode import Line
from reports.kinds import parse_question
from reports.query_error import QueryError
from shared.duckdb_engine import connect
from tests.builders.asked_kind import AskedKind
from tests.builders.logs import FIREFOX, GOOGLEBOT, NOON, data_directory, fold_all, line, sealed
from tests.builders.paths_recount import as_sides, paths

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY_MS, MINUTE_MS = 86_400_000, 60_000
SPAN = {"from": "2026-11-15", "to": "2026-11-23"}


def make_events() -> list[Line]:
    """Many events of one time, and gaps of just half an hour."""
    pick = random.Random(5)
    return [
        line(
            f"event-{pick.randrange(10**6):06}-{number}",
            NOON - 5 * DAY_MS + pick.randrange(12) * 15 * MINUTE_MS - pick.choice([0, 0, 1]),
            NOON + pick.randrange(2),
            name=pick.choice(["pageview", "pageview", "signup"]),
            visitor=f"visitor-{visitor}",
            url=pick.choice([None, *(f"https://example.com/{name}" for name in "abcd")]),
            site=pick.choice(["example.com", "example.org"]) if visitor % 3 == 0 else "example.com",
            session=pick.choice([None, "s1", "s2"]) if visitor % 4 == 0 else None,
            ua=GOOGLEBOT if visitor % 10 == 0 else FIREFOX,
            sender=pick.choice([None, "key"]),
        )
        for visitor in range(80)
        for number in range(pick.randrange(1, 14))
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedKind]:
    data, events = data_directory(tmp_path_factory.mktemp("paths")), make_events()
    for lines in (events[::2], events[1::2]):
        sealed(data, lines)
        fold_all(data, NOON)
    with closing(connect(256 << 20, 1)) as database:
        yield AskedKind(data, database, events, NOW, {"kind": "paths", **SPAN})


def path(event: Line) -> str | None:
    return event.url.removeprefix("https://example.com") if event.url else None


@pytest.mark.parametrize("at", ["/a", "/d", "/none"])
def test_stays_before_and_after_are_those_of_each_visit(made: AskedKind, at: str) -> None:
    answer = made.ask(at=at, limit="1000")
    sides, total = paths(made.people, at, path)
    assert as_sides(answer["rows"]) == sides
    assert tuple(answer["total"].values()) == total
    for position in (-1, 1):
        assert sum(row["moves"] for row in answer["rows"] if row["position"] == position) == total[0]


@pytest.mark.parametrize(
    ("parameters", "keep"),
    [
        ({"bots": "include"}, lambda _: True),
        ({"site": "example.org"}, lambda event: event.site == "example.org" and event.ua == FIREFOX),
        ({"filter": "event==signup"}, lambda event: event.name == "signup" and event.ua == FIREFOX),
    ],
    ids=["with bots", "site", "filter"],
)
def test_bots_site_and_filter_choose_the_events(made: AskedKind, parameters: dict[str, str], keep: Any) -> None:
    answer = made.ask(at="/a", limit="1000", **parameters)
    sides, total = paths(filter(keep, made.events), "/a", path)
    assert (as_sides(answer["rows"]), tuple(answer["total"].values())) == (sides, total)


def test_events_have_paths_by_their_names(made: AskedKind) -> None:
    answer = made.ask(at="signup", by="event", limit="1000")
    sides, total = paths(made.people, "signup", lambda event: event.name)
    assert (as_sides(answer["rows"]), tuple(answer["total"].values())) == (sides, total)


def test_moves_beyond_the_limit_are_together(made: AskedKind) -> None:
    whole, short = made.ask(at="/a", limit="1000")["rows"], made.ask(at="/a", limit="2")["rows"]
    for position in (-2, -1, 1, 2):
        all_of, some = ([row for row in rows if row["position"] == position] for rows in (whole, short))
        assert some[:2] == all_of[:2]
        assert some[2]["others"] == len(all_of) - 2
        assert sum(row["moves"] for row in some) == sum(row["moves"] for row in all_of)
        assert some[2]["visitors"] >= max(row["visitors"] for row in all_of[2:])


@pytest.mark.parametrize(
    "parameters", [{}, {"at": ""}, {"at": "\udc80"}, {"at": "a" * 2001}, {"by": "country"}], ids=str
)
def test_what_are_no_paths_is_refused_by_name(parameters: dict[str, str]) -> None:
    with pytest.raises(QueryError) as found:
        parse_question(
            {"kind": "paths", "at": "/", **parameters} if "by" in parameters else {"kind": "paths", **parameters},
            NOW,
            "UTC",
        )
    assert found.value.parameter == next(iter(parameters), "at")
