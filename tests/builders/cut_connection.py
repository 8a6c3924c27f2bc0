"""A socket in front of a PostgreSQL server that cuts a connection at a chosen message
of the client: before the server gets it, or before the client gets the answer.
"""

from __future__ import annotations

import select
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, quote, urlsplit

_FILE = ".s.PGSQL.5432"
_CHUNK = 1 << 20
Side = Literal["request", "answer"]


class Cut:
    """`address` leads through the socket. `messages` counts what the client sends."""

    def __init__(self, address: str, listener: socket.socket, server: str) -> None:
        self.address = address
        self.messages = 0
        self._listener, self._server = listener, server
        self._at: int | str | None = None
        self._side: Side = "request"
        self._left = 1

    def next_at(self, message: int | str | None, side: Side = "request", occurrence: int = 1) -> None:
        """Cut at this message, counted from 1 over all connections, or at this
        occurrence of those with this text; None: do not.
        """
        self.messages, self._at, self._side, self._left = 0, message, side, occurrence

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            # A publish holds one connection while it uses others.
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(self._server)
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            for ready in select.select([client, server], [], [])[0]:
                content = ready.recv(_CHUNK)
                if not content:
                    return
                if ready is server:
                    client.sendall(content)
                elif not self._is_passed(content, server):
                    return

    def _is_passed(self, content: bytes, server: socket.socket) -> bool:
        self.messages += 1
        is_cut = self._at == self.messages
        if isinstance(self._at, str) and self._at.encode() in content:
            self._left -= 1
            is_cut = self._left == 0
        if is_cut and self._side == "request":
            return False
        server.sendall(content)
        if is_cut:
            select.select([server], [], [], 10)  # it has done what it was asked
            return False
        return True


@contextmanager
def cutting(address: str) -> Iterator[Cut]:
    """In front of the server of this address."""
    host = parse_qs(urlsplit(address).query)["host"][0]
    with tempfile.TemporaryDirectory(prefix="cut-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/{_FILE}")
        listener.listen()
        through = address.replace(quote(host, safe=""), quote(folder, safe=""))
        cut = Cut(through, listener, str(Path(host) / _FILE))
        thread = threading.Thread(target=cut.serve, daemon=True)
        thread.start()
        try:
            yield cut
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
