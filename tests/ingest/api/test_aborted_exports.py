"""An export belongs to the request that asked: however that ends, the process, the
memory and the files of the export are gone soon after.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.http.drain import DRAIN_S
from ingest.worker import SHUTDOWN_S
from shared.timestamps import now_ms
from shared.tokens import create_token
from tests.builders.logs import data_directory, line, sealed
from tests.builders.processes import children
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, Server, bearer, read_answer
from tests.builders.waiting import until

EXPORT = f"GET /admin/api/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n".encode()
EVENTS = 6_000
SECRET = "a-password-in-the-environment"  # noqa: S105
# What may stay of aborted exports.
PROCESSES_MAX = 0
MIB_MAX = 5.0
# A few exports are too few to tell growth from the first use of memory.
MIB_OF_FEW_MAX = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers, and 12 MB of events, more than the sockets of a connection hold."""
    root = tmp_path_factory.mktemp("aborted")
    data = data_directory(root / "data")
    sealed(data, [line(f"event-{number}", now_ms(), props={"x": "y" * 2000}) for number in range(EVENTS)])
    server = Server(root, workers=2)
    server.environ |= {"PGPASSWORD": SECRET, "OTHER_SERVICE_KEY": SECRET}
    with server as running:
        running.fold()
        assert running.get("/admin/api/report").json()["total"]["events"] == EVENTS
        yield running


