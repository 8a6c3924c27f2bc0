"""From the bytes of a body to decoded events: inflate within the cap, then decode; what
is not JSON is a 400.

A batch is decoded as a whole. Only when something in it does not fit is it decoded
event by event, to find which.
"""

from __future__ import annotations

import re
import zlib
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
import zstandard

from ingest.collect.duplicate_keys import keys_in, keys_of, keys_of_columns, outermost_repeats, repeated_key
from ingest.collect.event import EVENT_MAX_BYTES, Batch, Columns, Event, RawBatch, columns_of
from ingest.collect.validate import Rejection, rejection, too_large
from ingest.http.problem import Problem

JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
MEDIA_TYPES = frozenset({JSON, NDJSON, TEXT})
ENCODINGS = frozenset({"gzip", "zstd"})

_BATCH = msgspec.json.Decoder(Batch)
_RAW_BATCH = msgspec.json.Decoder(RawBatch)
_EVENT = msgspec.json.Decoder(Event)
# From so many events on, looking at their columns costs less than looking at each.
_MANY = 8
_ZSTD_WINDOW_MAX = 8 << 20
_RATIO_MAX = 200
_RATIO_FREE_BYTES = 64 << 10
_MEMBERS_MAX = 100
_DEPTH_MAX = 1024
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_STEP = bytes(2 if byte in b"[{" else 0 if byte in b"]}" else 1 for byte in range(256))


class Decoded(NamedTuple):
    """A batch: its events in order, each decoded or already rejected.

    `columns` are those of the events, where there are many and all their text is
    printable ASCII.
    """

    events: list[Event] | list[Event | Rejection]
    sent_at: datetime | int | None = None
    consent: str | None = None
    columns: Columns | None = None


