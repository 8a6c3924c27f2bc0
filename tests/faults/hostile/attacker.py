"""One hostile client: raw requests from one address over a few connections, as fast as
they are answered, and what they cost it.
"""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, NamedTuple

from tests.faults.hostile.ground import ATTACKER

CONNECTIONS = 4
ANSWER_S = 120.0
BODY_MAX_BYTES = 64_000  # below FOLDLOG_MAX_BODY_BYTES
EVENTS_MAX = 500


class Sent(NamedTuple):
    """What was sent, and the answers by status; `none` where there was none."""

    requests: int
    bytes: int
    statuses: Counter[str]
    cpu_s: float


class Request(NamedTuple):
    """`plain` is the body as it is inflated; `headers` those beside the usual ones."""

    plain: bytes
    headers: tuple[str, ...] = ("User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0",)
    is_packed: bool = True
    ask: str = ""  # a GET of this path instead
    method: str = "GET"

    def head_bytes(self, port: int) -> int:
        return self.wire(port).index(b"\r\n\r\n") + 4

    def wire(self, port: int) -> bytes:
        host = f"127.0.0.1:{port}"
        if self.ask:
            lines = [f"{self.method} {self.ask} HTTP/1.1", f"Host: {host}", *self.headers]
            return "\r\n".join([*lines, "", ""]).encode("latin-1")
        body = gzip.compress(self.plain, 9, mtime=0) if self.is_packed else self.plain
        lines = ["POST /v1/events HTTP/1.1", f"Host: {host}", f"Origin: http://{host}", "Foldlog-Consent: granted"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", *self.headers]
        lines += ["Content-Encoding: gzip"] if self.is_packed else []
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def batches(events: Sequence[dict[str, Any]], headers: Sequence[str] = ()) -> list[Request]:
    """As few requests as hold these events, each within the limits of the API."""
    made: list[list[bytes]] = [[]]
    size = 0
    for event in events:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        if size + len(text) > BODY_MAX_BYTES or len(made[-1]) == EVENTS_MAX:
            made.append([])
            size = 0
        made[-1].append(text)
        size += len(text) + 1
    usual = tuple(headers) or Request(b"").headers
    return [Request(b'{"events":[%b]}' % b",".join(each), usual) for each in made]


def send(port: int, requests: Sequence[Request], source: str = ATTACKER) -> Sent:
    """Send all of them, in turns over the connections."""
    begun = time.process_time()
    wired = [request.wire(port) for request in requests]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        turns = [wired[start::CONNECTIONS] for start in range(CONNECTIONS)]
        answers = list(pool.map(lambda each: _send_in_turn(port, each, source), turns))
    statuses = sum(answers, Counter[str]())
    return Sent(len(wired), sum(map(len, wired)), statuses, time.process_time() - begun)


def _send_in_turn(port: int, wired: Sequence[bytes], source: str) -> Counter[str]:
    found: Counter[str] = Counter()
    connection: socket.socket | None = None
    for request in wired:
        status, connection = _exchange(port, connection, request, source)
        found[status] += 1
    if connection is not None:
        connection.close()
    return found


def _exchange(
    port: int, connection: socket.socket | None, request: bytes, source: str
) -> tuple[str, socket.socket | None]:
    """The status, and the connection if it stays open."""
    try:
        used = connection or socket.create_connection(("127.0.0.1", port), ANSWER_S, (source, 0))
    except OSError:
        return "none", None
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # a refusal may come before everything is sent
            used.sendall(request)
        with closing(http.client.HTTPResponse(used, method=request.partition(b" ")[0].decode())) as answer:
            answer.begin()
            answer.read()
        if answer.will_close:
            used.close()
        return str(answer.status), None if answer.will_close else used
    except (OSError, http.client.HTTPException):
        used.close()
        return "none", None
