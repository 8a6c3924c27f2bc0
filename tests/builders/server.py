"""A real `foldlog serve` for tests: started as an operator starts it, asked over HTTP,
stopped by a signal, then verified.

    with Server(tmp_path, durability="os") as server:
        assert server.post([{"name": "pageview"}]).status == 202

Leaving the block stops the server and runs `foldlog verify` on what it left: every test
that touches a data directory ends with the whole of it checked.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from compactor.repair import verify as verification
from shared.disk.layout import DataDirectory
from shared.segments.line import line_error
from shared.segments.sealed import active_segments, open_segment, sealed_segments
from shared.settings import load
from tests.builders.waiting import TIMEOUT_S

ADMIN_TOKEN = "admin-token-of-the-tests"  # noqa: S105
INGEST_KEY = "ingest-key-of-the-tests"


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The `code` of a problem, else None."""
        is_problem = self.headers.get_content_type() == "application/problem+json"
        return str(self.json()["code"]) if is_problem else None


def is_limited_to_three(sent: list[Answer]) -> bool:
    """Whether five requests met a limit of three; of four where a window of the limit
    began meanwhile.
    """
    found = [answer.status for answer in sent]
    return found in ([200, 200, 200, 429, 429], [200, 200, 200, 200, 429], [200, 200, 200, 429, 200])


