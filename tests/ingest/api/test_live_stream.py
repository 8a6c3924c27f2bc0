"""GET /admin/api/live/stream: an operator sees what arrives, or why it is not taken."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.api import live_stream
from shared.tokens import create_token, revoke_token
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, bearer
from tests.builders.visits import SITE
from tests.builders.waiting import TIMEOUT_S, until
from tests.builders.worker import Worker


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with Worker(tmp_path, sites=f"{SITE},other.example") as running:
        yield running


class Stream:
    """An open stream; `text` is what has come."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.text = ""

    def read(self) -> bool:
        """More of it. False at its end."""
        block = self._connection.recv(65536)
        self.text += block.decode("utf-8")
        return bool(block)

    @property
    def arrivals(self) -> list[dict[str, Any]]:
        return [json.loads(line[6:]) for line in self.text.splitlines() if line.startswith("data: ")]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        while len(self.arrivals) < count:
            assert self.read(), self.text
        return self.arrivals


@contextmanager
def watching(worker: Worker, query: str = "", token: str = ADMIN_TOKEN) -> Iterator[Stream]:
    with worker.connect(TIMEOUT_S) as connection:
        head = f"GET /admin/api/live/stream{query} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
        connection.sendall(head.encode())
        stream = Stream(connection)
        while "from now on" not in stream.text:
            assert stream.read(), stream.text
        yield stream


def post(worker: Worker, *events: dict[str, Any], query: str = "", **more: object) -> int:
    body = json.dumps({"events": events, "consent": "granted"} | more).encode()
    headers = bearer(INGEST_KEY) | {"Content-Type": "application/json"}
    return worker.request("POST", f"/v1/events{query}", body, headers).status


def test_what_arrives_is_seen_and_why_it_is_not_taken(worker: Worker) -> None:
    with watching(worker) as stream:
        post(worker, {"name": "signup", "url": f"https://{SITE}/join?q=private", "visitor": "visitor-1"})
        post(worker, {"name": "old", "time": "2001-01-01T00:00:00Z"}, {"name": "new"})
        assert worker.request("POST", "/v1/events", b"{}", bearer(INGEST_KEY)).status == 415
        first, rejected, accepted, refused = stream.wait_for(4)
    assert (first["outcome"], first["name"], first["path"]) == ("accepted", "signup", "/join")
    assert (rejected["outcome"], rejected["code"], rejected["field"]) == ("rejected", "too_old", "time")
    assert (accepted["outcome"], accepted["name"]) == ("accepted", "new")
    assert (refused["outcome"], refused["status"], refused["code"]) == ("refused", 415, "media_type")
    assert "private" not in stream.text and "visitor-1" not in stream.text


def test_only_what_is_of_a_site(worker: Worker) -> None:
    with watching(worker, "?site=other.example") as stream:
        post(worker, {"name": "here", "site": SITE}, {"name": "there", "site": "other.example"})
        assert [each["name"] for each in stream.wait_for(1)] == ["there"]


def test_what_came_before_is_not_shown(worker: Worker) -> None:
    post(worker, {"name": "before"})
    with watching(worker) as stream:
        post(worker, {"name": "after"}, query="?dry_run=1")
        (seen,) = stream.wait_for(1)
    assert (seen["name"], seen["dry_run"]) == ("after", True)


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("ingest", 403), (None, 401)])
def test_it_needs_an_admin_token(worker: Worker, scope: Any, status: int) -> None:
    headers = bearer(create_token(worker.data, scope)[1]) if scope else {}
    assert worker.request("GET", "/admin/api/live/stream", headers=headers).status == status


def test_it_ends_when_its_token_is_revoked(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "BEAT_S", 0.2)
    token, secret = create_token(worker.data, "admin")
    with watching(worker, token=secret) as stream:
        revoke_token(worker.data, token.id)
        while stream.read():
            pass


def test_streams_are_few_and_their_places_come_back(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "STREAMS_MOST", 1)
    with watching(worker):
        answer = worker.get("/admin/api/live/stream")
        assert (answer.status, answer.code) == (503, "busy")
    until(lambda: worker.context.live_streams == 0)
    with watching(worker):
        pass


def test_a_worker_that_stops_ends_it(tmp_path: Path) -> None:
    with Worker(tmp_path, sites=SITE) as worker, watching(worker) as stream:
        worker.context.draining = True
        while stream.read():
            pass
