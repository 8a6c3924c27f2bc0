"""msgspec's messages become codes and fields. The messages are msgspec's own, raised by
its decoder, so that a new version that words them otherwise fails here.
"""

from __future__ import annotations

import json

import msgspec
import pytest

from ingest.collect.event import EVENT_MAX_BYTES, Event
from ingest.collect.type_errors import event_too_large, type_error

DECODER = msgspec.json.Decoder(Event)

MESSAGES: dict[str, tuple[object, str, str | None, str]] = {
    "unknown field": ({"name": "x", "naem": 1}, "unknown_field", "naem", "there is no such field"),
    "missing name": ({}, "name_missing", "name", "name is required"),
    "wrong type": ({"name": 5}, "name_type", "name", "name has the wrong type"),
    "too long": ({"name": "x" * 121}, "name_too_long", "name", "name is longer than 120"),
    "too short": ({"name": ""}, "name_too_short", "name", "name is shorter than 1"),
    "out of range": ({"name": "x", "value": 2**60}, "value_out_of_range", "value", "value is out of range"),
    "time without a zone": (
        {"name": "x", "time": "2026-11-22T15:00:00"},
        "time_invalid",
        "time",
        "time must be RFC 3339 with a zone, or integer epoch milliseconds",
    ),
    "value in props": ({"name": "x", "props": {"a": []}}, "props_type", "props", "a value of props has the wrong type"),
    "key in props": ({"name": "x", "props": {"": 1}}, "props_too_short", "props", "a key of props is shorter than 1"),
    "not an object": (5, "event_type", None, "an event must be a JSON object"),
}


@pytest.mark.parametrize(("event", "code", "field", "detail"), MESSAGES.values(), ids=MESSAGES)
def test_message_of_the_decoder_becomes_code_field_and_detail(
    event: object, code: str, field: str | None, detail: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        DECODER.decode(json.dumps(event))
    found = type_error(7, str(caught.value))
    assert (found.index, found.code, found.field, found.detail) == (7, code, field, detail)


def test_size_limit_is_in_the_detail() -> None:
    assert str(EVENT_MAX_BYTES) in event_too_large(0).detail
