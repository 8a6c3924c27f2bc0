"""An event as a line of the spool."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from foldlog.client.event import encode


def test_line_has_what_was_given_and_a_time() -> None:
    line = encode({"name": "signup", "visitor": None, "props": {"plan": "ä\n\u2028"}})
    assert b"\n" not in line
    found = json.loads(line)
    assert abs(found.pop("time") / 1000 - datetime.now(UTC).timestamp()) < 3600
    assert found == {"name": "signup", "props": {"plan": "ä\n\u2028"}}


@pytest.mark.parametrize("moment", [datetime(2026, 11, 22, 16, tzinfo=UTC), 1795363200000])
def test_time_is_milliseconds(moment: object) -> None:
    assert json.loads(encode({"name": "a", "time": moment}))["time"] == 1795363200000


def test_half_a_character_is_sent_as_an_escape() -> None:
    assert b"\\ud83d" in encode({"name": "cut \ud83d"})


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": ""}, ValueError),
        ({}, ValueError),
        ({"name": "a", "value": float("nan")}, ValueError),
        ({"name": "a", "time": datetime(2026, 11, 22)}, ValueError),  # noqa: DTZ001
        ({"name": "a", "props": {"when": datetime.now(UTC)}}, TypeError),
        ({"name": "a", "props": {"text": "x" * 32_768}}, ValueError),
    ],
)
def test_what_can_be_no_event_is_refused_at_once(fields: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(fields)
