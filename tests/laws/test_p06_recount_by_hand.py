"""The recount that reports are compared with, by hand: what both could have wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from shared.timestamps import epoch_ms
from tests.builders.logs import GOOGLEBOT, NOON, line
from tests.builders.recount import counted_events, recount, span


def test_the_recount_knows_zones_of_half_and_quarter_hours() -> None:
    lines = [
        msgspec.to_builtins(line("event-1", epoch_ms("2026-11-21T18:29:59.999Z"), name="before")),
        msgspec.to_builtins(line("event-2", epoch_ms("2026-11-21T18:30:00Z"), name="at", visitor="bob")),
    ]
    counted = counted_events(lines)
    day = {"from": "2026-11-22", "to": "2026-11-22", "by": "event"}
    assert recount(counted, {**day, "tz": "Asia/Kolkata"}).rows == {(None, "at"): (1, 1)}
    assert recount(counted, {**day, "tz": "Asia/Kathmandu"}).total == (2, 2)
    assert recount(counted, day).total == (0, 0)
    hours = recount(counted, {"from": "2026-11-21", "to": "2026-11-21", "tz": "Asia/Kathmandu", "interval": "hour"})
    assert hours.rows == {}
    hours = recount(counted, {**day, "tz": "Asia/Kathmandu", "interval": "hour"})
    assert hours.rows == {
        ("2026-11-22T00:00:00+05:45", "before"): (1, 1),
        ("2026-11-22T00:00:00+05:45", "at"): (1, 1),
    }
    assert span({"from": "2026-10-25", "to": "2026-10-25"}, ZoneInfo("Europe/Berlin")) == (
        datetime(2026, 10, 24, 22, tzinfo=UTC),
        datetime(2026, 10, 25, 23, tzinfo=UTC),
    )


def test_the_recount_takes_urls_apart() -> None:
    url = "https://example.com/a/b?x=1&utm_source=caf%C3%A9+au+lait&utm_medium=%FF&utm_campaign=#utm_source=no"
    made = line("event-1", url=url, referrer="https://me:secret@News.Example.ORG:8443/x?y", country="DE")
    (event,) = counted_events([msgspec.to_builtins(made)])
    assert [event.values[name] for name in ("path", "referrer", "utm_source", "utm_medium", "utm_campaign")] == [
        "/a/b",
        "news.example.org",
        "caf\u00e9 au lait",
        "%FF",
        None,
    ]
    assert [event.values[name] for name in ("event", "site", "country", "browser", "os", "device")] == [
        "pageview",
        "example.com",
        "DE",
        "Firefox",
        "Linux",
        "desktop",
    ]


@pytest.mark.parametrize("own", ["https://www.example.com/", "https://example.com", "https://shop.example/a"])
def test_the_recount_leaves_out_referrers_of_own_sites(own: str) -> None:
    (event,) = counted_events([msgspec.to_builtins(line("event-1", referrer=own))], sites=["shop.example"])
    assert event.values["referrer"] is None


def test_the_recount_counts_the_copy_that_was_received_first() -> None:
    copies = [
        line("event-1", NOON, NOON + 2, name="second"),
        line("event-1", NOON, NOON + 1, name="first", ua=GOOGLEBOT),
        line("event-1", NOON, NOON + 3, site="other.org"),
    ]
    counted = counted_events(map(msgspec.to_builtins, copies))
    day = {"from": "2026-11-22", "to": "2026-11-22", "by": "event", "bots": "include"}
    assert recount(counted, day).rows == {(None, "first"): (1, 1), (None, "pageview"): (1, 1)}
    assert recount(counted, {**day, "bots": "only"}).total == (1, 1)
    assert recount(counted, {**day, "site": "other.org"}).total == (1, 1)
    assert recount(counted, {**day, "filter": "event!=first"}).total == (1, 1)


def test_the_recount_refuses_copies_that_are_too_far_apart() -> None:
    copies = [line("event-1", NOON - days * 86_400_000, NOON) for days in (0, 4)]
    with pytest.raises(ValueError, match="more than 3 days apart"):
        counted_events(map(msgspec.to_builtins, copies))


def test_the_recount_keeps_apart_what_a_key_sent_and_what_a_page_sent() -> None:
    sent = msgspec.to_builtins(line("invoice-1")) | {"v": 2}
    of_senders = [sent, sent, sent | {"sender": "key"}, sent | {"sender": "import"}]
    assert len(counted_events(of_senders)) == 3
    assert len(counted_events([*of_senders, sent | {"v": 1}])) == 1