def inflate(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """The body as it was before Content-Encoding. Raises Problem 400 (damaged or cut
    short) or 413.
    """
    if not encoding:
        return body
    # Events that repeat themselves shrink to a hundredth; what shrinks to less is made
    # to be inflated.
    max_bytes = min(max_bytes, max(_RATIO_FREE_BYTES, _RATIO_MAX * len(body)))
    return _gunzip(body, max_bytes) if encoding == "gzip" else _unzstd(body, max_bytes)


def _inflated_too_large(max_bytes: int) -> Problem:
    return Problem(
        413,
        "too_large",
        f"the inflated body may have {max_bytes} bytes: its limit, or {_RATIO_MAX} times what was sent",
    )


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    plain = b""
    for _ in range(_MEMBERS_MAX):  # gzip members may follow one another
        member = zlib.decompressobj(wbits=31)
        try:
            plain += member.decompress(body, max_bytes + 1 - len(plain))
        except zlib.error:
            raise Problem(400, "malformed", "the gzip data is damaged") from None
        if len(plain) > max_bytes:
            raise _inflated_too_large(max_bytes)
        if not member.eof:
            raise Problem(400, "malformed", "the gzip data is cut short")
        body = member.unused_data
        if not body:
            return plain
    raise Problem(400, "malformed", f"the gzip data has more than {_MEMBERS_MAX} members")


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
    try:
        frame = zstandard.get_frame_parameters(body)
        declared = frame.content_size if frame.content_size != zstandard.CONTENTSIZE_UNKNOWN else 0
        if declared > max_bytes or frame.window_size > _ZSTD_WINDOW_MAX:
            raise _inflated_too_large(max_bytes)
        return decompressor.decompress(body, max_output_size=max_bytes, allow_extra_data=False)
    except zstandard.ZstdError:
        # The library does not say which it was: too large for the cap, cut short, or
        # damaged.
        if _inflates_past(decompressor, body, max_bytes):
            raise _inflated_too_large(max_bytes) from None
        raise Problem(400, "malformed", "the zstd data is damaged, cut short, or has bytes after it") from None


def _inflates_past(decompressor: zstandard.ZstdDecompressor, body: bytes, max_bytes: int) -> bool:
    try:
        return len(decompressor.stream_reader(body).read(max_bytes + 1)) > max_bytes
    except zstandard.ZstdError:
        return False


def decode(body: bytes, media_type: str, max_events: int) -> Decoded:
    """Decode a plain body. Raises Problem 400 (not JSON), 413 (too many events) or 422
    (not a batch).
    """
    try:
        decoded = _decode_ndjson(body, max_events) if media_type == NDJSON else _decode_json(body, max_events)
    except RecursionError:
        if depth(body) <= _DEPTH_MAX:
            raise Problem(422, "too_deep", "the body is nested deeper than events are") from None
        raise Problem(400, "malformed", f"the body is nested deeper than {_DEPTH_MAX} levels") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_a_batch(body, media_type, error) from None
    _check_count(len(decoded.events), max_events)
    if not decoded.events:
        raise Problem(422, "batch_empty", "the batch holds no events")
    return decoded


def _decode_json(body: bytes, max_events: int) -> Decoded:
    if len(body) <= EVENT_MAX_BYTES:
        try:
            batch = _BATCH.decode(body)
            if found := _as_a_whole(body, batch, _outer_keys(batch)):
                return found
        except msgspec.ValidationError:
            pass  # find out below which event it is, or that it is the batch itself
    raw = _RAW_BATCH.decode(body)
    _check_count(len(raw.events), max_events)
    events = [bytes(event) for event in raw.events]
    if keys_in(body) != sum([event.count(b'":') for event in events]) + _outer_keys(raw) and outermost_repeats(body):
        raise Problem(400, "malformed", "a key stands twice beside the events")
    return _decode_events(events, raw.sent_at, raw.consent)


def _outer_keys(batch: Batch | RawBatch) -> int:
    return 1 + (batch.sent_at is not None) + (batch.consent is not None)


def _check_count(count: int, max_events: int) -> None:
    if count > max_events:
        raise Problem(413, "too_many_events", f"one request may hold {max_events} events")


def _decode_ndjson(body: bytes, max_events: int) -> Decoded:
    lines = [line for line in body.split(b"\n") if line.strip()]
    _check_count(len(lines), max_events)
    return _decode_events(lines)


def _decode_events(raw: list[bytes], sent_at: datetime | int | None = None, consent: str | None = None) -> Decoded:
    if raw and max(map(len, raw)) <= EVENT_MAX_BYTES:
        try:
            batch = Batch([_EVENT.decode(event) for event in raw], sent_at, consent)
            if found := _as_a_whole(b"".join(raw), batch, 0):
                return found
        except msgspec.ValidationError:
            pass  # find out which it is
    return Decoded([_decode_event(index, event) for index, event in enumerate(raw)], sent_at, consent)


def _as_a_whole(text: bytes, batch: Batch, outer_keys: int) -> Decoded | None:
    """What was decoded from this text, if no key in it stands twice; None where that
    cannot be told cheaply.
    """
    events = batch.events
    columns = columns_of(events) if len(events) >= _MANY else None
    keys = keys_of_columns(columns) if columns else keys_of(events)
    if keys_in(text) != keys + outer_keys:
        return None
    if columns and not (text.isascii() and b"\\" not in text and b"\x7f" not in text):
        columns = None  # JSON holds control characters as escapes only, so what is left is printable
    return Decoded(events, batch.sent_at, batch.consent, columns)


def _decode_event(index: int, raw: bytes) -> Event | Rejection:
    if len(raw) > EVENT_MAX_BYTES:
        return too_large(index)
    try:
        event = _EVENT.decode(raw)
    except msgspec.ValidationError as error:
        return rejection(index, str(error))
    if keys_in(raw) != keys_of([event]) and (key := repeated_key(raw)) is not None:
        return Rejection(index, "key_repeated", key[:100], "the key stands twice in one object")
    return event


def depth(text: bytes) -> int:
    """How deep objects and lists are nested, whether or not they end."""
    return max(accumulate(step - 1 for step in _TEXT.sub(b"", text).translate(_STEP)), default=0)


def _not_a_batch(body: bytes, media_type: str, error: Any) -> Problem:
    if not body.strip():
        return Problem(400, "malformed", "the body is empty")
    # A bare array is the likeliest mistake of somebody who has not read the docs: say
    # what is missing.
    if isinstance(error, msgspec.ValidationError) and not body.lstrip().startswith(b"["):
        named = [name for name in msgspec.structs.fields(Batch) if f"{name.name}`" in str(error)]
        where = f" ({named[0].name})" if named else ""
        return Problem(
            422,
            "batch_invalid",
            f'the body is {{"events":[…],"sent_at":…,"consent":…}}; something else was sent{where}',
        )
    form = "one event a line" if media_type == NDJSON else 'of the form {"events":[…]}'
    return Problem(400, "malformed", f"the body is not valid JSON {form}, in UTF-8")
