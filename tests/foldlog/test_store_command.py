"""`foldlog store`, and `serve` with a store, as real processes."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from shared.exit_codes import PROBLEMS, SUCCESS, TRY_AGAIN, USAGE
from shared.timestamps import now_ms
from tests.builders.command import run_here
from tests.builders.logs import data_directory, line, sealed
from tests.builders.postgres import running
from tests.builders.postgres_kinds import required
from tests.builders.server import Server, environment, run_foldlog
from tests.builders.waiting import until


def events_in(file: Path) -> int:
    """Events of the total in a store; 0 without one."""
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        try:
            rows = database.execute("SELECT sum(events) FROM analytics_counters WHERE dimension = 'total'").fetchall()
        except sqlite3.OperationalError:  # before the first publish
            return 0
    return rows[0][0] or 0


def test_serve_publishes_what_it_folded(tmp_path: Path) -> None:
    file = tmp_path / "analytics.db"
    with Server(tmp_path, store=f"sqlite:///{file}", fold_interval=1) as server:
        server.post([{"name": "pageview"}, {"name": "signup"}])
        until(lambda: events_in(file) == 2, server.log_tail)
        file.with_name("analytics.db-wal").unlink()
        file.write_bytes(b"this is no database " * 1_000)
        server.post([{"name": "pageview"}])
        until(lambda: "store_publish_failed" in server.log_tail(), server.log_tail)
        until(lambda: server.get("/admin/api/snapshot").json()["totals"]["counted"] == 3, server.log_tail)


def test_commands_say_what_they_did_and_what_to_type(tmp_path: Path) -> None:
    data, file = data_directory(tmp_path / "data"), tmp_path / "analytics.db"
    environ = environment(data.root, store=f"sqlite:///{file}")

    def store(action: str, expected: int) -> str:
        ended = run_here(["store", action], environ)
        assert ended.returncode == expected, ended
        return ended.stdout + ended.stderr

    assert store("status", SUCCESS) == f"the SQLite store {file} is empty; generation 0 is not published yet\n"
    sealed(data, [line("event-1")])
    assert run_foldlog(["compact", "--once"], environ).returncode == SUCCESS
    assert events_in(file) == 1
    assert "holds generation 1 of" in store("status", SUCCESS)
    assert store("publish", SUCCESS) == f"the SQLite store {file} holds generation 1, the newest, already\n"
    assert store("check", SUCCESS) == f"the SQLite store {file} is as the parts say (generation 1)\n"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE analytics_counters SET events = 2")
    assert "foldlog store rebuild" in store("check", PROBLEMS)
    assert store("rebuild", SUCCESS) == f"the SQLite store {file} holds generation 1, before it held nothing\n"
    store("check", SUCCESS)
    file.write_bytes(b"this is no database " * 1_000)
    assert "file is not a database" in store("status", TRY_AGAIN)
    environ["FOLDLOG_STORE"] = "file"
    assert "set it to sqlite:///PATH" in store("status", USAGE)


@pytest.mark.component
@pytest.mark.long
def test_commands_work_with_postgresql(tmp_path: Path) -> None:
    with running(required("system"), quick=True) as server:
        address = server.database()
        data, environ = data_directory(tmp_path / "data"), environment(tmp_path / "data", store=address)

        def store(action: str, expected: int = SUCCESS) -> str:
            ended = run_here(["store", *action.split()], environ)
            assert ended.returncode == expected, ended
            return ended.stdout + ended.stderr

        assert "is empty; generation 0 is not published yet" in store("status")
        assert "CREATE TABLE analytics_folded" in store("migrate --dry-run")
        assert "applied 0001_tables, 0002_months, 0003_summary" in store("migrate")
        assert store("migrate").endswith("has all tables of this Foldlog already\n")
        sealed(data, [line("event-1", now_ms())])
        assert run_foldlog(["compact", "--once"], environ).returncode == SUCCESS
        assert "holds generation 1 of" in store("status")
        assert "is as the parts say (generation 1)" in store("check")
        with psycopg.connect(address) as database:
            database.execute("DELETE FROM analytics_parts WHERE kind = 'archive'")
        assert "WRONG 1 parts are missing" in store("check", PROBLEMS)
        assert "holds generation 1, before it held nothing" in store("rebuild")
        store("check")
        gone = data.instance.read_text().split('"')[3]
        assert "from now on" in store("new-instance")
        assert f"instance {gone}: generation 1 of" in store("status")
        assert "is retired" in store(f"retire {gone}")
        assert ", retired on" in store("status")
        assert "has no instance" in store(f"retire {uuid.uuid4()}", USAGE)
        environ["FOLDLOG_STORE"] = f"sqlite:///{tmp_path / 'analytics.db'}"
        assert "only a database server is migrated" in store("migrate", USAGE)
        server.stop()
        environ["FOLDLOG_STORE"] = address
        assert "could not be read or written" in store("status", TRY_AGAIN)
