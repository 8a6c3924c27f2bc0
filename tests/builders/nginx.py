"""A real nginx, configured as docs/deploy-nginx.md says."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.builders.pages import fenced, page
from tests.builders.proxy import Proxy

PAGE = "docs/deploy-nginx.md"
SITE, INSIDE, SHORTENED = fenced(page(PAGE), "nginx")
SITE_PAGE = b"the site itself"


# What nginx keeps under /var and /run unless told otherwise. The paths are relative to
# the directory given with -p.
AROUND = """
pid nginx.pid;
error_log error.log;
events {}
http {
    access_log default-access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}
"""


def program() -> str:
    """nginx's path. Without one the test is skipped; where CI is "true" it fails."""
    # Debian has it in /usr/sbin, which is not on every user's path.
    found = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("nginx is not installed, and CI=true asks for every component")
    if found is None:
        pytest.skip("nginx is not installed")
    return found


class Nginx(Proxy):
    """One nginx on a port of its own, with everything it writes in `directory`, that
    passes requests on to `upstream`.
    """

    def __init__(self, directory: Path, upstream: str, site: str = SITE) -> None:
        self._program = program()
        # Bound and not listening, for as long as this object lives: no other process is
        # given the port.
        self._port_holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._port_holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port_holder.bind(("127.0.0.1", 0))
        self.port: int = self._port_holder.getsockname()[1]
        self._directory = directory
        self.access_log = directory / "access.log"
        self.error_log = directory / "error.log"
        self.messages = directory / "nginx.stderr"
        directory.mkdir()
        www = directory / "www"
        www.mkdir()
        (www / "index.html").write_bytes(SITE_PAGE)
        places = {
            "server 127.0.0.1:8080;": f"server {upstream};",
            "listen 80;": f"listen 127.0.0.1:{self.port};",
            "listen [::]:80;": f"listen 127.0.0.9:{self.port};",  # not every machine that runs tests has IPv6
            "listen 80 default_server;": f"listen 127.0.0.1:{self.port} default_server;",
            "listen [::]:80 default_server;": f"listen 127.0.0.9:{self.port} default_server;",
            "listen 443 ssl default_server;": f"listen 127.0.0.10:{self.port} ssl default_server;",
            "listen [::]:443 ssl default_server;": f"listen 127.0.0.11:{self.port} ssl default_server;",
            "/var/www/example.com": str(www),
            "/var/log/nginx": str(directory),
        }
        for documented, here in places.items():
            assert documented in site, f"{PAGE} has no {documented!r} any more"
            site = site.replace(documented, here)
        (directory / "site.conf").write_text(site)
        # As root nginx would change to a user who may not enter pytest's directory.
        user = "user root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(user + AROUND)

    def configured(self, *options: str) -> list[str]:
        return [self._program, "-p", str(self._directory), "-c", str(self._directory / "nginx.conf"), *options]

    def command(self) -> list[str]:
        return self.configured("-g", "daemon off;")

    def stop(self) -> None:
        """SIGTERM to the master, which ends its workers."""
        super().stop()
        self._port_holder.close()
