"""GET /admin/api/doctor: what `foldlog doctor` finds on this host."""

from __future__ import annotations

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.changing import answered, require_parameters
from ingest.api.while_wanted import while_wanted
from ingest.context import WorkerContext
from ingest.http.auth import require_admin
from ingest.http.problem import Problem
from ingest.observe.doctor import NoAnswer


async def get_doctor(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """Raises Problem 503 where the doctor fails, takes too long, or the worker
    stops.
    """
    await require_admin(worker, request)
    require_parameters(request, ())
    found = await while_wanted(request, worker.doctor.answer())
    if isinstance(found, NoAnswer):
        raise Problem(503, found.code, found.detail, retry_after_s=1 if found.code == "stopping" else 30)
    return answered(200, msgspec.to_builtins(found))
