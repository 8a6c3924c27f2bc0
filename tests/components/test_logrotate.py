"""Debian's real logrotate, forced, in a loop, at a real server under load: every
acknowledged event is accounted for.

First as somebody would point it at active segments who has not read
logrotate/README.md: renaming, creating, compressing, copying and truncating behind the
writer's back. Then with the configurations that Foldlog brings.
"""

from __future__ import annotations

import grp
import gzip
import http.client
import itertools
import json
import os
import pwd
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from compactor.lock import compactor_lock
from compactor.process import compact_once
from compactor.repair.rotated_files import recover_rotated_files
from shared.disk.layout import COMPRESSED_SUFFIXES, DataDirectory, parse_rotated
from shared.segments.sealed import sealed_segments
from shared.settings import load
from shared.timestamps import now_ms
from tests.builders.pages import ROOT
from tests.builders.processes import family, opened
from tests.builders.programs import program
from tests.builders.server import Server, keyed, verify
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import TIMEOUT_S, until
from tests.faults.oracle import Contents, read_directory

pytestmark = [pytest.mark.component, pytest.mark.long]

ROUNDS = 5
CLIENTS = 4
BATCH = 5
PAUSE_S = 0.005  # each; the machine is also logrotate's and the compactor's


class Client(threading.Thread):
    """Posts batches of events, each with an id of its own, until it is told to stop.
    Remembers when each was acknowledged.
    """

    def __init__(self, server: Server, name: str, stop: threading.Event) -> None:
        super().__init__(name=name)
        self.intended: set[str] = set()
        self.acknowledged: dict[str, float] = {}  # by the wall clock, as in messages
        self.refused = 0
        self._server = server
        self._halt = stop

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        for number in itertools.count():
            if self._halt.is_set():
                break
            ids = [f"{self.name}-{number:06d}-{place}" for place in range(BATCH)]
            self.intended.update(ids)
            if self._is_stored(connection, ids):
                self.acknowledged |= dict.fromkeys(ids, time.time())
            else:
                self.refused += 1
            time.sleep(PAUSE_S)
        connection.close()

    def _is_stored(self, connection: http.client.HTTPConnection, ids: list[str]) -> bool:
        events = [{"name": "pageview", "id": id_, "visitor": f"visitor-{id_}"} for id_ in ids]
        try:
            connection.request("POST", "/v1/events", json.dumps({"events": events, "consent": "granted"}), keyed())
            answer = connection.getresponse()
            answer.read()
        except OSError:
            connection.close()
            return False
        return answer.status == 200


