"""A real Caddy, configured as docs/deploy-caddy.md says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.builders.nginx import SITE_PAGE
from tests.builders.pages import fenced, page
from tests.builders.proxy import (
    HOST,
    Proxy,
)
from tests.builders.waiting import TIMEOUT_S

PAGE = "docs/deploy-caddy.md"
SITE, WHO_MAY = fenced(page(PAGE), "caddy")


def program() -> str:
    """Caddy's path. Without one the test is skipped; where CI is "true" it fails."""
    found = shutil.which("caddy")
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("caddy is not installed")
    return found


class Caddy(Proxy):
    """One Caddy on a port of its own, with everything it writes in `directory`, that
    passes requests on to `upstream`.
    """

    def __init__(self, directory: Path, upstream: str, site: str = SITE) -> None:
        self._program = program()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.access_log = directory / "access.log"
        self.messages = directory / "caddy.stderr"
        self._file = directory / "Caddyfile"
        # Caddy keeps what it remembers under the home directory.
        self.environ = {"HOME": str(directory), "PATH": os.environ.get("PATH", "")}
        (directory / "www").mkdir(parents=True)
        (directory / "www" / "index.html").write_bytes(SITE_PAGE)
        places = {
            "{\n\tservers {": f"{{\n\tadmin off\n\thttp_port {self.port}\n\tservers {{",
            "\nexample.com {": f"\nhttp://{HOST} {{\n\tbind 127.0.0.1",
            ":80, :443 {": "http:// {\n\tbind 127.0.0.1",
            "127.0.0.1:8080": upstream,
            "/var/log/caddy": str(directory),
            "/var/www/example.com": str(directory / "www"),
        }
        for documented, here in places.items():
            assert documented in site, f"{PAGE} has no {documented!r} any more"
            site = site.replace(documented, here)
        self._file.write_text(site)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._program, *arguments, "--config", str(self._file)]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    def command(self) -> list[str]:
        return [self._program, "run", "--config", str(self._file)]
