"""A real proxy in front of a real server: started, asked from different addresses, and
stopped.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Mapping
from contextlib import closing
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.builders.server import Answer, Server
from tests.builders.waiting import TIMEOUT_S, until

HOST = "example.com"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
FIRST, SECOND = "127.0.0.2", "127.0.0.3"


class Proxy:
    """One proxy process on a port of its own. What kind it is, its file and its command
    are the subclass's.
    """

    port: int
    messages: Path
    environ: Mapping[str, str] | None = None
    _process: subprocess.Popen[bytes]

    def command(self) -> list[str]:
        """What starts it, in the foreground."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        with self.messages.open("wb") as said:
            self._process = subprocess.Popen(
                self.command(), env=self.environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        try:
            until(self._listens, self.messages.read_text)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT_S)
        finally:
            self._process.kill()

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.messages.read_text()
        try:
            self.connect(FIRST).close()
        except ConnectionRefusedError:
            return False
        return True

    def connect(self, client: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S, (client, 0))

    def session(self, client: str = FIRST) -> http.client.HTTPConnection:
        """A connection from the address `client` that is kept from request to
        request.
        """
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S, source_address=(client, 0))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        client: str = FIRST,
    ) -> Answer:
        """One request on a connection of its own, from the address `client`."""
        with closing(self.session(client)) as connection:
            connection.request(method, path, body, {"Host": HOST, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def post(self, events: list[Any], headers: Mapping[str, str], client: str = FIRST) -> Answer:
        return self.request("POST", "/v1/events", batch(events), headers, client)


def batch(events: list[Any]) -> bytes:
    return json.dumps({"events": events, "consent": "granted"}).encode("utf-8")


ORIGIN = f"https://{HOST}"


# How long nothing must happen before it counts as not happening.
STILL_S = 0.3


def from_page(origin: str | None = ORIGIN, **more: str) -> dict[str, str]:
    """The headers of a page's request."""
    named = {} if origin is None else {"Origin": origin}
    return {"Content-Type": "application/json", "User-Agent": AGENT, **named} | more


def forged(header: str, value: str, origin: str = ORIGIN) -> dict[str, str]:
    return from_page(origin) | {header: value}


# What a client asks for that does not mean this site.
OTHER_HOSTS = ["evil.example", "evil.example:80", "127.0.0.1", f"{HOST}.evil.example", "foldlog", ""]


def is_turned_away(proxy: Proxy, name: str, host: str, headers: Mapping[str, str]) -> bool:
    """Whether a request to another host is cut, or refused as no HTTP where it has no
    host at all.
    """
    origin = {"Origin": f"http://{host}"} if "Origin" in headers else {}
    try:
        return proxy.post([{"name": name}], {**headers, **origin, "Host": host}).status == 400
    except (http.client.HTTPException, ConnectionError):
        return True


def stored(server: Server, name: str) -> list[dict[str, Any]]:
    return [line for line in server.lines() if line["name"] == name]


def padded(size: int) -> bytes:
    """A batch of exactly `size` bytes."""
    bare = batch([{"name": "pageview"}])
    return bare + b" " * (size - len(bare))


def accept(listener: socket.socket) -> socket.socket:
    listener.settimeout(TIMEOUT_S)
    connection, _ = listener.accept()
    connection.settimeout(TIMEOUT_S)
    return connection


def nobody_connects(listener: socket.socket) -> bool:
    listener.settimeout(STILL_S)
    try:
        listener.accept()[0].close()
    except TimeoutError:
        return True
    return False


def read_request(connection: socket.socket) -> tuple[Message, bytes]:
    """The head and the body of one request, as a server sees them."""
    with connection.makefile("rb") as file:
        assert file.readline() == b"POST /v1/events HTTP/1.1\r\n"
        headers = http.client.parse_headers(file)
        return headers, file.read(int(headers["Content-Length"]))
