"""Sockets in front of the shards of a ClickHouse store, which cut a chosen request:
before the server gets it, in the middle of it, or before the client gets the answer.
Each request of Foldlog is a connection of its own.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Literal

from shared.stores.clickhouse.cluster import Endpoint, parse_cluster

_CHUNK = 1 << 16
Side = Literal["request", "middle", "answer"]
SIDES: tuple[Side, ...] = ("request", "middle", "answer")


class CutRequests:
    """`address` leads through the sockets. `requests` are the first bytes of those that
    came since `next_at`, over all shards.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[bytes] = []
        self._at: int | None = None
        self._side: Side = "request"
        self._living: set[socket.socket] = set()
        self._lock = threading.Lock()

    def next_at(self, number: int | None, side: Side = "request") -> None:
        """Cut this request, counted from 1; None: do not."""
        with self._lock:
            self.requests, self._at, self._side = [], number, side

    def cut_all(self) -> None:
        """Whatever is on its way."""
        with self._lock:
            living = list(self._living)
        for each in living:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve(self, listener: socket.socket, server: Endpoint) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._connect, args=(client, server), daemon=True).start()

    def _connect(self, client: socket.socket, endpoint: Endpoint) -> None:
        with client, suppress(OSError), socket.create_connection(endpoint) as server:
            with self._lock:
                self._living |= {client, server}
            try:
                self._pass_on(client, server)
            finally:
                with self._lock:
                    self._living -= {client, server}

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        if not (first := client.recv(_CHUNK)):
            return
        with self._lock:
            self.requests.append(first)
            side = self._side if len(self.requests) == self._at else None
        if side == "request":
            return
        server.sendall(first)
        while side != "middle":
            for ready in select.select([client, server], [], [])[0]:
                content = ready.recv(_CHUNK)
                if not content or (side == "answer" and ready is server):
                    return
                (client if ready is server else server).sendall(content)


@contextmanager
def cutting(address: str) -> Iterator[CutRequests]:
    """In front of the shards of this address."""
    cluster = parse_cluster(address)
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in cluster.shards]
        cut = CutRequests(_through(address, cluster.shards, listeners))
        threads = [
            threading.Thread(target=cut.serve, args=each, daemon=True)
            for each in zip(listeners, cluster.shards, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            yield cut
        finally:
            for listener in listeners:
                listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)


def _through(address: str, shards: Sequence[Endpoint], listeners: Sequence[socket.socket]) -> str:
    ports = ",".join(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners)
    return address.replace(",".join(map(str, shards)), ports)
