"""What a service says of itself (sd_notify), to a real socket; and that `serve`
replaces a child which is silent.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foldlog.supervisor.children import Child
from shared.systemd_notify import Notifier, from_environment
from tests.builders.server import Server, environment
from tests.builders.silent_log import SilentLog
from tests.builders.supervised import Listener, listening, mischief
from tests.builders.waiting import TIMEOUT_S, until

WATCHDOG_S = 2
FAST = {"WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000)}
EVENT = {"name": "pageview", "visitor": "visitor-1"}


@contextmanager
def notifying(directory: Path, address: str, **settings: object) -> Iterator[tuple[Server, Listener]]:
    """A server that was started with NOTIFY_SOCKET and WATCHDOG_USEC."""
    server = Server(directory, **settings)
    server.environ |= FAST | {"NOTIFY_SOCKET": address}
    with listening(address) as listener, server:
        yield server, listener


@pytest.mark.long
def test_serve_reports_every_state(tmp_path: Path) -> None:
    with notifying(tmp_path, str(tmp_path / "notify"), workers=2, log_file=tmp_path / "messages") as (server, listener):
        ready = listener.until("READY=1")
        messages = (tmp_path / "messages").read_text()
        assert messages.count('"event":"worker_listening"') == 2 and server.data.compact_lock.exists()
        assert ready == "READY=1\nSTATUS=2 of 2 workers ready, compactor ready"
        for _ in range(3):
            listener.until("WATCHDOG=1")

        assert not inherited_variables(server.running.pid) - {"NOTIFY_SOCKET", "WATCHDOG_USEC"}
        for line in messages.splitlines():
            if child := re.search(r'"child":"[^"]+","pid":(\d+)', line):
                assert inherited_variables(int(child[1])) == set()

        listener.forget()
        server.running.send_signal(signal.SIGHUP)
        reloading = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", listener.until("RELOADING"))
        assert reloading and abs(int(reloading[1]) / 1e6 - time.monotonic()) < TIMEOUT_S
        assert listener.until("READY") == "READY=1"

        assert server.stop() == 0
        listener.until("STOPPING=1")
        assert not [message for message in listener.heard if message.startswith("READY=1\nSTATUS")]


def inherited_variables(pid: int) -> set[str]:
    """The variables of this protocol in the environment of a process."""
    names = {entry.partition(b"=")[0].decode() for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
    return names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}


@pytest.mark.long
def test_serve_is_not_ready_before_every_worker_is(tmp_path: Path) -> None:
    address, held = str(tmp_path / "notify"), tmp_path / "held"
    held.touch()
    slow = mischief(tmp_path / "mischief", "1", f"while os.path.exists({str(held)!r}): time.sleep(0.02)")
    server = Server(tmp_path, workers=2)
    server.environ |= FAST | slow | {"NOTIFY_SOCKET": address}
    with listening(address) as listener, server:
        listener.until("STATUS=1 of 2 workers ready, compactor ready")
        assert not [message for message in listener.heard if message.startswith("READY")]
        held.unlink()
        assert listener.until("READY=1").endswith("STATUS=2 of 2 workers ready, compactor ready")


@pytest.mark.long
def test_stopped_supervisor_sends_no_heartbeat(tmp_path: Path) -> None:
    with notifying(tmp_path, str(tmp_path / "notify")) as (server, listener):
        listener.until("READY=1")
        os.kill(server.running.pid, signal.SIGSTOP)
        try:
            listener.forget()
            assert listener.listen(1.5 * WATCHDOG_S) == []
        finally:
            os.kill(server.running.pid, signal.SIGCONT)
        listener.until("WATCHDOG=1")
        assert '"child_stuck"' not in server.stderr()


ALONE = {
    "ingest": (["ingest", "--writer", "web"], r"READY=1\nSTATUS=writer web accepts events on 127\.0\.0\.1:\d+"),
    "compact": (["compact"], r"READY=1\nSTATUS=folds every 3600 s"),
}


@pytest.mark.long
@pytest.mark.parametrize(("command", "ready"), ALONE.values(), ids=ALONE)
def test_worker_and_compactor_notify_systemd_without_serve(tmp_path: Path, command: list[str], ready: str) -> None:
    address = f"@foldlog-test-{os.getpid()}-{command[0]}"  # in the abstract namespace, which systemd may use, too
    server = Server(tmp_path)  # for its port
    environ = server.environ | FAST | {"NOTIFY_SOCKET": address}
    with (
        listening(address) as listener,
        subprocess.Popen([sys.executable, "-m", "foldlog", *command], env=environ, stderr=subprocess.PIPE) as process,
    ):
        try:
            assert re.fullmatch(ready, listener.until("READY=1"))
            for _ in range(2):
                listener.until("WATCHDOG=1")
            process.send_signal(signal.SIGHUP)
            listener.until("RELOADING=1\nMONOTONIC_USEC=")
            listener.until("READY=1")
            process.terminate()
            listener.until("STOPPING=1")
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
            server._port_holder.close()


@pytest.mark.long
def test_compactor_sends_heartbeats_during_a_long_pass(tmp_path: Path) -> None:
    """The pass blocks in a thread of its own, as on a slow disk."""
    address, held, begun = str(tmp_path / "notify"), tmp_path / "held", tmp_path / "begun"
    held.touch()
    code = f"""
