"""`foldlog.client` against a real server: each event that was tracked counts once."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from foldlog.client import AsyncClient, Client, Refusal
from tests.builders import client_program
from tests.builders.front import front
from tests.builders.server import INGEST_KEY, Server
from tests.builders.waiting import TIMEOUT_S, until

MakeClient = Callable[..., Client]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("client"), sites="shop.example,blog.example") as server:
        yield server


@pytest.fixture
def make_client(server: Server, tmp_path: Path) -> Iterator[MakeClient]:
    """Clients of one spool, which end with the test."""
    made: list[Client] = []

    def make(url: str = f"http://{server.host}", key: str = INGEST_KEY, **options: Any) -> Client:
        given: dict[str, Any] = {"spool": tmp_path / "spool", "consent": "granted", "interval_s": 0.01}
        patient = {"timeout_s": TIMEOUT_S, "exit_timeout_s": TIMEOUT_S}  # as a busy machine needs
        made.append(Client(url, key, **given | patient | options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def spooled(directory: Path) -> list[str]:
    return sorted(path.suffix for path in (directory / "spool").iterdir())


def counted(server: Server, name: str) -> int:
    server.fold()
    total = server.get("/admin/api/report", event=name, visitors="none").json()["total"]
    return int(total["events"])


def test_event_arrives_with_all_that_was_said(server: Server, make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(site="shop.example", fsync=True)
    moment = datetime.now(UTC) - timedelta(hours=2)
    made = client.track(
        "invoice_paid", time=moment, visitor="v-81f3", url="https://shop.example/a?b", value=9.5, props={"plan": "pro"}
    )
    client.track("invoice_paid", id="invoice-2026-0815", site="blog.example", client={"address": "203.0.113.7"})
    assert client.flush(TIMEOUT_S) and spooled(tmp_path) == []
    first, second = [line for line in server.lines() if line["name"] == "invoice_paid"]
    assert (first["id"], first["site"], first["visitor"], first["value"]) == (made, "shop.example", "v-81f3", 9.5)
    assert (first["props"], first["sender"], first["consent"]) == ({"plan": "pro"}, "key", "granted")
    assert abs(datetime.fromisoformat(first["time"]) - moment) < timedelta(minutes=5)
    assert (second["id"], second["site"], second["daily"]) == ("invoice-2026-0815", "blog.example", True)


def test_rejected_event_is_reported_and_costs_no_other(server: Server, make_client: MakeClient, tmp_path: Path) -> None:
    refused: list[Refusal] = []
    client = make_client(on_refused=refused.append)
    client.track("neighbour")
    client.track("late", time=datetime.now(UTC) - timedelta(hours=80))
    client.track("neighbour", props={"deep": {}})  # type: ignore[dict-item]
    assert client.flush(TIMEOUT_S) and spooled(tmp_path) == []
    assert [(each.code, each.events[0]["name"]) for each in refused] == [
        ("too_old", "late"),
        ("props_type", "neighbour"),
    ]
    assert counted(server, "neighbour") == 1


def test_refused_batch_is_kept_and_not_sent_again(server: Server, make_client: MakeClient, tmp_path: Path) -> None:
    refused: list[Refusal] = []
    client = make_client(key="a-key-that-was-revoked", on_refused=refused.append)
    client.track("kept")
    assert client.flush(TIMEOUT_S) and client.flush(TIMEOUT_S)
    assert [(each.status, each.is_kept, len(each.events)) for each in refused] == [(401, True, 1)]
    assert spooled(tmp_path) == [".refused"]
    client.close()
    for path in (tmp_path / "spool").iterdir():  # what docs/senders.md has the operator type
        path.rename(path.with_suffix(".ndjson"))
    assert make_client().flush(TIMEOUT_S) and spooled(tmp_path) == []
    assert counted(server, "kept") == 1


def test_callback_that_fails_ends_nothing(make_client: MakeClient, tmp_path: Path) -> None:
    def fails(_refusal: Refusal) -> None:
        raise RuntimeError

    client = make_client(on_refused=fails)
    for _ in range(2):
        client.track("late", time=1)
        assert client.flush(TIMEOUT_S)
    assert spooled(tmp_path) == []


@pytest.mark.parametrize("status", [429, 503, 507])
def test_retry_after_is_waited_for(server: Server, make_client: MakeClient, status: int) -> None:
    asked: list[float] = []

    async def refuse_first(number: int) -> web.Response | None:
        asked.append(time.monotonic())
        return web.Response(status=status, headers={"Retry-After": "2"}) if number == 0 else None

    with front(server.port, refuse_first) as url:
        client = make_client(url)
        client.track(f"after-{status}")
        assert not client.flush(0.5)
        assert client.flush(TIMEOUT_S)
        client.close()
    assert len(asked) == 2 and asked[1] - asked[0] >= 2.0
    assert counted(server, f"after-{status}") == 1


def test_lost_answer_is_asked_for_again_under_the_same_ids(server: Server, make_client: MakeClient) -> None:
    async def none_of_its_own(_number: int) -> web.Response | None:
        return None

    with front(server.port, none_of_its_own, lost={0, 1}) as url:
        client = make_client(url)
        for _ in range(20):
            client.track("lost-answer")
        assert client.flush(TIMEOUT_S)
        client.close()
    assert sum(line["name"] == "lost-answer" for line in server.lines()) > 20  # it was stored more than once
    assert counted(server, "lost-answer") == 20


def test_answer_of_another_server_acknowledges_nothing(server: Server, make_client: MakeClient) -> None:
    async def sign_in_page(number: int) -> web.Response | None:
        return web.Response(text="<html>Please sign in") if number == 0 else None

    with front(server.port, sign_in_page) as url:
        client = make_client(url)
        client.track("captive")
        assert client.flush(TIMEOUT_S)
        client.close()
    assert counted(server, "captive") == 1


def test_batch_that_is_too_large_is_sent_in_halves(server: Server, make_client: MakeClient) -> None:
    async def too_large(number: int) -> web.Response | None:
        return web.Response(status=413) if number in (0, 1) else None

    with front(server.port, too_large) as url:
        client = make_client(url, interval_s=60)  # all of them in one batch
        for _ in range(9):
            client.track("halved", props={"fill": "x" * 2000})
        assert client.flush(TIMEOUT_S)
        client.close()
    assert counted(server, "halved") == 9


def test_threads_share_a_client(server: Server, make_client: MakeClient) -> None:
    client = make_client()

    def track() -> None:
        for _ in range(300):
            client.track("of-threads")

    threads = [threading.Thread(target=track) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(TIMEOUT_S)
    assert counted(server, "of-threads") == 1800


async def test_client_for_asyncio(server: Server, tmp_path: Path) -> None:
    async with AsyncClient(f"http://{server.host}", INGEST_KEY, spool=tmp_path / "spool", consent="granted") as client:
        assert len(await client.track("of-asyncio", visitor="v-1")) == 32
        assert await client.flush(TIMEOUT_S)
        await client.track("of-asyncio")
    assert counted(server, "of-asyncio") == 2


def test_events_wait_while_the_server_is_away(server: Server, make_client: MakeClient, tmp_path: Path) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        away = make_client(f"http://127.0.0.1:{nobody_listens.getsockname()[1]}")
        for _ in range(700):
            away.track("while-away")
        assert not away.flush(0.1) and not away.close()
    assert set(spooled(tmp_path)) == {".ndjson"}
    assert make_client().flush(TIMEOUT_S) and spooled(tmp_path) == []
    assert counted(server, "while-away") == 700


def test_end_of_the_process_sends_what_is_left(server: Server, tmp_path: Path) -> None:
    program = client_program.start(f"http://{server.host}", tmp_path / "spool", "at-exit", "at-exit", 50)
    out, _ = program.communicate(timeout=TIMEOUT_S)
    assert (program.returncode, len(out.split()), spooled(tmp_path)) == (0, 50, [])
    assert counted(server, "at-exit") == 50


def test_fork_has_a_sender_of_its_own(server: Server, tmp_path: Path) -> None:
    """And while the child lives, what its parent had opened is sent."""
    then = """
