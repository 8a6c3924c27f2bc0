"""The floor of the framework: an aiohttp handler that reads the body and answers, set
up as the ingest worker is.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def post(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b'{"accepted":1,"rejected":[]}', content_type="application/json")


async def get_health(_request: web.Request) -> web.Response:
    return web.Response()


async def main(port: int) -> None:
    app = web.Application(client_max_size=1 << 20)
    app.router.add_post("/v1/events", post)
    app.router.add_get("/healthz", get_health)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


def run(port: int) -> None:
    uvloop.run(main(port))


if __name__ == "__main__":
    run(int(sys.argv[1]))
