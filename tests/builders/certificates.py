"""Certificates for servers of tests: one for "localhost" that a root of its own has
signed, and a root that has signed nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.builders.programs import missing


def make_certificates(place: Path) -> None:
    """Write `server.crt` and `server.key`, `root.crt`, which has signed it, and
    `other.crt`. Skips the test without openssl, or fails it in CI.
    """
    if shutil.which("openssl") is None:
        missing("openssl is not installed (Debian: apt-get install openssl)")
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


def _openssl(place: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=place, check=True, capture_output=True)  # noqa: S607
