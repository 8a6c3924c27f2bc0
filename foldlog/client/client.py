"""`Client`: what a program calls. See `foldlog.client` and docs/senders.md."""

from __future__ import annotations

import atexit
import os
import ssl
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from foldlog.client.answer import Refusal
from foldlog.client.batch_file import BATCH_BYTES
from foldlog.client.delivery import Delivery
from foldlog.client.event import encode
from foldlog.client.sender import Sender
from foldlog.client.spool import Spool


class Client:
    """Sends events with a key. For all threads of a process, and for its forks.

    `spool`: a directory for this server and key alone; processes may share it.
    `consent`: "granted" says that each visitor of whom you track an event has agreed;
    without it the server needs FOLDLOG_CONSENT=implied.
    `site`: that of events which name none.
    `max_bytes`: of the spool; beyond it `track` raises SpoolFull.
    `interval_s`: how long events gather to a batch.
    `exit_timeout_s`: how long the end of the process may take for a last sending.
    `fsync`: sync each event, so that it also outlives the machine's power.
    `on_refused`: called in the sender's thread with what the server refused for good;
    without it the log `foldlog.client` says so.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        spool: str | os.PathLike[str],
        consent: Literal["granted"] | None = None,
        site: str | None = None,
        max_bytes: int = 64 << 20,
        interval_s: float = 1.0,
        timeout_s: float = 10.0,
        exit_timeout_s: float = 5.0,
        fsync: bool = False,
        on_refused: Callable[[Refusal], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if consent not in ("granted", None):
            raise ValueError('consent is "granted" or None; an event without consent is not tracked')
        if max_bytes < 2 * BATCH_BYTES:
            raise ValueError(f"max_bytes must be {2 * BATCH_BYTES:,} at least")
        self._spool = Spool(Path(spool), consent=consent, max_bytes=max_bytes, fsync=fsync)
        self._make_sender: Callable[[], Sender] = lambda: Sender(
            self._spool, Delivery(url, key, timeout_s=timeout_s, tls=tls), interval_s, on_refused
        )
        self._site = site
        self._exit_timeout_s = exit_timeout_s
        self._is_closed = False
        self._starting = threading.Lock()
        self._sender: Sender | None = None
        self._start()  # also without an event of its own: it sends what an earlier process left
        _CLIENTS.add(self)
        atexit.register(self.close)

    def track(
        self,
        name: str,
        *,
        id: str | None = None,
        time: datetime | int | None = None,
        visitor: str | None = None,
        session: str | None = None,
        url: str | None = None,
        referrer: str | None = None,
        value: float | None = None,
        props: Mapping[str, str | float | bool | None] | None = None,
        site: str | None = None,
        client: Mapping[str, str] | None = None,
    ) -> str:
        """Keep one event, and return its id. The fields are those of docs/api.md.

        It is in a file when this returns. Raises ValueError or TypeError for what can
        be no event, SpoolFull if there is no room for it, OSError if the disk fails.
        """
        if self._is_closed:
            raise ValueError("the client is closed")
        given: dict[str, Any] = {
            "name": name, "id": uuid.uuid4().hex if id is None else id, "time": time, "visitor": visitor,
            "session": session, "url": url, "referrer": referrer, "value": value, "props": props,
            "site": site or self._site, "client": client,
        }  # fmt: skip
        is_new = self._spool.append(encode(given))
        sender = self._sender or self._start()
        if is_new:
            sender.nudge()
        return str(given["id"])

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send now. True if the server has answered for everything, False if the time
        is over; then the events are in the spool, and are sent later. A Retry-After is
        waited for. What another process has in hand is not.
        """
        return (self._sender or self._start()).flush(timeout_s)

    def close(self, timeout_s: float | None = None) -> bool:
        """Send what the server takes now, and end the thread; at the end of the process
        this happens by itself. True if nothing is left; what is left is sent by the
        next process with this spool.
        """
        if self._is_closed:
            return True
        self._is_closed = True
        atexit.unregister(self.close)
        _CLIENTS.discard(self)
        is_done = self._sender is None or self._sender.close(self._exit_timeout_s if timeout_s is None else timeout_s)
        self._spool.seal()
        return is_done

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> Sender:
        with self._starting:
            if self._sender is None:
                sender = self._make_sender()
                sender.start()
                self._sender = sender
            return self._sender

    def _forked(self) -> None:
        """In the child: no thread of the parent is here, and its files are not ours."""
        self._spool.forget()
        self._starting = threading.Lock()
        self._sender = None


_CLIENTS: weakref.WeakSet[Client] = weakref.WeakSet()
_FORKING = threading.Lock()  # one thread forks at a time, and `_held` is its own
_held: list[threading.Lock] = []


def _before_fork() -> None:
    _FORKING.acquire()
    for client in list(_CLIENTS):
        client._spool.lock.acquire()
        _held.append(client._spool.lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _FORKING.release()


def _after_fork_in_child() -> None:
    for client in list(_CLIENTS):
        client._forked()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
