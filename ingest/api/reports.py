"""GET /admin/api/report: one report, answered by the report reader."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.auth import require_read
from ingest.http.connection import client_has_left
from ingest.http.problem import Problem
from reports import encode

# How often a report that is being made looks whether its client still waits.
GONE_POLL_S = 0.5


async def get_report(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """One report; reports/query.py defines its parameters."""
    require_read(worker, request)
    parameters = given_parameters(request, tuple(encode.REPORT_FORMATS))
    format_, raw = parameters.pop("format", "json"), parameters.pop("raw", "0") == "1"
    content = await _while_wanted(request, worker.reader.report(parameters, encode.csv_format(format_, raw=raw)))
    return web.Response(
        body=content,
        content_type=encode.REPORT_FORMATS[format_],
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )


async def _while_wanted(request: BaseRequest, report: Coroutine[Any, Any, bytes]) -> bytes:
    """The report. Raises ConnectionResetError, and cancels what makes it, once the
    client has closed its connection: without a request body to read, nothing else
    notices that.
    """
    making = asyncio.ensure_future(report)
    try:
        while not making.done():
            await asyncio.wait((making,), timeout=GONE_POLL_S)
            if not making.done() and client_has_left(request):
                raise ConnectionResetError("the client has left")
        return making.result()
    finally:
        making.cancel()


def given_parameters(request: BaseRequest, formats: tuple[str, ...], only: tuple[str, ...] = ()) -> dict[str, str]:
    """The parameters of the URL, each given once; the reader process parses them.

    `formats` are the values that `format` may have; `only` restricts the names. With
    `raw=1` CSV has the values as they are. Raises Problem 400.
    """
    parameters = dict(request.query)
    if len(parameters) != len(request.query):
        raise Problem(400, "query", "a parameter was given twice")
    if only and (unknown := sorted(set(parameters) - set(only))):
        raise Problem(400, "query", f"{unknown[0]}: unknown parameter; valid are {', '.join(only)}")
    if parameters.get("format", formats[0]) not in formats:
        raise Problem(400, "query", f"format: one of {', '.join(formats)}")
    if parameters.get("raw", "0") not in ("0", "1"):
        raise Problem(400, "query", "raw: 1 for CSV with the values as they are, or 0")
    return parameters
