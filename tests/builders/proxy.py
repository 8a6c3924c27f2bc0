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
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.builders.server import Answer
from tests.builders.waiting import until

HOST = "example.com"
FIRST, SECOND = "127.0.0.2", "127.0.0.3"
PATIENCE_S = 15.0


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
            self._process.wait(PATIENCE_S)
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
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S, (client, 0))

    def session(self, client: str = FIRST) -> http.client.HTTPConnection:
        """A connection from the address `client` that is kept from request to
        request.
        """
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S, source_address=(client, 0))

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
