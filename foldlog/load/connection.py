"""A connection of the load generator."""

from __future__ import annotations

import socket
import time

CONNECT_TIMEOUT_S = 5.0


class Connection:
    """A keep-alive connection with at most one request in flight, which was `due` at
    that second of the run.
    """

    __slots__ = ("answer", "blocked", "busy", "due", "request", "socket", "unsent", "used_at")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, CONNECT_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.answer = b""
        self.due = 0.0
        self.request = b""
        self.unsent = b""
        self.busy = False
        self.blocked = False
        self.used_at = time.perf_counter()
