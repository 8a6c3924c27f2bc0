"""POST /admin/api/fold, with a real compactor."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.builders.server import ADMIN_TOKEN, Server, bearer
from tests.builders.visits import SITE
from tests.builders.waiting import until
from tests.builders.worker import Worker

# Less than any of these waits lasts, and enough for a busy machine.
ENOUGH_S = 50.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("fold"), sites=SITE) as running:
        yield running
        assert '"event":"request_failed"' not in running.stderr()


ALLOWED = {
    "no browser": bearer(ADMIN_TOKEN),
    "Basic": {"Authorization": f"Basic {base64.b64encode(f'admin:{ADMIN_TOKEN}'.encode()).decode()}"},
    "its own page": bearer(ADMIN_TOKEN) | {"Sec-Fetch-Site": "same-origin"},
    "typed": bearer(ADMIN_TOKEN) | {"Sec-Fetch-Site": "none"},
}


@pytest.mark.parametrize("headers", ALLOWED.values(), ids=ALLOWED)
def test_admin_token_can_fold(server: Server, headers: dict[str, str]) -> None:
    assert server.request("POST", "/admin/api/fold", b"", headers).status == 200


def test_own_page_of_an_older_browser_can_fold(server: Server) -> None:
    headers = bearer(ADMIN_TOKEN) | {"Origin": f"http://{server.host}"}
    assert server.request("POST", "/admin/api/fold", b"", headers).status == 200


def test_fold_returns_when_everything_acknowledged_before_is_counted(server: Server) -> None:
    for number in range(3):
        server.post([{"name": "folded", "id": f"folded-{number:02}"}])
        generation = server.fold()
        found = server.get("/admin/api/report", event="folded").json()
        assert found["generation"] == generation
        assert found["total"]["events"] == number + 1


def test_concurrent_folds_are_all_done(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(3):
            server.post([{"name": "at-once", "id": f"at-once-{number}"}])
            generations = list(pool.map(lambda _: server.fold(), range(8)))
            assert server.get("/admin/api/report", event="at-once").json()["total"]["events"] == number + 1
            assert min(generations) > number


def test_fold_requested_during_a_restart_of_the_compactor_is_done(server: Server) -> None:
    try:
        os.kill(server.child("compact"), signal.SIGKILL)
        sent = (
            f"POST /admin/api/fold HTTP/1.1\r\nHost: {SITE}\r\nAuthorization: Bearer "
            f"{ADMIN_TOKEN}\r\nContent-Length: 0\r\n\r\n"
        )
        assert server.exchange(sent.encode()).status == 200
    finally:
        server.fold()


@pytest.mark.long
def test_empty_server_answers_with_empty_results(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        snapshot = server.get("/admin/api/snapshot")
        assert (snapshot.status, snapshot.code) == (404, "no_snapshot")
        report = server.get("/admin/api/report").json()
        assert (report["rows"], report["total"]) == ([{"events": 0, "visitors": 0}], {"events": 0, "visitors": 0})
        assert server.get("/admin/api/report", by="path").json()["rows"] == []
        assert server.get("/admin/api/export").body == b""
        assert server.get("/admin/api/export", format="csv").body.count(b"\r\n") == 1
        status = server.get("/admin/api/status").json()
        assert set(status["balance"].values()) == {0}
        assert server.fold() == 0  # a pass that found nothing publishes nothing
        assert server.get("/admin/api/snapshot").code == "no_snapshot"


@pytest.mark.parametrize("asked", ["POST /admin/api/fold", "DELETE /admin/api/visitors/someone"])
def test_client_that_leaves_is_not_waited_for(tmp_path: Path, asked: str) -> None:
    """There is no compactor, so each would wait for a minute or two."""
    with Worker(tmp_path) as worker:
        head = f"{asked} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nContent-Length: 0\r\n\r\n"
        with worker.connect() as connection:
            connection.sendall(head.encode())
            until(lambda: worker.context.in_flight == 1)
        assert until(lambda: worker.context.in_flight == 0) < ENOUGH_S