child = os.fork()
client.track(name, id=f"{prefix}-{'parent' if child else 'child'}")
if child:
    try:
        assert client.flush(60)
        for _ in range(600):
            if os.listdir(spool):  # until the child has sent its own
                time.sleep(0.1)
        assert not os.listdir(spool)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
else:
    assert client.flush(60)
    time.sleep(600)
"""
    program = client_program.start(f"http://{server.host}", tmp_path / "spool", "of-forks", "fork", 30, then)
    program.communicate(timeout=TIMEOUT_S)
    assert program.returncode == 0
    assert counted(server, "of-forks") == 32


def test_spool_of_a_killed_process_is_sent_by_the_next(server: Server, make_client: MakeClient, tmp_path: Path) -> None:
    program = client_program.start(f"http://{server.host}", tmp_path / "spool", "killed", "killed", 1_000_000)
    assert program.stdout is not None
    said = [program.stdout.readline() for _ in range(1500)]
    program.kill()
    said += program.stdout.read().splitlines(keepends=True)
    program.stdout.close()
    program.wait()
    acknowledged = [line for line in said if line.endswith("\n")]
    assert make_client().flush(TIMEOUT_S) and spooled(tmp_path) == []
    stored = {line["id"] for line in server.lines() if line["name"] == "killed"}
    assert {line.strip() for line in acknowledged} <= stored
    assert counted(server, "killed") == len(stored) <= len(acknowledged) + 1  # killed before it could say so


def test_two_processes_share_a_spool(server: Server, make_client: MakeClient, tmp_path: Path) -> None:
    """And one goes on with what the other left."""
    url, spool = f"http://{server.host}", tmp_path / "spool"
    programs = [
        client_program.start(url, spool, "shared", f"shared-{n}", 2000, "os.kill(os.getpid(), 9)") for n in (1, 2)
    ]
    for program in programs:
        program.communicate(timeout=TIMEOUT_S)
        assert program.returncode == -9
    assert make_client().flush(TIMEOUT_S)
    until(lambda: spooled(tmp_path) == [])
    assert counted(server, "shared") == 4000


def test_client_loads_nothing_but_the_standard_library() -> None:
    program = (
        "import sys, foldlog.client\n"
        "print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)\n"
        "print(*(name for name in sys.modules if name.startswith('foldlog.') and 'client' not in name))"
    )
    command = [sys.executable, "-S", "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert [set(line.split()) - {"__main__", "__mp_main__"} for line in found.stdout.splitlines()] == [
        {"foldlog"},
        set(),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "stats.example.com"},
        {"url": "ftp://stats.example.com"},
        {"url": "https://user:secret@stats.example.com"},
        {"key": "two\r\nlines"},
        {"key": ""},
        {"consent": "denied"},
        {"max_bytes": 1},
    ],
)
def test_mistake_is_told_at_once(tmp_path: Path, wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"url": "http://127.0.0.1:9", "key": INGEST_KEY, "spool": tmp_path / "spool"} | wrong
    with pytest.raises(ValueError):
        Client(given.pop("url"), given.pop("key"), **given)


def test_closed_client_takes_nothing(make_client: MakeClient) -> None:
    client = make_client()
    assert client.close() and client.close()
    with pytest.raises(ValueError):
        client.track("late")
