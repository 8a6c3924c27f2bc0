"""A customer's web server, on another host name than the collector: one page, whatever
is asked for, that loads the browser script.

It can also be the collector itself (`/collect`), where a test decides each answer and
reads each batch.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

SCRIPT = Path(__file__).parents[2] / "web" / "tracker" / "tracker.min.js"
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OK: tuple[int, dict[str, str], str] = (200, {}, '{"accepted":1,"rejected":[]}')


def page_with(script: str, body: str = "") -> str:
    """A page whose script tag has these attributes."""
    return f"<!doctype html><title>Example</title><script {script}></script><body>{body}</body>"


class CustomerSite:
    """`asked` are the paths of pages that were loaded, with what the browser said of
    its purpose; `batches` what came to `/collect`, where `answers` are used up first.
    """

    def __init__(self, html: str, headers: Mapping[str, str]) -> None:
        self.html = html
        self.headers = headers
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self.batches: list[Any] = []
        self.answers: list[tuple[int, dict[str, str], str]] = []

    def url(self, path: str = "/", host: str = "localhost") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def events(self) -> Sequence[dict[str, Any]]:
        """All that came to `/collect`, in order."""
        return [event for batch in self.batches for event in batch["events"]]

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/tracker.js":
            return web.Response(body=SCRIPT.read_bytes(), content_type="text/javascript")
        if request.path == "/collect":
            self.batches.append(json.loads(await request.read()))
            status, headers, text = self.answers.pop(0) if self.answers else OK
            return web.Response(status=status, headers=headers, text=text, content_type="application/json")
        if request.path == "/favicon.ico":
            return web.Response(status=204)
        self.asked.append((request.path, request.headers.get("Sec-Purpose", "")))
        return web.Response(text=self.html, content_type="text/html", headers=self.headers)


@asynccontextmanager
async def serving(html: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[CustomerSite]:
    site = CustomerSite(html, headers or {})
    async with listening(site) as site.port:
        yield site


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    """The port of a web server that answers as `handler` does."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
