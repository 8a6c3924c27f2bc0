"""What has just arrived: kept only while an operator watches, in a ring of fixed size,
and without what tells visitors apart.
"""

from __future__ import annotations

import json
import os

import pytest

from ingest.collect.event import Event
from ingest.collect.validate import Rejection, Validated
from ingest.http.problem import Problem
from ingest.observe.arrivals import A_SECOND_MOST, OF_REQUEST_MOST, WATCHED_S, Arrivals
from shared.rate_table import ARRIVALS, make_table

NS = 1_000_000_000


class Clock:
    now_ns = 5 * NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arrivals(clock: Clock) -> Arrivals:
    return Arrivals(-1, lambda: 1_800_000_000_000, clock)


def batch(*names: str, rejected: int = 0) -> Validated:
    accepted = [(Event(name=name, visitor="secret-visitor", url="https://a.example/p?q=secret"), 0) for name in names]
    return Validated(accepted, [Rejection(index, "too_old", "time", "the event is old") for index in range(rejected)])


def seen(arrivals: Arrivals, number: int = 0) -> list[dict[str, object]]:
    return [json.loads(text) for text in arrivals.since(number)[1]]


def test_nothing_is_kept_while_no_operator_watches(arrivals: Arrivals, clock: Clock) -> None:
    assert arrivals.of_batch(batch("a"), "a.example", dry_run=False) == []
    assert arrivals.of_problem(Problem(403, "origin", "no"), "a.example") == []
    arrivals.watch()
    assert arrivals.of_batch(batch("a"), "a.example", dry_run=False) != []
    clock.now_ns += round(WATCHED_S * NS) + 1
    assert arrivals.of_batch(batch("a"), "a.example", dry_run=False) == []


def test_an_arrival_says_what_and_why_but_not_who(arrivals: Arrivals) -> None:
    arrivals.watch()
    arrivals.add(arrivals.of_batch(batch("sign up", rejected=1), "a.example", dry_run=False))
    arrivals.add(arrivals.of_problem(Problem(403, "origin", "not a site"), "b.example"))
    arrivals.add(arrivals.of_batch(batch("tried"), "a.example", dry_run=True))
    rejected, accepted, refused, tried = seen(arrivals)
    at = "2027-01-15T08:00:00.000Z"
    assert accepted == {"at": at, "outcome": "accepted", "site": "a.example", "name": "sign up", "path": "/p"}
    assert (rejected["outcome"], rejected["code"], rejected["field"]) == ("rejected", "too_old", "time")
    assert (refused["outcome"], refused["status"], refused["site"]) == ("refused", 403, "b.example")
    assert tried["dry_run"] is True
    assert "secret" not in json.dumps(seen(arrivals))


def test_workers_see_what_arrived_at_each_other(clock: Clock) -> None:
    descriptor = make_table()
    one, other = (Arrivals(descriptor, lambda: 0, clock) for _ in range(2))
    os.close(descriptor)
    following = one.watch()
    for number in range(3):
        worker = (one, other)[number % 2]
        worker.add(worker.of_batch(batch(f"event {number}"), "a.example", dry_run=False))
    assert [each["name"] for each in seen(one, following)] == ["event 0", "event 1", "event 2"]
    assert seen(one) == seen(other)


def test_a_flood_shows_a_part_of_itself_and_keeps_the_last(arrivals: Arrivals, clock: Clock) -> None:
    arrivals.watch()
    assert len(arrivals.of_batch(batch(*"x" * 500), "a.example", dry_run=False)) == OF_REQUEST_MOST
    for _ in range(5):
        for number in range(1000):
            arrivals.add([{"name": str(number)}])
        assert [each["name"] for each in seen(arrivals)][-1] == str(A_SECOND_MOST - 1)
        clock.now_ns += NS
    following, kept = arrivals.since(0)
    assert (following, len(kept)) == (5 * A_SECOND_MOST, ARRIVALS)


@pytest.mark.parametrize("letter", ["a", "\0", '"', "\u202e", "\U0001f600", "\\"])
def test_any_text_fits_or_is_left_out(arrivals: Arrivals, letter: str) -> None:
    arrivals.watch()
    event = Event(name=letter * 100, url=f"https://a.example/{letter * 2000}")
    arrivals.add(arrivals.of_batch(Validated([(event, 0)], []), letter * 300, dry_run=False))
    arrivals.add(arrivals.of_batch(batch("after"), "a.example", dry_run=False))
    assert seen(arrivals)[-1]["name"] == "after"
    assert len(seen(arrivals)) in (1, 2)


@pytest.mark.parametrize("url", ["https://[", "https://[::1", "http://a:b@c/p", "http://"])
def test_a_url_that_cannot_be_parsed_costs_nothing(arrivals: Arrivals, url: str) -> None:
    arrivals.watch()
    arrivals.add(arrivals.of_batch(Validated([(Event(name="a", url=url), 0)], []), "a.example", dry_run=False))
    assert [each["name"] for each in seen(arrivals)] == ["a"]