def readers(server: Server) -> list[int]:
    """Not what a worker has forked and is about to become one: stopped there, it would
    stop its worker.
    """
    found = [reader for child in children(server.running.pid) for reader in children(child)]
    return [pid for pid in found if b"reports.reader.process" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def files(server: Server) -> list[Path]:
    """What exports have put on the disk; an idle reader keeps an empty directory."""
    return [path for path in server.data.report_spill.rglob("*") if path.is_file()]


def mib(pids: list[int]) -> float:
    """The memory of processes that they share with no other."""
    found = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    names = ("Private_Clean:", "Private_Dirty:")
    lines = [line.split() for text in found for line in text.splitlines() if line.startswith(names)]
    return sum(int(words[1]) for words in lines) / 1024


@contextmanager
def asking(server: Server, headers: bytes = b"", format_: str = "ndjson") -> Iterator[socket.socket]:
    """A connection that has asked for an export, and takes little of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    with connection:
        connection.sendall(EXPORT.replace(b"/export ", f"/export?format={format_} ".encode()) + headers + b"\r\n")
        yield connection


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close_both_sides(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def ask_again_first(connection: socket.socket) -> None:
    """Another request is queued behind the export."""
    connection.sendall(EXPORT + b"\r\n")
    connection.close()


ENDS: dict[str, Callable[[socket.socket], None]] = {
    "closed": socket.socket.close,
    "reset": reset,
    "shut down": close_both_sides,
    "closed with a request behind it": ask_again_first,
}


@pytest.mark.parametrize(
    ("end", "format_"),
    [
        ("closed", "ndjson"),
        ("reset", "parquet"),
        pytest.param("shut down", "csv", marks=pytest.mark.long),
        pytest.param("closed with a request behind it", "ndjson", marks=pytest.mark.long),
    ],
)
def test_nothing_is_left_of_an_export_whose_client_left_while_it_was_sent(
    server: Server, end: str, format_: str
) -> None:
    with asking(server, format_=format_) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        ENDS[end](connection)
        until(lambda: not exporting(server), lambda: exporting(server))
    until(lambda: not files(server))


def exporting(server: Server) -> list[int]:
    """The processes of exports: those of reports have been asked before any."""
    return [pid for pid in readers(server) if pid not in KEPT]


KEPT: set[int] = set()


@pytest.fixture(autouse=True)
def kept_readers(server: Server) -> Iterator[None]:
    KEPT.clear()
    KEPT.update(readers(server))
    yield
    until(lambda: not running(server))


def running(server: Server) -> float:
    """How many reports and exports are being made."""
    lines = server.get("/metrics").body.decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("foldlog_readers{"))


@pytest.mark.parametrize("pause", ["at once", "once its process runs"])
@pytest.mark.parametrize("end", [socket.socket.close, pytest.param(reset, marks=pytest.mark.long)])
def test_nothing_is_left_of_an_export_that_had_not_begun(
    server: Server, end: Callable[[socket.socket], None], pause: str
) -> None:
    with asking(server, format_="parquet") as connection:
        if pause != "at once":
            until(lambda: exporting(server))
            for pid in exporting(server):  # it will never answer by itself
                os.kill(pid, signal.SIGSTOP)
        end(connection)
        until(lambda: not exporting(server) and not files(server))


def test_nothing_is_left_of_an_export_whose_process_is_killed(server: Server) -> None:
    with asking(server) as connection:
        connection.recv(100)
        (reader,) = exporting(server)
        os.kill(reader, signal.SIGKILL)
        until(lambda: not exporting(server) and not files(server))


def test_aborted_exports_leave_neither_processes_nor_memory(server: Server) -> None:
    abort(server, 4)  # what the first ones load stays
    assert_nothing_grows(server, 10)


@pytest.mark.long
def test_a_hundred_aborted_exports_leave_neither_processes_nor_memory(server: Server) -> None:
    abort(server, 10)
    assert_nothing_grows(server, 100)


def assert_nothing_grows(server: Server, exports: int) -> None:
    """Once more where memory has grown: what is used for the first time grows once, and
    what is never given back grows again.
    """
    workers = [server.child("ingest-0"), server.child("ingest-1")]
    most_mib = MIB_MAX if exports >= 100 else MIB_OF_FEW_MAX
    processes = len(readers(server))
    grown_mib: list[float] = []
    while len(grown_mib) < 2 and (not grown_mib or grown_mib[-1] > most_mib):
        before_mib = mib(workers)
        abort(server, exports)
        grown_mib.append(mib(workers) - before_mib)
        assert len(readers(server)) - processes <= PROCESSES_MAX
        assert files(server) == []
    assert grown_mib[-1] <= most_mib, grown_mib


def abort(server: Server, exports: int) -> None:
    for number in range(exports):
        with asking(server, format_=("ndjson", "parquet")[number % 2]) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        until(lambda: not exporting(server))


def test_readers_know_no_secret(server: Server) -> None:
    """Neither in their environment nor on their command line."""
    assert server.get("/admin/api/report?limit=5").status == 200
    with asking(server) as connection:
        connection.recv(100)
        found = [Path(f"/proc/{pid}/{name}").read_bytes() for pid in readers(server) for name in ("environ", "cmdline")]
    assert len(found) >= 4
    names = {entry.partition(b"=")[0] for each in found for entry in each.split(b"\0")}
    assert not [name for name in names if name.startswith((b"FOLDLOG_", b"DATABASE_URL", b"PG"))]
    secrets = (ADMIN_TOKEN.encode(), INGEST_KEY.encode(), SECRET.encode())
    assert not [each for each in found if any(secret in each for secret in secrets)]


def test_a_token_cannot_take_all_readers_of_all_workers(server: Server) -> None:
    """Three of four exports run, and another token still gets reports and exports."""
    _, other = create_token(server.data, "read")
    with asking(server) as first, asking(server) as second, asking(server) as third:
        for connection in (first, second, third):
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        refused: list[Answer] = []
        for _ in range(4):
            with asking(server) as connection:
                refused.append(read_answer(connection))
        assert {(each.status, each.code) for each in refused} == {(503, "busy")}
        assert all(int(each.headers["Retry-After"]) > 0 for each in refused)
        assert server.request("GET", "/admin/api/report?limit=3", headers=bearer(other)).status == 200
        exported = server.request("GET", "/admin/api/export?from=2020-01-01&to=2020-01-02", headers=bearer(other))
        assert exported.status == 200
    until(lambda: not running(server))
    with asking(server) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.long
def test_client_that_takes_nothing_does_not_hold_up_a_worker_that_ends(server: Server) -> None:
    with asking(server) as connection:
        connection.recv(100)
        (reader,) = exporting(server)
        (worker,) = [child for child in children(server.running.pid) if reader in children(child)]
        since = time.monotonic()
        os.kill(worker, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{worker}").exists())
        assert time.monotonic() - since < DRAIN_S + SHUTDOWN_S
    until(lambda: len(workers(server)) == 2)


def workers(server: Server) -> list[int]:
    return [pid for pid in children(server.running.pid) if b" ingest" in command_line(pid).replace(b"\0", b" ")]


def test_export_of_a_killed_worker_ends(server: Server) -> None:
    """The last of this module: another worker takes its place, without the readers."""
    with asking(server) as connection:
        connection.recv(100)
        (reader,) = exporting(server)
        (worker,) = [child for child in children(server.running.pid) if reader in children(child)]
        os.kill(worker, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{reader}").exists())
        until(lambda: not files(server))
    assert server.request("GET", "/admin/api/status", headers=bearer(ADMIN_TOKEN)).status == 200
