"""A log line is JSON whose last field is the CRC of the bytes before it: any change is
detected, and no terminal acts on it.
"""

from __future__ import annotations

import json
import zlib
from copy import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest.collect.encode import Line, RequestFields, encode_events
from ingest.collect.event import Event, Property
from ingest.collect.validate import is_id
from ingest.collect.visitor_id import DailyVisitor
from shared.control_chars import CONTROL_CHARS
from shared.schema import LINE_COLUMNS
from shared.segments.line import (
    LINE_MAX_BYTES,
    SCHEMA_VERSION,
    DataFromNewerVersion,
    append_crc,
    line_error,
    scan_lines,
)
from shared.timestamps import epoch_ms


def seal_line(body: bytes) -> bytes:
    return append_crc(b"", [body[:-1]])


RECEIVED_MS = epoch_ms("2026-11-22T16:00:00.120Z")
TIME_MS = RECEIVED_MS - 1999
PAGE = RequestFields(site="example.com", ua="Mozilla/5.0", language="de", country=None, consent="granted")
BARE = RequestFields(site="example.com", ua=None, language=None, country=None, consent="implied")
FULL = Event(
    name="order",
    id="order-0001",
    time=None,
    visitor="v-1",
    session="s-1",
    url="https://example.com/a?b=c",
    referrer="https://other.example/",
    value=9.5,
    props={"plan": "pro", "n": 1, "x": 0.5, "ok": True, "none": None},
)


def encode(events: list[Event], fields: RequestFields = PAGE, visitor: str | None = "hashed") -> bytes:
    """The log lines of a request, as they go to disk."""
    daily = DailyVisitor(visitor, 0, RECEIVED_MS, str) if visitor else None
    return encode_events([(copy(event), TIME_MS) for event in events], fields, daily, RECEIVED_MS, 1 << 20)


def line_of(event: Event, fields: RequestFields = PAGE, visitor: str | None = "hashed") -> bytes:
    return encode([event], fields, visitor)


def test_line_has_its_fields_in_the_order_of_the_format() -> None:
    page = replace(PAGE, country="DE", sender="key", region="BE", city="Berlin")
    line = json.loads(line_of(replace(FULL, visitor=None), page))
    assert list(line) == [name for name in (*fields_of(Line), "crc") if name in line]
    assert line.keys() == {"v", *LINE_COLUMNS, "crc"} - {"screen"}


def test_line_is_that_of_the_documented_format() -> None:
    body = (
        b'{"v":2,"received":"2026-11-22T16:00:00.120Z","site":"example.com","ua":"Mozilla/5.0","language":"de",'
        b'"consent":"granted","id":"order-0001","name":"order","time":"2026-11-22T15:59:58.121Z","visitor":"v-1",'
        b'"session":"s-1","url":"https://example.com/a?b=c","referrer":"https://other.example/","value":9.5,'
        b'"props":{"plan":"pro","n":1,"x":0.5,"ok":true,"none":null}'
    )
    assert line_of(FULL) == body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def test_absent_fields_are_left_out() -> None:
    line = line_of(Event(name="pageview", id="abcdefgh"), BARE, visitor=None)
    assert list(json.loads(line)) == ["v", "received", "site", "consent", "id", "name", "time", "crc"]


def test_line_of_a_page_with_a_daily_visitor_is_that_of_the_documented_format() -> None:
    body = (
        b'{"v":2,"received":"2026-11-22T16:00:00.120Z","site":"example.com","consent":"implied","id":"order-0001",'
        b'"name":"order","time":"2026-11-22T15:59:58.121Z","visitor":"hashed","daily":true,"session":"s-1"'
    )
    event = Event(name="order", id="order-0001", session="s-1")
    assert line_of(event, BARE) == body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def test_line_of_a_server_says_key() -> None:
    line = json.loads(line_of(FULL, replace(PAGE, sender="key")))
    assert line["sender"] == "key"
    assert "sender" not in json.loads(line_of(FULL))


def test_daily_visitor_is_for_events_without_one() -> None:
    blob = encode([Event(name="a", visitor="own"), Event(name="b"), Event(name="c", visitor="hashed")])
    found = [json.loads(line) for line in blob.splitlines()]
    assert [line["visitor"] for line in found] == ["own", "hashed", "hashed"]
    assert [line.get("daily") for line in found] == [None, True, None]


