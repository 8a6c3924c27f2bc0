"""A server that answers each request with the same bytes, whatever was asked."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def saying(content: bytes, certificates: Path | None = None, *, is_hasty: bool = False) -> Iterator[int]:
    """Gives the port; over TLS with the certificate of this folder. `is_hasty`: it
    answers after the head of a request, and takes no more.
    """
    context = None
    if certificates:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, content, context, is_hasty), daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def ok(body: bytes, length: int | None = None) -> bytes:
    """An HTTP answer; `length` is what it says, where that is another one."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body


def _serve(listener: socket.socket, content: bytes, context: ssl.SSLContext | None, is_hasty: bool) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # closed
        with client, suppress(OSError):
            client.settimeout(10)
            secure = context.wrap_socket(client, server_side=True) if context else client
            with secure:
                _read_request(secure, is_hasty)
                secure.sendall(content)
                if is_hasty:
                    secure.shutdown(socket.SHUT_WR)
                    time.sleep(0.2)


def _read_request(client: socket.socket, is_hasty: bool) -> None:
    """All of it: who closes before that may take the answer back."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += client.recv(1 << 16)
    head, _, body = got.partition(b"\r\n\r\n")
    if is_hasty:
        return
    length = re.search(rb"Content-Length: (\d+)", head)
    while len(body) < int(length[1]) if length else not body.endswith(b"0\r\n\r\n"):
        body += client.recv(1 << 16)
