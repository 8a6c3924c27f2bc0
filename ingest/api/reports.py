"""GET /admin/api/report: one report, answered by the report reader."""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.while_wanted import while_wanted
from ingest.context import WorkerContext
from ingest.http.auth import Access
from ingest.http.problem import Problem
from ingest.share_links.access import require_reader
from reports import encode
from reports.kinds import KIND


async def get_report(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """One report; reports/query.py defines its parameters."""
    access = await require_reader(worker, request)
    parameters = given_parameters(request, tuple(encode.REPORT_FORMATS))
    if KIND in parameters:
        raise Problem(400, "query", "kind: unknown parameter; each other kind of report has an address of its own")
    return await answered(worker, request, access, parameters)


async def answered(
    worker: WorkerContext, request: BaseRequest, access: Access, parameters: dict[str, str]
) -> web.Response:
    """The answer to a question of any kind, as far as the token may see it. `format`
    and `raw` are among the parameters. Raises Problem 403.
    """
    parameters = access.question(parameters)
    format_, raw = parameters.pop("format", "json"), parameters.pop("raw", "0") == "1"
    report = worker.reader.report(parameters, encode.csv_format(format_, raw=raw), access.owner)
    content = await while_wanted(request, report)
    headers = {"Cache-Control": "no-store"}
    if format_ == encode.PARQUET:
        headers["Content-Disposition"] = 'attachment; filename="foldlog.parquet"'
    return web.Response(
        body=content,
        content_type=encode.REPORT_FORMATS[format_],
        charset=None if format_ == encode.PARQUET else "utf-8",
        headers=headers,
    )


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
