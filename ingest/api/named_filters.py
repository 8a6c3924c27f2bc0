"""/admin/api/goals and /admin/api/filters: what people keep under a name. A token that
may read sees it, one of some sites what keeps to these (`site==`); changing it takes an
admin's of all sites.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.changing import answered, changing_of, json_body, kept, require_parameters
from ingest.api.kept_filters import of_sites
from ingest.context import WorkerContext
from ingest.http.auth import require_access, require_admin
from ingest.http.problem import Problem
from reports.filters import event_filter, parse_filter
from reports.query_error import QueryError
from shared.kept_entries import Changing
from shared.named_filters import (
    Filter,
    Kind,
    Name,
    NamedFilter,
    Value,
    delete_named_filter,
    of_kind,
    put_named_filter,
)

Handler = Callable[[WorkerContext, BaseRequest], Awaitable[web.StreamResponse]]


class Goal(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A filter of reports under a name. `value`: what each of its events is worth;
    without it, what the event says.
    """

    name: Name
    filter: Filter
    value: Value | None = None


class SavedFilter(msgspec.Struct, forbid_unknown_fields=True):
    """A filter of reports under a name."""

    name: Name
    filter: Filter


_BODIES: dict[Kind, msgspec.json.Decoder[Any]] = {
    "goal": msgspec.json.Decoder(Goal),
    "filter": msgspec.json.Decoder(SavedFilter),
}


def get_of(kind: Kind) -> Handler:
    async def get(worker: WorkerContext, request: BaseRequest) -> web.Response:
        """All of them that may be seen, in the order of their names."""
        access = await require_access(worker, request)
        require_parameters(request, ())
        found = await worker.kept_filters.read()
        entries = sorted(of_sites(of_kind(found, kind), access.sites), key=lambda each: each.name)
        body: dict[str, Any] = {f"{kind}s": [_shown(each) for each in entries]}
        if found.damage and access.sites is None:
            body["reason"] = f"goals.json {found.damage}"
        return answered(200, body)

    return get


def put_of(kind: Kind) -> Handler:
    async def put(worker: WorkerContext, request: BaseRequest) -> web.Response:
        """201 for a new one, 200 where one of that name is replaced.

        Raises Problem 400, 409, 413, 415, 422, 503 or 507.
        """
        await require_admin(worker, request)
        require_parameters(request, ())
        entry = _entry(kind, await json_body(worker, request, _BODIES[kind], _invalid))
        is_replaced = await _change(worker, partial(put_named_filter, worker.data, entry))
        return answered(200 if is_replaced else 201, _shown(entry))

    return put


def delete_of(kind: Kind) -> Handler:
    async def delete(worker: WorkerContext, request: BaseRequest) -> web.Response:
        """204. Raises Problem 404 where there is none of that name."""
        await require_admin(worker, request)
        require_parameters(request, ("name",))
        name = request.query.get("name", "")
        if not await _change(worker, partial(delete_named_filter, worker.data, kind, name)):
            raise Problem(404, "no_such_name", f"there is no {kind} of this name")
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    return delete


def _entry(kind: Kind, given: Any) -> NamedFilter:
    """Raises Problem 422 for what is no filter of reports."""
    try:
        (event_filter if kind == "goal" else parse_filter)(given.filter, "filter")
    except QueryError as error:
        raise _invalid(str(error)) from None
    return NamedFilter(kind, given.name, given.filter, getattr(given, "value", None))


async def _change(worker: WorkerContext, change: Callable[[Changing | None], bool]) -> bool:
    """Where hosts share a store, the change is one for all of them, or none."""
    changing = changing_of(worker, lambda sharing: sharing.goals)
    return await kept(lambda: change(changing), "goals.json", _too_many)


def _invalid(detail: str) -> Problem:
    return Problem(422, "filter_invalid", detail)


def _too_many(detail: str) -> Problem:
    return Problem(409, "too_many_filters", detail)


def _shown(entry: NamedFilter) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": entry.name, "filter": entry.filter}
    return shown | ({"value": entry.value} if entry.kind == "goal" else {})
