"""A restart refuses nobody: whoever has been accepted is answered, and whoever comes
meanwhile waits in a socket that stays.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from foldlog.supervisor.socket_activation import inherited_sockets
from ingest.context import WorkerContext
from ingest.http.connection import Server as HttpServer
from ingest.http.drain import DRAIN_S, GRACE_S
from ingest.http.router import dispatch
from shared.generations.load import load_snapshot
from shared.segments.sealed import active_segments, sealed_segments
from shared.settings import Settings, SettingsError
from shared.worker_stats import WorkerStats
from tests.builders.caddy import Caddy
from tests.builders.nginx import Nginx
from tests.builders.proxy import HOST
from tests.builders.server import Answer, Server, keyed, lines_of, read_answer, verify
from tests.builders.supervised import Activated
from tests.builders.waiting import TIMEOUT_S, until

pytestmark = pytest.mark.long

RESTARTS = 3
CLIENTS = 6
PAUSE_S = 0.004


def event(id_: str) -> bytes:
    return json.dumps({"events": [{"name": "pageview", "id": id_}], "consent": "granted"}).encode("utf-8")


def raw(id_: str) -> bytes:
    """A whole request as it goes over the wire."""
    body = event(id_)
    head = "".join(f"{name}: {value}\r\n" for name, value in keyed().items())
    return f"POST /v1/events HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body


class Clients:
    """Threads that send events until they are told to stop: every other one keeps its
    connection for as long as it may.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._address = (host, port)
        self._done = threading.Event()
        self.sent: list[str] = []
        self.wrong: list[object] = []
        self.closes: Counter[str | None] = Counter()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def until_sent(self, more: int) -> None:
        """So many more events have been answered, or something is wrong."""
        enough = len(self.sent) + more
        until(lambda: len(self.sent) > enough or self.wrong, lambda: self.wrong)

    def _send(self, client: int) -> None:
        connection = HTTPConnection(*self._address, timeout=TIMEOUT_S)
        for number in range(100_000):
            id_ = f"restart-{self._address[0][-1]}-{client}-{number:06}"
            try:
                connection.request("POST", "/v1/events", event(id_), keyed() | {"Host": HOST})
                response = connection.getresponse()
                response.read()
            except Exception as error:  # noqa: BLE001  whatever it is, it is a request that got no answer
                self.wrong.append((id_, error))
                return
            if response.status != 200:
                self.wrong.append((id_, response.status))
            self.sent.append(id_)
            self.closes[response.headers["Connection"]] += 1
            if client % 2:
                connection.close()  # else http.client keeps it, unless the answer says that it ends
            if self._done.is_set():
                break
            time.sleep(PAUSE_S)
        connection.close()


def test_restart_with_an_inherited_socket_rejects_and_loses_no_event(tmp_path: Path) -> None:
    """The one that holds the socket is this process; in service it is systemd."""
    with Activated(tmp_path, workers=2) as server:
        with Clients(server.port) as clients:
            for _ in range(RESTARTS):
                clients.until_sent(10 * CLIENTS)
                assert server.stop() == 0
                server.start()
            clients.until_sent(CLIENTS)
        assert clients.wrong == []
        assert clients.closes["close"] >= RESTARTS  # those that keep their connection were told each time
        assert Counter(line["id"] for line in server.lines()) == dict.fromkeys(clients.sent, 1)
        server.fold()
        totals = load_snapshot(server.data).totals
        assert (totals.counted, totals.duplicates, totals.quarantined) == (len(clients.sent), 0, 0)
        assert '"inherited":true' in server.stderr()


@pytest.mark.component
@pytest.mark.parametrize("proxy", [Nginx, Caddy])
def test_restart_behind_a_proxy_rejects_no_request(tmp_path: Path, proxy: type[Nginx] | type[Caddy]) -> None:
    """A proxy keeps its connections to Foldlog, and repeats no POST: each of them must
    be told in time.
    """
    with Activated(tmp_path, workers=2) as server, proxy(tmp_path / "proxy", server.host) as front:
        with Clients(front.port) as clients:
            clients.until_sent(10 * CLIENTS)
            assert server.stop() == 0
            server.start()
            clients.until_sent(CLIENTS)
        assert clients.wrong == []
        assert Counter(line["id"] for line in server.lines()) == dict.fromkeys(clients.sent, 1)


