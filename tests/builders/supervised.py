"""What systemd is to Foldlog, for tests: it holds the listening socket over restarts,
and receives its notifications.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.builders.server import Server
from tests.builders.waiting import TIMEOUT_S

# The descriptor goes to where sd_listen_fds(3) looks for it; LISTEN_PID is known once
# there is a process, which `exec` keeps.
_EXEC = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""
# Python runs it before anything else: a way to make a real worker misbehave.
_MISCHIEF = """
import os, signal, sys, time
if {process!r} in sys.argv:
{code}
"""


class Activated(Server):
    """A `foldlog serve` that inherits its socket, which keeps listening while it is
    restarted.
    """

    def __init__(self, directory: Path, **settings: object) -> None:
        super().__init__(directory, **settings)
        self._port_holder.listen(4096)
        self.inherited = (self._port_holder.fileno(),)

    def command(self) -> list[str]:
        return [sys.executable, "-c", _EXEC, str(self.inherited[0]), *super().command()]


class Listener:
    """The other side of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.heard: list[str] = []

    def listen(self, seconds: float) -> list[str]:
        """The messages within this time, or the first one at once."""
        self._socket.settimeout(seconds)
        try:
            self.heard.append(self._socket.recv(4096).decode("utf-8"))
        except TimeoutError:
            return []
        return self.heard[-1:]

    def until(self, start: str) -> str:
        """The next message that begins so."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            for message in self.listen(1):
                if message.startswith(start):
                    return message
        raise AssertionError(f"no {start} in {self.heard}")

    def forget(self) -> None:
        """Drop every message so far."""
        while self.listen(0.01):
            pass
        self.heard.clear()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def listening(address: str) -> Iterator[Listener]:
    listener = Listener(address)
    try:
        yield listener
    finally:
        listener.close()


def mischief(directory: Path, process: str, code: str) -> dict[str, str]:
    """The environment that has every Foldlog process with this word in its command line
    run `code` first.
    """
    directory.mkdir()
    indented = "".join(f"    {line}\n" for line in code.strip().splitlines())
    (directory / "sitecustomize.py").write_text(_MISCHIEF.format(process=process, code=indented))
    return {"PYTHONPATH": os.pathsep.join([str(directory), *filter(None, [os.environ.get("PYTHONPATH")])])}
