"""docs/runbook.md, day by day: each bad day is made, what the page says one sees is
seen, and every command on it is typed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.exit_codes import TRY_AGAIN
from shared.generations.load import kept_generations, load_snapshot
from shared.segments.sealed import sealed_segments
from shared.timestamps import now_ms
from tests.builders.disks import fill
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.pages import fenced, page, section
from tests.builders.postgres import Server as Postgres
from tests.builders.rate_store_servers import redis_server
from tests.builders.server import ADMIN_TOKEN, Server, bearer, environment, failing
from tests.builders.waiting import until
from tests.builders.wire import page as page_request
from tests.faults.file_systems import small_tmpfs

PAGE = "docs/runbook.md"
SETTINGS_FILE = "/etc/foldlog/foldlog.env"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
pytestmark = pytest.mark.long

# They end with 1 when they have found something: that is what they are typed for.
_FINDING = re.compile(r"^(foldlog (?:doctor|verify))$", re.MULTILINE)
_ONE_IS_NO_FAILURE = r"\1 || [ $? = 1 ]"
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


class Shell:
    """Somebody who types what a section of the page says, in its order, and nothing
    else of it.
    """

    def __init__(self, directory: Path, environ: dict[str, str], heading: str) -> None:
        self._directory = directory
        self.environ = {name: value for name, value in environ.items() if not name.startswith("FOLDLOG_")}
        settings = directory / "foldlog.env"
        given = {name: value for name, value in environ.items() if name.startswith("FOLDLOG_")}
        settings.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in given.items()), "utf-8")
        command = directory / "bin" / "foldlog"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m foldlog "$@"\n', "utf-8")
        command.chmod(0o755)
        self.environ["PATH"] = f"{command.parent}:{self.environ['PATH']}"
        first, self._always = fenced(page(PAGE).partition("\n## ")[0], "sh")
        self._first = first.replace(SETTINGS_FILE, str(settings))
        self._left = fenced(section(page(PAGE), heading), "sh")

    def type(self, expected_exit: int = 0, *, replacing: dict[str, str] | None = None, **variables: str) -> str:
        """The next block. Returns what it printed. `variables` are those that the page
        leaves to the reader.
        """
        block = self._left.pop(0)
        for before, after in (replacing or {}).items():
            assert before in block
            block = block.replace(before, after)
        return self._run(block, expected_exit, variables)

    def look(self) -> str:
        """What the page says to type whatever it is."""
        return self._run(self._always, 0, {})

    def _run(self, block: str, expected_exit: int, variables: dict[str, str]) -> str:
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", f"{self._first}\n{_FINDING.sub(_ONE_IS_NO_FAILURE, block)}"],
            cwd=self._directory,
            env=self.environ | {"COLUMNS": "200", **variables},
            capture_output=True,
            text=True,
            timeout=80,
            check=False,
        )
        assert done.returncode == expected_exit, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def finish(self) -> None:
        assert self._left == [], "not typed"


@contextmanager
def shell(directory: Path, environ: dict[str, str], heading: str) -> Iterator[Shell]:
    """Whoever leaves it has typed all of the section."""
    typing = Shell(directory, environ, heading)
    yield typing
    typing.finish()


def send(server: Server, *ids: str, **fields: object) -> None:
    events = [{"name": "pageview", "id": id_, "url": "https://example.com/a", **fields} for id_ in ids]
    assert server.post(events).json()["accepted"] == len(ids)


def test_every_day_on_the_page_is_made() -> None:
    made = {kind.removeprefix("test_").replace("_", " ") for kind in globals() if kind.startswith("test_")}
    assert {heading.lower() for heading in _HEADING.findall(page(PAGE))} <= made


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
def test_the_disk_is_full(tmp_path: Path) -> None:
    with (
        small_tmpfs(tmp_path / "data", "size=32m") as disk,
        Server(tmp_path, disk_reserve="8 MiB") as server,
        shell(tmp_path, server.environ, "The disk is full") as typing,
    ):
        send(server, "before-it-is-full")
        server.fold()
        ballast = disk / "ballast"
        fill(ballast, 4 << 20)
        until(lambda: server.post([{"name": "a"}]).code == "disk_reserve")
        assert "disk" in failing(server)
        assert "disk: " in typing.look()

        shown = typing.type()

        assert "ballast" in shown  # what takes the room
        assert any(segment.path.suffix == ".zst" for segment in sealed_segments(server.data))
        ballast.unlink()
        until(lambda: server.post([{"name": "a"}]).status == 200)
        until(lambda: failing(server) == set())
        assert typing.type() == ""


def test_the_fold_lags(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data")
    data = data_directory(tmp_path / "data")
    sealed(data, [line("waiting-1", now_ms())])
    with shell(tmp_path, environ, "The fold lags") as typing:
        assert "1 not folded" in typing.type()
        found = json.loads(typing.type())
        assert (found["waiting"], found["difference"]) == (0, 0)
        assert found["lag_s"] < 60


def test_a_segment_is_corrupt(tmp_path: Path) -> None:
    with Server(tmp_path) as server, shell(tmp_path, server.environ, "A segment is corrupt") as typing:
        send(server, "good-event", "event-that-is-damaged")
        server.stop()
        (segment,) = sealed_segments(server.data)
        backup = tmp_path / "backup"
        shutil.copytree(server.data.log, backup / "log")
        segment.path.write_bytes(segment.path.read_bytes().replace(b"event-that-is-damaged", b"event-that-is-damageD"))
        server.start()
        server.fold()
        until(lambda: '"segment_damaged"' in server.stderr())  # it is said after the snapshot is there
        assert "foldlog_segments_damaged_total 1.0" in server.get("/metrics").body.decode("utf-8")
        assert load_snapshot(server.data).totals.counted == 1

        replacing = {"SEGMENT=20261122T160000Z-0-0000000042": f"SEGMENT={segment.name.stem}"}
        shown = typing.type(replacing=replacing, BACKUP=str(backup))

        assert f"log/{segment.path.name}" in shown
        assert load_snapshot(server.data).totals.counted == 2
        assert "nothing wrong" in typing.type()


def test_events_are_set_aside(tmp_path: Path) -> None:
    heading = "Events are set aside"
    with Server(tmp_path) as server, shell(tmp_path, server.environ, heading) as typing:
        send(server, "one-event")
        server.fold()
        (part,) = server.data.archive.glob("*/*.parquet")
        whole = part.read_bytes()
        part.write_bytes(whole[:-9] + b"x" + whole[-8:])
        send(server, "another-event")
        for _ in range(3):
            server.fold()
        shown = typing.look()
        assert "1 event could not be folded" in shown and "segment_set_aside" in server.stderr()
        assert server.get("/readyz").status == 200
        part.write_bytes(whole)

        assert "PartDamaged" in typing.type()

        assert typing.type().strip() == "0"
        assert load_snapshot(server.data).totals.counted == 2


def test_the_snapshot_is_lost(tmp_path: Path) -> None:
    with Server(tmp_path) as server, shell(tmp_path, server.environ, "The snapshot is lost") as typing:
        for id_ in ("one-event", "another-event"):
            send(server, id_)
            server.fold()
        server.data.snapshot.write_bytes(b"")
        for generation in kept_generations(server.data):
            server.data.kept_snapshot(generation).unlink()
        assert server.get("/admin/api/report").code == "snapshot"
        send(server, "taken-all-the-same")

        typing.type()

        # The rebuild has the compactor try again at once.
        until(lambda: load_snapshot(server.data).totals.counted == 3)
        assert json.loads(typing.type().partition("nothing wrong")[2])["events"] == 3


def test_a_worker_is_stuck(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server, shell(tmp_path, server.environ, "A worker is stuck") as typing:
        # The other one answers while this one stands still, so both have to listen.
        until(lambda: server.stderr().count('"event":"worker_listening"') == 2)
        stuck = server.child("ingest-1")
        os.kill(stuck, signal.SIGSTOP)

        assert re.search(rf"{stuck} +T.*--writer 1", typing.type(WORKER=str(stuck)))

        until(lambda: server.child("ingest-1") != stuck)
        until(lambda: b'foldlog_worker_up{worker="1"} 1.0' in server.get("/metrics").body)
        assert typing.type().count(" 1.0") == 2


def test_a_flood_of_bots(tmp_path: Path) -> None:
    with Server(tmp_path, rate_limit=0) as server, shell(tmp_path, server.environ, "A flood of bots") as typing:
        send(server, *(f"flood-{n:04d}" for n in range(50)), visitor="the-flood")
        send(server, "one-of-people", visitor="somebody")
        server.fold()

        assert "50 the-flood" in typing.type()
        typing.type(VISITOR="the-flood")

        assert load_snapshot(server.data).totals.counted == 1
        assert "the-flood" not in typing.type()


def test_the_rate_limit_is_not_shared(tmp_path: Path) -> None:
    heading = "The rate limit is not shared"
    with redis_server() as store:
        server = Server(tmp_path, rate_limit=600)
        server.environ |= store.environ
        with server, shell(tmp_path, server.environ, heading) as typing:
            store.kill()
            until(lambda: send_as_page(server) == 200 and '"rate_store_failed"' in server.stderr())
            assert "rate store" in typing.type()
            assert 'foldlog_rate_store_up{worker="0"} 0.0' in server.get("/metrics").body.decode("utf-8")
            store.start()
            until(lambda: '"rate_store_up"' in server.stderr())
            assert typing.type().endswith(" 1.0\n")


@pytest.mark.component
def test_hosts_hash_visitors_apart(tmp_path: Path, postgres: Postgres) -> None:
    heading = "Hosts hash visitors apart"
    address = postgres.database()
    postgres.stop()
    with Server(tmp_path, store=address) as server, shell(tmp_path, server.environ, heading) as typing:
        until(lambda: '"store_salt_failed"' in server.stderr())
        assert "could not be read" in typing.type(TRY_AGAIN)
        assert send_as_page(server) == 200
        postgres.start()
        until(lambda: '"store_salt_shared"' in server.stderr())


def published(server: Server) -> bool:
    store = server.get("/admin/api/status").json()["store"]
    return bool(store["generation"] and store["lag_s"] == 0)


def shows_refused(server: Server) -> bool:
    return b"foldlog_store_refused 1.0" in server.get("/metrics").body


def test_the_store_is_down(tmp_path: Path) -> None:
    path = tmp_path / "analytics.db"
    path.mkdir()
    with (
        Server(tmp_path, store=f"sqlite:///{path}", fold_interval=1) as server,
        shell(tmp_path, server.environ, "The store is down") as typing,
    ):
        send(server, "while-it-is-down")
        server.fold()
        until(lambda: '"store_publish_failed"' in server.stderr() and "degraded" in readiness(server))
        assert failing(server) == set()
        shown = typing.type()
        assert "to publish failed" in shown and "not reached" in shown
        path.rmdir()
        assert typing.type().endswith("published\n")


def readiness(server: Server) -> str:
    return server.request("GET", "/readyz").body.decode("utf-8")


def test_the_store_refuses_this_host(tmp_path: Path) -> None:
    path = tmp_path / "analytics.db"
    with (
        Server(tmp_path, store=f"sqlite:///{path}", fold_interval=1) as server,
        shell(tmp_path, server.environ, "The store refuses this host") as typing,
    ):
        send(server, "before-it-refuses")
        server.fold()
        until(lambda: published(server))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE analytics_folded SET instance = 'of-another-directory'")
        until(lambda: shows_refused(server))
        assert "WRONG    store" in typing.type()
        assert "holds generation" in typing._run("foldlog store rebuild", 0, {})
        assert typing.type().endswith("published\n")


def test_the_store_is_behind(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data", store=f"sqlite:///{tmp_path / 'analytics.db'}")
    data = data_directory(tmp_path / "data")
    sealed(data, [line("not-published", now_ms())])
    fold(data, now_ms() - HOUR_MS)
    with shell(tmp_path, environ, "The store is behind") as typing:
        assert "nothing published yet" in typing.type()
        assert typing.type().strip() == "0"


def send_as_page(server: Server) -> int:
    return server.exchange(page_request()).status


def test_the_clock_is_wrong(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("before-the-jump", now_ms())])
    fold(data, now_ms() + 3 * DAY_MS)  # by a clock that was days ahead, and was put right since
    with shell(tmp_path, environment(data.root), "The clock is wrong") as typing:
        sealed(data, [line("after-the-jump", now_ms())])
        fold(data, now_ms())
        shown = typing.type()
        assert "it jumped; retention has been waiting since" in shown
        for hours in (40, 80):  # it is left alone
            fold(data, now_ms() + hours * HOUR_MS)
        assert json.loads(typing.type())["skipped"] is None


def test_moving_to_another_host(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    with Server(old) as server, shell(old, server.environ, "Moving to another host") as typing:
        send(server, "moved-event-1", "moved-event-2")
        typing.type()
        before = load_snapshot(server.data)
        shutil.move(old / "foldlog-move.tar.gz", new)
        there = Shell(new, environment(new / "data"), "Moving to another host")
        there._left.pop(0)
        assert "nothing wrong" in there.type()
        assert json.loads(there.type())["balance"]["accepted"] == 2
        assert load_snapshot(DataDirectory(new / "data")).generation == before.generation
        typing._left.clear()


def test_another_time_zone(tmp_path: Path) -> None:
    with Server(tmp_path, timezone="Asia/Kathmandu") as server:
        send(server, "some-event-1")
        server.fold()
        with shell(tmp_path, server.environ, "Another time zone") as typing:
            assert typing.type().count("total") == 2
            assert "Asia/Kathmandu" in typing.type()


def test_a_token_has_leaked(tmp_path: Path) -> None:
    with Server(tmp_path) as server, shell(tmp_path, server.environ, "A token has leaked") as typing:
        leaked, id_ = new_token(typing)
        assert server.request("GET", "/admin/api/status", headers=bearer(leaked)).status == 200
        typing.type(TOKEN_ID=id_)
        typing.type()
        until(lambda: server.request("GET", "/admin/api/status", headers=bearer(leaked)).status == 401)
        assert typing.type(LEAKED=leaked) == "401\n"
        assert server.request("GET", "/admin/api/status", headers=bearer(ADMIN_TOKEN)).status == 200


def new_token(typing: Shell) -> tuple[str, str]:
    """A token and its id."""
    shown = typing._run("foldlog token create --scope admin", 0, {})
    secret, _, rest = shown.partition("\n")
    return secret, re.findall(r"\(id ([^,]+),", rest)[0]
