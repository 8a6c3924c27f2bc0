"""Foldlog's own API: a body of POST /v1/events becomes a batch, the outcome an answer.

A batch is decoded as a whole. Only when that fails is it decoded event by event, so
that one bad event does not cost the others.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.collect.adapter import DecodedBatch
from ingest.collect.adjust import Adjustment, Change, adjust_text, with_whole_characters
from ingest.collect.admission import check_count
from ingest.collect.body import DEPTH_MAX, NDJSON, check_depth, depth
from ingest.collect.duplicate_keys import keys_in, keys_of, keys_of_columns, outermost_repeats, repeated_key
from ingest.collect.event import ADJUSTED_MAX_BYTES, EVENT_MAX_BYTES, Batch, Event, RawBatch, columns_of
from ingest.collect.fast_response import accepted_response
from ingest.collect.type_errors import MALFORMED, event_too_deep, event_too_large, malformed, type_error
from ingest.collect.validate import BatchOutcome, Rejection
from ingest.http.problem import Problem

_BATCH = msgspec.json.Decoder(Batch)
_RAW_BATCH = msgspec.json.Decoder(RawBatch)
_EVENT = msgspec.json.Decoder(Event)
_NO_BATCH = RawBatch([])
# From this many events on, checking their columns is cheaper than checking each event.
_MANY = 8


def decode(body: bytes, media_type: str, max_events: int) -> DecodedBatch:
    """Decode a plain body. Raises Problem 400 (not JSON), 413 (too many events) or 422
    (not a batch, or nested too deep).
    """
    try:
        batch = _decode_ndjson(body, max_events) if media_type == NDJSON else _decode_json(body, max_events)
    except (Problem, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Depth first, because how deep a parser gets depends on the interpreter.
        check_depth(body.split(b"\n") if media_type == NDJSON else [body])
        if isinstance(error, Problem):
            raise
        whole = with_whole_characters(body)
        if whole != body:
            return decode(whole, media_type, max_events)
        raise _not_a_batch(body, media_type, error) from None
    if batch.has_rejections and media_type != NDJSON:
        check_depth([body])
    if not batch.events:
        raise Problem(422, "batch_empty", "the batch has no events")
    return batch


def answer(request: BaseRequest, outcome: BatchOutcome, status: int, cors: dict[str, str]) -> web.StreamResponse:
    """`{"accepted":n,"rejected":[…]}`: every event that is not listed was stored."""
    if not (outcome.rejected or outcome.adjusted or cors):
        return accepted_response(request, status, outcome.accepted)
    said = {"accepted": outcome.accepted, "rejected": [_without_none(each) for each in outcome.rejected]}
    if outcome.adjusted:
        said["adjusted"] = outcome.adjusted
    content = orjson.dumps(said)
    return web.Response(status=status, body=content, content_type="application/json", headers=cors)


def _without_none(rejection: Rejection) -> dict[str, Any]:
    fields = {"index": rejection.index, "code": rejection.code, "field": rejection.field, "detail": rejection.detail}
    return {name: value for name, value in fields.items() if value is not None}


def _decode_ndjson(body: bytes, max_events: int) -> DecodedBatch:
    lines = [line for line in body.split(b"\n") if line.strip()]
    check_count(len(lines), max_events)
    return _decode_events(lines)


def _decode_json(body: bytes, max_events: int) -> DecodedBatch:
    if len(body) <= EVENT_MAX_BYTES:
        try:
            batch = _BATCH.decode(body)
            if decoded := _accept_whole(body, batch, _count_outer_keys(batch)):
                return decoded
        except msgspec.ValidationError:
            pass  # below it shows whether an event is invalid, or the batch itself
    raw = _RAW_BATCH.decode(body)
    check_count(len(raw.events), max_events)
    events = [bytes(event) for event in raw.events]
    outer = body.count(b'":') - sum([event.count(b'":') for event in events])
    if (keys_in(body) < 0 or outer != _count_outer_keys(raw)) and outermost_repeats(body):
        raise Problem(400, "malformed", "a key of the batch is repeated")
    return _decode_events(events, raw)


def _count_outer_keys(batch: Batch | RawBatch) -> int:
    return 1 + (batch.sent_at is not None) + (batch.consent is not None) + (batch.site is not None)


def _decode_events(raw: list[bytes], outer: RawBatch = _NO_BATCH) -> DecodedBatch:
    sent_at = int(outer.sent_at) if isinstance(outer.sent_at, float) else outer.sent_at
    if raw and max(map(len, raw)) <= EVENT_MAX_BYTES:
        try:
            batch = Batch([_EVENT.decode(event) for event in raw], sent_at, outer.consent, outer.site)
            if decoded := _accept_whole(b"".join(raw), batch, 0):
                return decoded
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # below it shows which event is invalid
    adjusted: list[Adjustment] = []
    events = [_decode_event(index, event, adjusted) for index, event in enumerate(raw)]
    if raw and all([isinstance(each, Rejection) and each.code == MALFORMED for each in events]):
        raise msgspec.DecodeError("no event is JSON")
    has_rejections = any([isinstance(event, Rejection) for event in events])
    return DecodedBatch(
        events, sent_at, outer.consent, has_rejections=has_rejections, adjusted=adjusted, site=outer.site
    )


def _accept_whole(text: bytes, batch: Batch, outer_keys: int) -> DecodedBatch | None:
    """The batch that was decoded from this text, if no key in it is repeated; None when
    that cannot be ruled out cheaply.
    """
    events = batch.events
    columns = columns_of(events) if len(events) >= _MANY else None
    keys = keys_of_columns(columns) if columns else keys_of(events)
    if keys_in(text) != keys + outer_keys:
        return None
    if columns and not (text.isascii() and b"\\" not in text and b"\x7f" not in text):
        columns = None  # JSON has control characters only as escapes, so any other text is printable
    return DecodedBatch(events, batch.sent_at, batch.consent, columns, site=batch.site)


def _decode_event(index: int, raw: bytes, adjusted: list[Adjustment]) -> Event | Rejection:
    """What is adjusted is added to the list."""
    if len(raw) > ADJUSTED_MAX_BYTES:
        return event_too_large(index)
    text, changes = raw, list[Change]()
    try:
        if len(raw) > EVENT_MAX_BYTES:
            text, changes = adjust_text(raw)
            if len(text) > EVENT_MAX_BYTES:
                return event_too_large(index)
        try:
            event = _EVENT.decode(text)
        except msgspec.ValidationError:
            text, changes = adjust_text(raw)
            event = _EVENT.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _undecoded(index, raw, error, adjusted)
    adjusted += [Adjustment(index, *change) for change in changes]
    if (text is not raw or keys_in(raw) != keys_of([event])) and (key := repeated_key(raw)) is not None:
        return Rejection(index, "key_repeated", key[:100], "the key is repeated in its object")
    return event


def _undecoded(index: int, raw: bytes, error: Exception, adjusted: list[Adjustment]) -> Event | Rejection:
    if depth(raw) > DEPTH_MAX:
        return event_too_deep(index)
    if isinstance(error, msgspec.ValidationError):
        return type_error(index, str(error))
    whole = with_whole_characters(raw)
    return malformed(index) if whole == raw else _decode_event(index, whole, adjusted)


def _not_a_batch(body: bytes, media_type: str, error: Exception) -> Problem:
    if not body.strip():
        return Problem(400, "malformed", "the body is empty")
    # A bare array is the most likely mistake of a newcomer: the 400 shows what to send.
    if isinstance(error, msgspec.ValidationError) and not body.lstrip().startswith(b"["):
        named = [name for name in msgspec.structs.fields(Batch) if f"{name.name}`" in str(error)]
        where = f" ({named[0].name})" if named else ""
        return Problem(
            422, "batch_invalid", f'the body must be {{"events":[…],"sent_at":…,"consent":…}}; it is not{where}'
        )
    expected = "one event a line" if media_type == NDJSON else 'of the form {"events":[…]}'
    return Problem(400, "malformed", f"the body is not valid JSON {expected}, in UTF-8")