class Load:
    """What all clients together did."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._stop = threading.Event()
        self.clients = [Client(server, f"client-{number}", self._stop) for number in range(CLIENTS)]

    @property
    def acknowledged(self) -> dict[str, float]:
        return {id_: at for client in self.clients for id_, at in dict(client.acknowledged).items()}

    @property
    def intended(self) -> set[str]:
        return set().union(*(client.intended for client in self.clients))

    def more(self, events: int = 100) -> None:
        """Wait until so many more events were acknowledged."""
        before = len(self.acknowledged)
        until(lambda: len(self.acknowledged) >= before + events)

    def stop(self) -> None:
        self._stop.set()
        for client in self.clients:
            client.join()


@contextmanager
def under_load(server: Server) -> Iterator[Load]:
    load_ = Load(server)
    for client in load_.clients:
        client.start()
    try:
        load_.more()
        yield load_
    finally:
        load_.stop()


def logrotate(directory: Path, configuration: str) -> None:
    """Force one run of a configuration, with a state file of its own. It must have
    nothing to complain about.
    """
    path = directory / "logrotate.conf"
    path.write_text(configuration)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    done = subprocess.run(
        [program("logrotate"), "--force", "--state", str(directory / "logrotate.state"), str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def rotate_in_a_loop(directory: Path, configuration: str, load_: Load, said: str) -> None:
    """Until the writer has said it ROUNDS times. Now and then logrotate comes between a
    seal and the next file.
    """
    for _ in range(4 * ROUNDS):
        logrotate(directory, configuration)
        load_.more()
        if len(messages(load_.server, said)) >= ROUNDS:
            return
    raise AssertionError(f"{said} was not said")


def messages(server: Server, event: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in server.stderr().splitlines() if line.startswith("{"))
    return [message for message in lines if message["event"] == event]


def count_everything(server: Server) -> Contents:
    """Once the server has stopped: what logrotate left is adopted, all is folded,
    verified, and looked at from outside.
    """
    log = SilentLog()
    with compactor_lock(server.data):
        recover_rotated_files(server.data, log, now_ms(), quiet_s=0)
    assert set(log.outcomes("rotated_file")) <= {"recovered", "removed"}
    assert [path.name for path in server.data.log.iterdir() if parse_rotated(path.name)] == []
    compact_once(server.data, load(server.environ), log)
    verify(server.data, server.environ)
    return read_directory(server.data.root)


def server_for(directory: Path, **settings: object) -> Server:
    return Server(directory, **{"fold_interval": 1, **settings})


PLAIN = "nocreate\nnocompress"
RENAMING: dict[str, str] = {
    "rename": PLAIN,
    "create": "create 0640\nnocompress",
    "compress": "nocreate\ncompress",
    "delaycompress": "nocreate\ncompress\ndelaycompress",
}


@pytest.mark.parametrize("options", RENAMING.values(), ids=RENAMING)
def test_renamed_segments_cost_no_event(tmp_path: Path, options: str) -> None:
    program("logrotate")
    with server_for(tmp_path) as server:
        pattern = server.data.log / "active-*.ndjson"
        with under_load(server) as load_:
            rotate_in_a_loop(
                tmp_path, f"{pattern} {{\nrotate 99\nmissingok\n{options}\n}}\n", load_, "segment_displaced"
            )
        server.stop()
        assert sum(client.refused for client in load_.clients) == 0
        assert messages(server, "segment_truncated") == []
        found = count_everything(server)
        assert set(load_.acknowledged) <= set(found.counted) <= load_.intended
        assert set(found.counted.values()) == {1}
        assert found.broken == []


def test_writer_that_is_killed_right_after_the_rename_costs_no_event(tmp_path: Path) -> None:
    """Nobody is left who knows the file: what is in it waits in the log for the
    compactor.
    """
    program("logrotate")
    with server_for(tmp_path, fold_interval=3600) as server:
        with under_load(server) as load_:
            for _ in range(3):
                load_.more()
                worker = server.child("ingest-0")
                os.kill(worker, signal.SIGSTOP)  # it must not see the rename
                logrotate(tmp_path, f"{server.data.log}/active-*.ndjson {{\nrotate 99\nmissingok\n{PLAIN}\n}}\n")
                os.kill(worker, signal.SIGKILL)
                until(lambda worker=worker: server.child("ingest-0") != worker)  # type: ignore[misc]
            load_.more()
        server.stop()
        displaced = messages(server, "segment_displaced")
        assert not [message for message in displaced if message["outcome"] == "recovered"]
        found = count_everything(server)
        assert set(load_.acknowledged) <= set(found.counted) <= load_.intended
        assert set(found.counted.values()) == {1}
        assert {each.name.writer for each in sealed_segments(server.data)} == {"0", "rotated"}


def test_what_copytruncate_loses_is_said_and_nothing_after_it_is_lost(tmp_path: Path) -> None:
    """Nothing is sealed meanwhile: logrotate may have the file open, and cut it just
    after it was sealed. A fold says that.
    """
    program("logrotate")
    with server_for(tmp_path, fold_interval=3600, segment_max_age=3600) as server:
        with under_load(server) as load_:
            configuration = f"{server.data.log}/active-*.ndjson {{\nrotate 99\nmissingok\ncopytruncate\n}}\n"
            rotate_in_a_loop(tmp_path, configuration, load_, "segment_truncated")
        server.stop()
        said = messages(server, "segment_truncated")
        assert all("copytruncate" in message["action"] for message in said)
        found = count_everything(server)
        assert set(found.counted) <= load_.intended
        assert set(found.counted.values()) == {1}
        missing = sorted(at for id_, at in load_.acknowledged.items() if id_ not in found.counted)
        for message in said:  # each answers for what was acknowledged before it, and for no more than it says
            noticed = datetime.fromisoformat(message["timestamp"]).timestamp()
            before = [at for at in missing if at <= noticed]
            assert len(before) <= message["lines"]
            missing = missing[len(before) :]
        assert missing == []


def shipped(name: str, **places: str) -> str:
    """A configuration that Foldlog brings, with paths, users and commands of this
    test.
    """
    text = (ROOT / "logrotate" / name).read_text("utf-8")
    for documented, here in places.items():
        assert documented in text, f"logrotate/{name} has no {documented!r} any more"
        text = text.replace(documented, here)
    return text


def fl(directory: Path, server: Server) -> Path:
    """/usr/local/bin/fl of logrotate/README.md, for this server. An hour is too long
    for a test: what is folded is old.
    """
    script = directory / "fl"
    settings = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in server.environ.items() if name.startswith("FOLDLOG_")
    )
    command = f"exec env {settings} {shlex.quote(sys.executable)} -m foldlog"
    script.write_text(f'#!/bin/sh\ncd {ROOT}\n[ "$1" = compress ] && set -- compress --older-than 0s\n{command} "$@"\n')
    script.chmod(stat.S_IRWXU)
    return script


@pytest.mark.long
def test_shipped_configuration_lets_foldlog_do_what_logrotate_decides(tmp_path: Path) -> None:
    program("logrotate")
    with server_for(tmp_path, workers=2, segment_max_age=3600) as server:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        places = {
            "/var/lib/foldlog": str(server.data.root),
            "/usr/local/bin/fl": str(fl(tmp_path, server)),
            "su foldlog foldlog": f"su {user} {group}",
        }
        configuration = shipped("foldlog-segments.conf", **places)
        stray = server.data.log / "active-7.ndjson.1"
        stray.write_bytes(b"of an earlier configuration\n")
        with under_load(server) as load_:
            for _ in range(2):
                before = len(sealed_segments(server.data))
                logrotate(tmp_path, configuration)
                assert len(sealed_segments(server.data)) > before
                load_.more()
        server.stop()
        assert stray.exists(), "it is not logrotate's to delete"
        stray.unlink()
        for never in ("segment_displaced", "segment_truncated"):
            assert messages(server, never) == []
        assert {each.suffix for each in sealed_segments(server.data)} & set(COMPRESSED_SUFFIXES)
        found = count_everything(server)
        assert set(load_.acknowledged) <= set(found.counted) <= load_.intended
        assert set(found.counted.values()) == {1}
        assert only_segments(server.data)


def only_segments(data: DataDirectory) -> bool:
    known = {path.name for each in sealed_segments(data) for path in (each.path, each.checksum)}
    return {path.name for path in data.log.iterdir()} == known


def all_have_open(server: Server, file: Path) -> bool:
    try:
        return all(opened(pid) == {file} for pid in family(server).values())
    except FileNotFoundError:  # a descriptor that was closed, or a process that ended, while it was looked at
        return False


def test_shipped_configuration_rotates_messages_and_loses_none(tmp_path: Path) -> None:
    program("logrotate")
    file = tmp_path / "messages" / "foldlog.log"
    file.parent.mkdir()
    with server_for(tmp_path, log_file=file, log_level="debug", fold_interval=1) as server:
        hang_up = f"kill -HUP {server.running.pid}"
        documented = "systemctl kill --kill-whom=main --signal=HUP foldlog.service"
        configuration = shipped("foldlog.conf", **{"/var/log/foldlog/foldlog.log": str(file), documented: hang_up})
        for round_ in range(1, 4):
            server.post([{"name": "before"}])
            generation = server.fold()
            logrotate(tmp_path, configuration)
            until(lambda: all_have_open(server, file))  # or the next round would compress what one of them writes to
            assert file.stat().st_mode & 0o777 == 0o640
            server.post([{"name": "after"}])
            assert server.fold() > generation
            assert len(list(file.parent.iterdir())) == round_ + 1
        names = sorted(path.name for path in file.parent.iterdir())
        assert names == ["foldlog.log", "foldlog.log.1", "foldlog.log.2.gz", "foldlog.log.3.gz"]
        contents = [path.read_bytes() for path in file.parent.iterdir()]
        unzipped = [gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content for content in contents]
        lines = [json.loads(line) for content in unzipped for line in content.splitlines()]
        folds = sorted(line["generation"] for line in lines if line["event"] == "pass_folded")
        assert folds == list(range(1, folds[-1] + 1)), "each pass says one line, and none is missing"
