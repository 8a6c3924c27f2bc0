"""Error responses: RFC 9457 problems with a stable `code` (P12)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import web

SERVER = "Foldlog"  # the libraries behind it are not disclosed
PROBLEM_TYPE = "application/problem+json"
# RFC 9110 renamed these two; Python's phrases follow from 3.13 on.
_RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}


class Problem(Exception):
    """Ends a request with an error response.

    `code` is stable; `detail` is for people and never repeats the client's input.
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
        self.close = close  # the connection cannot be used after this response

    @property
    def title(self) -> str:
        """The HTTP status phrase, as RFC 9457 section 4.2.1 asks for `about:blank`."""
        return _RENAMED.get(self.status) or HTTPStatus(self.status).phrase

    def headers(self, request_id: str = "") -> dict[str, str]:
        """The response headers. An empty `request_id` is replaced by a new one."""
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

    def body(self) -> bytes:
        """The response body, as JSON."""
        return orjson.dumps(
            {
                "type": "about:blank",
                "title": self.title,
                "status": self.status,
                "code": self.code,
                "detail": self.detail,
            }
        )

    def response(self, request_id: str = "") -> web.Response:
        headers = self.headers(request_id)
        response = web.Response(status=self.status, body=self.body(), content_type=PROBLEM_TYPE, headers=headers)
        if self.close:
            response.force_close()
        return response

    def raw_response(self) -> bytes:
        """The whole response as bytes, for a connection without a request."""
        body = self.body()
        headers = {
            "Content-Type": PROBLEM_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
            **self.headers(),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} {self.title}\r\n{head}\r\n".encode("ascii") + body


def body_too_large(max_bytes: int) -> Problem:
    return Problem(413, "too_large", f"the body must not exceed {max_bytes} bytes")
