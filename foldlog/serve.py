"""`foldlog serve`: the ingest workers and the compactor as child processes, started again when they die.

A child watches its standard input, which ends when this process does: nothing keeps running without a supervisor. SIGTERM
stops the workers first (they answer, commit and seal), then the compactor. SIGHUP is passed on to all of them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from filelock import Timeout, UnixFileLock

from foldlog.exits import DONE, USAGE
from ingest.keyring import create_token, load_tokens
from ingest.peers import forget_dead_workers
from ingest.proxy_watch import warning
from ingest.rate_limit import make_table
from shared.layout import DataDirectory
from shared.publish import make_data_directory
from shared.settings import Settings
from shared.snapshot import load

POLL_S = 0.1
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0
# A child that lived this long had started well: its next death is a new one.
STEADY_S = 60.0
STOP_S = 30.0


class AlreadyServed(Exception):
    """Another `serve` holds this data directory."""


class AddressInUse(Exception):
    """Something answers where this `serve` would listen."""


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


def serve(settings: Settings, config: str | None, log: Any) -> int:
    """Run until SIGTERM or SIGINT. Raises AlreadyServed."""
    data = DataDirectory(settings.data_dir)
    make_data_directory(data)
    load(data)  # a snapshot that cannot be read is said here, once, and not by every child again and again
    with serve_lock(data):
        check_address(settings.listen)
        announce(data, settings)
        forget_dead_workers(data)
        if text := warning(data, settings):
            log.warning("one_address", reason=text)
        stopping = _stop_flag()
        hung_up = _hangup_flag()
        children = make_children(settings, config, make_table())
        try:
            while not stopping:
                _pass_on(hung_up, children)
                for child in children:
                    _look_after(child, log)
                time.sleep(POLL_S)
        finally:
            stop_in_order(children, log)
    return DONE


def check_address(listen: tuple[str, int]) -> None:
    """Workers share their port, and the system would let those of another directory share it, too. Raises AddressInUse."""
    host, port = listen
    try:
        with socket.create_connection(({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port), timeout=1):  # noqa: S104
            pass
    except OSError:
        return
    raise AddressInUse(f"something listens on {host}:{port} already; stop it, or set FOLDLOG_LISTEN")


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


def _look_after(child: Child, log: Any) -> None:
    if child.is_running():
        return
    if child.process is not None:
        if child.process.returncode == USAGE:
            raise SystemExit(USAGE)  # it has said why, and would say it again
        child.after_death(log)
    elif time.monotonic() >= child.start_at:
        child.start(log)


def _pass_on(hung_up: list[bool], children: list[Child]) -> None:
    if hung_up:
        hung_up.clear()  # before they are told: one that comes now is for the next round
        for child in children:
            child.send(signal.SIGHUP)


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


@contextmanager
def serve_lock(data: DataDirectory) -> Iterator[None]:
    """One `serve` per data directory. The file's content is for people; the lock on it is what counts."""

    def sign(descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n".encode())

    lock = UnixFileLock(data.serve_lock, fallback_to_soft=False, on_acquired=sign)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = data.serve_lock.read_text("utf-8").strip() or "another process"
        raise AlreadyServed(f"{data.root} is served by {holder} already; stop that one, or set FOLDLOG_DATA_DIR") from None
    try:
        yield
    finally:
        lock.release()


def announce(data: DataDirectory, settings: Settings) -> None:
    """Say where the dashboard is. On a first start make the admin token and show it, this once."""
    print(f"Foldlog serves {settings.dashboard} with its data in {data.root}", flush=True)
    has_admin = settings.admin_token or any(token.scope == "admin" for token in load_tokens(data))
    if not has_admin:
        _, secret = create_token(data, "admin")
        print(f"Admin token, shown once: {secret}\n(lost it? `foldlog token create` makes another)", flush=True)


def _stop_flag() -> list[bool]:
    """Empty until a signal asks to stop."""
    stopping: list[bool] = []

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stopping.append(True)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stopping


def _hangup_flag() -> list[bool]:
    """Empty until SIGHUP is to be passed on. What this process does at one itself (foldlog/log.py), it still does."""
    hung_up: list[bool] = []
    own = signal.getsignal(signal.SIGHUP)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if callable(own):
            own(number, frame)
        hung_up.append(True)

    signal.signal(signal.SIGHUP, on_signal)
    return hung_up
