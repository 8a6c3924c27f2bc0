"""/admin/api/goals and /admin/api/filters: what people keep under a name. A token that
may read sees it, one of some sites what keeps to these (`site==`); changing it takes an
admin's of all sites.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.api.kept_filters import of_sites
from ingest.context import WorkerContext
from ingest.http.auth import require_access, require_admin
from ingest.http.body_reader import read_body
from ingest.http.problem import Problem
from reports.filters import parse_filter
from reports.query_error import QueryError
from shared.named_filters import (
    Changing,
    Filter,
    Kind,
    Name,
    NamedFilter,
    NamedFiltersBusy,
    NoRoomForFilters,
    TooManyFilters,
    Value,
    delete_named_filter,
    put_named_filter,
)
from shared.stores.ledger import StoreRefused, StoreUnavailable
from shared.stores.postgres.connection import DriverMissing

JSON = "application/json"
# The longest name and filter, each character as an escape.
BODY_MAX_BYTES = 16 << 10

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
        _require_parameters(request, ())
        found = await worker.kept_filters.read()
        entries = sorted(of_sites(found.of(kind), access.sites), key=lambda each: each.name)
        body: dict[str, Any] = {f"{kind}s": [_shown(each) for each in entries]}
        if found.damage and access.sites is None:
            body["reason"] = f"goals.json {found.damage}"
        return _answer(200, body)

    return get


def put_of(kind: Kind) -> Handler:
    async def put(worker: WorkerContext, request: BaseRequest) -> web.Response:
        """201 for a new one, 200 where one of that name is replaced.

        Raises Problem 400, 409, 413, 415, 422, 503 or 507.
        """
        await require_admin(worker, request)
        _require_parameters(request, ())
        if request.content_type != JSON:
            raise Problem(415, "media_type", f"send it as {JSON}")
        entry = _entry(kind, await read_body(request, BODY_MAX_BYTES, worker.body_budget))
        is_replaced = await _change(worker, partial(put_named_filter, worker.data, entry))
        return _answer(200 if is_replaced else 201, _shown(entry))

    return put


def delete_of(kind: Kind) -> Handler:
    async def delete(worker: WorkerContext, request: BaseRequest) -> web.Response:
        """204. Raises Problem 404 where there is none of that name."""
        await require_admin(worker, request)
        _require_parameters(request, ("name",))
        name = request.query.get("name", "")
        if not await _change(worker, partial(delete_named_filter, worker.data, kind, name)):
            raise Problem(404, "no_such_name", f"there is no {kind} of this name")
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    return delete


def _entry(kind: Kind, content: bytes) -> NamedFilter:
    """Raises Problem 400 and 422."""
    try:
        given = _BODIES[kind].decode(content)
        parse_filter(given.filter)
    except msgspec.ValidationError as error:
        raise Problem(422, "filter_invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "malformed", "the body is no JSON") from None
    except QueryError as error:
        raise Problem(422, "filter_invalid", str(error)) from None
    return NamedFilter(kind, given.name, given.filter, getattr(given, "value", None))


async def _change(worker: WorkerContext, change: Callable[[Changing | None], bool]) -> bool:
    """Where hosts share a store, the change is one for all of them, or none."""
    sharing = worker.sharing
    changing = partial(sharing.documents.changing, sharing.goals) if sharing else None
    try:
        return await asyncio.to_thread(change, changing)
    except (TooManyFilters, NoRoomForFilters) as error:
        raise Problem(409, "too_many_filters", str(error)) from None
    except (StoreUnavailable, StoreRefused, DriverMissing):
        detail = "the store that hosts share does not take it; nothing was changed"
        raise Problem(503, "store_unavailable", detail, retry_after_s=30) from None
    except NamedFiltersBusy as error:
        raise Problem(503, "busy", str(error), retry_after_s=5) from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Problem(507, "disk_full", "there is no space for goals.json", retry_after_s=30) from None
        raise Problem(503, "unavailable", "goals.json cannot be written", retry_after_s=30) from None


def _require_parameters(request: BaseRequest, names: tuple[str, ...]) -> None:
    """Raises Problem 400 for others, and for one that is not given once."""
    if len(request.query) != len(names) or set(request.query) != set(names):
        raise Problem(400, "query", f"parameters are: {', '.join(names) or 'none'}")


def _shown(entry: NamedFilter) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": entry.name, "filter": entry.filter}
    return shown | ({"value": entry.value} if entry.kind == "goal" else {})


def _answer(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type=JSON, headers={"Cache-Control": "no-store"}
    )
