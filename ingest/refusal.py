"""What a client is told when its request is not carried out: one RFC 9457 problem, with a stable `code` (P12)."""

from __future__ import annotations

import orjson
from aiohttp import web

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
    500: "Internal error",
    503: "Try again",
    507: "Disk full",
}


class Refusal(Exception):
    """Ends a request with a problem. `detail` is for a person and never repeats what the client sent."""

    def __init__(self, status: int, code: str, detail: str, *, retry_after_s: int | None = None, allow: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.allow = allow

    def response(self) -> web.Response:
        headers = {"Cache-Control": "no-store"}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.allow:
            headers["Allow"] = self.allow
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer, Basic realm="Foldlog"'
        problem = {
            "type": "about:blank",
            "title": _TITLES.get(self.status, "Refused"),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        return web.Response(status=self.status, body=orjson.dumps(problem), content_type=PROBLEM_TYPE, headers=headers)
