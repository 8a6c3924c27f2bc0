"""Erasure over HTTP and on the command line, with and without a running service."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from shared.disk.layout import DataDirectory
from shared.erasures import create_request, is_done, pending_requests, read_records
from shared.tokens import create_token
from tests.builders.command import run_here
from tests.builders.erasure import files_with
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, Server, bearer, run_foldlog
from tests.builders.waiting import until

GONE = "visitor/who goes?"
STAYS = "visitor who stays"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("erase"), workers=2) as running:
        yield running
        assert '"event":"request_failed"' not in running.stderr()
        assert "who goes" not in running.stderr()


def send(server: Server, visitor: str, count: int) -> None:
    events = [{"name": "pageview", "visitor": visitor, "url": f"https://example.com/{n}"} for n in range(count)]
    assert server.post(events).json()["accepted"] == count


def delete(server: Server, visitor: str, query: str = "", token: str = ADMIN_TOKEN) -> Answer:
    return server.request("DELETE", f"/admin/api/visitors/{quote(visitor, safe='')}{query}", headers=bearer(token))


def look(server: Server, visitor: str, query: str = "", token: str = ADMIN_TOKEN) -> Answer:
    return server.request("GET", f"/admin/api/visitors/{quote(visitor, safe='')}{query}", headers=bearer(token))


def test_what_an_erasure_would_take_out_is_shown_and_nothing_is_changed(server: Server) -> None:
    visitor = "visitor | to; look==at"
    at = datetime.now(UTC)
    events = [
        {"name": "pageview", "visitor": visitor, "site": site, "time": (at - timedelta(hours=hours)).isoformat()}
        for site, hours in (("example.com", 0), ("example.com", 49), ("shop.example", 1), ("shop.example", 49))
    ]
    assert (
        server.post([*events, {"name": "pageview", "visitor": "another", "site": "shop.example"}]).json()["accepted"]
        == 5
    )
    server.fold()
    days = sorted({(at - timedelta(hours=hours)).date().isoformat() for hours in (0, 1, 49)})
    found = look(server, visitor)
    assert found.status == 200, found.body
    assert {name: found.json()[name] for name in ("events", "days", "first_day", "last_day", "sites")} == {
        "events": 4,
        "days": len(days),
        "first_day": days[0],
        "last_day": days[-1],
        "sites": [{"site": "example.com", "events": 2}, {"site": "shop.example", "events": 2}],
    }
    of_site = look(server, visitor, "?site=Shop.example").json()
    assert (of_site["events"], of_site["sites"]) == (2, [{"site": "shop.example", "events": 2}])
    assert look(server, "visitor").json() | {"generation": 0, "as_of": ""} == {
        "events": 0,
        "days": 0,
        "first_day": None,
        "last_day": None,
        "sites": [],
        "generation": 0,
        "as_of": "",
    }
    assert look(server, visitor).json()["events"] == 4
    reader = create_token(server.data, "read")[1]
    for token, code in ((reader, "scope"), (INGEST_KEY, "scope"), ("wrong", "token")):
        assert look(server, visitor, token=token).code == code
    for query in ("?site=a/b", "?limit=1", "?site=a.example&site=b.example"):
        assert look(server, visitor, query).code == "query"
    assert look(server, "a" * 101).code == "query"
    assert delete(server, visitor).json()["events"] == 4
    assert look(server, visitor).json()["events"] == 0


def test_deleted_visitor_is_in_no_file(server: Server) -> None:
    before = server.get("/admin/api/status").json()["balance"]
    for fold in (server.fold, server.lines):  # some folded, some still in the open segment
        send(server, GONE, 3)
        send(server, STAYS, 2)
        fold()

    answer = delete(server, GONE)

    assert answer.status == 200, answer.body
    said = answer.json()
    assert (said["state"], said["events"], said["lines"], said["other_sites"], said["mentions"]) == ("done", 6, 6, 0, 0)
    assert files_with(server.data, GONE) == []
    assert files_with(server.data, STAYS) != []
    balance = server.get("/admin/api/status").json()["balance"]
    counted, erased = (balance[name] - before[name] for name in ("counted", "erased"))
    assert (counted, erased, balance["difference"]) == (4, 6, 0)


def test_erasing_an_unknown_visitor_finds_nothing(server: Server) -> None:
    answer = delete(server, "unknown-visitor")
    assert (answer.status, answer.json()["events"]) == (200, 0)


@pytest.mark.parametrize(
    ("visitor", "query", "token", "status", "code"),
    [
        ("x" * 101, "", ADMIN_TOKEN, 400, "query"),
        ("someone", "?sites=a", ADMIN_TOKEN, 400, "query"),
        ("someone", "?site=", ADMIN_TOKEN, 400, "query"),
        ("someone", "?site=https://a.example", ADMIN_TOKEN, 400, "query"),
        ("someone", "?site=a&site=b", ADMIN_TOKEN, 400, "query"),
        ("", "", ADMIN_TOKEN, 400, "query"),
        ("someone", "", "wrong", 401, "token"),
        ("someone", "", INGEST_KEY, 403, "scope"),
    ],
)
def test_invalid_request_requests_no_erasure(
    server: Server, visitor: str, query: str, token: str, status: int, code: str
) -> None:
    answer = delete(server, visitor, query, token)
    assert (answer.status, answer.code) == (status, code)
    assert pending_requests(server.data) == []


def test_page_of_another_site_cannot_delete(server: Server) -> None:
    headers = bearer(ADMIN_TOKEN) | {"Sec-Fetch-Site": "cross-site"}
    assert server.request("DELETE", "/admin/api/visitors/someone", headers=headers).code == "origin"


def test_id_is_in_no_metric(server: Server) -> None:
    delete(server, "a-very-special-id")
    metrics = server.get("/metrics").body.decode("utf-8")
    assert "a-very-special-id" not in metrics
    assert "/admin/api/visitors/{id}" in metrics


@pytest.mark.long
def test_command_erases_beside_a_running_service(server: Server) -> None:
    send(server, "typed-visitor", 4)
    shown = run_here(["erase", "--visitor", "typed-visitor", "--dry-run"], server.environ)
    assert "not folded yet: 4 lines" in shown.stdout
    assert files_with(server.data, "typed-visitor") != []

    done = run_here(["erase", "--visitor", "typed-visitor"], server.environ)

    assert done.returncode == 0, done.stderr
    assert "erased 4 events on 1 day, 4 lines of 1 segment, 0 quarantined lines" in done.stdout
    assert "Not erased:" in done.stdout
    assert files_with(server.data, "typed-visitor") == []


@pytest.mark.parametrize("arguments", [["--visitor", os.fsdecode(b"v-\xff")], ["--visitor", "v", "--site", ""]])
def test_command_without_a_visitor_or_site_requests_no_erasure(server: Server, arguments: list[str]) -> None:
    """An id that is not text, and an empty site as a script may leave it: no event has
    either.
    """
    for more in ([], ["--dry-run"]):
        done = run_foldlog(["erase", *arguments, *more], server.environ)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "Try: foldlog erase --help")
    assert pending_requests(server.data) == []


@pytest.mark.long
def test_many_waiting_erasures_do_not_block_the_status(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        send(server, "visitor-1", 1)
        server.fold()
        os.kill(server.child("compact"), signal.SIGSTOP)
        waiting = [threading.Thread(target=delete, args=(server, f"visitor-{n}"), daemon=True) for n in range(40)]
        for each in waiting:
            each.start()
        until(lambda: len(pending_requests(server.data)) == len(waiting))
        for path in ("/readyz", "/metrics", "/admin/api/status"):
            assert server.get(path).status in {200, 503}
        os.kill(server.child("compact"), signal.SIGCONT)
        for each in waiting:
            each.join()
        assert pending_requests(server.data) == []


@pytest.mark.long
def test_worker_stops_while_an_erasure_waits(tmp_path: Path) -> None:
    """The client has disconnected and the compactor is stuck: waiting would serve
    nothing.
    """
    with Server(tmp_path, workers=1, worker_timeout=60) as server:
        send(server, "visitor-1", 1)
        server.fold()
        os.kill(server.child("compact"), signal.SIGSTOP)
        worker = server.child("ingest-0")
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = (
                f"DELETE /admin/api/visitors/visitor-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                f"{ADMIN_TOKEN}\r\n\r\n"
            )
            client.sendall(head.encode("ascii"))
            until(lambda: len(pending_requests(server.data)) == 1)
        os.kill(worker, signal.SIGTERM)
        until(lambda: server.child("ingest-0") != worker)
        os.kill(server.child("compact"), signal.SIGCONT)
        until(lambda: pending_requests(server.data) == [])


@pytest.mark.long
def test_command_erases_without_a_service(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        send(server, "typed-visitor", 4)
        send(server, STAYS, 1)
        server.stop()

        before = tree(server.data)
        shown = run_here(["erase", "--visitor", "typed-visitor", "--dry-run"], server.environ)
        assert (shown.returncode, tree(server.data)) == (0, before)

        assert run_here(["erase", "--visitor", "typed-visitor"], server.environ).returncode == 0
        assert files_with(server.data, "typed-visitor") == []
        status = json.loads(run_foldlog(["status", "--json"], server.environ).stdout)
        assert status["balance"]["erased"] == 4
        assert status["erasures_pending"] == 0


@pytest.mark.long
def test_request_outlives_the_compactor(tmp_path: Path) -> None:
    """Without a running compactor, the next one erases."""
    with Server(tmp_path) as server:
        send(server, "typed-visitor", 4)
        server.fold()
        server.stop()
        asked = create_request(server.data, "typed-visitor", None)
        server.start()
        server.fold()
        until(lambda: is_done(server.data, asked))
        assert files_with(server.data, "typed-visitor") == []
        assert len(list(read_records(server.data))) == 2


def tree(data: DataDirectory) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(data.root.rglob("*")) if path.is_file()}


def test_token_of_a_site_erases_there_and_learns_nothing_of_others(server: Server) -> None:
    visitor = "visitor of two sites"
    events = [{"name": "a", "visitor": visitor, "site": site} for site in ("one.example", "two.example", "two.example")]
    assert server.post(events).json()["accepted"] == 3
    secret = create_token(server.data, "admin", sites=["one.example"])[1]
    assert delete(server, visitor, "?site=two.example", secret).code == "scope"
    answer = delete(server, visitor, "", secret)
    assert answer.status == 200, answer.body
    said = answer.json()
    assert said["events"] == 1
    assert [said[name] for name in ("other_sites", "mentions", "unreadable", "retired")] == [None] * 4
    assert delete(server, visitor).json()["events"] == 2
