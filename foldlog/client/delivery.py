"""One batch to the server, over one connection that is kept while there is more.

The body is made of lines of the spool as they are, so that a repeat carries the same
ids; only `sent_at` is set anew. A batch that is too large is sent in halves.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from foldlog.client.answer import Refusal, Verdict, judge

_MAX_ANSWER_BYTES = 4 << 20  # 500 verdicts on events are far less
_HEADER_VALUE = re.compile(r"[!-~]+")


class Delivery:
    """Raises ValueError for a URL or a key that can be none. Connects when it sends."""

    def __init__(self, url: str, key: str, *, timeout_s: float, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("url must be that of the server, as https://stats.example.com")
        if not _HEADER_VALUE.fullmatch(key):
            raise ValueError("key must be that of `foldlog token create --scope ingest`")
        self._path = parts.path.rstrip("/") + "/v1/events"
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "User-Agent": "foldlog-client",
        }
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = tls or ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def send(self, lines: Sequence[bytes], consent: str | None) -> Verdict:
        """What is to become of these events."""
        events: list[Mapping[str, Any]] = []
        whole, damaged = [], 0
        for line in lines:
            if (event := _decoded(line)) is None:
                damaged += 1
            else:
                events.append(event)
                whole.append(line)
        lost = (Refusal(0, "damaged", f"{damaged} lines of the spool are damaged", []),) if damaged else ()
        verdict = self._send(whole, events, consent) if events else Verdict("done")
        return Verdict(verdict.kind, lost + verdict.refusals, verdict.retry_after_s, verdict.why)

    def _send(self, lines: Sequence[bytes], events: Sequence[Mapping[str, Any]], consent: str | None) -> Verdict:
        try:
            status, retry_after, body = self._post(_body(lines, consent))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Verdict("again", why=f"it is away: {type(error).__name__}: {error}")
        verdict = judge(status, retry_after, body, events)
        return self._in_halves(lines, events, consent) if verdict.kind == "halve" else verdict

    def _in_halves(self, lines: Sequence[bytes], events: Sequence[Mapping[str, Any]], consent: str | None) -> Verdict:
        middle = len(lines) // 2
        first = self._send(lines[:middle], events[:middle], consent)
        if first.kind != "done":
            return first
        second = self._send(lines[middle:], events[middle:], consent)
        if second.kind != "done":
            return second  # all is sent again, or kept; the first half counts once all the same
        return Verdict("done", first.refusals + second.refusals)

    def _post(self, body: bytes) -> tuple[int, str | None, bytes]:
        if self._connection.sock is None:
            self._connection.connect()
        # A server that refuses early has answered before it closed.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read(_MAX_ANSWER_BYTES)
        if answer.will_close or not answer.isclosed():
            self.close()
        return answer.status, answer.headers["Retry-After"], content

    def close(self) -> None:
        self._connection.close()


def _body(lines: Sequence[bytes], consent: str | None) -> bytes:
    head: dict[str, object] = {"sent_at": time.time_ns() // 1_000_000}
    if consent is not None:
        head["consent"] = consent
    return json.dumps(head).encode("ascii")[:-1] + b',"events":[' + b",".join(lines) + b"]}"


def _decoded(line: bytes) -> Mapping[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
