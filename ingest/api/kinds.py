"""The kinds of report that have an address of their own: what each takes of the URL,
and what the reader gets besides, so that equal questions have equal answers.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.reports import answered, given_parameters
from ingest.context import WorkerContext
from ingest.http.auth import Access
from ingest.share_links.access import require_reader
from reports import encode
from reports.kinds import KIND, batch, cohorts, funnel, goals, live, paths
from shared.disk.marks import read_mark
from shared.timestamps import rfc3339

_FORMAT = ("format", "raw")


async def get_live(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """Of the last minutes before the last pass. Until the next one it is the same
    question, so that it is answered once.
    """
    last_pass_ms = read_mark(worker.data.last_pass) or read_mark(worker.data.snapshot)
    own = {"at": rfc3339(last_pass_ms)} if last_pass_ms else {}
    return await _answer(worker, request, "live", live.COMMON, own)


async def get_batch(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """Several reports of one time, site and filter."""
    access = await require_reader(worker, request)
    names = (*batch.COMMON, *batch.OWN, "format")
    parameters = given_parameters(request, ("json",), only=names)
    return await answered(worker, request, access, {**parameters, KIND: batch.KIND})


async def get_cohorts(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """Visitors by the period of their first event."""
    return await _answer(worker, request, "cohorts", (*cohorts.COMMON, *cohorts.OWN), {})


async def get_funnel(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """Visitors who took some steps one after another."""
    return await _answer(worker, request, "funnel", (*funnel.COMMON, *funnel.OWN), {})


async def get_paths(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """What visitors did before and after a page."""
    return await _answer(worker, request, "paths", (*paths.COMMON, *paths.OWN), {})


async def get_goals_report(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """Conversions of the goals that are kept now."""
    access = await require_reader(worker, request)
    own = {"goals": await worker.kept_filters.goals_parameter(access.sites)}
    return await _answer(worker, request, "goals", (*goals.COMMON, *goals.ASKED), own, access)


async def _answer(
    worker: WorkerContext,
    request: BaseRequest,
    kind: str,
    names: tuple[str, ...],
    own: dict[str, str],
    access: Access | None = None,
) -> web.Response:
    """`names`: what a client may ask; `own`: what it may not; `access`: where it was
    looked at already.
    """
    access = access or await require_reader(worker, request)
    parameters = given_parameters(request, tuple(encode.REPORT_FORMATS), only=(*names, *_FORMAT))
    return await answered(worker, request, access, {**parameters, **own, KIND: kind})