def test_event_of_another_day_has_the_visitor_of_that_day() -> None:
    days = DailyVisitor("today", TIME_MS - 1, TIME_MS + 1, lambda time_ms: f"on-{time_ms - TIME_MS}")
    accepted = [(Event(name="a", visitor=own), TIME_MS + n) for own in (None, "own") for n in (-2, -1, 0, 1)]
    found = [json.loads(line) for line in encode_events(accepted, PAGE, days, RECEIVED_MS, 1 << 20).splitlines()]
    assert [line["visitor"] for line in found] == ["on--2", "today", "today", "on-1"] + ["own"] * 4
    assert [line.get("daily") for line in found] == [True] * 4 + [None] * 4


def test_lines_are_in_the_order_of_the_events() -> None:
    blob = encode([Event(name=f"event {n}") for n in range(100)])
    assert [json.loads(line)["name"] for line in blob.splitlines()] == [f"event {n}" for n in range(100)]


def test_crc_is_of_the_bytes_before_it() -> None:
    for line in encode([FULL, Event(name="ä")]).splitlines():
        head, _, tail = line.rpartition(b',"crc"')
        assert tail == b':"%08x"}' % zlib.crc32(head)


def fields_of(struct: type[Line]) -> tuple[str, ...]:
    return struct.__struct_fields__


# Characters that a terminal acts on, or that hide or reorder text; and some that must
# not be escaped.
HAZARDS = "\0\a\b\t\n\v\f\r\x1b\x1f\x7f\x80\x85\x90\x9b\x9d\x9f\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069"
HARMLESS = 'aZ09 "\\/äß漢😀\u00a0\u00ad\u200b\ufeff'


@pytest.mark.parametrize("hazard", HAZARDS, ids=[f"U+{ord(hazard):04X}" for hazard in HAZARDS])
def test_hazard_is_escaped_and_kept(hazard: str) -> None:
    text = f"a{hazard}b"
    line = line_of(Event(name="x", url=f"https://e.example/{text}", props={text: text}), replace(PAGE, ua=text))
    assert CONTROL_CHARS.search(line[:-1].decode("utf-8").replace("\x7f", "")) is None  # DEL moves no terminal
    assert line_error(line) is None
    read = json.loads(line)
    assert (read["url"], read["props"], read["ua"]) == (f"https://e.example/{text}", {text: text}, text)


TEXTS = st.text(st.one_of(st.sampled_from(HAZARDS + HARMLESS), st.characters(exclude_categories=["Cs"])), max_size=20)
PROPERTIES: st.SearchStrategy[Property] = st.one_of(
    TEXTS, st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.booleans(), st.none()
)
ORIGINS = st.builds(
    RequestFields,
    site=TEXTS,
    ua=st.none() | TEXTS,
    language=st.none() | TEXTS,
    country=st.none() | TEXTS,
    consent=st.sampled_from(["granted", "implied"]),
)
EVENTS = st.builds(
    Event,
    name=TEXTS.filter(bool),
    id=st.none() | st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True),
    visitor=st.none() | TEXTS.filter(bool),
    session=st.none() | TEXTS,
    url=st.none() | TEXTS,
    referrer=st.none() | TEXTS,
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    props=st.none() | st.dictionaries(TEXTS, PROPERTIES, max_size=4),
)


HASHES = st.from_regex(r"[A-Za-z0-9_-]{16}", fullmatch=True)


@given(st.lists(EVENTS, min_size=1, max_size=5), ORIGINS, st.none() | HASHES)
def test_every_line_is_valid_harmless_and_has_all_fields_of_its_event(
    events: list[Event], fields: RequestFields, visitor: str | None
) -> None:
    blob = encode(events, fields, visitor)
    found = list(scan_lines(blob.splitlines(keepends=True)))
    assert [line.reason for line in found] == [None] * len(events)
    assert CONTROL_CHARS.search(blob.decode("utf-8").translate({ord("\n"): None, 0x7F: None})) is None
    for line, event in zip(found, events, strict=True):
        read = json.loads(line.content)
        assert is_id(read["id"])
        assert read["id"] == event.id or event.id is None
        assert read.get("visitor") == (event.visitor or visitor)
        assert read.get("daily") == (True if visitor and not event.visitor else None)
        assert (read["site"], read.get("ua"), read["consent"]) == (fields.site, fields.ua, fields.consent)
        for field in ("name", "session", "url", "referrer", "value", "props"):
            assert read.get(field) == getattr(event, field)


