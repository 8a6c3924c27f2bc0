"""What only decorates an event never costs it, through the real decoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ingest.collect.adjust import with_whole_characters
from ingest.collect.body import JSON, NDJSON
from ingest.collect.native import decode
from ingest.collect.validate import Validated, validate_batch
from ingest.http.problem import Problem
from tests.builders.events import RECEIVED_MS

LIMIT = 500
LONG = "x" * 2990
APP = "android-app://com.google.android.googlequicksearchbox/"
PAGE = "https://example.com/a"

# What is sent, what is stored in its place, and the code; None: nothing was adjusted.
DECORATIONS: dict[str, tuple[dict[str, Any], Any, str | None]] = {
    "an app of Android": ({"referrer": APP}, APP, None),
    "an app of iOS": ({"referrer": "ios-app://294047850/https/x"}, "ios-app://294047850/https/x", None),
    "upper case": ({"referrer": "HTTPS://EXAMPLE.ORG/"}, "HTTPS://EXAMPLE.ORG/", None),
    "empty": ({"referrer": ""}, None, "referrer_left_out"),
    "about:blank": ({"referrer": "about:blank"}, None, "referrer_left_out"),
    "a file": ({"referrer": "file:///x"}, None, "referrer_left_out"),
    "an extension": ({"referrer": "chrome-extension://abcdef/popup.html"}, None, "referrer_left_out"),
    "a word": ({"referrer": "google"}, None, "referrer_left_out"),
    "an app without a name": ({"referrer": "android-app:///"}, None, "referrer_left_out"),
    "a bidi mark": ({"referrer": "https://e.example/\u200e"}, None, "referrer_left_out"),
    "a control character": ({"referrer": "https://e.example/\x1b"}, None, "referrer_left_out"),
    "a number": ({"referrer": 5}, None, "referrer_left_out"),
    "an object": ({"referrer": {"href": PAGE}}, None, "referrer_left_out"),
    "false": ({"referrer": False}, None, "referrer_left_out"),
    "too long": ({"referrer": f"https://e.example/{LONG}"}, "https://e.example/", "referrer_cut"),
    "2,001 characters": (
        {"referrer": "https://e.example?".ljust(2001, "x")},
        "https://e.example/",
        "referrer_cut",
    ),
    "too long, and no page": ({"referrer": f"data:{LONG}"}, None, "referrer_left_out"),
    "a host that is too long": ({"referrer": f"https://{LONG}/"}, None, "referrer_left_out"),
    "too long, with a password": (
        {"referrer": f"https://u:p@e.example:8443/{LONG}"},
        "https://e.example:8443/",
        "referrer_cut",
    ),
    "too long, of an app": ({"referrer": f"android-app://com.x/{LONG}"}, "android-app://com.x/", "referrer_cut"),
    "too long, with a bidi mark in its host": (
        {"referrer": f"https://e\u200e.example/{LONG}"},
        None,
        "referrer_left_out",
    ),
    "33 KB": ({"referrer": f"https://e.example/{LONG * 11}"}, "https://e.example/", "referrer_cut"),
    "session 0": ({"session": "0"}, None, "session_left_out"),
    "session null as text": ({"session": "null"}, None, "session_left_out"),
    "session empty": ({"session": ""}, None, "session_left_out"),
    "session of 101 characters": ({"session": "x" * 101}, None, "session_left_out"),
    "session a number": ({"session": 17}, None, "session_left_out"),
    "session with C1": ({"session": "a\x85b"}, None, "session_left_out"),
    "a query without parameters": ({"url": f"{PAGE}?{LONG}"}, PAGE, "url_cut"),
    "a long last parameter": ({"url": f"{PAGE}?utm_source=a&b=c&d={LONG}"}, f"{PAGE}?utm_source=a&b=c", "url_cut"),
    "a long fragment": ({"url": f"{PAGE}?b=c#{LONG}"}, f"{PAGE}?b=c", "url_cut"),
    "a fragment without a query": ({"url": f"{PAGE}&b#{LONG}"}, f"{PAGE}&b", "url_cut"),
    "33 KB of a query": ({"url": f"{PAGE}?b=c&d={LONG * 11}"}, f"{PAGE}?b=c", "url_cut"),
    "33 KB of a fragment": ({"url": f"{PAGE}#{LONG * 11}"}, PAGE, "url_cut"),
    "a path of 2,000 characters": ({"url": PAGE.ljust(2000, "&") + "?b"}, PAGE.ljust(2000, "&"), "url_cut"),
    "a whole number with a point": ({"time": float(RECEIVED_MS)}, RECEIVED_MS, None),
    "props as PHP writes none": ({"props": []}, None, None),
}


def validate(*events: dict[str, Any], media_type: str = JSON) -> Validated:
    texts = [json.dumps({"name": "x"} | each) for each in events]
    body = "\n".join(texts) if media_type == NDJSON else f'{{"events":[{",".join(texts)}]}}'
    batch = decode(body.encode(), media_type, LIMIT)
    return validate_batch(batch.events, RECEIVED_MS, batch.sent_at, batch.columns, batch.adjusted)


def adjusted(found: Validated) -> list[tuple[int, str, str]]:
    return [(each.index, each.field, each.code) for each in found.adjusted]


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
@pytest.mark.parametrize("neighbours", [0, 10])
@pytest.mark.parametrize(("sent", "stored", "code"), DECORATIONS.values(), ids=DECORATIONS)
def test_the_event_is_stored_without_what_does_not_fit(
    sent: dict[str, Any], stored: Any, code: str | None, neighbours: int, media_type: str
) -> None:
    around: Sequence[dict[str, Any]] = [{"referrer": PAGE}] * neighbours
    found = validate(*around, sent, *around, media_type=media_type)
    assert found.rejected == []
    assert [event.referrer for event, _ in (found.accepted[:neighbours] + found.accepted[neighbours + 1 :])] == [
        PAGE
    ] * (2 * neighbours)
    (field,) = sent
    assert getattr(found.accepted[neighbours][0], field) == stored
    assert adjusted(found) == ([(neighbours, field, code)] if code else [])


def test_several_fields_of_several_events_are_listed_in_order() -> None:
    found = validate({"session": "0", "referrer": ""}, {}, {"url": f"{PAGE}?{LONG}", "referrer": "about:blank"})
    assert sorted(adjusted(found)) == [
        (0, "referrer", "referrer_left_out"),
        (0, "session", "session_left_out"),
        (2, "referrer", "referrer_left_out"),
        (2, "url", "url_cut"),
    ]
    assert [each.index for each in found.adjusted] == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"url": f"https://e.example/{LONG}?a"}, "url_too_long"),
        ({"visitor": "0"}, "visitor_junk"),
        ({"name": ""}, "name_too_short"),
        ({"nope": 1}, "unknown_field"),
        ({"time": 1.5}, "time_type"),
        ({"time": 0.0}, "too_old"),
        ({"props": [1]}, "props_type"),
        ({"props": {"a": LONG * 11}}, "event_too_large"),
        ({"url": f"{PAGE}?{LONG * 22}"}, "event_too_large"),
    ],
)
def test_an_event_that_is_rejected_all_the_same_says_why(sent: dict[str, Any], code: str) -> None:
    found = validate({"referrer": ""} | sent)
    assert ([each.code for each in found.rejected], adjusted(found)) == ([code], [])


@pytest.mark.parametrize("size", [33 << 10, 80 << 10])
def test_an_event_that_is_too_large_costs_no_neighbour(size: int) -> None:
    deep = b'{"name":"a","x":%b}' % (b"[" * size)
    body = b'{"events":[{"name":"a","url":"%b"},{"name":"b"}]}' % (b"x" * size)
    assert [getattr(each, "code", "") for each in decode(body, JSON, LIMIT).events] == ["event_too_large", ""]
    lines = decode(deep + b'\n{"name":"b"}', NDJSON, LIMIT).events
    assert getattr(lines[0], "code", "") == "event_too_large"


@pytest.mark.parametrize("sent_at", [float(RECEIVED_MS - 1000), RECEIVED_MS - 1000])
def test_sent_at_may_have_a_point(sent_at: float) -> None:
    body = json.dumps({"sent_at": sent_at, "events": [{"name": "a", "time": RECEIVED_MS - 5000}]}).encode()
    batch = decode(body, JSON, LIMIT)
    ((_, time_ms),) = validate_batch(batch.events, RECEIVED_MS, batch.sent_at).accepted
    assert time_ms == RECEIVED_MS - 4000


@pytest.mark.parametrize("sent_at", ["1.5", "-1.0", "1e400", "1e20", "true", '"1795960353442"'])
def test_sent_at_that_is_no_time_is_named(sent_at: str) -> None:
    with pytest.raises(Problem, match="sent_at"):
        decode(b'{"sent_at":%b,"events":[{"name":"a"}]}' % sent_at.encode(), JSON, LIMIT)


def test_a_repeated_key_is_still_rejected() -> None:
    batch = decode(b'{"events":[{"name":"a"},{"name":"x","referrer":"","name":"y"}]}', JSON, LIMIT)
    assert [getattr(each, "code", "") for each in batch.events] == ["", "key_repeated"]


HALVES = {
    "high": (rb'"hi \ud83d"', "hi \ufffd"),
    "low": (rb'"\ude00 hi"', "\ufffd hi"),
    "the wrong way round": (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
    "two high, one low": (rb'"\uD83D\uD83D\uDE00"', "\ufffd😀"),
    "a whole one": (rb'"\ud83d\ude00\ud83d"', "😀\ufffd"),
    "behind a backslash": (rb'"\\\ud83d"', "\\\ufffd"),
    "no escape at all": (rb'"\\ud83d \ud83d"', "\\ud83d \ufffd"),
}


@pytest.mark.parametrize(("text", "stored"), HALVES.values(), ids=HALVES)
def test_half_a_character_costs_no_event(text: bytes, stored: str) -> None:
    events = b'{"name":"a","props":{"t":%b}},{"name":"b"}' % text
    for body, media_type in ((b'{"events":[%b]}' % events, JSON), (events.replace(b"},{", b"}\n{"), NDJSON)):
        found = validate_batch(decode(body, media_type, LIMIT).events, RECEIVED_MS, None)
        assert found.rejected == []
        assert [(event.name, event.props) for event, _ in found.accepted] == [("a", {"t": stored}), ("b", None)]


def test_half_a_character_in_a_key_is_replaced() -> None:
    (event,) = decode(rb'{"events":[{"name":"a","props":{"\ud800":1}}]}', JSON, LIMIT).events
    assert getattr(event, "props", None) == {"\ufffd": 1}


def test_text_without_halves_stays_as_it_is() -> None:
    for text in (b"{}", rb'"\u00e4\\u\ud83d\ude00\\"', rb"\\\\\\ud83d"):
        assert with_whole_characters(text) == text
