"""GET /admin/api/export: archived events, streamed from the report reader."""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.reports import given_parameters
from ingest.api.while_wanted import while_wanted
from ingest.context import WorkerContext
from ingest.http.auth import require_access
from ingest.http.problem import SERVER
from reports import encode

_PARAMETERS = ("from", "to", "tz", "site", "scope", "format", "raw")


async def get_export(worker: WorkerContext, request: BaseRequest) -> web.StreamResponse:
    """The archived events of a time span. However this ends, the process that reads
    them and its files end with it.
    """
    access = await require_access(worker, request)
    parameters = access.question(given_parameters(request, tuple(encode.EXPORT_FORMATS), only=_PARAMETERS))
    format_, raw = parameters.pop("format", "ndjson"), parameters.pop("raw", "0") == "1"
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "Server": SERVER})
    response.content_type = encode.EXPORT_FORMATS[format_]
    response.headers["Content-Disposition"] = f'attachment; filename="foldlog.{format_}"'
    encoded = encode.csv_format(format_, raw=raw)
    async with worker.reader.export(parameters, encoded, access.owner) as next_block:
        # Before the head is sent: an error here still becomes a problem.
        block = await while_wanted(request, next_block())
        await response.prepare(request)
        while block:
            await response.write(block)
            block = await while_wanted(request, next_block(), is_answering=True)
    await response.write_eof()
    return response