LINE = line_of(FULL, replace(PAGE, ua="a\u009bb"))


@given(position=st.integers(0, len(LINE) - 1), byte=st.integers(0, 255))
def test_any_changed_byte_is_detected(position: int, byte: int) -> None:
    changed = LINE[:position] + bytes([byte]) + LINE[position + 1 :]
    assert (line_error(changed) is None) == (changed == LINE)


def test_any_flipped_bit_is_detected() -> None:
    for bit in range(8 * len(LINE)):
        changed = bytearray(LINE)
        changed[bit // 8] ^= 1 << bit % 8
        assert line_error(bytes(changed)) is not None, bit


def test_any_truncation_is_detected() -> None:
    for length in range(len(LINE) - 1):
        assert line_error(LINE[:length]) is not None, length
        assert line_error(LINE[:length] + b"\n") is not None, length
        assert line_error(LINE[length + 1 :]) is not None, length
    assert line_error(LINE[:-1]) is not None


@given(start=st.integers(0, len(LINE)), length=st.integers(1, 20), inserted=st.binary(max_size=8))
def test_any_splice_is_detected(start: int, length: int, inserted: bytes) -> None:
    changed = LINE[:start] + inserted + LINE[start + length :]
    assert (line_error(changed) is None) == (changed == LINE)


def test_two_lines_without_a_newline_between_them_are_an_error() -> None:
    assert line_error(LINE[:-1] + LINE) is not None


FLAWS = {
    "empty": (b"", "newline"),
    "only a newline": (b"\n", "CRC"),
    "no newline": (LINE[:-1], "newline"),
    "no CRC": (b'{"v":1,"id":"x"}\n', "CRC"),
    "CRC in upper case": (LINE[:-11] + LINE[-11:].upper(), "CRC"),
    "CRC of something else": (LINE[:-11] + b'00000000"}\n', "CRC"),
    "text after it": (LINE[:-1] + b"x\n", "CRC"),
    "no version": (seal_line(b'{"id":"x"}'), "version"),
    "version not first": (seal_line(b'{"id":"x","v":1}'), "version"),
}


@pytest.mark.parametrize(("line", "word"), FLAWS.values(), ids=FLAWS)
def test_line_error_names_the_reason(line: bytes, word: str) -> None:
    assert word in (line_error(line) or "")


def test_line_of_a_newer_version_is_not_read() -> None:
    with pytest.raises(DataFromNewerVersion) as caught:
        line_error(seal_line(b'{"v":%d,"id":"abcdefgh"}' % (SCHEMA_VERSION + 1)))
    assert (caught.value.version, caught.value.found) == ("schema version", SCHEMA_VERSION + 1)


def test_bad_line_costs_no_neighbour() -> None:
    found = list(scan_lines([LINE, b"torn", LINE, LINE[:-1]]))
    assert [line.reason is None for line in found] == [True, False, True, False]
    assert [line.offset for line in found] == [0, len(LINE), len(LINE) + 4, 2 * len(LINE) + 4]


def test_largest_accepted_event_fits_into_a_line() -> None:
    """32 KiB of C1, each of which is escaped to six bytes for two, with the longest
    user agent.
    """
    props: dict[str, Any] = {f"k{n}": "\x80" * 1000 for n in range(16)}
    line = line_of(Event(name="x", url="https://e.example/" + "/" * 900, props=props), replace(PAGE, ua="x" * 500))
    assert len(line) < LINE_MAX_BYTES


def test_ids_are_made_only_for_events_without_one() -> None:
    events = [Event(name="a", id="client-id"), Event(name="b"), Event(name="c", id="another-id"), Event(name="d")]
    blob = encode(events)
    ids = [json.loads(line)["id"] for line in blob.splitlines()]
    assert (ids[0], ids[2]) == ("client-id", "another-id")
    assert len(set(ids)) == 4
