"""The child processes of `foldlog serve`: each is started, watched, restarted when it
exits or stops responding, and stopped.

A child reports over a socket that it inherits (shared/systemd_notify.py) that it is
ready, and then at intervals that it is alive: a worker from its event loop, the
compactor from its main thread. Neither waits for the disk there.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.exit_codes import USAGE
from shared.log import Log
from shared.settings import Settings

# Only time while the supervisor itself was running counts as silence, so that resuming
# a suspended host kills no child.
SILENCE_PER_POLL_MAX_S = 1.0
# Before it is ready a child may be silent this many times longer: a worker may have a
# large segment to recover.
START_TIMEOUT_FACTOR = 10
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0
# A child that ran this long had started well: its next exit starts the backoff anew.
STEADY_S = 60.0
STOP_TIMEOUT_S = 30.0
# A child that crashes in native code writes its Python stack to standard error.
CRASH_ENV = {"PYTHONFAULTHANDLER": "1"}
_MESSAGE_MAX_BYTES = 4096


@dataclass
class Child:
    """One supervised process: its command, when to start it next, and for how long it
    has been silent. `descriptors` are inherited.
    """

    name: str
    command: list[str]
    descriptors: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    backoff_s: float = field(default=BACKOFF_FIRST_S)
    is_ready: bool = False
    silent_s: float = 0.0
    _polled_at: float = 0.0

    def __post_init__(self) -> None:
        self._heartbeats, self._child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heartbeats.setblocking(False)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, log: Log) -> None:
        self._receive()  # drop the messages of the process before this one
        self.is_ready, self.silent_s, self._polled_at = False, 0.0, time.monotonic()
        notify_fd = self._child_end.fileno()
        command = [*self.command, "--supervised", "--notify-fd", str(notify_fd)]
        # The child inherits the blocked signal and unblocks it once it has a handler: a
        # SIGHUP before that would end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, pass_fds=(*self.descriptors, notify_fd), env=os.environ | CRASH_ENV
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.started_at = time.monotonic()
        log.info("child_started", child=self.name, pid=self.process.pid)

    def read_heartbeats(self) -> None:
        """Update `is_ready` and `silent_s` from the messages since the last call."""
        now = time.monotonic()
        self.silent_s += min(now - self._polled_at, SILENCE_PER_POLL_MAX_S)
        self._polled_at = now
        if self._receive():
            self.is_ready, self.silent_s = True, 0.0

    def _receive(self) -> bool:
        """Read all messages. Returns whether one of them was a heartbeat."""
        is_alive = False
        try:
            while message := self._heartbeats.recv(_MESSAGE_MAX_BYTES):
                is_alive = is_alive or message.startswith((b"READY=1", b"WATCHDOG=1"))
        except BlockingIOError:
            return is_alive
        return is_alive

    def kill_unresponsive(self, log: Log) -> None:
        """SIGKILL, the only signal that a hanging process obeys. Events that it had
        acknowledged are on disk.
        """
        if self.process is None:
            return
        log.error(
            "child_stuck",
            child=self.name,
            pid=self.process.pid,
            silent_s=round(self.silent_s),
            reason="no heartbeat; it is killed and restarted, and the events that it had acknowledged are recovered",
        )
        self.silent_s = 0.0  # a process that cannot be killed is logged again after the same time
        self.process.kill()

    def schedule_restart(self, log: Log) -> None:
        """Plan the next start after an exit. The delay doubles until a start lasts."""
        now = time.monotonic()
        if now - self.started_at > STEADY_S:
            self.backoff_s = BACKOFF_FIRST_S
        code = self.process.returncode if self.process else None
        log.error("child_exited", child=self.name, exit_code=code, restart_in_s=self.backoff_s)
        self.process, self.is_ready = None, False
        self.start_at = now + self.backoff_s
        self.backoff_s = min(self.backoff_s * 2, BACKOFF_MAX_S)

    def send(self, number: signal.Signals) -> None:
        if self.is_running() and self.process is not None:
            self.process.send_signal(number)

    def wait(self, deadline: float) -> None:
        """Wait for the exit; kill the process at the deadline (monotonic seconds)."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()  # acknowledged events are on disk; the next start recovers the segment
            self.process.wait()


def make_children(
    settings: Settings, config: str | None, rate_table: int, sockets: Sequence[socket.socket] = ()
) -> list[Child]:
    """The workers, which share the rate table and the inherited sockets; the compactor
    is the last.
    """
    foldlog = [sys.executable, "-m", "foldlog", *(["--config", config] if config else [])]
    listening = tuple(each.fileno() for each in sockets)
    listen_options = [word for number in listening for word in ("--listen-fd", str(number))]
    workers = [
        Child(
            f"ingest-{number}",
            [*foldlog, "ingest", "--writer", str(number), "--rate-table", str(rate_table), *listen_options],
            (rate_table, *listening),
        )
        for number in range(settings.workers)
    ]
    return [*workers, Child("compact", [*foldlog, "compact"])]


def supervise(child: Child, timeout_s: float, log: Log) -> None:
    """One step: start the child when it is due, schedule its restart after an exit, or
    kill it after `timeout_s` of silence.

    Raises SystemExit when it exited because of its configuration: it would do so again.
    """
    if child.is_running():
        child.read_heartbeats()
        if child.silent_s > timeout_s * (1 if child.is_ready else START_TIMEOUT_FACTOR):
            child.kill_unresponsive(log)
    elif child.process is not None:
        if child.process.returncode == USAGE:
            raise SystemExit(USAGE)  # the child has logged the reason
        child.schedule_restart(log)
    elif time.monotonic() >= child.start_at:
        child.start(log)


def stop_in_order(children: list[Child], log: Log) -> None:
    """Workers first, so that the compactor can still fold the segments they seal."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    *workers, compactor = children
    for group in (workers, [compactor]):
        for child in group:
            child.send(signal.SIGTERM)
        for child in group:
            child.wait(deadline)
    log.info("supervisor_stopped")
