"""POST /admin/api/holds/{id}: an admin of all sites confirms a deletion on hold, as
`foldlog retain --confirm` does. The compactor deletes; the handler leaves it word.
"""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.web_request import BaseRequest
from msgspec import Meta

from ingest.api.changing import answered, changed, json_body, require_parameters
from ingest.context import WorkerContext
from ingest.http.auth import require_admin
from ingest.http.problem import Problem
from shared.disk.control_files import touch
from shared.disk.layout import ConfirmedHold
from shared.generations.last_look import last_retention
from shared.generations.load import load_snapshot
from shared.holds import confirm_hold

BODY_MAX_BYTES = 1 << 10


class SeenHold(msgspec.Struct, forbid_unknown_fields=True):
    """The hold as the status showed it."""

    first: date
    last: date
    days: Annotated[int, Meta(ge=1, le=999_999_999)]


_SEEN = msgspec.json.Decoder(SeenHold)


async def post_hold(worker: WorkerContext, request: BaseRequest) -> web.Response:
    """202 once it is on disk that the hold is confirmed; the next pass carries it out.

    Raises Problem 404 where nothing of this kind is on hold, as while the clock is
    suspect (P9), and 409 where it is not what the client has seen.
    """
    access = await require_admin(worker, request)
    require_parameters(request, ())
    kind = request.raw_path.partition("?")[0].rpartition("/")[2]
    seen = await json_body(worker, request, _SEEN, max_bytes=BODY_MAX_BYTES)
    snapshot = await asyncio.to_thread(load_snapshot, worker.data)
    hold = last_retention(worker.data, snapshot).on_hold.get(kind)
    if hold is None:
        raise Problem(404, "no_such_hold", "nothing of this kind is on hold; the status says what is")
    if (seen.first, seen.last, seen.days) != (hold.first, hold.last, hold.days):
        raise Problem(409, "hold_changed", "what is on hold is not that any more; look at the status, and confirm anew")
    confirmed = ConfirmedHold(kind, hold.first, hold.last, hold.days)

    def confirm() -> None:
        confirm_hold(worker.data, confirmed)
        touch(worker.data.fold_request)

    await changed(confirm, "a confirmation")
    shown = {"kind": kind, "first": str(hold.first), "last": str(hold.last), "days": hold.days}
    worker.log.info("retention_confirmation_taken", **shown, token=access.id)
    return answered(202, shown | {"kept_days": hold.kept_days, "bytes": hold.bytes, "state": "confirmed"})
