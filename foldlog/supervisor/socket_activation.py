"""Listening sockets that this process inherited: by sd_listen_fds(3), or as descriptors
that `foldlog serve` passes to its workers.

The holder of the socket, such as systemd, keeps it open while Foldlog restarts. New
connections wait in it meanwhile.
"""

from __future__ import annotations

import socket
from collections.abc import MutableMapping, Sequence

from shared.settings import SettingsError

FIRST_DESCRIPTOR = 3


def inherited_sockets(environ: MutableMapping[str, str], pid: int, passed: Sequence[int] = ()) -> list[socket.socket]:
    """The sockets to accept from; empty when FOLDLOG_LISTEN decides. Raises
    SettingsError for a descriptor that is not a listening TCP socket.

    Removes the variables, which are not meant for children of this process.
    """
    meant_for, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not passed and meant_for == str(pid) and count.isdecimal():
        passed = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))
    return [_listening_socket(descriptor) for descriptor in passed]


def address_of(inherited: socket.socket) -> tuple[str, int]:
    host, port = inherited.getsockname()[:2]
    return str(host), int(port)


def _listening_socket(descriptor: int) -> socket.socket:
    rejection = SettingsError(
        f"the inherited descriptor {descriptor} is not a listening TCP socket. "
        "A socket unit for Foldlog has ListenStream=host:port and Accept=no."
    )
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        raise rejection from None
    is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
    if not is_tcp or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.close()
        raise rejection
    found.set_inheritable(False)
    found.setblocking(False)
    return found
