"""Validation: each event is accepted, with its time, or rejected with a code, a field
and a sentence (P12).

Pure functions on the path of every event: a valid one passes each check with one call
into C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import NamedTuple, cast

from ingest.collect.event import Columns, Event
from shared.control_chars import CONTROL_CHARS
from shared.lateness import LATENESS_H, LATENESS_MAX_MS

FUTURE_MAX_MS = 5 * 60 * 1000

_ID_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_HTTP = ("http://", "https://")
# Broken client code sends these in place of an id. If they counted, all its visitors
# would be one.
_PLACEHOLDER_IDS = frozenset(
    [
        "null",
        "undefined",
        "none",
        "nil",
        "nan",
        "anonymous",
        "anon",
        "guest",
        "unknown",
        "undef",
        "true",
        "false",
        "id",
        "visitor",
        "distinct_id",
        "user_id",
        "not_authenticated",
        "[object",
        "object]",
        "{}",
        "[]",
        "0",
        "-1",
    ]
) | {"[object object]"}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an event was rejected. `field` may be a name that the client invented."""

    index: int
    code: str
    field: str | None
    detail: str


# An accepted event and its time (epoch milliseconds). A plain tuple: one is made for
# every event.
Accepted = tuple[Event, int]


class BatchOutcome(NamedTuple):
    """What the answer reports: how many events were accepted, and which were not."""

    accepted: int
    rejected: list[Rejection]


class Validated(NamedTuple):
    """The events of a batch, in order."""

    accepted: list[Accepted]
    rejected: list[Rejection]

    def outcome(self) -> BatchOutcome:
        return BatchOutcome(len(self.accepted), self.rejected)


def validate_batch(
    events: Sequence[Event | Rejection],
    received_ms: int,
    sent_at: datetime | int | None,
    columns: Columns | None = None,
) -> Validated:
    """Check decoded events; those that did not decode arrive as Rejections and stay so.

    `columns` of printable ASCII are checked together, event by event only if one fails.
    """
    skew_ms = received_ms - to_ms(sent_at) if sent_at is not None else 0
    earliest_ms, latest_ms = received_ms - LATENESS_MAX_MS, received_ms + FUTURE_MAX_MS
    if columns is not None and columns_are_valid(columns):
        times_ms = _times_ms(cast(Sequence[Event], events), columns, received_ms, skew_ms)
        if min(times_ms) >= earliest_ms and max(times_ms) <= latest_ms:
            return Validated(list(zip(cast(Sequence[Event], events), times_ms, strict=True)), [])
    accepted: list[Accepted] = []
    rejected: list[Rejection] = []
    for index, event in enumerate(events):
        if isinstance(event, Rejection):
            rejected.append(event)
            continue
        time_ms = received_ms if event.time is None else to_ms(event.time) + skew_ms
        if time_ms > latest_ms:
            time_ms = received_ms
        error = event_error(event) if time_ms >= earliest_ms else _TOO_OLD
        if error is None:
            accepted.append((event, time_ms))
        else:
            rejected.append(Rejection(index, *error))
    return Validated(accepted, rejected)


def columns_are_valid(columns: Columns) -> bool:
    """Whether `event_error` finds nothing in any event of these columns of printable
    ASCII. False: check each event.
    """
    if "".join(columns.id).encode("ascii").translate(None, _ID_BYTES):
        return False
    if not all(map(str.startswith, columns.url + columns.referrer, repeat(_HTTP))):
        return False
    identities = "\n".join({*columns.visitor, *columns.session}).lower()
    if not identities:
        return True
    # An id of only blanks, zeros and minus signs is a placeholder, too.
    is_empty = b"\n\n" in b"\n%b\n" % identities.encode("ascii").translate(None, b"0- ")
    return not is_empty and _PLACEHOLDER_IDS.isdisjoint(identities.split("\n"))


def _times_ms(events: Sequence[Event], columns: Columns, received_ms: int, skew_ms: int) -> list[int]:
    times = columns.time
    if not times:
        return [received_ms] * len(events)
    if len(times) == len(events) and set(map(type, times)) == {int}:
        times_ms = cast(list[int], times)
        return [time_ms + skew_ms for time_ms in times_ms] if skew_ms else times_ms
    return [received_ms if event.time is None else to_ms(event.time) + skew_ms for event in events]


def to_ms(moment: datetime | int) -> int:
    """Epoch milliseconds."""
    return moment if isinstance(moment, int) else round(moment.timestamp() * 1000)


EventError = tuple[str, str, str]
_TOO_OLD: EventError = ("too_old", "time", f"the event is more than {LATENESS_H} hours old")


def event_error(event: Event) -> EventError | None:
    """Why an event is invalid although its types fit: (code, field, detail), or None.

    Each condition begins with a cheap test that nearly every event passes; only after
    that fails is the exact one computed.
    """
    name, id_, visitor, session, url, referrer = (
        event.name, event.id, event.visitor, event.session, event.url, event.referrer
    )  # fmt: skip
    if not name.isprintable() and not is_harmless(name):
        return "name_invalid", "name", "a name must not have control or text-direction characters"
    if id_ is not None and not (id_.isascii() and (id_.isalnum() or is_id(id_))):
        return "id_invalid", "id", "an id must be 8 to 64 of A-Z, a-z, 0-9, _ and -"
    if visitor is not None and (found := _identity_error("visitor", visitor)):
        return found
    if session is not None and (found := _identity_error("session", session)):
        return found
    if url is not None and not (url.startswith(_HTTP) and url.isprintable()) and not is_http_url(url):
        return "url_invalid", "url", "a url must begin with http:// or https:// and must not have control characters"
    if (
        referrer is not None
        and not (referrer.startswith(_HTTP) and referrer.isprintable())
        and not is_http_url(referrer)
    ):
        return (
            "referrer_invalid",
            "referrer",
            "a referrer must begin with http:// or https:// and must not have control characters",
        )
    return None


def _identity_error(field: str, identity: str) -> EventError | None:
    if not identity.isprintable() and not is_harmless(identity):
        return f"{field}_invalid", field, f"a {field} must not have control or text-direction characters"
    if not identity.strip("0- ") or identity.lower() in _PLACEHOLDER_IDS:
        return f"{field}_junk", field, f"the {field} is a placeholder; leave the field out instead"
    return None


def is_harmless(text: str) -> bool:
    """Whether no character may rewrite a terminal or hide text. True for every
    printable text, and some others.
    """
    return CONTROL_CHARS.search(text) is None


def is_id(text: str) -> bool:
    """Whether all characters are of A-Z, a-z, 0-9, _ and -."""
    return not text.encode("utf-8").translate(None, _ID_BYTES)


def is_http_url(text: str) -> bool:
    """Whether it begins as an http or https URL and has no control characters."""
    return text.lower().startswith(_HTTP) and is_harmless(text)
