"""A worker is ready when it can accept events and they are folded; else the failing
check is named, and readiness returns without a restart.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.collect.encode import encode_lines
from shared.disk.layout import SegmentName
from tests.builders.logs import line
from tests.builders.server import Answer, Server, failing
from tests.builders.waiting import until

EVENT = {"name": "pageview", "visitor": "visitor-1"}
CHECKS = ["accepting", "writable", "lock", "queue", "disk", "fold", "retention", "log"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("health")) as running:
        yield running


def alive(server: Server) -> bool:
    answer = server.request("GET", "/healthz")
    return (answer.status, answer.body) == (200, b'{"status": "ok"}')


def test_fresh_server_is_ready(server: Server) -> None:
    assert alive(server)
    assert failing(server) == set()
    checks = server.request("GET", "/readyz").json()["checks"]
    assert [check["name"] for check in checks] == CHECKS
    assert all(check["detail"] for check in checks)


def test_deleted_segment_is_reported_and_replaced_without_an_event(server: Server) -> None:
    server.data.active("0").unlink()
    try:
        until(lambda: server.data.active("0").exists())
        until(lambda: failing(server) == set())
        assert '"outcome":"empty"' in server.stderr()
    finally:
        assert server.post([EVENT]).status == 200


def test_segment_without_a_checksum_fails_a_check_until_it_is_removed(server: Server) -> None:
    suspect = server.data.log / SegmentName("other", 1, datetime.now(UTC).replace(microsecond=0)).file
    suspect.write_bytes(encode_lines([line("event-0001")]))
    try:
        assert failing(server) == {"log"}
        (check,) = [check for check in server.request("GET", "/readyz").json()["checks"] if check["name"] == "log"]
        assert suspect.name in check["detail"]
        assert alive(server)
    finally:
        suspect.unlink()
    assert failing(server) == set()


def test_unreadable_snapshot_fails_its_check_alone(server: Server) -> None:
    assert server.post([EVENT]).status == 200
    server.fold()
    content = server.data.snapshot.read_bytes()
    server.data.snapshot.write_bytes(content[:-20])
    try:
        assert failing(server) == {"snapshot"}
        assert server.post([EVENT]).status == 200
        assert alive(server)
    finally:
        server.data.snapshot.write_bytes(content)
    assert failing(server) == set()


def test_ready_worker_stays_ready_while_it_writes_and_seals(server: Server) -> None:
    """Each fold seals the segment; a check at that moment must not fail."""
    ended = time.monotonic() + 2

    def repeat(action: Callable[[], object]) -> None:
        while time.monotonic() < ended:
            action()

    found: set[str] = set()
    with ThreadPoolExecutor(2) as threads:
        others = [threads.submit(repeat, action) for action in (server.fold, lambda: server.post([EVENT]))]
        repeat(lambda: found.update(failing(server)))
        for other in others:
            other.result()
    assert found == set()


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A disk smaller than its reserve, and a fold every second."""
    with Server(tmp_path_factory.mktemp("small"), disk_reserve="1000000 GiB", fold_interval=1) as running:
        until(lambda: running.data.last_pass.exists())
        yield running


def test_disk_below_its_reserve_fails_a_check(small_disk: Server) -> None:
    until(lambda: failing(small_disk) == {"disk"})
    assert small_disk.post([EVENT]).status == 507
    assert alive(small_disk)


def test_stopped_compactor_fails_a_check_after_three_intervals(small_disk: Server) -> None:
    pid = small_disk.child("compact")
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: failing(small_disk) == {"disk", "fold", "retention"})
        assert alive(small_disk)
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: failing(small_disk) == {"disk"})
    assert small_disk.child("compact") == pid


# `foldlog ingest` on a disk whose syncs block while a file exists.
STALLING = """
import os, sys, time
flag, real = sys.argv.pop(), os.fdatasync

def wait(descriptor):
    while os.path.exists(flag):
        time.sleep(0.02)
    real(descriptor)

os.fdatasync = wait
from foldlog.cli import main
sys.exit(main(["ingest"]))
"""


class StallingWorker(Server):
    """One worker without a supervisor, whose disk blocks while `stalled` exists."""

    def __init__(self, directory: Path, **settings: object) -> None:
        super().__init__(directory, **settings)
        self.stalled = directory / "stalled"

    def start(self) -> None:
        with self.stderr_path.open("ab") as stderr:
            command = [sys.executable, "-c", STALLING, str(self.stalled)]
            self.process = subprocess.Popen(command, env=self.environ, stderr=stderr, start_new_session=True)
        until(self._listens)

    def _listens(self) -> bool:
        try:
            return self.request("GET", "/healthz").status == 200
        except OSError:
            return False

    def stop(self) -> int:
        self.stalled.unlink(missing_ok=True)
        return super().stop()


def test_stalled_sync_fails_a_check_and_recovers_without_a_restart(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    server = StallingWorker(tmp_path, queue_max_requests=4)
    with server, ThreadPoolExecutor(4) as threads:

        def post(id_: str) -> Answer:
            return server.post([{**EVENT, "id": id_}])

        assert post("before-001").status == 200
        assert failing(server) == set()
        server.stalled.touch()
        waiting: list[Future[Answer]] = [threads.submit(post, "waiting-01")]
        until(lambda: waits(server) == 1)
        noticed_s = until(lambda: "writable" in failing(server))
        record_property("stall_noticed_s", round(noticed_s, 2))
        assert failing(server) == {"writable"}
        assert alive(server)

        waiting += [threads.submit(post, f"waiting-0{number}") for number in (2, 3, 4)]
        until(lambda: failing(server) == {"writable", "queue"})
        rejected = post("rejected-1")
        assert (rejected.status, rejected.code, rejected.headers["Retry-After"]) == (503, "busy", "1")
        assert b'foldlog_queue_requests{worker="0"} 4.0\n' in server.request("GET", "/metrics").body
        assert not any(each.done() for each in waiting)

        server.stalled.unlink()
        answers = [each.result(60) for each in waiting]
        assert [answer.status for answer in answers] == [200] * 4
        until(lambda: failing(server) == set())
        assert post("after-0001").status == 200
        kept = {event["id"] for event in server.lines()}
        assert kept == {"before-001", "waiting-01", "waiting-02", "waiting-03", "waiting-04", "after-0001"}
        assert server.stderr().count('"worker_listening"') == 1


def waits(server: Server) -> int:
    """How many requests wait for a commit."""
    checks = {check["name"]: check["detail"] for check in server.request("GET", "/readyz").json()["checks"]}
    return int(checks["queue"].split()[0])
