"""GET /healthz: the process runs. GET /readyz: the worker can accept events and the
compactor works, or the reasons why not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import NamedTuple

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from shared.generations.last_look import last_pass_ms, last_retention
from shared.generations.load import find_snapshot
from shared.generations.snapshot import Retention, Snapshot, SnapshotDamaged
from shared.segments.line import DataFromNewerVersion
from shared.segments.recovery import NotASegment, not_segments
from shared.segments.sealed import sealed_segments
from shared.status import merge_warning
from shared.stores.condition import store_status, store_warning
from shared.timestamps import epoch_ms

STALLED_S = 5.0
FAILED_S = 30.0
# A suspect clock stops retention for up to 48 hours, and an operator should have
# confirmed a deletion on hold by then.
UNSUCCESSFUL_S = 72 * 3600.0


class Check(NamedTuple):
    """One readiness condition. `detail` is for people."""

    name: str
    ok: bool
    detail: str


async def get_health(_worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """The process runs."""
    return web.json_response({"status": "ok"})


async def get_readiness(worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """200 when every check is ok, else 503; the body lists the checks."""
    checks = [*worker_checks(worker), *await asyncio.to_thread(directory_checks, worker)]
    ready = all([check.ok for check in checks])
    body = orjson.dumps({"ready": ready, "checks": [check._asdict() for check in checks]})
    return web.Response(
        status=200 if ready else 503, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def worker_checks(worker: WorkerContext) -> Iterator[Check]:
    """Checks of this process: its writer, its lock, its disk."""
    queue = worker.commit_queue
    yield Check("accepting", not worker.draining, "stopping" if worker.draining else "accepting requests")
    stalled, failed = queue.stalled_s, queue.failed_s
    if stalled > STALLED_S:
        yield Check("writable", False, f"a write has been waiting for the disk for {stalled:.0f} s")
    elif failed < FAILED_S:
        yield Check("writable", False, f"events could not be stored {failed:.0f} s ago")
    else:
        yield Check("writable", True, "the last write succeeded")
    if queue.is_taken_over:
        yield Check("store", False, "another host continues this instance: stop this one")
    is_locked = queue.has_segment()
    yield Check(
        "lock", is_locked, "the active segment is locked" if is_locked else "no active segment; retrying every second"
    )
    full = queue.is_full()
    yield Check("queue", not full, "full" if full else f"{queue.waiting[0]} requests waiting")
    free, reserve = worker.disk_free_bytes(), worker.settings.disk_reserve
    enough = free is not None and (not reserve or free >= reserve)
    yield Check("disk", enough, f"{free} bytes free, the reserve is {reserve}" if free is not None else "unknown")


def directory_checks(worker: WorkerContext) -> list[Check]:
    """Checks of the compactor and the log. Reads a few small files."""
    try:
        snapshot, _, damage = find_snapshot(worker.data)
    except (SnapshotDamaged, DataFromNewerVersion) as error:
        return [Check("snapshot", False, str(error))]
    suspect = [
        segment.name.file
        for segment in sealed_segments(worker.data)
        if not snapshot.has_passed(segment.name) and not segment.checksum.exists()
    ]
    return [
        *(
            [Check("snapshot", False, f"{damage}; an earlier snapshot is used until the next pass replaces it")]
            if damage
            else []
        ),
        _recent("fold", last_pass_ms(worker.data, snapshot), worker),
        _retention(last_retention(worker.data, snapshot), worker),
        *_set_aside(snapshot),
        *_day_merge(snapshot),
        *_publish(snapshot, worker),
        _log(suspect, not_segments(worker.data)),
    ]


def _log(suspect: list[str], links: list[NotASegment]) -> Check:
    """Segments without a checksum, and what stands in the place of an active one."""
    wrong = [*([f"no checksum: {', '.join(suspect)}"] if suspect else []), *map(str, links)]
    return Check("log", not wrong, "; ".join(wrong) or "every sealed segment has a checksum")


def _set_aside(snapshot: Snapshot) -> Iterator[Check]:
    """Always ok: everything else works, and a restart of the server would not help."""
    if lines := snapshot.totals.set_aside:
        yield Check("set_aside", True, f"{lines} events could not be folded: `foldlog status` shows why")


def _day_merge(snapshot: Snapshot) -> Iterator[Check]:
    """Always ok: reports of these days are exact."""
    if warning := merge_warning(snapshot):
        yield Check("day_merge", True, warning)


def _publish(snapshot: Snapshot, worker: WorkerContext) -> Iterator[Check]:
    """Always ok: events are taken and counted, and no other host would publish them."""
    store = store_status(worker.data, worker.settings, snapshot)
    if warning := store_warning(store, snapshot.generation, worker.settings):
        yield Check("publish", True, f"degraded: {warning}")


def _retention(run: Retention, worker: WorkerContext) -> Check:
    recent = _recent("retention", epoch_ms(run.at), worker)
    if not recent.ok or run.unsuccessful_s <= UNSUCCESSFUL_S:
        return recent
    why = run.skipped or f"on hold until `foldlog retain --confirm`, or the page, confirms it: {', '.join(run.on_hold)}"
    return Check("retention", False, f"last complete run at {run.last_success}; {why}")


def _recent(what: str, at_ms: int, worker: WorkerContext) -> Check:
    # After a stop the last run is old: the compactor gets the full limit from the
    # worker's start.
    age_s = min((worker.now_ms() - at_ms) / 1000, time.monotonic() - worker.started_at)
    limit_s = worker.settings.fold_late_after_s
    if age_s <= limit_s:
        return Check(what, True, f"less than {limit_s:.0f} s ago")
    return Check(what, False, f"none for {age_s:.0f} s; check that the compactor runs, and its log")
