"""GET /openapi.json."""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext


async def get_openapi(_worker: WorkerContext, request: BaseRequest) -> web.Response:
    """The OpenAPI document; it changes only with the version."""
    document, etag = await asyncio.to_thread(_document)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=document, content_type="application/json", headers=headers)


@cache
def _document() -> tuple[bytes, str]:
    # In the thread: a worker that is never asked does without the document's types, and
    # the import does not block the event loop.
    from ingest.http.openapi_document import encode_document

    content = encode_document()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'
