"""What becomes of a batch, by the answer: a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from foldlog.client.answer import judge

EVENTS = [{"name": "a", "id": "event-no-1"}, {"name": "b", "id": "event-no-2"}]


def said(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, said(accepted=2, rejected=[]), "done"),
        (202, said(accepted=2, rejected=[], adjusted=[]), "done"),
        (422, said(accepted=0, rejected=[{"index": 0, "code": "x"}, {"index": 1, "code": "x"}]), "done"),
        (200, b"<html>Please sign in</html>", "again"),
        (200, said(accepted=1, rejected=[]), "again"),
        (200, said(accepted=2, rejected=[{"index": 9}]), "again"),
        (200, said(accepted=1, rejected=["no object"]), "again"),
        (200, b"[" * 100_000, "again"),
        (204, b"", "again"),
        (301, b"", "refused"),
        (400, said(code="malformed"), "refused"),
        (401, said(code="key"), "refused"),
        (403, said(code="consent"), "refused"),
        (404, b"no JSON", "refused"),
        (408, said(code="slow"), "again"),
        (413, said(code="too_many_events"), "halve"),
        (422, said(code="batch_invalid"), "refused"),
        (429, said(code="rate_limit"), "again"),
        (500, said(code="internal"), "again"),
        (502, b"<html>", "again"),
        (503, said(code="busy"), "again"),
        (507, said(code="disk_full"), "again"),
    ],
)
def test_answer_decides_what_becomes_of_a_batch(status: int, body: bytes, kind: str) -> None:
    assert judge(status, None, body, EVENTS).kind == kind


def test_rejected_event_is_reported_with_its_reason() -> None:
    body = said(accepted=1, rejected=[{"index": 1, "code": "name_type", "field": "name", "detail": "why"}])
    (refusal,) = judge(200, None, body, EVENTS).refusals
    assert (refusal.events, refusal.code, refusal.field, refusal.detail) == ([EVENTS[1]], "name_type", "name", "why")
    assert not refusal.is_kept


def test_refused_batch_is_reported_whole_and_kept() -> None:
    (refusal,) = judge(401, None, said(code="key", detail="no such key"), EVENTS).refusals
    assert (refusal.events, refusal.status, refusal.code, refusal.is_kept) == (EVENTS, 401, "key", True)


def test_single_event_that_is_too_large_is_reported_and_not_halved() -> None:
    verdict = judge(413, None, said(code="too_large"), EVENTS[:1])
    assert verdict.kind == "done" and [each.code for each in verdict.refusals] == ["too_large"]


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [(None, None), ("", None), ("7", 7), ("-3", 0), ("999999999", 3600), ("soon", None), ("Mon, 01 Jan", None)],
)
def test_retry_after_is_seconds_of_an_hour_at_most(header: str | None, wait_s: float | None) -> None:
    assert judge(503, header, b"", EVENTS).retry_after_s == wait_s


def test_retry_after_may_be_a_date() -> None:
    found = judge(503, format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True), b"", EVENTS)
    assert found.retry_after_s is not None and 500 < found.retry_after_s <= 600
