"""An adapter decodes and answers; what it returns weakens neither consent, limits,
validation nor durability.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.collect import admission, native
from ingest.collect.adapter import Adapter, DecodedBatch
from ingest.collect.event import Event
from ingest.collect.handler import post_events
from ingest.collect.validate import BatchOutcome
from tests.builders.wire import CONSENT, JSON, SAME_ORIGIN, VALID, page, wire
from tests.builders.worker import Worker


class Foreign:
    """An adapter of another API: it takes any body for its events, without
    consent of its own.
    """

    def __init__(self) -> None:
        self.events = [Event(name="foreign")]
        self.calls: list[str] = []

    def decode(self, body: bytes, media_type: str, max_events: int) -> DecodedBatch:
        self.calls.append(f"decode {body!r} {media_type} {max_events}")
        return DecodedBatch(self.events)

    def answer(
        self, _request: BaseRequest, outcome: BatchOutcome, status: int, _cors: dict[str, str]
    ) -> web.StreamResponse:
        self.calls.append(f"answer {outcome.accepted} {len(outcome.rejected)} {status}")
        return web.Response(status=status, text="foreign")


@pytest.fixture
def foreign() -> Foreign:
    return Foreign()


@pytest.fixture
def worker(tmp_path: Path, foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    adapter: Adapter = foreign
    monkeypatch.setattr("tests.builders.worker.ROUTES", [("POST", "/v1/events", partial(post_events, adapter=adapter))])
    with Worker(tmp_path, max_events=3) as running:
        yield running


def test_native_module_is_an_adapter() -> None:
    adapter: Adapter = native
    assert adapter.decode(VALID, "application/json", 1).events


def test_events_of_an_adapter_are_stored_and_it_answers(worker: Worker, foreign: Foreign) -> None:
    before = worker.position()
    answer = worker.exchange(page(b"x"))
    assert (answer.status, answer.body) == (200, b"foreign")
    assert [line["name"] for line in worker.appended(before)] == ["foreign"]
    assert foreign.calls == ["decode b'x' application/json 3", "answer 1 0 200"]


def test_adapter_is_not_asked_before_admission(worker: Worker, foreign: Foreign) -> None:
    for sent, code in (
        (page(b"x", "Sec-GPC: 1"), "consent"),
        (wire(CONSENT, JSON, body=b"x"), "origin"),
        (page(b"x" * (64 << 10) + b"x"), "too_large"),
    ):
        assert worker.exchange(sent).code == code
    assert foreign.calls == []


def test_adapter_cannot_waive_consent(worker: Worker, foreign: Foreign) -> None:
    assert worker.exchange(wire(SAME_ORIGIN, JSON, body=b"x")).code == "consent"
    assert [call.split()[0] for call in foreign.calls] == ["decode"]


def test_adapter_cannot_exceed_the_number_of_events(worker: Worker, foreign: Foreign) -> None:
    foreign.events *= 4
    before = worker.position()
    assert worker.exchange(page(b"x")).code == "too_many_events"
    assert worker.position() == before


def test_events_of_an_adapter_are_validated(worker: Worker, foreign: Foreign) -> None:
    foreign.events = [Event(name="a\x1b[2J"), Event(name="x", visitor="null")]
    before = worker.position()
    assert worker.exchange(page(b"x")).status == 422
    assert foreign.calls[1:] == ["answer 0 2 422"]
    assert worker.position() == before


def test_adapter_does_not_answer_for_events_that_are_not_durable(
    worker: Worker, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "check_queue", lambda _full: None)
    monkeypatch.setattr(worker.context.commit_queue, "is_full", lambda _size=0: True)
    assert worker.exchange(page(b"x")).code == "busy"
    assert [call.split()[0] for call in foreign.calls] == ["decode"]
