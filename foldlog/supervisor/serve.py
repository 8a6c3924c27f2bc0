"""`foldlog serve`: runs the ingest workers and the compactor as child processes and
restarts them when they exit.

A child watches its standard input, which closes when this process ends: no child
outlives its supervisor. SIGTERM stops the workers first (they answer, commit and seal),
then the compactor. SIGHUP is forwarded to all of them. SIGUSR1 makes the workers seal,
like `foldlog rotate`.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from filelock import Timeout

from foldlog.supervisor.children import Child, make_children, stop_in_order, supervise
from foldlog.supervisor.signals import flag_of, hangup_flag
from foldlog.supervisor.socket_activation import address_of
from foldlog.supervisor.takeover import take_over_first
from shared.disk.control_files import touch
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.disk.locks import owner_lock
from shared.exit_codes import SUCCESS, TemporaryFailure
from shared.generations.load import load_snapshot
from shared.log import Log
from shared.peers import remove_dead_sockets
from shared.rate_table import make_table
from shared.settings import Settings, reachable_host
from shared.shared_tokens import load_shared_tokens
from shared.systemd_notify import Notifier
from shared.tokens import create_first_admin, read_tokens
from shared.undeclared_proxy import warning

POLL_S = 0.1


class AlreadyServed(TemporaryFailure):
    """Another `serve` runs on this data directory."""


class AddressInUse(TemporaryFailure):
    """Another process listens at the address of this `serve`."""


def serve(
    settings: Settings,
    config: str | None,
    sockets: Sequence[socket.socket],
    notifier: Notifier,
    log: Log,
    *,
    is_announced: bool = True,
) -> int:
    """Run until SIGTERM or SIGINT. Workers accept from `sockets`, which listen already,
    or else listen by themselves. The address is printed, and the first admin token,
    unless something else says how to get in (not `is_announced`).

    Raises AlreadyServed, AddressInUse, SnapshotDamaged, OtherInstance, TakeoverFailed.
    """
    data = DataDirectory(settings.data_dir)
    make_data_directory(data)
    load_snapshot(data)  # reports an unreadable snapshot once, and not at every start of every child
    with serve_lock(data):
        if sockets:
            settings = replace(settings, listen=address_of(sockets[0]))
        else:
            check_address(settings.listen)
        take_over_first(data, settings, config)
        if is_announced:
            announce(data, settings)
        if damage := read_tokens(data).damage:
            log.error("tokens_damaged", path=str(data.tokens), reason=f"{damage}; `foldlog doctor` says what to do")
        remove_dead_sockets(data)
        if text := warning(data, settings):
            log.warning("undeclared_proxy", reason=text)
        _run(data, settings, make_children(settings, config, make_table(), sockets), notifier, log)
    return SUCCESS


def _run(data: DataDirectory, settings: Settings, children: list[Child], notifier: Notifier, log: Log) -> None:
    stop_asked = flag_of(signal.SIGTERM, signal.SIGINT)
    reload_asked = hangup_flag()
    seal_asked = flag_of(signal.SIGUSR1)
    status = Status(notifier, children)
    try:
        while not stop_asked:
            _forward_reload(reload_asked, children, notifier)
            _request_seal(seal_asked, data, log)
            for child in children:
                supervise(child, settings.worker_timeout, log)
            status.report()
            time.sleep(POLL_S)
    finally:
        notifier.stopping()
        stop_in_order(children, log)


def check_address(listen: tuple[str, int]) -> None:
    """Raises AddressInUse. Workers share their port, and the kernel would let workers
    of another data directory share it as well.
    """
    host, port = listen
    try:
        with socket.create_connection((reachable_host(host), port), timeout=1):
            pass
    except OSError:
        return
    raise AddressInUse(f"another process listens on {host}:{port}; stop it, or set FOLDLOG_LISTEN")


class Status:
    """What systemd is told: READY once all children are, heartbeats while the loop
    runs, and the state of the children as text.

    The heartbeats continue while a child hangs: `serve` restarts that child, whereas
    systemd would kill all of them.
    """

    def __init__(self, notifier: Notifier, children: list[Child]) -> None:
        self._notifier = notifier
        self._children = children
        self._reported = ""
        self._is_ready = False

    def report(self) -> None:
        self._notifier.alive()
        *workers, compactor = self._children
        ready = sum(worker.is_ready for worker in workers)
        text = f"{ready} of {len(workers)} workers ready, compactor {'ready' if compactor.is_ready else 'not ready'}"
        if not self._is_ready and all(child.is_ready for child in self._children):
            self._is_ready = True
            self._notifier.ready(text)
        elif text != self._reported:
            self._notifier.status(text)
        self._reported = text


def _forward_reload(asked: list[bool], children: list[Child], notifier: Notifier) -> None:
    if asked:
        notifier.reloading()
        asked.clear()  # before the children are signalled: a SIGHUP that arrives now is for the next round
        for child in children:
            child.send(signal.SIGHUP)
        notifier.reloaded()


def _request_seal(asked: list[bool], data: DataDirectory, log: Log) -> None:
    if asked:
        asked.clear()
        try:
            touch(data.seal_request)  # not SIGUSR1: it would end a worker that has no handler for it yet
        except OSError as error:
            log.warning("seal_request_failed", reason=str(error))


@contextmanager
def serve_lock(data: DataDirectory) -> Iterator[None]:
    """One `serve` per data directory. The lock counts; the content of the file is for
    people. Raises AlreadyServed.
    """

    def sign(descriptor: int) -> None:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} since {since}\n".encode())

    lock = owner_lock(data.serve_lock, 0, sign)
    try:
        lock.acquire()
    except Timeout:
        holder = data.serve_lock.read_text("utf-8").strip() or "another process"
        raise AlreadyServed(f"{data.root} is already served by {holder}; stop it, or set FOLDLOG_DATA_DIR") from None
    try:
        yield
    finally:
        lock.release()


def announce(data: DataDirectory, settings: Settings) -> None:
    """Print the address of the dashboard. On a first start create the admin token and
    print it, this once.
    """
    print(f"Foldlog serves {settings.dashboard} with its data in {data.root}", flush=True)
    has_admin = settings.admin_token or any(
        token.scope == "admin" for token in load_shared_tokens(data, settings.store)
    )
    if not has_admin and (secret := create_first_admin(data)):
        print(f"Admin token, shown once: {secret}\n(lost it? `foldlog token create` makes another)", flush=True)
