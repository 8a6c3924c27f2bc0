"""Accepted events become log lines. Fields of the request (site, user agent, country,
consent) are added to each line here; the address is not one of them (P11).

All lines of a request begin with these fields: they are encoded once, and the events
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec
from msgspec import structs

from ingest.collect.event import Property
from ingest.collect.validate import Accepted
from ingest.collect.visitor_id import DailyVisitor
from ingest.http.problem import Problem
from shared.control_chars import escape_in_log
from shared.event_ids import make_event_ids
from shared.segments.line import CRC_BYTES, SCHEMA_VERSION, append_crc
from shared.timestamps import rfc3339


class RequestFields(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """The fields that all events of a request share, in the order on disk."""

    site: str
    ua: str | None = None
    language: str | None = None
    country: str | None = None
    consent: str | None = None
    sender: str | None = None
    region: str | None = None
    city: str | None = None


class Line(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A whole log line before its CRC, for lines that share no fields. The order of the
    fields is the order on disk.
    """

    v: int
    received: str
    site: str
    ua: str | None = None
    language: str | None = None
    country: str | None = None
    consent: str | None = None
    sender: str | None = None
    region: str | None = None
    city: str | None = None
    id: str
    name: str
    time: str
    visitor: str | None = None
    daily: bool | None = None
    session: str | None = None
    url: str | None = None
    referrer: str | None = None
    value: float | int | None = None
    props: dict[str, Property] | None = None
    screen: str | None = None


_ENCODER = msgspec.json.Encoder()
_CACHED = 1024
# How many bytes of log a request may become: for each byte that it brought (the body as
# inflated, the site, the agent), and for each event besides, which gets an id, times, a
# visitor, the basis of its consent and a CRC.
GROWTH_MAX = 3
EVENT_BYTES = 320
# Of a key of a line with its quotes.
_KEY_BYTES = 12
_BEGINNING = b'{"v":%d,"received":"' % SCHEMA_VERSION


def encode_events(
    accepted: list[Accepted], fields: RequestFields, visitor: DailyVisitor | None, received_ms: int, body_bytes: int
) -> bytes:
    """The log lines of a request, in order. Changes the events: each gets an id,
    its time as text, and the daily `visitor` if it has none.

    The lines are in proportion to what the request brought, whose inflated body has
    `body_bytes`: an agent that stands on each of many small events is left out where
    it would be most of them. Raises Problem 413 where the rest is out of proportion.
    """
    if not all([event.id for event, _ in accepted]):
        for (event, _), id_ in zip(accepted, make_event_ids(len(accepted), received_ms), strict=True):
            event.id = event.id or id_
    if visitor is not None:
        _add_visitor(accepted, visitor)
    for event, time_ms in accepted:
        event.time = rfc3339(time_ms)  # type: ignore[assignment]  # only the encoder reads it from here on
    rests = _encode_without_braces([event for event, _ in accepted])
    beginning = _BEGINNING + rfc3339(received_ms).encode("ascii")
    prefix = _encode_prefix(fields)
    left = _most(fields, len(rests), body_bytes) - sum(map(len, rests))
    if len(rests) * (len(beginning) + len(prefix) + CRC_BYTES + 1) > left:
        prefix = _encode_prefix(structs.replace(fields, ua=None))
        if fields.sender is None and len(rests) * (len(beginning) + len(prefix) + CRC_BYTES + 1) > left:
            raise Problem(413, "too_large", "the name of the site is too long for so many small events; send fewer")
    return append_crc(beginning + prefix, rests)


def _most(fields: RequestFields, events: int, body_bytes: int) -> int:
    """How many bytes of log a request may become. Region and city come from the
    operator's file, and leave no less room for what the client sent.
    """
    brought = body_bytes + len(fields.site) + len(fields.ua or "")
    place = sum(len(text.encode("utf-8")) + _KEY_BYTES for text in (fields.region, fields.city) if text)
    return GROWTH_MAX * brought + (EVENT_BYTES + place) * events


def _add_visitor(accepted: list[Accepted], visitor: DailyVisitor) -> None:
    today, start_ms, end_ms = _daily(visitor.today), visitor.start_ms, visitor.end_ms
    for event, time_ms in accepted:
        if event.visitor is None:  # only the encoder reads it from here on
            event.visitor = today if start_ms <= time_ms < end_ms else _daily(visitor.on(time_ms))  # type: ignore[assignment]


def _daily(visitor: str) -> msgspec.Raw:
    """The hash of a day (base64url), and the field that says so. An event has no such
    field, or a client could send it.
    """
    return msgspec.Raw(b'"%b","daily":true' % visitor.encode("ascii"))


def encode_lines(lines: list[Line]) -> bytes:
    """The log lines of these, in order."""
    return append_crc(b"{", _encode_without_braces(lines))


@lru_cache(maxsize=_CACHED)
def _encode_prefix(fields: RequestFields) -> bytes:
    return b'",%b,' % _encode_without_braces([fields])[0]


def _encode_without_braces(objects: Sequence[msgspec.Struct]) -> list[bytes]:
    # Every newline separates two objects: JSON escapes those inside a string.
    return escape_in_log(_ENCODER.encode_lines(objects))[1:-2].split(b"}\n{")
