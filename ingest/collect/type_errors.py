"""Rejections of events that did not decode: a code, a field and a sentence, made from
msgspec's message (P12).

tests/ingest/collect/test_type_errors.py pins the messages, which may change with a
version of msgspec.
"""

from __future__ import annotations

import re

from ingest.collect.body import DEPTH_MAX
from ingest.collect.event import EVENT_MAX_BYTES
from ingest.collect.validate import Rejection

MALFORMED = "malformed"

_NUMBERS = {"time", "value", "props"}
_FIELD = re.compile(r"`\$\.(\w+)")
_KINDS = (
    (re.compile(r"of length <= (\d+)"), "too_long", "{field} is longer than {limit}"),
    (re.compile(r"of length >= (\d+)"), "too_short", "{field} is shorter than {limit}"),
    (re.compile(r"Expected `int` [<>]=|out of range"), "out_of_range", "{field} is out of range"),
    (re.compile(r"RFC3339|timezone"), "invalid", "{field} must be RFC 3339 with a zone, or integer epoch milliseconds"),
    (re.compile(r""), "type", "{field} has the wrong type"),
)


def type_error(index: int, message: str) -> Rejection:
    """The rejection of an event that did not decode, made from msgspec's message."""
    what, _, where = message.partition(" - at ")
    if "unknown field" in what:
        return Rejection(index, "unknown_field", what.split("`")[1][:100], "there is no such field")
    if "missing required" in what:
        field = what.split("`")[1]
        if outer := _FIELD.search(where):
            return Rejection(index, f"{outer[1]}_type", outer[1], f"{outer[1]} must have {field}")
        return Rejection(index, f"{field}_missing", field, f"{field} is required")
    found = _FIELD.search(where)
    if found is None:
        return Rejection(index, "event_type", None, "an event must be a JSON object")
    field = found[1]
    for pattern, kind, detail in _KINDS:
        if kind == "out_of_range" and field not in _NUMBERS:
            continue  # a number in place of a text
        if limit := pattern.search(what):
            shown = limit[1] if pattern.groups else ""
            inside = f"a key of {field}" if "key" in where else f"a value of {field}" if "[" in where else field
            return Rejection(index, f"{field}_{kind}", field, detail.format(field=inside, limit=shown))
    raise AssertionError("the last pattern matches everything")


def event_too_deep(index: int) -> Rejection:
    return Rejection(index, "too_deep", None, f"the event is nested deeper than {DEPTH_MAX} levels")


def malformed(index: int) -> Rejection:
    return Rejection(index, MALFORMED, None, "the event is not valid JSON, in UTF-8")


def event_too_large(index: int) -> Rejection:
    return Rejection(index, "event_too_large", None, f"an event may have at most {EVENT_MAX_BYTES} bytes")