import compactor.process
def stand_still(*_):
    open({str(begun)!r}, "w").close()
    while os.path.exists({str(held)!r}): time.sleep(0.02)
compactor.process.Compactor.run = stand_still
"""
    environ = environment(tmp_path / "data", fold_interval=1) | FAST | {"NOTIFY_SOCKET": address}
    environ |= mischief(tmp_path / "mischief", "compact", code)
    with (
        listening(address) as listener,
        subprocess.Popen([sys.executable, "-m", "foldlog", "compact"], env=environ) as process,
    ):
        try:
            listener.until("READY=1")
            until(begun.exists)
            listener.forget()
            for _ in range(4):
                listener.until("WATCHDOG=1")
        finally:
            held.unlink()
            process.terminate()
            process.wait(TIMEOUT_S)


STUCK = {"stands still": signal.SIGSTOP, "turns in a circle": signal.SIGUSR2}
# Signal handlers run in the main thread, which runs the event loop; this one never
# returns.
CIRCLE = """
def circle(*_):
    while True: pass
signal.signal(signal.SIGUSR2, circle)
"""


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.parametrize("number", STUCK.values(), ids=STUCK)
def test_stuck_worker_is_replaced_and_loses_nothing(tmp_path: Path, number: signal.Signals) -> None:
    server = Server(tmp_path, workers=2, worker_timeout=2)
    server.environ |= mischief(tmp_path / "mischief", "ingest", CIRCLE)
    with server:
        until(lambda: server.stderr().count('"event":"worker_listening"') == 2)
        for count in range(60):
            assert server.post([EVENT | {"id": f"stuck-{count:04}"}]).status == 200
        assert all(path.stat().st_size for path in (server.data.active("0"), server.data.active("1")))
        pid = server.child("ingest-0")
        os.kill(pid, number)
        until(lambda: server.child("ingest-0") != pid, server.stderr)
        until(lambda: server.stderr().count('"event":"worker_listening"') == 3, server.stderr)
        assert f'"child":"ingest-0","pid":{pid},"silent_s":2' in server.stderr()
        assert server.stderr().count('"event":"child_stuck"') == 1 and '"exit_code":-9' in server.stderr()
        assert '"event":"segment_recovered"' in server.stderr()
        assert {line["id"] for line in server.lines()} == {f"stuck-{count:04}" for count in range(60)}
        server.fold()


@pytest.mark.long
@pytest.mark.crash
def test_stuck_compactor_is_replaced(tmp_path: Path) -> None:
    with Server(tmp_path, worker_timeout=2) as server:
        server.fold()  # the start, which may take longer, is over
        pid = server.child("compact")
        os.kill(pid, signal.SIGSTOP)
        until(lambda: server.child("compact") != pid, server.stderr)
        assert server.post([EVENT]).status == 200
        assert server.fold() >= 1
        assert f'"child":"compact","pid":{pid},"silent_s":2' in server.stderr()


@pytest.mark.long
def test_worker_with_a_slow_disk_is_not_replaced(tmp_path: Path) -> None:
    """Each sync takes twice as long as a worker may be silent: the event loop does not
    wait for it.
    """
    slow = "real = os.fdatasync\nos.fdatasync = lambda descriptor: (time.sleep(4), real(descriptor))[1]"
    server = Server(tmp_path, worker_timeout=2)
    server.environ |= mischief(tmp_path / "mischief", "ingest", slow)
    with server:
        started = time.monotonic()
        assert server.post([EVENT]).status == 200
        assert time.monotonic() - started >= 4
        assert '"child_stuck"' not in server.stderr()


@pytest.mark.long
def test_suspended_host_replaces_no_child(tmp_path: Path) -> None:
    """A machine that was suspended: supervisor and children stand still together, for
    longer than a child may be silent.
    """
    with Server(tmp_path, worker_timeout=3) as server:
        group = server.running.pid
        os.killpg(group, signal.SIGSTOP)
        time.sleep(5)
        os.killpg(group, signal.SIGCONT)
        assert server.post([EVENT]).status == 200
        time.sleep(0.5)
        assert '"child_stuck"' not in server.stderr() and '"child_exited"' not in server.stderr()


def test_child_reports_that_it_is_ready() -> None:

    child = Child("a", [sys.executable, "-c", "import time; time.sleep(60)"])
    child.start(SilentLog())
    try:
        child.read_heartbeats()
        look = [(child.is_ready, child.silent_s > 0)]
        Notifier(child._child_end).ready("here")
        for _ in range(2):
            child.read_heartbeats()
            look.append((child.is_ready, child.silent_s > 0))
        assert look == [(False, True), (True, False), (True, True)]
    finally:
        assert child.process is not None
        child.process.kill()
        child.process.wait()
        assert child.process.stdin is not None
        child.process.stdin.close()
        child._heartbeats.close()
        child._child_end.close()


NOT_FOR_US = {
    "nothing asked": {},
    "an address of another kind": {"NOTIFY_SOCKET": "vsock:2:1234"},
    "nobody there": {"NOTIFY_SOCKET": "/nonexistent/notify"},
}


@pytest.mark.parametrize("environ", NOT_FOR_US.values(), ids=NOT_FOR_US)
def test_nothing_is_sent_without_a_socket(environ: dict[str, str]) -> None:
    given = environ | {"OTHER": "kept", "WATCHDOG_USEC": "1000000"}
    notifier = from_environment(given, os.getpid())
    notifier.ready("here")
    notifier.alive()
    notifier.stopping()
    assert notifier.interval_s == 0 and given == {"OTHER": "kept"}


@pytest.mark.parametrize(
    ("pid", "interval_s"), [("", 1.0), ("own", 1.0), ("1", 0.0)], ids=["anybody", "this process", "another"]
)
def test_watchdog_applies_to_the_process_with_its_pid(tmp_path: Path, pid: str, interval_s: float) -> None:
    with listening(str(tmp_path / "notify")) as listener:
        notifier = from_environment(
            {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_PID": pid.replace("own", str(os.getpid())), **FAST},
            os.getpid(),
        )
        assert notifier.interval_s == interval_s
        notifier.alive()
        assert listener.listen(0.1) == (["WATCHDOG=1"] if interval_s else [])
        notifier.alive()
        assert listener.listen(0.1) == []  # not more often than is asked for
        assert notifier._peer is not None
        notifier._peer.close()


def test_full_queue_of_the_parent_blocks_nothing(tmp_path: Path) -> None:
    with listening(str(tmp_path / "notify")):
        notifier = from_environment({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1"}, os.getpid())
        for _ in range(1_000):  # nobody reads: a call that blocked would never return
            notifier.alive()
        assert notifier._peer is not None
        notifier._peer.close()
