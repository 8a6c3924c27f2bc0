"""What a client is told when its request is not carried out: one RFC 9457 problem, with
a stable `code` (P12).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import orjson
from aiohttp import web

SERVER = "Foldlog"  # and not which libraries it is made of
PROBLEM_TYPE = "application/problem+json"

_TITLES = {
    400: "Malformed request",
    401: "Key needed",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    413: "Too large",
    415: "Media type not supported",
    417: "Expectation failed",
    422: "Not acceptable",
    429: "Too many requests",
    500: "Internal error",
    503: "Try again",
    507: "Disk full",
}


class Refusal(Exception):
    """Ends a request with a problem. `detail` is for a person and never repeats what
    the client sent.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self._headers = headers or {}
        self.close = close  # the connection is of no use after this

    def headers(self, request_id: str = "") -> dict[str, str]:
        """The headers of the answer, but for those that every answer has. Without an id
        of the request it gets a new one.
        """
        headers = {
            "Server": SERVER,
            "Cache-Control": "no-store",
            "X-Request-Id": request_id or secrets.token_hex(8),
            **self._headers,
        }
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer, Basic realm="Foldlog"'
        return headers

    def problem(self) -> bytes:
        """The body of the answer."""
        return orjson.dumps(
            {
                "type": "about:blank",
                "title": _TITLES.get(self.status, "Refused"),
                "status": self.status,
                "code": self.code,
                "detail": self.detail,
            }
        )

    def response(self, request_id: str = "") -> web.Response:
        headers = self.headers(request_id)
        response = web.Response(status=self.status, body=self.problem(), content_type=PROBLEM_TYPE, headers=headers)
        if self.close:
            response.force_close()
        return response

    def last_words(self) -> bytes:
        """The whole answer, for a connection that has no request and is closed after
        it.
        """
        body = self.problem()
        headers = {
            "Content-Type": PROBLEM_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
            **self.headers(),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} {_TITLES[self.status]}\r\n{head}\r\n".encode("ascii") + body
