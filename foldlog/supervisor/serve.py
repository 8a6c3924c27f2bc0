"""`foldlog serve`: the ingest workers and the compactor as child processes, started
again when they die.

A child watches its standard input, which ends when this process does: nothing keeps
running without a supervisor. SIGTERM stops the workers first (they answer, commit and
seal), then the compactor. SIGHUP is passed on to all of them. SIGUSR1 has the workers
seal, as `foldlog rotate` does.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from filelock import Timeout, UnixFileLock

from foldlog.supervisor.children import Child, look_after, make_children, stop_in_order
from foldlog.supervisor.socket_activation import address_of
from shared.disk.control_files import touch
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.exit_codes import DONE, TemporaryFailure
from shared.generations.load import load_snapshot
from shared.log import Log
from shared.peers import remove_dead_sockets
from shared.rate_table import make_table
from shared.settings import Settings
from shared.systemd_notify import Notifier
from shared.tokens import create_token, load_tokens
from shared.undeclared_proxy import warning

POLL_S = 0.1


class AlreadyServed(TemporaryFailure):
    """Another `serve` holds this data directory."""


class AddressInUse(TemporaryFailure):
    """Something answers where this `serve` would listen."""


def serve(
    settings: Settings, config: str | None, sockets: Sequence[socket.socket], notifier: Notifier, log: Log
) -> int:
    """Run until SIGTERM or SIGINT. With `sockets`, which listen already, workers accept
    from them. Raises AlreadyServed.
    """
    data = DataDirectory(settings.data_dir)
    make_data_directory(data)
    load_snapshot(data)  # a snapshot that cannot be read is said here, once, and not by every child again and again
    with serve_lock(data):
        if sockets:
            settings = replace(settings, listen=address_of(sockets[0]))
        else:
            check_address(settings.listen)
        announce(data, settings)
        remove_dead_sockets(data)
        if text := warning(data, settings):
            log.warning("undeclared_proxy", reason=text)
        stopping = _stop_flag()
        hung_up = _hangup_flag()
        asked_to_seal = _flag_of(signal.SIGUSR1)
        children = make_children(settings, config, make_table(), sockets)
        state = State(notifier, children)
        try:
            while not stopping:
                _pass_on(hung_up, children, notifier)
                _ask_to_seal(asked_to_seal, data, log)
                for child in children:
                    look_after(child, settings.worker_timeout, log)
                state.tell()
                time.sleep(POLL_S)
        finally:
            notifier.stopping()
            stop_in_order(children, log)
    return DONE


def check_address(listen: tuple[str, int]) -> None:
    """Workers share their port, and the system would let those of another directory
    share it, too. Raises AddressInUse.
    """
    host, port = listen
    try:
        with socket.create_connection(({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port), timeout=1):  # noqa: S104
            pass
    except OSError:
        return
    raise AddressInUse(f"something listens on {host}:{port} already; stop it, or set FOLDLOG_LISTEN")


class State:
    """What systemd hears: ready once everything is, signs of life while this loop
    turns, and in words how the children are.

    A child that stands still is no reason to be silent: `serve` replaces it, and
    systemd would end those that work, too.
    """

    def __init__(self, notifier: Notifier, children: list[Child]) -> None:
        self._notifier = notifier
        self._children = children
        self._said = ""
        self._is_ready = False

    def tell(self) -> None:
        self._notifier.alive()
        *workers, compactor = self._children
        listen = sum(worker.is_ready for worker in workers)
        words = f"{listen} of {len(workers)} workers take events, the compactor {'runs' if compactor.is_ready else 'does not run'}"
        if not self._is_ready and all(child.is_ready for child in self._children):
            self._is_ready = True
            self._notifier.ready(words)
        elif words != self._said:
            self._notifier.status(words)
        self._said = words


def _pass_on(hung_up: list[bool], children: list[Child], notifier: Notifier) -> None:
    if hung_up:
        notifier.reloading()
        hung_up.clear()  # before they are told: one that comes now is for the next round
        for child in children:
            child.send(signal.SIGHUP)
        notifier.reloaded()


def _ask_to_seal(asked: list[bool], data: DataDirectory, log: Log) -> None:
    if asked:
        asked.clear()
        try:
            touch(data.seal_request)  # not the signal again: it would end a worker that does not handle it yet
        except OSError as error:
            log.warning("seal_request_failed", reason=str(error))


@contextmanager
def serve_lock(data: DataDirectory) -> Iterator[None]:
    """One `serve` per data directory. The file's content is for people; the lock on it
    is what counts.
    """

    def sign(descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.write(
            descriptor, f"process {os.getpid()} since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n".encode()
        )

    lock = UnixFileLock(data.serve_lock, fallback_to_soft=False, on_acquired=sign)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = data.serve_lock.read_text("utf-8").strip() or "another process"
        raise AlreadyServed(
            f"{data.root} is served by {holder} already; stop that one, or set FOLDLOG_DATA_DIR"
        ) from None
    try:
        yield
    finally:
        lock.release()


def announce(data: DataDirectory, settings: Settings) -> None:
    """Say where the dashboard is. On a first start make the admin token and show it,
    this once.
    """
    print(f"Foldlog serves {settings.dashboard} with its data in {data.root}", flush=True)
    has_admin = settings.admin_token or any(token.scope == "admin" for token in load_tokens(data))
    if not has_admin:
        _, secret = create_token(data, "admin")
        print(f"Admin token, shown once: {secret}\n(lost it? `foldlog token create` makes another)", flush=True)


def _stop_flag() -> list[bool]:
    """Empty until a signal asks to stop."""
    return _flag_of(signal.SIGTERM, signal.SIGINT)


def _flag_of(*numbers: signal.Signals) -> list[bool]:
    """Empty until one of these signals comes."""
    flag: list[bool] = []

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        flag.append(True)

    for number in numbers:
        signal.signal(number, on_signal)
    return flag


def _hangup_flag() -> list[bool]:
    """Empty until SIGHUP is to be passed on. What this process does at one itself
    (shared/log.py), it still does.
    """
    hung_up: list[bool] = []
    own = signal.getsignal(signal.SIGHUP)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if callable(own):
            own(number, frame)
        hung_up.append(True)

    signal.signal(signal.SIGHUP, on_signal)
    return hung_up
