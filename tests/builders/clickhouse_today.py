"""Today's ClickHouse as a server: the engine of the package chdb-core-lite behind the
little of its HTTP that Foldlog uses. `running` starts it as a process of its own.

Only the extension module is loaded: what is around it needs pyarrow and pandas.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.builders.guard import guarded
from tests.builders.programs import missing
from tests.builders.waiting import TIMEOUT_S, until

_NOT_SETTINGS = {"database", "wait_end_of_query", "query"}
_UNKNOWN_TABLE = "UNKNOWN_TABLE"


class TodaysClickHouse:
    """One server, without shards."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.http = 0

    def start(self) -> int:
        """Returns the process id."""
        port = self._home / "port"
        port.unlink(missing_ok=True)
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._home)], stdout=log, stderr=log, start_new_session=True
            )
        until(port.exists, (self._home / "server.log").read_text)
        self.http = int(port.read_text())
        return self._process.pid

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(TIMEOUT_S)

    def database(self) -> str:
        """The address of a new, empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.ask(f"CREATE DATABASE {name}")
        return f"clickhouse://127.0.0.1:{self.http}/{name}"

    def ask(self, sql: str, timeout_s: float = TIMEOUT_S) -> str:
        """What it answers, as TabSeparated."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/", sql.encode())
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return str(answer.read().decode())


@contextmanager
def running() -> Iterator[TodaysClickHouse]:
    """A server of its own. Skips the test without the package, or fails it in CI."""
    extension()
    home = Path(tempfile.mkdtemp(prefix="chdb-"))
    with guarded(home) as tell_guard:
        server = TodaysClickHouse(home)
        tell_guard(server.start())
        try:
            yield server
        finally:
            server.kill()
            tell_guard(None)
            shutil.rmtree(home, ignore_errors=True)


def extension() -> Path:
    package = importlib.util.find_spec("chdb")
    if package is None or package.origin is None:
        missing("the package chdb-core-lite is not installed (make setup)")
    return Path(package.origin).with_name("_chdb.abi3.so")


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("_chdb", extension())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Engine:
    """One connection, one statement at a time."""

    def __init__(self, home: Path) -> None:
        self._connection = _load().connect(str(home / "data"))
        self._home, self._lock = home, Lock()

    def answer(self, parameters: dict[str, str], body: bytes) -> bytes:
        with self._lock:
            self._run(f"USE {parameters.get('database', 'default')}")
            for name, value in parameters.items():
                if name not in _NOT_SETTINGS and not name.startswith("param_"):
                    self._run(f"SET {name} = '{value}'")
            if "query" in parameters:
                return self._insert(parameters["query"], body)
            bound = {
                name.removeprefix("param_"): each for name, each in parameters.items() if name.startswith("param_")
            }
            return self._run(body.decode(), bound)

    def _insert(self, statement: str, body: bytes) -> bytes:
        """Through a file, of the columns of the table that are listed."""
        sql, _, format_ = statement.rpartition(" FORMAT ")
        table, names = sql.removeprefix("INSERT INTO ").rstrip(")").split(" (")
        described = (row.split("\t") for row in self._run(f"DESCRIBE TABLE {table}").decode().splitlines())
        types = {name: kind for name, kind, *_ in described}  # with quotes escaped
        columns = ", ".join(f"{name} {types[name]}" for name in names.split(", "))
        path = self._home / "insert"
        path.write_bytes(body)
        return self._run(f"{sql} SELECT * FROM file('{path}', '{format_}', '{columns}')")

    def _run(self, sql: str, bound: dict[str, str] | None = None) -> bytes:
        return bytes(self._connection.query(sql, "TabSeparated", params=bound or {}).bytes())


class _Handler(BaseHTTPRequestHandler):
    engine: _Engine
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = b"".join(self._chunks())
        try:
            status, content = 200, self.engine.answer(parameters, body)
        except RuntimeError as error:
            status, content = 404 if _UNKNOWN_TABLE in str(error) else 500, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _chunks(self) -> Iterator[bytes]:
        if "Content-Length" in self.headers:
            yield self.rfile.read(int(self.headers["Content-Length"]))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_: object) -> None:
        """Errors are in the answers."""


def main() -> None:
    home = Path(sys.argv[1])
    _Handler.engine = _Engine(home)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    (home / "port.new").write_text(str(server.server_port))
    (home / "port.new").rename(home / "port")
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
