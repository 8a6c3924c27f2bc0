"""/admin/api/annotations: what people note beside the numbers. A token that may read
sees it; changing it takes an admin's.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.changing import answered, changing_of, json_body, kept, require_parameters
from ingest.context import WorkerContext
from ingest.http.auth import require_access, require_admin
from ingest.http.problem import Problem
from shared.annotations import Annotation, delete_annotation, put_annotation, read_annotations

_BODY = msgspec.json.Decoder(Annotation)
_FILE = "annotations.json"


async def get_annotations(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """All of them, or those of a `site` and of all sites, by their times. A token of
    some sites sees those of its sites alone.
    """
    access = await require_access(worker, request)
    require_parameters(request, ("site",) if request.query else ())
    site = request.query.get("site")
    found = await asyncio.to_thread(read_annotations, worker.data)
    shown = [each for each in found.entries if site is None or each.site in (None, site)]
    if access.sites is not None:
        shown = [each for each in shown if each.site in access.sites]
    body: dict[str, Any] = {
        "annotations": [_shown(each) for each in sorted(shown, key=lambda each: (each.moment, each.text))]
    }
    if found.damage and access.sites is None:
        body["reason"] = f"{_FILE} {found.damage}"
    return answered(200, body)


async def put_annotation_(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """201 for a new one, 200 for one that is kept already.

    Raises Problem 400, 409, 413, 415, 422, 503 or 507.
    """
    await require_admin(worker, request)
    require_parameters(request, ())
    entry = await json_body(worker, request, _BODY, _invalid)
    changing = changing_of(worker, lambda sharing: sharing.annotations)
    is_known = await kept(lambda: put_annotation(worker.data, entry, changing), _FILE, _too_many)
    return answered(200 if is_known else 201, _shown(entry))


async def delete_annotation_(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """204. Raises Problem 404 where there is none with that id."""
    await require_admin(worker, request)
    require_parameters(request, ("id",))
    changing = changing_of(worker, lambda sharing: sharing.annotations)
    if not await kept(lambda: delete_annotation(worker.data, request.query["id"], changing), _FILE):
        raise Problem(404, "no_such_annotation", "there is no annotation with this id")
    return web.Response(status=204, headers={"Cache-Control": "no-store"})


def _invalid(detail: str) -> Problem:
    return Problem(422, "annotation_invalid", detail)


def _too_many(detail: str) -> Problem:
    return Problem(409, "too_many_annotations", detail)


def _shown(entry: Annotation) -> dict[str, Any]:
    return {"id": entry.id, "at": entry.at, "text": entry.text, "site": entry.site}
