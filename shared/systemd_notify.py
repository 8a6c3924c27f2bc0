"""Reporting the state of this process to its parent by sd_notify(3): datagrams of lines
such as READY=1.

systemd passes its socket in NOTIFY_SOCKET and the timeout of its watchdog in
WATCHDOG_USEC; `foldlog serve` passes its children a descriptor. Without either nothing
is sent.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import MutableMapping
from contextlib import suppress

SEND_S = 1
_SEND_TIMEOUT = struct.pack("@ll", SEND_S, 0)  # struct timeval


class Notifier:
    """`watchdog_s`: the parent acts after so many seconds without a heartbeat; 0 if it
    never does.
    """

    def __init__(self, peer: socket.socket | None = None, watchdog_s: float = 0.0) -> None:
        self._peer = peer
        self.interval_s = watchdog_s / 2
        self._alive_at = float("-inf")
        self._is_ready = False
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)

    def ready(self, status: str) -> None:
        """The process is in service. `status` is a line for people."""
        self._is_ready = True
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """The heartbeat, called repeatedly by the watched loop. Sends twice per
        watchdog timeout, and never blocks.
        """
        now = time.monotonic()
        if self.interval_s and now - self._alive_at >= self.interval_s:
            self._alive_at = now
            self._send("WATCHDOG=1", socket.MSG_DONTWAIT)

    def reloading(self) -> None:
        """A reload by SIGHUP has started; `reloaded` ends it."""
        if self._is_ready:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        if self._is_ready:
            self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str, flags: int = 0) -> None:
        if self._peer is not None:
            with suppress(OSError):  # the parent is gone or does not read: not a reason to stop
                self._peer.send(message.encode("utf-8"), flags)


def from_environment(environ: MutableMapping[str, str], pid: int) -> Notifier:
    """The notifier for systemd. Removes its variables from `environ`, so that children
    do not inherit them.
    """
    address = environ.pop("NOTIFY_SOCKET", "")
    for_whom, usec = environ.pop("WATCHDOG_PID", ""), environ.pop("WATCHDOG_USEC", "")
    if not address.startswith(("/", "@")):
        return Notifier()
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        peer.connect("\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        peer.close()
        return Notifier()
    is_meant = for_whom in ("", str(pid)) and usec.isdecimal()
    return Notifier(peer, int(usec) / 1e6 if is_meant else 0.0)


def from_descriptor(descriptor: int, watchdog_s: float) -> Notifier:
    """The notifier for a connected datagram socket that the parent created."""
    return Notifier(socket.socket(fileno=descriptor), watchdog_s)
