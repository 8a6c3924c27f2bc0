"""The trickle is bounded, whatever the visitors do."""

from __future__ import annotations

from foldlog.demo.quarter import people_of_sites
from foldlog.demo.trickle import PAUSE_MIN_S, WAITING_MAX, Trickle, _event


def test_visits_begin_a_second_apart_and_what_waits_is_bounded() -> None:
    trickle = Trickle(1, people_of_sites(1), 1, 90)
    now = 0.0
    for _ in range(2000):
        trickle._begin_visit(now)
        assert trickle._next_visit >= now + PAUSE_MIN_S
        assert len(trickle._waiting) <= WAITING_MAX
        now = trickle._next_visit
    assert len(trickle._waiting) == WAITING_MAX


def test_event_has_no_field_without_a_value() -> None:
    trickle = Trickle(1, people_of_sites(1), 1, 90)
    for _ in range(50):
        trickle._begin_visit(0.0)
    for due in trickle._waiting:
        assert all(value not in (None, "") for value in _event(due, "a" * 24).values())
