"""Listening sockets that this process was started with: sd_listen_fds(3), or the
descriptors that `foldlog serve` hands on.

Whoever holds the socket, systemd for one, keeps it while Foldlog is started anew.
Connections that come meanwhile wait in it.
"""

from __future__ import annotations

import socket
from collections.abc import MutableMapping, Sequence

from shared.settings import SettingsError

FIRST = 3


def inherited_sockets(
    environ: MutableMapping[str, str], pid: int, handed_on: Sequence[int] = ()
) -> list[socket.socket]:
    """The sockets to accept from; none: FOLDLOG_LISTEN says where to listen. Raises
    SettingsError for what is no such socket.

    The variables are taken out: they are not meant for children.
    """
    for_whom, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not handed_on and for_whom == str(pid) and count.isdecimal():
        handed_on = range(FIRST, FIRST + int(count))
    return [_listening(descriptor) for descriptor in handed_on]


def address_of(inherited: socket.socket) -> tuple[str, int]:
    host, port = inherited.getsockname()[:2]
    return str(host), int(port)


def _listening(descriptor: int) -> socket.socket:
    refusal = SettingsError(
        f"the inherited descriptor {descriptor} is no listening TCP socket. "
        "A socket unit for Foldlog has ListenStream=host:port and Accept=no."
    )
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        raise refusal from None
    is_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
    if not is_tcp or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.close()
        raise refusal
    found.set_inheritable(False)
    found.setblocking(False)
    return found
