"""The child processes of `foldlog serve`: each is started, watched, started again when
it dies or stands still, and stopped.

A child reports that it is ready, and then at intervals that it is alive, over a socket
that it is started with (shared/systemd_notify.py): a worker from its event loop, the
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

# Signs of life are due twice in this share of FOLDLOG_WORKER_TIMEOUT.
WATCHDOG_SHARE = 0.5
# Silence counts while this process looks: what both slept through, as a machine that
# was suspended, is nobody's fault.
LOOK_MAX_S = 1.0
START_PATIENCE = 10
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0
# A child that lived this long had started well: its next death is a new one.
STEADY_S = 60.0
STOP_S = 30.0
# One that a library takes down says on standard error where it was.
LAST_WORDS = {"PYTHONFAULTHANDLER": "1"}
_MESSAGE_BYTES = 4096


@dataclass
class Child:
    """One supervised process: how to start it, when to start it next, and for how long
    it has been silent.
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
    _looked_at: float = 0.0

    def __post_init__(self) -> None:
        self._hears, self._says = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._hears.setblocking(False)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, log: Log) -> None:
        self._listen()  # whatever its predecessor said
        self.is_ready, self.silent_s, self._looked_at = False, 0.0, time.monotonic()
        says = self._says.fileno()
        command = [*self.command, "--supervised", "--notify-fd", str(says)]
        # A child inherits what is blocked, and lets SIGHUP through once it handles it:
        # one that came before would end it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, pass_fds=(*self.descriptors, says), env=os.environ | LAST_WORDS
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self.started_at = time.monotonic()
        log.info("child_started", child=self.name, pid=self.process.pid)

    def hear(self) -> None:
        """Take what it says of itself."""
        now = time.monotonic()
        self.silent_s += min(now - self._looked_at, LOOK_MAX_S)
        self._looked_at = now
        if self._listen():
            self.is_ready, self.silent_s = True, 0.0

    def _listen(self) -> bool:
        """Whether a sign of life has come since the last look."""
        heard = False
        try:
            while message := self._hears.recv(_MESSAGE_BYTES):
                heard = heard or message.startswith((b"READY=1", b"WATCHDOG=1"))
        except BlockingIOError:
            return heard
        return heard

    def kill_stuck(self, log: Log) -> None:
        """SIGKILL, the only signal that a process that stands still obeys. What it
        acknowledged is on disk.
        """
        if self.process is None:
            return
        log.error(
            "child_stuck",
            child=self.name,
            pid=self.process.pid,
            silent_s=round(self.silent_s),
            reason="it shows no sign of life; it is killed and started again, and what it had acknowledged is recovered",
        )
        self.silent_s = 0.0  # one that cannot even be killed is said again after as long
        self.process.kill()

    def after_death(self, log: Log) -> None:
        """Plan the next start: later each time, until one start has lasted."""
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
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()  # what it had acknowledged is on disk; the next start recovers its segment
            self.process.wait()


def make_children(
    settings: Settings, config: str | None, rate_table: int, sockets: Sequence[socket.socket] = ()
) -> list[Child]:
    """The workers, which count clients in one table and accept from the same sockets if
    there are any; last the compactor.
    """
    foldlog = [sys.executable, "-m", "foldlog", *(["--config", config] if config else [])]
    listening = tuple(each.fileno() for each in sockets)
    shared = [word for number in listening for word in ("--listen-fd", str(number))]
    workers = [
        Child(
            f"ingest-{number}",
            [*foldlog, "ingest", "--writer", str(number), "--rate-table", str(rate_table), *shared],
            (rate_table, *listening),
        )
        for number in range(settings.workers)
    ]
    return [*workers, Child("compact", [*foldlog, "compact"])]


def look_after(child: Child, timeout_s: float, log: Log) -> None:
    """Start what does not run when its time has come, and kill what has been silent for
    longer than `timeout_s`.

    Before it is ready it has longer: a worker may have a large segment to recover, and
    does not speak meanwhile.
    """
    if child.is_running():
        child.hear()
        if child.silent_s > timeout_s * (1 if child.is_ready else START_PATIENCE):
            child.kill_stuck(log)
    elif child.process is not None:
        if child.process.returncode == USAGE:
            raise SystemExit(USAGE)  # it has said why, and would say it again
        child.after_death(log)
    elif time.monotonic() >= child.start_at:
        child.start(log)


def stop_in_order(children: list[Child], log: Log) -> None:
    """Workers first: what they seal on their way out is there for the next fold."""
    deadline = time.monotonic() + STOP_S
    *workers, compactor = children
    for group in (workers, [compactor]):
        for child in group:
            child.send(signal.SIGTERM)
        for child in group:
            child.wait(deadline)
    log.info("supervisor_stopped")
