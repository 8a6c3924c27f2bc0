"""Repeated keys in one JSON object: parsers disagree on which one counts, so the event
is rejected.

msgspec silently uses the last one. Here the keys in the text are counted and compared
with those that were decoded. Only where the counts differ, or a cheap count is not
possible, is the text parsed again, by a parser that reports every key.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec.structs import astuple, fields

from ingest.collect.event import Columns, Event, VisitorBehind

# Looking them up costs 40 µs, so it is not done for each event.
_FIELDS = len(fields(Event))
_CLIENT_FIELDS = len(fields(VisitorBehind))


def keys_in(text: bytes) -> int:
    """A number that is not below the number of keys in this valid JSON; -1 where a
    blank may stand between a key and its colon.
    """
    # A search for one byte is ten times as fast as for two, and most bodies have none
    # of these.
    if b"\n" in text or b"\t" in text or b"\r" in text or (b" " in text and b'" ' in text):
        return -1
    found = text.count(b'":')  # one for each key, and some inside strings
    if b"\\" in text and b"\\\\" not in text:  # else a key may end with a backslash
        found -= text.count(b'\\":')
    return found


def keys_of(events: Sequence[Event]) -> int:
    """From how many keys these events were decoded, if none was null or repeated."""
    return sum([_FIELDS - astuple(event).count(None) + _inner_keys(event) for event in events])


def _inner_keys(event: Event) -> int:
    of_client = _CLIENT_FIELDS - astuple(event.client).count(None) if event.client else 0
    return of_client + (len(event.props) if event.props else 0)


def keys_of_columns(columns: Columns) -> int:
    """The same for the events of these columns."""
    return sum(map(len, columns)) + sum(map(len, columns.props))


class _Object(list[tuple[str, Any]]):
    """The pairs of a JSON object, in order."""


# Numbers stay text: int() raises for one of 5,000 digits. No function of ours is called
# for an object or a key.
_PAIRS = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=str)


def repeated_key(text: bytes) -> str | None:
    """A repeated key in an object of valid JSON, of the innermost that has one, or
    None.
    """
    found: str | None = None
    waiting: list[list[Any]] = [_PAIRS.decode(text.decode("utf-8"))]
    for value in waiting:  # which grows
        insides = value
        if isinstance(value, _Object):
            insides = [inside for _, inside in value]
            if len(dict(value)) < len(value):
                found = _repeated(value)
        waiting += [inside for inside in insides if isinstance(inside, list)]
    return found


def outermost_repeats(text: bytes) -> bool:
    """Whether a key is repeated in the outermost object of valid JSON."""
    pairs = _PAIRS.decode(text.decode("utf-8"))
    return len(dict(pairs)) < len(pairs)


def _repeated(pairs: _Object) -> str:
    return next(key for key, times in Counter([key for key, _ in pairs]).items() if times > 1)