def test_workers_as_units_of_their_own_leave_no_gap(tmp_path: Path) -> None:
    """Two sockets, as for IPv4 and IPv6, from which two workers accept; one is
    restarted while the other works.
    """
    server = Activated(tmp_path)
    data, other = server.data, socket.create_server(("127.0.0.2", 0))
    handed_on = [f"--listen-fd={number}" for number in (*server.inherited, other.fileno())]

    def start(writer: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "foldlog", "ingest", "--writer", writer, *handed_on]
        listens = data.socket(writer)
        process = subprocess.Popen(
            command, env=server.environ, pass_fds=(*server.inherited, other.fileno()), stderr=subprocess.DEVNULL
        )
        until(listens.exists)
        return process

    def stop(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0

    with other:
        workers = {writer: start(writer) for writer in ("a", "b")}
        with Clients(server.port) as one, Clients(other.getsockname()[1], "127.0.0.2") as two:
            for writer in ("a", "b"):
                for clients in (one, two):
                    clients.until_sent(CLIENTS)
                stop(workers[writer])
                workers[writer] = start(writer)
            for clients in (one, two):
                clients.until_sent(CLIENTS)
        for worker in workers.values():
            stop(worker)
    server._port_holder.close()
    assert one.wrong == two.wrong == []
    assert {line["id"] for line in lines_of(data)} == {*one.sent, *two.sent}
    verify(data, server.environ)


def test_clients_would_notice_a_gap(tmp_path: Path) -> None:
    """The same without a socket that stays: the test above must be able to fail."""
    with Server(tmp_path) as server:
        with Clients(server.port) as clients:
            clients.until_sent(CLIENTS)
            assert server.stop() == 0
            until(lambda: clients.wrong)
            server.start()
        assert all(isinstance(error, OSError) for _, error in cast(list[tuple[str, Any]], clients.wrong))
        answered = {line["id"] for line in server.lines()}
        assert set(clients.sent) <= answered


def test_other_workers_accept_from_the_shared_socket_of_a_dead_worker(tmp_path: Path) -> None:
    with Activated(tmp_path, workers=2) as server:
        until(lambda: server.stderr().count('"event":"worker_listening"') == 2)
        os.kill(server.child("ingest-0"), signal.SIGKILL)
        for number in range(50):
            assert server.post([{"name": "pageview", "id": f"orphan-{number:04}"}]).status == 200
        until(lambda: server.stderr().count('"event":"worker_listening"') == 3)


@pytest.mark.component
def test_systemd_socket_activate_starts_serve_at_the_first_connection(tmp_path: Path) -> None:
    """The real program of systemd, which starts what it is given when somebody
    connects.
    """
    program = shutil.which("systemd-socket-activate")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("systemd-socket-activate is not installed")

    class ByMan(Server):
        def command(self) -> list[str]:
            self._port_holder.close()  # this one binds by itself, and shares with nobody
            variables = [f"-E{name}" for name in self.environ if name.startswith("FOLDLOG_")]
            return [str(program), "-l", self.host, *variables, *super().command()]

    server = ByMan(tmp_path, workers=2)
    server.environ["FOLDLOG_LISTEN"] = "127.0.0.1:1"  # is not what counts
    with server:
        assert server.post([{"name": "pageview", "id": "activated-1"}]).status == 200
        assert f"Foldlog serves http://{server.host}/admin/" in server.stderr()
        assert f'"address":"{server.host}","inherited":true' in server.stderr()


@pytest.fixture
def stopping(tmp_path: Path) -> Any:
    """A server, and a way to have it begin to stop: nobody can connect any more, and
    what was accepted is still there.
    """
    with Server(tmp_path) as server:

        def begin() -> None:
            server.running.terminate()
            until(lambda: not connects(server.port), server.stderr)

        try:
            yield SimpleNamespace(server=server, begin=begin)
        finally:
            process, server.process = server.running, None
            assert process.wait(TIMEOUT_S) == 0
            verify(server.data, server.environ)


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


def connected(server: Server, first: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S)
    if first:
        connection.sendall(first)
        assert read_answer(connection).status == 200
    return connection


def stored(server: Server) -> set[str]:
    """Of a server that may be sealing while this looks."""
    paths = [*active_segments(server.data).values(), *[segment.path for segment in sealed_segments(server.data)]]
    return {json.loads(line)["id"] for path in paths if path.exists() for line in path.read_bytes().splitlines()}


@pytest.mark.parametrize("first", [b"", raw("before-0001")], ids=["not used yet", "kept"])
def test_request_on_an_accepted_connection_is_answered_while_stopping(stopping: Any, first: bytes) -> None:
    with connected(stopping.server, first) as connection:
        time.sleep(0.2)  # a connection of a client that says nothing yet
        stopping.begin()
        connection.sendall(raw("while-stopping"))
        answer = read_answer(connection)
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert answer.json() == {"accepted": 1, "rejected": []}
        assert connection.recv(1) == b""  # and it ends
    assert "while-stopping" in stored(stopping.server)


def test_pipelined_requests_are_all_answered_while_stopping(stopping: Any) -> None:
    with connected(stopping.server, raw("before-0001")) as connection:
        stopping.begin()
        connection.sendall(b"".join(raw(f"together-{number}") for number in range(3)))
        with connection.makefile("rb") as file:
            said = file.read()
        assert said.count(b"HTTP/1.1 200 OK") == 3
        assert said.count(b"Connection: close") == 1 and said.rindex(b"HTTP/1.1") < said.index(b"Connection: close")


def test_while_stopping_readiness_fails_and_health_passes(stopping: Any) -> None:
    with connected(stopping.server, raw("before-0001")) as one, connected(stopping.server, raw("before-0002")) as other:
        stopping.begin()
        one.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        readiness = read_answer(one)
        assert (readiness.status, readiness.headers["Connection"]) == (503, "close")
        assert [check["name"] for check in readiness.json()["checks"] if not check["ok"]] == ["accepting"]
        other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(other).status == 200


def test_idle_connection_is_closed_silently_and_does_not_delay_the_stop(stopping: Any) -> None:
    with connected(stopping.server, raw("before-0001")) as connection:
        began = time.monotonic()
        stopping.begin()
        assert connection.recv(1) == b""
        assert time.monotonic() - began > GRACE_S - 0.2
    assert GRACE_S < DRAIN_S


def test_partial_head_may_complete_while_stopping(stopping: Any) -> None:
    request = raw("slow-head-1")
    with connected(stopping.server, raw("before-0001")) as connection:
        connection.sendall(request[:20])
        time.sleep(0.2)
        stopping.begin()
        time.sleep(GRACE_S + 0.2)
        connection.sendall(request[20:])
        assert read_answer(connection).status == 200


async def test_request_after_the_drain_is_answered_with_503() -> None:
    """When the time for answers is over: a service as far as it is asked for, for no
    client can hit that moment.
    """

    async def hello(_service: WorkerContext, _request: object) -> web.StreamResponse:
        return web.Response(text="hello")

    late = SimpleNamespace(
        draining=True, drained=True, in_flight=0, stats=WorkerStats(), settings=Settings(), log=None, proxies=None
    )
    late.log = SimpleNamespace(debug=lambda *_, **__: None)
    late.proxies = SimpleNamespace(is_trusted=lambda _: False)
    server = HttpServer(dispatch(cast(WorkerContext, late), [("GET", "/", hello)]), 10, 15.0, late.stats)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    def ask() -> Answer:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return read_answer(connection)

    answer = await asyncio.to_thread(ask)
    await runner.cleanup()
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "stopping", "1")
    assert answer.headers["Connection"] == "close"


