"""Whether a client takes what it is sent: something within STILL_S, and at least
SEND_MIN_RATE over SEND_WINDOW_S, while more waits for it. By rate, because a client
that takes a byte every few seconds moves as well, and holds what makes its answer.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

STILL_S = 20.0
SEND_WINDOW_S = 40.0
# Bytes a second: enough for a phone on a bad line.
SEND_MIN_RATE = 1024
_TCP_INFO_BYTES = 128
_BYTES_ACKED = struct.Struct("@120xQ")  # tcpi_bytes_acked of struct tcp_info


class SendProgress:
    """How much of what it was sent one connection has taken, since when."""

    __slots__ = ("_moved_at", "_since", "_taken", "_taken_before", "_unsent")

    def __init__(self) -> None:
        self._since = self._moved_at = 0.0
        self._taken = self._taken_before = self._unsent = 0

    def has_stalled(self, transport: Any, now: float) -> bool:
        """Whether the client was too slow until `now`, in seconds. To be asked once a
        second.
        """
        unsent = transport.get_write_buffer_size()
        if not unsent:
            self._since = 0.0
            return False
        taken = _bytes_acked(transport)
        if not self._since or taken - self._taken_before >= SEND_MIN_RATE * SEND_WINDOW_S:
            self._since, self._taken_before = now, taken
        if self._since == now or (taken, unsent) != (self._taken, self._unsent):
            self._taken, self._unsent, self._moved_at = taken, unsent, now
        counts = taken > 0  # else it is no TCP, and must only move
        return self._moved_at < now - STILL_S or (counts and self._since < now - SEND_WINDOW_S)


def _bytes_acked(transport: Any) -> int:
    """How many bytes the client's system has confirmed; 0 if the socket does not count
    them.
    """
    try:
        found = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(_BYTES_ACKED.unpack(found)[0])
    except (AttributeError, OSError, struct.error):
        return 0
