"""Repeated keys in one JSON object: parsers disagree on which one counts, so the event
is rejected.

msgspec silently uses the last one. Here the keys in the text are counted and compared
with those that were decoded. Only where the counts differ, or a cheap count is not
possible, is the text parsed again, by a parser that reports every key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import astuple, fields

from ingest.collect.event import Columns, Event

_FIELDS = len(fields(Event))


def keys_in(text: bytes) -> int:
    """A number that is not below the number of keys in this valid JSON; -1 where a
    blank may stand between a key and its colon.
    """
    # A search for one byte is ten times as fast as for two, and most bodies have none
    # of these.
    if b"\n" in text or b"\t" in text or b"\r" in text or (b" " in text and b'" ' in text):
        return -1
    return text.count(b'":')  # one for each key, and some inside strings


def keys_of(events: Sequence[Event]) -> int:
    """From how many keys these events were decoded, if none was null or repeated."""
    return sum([_FIELDS - astuple(event).count(None) + (len(event.props) if event.props else 0) for event in events])


def keys_of_columns(columns: Columns) -> int:
    """The same for the events of these columns."""
    return sum(map(len, columns)) + sum(map(len, columns.props))


def repeated_key(text: bytes) -> str | None:
    """The first repeated key in an object of valid JSON, or None."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    _read(text, note)
    return found[0] if found else None


def outermost_repeats(text: bytes) -> bool:
    """Whether a key is repeated in the outermost object of valid JSON."""
    last: list[list[tuple[str, Any]]] = [[]]

    def keep(pairs: list[tuple[str, Any]]) -> None:
        last[0] = pairs  # inner objects end before the outermost one

    _read(text, keep)
    keys = [key for key, _ in last[0]]
    return len(set(keys)) < len(keys)


def _read(text: bytes, on_object: Callable[[list[tuple[str, Any]]], None]) -> None:
    # Numbers stay text: int() raises for one of 5,000 digits.
    json.loads(text, object_pairs_hook=on_object, parse_int=str, parse_float=str)