class HttpClient:
    """Requests to `port` on the loopback interface, and the log of `data` behind it."""

    port: int
    data: DataDirectory

    def log_tail(self) -> str:
        """The end of what the server logged, for the message of a failed test."""
        return ""

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own, with exactly these headers and those
        that HTTP needs.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except http.client.RemoteDisconnected as error:
            error.add_note(self.log_tail())  # the request may have killed the worker
            raise
        finally:
            connection.close()

    def connect(self, timeout_s: float = TIMEOUT_S) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def read_all(self, sent: bytes) -> bytes:
        """Send bytes, and read until the server closes the connection."""
        with self.connect() as connection:
            connection.sendall(sent)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def exchange(self, sent: bytes, timeout_s: float = TIMEOUT_S) -> Answer:
        """Send bytes as they are, on a connection of their own, and read one answer."""
        with self.connect(timeout_s) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # a rejection may arrive before everything is sent
                connection.sendall(sent)
            return read_answer(connection)

    def post(
        self, events: list[Any], query: str = "", headers: Mapping[str, str] | None = None, **batch: object
    ) -> Answer:
        """POST /v1/events as a server with a key does it. `headers` replace or add,
        `batch` is beside `events`.
        """
        body = json.dumps({"events": events, "consent": "granted"} | batch).encode("utf-8")
        return self.request("POST", f"/v1/events{query}", body, keyed() | dict(headers or {}))

    def get(self, path: str, headers: Mapping[str, str] | None = None, /, **parameters: str) -> Answer:
        """GET with the admin token."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self.request("GET", path + query, headers=bearer(ADMIN_TOKEN) | dict(headers or {}))

    def lines(self) -> list[dict[str, Any]]:
        """Every line in data/log now, sealed or not, decoded; each with a good CRC."""
        return lines_of(self.data)


class Server(HttpClient):
    """One `foldlog serve` on a port of its own, with its data in `directory`/data.

    `settings` are named as in shared/settings.py: `Server(tmp_path, durability="os",
    workers=2)`.
    """

    def __init__(self, directory: Path, **settings: object) -> None:
        # Bound and not listening, for as long as this object lives: no other process is
        # given the port between two starts.
        self._port_holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._port_holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._port_holder.bind(("127.0.0.1", 0))
        self.port = self._port_holder.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.data = DataDirectory(directory / "data")
        self.stderr_path = directory / "serve.stderr"
        self.environ = environment(self.data.root, listen=self.host, **settings)
        self.inherited: tuple[int, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self._port_holder.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            exit_code = self.stop() if self.process is not None else 0
            if kind is None:
                assert exit_code == 0, self.stderr()
                verify(self.data, self.environ)
        finally:
            if self.process is not None:
                self.kill()
            self._port_holder.close()

    def command(self) -> list[str]:
        """How it is started; it gets the descriptors of `inherited`, too."""
        return [sys.executable, "-m", "foldlog", "serve"]

    def start(self) -> None:
        """Start, and wait until it takes events and folds."""
        with self.stderr_path.open("ab") as stderr:
            self.process = subprocess.Popen(
                self.command(),
                env=self.environ,
                pass_fds=self.inherited,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
        deadline = time.monotonic() + TIMEOUT_S
        while not self._is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.kill()
                raise AssertionError(f"the server did not start:\n{self.stderr()}")
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        try:
            healthy = self.request("GET", "/healthz").status == 200
        except OSError:
            return False
        return healthy and self.data.compact_lock.exists()

    def stop(self) -> int:
        """SIGTERM, as an operator stops it. Returns the exit code."""
        process, self.process = self.running, None
        process.terminate()
        try:
            return process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"the server did not stop:\n{self.stderr()}") from None

    def kill(self) -> None:
        """SIGKILL to the supervisor and its children at once, as the end of a container
        does it.
        """
        process, self.process = self.running, None
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @property
    def running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise AssertionError("the server does not run")
        return self.process

    def log_tail(self) -> str:
        return self.stderr()[-4000:]

    def stderr(self) -> str:
        return self.stderr_path.read_text("utf-8")

    def child(self, name: str) -> int:
        """The process id of a child, as the supervisor logged it last: `ingest-0`,
        `compact`.
        """
        logged = [json.loads(line) for line in self.stderr().splitlines() if line.startswith("{")]
        return [int(line["pid"]) for line in logged if line["event"] == "child_started" and line.get("child") == name][
            -1
        ]

    def fold(self) -> int:
        """Seal and fold now. Returns the generation that holds every event acknowledged
        before.
        """
        answer = self.request("POST", "/admin/api/fold", b"", bearer(ADMIN_TOKEN))
        assert answer.status == 200, answer
        return int(answer.json()["generation"])


def read_answer(connection: socket.socket) -> Answer:
    """One answer from a connection, which stays open."""
    with closing(http.client.HTTPResponse(connection)) as response:
        response.begin()
        return Answer(response.status, response.headers, response.read())


def environment(root: Path, **settings: object) -> dict[str, str]:
    """The environment of a `foldlog` process: defaults for tests, and `settings` over
    them.
    """
    defaults: dict[str, object] = {
        "data_dir": root,
        "admin_token": ADMIN_TOKEN,
        "ingest_keys": INGEST_KEY,
        "disk_reserve": 0,
        "rate_limit": 0,
        "rate_limit_events": 0,
        "rate_limit_bytes": 0,
        "rate_limit_token": 0,
        "fold_interval": 3600,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FOLDLOG_")}
    return inherited | {f"FOLDLOG_{name.upper()}": str(value) for name, value in (defaults | settings).items()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def keyed() -> dict[str, str]:
    """The headers of a server that sends JSON with its key."""
    return bearer(INGEST_KEY) | {"Content-Type": "application/json"}


def verify(data: DataDirectory, environ: Mapping[str, str]) -> None:
    """What `foldlog verify` does, without the start of a process: it must find nothing
    wrong.
    """
    findings = verification.verify(data, load(environ), lambda _step: None).findings
    assert findings == [], findings


def run_foldlog(
    arguments: list[str], environ: Mapping[str, str], timeout_s: float = TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run one `foldlog` command to its end."""
    command = [sys.executable, "-m", "foldlog", *arguments]
    return subprocess.run(command, env=dict(environ), capture_output=True, text=True, timeout=timeout_s, check=False)


def lines_of(data: DataDirectory) -> list[dict[str, Any]]:
    """Every line of a log, decoded; each with a good CRC."""
    found: list[dict[str, Any]] = []
    paths = [segment.path for segment in sealed_segments(data)] + list(active_segments(data).values())
    for path in paths:
        with open_segment(path) as file:
            found += [decode_line(line) for line in file]
    return found


def decode_line(line: bytes) -> dict[str, Any]:
    """A line of a log; its CRC must be good."""
    assert line_error(line) is None, line
    fields: dict[str, Any] = json.loads(line)
    return fields


def failing(server: Server) -> set[str]:
    """The checks that fail; the status and `ready` say the same."""
    answer = server.request("GET", "/readyz")
    found = answer.json()
    failed = {check["name"] for check in found["checks"] if not check["ok"]}
    assert (answer.status, found["ready"]) == ((503, False) if failed else (200, True))
    assert answer.headers.get_content_type() == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return failed
