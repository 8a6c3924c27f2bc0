"""A proxy on the loopback that loses answers: the server has stored the events and said
so, and the client never hears of it.

It relays bytes as they are and closes both sides instead of passing an answer on, now
and then.
"""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress
from types import TracebackType

_BLOCK = 1 << 16
ACKNOWLEDGED = b"HTTP/1.1 200"


class LossyProxy:
    """Listens on a port of its own while the block runs. `lost` counts the answers 200
    that no client got.
    """

    def __init__(self, port: int, loss: float, seed: int) -> None:
        """`port`: where the server listens. `loss`: which share of the answers is
        lost.
        """
        self._server = ("127.0.0.1", port)
        self._loss = loss
        self._pick = random.Random(seed)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._closing = False
        self.port: int = self._listener.getsockname()[1]
        self.lost = 0

    def __enter__(self) -> LossyProxy:
        threading.Thread(target=self._accept, name="lossy-proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closing = True
            connections = [self._listener, *self._open]
        for connection in connections:
            _end(connection)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, timeout=1)
            except OSError:
                client.close()  # the server is being started again
                continue
            server.settimeout(None)
            self._join(client, server)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        with self._lock:
            self._open |= {client, server}
            if self._closing:
                _end(client)
                _end(server)
        threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
        threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        """What the client says, as it is. The end of either side is the end of both."""
        with suppress(OSError):
            while block := client.recv(_BLOCK):
                server.sendall(block)
        _end(server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        """What the server says, until an answer is to be lost. An answer to a batch is
        one block: it is some 100 bytes.
        """
        with suppress(OSError):
            while (block := server.recv(_BLOCK)) and not self._is_lost(block):
                client.sendall(block)
        _end(client)
        _end(server)
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _is_lost(self, block: bytes) -> bool:
        with self._lock:
            if self._pick.random() >= self._loss:
                return False
            self.lost += block.startswith(ACKNOWLEDGED)
            return True


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
