"""From bytes to a batch: what is not JSON in UTF-8 is a 400, what is too large a 413, a
damaged body is never half a batch.
"""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.collect.body import JSON, NDJSON, TEXT, Decoded, decode, depth, inflate
from ingest.collect.event import EVENT_MAX_BYTES, Event
from ingest.collect.validate import Rejection
from ingest.http.problem import Problem

MAX_BYTES = 64 << 10
MAX_EVENTS = 500
BODY = b'{"events":[{"name":"one"},{"name":"two"}],"consent":"granted"}'


def batch(inside: bytes) -> bytes:
    return b'{"events":[' + inside + b"]}"


def names(decoded: Decoded) -> list[str]:
    return [event.name if isinstance(event, Event) else event.code for event in decoded.events]


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        call()
    assert caught.value.detail
    return caught.value.status, caught.value.code


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def zstd_streamed(content: bytes) -> bytes:
    """Without the content's size, as a client that streams sends it."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(content) + compressor.flush()


def zstd_windowed(content: bytes, window_log: int) -> bytes:
    """Without the content's size, and with a window of 2^window_log bytes."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(content) + compressor.flush()


GZIP = gzip.compress(BODY)
ZSTD = zstd(BODY)

INFLATED = {
    "as it is": (BODY, None),
    "gzip": (GZIP, "gzip"),
    "gzip in two members": (gzip.compress(BODY[:20]) + gzip.compress(BODY[20:]), "gzip"),
    "gzip with an empty member": (gzip.compress(b"") + GZIP, "gzip"),
    "gzip in 100 members": (gzip.compress(b"") * 99 + GZIP, "gzip"),
    "zstd with a window of 8 MiB": (zstd_windowed(BODY, 23), "zstd"),
    "zstd": (ZSTD, "zstd"),
    "zstd with a checksum": (zstandard.ZstdCompressor(write_checksum=True).compress(BODY), "zstd"),
    "zstd without content size": (zstd_streamed(BODY), "zstd"),
}


@pytest.mark.parametrize(("body", "encoding"), INFLATED.values(), ids=INFLATED)
def test_body_is_inflated(body: bytes, encoding: str | None) -> None:
    assert inflate(body, encoding, MAX_BYTES) == BODY


def _with_bit_flipped(body: bytes, position: int) -> bytes:
    damaged = bytearray(body)
    damaged[position] ^= 1
    return bytes(damaged)


