"""The child processes of `foldlog serve`: how each is started, started again when it dies, and stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from foldlog.exits import USAGE
from shared.settings import Settings

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0
# A child that lived this long had started well: its next death is a new one.
STEADY_S = 60.0
STOP_S = 30.0


@dataclass
class Child:
    """One supervised process: how to start it, and when to start it next."""

    name: str
    command: list[str]
    descriptors: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    backoff_s: float = field(default=BACKOFF_FIRST_S)

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, log: Any) -> None:
        # A child inherits what is blocked, and lets SIGHUP through once it handles it: one that came before would end it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, pass_fds=self.descriptors)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self.started_at = time.monotonic()
        log.info("started", child=self.name, pid=self.process.pid)

    def after_death(self, log: Any) -> None:
        """Plan the next start: later each time, until one start has lasted."""
        now = time.monotonic()
        if now - self.started_at > STEADY_S:
            self.backoff_s = BACKOFF_FIRST_S
        code = self.process.returncode if self.process else None
        log.error("died", child=self.name, exit_code=code, restart_in_s=self.backoff_s)
        self.process = None
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


def make_children(settings: Settings, config: str | None, rate_table: int) -> list[Child]:
    """The workers, which count clients in one table, and last the compactor."""
    foldlog = [sys.executable, "-m", "foldlog", *(["--config", config] if config else [])]
    workers = [
        Child(
            f"ingest-{number}",
            [*foldlog, "ingest", "--writer", str(number), "--supervised", "--rate-table", str(rate_table)],
            (rate_table,),
        )
        for number in range(settings.workers)
    ]
    return [*workers, Child("compact", [*foldlog, "compact", "--supervised"])]


def look_after(child: Child, log: Any) -> None:
    if child.is_running():
        return
    if child.process is not None:
        if child.process.returncode == USAGE:
            raise SystemExit(USAGE)  # it has said why, and would say it again
        child.after_death(log)
    elif time.monotonic() >= child.start_at:
        child.start(log)


def stop_in_order(children: list[Child], log: Any) -> None:
    """Workers first: what they seal on their way out is there for the next fold."""
    deadline = time.monotonic() + STOP_S
    *workers, compactor = children
    for group in (workers, [compactor]):
        for child in group:
            child.send(signal.SIGTERM)
        for child in group:
            child.wait(deadline)
    log.info("stopped", child="all")
