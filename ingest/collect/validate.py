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

from ingest.collect.adjust import Adjustment, adjust_event
from ingest.collect.event import Columns, Event
from ingest.collect.identity import PLACEHOLDER_IDS, identity_error, is_harmless
from shared.lateness import LATENESS_H, LATENESS_MAX_MS

FUTURE_MAX_MS = 5 * 60 * 1000
SKEW_MAX_MS = 24 * 60 * 60 * 1000

_ID_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_HTTP = ("http://", "https://")


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
    """What the answer reports: how many events were accepted, which were not, and what
    was left out of those that were.
    """

    accepted: int
    rejected: list[Rejection]
    adjusted: Sequence[Adjustment] = ()


class Validated(NamedTuple):
    """The events of a batch, in order."""

    accepted: list[Accepted]
    rejected: list[Rejection]
    adjusted: Sequence[Adjustment] = ()

    def outcome(self) -> BatchOutcome:
        return BatchOutcome(len(self.accepted), self.rejected, self.adjusted)


def validate_batch(
    events: Sequence[Event | Rejection],
    received_ms: int,
    sent_at: datetime | int | None,
    columns: Columns | None = None,
    adjusted: Sequence[Adjustment] = (),
) -> Validated:
    """Check decoded events; those that did not decode arrive as Rejections and stay so.

    `columns` of printable ASCII are checked together, event by event only if one fails.
    `adjusted` is what was left out before.
    """
    skew_ms = _skew_ms(received_ms, sent_at)
    earliest_ms, latest_ms = received_ms - LATENESS_MAX_MS, received_ms + FUTURE_MAX_MS
    if columns is not None and columns_are_valid(columns):
        times_ms = _times_ms(cast(Sequence[Event], events), columns, received_ms, skew_ms)
        if min(times_ms) >= earliest_ms and max(times_ms) <= latest_ms:
            return Validated(list(zip(cast(Sequence[Event], events), times_ms, strict=True)), [])
    accepted: list[Accepted] = []
    rejected: list[Rejection] = []
    changed = list(adjusted)
    for index, event in enumerate(events):
        if isinstance(event, Rejection):
            rejected.append(event)
            continue
        time_ms = received_ms if event.time is None else to_ms(event.time) + skew_ms
        if time_ms > latest_ms:
            time_ms = received_ms
        changed += [Adjustment(index, *change) for change in adjust_event(event)]
        error = event_error(event) if time_ms >= earliest_ms else _TOO_OLD
        if error is None:
            accepted.append((event, time_ms))
        else:
            rejected.append(Rejection(index, *error))
    return Validated(accepted, rejected, of_accepted(changed, rejected))


def of_accepted(changed: Sequence[Adjustment], rejected: Sequence[Rejection]) -> tuple[Adjustment, ...]:
    """The changes of events that were not rejected, in the order of the batch."""
    lost = {each.index for each in rejected}
    return tuple(sorted([each for each in changed if each.index not in lost], key=lambda each: each.index))


def _skew_ms(received_ms: int, sent_at: datetime | int | None) -> int:
    """By how much the client's clock is behind. A greater difference than a wrong clock
    has means that an old body is sent again.
    """
    skew_ms = received_ms - to_ms(sent_at) if sent_at is not None else 0
    return skew_ms if abs(skew_ms) <= SKEW_MAX_MS else 0


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
    return not is_empty and PLACEHOLDER_IDS.isdisjoint(identities.split("\n"))


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
    name, id_, visitor, url = event.name, event.id, event.visitor, event.url
    if not name.isprintable() and not is_harmless(name):
        return "name_invalid", "name", "a name must not have control or text-direction characters"
    if id_ is not None and not (id_.isascii() and (id_.isalnum() or is_id(id_))):
        return "id_invalid", "id", "an id must be 8 to 64 of A-Z, a-z, 0-9, _ and -"
    if visitor is not None and (found := identity_error("visitor", visitor)):
        return found
    if url is not None and not (url.startswith(_HTTP) and url.isprintable()) and not is_http_url(url):
        return "url_invalid", "url", "a url must begin with http:// or https:// and must not have control characters"
    return None


def is_id(text: str) -> bool:
    """Whether all characters are of A-Z, a-z, 0-9, _ and -."""
    return not text.encode("utf-8").translate(None, _ID_BYTES)


def is_http_url(text: str) -> bool:
    """Whether it begins as an http or https URL and has no control characters."""
    return text.lower().startswith(_HTTP) and is_harmless(text)