DAMAGED = {
    "gzip without its trailer": (GZIP[:-8], "gzip"),
    "gzip without its last byte": (GZIP[:-1], "gzip"),
    "gzip cut in the middle": (GZIP[: len(GZIP) // 2], "gzip"),
    "gzip cut in its header": (GZIP[:5], "gzip"),
    "gzip with a wrong CRC": (_with_bit_flipped(GZIP, -8), "gzip"),
    "gzip with a wrong length": (_with_bit_flipped(GZIP, -1), "gzip"),
    "gzip that is plain JSON": (BODY, "gzip"),
    "gzip that is zlib": (zlib.compress(BODY), "gzip"),
    "gzip with bytes after it": (GZIP + b"{}", "gzip"),
    "gzip whose second member is cut short": (GZIP + GZIP[:-3], "gzip"),
    "gzip in 101 members": (gzip.compress(b"") * 100 + GZIP, "gzip"),
    "zstd in two frames": (ZSTD + ZSTD, "zstd"),
    "zstd without its last byte": (ZSTD[:-1], "zstd"),
    "zstd cut in the middle": (ZSTD[: len(ZSTD) // 2], "zstd"),
    "zstd cut in its header": (ZSTD[:3], "zstd"),
    "zstd streamed and cut": (zstd_streamed(BODY)[:-4], "zstd"),
    "zstd that is plain JSON": (BODY, "zstd"),
    "zstd that is gzip": (GZIP, "zstd"),
    "zstd with bytes after it": (ZSTD + b"{}", "zstd"),
    "zstd with a wrong checksum": (
        _with_bit_flipped(zstandard.ZstdCompressor(write_checksum=True).compress(BODY), -1),
        "zstd",
    ),
}


@pytest.mark.parametrize(("body", "encoding"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_compression_is_malformed(body: bytes, encoding: str) -> None:
    assert refusal(lambda: inflate(body, encoding, MAX_BYTES)) == (400, "malformed")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_no_truncation_of_a_compressed_body_is_taken_for_a_whole_one(encoding: str) -> None:
    body = GZIP if encoding == "gzip" else zstd_streamed(BODY)
    for length in range(1, len(body)):
        assert refusal(lambda: inflate(body[:length], encoding, MAX_BYTES)) == (400, "malformed"), length  # noqa: B023


BOMB = bytes(60 << 20)
BOMBS = {
    "gzip": (gzip.compress(BOMB), "gzip"),
    "gzip in many members": (gzip.compress(bytes(MAX_BYTES // 4)) * 5, "gzip"),
    "zstd that says its size": (zstd(BOMB), "zstd"),
    "zstd that does not": (zstd_streamed(BOMB), "zstd"),
}


@pytest.mark.parametrize(("body", "encoding"), BOMBS.values(), ids=BOMBS)
def test_bomb_is_too_large_and_takes_no_memory(body: bytes, encoding: str) -> None:
    tracemalloc.start()
    try:
        assert refusal(lambda: inflate(body, encoding, MAX_BYTES)) == (413, "too_large")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * MAX_BYTES


@pytest.mark.parametrize("content", [BODY, BOMB], ids=["small", "bomb"])
def test_zstd_that_wants_a_huge_window_is_too_large(content: bytes) -> None:
    body = zstd_windowed(content, 27)
    assert zstandard.get_frame_parameters(body).window_size == 128 << 20
    assert refusal(lambda: inflate(body, "zstd", MAX_BYTES)) == (413, "too_large")


@pytest.mark.parametrize("compress", [gzip.compress, zstd, zstd_streamed], ids=["gzip", "zstd", "zstd streamed"])
@pytest.mark.parametrize(
    ("size", "fits"), [(64 << 10, True), ((64 << 10) + 1, False), (1 << 20, False)], ids=["64 KiB", "more", "1 MiB"]
)
def test_body_inflates_200_times_at_most_beyond_64_kib(
    compress: Callable[[bytes], bytes], size: int, fits: bool
) -> None:
    body = compress(b" " * size)
    assert len(body) * 200 < size
    encoding = "gzip" if compress is gzip.compress else "zstd"
    if fits:
        assert len(inflate(body, encoding, 1 << 20)) == size
    else:
        assert refusal(lambda: inflate(body, encoding, 1 << 20)) == (413, "too_large")


@pytest.mark.parametrize("compress", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_events_that_repeat_themselves_inflate_up_to_the_limit(compress: Callable[[bytes], bytes]) -> None:
    """A batch of one page's events, told apart by their ids only, is the best that an
    honest client can shrink.
    """
    event = '{"name":"pageview","url":"https://www.example.com/products/shoes","visitor":"v-%016x","id":"%032x"}'
    plain = batch(",".join(event % (number % 7, number * 0x9E3779B97F4A7C15) for number in range(5000)).encode())
    assert inflate(compress(plain), "gzip" if compress is gzip.compress else "zstd", 1 << 20) == plain


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd, "zstd streamed": zstd_streamed}


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize(("size", "fits"), [(MAX_BYTES - 1, True), (MAX_BYTES, True), (MAX_BYTES + 1, False)])
def test_cap_while_inflating_is_exact(encoding: str, size: int, fits: bool) -> None:
    compress = COMPRESS[encoding]
    body = compress(b" " * size)
    if fits:
        assert len(inflate(body, encoding[:4], MAX_BYTES)) == size
    else:
        assert refusal(lambda: inflate(body, encoding[:4], MAX_BYTES)) == (413, "too_large")


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
    "an escaped lone high surrogate": batch(rb'{"name":"\ud800"}'),
    "an escaped lone low surrogate": batch(rb'{"name":"\udc00"}'),
    "escaped surrogates in the wrong order": batch(rb'{"name":"\ude00\ud83d"}'),
    "a lone surrogate in a key of props": batch(rb'{"name":"x","props":{"\ud800":1}}'),
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
def test_what_is_not_json_is_malformed(body: bytes, padding: bytes, media_type: str) -> None:
    assert refusal(lambda: decode(padding + body, media_type, MAX_EVENTS)) == (400, "malformed")


def arrays(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def objects(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("nested", [arrays, objects])
@pytest.mark.parametrize("depth_", [17, 100, 900])
def test_nested_property_costs_only_its_event(nested: Callable[[int], bytes], depth_: int) -> None:
    body = batch(b'{"name":"x","props":{"a":' + nested(depth_ - 4) + b'}},{"name":"two"}')
    assert names(decode(body, JSON, MAX_EVENTS)) == ["props_type", "two"]


@pytest.mark.parametrize("nested", [arrays, objects])
@pytest.mark.parametrize(("depth_", "expected"), [(1024, (422, "too_deep")), (1025, (400, "malformed"))])
def test_1024_levels_are_too_deep_and_more_are_malformed(
    nested: Callable[[int], bytes], depth_: int, expected: tuple[int, str]
) -> None:
    body = batch(b'{"name":"x","props":{"a":' + nested(depth_ - 4) + b"}}")
    assert depth(body) == depth_
    assert refusal(lambda: decode(body, JSON, MAX_EVENTS)) == expected


DEPTHS = {
    "nothing": (b"", 0),
    "a text": (b'"[[{"', 0),
    "a text with escaped quotes": (rb'"\"[[{"', 0),
    "a text that ends in a backslash": (rb'["\\",[]]', 2),
    "an object in a list": (b'[{"a":1},2]', 2),
    "brackets side by side": (b"[[],[],[]]", 2),
    "what never ends": (b'[[{"a":[', 4),
    "a text that never ends": (b'[["[[[', 2),
}


@pytest.mark.parametrize(("text", "expected"), DEPTHS.values(), ids=DEPTHS)
def test_depth_is_counted_outside_of_texts(text: bytes, expected: int) -> None:
    assert depth(text) == expected


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
def test_json_that_is_no_batch_is_invalid(body: bytes, padding: bytes) -> None:
    assert refusal(lambda: decode(padding + body, JSON, MAX_EVENTS)) == (422, "batch_invalid")


@pytest.mark.parametrize(("media_type", "body"), [(JSON, batch(b"")), (JSON, BIG + batch(b"")), (NDJSON, b"\n\n")])
def test_batch_without_events_is_refused(media_type: str, body: bytes) -> None:
    assert refusal(lambda: decode(body, media_type, MAX_EVENTS)) == (422, "batch_empty")


def test_refusal_does_not_repeat_a_long_name_that_the_client_made_up() -> None:
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


REPEATED_BESIDE = {
    "events": b'{"events":[{"name":"x"}],"events":[{"name":"y"}]}',
    "events, the first empty": b'{"events":[],"events":[{"name":"x"}]}',
    "events, once escaped": rb'{"events":[{"name":"x"}],"event\u0073":[{"name":"y"}]}',
    "events, with blanks": b'{"events" : [{"name":"x"}], "events" : [{"name":"y"}]}',
    "sent_at": b'{"sent_at":1,"events":[{"name":"x"}],"sent_at":2}',
    "consent": b'{"consent":"denied","events":[{"name":"x"}],"consent":"granted"}',
    "consent, once null": b'{"consent":null,"events":[{"name":"x"}],"consent":"granted"}',
}


@pytest.mark.parametrize("padding", [b"", BIG], ids=["small", "large"])
@pytest.mark.parametrize("body", REPEATED_BESIDE.values(), ids=REPEATED_BESIDE)
def test_key_that_stands_twice_beside_the_events_is_malformed(body: bytes, padding: bytes) -> None:
    assert refusal(lambda: decode(body + padding, JSON, MAX_EVENTS)) == (400, "malformed")


MALFORMED_NDJSON = {
    "BOM": b"\xef\xbb\xbf" + LINES,
    "two values on a line": LINES.replace(b"\n", b""),
    "a line that is cut short": LINES[:-1],
    "an event over two lines": b'{"name":\n"one"}',
    "invalid UTF-8": LINES + b'\n{"name":"\xff"}',
}


@pytest.mark.parametrize("body", MALFORMED_NDJSON.values(), ids=MALFORMED_NDJSON)
def test_ndjson_with_a_broken_line_is_malformed(body: bytes) -> None:
    assert refusal(lambda: decode(body, NDJSON, MAX_EVENTS)) == (400, "malformed")


def test_batch_keeps_what_stands_beside_the_events() -> None:
    decoded = decode(b'{"events":[{"name":"x"}],"sent_at":1795363200000,"consent":"granted"}', JSON, MAX_EVENTS)
    assert (decoded.sent_at, decoded.consent) == (1795363200000, "granted")


def test_batch_over_32_kib_is_decoded_alike() -> None:
    """Larger batches are decoded event by event at once; both ways must see the
    same.
    """
    small = decode(BODY, JSON, MAX_EVENTS)
    large = decode(BODY + BIG, JSON, MAX_EVENTS)
    assert large == small


def test_surrogate_pair_is_one_character() -> None:
    assert names(decode(batch(rb'{"name":"\ud83d\ude00"}'), JSON, MAX_EVENTS)) == ["😀"]


@pytest.mark.parametrize("padding", [b"", BIG], ids=["small", "large"])
@pytest.mark.parametrize(("count", "fits"), [(MAX_EVENTS, True), (MAX_EVENTS + 1, False)])
def test_number_of_events_is_limited(count: int, fits: bool, padding: bytes) -> None:
    body = batch(b",".join([b'{"name":"x"}'] * count)) + padding
    ndjson = b'{"name":"x"}\n' * count
    if fits:
        assert len(decode(body, JSON, MAX_EVENTS).events) == len(decode(ndjson, NDJSON, MAX_EVENTS).events) == count
    else:
        assert refusal(lambda: decode(body, JSON, MAX_EVENTS)) == (413, "too_many_events")
        assert refusal(lambda: decode(ndjson, NDJSON, MAX_EVENTS)) == (413, "too_many_events")


@pytest.mark.parametrize("media_type", [JSON, NDJSON])
def test_too_many_events_are_refused_before_they_are_decoded(media_type: str) -> None:
    count = (1 << 20) // 3 - 10
    body = batch(b",".join([b"{}"] * count)) if media_type == JSON else b"{}\n" * count
    started = time.perf_counter()
    assert refusal(lambda: decode(body, media_type, MAX_EVENTS)) == (413, "too_many_events")
    assert time.perf_counter() - started < 0.3


@pytest.mark.parametrize(
    ("size", "code"), [(EVENT_MAX_BYTES, "unknown_field"), (EVENT_MAX_BYTES + 1, "event_too_large")]
)
def test_event_is_at_most_32_kib(size: int, code: str) -> None:
    head, tail = b'{"name":"x","nope":"', b'"}'
    event = head + b"x" * (size - len(head) - len(tail)) + tail
    assert len(event) == size
    assert names(decode(batch(event), JSON, MAX_EVENTS)) == [code]
    assert names(decode(event, NDJSON, MAX_EVENTS)) == [code]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([JSON, NDJSON]), st.sampled_from([None, "gzip", "zstd"]))
def test_any_bytes_are_events_or_a_4xx(body: bytes, media_type: str, encoding: str | None) -> None:
    try:
        decoded = decode(inflate(body, encoding, MAX_BYTES), media_type, MAX_EVENTS)
    except Problem as refused:
        assert 400 <= refused.status < 500
    else:
        assert all(isinstance(event, (Event, Rejection)) for event in decoded.events)


FIELD_NAMES = st.sampled_from(["name", "id", "time", "props", "x"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD_NAMES, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(JSON_VALUES, min_size=1, max_size=4), st.booleans())
def test_any_json_in_a_batch_gets_a_verdict_of_its_own(values: list[object], large: bool) -> None:
    body = json.dumps({"events": values}).encode() + (BIG if large else b"")
    assert len(decode(body, JSON, MAX_EVENTS).events) == len(values)
