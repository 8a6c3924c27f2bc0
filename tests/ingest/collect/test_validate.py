"""Validation, through the real decoder: a bad event is rejected with its code and
field, and costs no neighbour (P12).
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect.body import JSON, NDJSON
from ingest.collect.event import EVENT_MAX_BYTES
from ingest.collect.identity import is_harmless
from ingest.collect.native import decode
from ingest.collect.validate import Rejection, Validated, is_http_url, is_id, validate_batch
from shared.control_chars import CONTROL_CHARS
from shared.timestamps import rfc3339
from tests.builders.events import ACCEPTED, HOUR_MS, MINUTE_MS, RECEIVED_MS, REJECTED, event

LIMIT = 500
MANY = 10  # events that are validated together


def validate(*events: str, sent_at: object = None, padding: str = "") -> Validated:
    """The events of a batch as a client sends it."""
    body = f'{{"events":[{",".join(events)}],"sent_at":{json.dumps(sent_at)}}}{padding}'
    batch = decode(body.encode("utf-8"), JSON, LIMIT)
    return validate_batch(batch.events, RECEIVED_MS, batch.sent_at, batch.columns)


def rejection_of(raw: str, padding: str = "", neighbours: int = 1) -> Rejection:
    """The rejection of an event between good ones that must be accepted."""
    validated = validate(*['{"name":"before"}'] * neighbours, raw, *['{"name":"after"}'] * neighbours, padding=padding)
    assert [accepted[0].name for accepted in validated.accepted] == ["before"] * neighbours + ["after"] * neighbours
    (rejected,) = validated.rejected
    assert rejected.index == neighbours
    return rejected


@pytest.mark.parametrize(("raw", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_bad_event_is_rejected_with_its_code_and_field(raw: str, code: str, field: str | None) -> None:
    found = rejection_of(raw)
    assert (found.code, found.field) == (code, field)


@pytest.mark.parametrize(("raw", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_rejection_does_not_depend_on_the_size_of_the_batch(raw: str, code: str, field: str | None) -> None:
    alone = rejection_of(raw)
    assert rejection_of(raw, padding=" " * EVENT_MAX_BYTES) == alone
    assert rejection_of(raw, neighbours=MANY) == replace(alone, index=MANY)


@pytest.mark.parametrize(("raw", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_rejection_does_not_depend_on_the_media_type(raw: str, code: str, field: str | None) -> None:
    events = decode(f'{{"name":"x"}}\n{raw}\n'.encode(), NDJSON, LIMIT).events
    assert [(found.index, found.code, found.field) for found in validate_batch(events, RECEIVED_MS, None).rejected] == [
        (1, code, field)
    ]


@pytest.mark.parametrize("fields", ACCEPTED.values(), ids=ACCEPTED)
def test_good_event_is_accepted_as_it_is(fields: dict[str, Any]) -> None:
    validated = validate(event(**fields))
    assert validated.rejected == []
    (found,) = validated.accepted
    assert validate(*[event(**fields)] * MANY).accepted == [found] * MANY
    for name, value in ({"name": "pageview"} | fields).items():
        assert getattr(found[0], name) == value


MARKED = "SECRETMARK"
ECHOES = {
    "name": event(name=MARKED + "\x1b"),
    "long name": event(name=MARKED * 20),
    "id": event(id=f"{MARKED}!"),
    "time": event(time=MARKED),
    "visitor": event(visitor=MARKED + "\x1b"),
    "url": event(url=f"ftp://{MARKED}"),
    "value": event(value=MARKED),
    "props value": event(props={"k": MARKED * 300}),
    "props key": event(props={MARKED * 20: 1}),
    "key of a nested value": event(props={MARKED: {}}),
    "unknown field": event(**{MARKED: MARKED}),
    "event": json.dumps(MARKED),
}


@pytest.mark.parametrize("raw", ECHOES.values(), ids=ECHOES)
def test_detail_repeats_nothing_from_the_client(raw: str) -> None:
    found = rejection_of(raw)
    assert MARKED not in found.detail
    assert found.field is None or len(found.field) <= 100
    assert "`" not in found.detail
    assert "$" not in found.detail


def test_name_of_an_unknown_field_is_truncated() -> None:
    assert rejection_of(event(**{"x" * 5000: 1})).field == "x" * 100


def test_events_and_rejections_are_in_the_order_of_the_batch() -> None:
    validated = validate(
        event(name=""), event(id="aaaaaaaa"), event(nope=1), event(id="bbbbbbbb"), "null", event(visitor="null")
    )
    assert [accepted[0].id for accepted in validated.accepted] == ["aaaaaaaa", "bbbbbbbb"]
    expected = [(0, "name_too_short"), (2, "unknown_field"), (4, "event_type"), (5, "visitor_junk")]
    assert [(found.index, found.code) for found in validated.rejected] == expected


# Times relative to the arrival, in milliseconds. None: rejected too_old.
TIMES: dict[str, tuple[object, object, int | None]] = {
    "no time": (None, None, 0),
    "a minute ago": (-MINUTE_MS, None, -MINUTE_MS),
    "5 minutes ahead": (5 * MINUTE_MS, None, 5 * MINUTE_MS),
    "5 minutes and 1 ms ahead is clamped": (5 * MINUTE_MS + 1, None, 0),
    "a year ahead is clamped": (365 * 24 * HOUR_MS, None, 0),
    "72 hours ago": (-72 * HOUR_MS, None, -72 * HOUR_MS),
    "72 hours and 1 ms ago": (-72 * HOUR_MS - 1, None, None),
    "clock an hour behind": (-HOUR_MS - MINUTE_MS, -HOUR_MS, -MINUTE_MS),
    "clock an hour ahead": (HOUR_MS - MINUTE_MS, HOUR_MS, -MINUTE_MS),
    "clock a day behind": (-24 * HOUR_MS, -24 * HOUR_MS, 0),
    "clock a day ahead": (24 * HOUR_MS, 24 * HOUR_MS, 0),
    "a stored body of four days ago": (-96 * HOUR_MS, -96 * HOUR_MS, None),
    "a stored body of 25 hours ago": (-26 * HOUR_MS, -25 * HOUR_MS, -26 * HOUR_MS),
    "skew taken out makes it too old": (-50 * HOUR_MS, 23 * HOUR_MS, None),
    "skew taken out keeps it": (-80 * HOUR_MS, -20 * HOUR_MS, -60 * HOUR_MS),
    "skew taken out clamps it": (MINUTE_MS, -10 * MINUTE_MS, 0),
    "sent_at alone changes nothing": (None, -HOUR_MS, 0),
}


def _moment(offset_ms: object, form: str) -> object:
    if not isinstance(offset_ms, int):
        return None
    at = RECEIVED_MS + offset_ms
    return {"epoch": at, "zulu": rfc3339(at), "offset": rfc3339(at + 2 * HOUR_MS).replace("Z", "+02:00")}[form]


@pytest.mark.parametrize("form", ["epoch", "zulu", "offset"])
@pytest.mark.parametrize(("time", "sent_at", "expected"), TIMES.values(), ids=TIMES)
def test_time_is_corrected_clamped_or_too_old(time: object, sent_at: object, expected: int | None, form: str) -> None:
    validated = validate(event(time=_moment(time, form)), sent_at=_moment(sent_at, form))
    many = validate(*[event(time=_moment(time, form))] * MANY, sent_at=_moment(sent_at, form))
    assert many.accepted == validated.accepted * MANY
    if expected is None:
        assert [found.code for found in validated.rejected] == ["too_old"]
    else:
        assert [accepted[1] - RECEIVED_MS for accepted in validated.accepted] == [expected]


def test_year_9999_is_clamped_to_the_time_of_receipt() -> None:
    validated = validate(event(time="9999-12-31T23:59:59Z"), event(time=253_402_300_799_999))
    assert [accepted[1] for accepted in validated.accepted] == [RECEIVED_MS, RECEIVED_MS]


def test_time_is_rounded_to_milliseconds() -> None:
    validated = validate(event(time="2026-11-22T15:59:59.123456789Z"))
    assert [rfc3339(accepted[1]) for accepted in validated.accepted] == ["2026-11-22T15:59:59.123Z"]


# The decoder returns no surrogates: tests/ingest/collect/test_native.py holds that.
CHARACTERS = st.one_of(
    st.sampled_from("aZ0_- :/hHtTpPsS"),
    st.sampled_from("\0\t\n\r\x1b\x7f\x80\x85\x9b\x9f\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069"),
    st.characters(exclude_categories=["Cs"]),
)
TEXT = st.text(CHARACTERS, max_size=12)


@given(TEXT)
def test_is_harmless_finds_every_control_character(text: str) -> None:
    assert is_harmless(text) == (CONTROL_CHARS.search(text) is None)


@pytest.mark.parametrize("block", range(0, 0x110000, 0x8000))
def test_no_control_character_is_printable(block: int) -> None:
    assert not [c for c in map(chr, range(block, block + 0x8000)) if c.isprintable() and CONTROL_CHARS.match(c)]


@given(TEXT)
def test_id_is_made_of_the_64_characters_only(text: str) -> None:
    assert is_id(text) == (re.fullmatch(r"[A-Za-z0-9_-]*", text) is not None)


@given(TEXT | TEXT.map("https://".__add__) | TEXT.map("HTTP://".__add__))
def test_address_is_http_and_harmless(text: str) -> None:
    expected = re.match(r"https?://", text, re.IGNORECASE | re.ASCII) is not None and CONTROL_CHARS.search(text) is None
    assert is_http_url(text) == expected


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["abcdefgh", "ABC-12_9", "not an id", "ä" * 8]),
        "name": st.sampled_from(["pageview", "a\u200eb", "größe", "a\x7fb"]),
        "time": st.none() | st.integers(-80, 1).map(lambda hours: RECEIVED_MS + hours * HOUR_MS),
        "visitor": st.sampled_from(["v-1", "NULL", "0-0 0", "-1", " ", "ü", "a\x1bb"]),
        "session": st.sampled_from(["s-1", "undefined", "000", "s\n"]),
        "url": st.sampled_from(
            ["https://example.com/", "HTTP://example.com/", "ftp://example.com/", "http://e.example/\u202e"]
        ),
        "referrer": st.sampled_from(["http://example.com/", "https:/example.com", "android-app://x"]),
        "value": st.sampled_from([None, 0, 1.5]),
        "props": st.sampled_from([None, {}, {"a": None}, {"k": "v"}]),
    },
)


@given(st.lists(FIELDS, min_size=1, max_size=6), st.lists(FIELDS, max_size=2), st.booleans())
def test_columns_are_validated_as_each_event_is(
    likely: list[dict[str, Any]], rare: list[dict[str, Any]], ascii_only: bool
) -> None:
    """Also where all events but one are valid."""
    good = [{"visitor": f"v{n}", "url": "https://example.com/"} for n in range(MANY)]
    fields = [{"name": "pageview"} | found for found in [*good, *likely, *rare]]
    body = json.dumps({"events": fields}, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    batch, again = decode(body, JSON, LIMIT), decode(body, JSON, LIMIT)
    assert validate_batch(batch.events, RECEIVED_MS, None, batch.columns) == validate_batch(
        again.events, RECEIVED_MS, None
    )


def test_columns_exist_for_many_events_of_printable_ascii() -> None:
    body = json.dumps({"events": [{"name": "pageview", "value": 0, "props": {}}] * MANY}, separators=(",", ":"))
    assert decode(body.encode(), JSON, LIMIT).columns is not None
    assert decode(body.replace("pageview", "größe").encode(), JSON, LIMIT).columns is None
