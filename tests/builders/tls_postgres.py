"""A PostgreSQL that takes TLS on a port of the loopback interface, with a certificate
that a root of its own has signed; and a root that has signed nothing.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.builders.certificates import make_certificates
from tests.builders.postgres import Server, running
from tests.builders.postgres_kinds import give, identity_of_server, required

PASSWORD = "password-of-the-tests"  # noqa: S105


class TlsServer(NamedTuple):
    """`root` has signed the certificate of `server`, which is for "localhost"."""

    server: Server
    port: int
    root: Path
    other_root: Path

    def address(self, root: Path, host: str = "localhost") -> str:
        """Of a new database, to be reached over TLS alone. `host`: "localhost" or
        "127.0.0.1".
        """
        name = self.server.database().split("/")[3].split("?")[0]
        checks = f"sslmode=verify-full&sslrootcert={root}"
        return f"postgresql://foldlog:{PASSWORD}@{host}:{self.port}/{name}?{checks}"


@contextmanager
def tls_server() -> Iterator[TlsServer]:
    with tempfile.TemporaryDirectory(prefix="tls-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the server is another user where this is root
        make_certificates(place)
        (place / "server.key").chmod(0o600)
        give([place / "server.key"], identity_of_server())
        port = _free_port()
        settings = {
            "ssl": "on",
            "ssl_cert_file": str(place / "server.crt"),
            "ssl_key_file": str(place / "server.key"),
            "listen_addresses": "127.0.0.1",
            "port": str(port),
        }
        with running(required("system"), quick=True, settings=settings) as server:
            server.url += f"&port={port}"
            yield TlsServer(server, port, place / "root.crt", place / "other.crt")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