NO_SOCKETS: dict[str, tuple[dict[str, str], list[socket.socket]]] = {
    "none": ({}, []),
    "for another process": ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, []),
    "not a number": ({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}, []),
}


@pytest.mark.parametrize(("environ", "expected"), NO_SOCKETS.values(), ids=NO_SOCKETS)
def test_sockets_of_another_process_are_ignored(environ: dict[str, str], expected: list[socket.socket]) -> None:
    given = environ | {"OTHER": "kept"}
    assert inherited_sockets(given, os.getpid()) == expected
    assert given == {"OTHER": "kept"}  # children are not told of them


@pytest.mark.parametrize(
    "kind", ["a connection", "a datagram socket", "a Unix socket", "not listening", "a file", "closed"]
)
def test_descriptor_that_is_no_listening_socket_is_rejected(tmp_path: Path, kind: str) -> None:
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "socket"))
    unix.listen()
    one, other = socket.socketpair()
    descriptors = {
        "a connection": one.fileno(),
        "a datagram socket": socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(),
        "a Unix socket": unix.fileno(),
        "not listening": socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach(),
        "a file": os.open(tmp_path, os.O_RDONLY),
        "closed": 999,
    }
    copy = descriptors[kind] if kind == "closed" else os.dup(descriptors[kind])
    with pytest.raises(SettingsError, match="not a listening TCP socket"):
        inherited_sockets({}, 0, [copy])
    for descriptor in (descriptors[name] for name in ("a datagram socket", "not listening", "a file")):
        os.close(descriptor)
    for each in (unix, one, other):
        each.close()


def test_unusable_inherited_socket_ends_serve_with_2(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wrong:
        server = Activated(tmp_path)
        server.inherited = (wrong.fileno(),)
        done = subprocess.run(
            server.command(),
            env=server.environ,
            pass_fds=server.inherited,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        server._port_holder.close()
    assert done.returncode == 2
    assert b"ListenStream=host:port" in done.stderr
