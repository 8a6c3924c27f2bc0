"""Whether a line belongs to a visitor: by its field `visitor` in an event, by any
occurrence of the id in a damaged line.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from compactor.erasure.visitor_filter import LineMatch, VisitorFilter
from ingest.collect.encode import encode_lines
from shared.timestamps import rfc3339
from tests.builders.logs import NOON, line

VISITOR = "c0ffee-visitor"
ESCAPED = '"quoted" \u202e visitor'
MATCH = LineMatch(matches=True, received=rfc3339(NOON))


def event(**fields: Any) -> bytes:
    return encode_lines([line("event-1", **fields)])


def torn(**fields: Any) -> bytes:
    return event(**fields)[:-20]


# The id, the site of the request, the line, and how they relate.
ROWS: dict[str, tuple[str, str | None, bytes, LineMatch]] = {
    "own event": (VISITOR, None, event(visitor=VISITOR), MATCH),
    "own event on the requested site": (VISITOR, "example.com", event(visitor=VISITOR), MATCH),
    "own event on another site": (
        VISITOR,
        "shop.example.com",
        event(visitor=VISITOR),
        LineMatch(other_site=True, received=rfc3339(NOON)),
    ),
    "own event with an escaped id": (ESCAPED, None, event(visitor=ESCAPED), MATCH),
    "event of another visitor": (VISITOR, None, event(visitor="another-visitor"), LineMatch()),
    "longer id that contains it": (VISITOR, None, event(visitor=VISITOR + "-2"), LineMatch(mention=True)),
    "mention in a property": (
        VISITOR,
        None,
        event(visitor="another-visitor", props={"ref": VISITOR}),
        LineMatch(mention=True),
    ),
    "mention of a short id": ("abc", None, event(visitor="another", props={"ref": "abc"}), LineMatch()),
    "damaged line with the id": (VISITOR, None, torn(visitor=VISITOR), LineMatch(matches=True)),
    "damaged line with the escaped id": (ESCAPED, None, torn(visitor=ESCAPED), LineMatch(matches=True)),
    "damaged line of another visitor": (VISITOR, None, torn(visitor="another-visitor"), LineMatch()),
    "JSON that is not an object": (VISITOR, None, json.dumps([VISITOR]).encode("ascii"), LineMatch(matches=True)),
}


@pytest.mark.parametrize(("visitor", "site", "content", "expected"), ROWS.values(), ids=ROWS)
def test_line_relates_to_a_visitor(visitor: str, site: str | None, content: bytes, expected: LineMatch) -> None:
    assert VisitorFilter(visitor, site).match(content) == expected


@pytest.mark.parametrize("is_encoded", [False, True], ids=["as it is", "as base64"])
def test_record_of_quarantine_matches_by_its_bad_line(is_encoded: bool) -> None:
    bad = torn(visitor=VISITOR)
    record = json.dumps({"base64": base64.b64encode(bad).decode("ascii")}).encode("ascii") if is_encoded else bad
    assert VisitorFilter(VISITOR, None).matches_record(record)
    assert not VisitorFilter("another-visitor", None).matches_record(record)


def test_every_line_of_the_visitor_contains_the_prefilter() -> None:
    visitor = VisitorFilter(ESCAPED, None)
    assert visitor.prefilter == b"visitor"
    assert visitor.prefilter in event(visitor=ESCAPED)
