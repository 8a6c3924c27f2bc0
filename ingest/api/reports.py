"""GET /admin/api/report: one report, answered by the report reader."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.auth import require_read
from ingest.http.problem import Problem
from reports import encode
from reports.query import QueryError, parse


async def get_report(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """One report; reports/query.py defines its parameters."""
    require_read(worker, request)
    parameters = validate_parameters(request, worker, tuple(encode.REPORT_FORMATS))
    format_ = parameters.pop("format", "json")
    content = await worker.reader.report(parameters, format_)
    return web.Response(
        body=content,
        content_type=encode.REPORT_FORMATS[format_],
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )


def validate_parameters(
    request: BaseRequest, worker: WorkerContext, formats: tuple[str, ...], only: tuple[str, ...] = ()
) -> dict[str, str]:
    """The parameters of the URL, each given once and valid.

    `formats` are the values that `format` may have; `only` restricts the names. Raises
    Problem 400.
    """
    parameters = dict(request.query)
    if len(parameters) != len(request.query):
        raise Problem(400, "query", "a parameter was given twice")
    if only and (unknown := sorted(set(parameters) - set(only))):
        raise Problem(400, "query", f"{unknown[0]}: unknown parameter; valid are {', '.join(only)}")
    if parameters.get("format", formats[0]) not in formats:
        raise Problem(400, "query", f"format: one of {', '.join(formats)}")
    try:
        parse(parameters, datetime.now(UTC), worker.settings.timezone)
    except QueryError as error:
        raise Problem(400, "query", str(error)) from None
    return parameters
