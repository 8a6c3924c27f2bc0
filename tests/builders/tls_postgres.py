"""A PostgreSQL that takes TLS on a port of the loopback interface, with a certificate
that a root of its own has signed; and a root that has signed nothing.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.builders.postgres import Server, running
from tests.builders.postgres_kinds import give, identity_of_server, required
from tests.builders.programs import missing

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
    if shutil.which("openssl") is None:
        missing("openssl is not installed (Debian: apt-get install openssl)")
    with tempfile.TemporaryDirectory(prefix="tls-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the server is another user where this is root
        for name in ("root", "other"):
            _openssl(
                place, f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt"
            )
        _openssl(place, "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr")
        (place / "names").write_text("subjectAltName=DNS:localhost")
        _openssl(
            place,
            "x509 -req -in server.csr -CA root.crt -CAkey root.key -set_serial 1 -extfile names -out server.crt",
        )
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


def _openssl(place: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=place, check=True, capture_output=True)  # noqa: S607


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
