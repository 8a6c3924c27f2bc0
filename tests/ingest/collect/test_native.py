"""Foldlog's own API: invalid JSON or UTF-8 is a 400, too many events are a 413, JSON
that is not a batch is a 422, and a bad event costs no neighbour.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collect import native
from ingest.collect.adapter import DecodedBatch
from ingest.collect.admission import check_count
from ingest.collect.body import DEPTH_MAX, JSON, NDJSON, TEXT, inflate
from ingest.collect.event import EVENT_MAX_BYTES, Event
from ingest.collect.native import decode
from ingest.collect.validate import Rejection
from ingest.http.problem import Problem

MAX_BYTES = 64 << 10
MAX_EVENTS = 500
BODY = b'{"events":[{"name":"one"},{"name":"two"}],"consent":"granted"}'


def batch(inside: bytes) -> bytes:
    return b'{"events":[' + inside + b"]}"


def names(decoded: DecodedBatch) -> list[str]:
    return [event.name if isinstance(event, Event) else event.code for event in decoded.events]


def problem(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        call()
    assert caught.value.detail
    return caught.value.status, caught.value.code


BIG = b" " * EVENT_MAX_BYTES
UNREADABLE = {
    "empty": b"",
    "blanks": b" \r\n\t",
    "an empty array": b"[]",
    "a bare array of events": b'[{"name":"x"}]',
    "UTF-8 with a BOM": b"\xef\xbb\xbf" + BODY,
    "UTF-16": BODY.decode().encode("utf-16"),
    "invalid UTF-8": batch(b'{"name":"\xff"}'),
    "overlong UTF-8": batch(b'{"name":"\xc0\xaf"}'),
    "a surrogate in UTF-8": batch(b'{"name":"\xed\xa0\x80"}'),
    "NaN": batch(b'{"name":"x","value":NaN}'),
    "Infinity": batch(b'{"name":"x","value":Infinity}'),
    "-Infinity": batch(b'{"name":"x","value":-Infinity}'),
    "a trailing comma": batch(b'{"name":"x"},'),
    "two values": BODY + BODY,
    "two values with a blank": BODY + b" " + BODY,
    "bytes after it": BODY + b"x",
    "a NUL after it": BODY + b"\0",
    "a comment": BODY + b"// x",
    "single quotes": b"{'events':[{'name':'x'}]}",
    "a leading zero": batch(b'{"name":"x","value":01}'),
    "a leading point": batch(b'{"name":"x","value":.5}'),
    "a leading plus": batch(b'{"name":"x","value":+1}'),
    "a hexadecimal number": batch(b'{"name":"x","value":0x1}'),
    "a raw newline in a text": batch(b'{"name":"a\nb"}'),
    "a raw tab in a text": batch(b'{"name":"a\tb"}'),
    "a raw NUL in a text": batch(b'{"name":"a\0b"}'),
    "cut short": BODY[:-1],
    "depth 100000": b"[" * 100_000,
    "depth 10000 of objects": batch(b'{"name":"x","props":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}"),
    "depth 10000 in an event": batch(b'{"name":"x","props":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}"),
    "depth 10000 in an unknown field": batch(b'{"name":"x","y":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
}


@pytest.mark.parametrize("media_type", [JSON, TEXT])
@pytest.mark.parametrize("padding", [b"", BIG], ids=["small", "large"])
@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_invalid_json_is_malformed(body: bytes, padding: bytes, media_type: str) -> None:
    assert problem(lambda: decode(padding + body, media_type, MAX_EVENTS)) == (400, "malformed")


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


# Where the nesting is: how deep that is already, and the batch around it.
PLACES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "a property": (4, lambda inside: batch(b'{"name":"x","props":{"a":' + inside + b'}},{"name":"two"}')),
    "an unknown field": (3, lambda inside: batch(b'{"name":"x","y":' + inside + b'},{"name":"two"}')),
    "an event": (2, lambda inside: batch(inside + b',{"name":"two"}')),
    "the batch": (1, lambda inside: b'{"events":[{"name":"x"}],"y":' + inside + b"}"),
    "a repeated key": (1, lambda inside: b'{"events":' + inside + b',"events":[{"name":"x"}]}'),
    "too many events": (2, lambda inside: batch(b"{}," * MAX_EVENTS + inside)),
    "what is cut short": (1, lambda inside: b'{"events":' + inside),
}
DEPTHS = [(17, (422, "too_deep")), (900, (422, "too_deep")), (1024, (422, "too_deep")), (1025, (400, "malformed"))]


@pytest.mark.parametrize("nested", [arrays, objects])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("padding", [b"", BIG], ids=["small", "large"])
@pytest.mark.parametrize(("levels", "expected"), DEPTHS)
def test_body_deeper_than_16_levels_is_rejected(
    nested: Callable[[int], bytes], place: str, padding: bytes, levels: int, expected: tuple[int, str]
) -> None:
    """With the same answer on every Python, whose parsers give up at different
    depths.
    """
    above, around = PLACES[place]
    assert problem(lambda: decode(around(nested(levels - above)) + padding, JSON, MAX_EVENTS)) == expected


@pytest.mark.parametrize("nested", [arrays, objects])
def test_property_of_up_to_16_levels_costs_only_its_event(nested: Callable[[int], bytes]) -> None:
    body = batch(b'{"name":"x","props":{"a":' + nested(DEPTH_MAX - 4) + b'}},{"name":"two"}')
    assert names(decode(body, JSON, MAX_EVENTS)) == ["props_type", "two"]


def test_depth_of_ndjson_is_that_of_each_line() -> None:
    deep, flat = b'{"name":"x","y":' + arrays(16) + b"}", b'{"name":"x","y":[]}'
    assert names(decode(b"\n".join([flat, deep, LINES]), NDJSON, MAX_EVENTS)) == [
        "unknown_field",
        "too_deep",
        "one",
        "two",
    ]
    assert names(decode(b"\n".join([flat] * 20), NDJSON, MAX_EVENTS)) == ["unknown_field"] * 20
    assert problem(lambda: decode(b'{"name":"x"\n' * 20, NDJSON, MAX_EVENTS)) == (400, "malformed")


NOT_A_BATCH = {
    "null": b"null",
    "a text": b'"x"',
    "a number": b"5",
    "true": b"true",
    "an object without events": b"{}",
    "an unknown field": b'{"evnts":[]}',
    "events an object": b'{"events":{}}',
    "events a text": b'{"events":"x"}',
    "events null": b'{"events":null}',
    "consent a number": b'{"events":[{"name":"x"}],"consent":1}',
    "sent_at a word": b'{"events":[{"name":"x"}],"sent_at":"abc"}',
    "sent_at without a zone": b'{"events":[{"name":"x"}],"sent_at":"2026-11-22T16:00:00"}',
    "sent_at negative": b'{"events":[{"name":"x"}],"sent_at":-1}',
    "sent_at of 5000 digits": b'{"events":[{"name":"x"}],"sent_at":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("padding", [b"", BIG], ids=["small", "large"])
@pytest.mark.parametrize("body", NOT_A_BATCH.values(), ids=NOT_A_BATCH)
def test_json_that_is_not_a_batch_is_invalid(body: bytes, padding: bytes) -> None:
    assert problem(lambda: decode(padding + body, JSON, MAX_EVENTS)) == (422, "batch_invalid")


@pytest.mark.parametrize(("media_type", "body"), [(JSON, batch(b"")), (JSON, BIG + batch(b"")), (NDJSON, b"\n\n")])
def test_batch_without_events_is_rejected(media_type: str, body: bytes) -> None:
    assert problem(lambda: decode(body, media_type, MAX_EVENTS)) == (422, "batch_empty")


def test_problem_does_not_repeat_a_long_name_of_the_client() -> None:
    with pytest.raises(Problem) as caught:
        decode(b'{"events":[],"' + b"z" * 5000 + b'":1}', JSON, MAX_EVENTS)
    assert len(caught.value.detail) < 200


LINES = b'{"name":"one"}\n{"name":"two"}'
NDJSONS = {
    "with a last newline": (LINES + b"\n", ["one", "two"]),
    "without a last newline": (LINES, ["one", "two"]),
    "with blank lines": (b"\n \n" + LINES.replace(b"\n", b"\n\n\t\n") + b"\n\n", ["one", "two"]),
    "with CRLF": (LINES.replace(b"\n", b"\r\n") + b"\r\n", ["one", "two"]),
    "with a bad event between": (b'{"name":"one"}\n{"name":5}\n{"name":"two"}\n', ["one", "name_type", "two"]),
    "with an event of 33 KiB": (b'{"name":"%b"}\n%b' % (b"x" * (33 << 10), LINES), ["event_too_large", "one", "two"]),
    "with an escaped newline": (rb'{"name":"a\nb"}', ["a\nb"]),
    "with U+2028 inside": ('{"name":"a\u2028b\u0085c"}'.encode(), ["a\u2028b\u0085c"]),
    "with a key twice": (b'{"name":"one"}\n{"name":"x","name":"y"}\n{"name":"two"}', ["one", "key_repeated", "two"]),
    "with a batch in a line": (b'{"events":[]}\n' + LINES, ["unknown_field", "one", "two"]),
}


@pytest.mark.parametrize(("body", "expected"), NDJSONS.values(), ids=NDJSONS)
def test_ndjson_is_an_event_a_line(body: bytes, expected: list[str]) -> None:
    assert names(decode(body, NDJSON, MAX_EVENTS)) == expected


REPEATED_KEYS = {
    "events": b'{"events":[{"name":"x"}],"events":[{"name":"y"}]}',
    "events, the first empty": b'{"events":[],"events":[{"name":"x"}]}',
    "events, once escaped": rb'{"events":[{"name":"x"}],"event\u0073":[{"name":"y"}]}',
    "events, with blanks": b'{"events" : [{"name":"x"}], "events" : [{"name":"y"}]}',
    "sent_at": b'{"sent_at":1,"events":[{"name":"x"}],"sent_at":2}',
    "consent": b'{"consent":"denied","events":[{"name":"x"}],"consent":"granted"}',
    "consent, once null": b'{"consent":null,"events":[{"name":"x"}],"consent":"granted"}',
}


@pytest.mark.parametrize("padding", [b"", BIG], ids=["small", "large"])
@pytest.mark.parametrize("body", REPEATED_KEYS.values(), ids=REPEATED_KEYS)
def test_repeated_key_of_the_batch_is_malformed(body: bytes, padding: bytes) -> None:
    assert problem(lambda: decode(body + padding, JSON, MAX_EVENTS)) == (400, "malformed")


BROKEN_LINES = {
    "BOM": (b"\xef\xbb\xbf" + LINES, ["malformed", "two"]),
    "a line that is cut short": (LINES[:-1], ["one", "malformed"]),
    "an event over two lines": (b'{"name":\n"one"}\n' + LINES, ["malformed", "event_type", "one", "two"]),
    "invalid UTF-8": (LINES + b'\n{"name":"\xff"}', ["one", "two", "malformed"]),
    "two values on a line": (LINES + b"\n" + LINES.replace(b"\n", b""), ["one", "two", "malformed"]),
    "a word": (b"hello\n" + LINES, ["malformed", "one", "two"]),
    "too deep for a parser": (b"[" * 5000 + b"\n" + LINES, ["too_deep", "one", "two"]),
}


@pytest.mark.parametrize(("body", "expected"), BROKEN_LINES.values(), ids=BROKEN_LINES)
def test_a_broken_line_costs_no_other(body: bytes, expected: list[str]) -> None:
    assert names(decode(body, NDJSON, MAX_EVENTS)) == expected


@pytest.mark.parametrize("body", [b'{"name":\n', LINES.replace(b"\n", b""), b"hello"])
def test_a_body_without_a_line_of_json_is_malformed(body: bytes) -> None:
    assert problem(lambda: decode(body, NDJSON, MAX_EVENTS)) == (400, "malformed")


def test_batch_keeps_sent_at_and_consent() -> None:
    decoded = decode(b'{"events":[{"name":"x"}],"sent_at":1795363200000,"consent":"granted"}', JSON, MAX_EVENTS)
    assert (decoded.sent_at, decoded.consent) == (1795363200000, "granted")


def test_batch_over_32_kib_is_decoded_alike() -> None:
    """Larger batches are decoded event by event at once, with the same result."""
    small = decode(BODY, JSON, MAX_EVENTS)
    large = decode(BODY + BIG, JSON, MAX_EVENTS)
    assert large == small


def test_surrogate_pair_is_one_character() -> None:
    assert names(decode(batch(rb'{"name":"\ud83d\ude00"}'), JSON, MAX_EVENTS)) == ["😀"]


def decode_and_count(body: bytes, media_type: str) -> None:
    """As the handler does: the adapter counts only where that saves decoding."""
    check_count(len(decode(body, media_type, MAX_EVENTS).events), MAX_EVENTS)


@pytest.mark.parametrize("padding", [b"", BIG], ids=["small", "large"])
@pytest.mark.parametrize(("count", "fits"), [(MAX_EVENTS, True), (MAX_EVENTS + 1, False)])
def test_number_of_events_is_limited(count: int, fits: bool, padding: bytes) -> None:
    body = batch(b",".join([b'{"name":"x"}'] * count)) + padding
    ndjson = b'{"name":"x"}\n' * count
    if fits:
        assert len(decode(body, JSON, MAX_EVENTS).events) == len(decode(ndjson, NDJSON, MAX_EVENTS).events) == count
    else:
        assert problem(lambda: decode_and_count(body, JSON)) == (413, "too_many_events")
        assert problem(lambda: decode_and_count(ndjson, NDJSON)) == (413, "too_many_events")


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
def test_too_many_events_are_rejected_before_they_are_decoded(media_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_EVENT", None)
    count = (1 << 20) // 3 - 10
    body = batch(b",".join([b"{}"] * count)) if media_type == JSON else b"{}\n" * count
    assert problem(lambda: decode(body, media_type, MAX_EVENTS)) == (413, "too_many_events")


@pytest.mark.parametrize(
    ("size", "code"), [(EVENT_MAX_BYTES, "unknown_field"), (EVENT_MAX_BYTES + 1, "event_too_large")]
)
def test_event_is_at_most_32_kib(size: int, code: str) -> None:
    head, tail = b'{"name":"x","nope":"', b'"}'
    event = head + b"x" * (size - len(head) - len(tail)) + tail
    assert len(event) == size
    assert names(decode(batch(event), JSON, MAX_EVENTS)) == [code]
    assert names(decode(event, NDJSON, MAX_EVENTS)) == [code]


@given(st.binary(max_size=200), st.sampled_from([JSON, NDJSON]), st.sampled_from([None, "gzip", "zstd"]))
def test_any_bytes_are_events_or_a_4xx(body: bytes, media_type: str, encoding: str | None) -> None:
    try:
        decoded = decode(inflate(body, encoding, MAX_BYTES), media_type, MAX_EVENTS)
    except Problem as error:
        assert 400 <= error.status < 500
    else:
        assert all(isinstance(event, (Event, Rejection)) for event in decoded.events)


FIELD_NAMES = st.sampled_from(["name", "id", "time", "props", "x"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD_NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(JSON_VALUES, min_size=1, max_size=4), st.booleans())
def test_each_json_value_in_a_batch_is_decoded_or_rejected(values: list[object], large: bool) -> None:
    body = json.dumps({"events": values}).encode() + (BIG if large else b"")
    assert len(decode(body, JSON, MAX_EVENTS).events) == len(values)
