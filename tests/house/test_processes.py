"""Each process loads only what it uses, seen in real processes.

Two witnesses: `sys.modules`, which the process itself writes down when asked, and the
compiled libraries that the kernel has mapped into it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.rate_store_servers import redis_server
from tests.builders.server import Server, environment
from tests.builders.waiting import until

# Python runs it before anything else. The file appears whole, by its rename.
_WITNESS = """
import atexit, os, signal, sys

def write_modules(*_):
    path = os.path.join({directory!r}, str(os.getpid()))
    with open(path + ".tmp", "w") as file:
        file.write("\\n".join(sorted(sys.modules)))
    os.rename(path + ".tmp", path)

atexit.register(write_modules)
signal.signal(signal.SIGUSR2, write_modules)
"""
# Everything of third parties that a process may do without, and the project's rooms.
_SERVER = {"aiohttp", "uvloop", "prometheus_client"}
_SQL = {"duckdb"}
_FOLD = {"apscheduler", "ua_parser", "crawleruseragents"}
_SCREEN = {"rich", "pygments"}
_RATE_STORES = {"redis", "limits", "psycopg", "psycopg_binary"}
_ROOMS = {"ingest", "reports", "compactor", "web"}
NOT_IN_SUPERVISOR = {*_SERVER, *_RATE_STORES, *_SQL, *_FOLD, *_SCREEN, *_ROOMS, "asyncio", "zstandard"}
NOT_IN_WORKER = {*_RATE_STORES, *_SQL, *_FOLD, *_SCREEN, "compactor", "prometheus_client", "maxminddb"}
NOT_IN_COMPACTOR = {*_SERVER, *_SCREEN, "ingest", "reports", "web"}
NOT_IN_READER = {*_SERVER, *_RATE_STORES, *_FOLD, *_SCREEN, "asyncio", "ingest", "compactor", "web"}
NOT_IN_THE_PARSER = {*NOT_IN_SUPERVISOR, "msgspec", "orjson", "filelock", "logging", "zoneinfo", "tomllib"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has taken an event, folded it and answered a report."""
    directory = tmp_path_factory.mktemp("processes")
    server = Server(directory)
    server.environ |= witness(directory)
    with server:
        assert server.post([{"name": "pageview"}]).status == 200
        server.fold()
        assert server.get("/admin/api/report").json()["total"]["events"] == 1
        yield server


def witness(directory: Path) -> dict[str, str]:
    """The environment that lets each Foldlog process write down its modules."""
    package = directory / "witness"
    package.mkdir()
    (package / "sitecustomize.py").write_text(_WITNESS.format(directory=str(directory)))
    return {"PYTHONPATH": os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])}


def test_supervisor_loads_neither_server_nor_database(server: Server) -> None:
    assert loaded(server, server.running.pid) & NOT_IN_SUPERVISOR == set()


def test_worker_loads_no_database_even_when_a_report_was_asked_for(server: Server) -> None:
    worker = loaded(server, server.child("ingest-0"))
    assert worker & NOT_IN_WORKER == set()
    assert "aiohttp" in worker  # the witness sees what is there


@pytest.mark.component
@pytest.mark.long
def test_only_a_worker_loads_the_rate_store(tmp_path: Path) -> None:
    with redis_server() as store:
        server = Server(tmp_path, rate_limit=600)
        server.environ |= witness(tmp_path) | store.environ
        with server:
            assert loaded(server, server.running.pid) & NOT_IN_SUPERVISOR == set()
            assert loaded(server, server.child("compact")) & _RATE_STORES == set()
            assert loaded(server, server.child("ingest-0")) & _RATE_STORES == {"redis", "limits"}


def test_compactor_loads_no_server(server: Server) -> None:
    compactor = loaded(server, server.child("compact"))
    assert compactor & NOT_IN_COMPACTOR == set()
    assert {"duckdb", "compactor"} <= compactor


def test_compactor_loads_no_database_before_there_is_something_to_fold(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.environ |= witness(tmp_path)
    with server:
        server.fold()
        compactor = loaded(server, server.child("compact"))
    assert compactor & {*NOT_IN_COMPACTOR, "duckdb", "ua_parser", "crawleruseragents"} == set()


def test_reader_loads_only_the_database(server: Server) -> None:
    reader = loaded(server, child_of(server.child("ingest-0")))
    assert reader & NOT_IN_READER == set()
    assert {"duckdb", "reports"} <= reader


@pytest.mark.parametrize(("arguments", "exit_code"), [(["--version"], 0), (["--help"], 0), (["serv"], 2)])
def test_command_line_is_parsed_without_any_of_them(tmp_path: Path, arguments: list[str], exit_code: int) -> None:
    command = [sys.executable, "-m", "foldlog", *arguments]
    with subprocess.Popen(
        command,
        env=environment(tmp_path / "data") | witness(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.wait(20) == exit_code
    modules = written(tmp_path / str(process.pid))
    assert modules & NOT_IN_THE_PARSER == set()
    assert "argparse" in modules


def loaded(server: Server, pid: int) -> set[str]:
    """The top-level modules of a process, and the packages of the libraries mapped into
    it.
    """
    file = server.stderr_path.parent / str(pid)
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR2)
    until(file.exists)
    return written(file) | mapped(pid)


def written(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in file.read_text().split()}


def mapped(pid: int) -> set[str]:
    """The packages whose compiled modules a process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    paths = [Path(line.split(maxsplit=5)[5]) for line in maps if "/site-packages/" in line]
    return {path.parts[path.parts.index("site-packages") + 1].partition(".")[0].lstrip("_") for path in paths}


def child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
