"""GET /healthz: the process runs. GET /readyz: it can do what it is for, or the reasons
why not.
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
from shared.generations.load import find_snapshot
from shared.generations.snapshot import Snapshot, SnapshotDamaged
from shared.segments.line import DataFromNewerVersion
from shared.segments.sealed import sealed_segments
from shared.timestamps import epoch_ms

STALLED_S = 5.0
FAILED_S = 30.0
INTERVALS = 3
# A clock in doubt takes 48 hours of it; a deletion that waits for somebody should have
# found them by then.
UNSUCCESSFUL_S = 72 * 3600.0


class Check(NamedTuple):
    """One condition of being ready. `detail` is for a person."""

    name: str
    ok: bool
    detail: str


async def get_health(_worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """The process runs."""
    return web.json_response({"status": "ok"})


async def get_readiness(worker: WorkerContext, _request: BaseRequest) -> web.Response:
    """200 when every check holds, 503 otherwise; the checks either way."""
    checks = [*of_the_worker(worker), *await asyncio.to_thread(of_the_directory, worker)]
    ready = all([check.ok for check in checks])
    body = orjson.dumps({"ready": ready, "checks": [check._asdict() for check in checks]})
    return web.Response(
        status=200 if ready else 503, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def of_the_worker(worker: WorkerContext) -> Iterator[Check]:
    """What only this process knows: its writer, its lock, its disk."""
    writer = worker.writer
    yield Check("accepting", not worker.stopping, "shutting down" if worker.stopping else "taking requests")
    stalled, failed = writer.stalled_s, writer.failed_s
    if stalled > STALLED_S:
        yield Check("writable", False, f"a write has been waiting for the disk for {stalled:.0f} s")
    elif failed < FAILED_S:
        yield Check("writable", False, f"events could not be stored {failed:.0f} s ago")
    else:
        yield Check("writable", True, "the last write succeeded")
    held = writer.holds_segment()
    yield Check(
        "lock", held, "the open segment is locked" if held else "there is no open segment; another try every second"
    )
    full = writer.is_full()
    yield Check("queue", not full, "full" if full else f"{writer.waiting[0]} requests are waiting")
    free, reserve = worker.disk_free_bytes(), worker.settings.disk_reserve
    enough = free is not None and (not reserve or free >= reserve)
    yield Check(
        "disk", enough, f"{free} bytes are free, the reserve is {reserve}" if free is not None else "cannot be told"
    )


def of_the_directory(worker: WorkerContext) -> list[Check]:
    """What the data directory says about the compactor and the log. Reads a few small
    files.
    """
    try:
        snapshot, _, damage = find_snapshot(worker.data)
    except (SnapshotDamaged, DataFromNewerVersion) as error:
        return [Check("snapshot", False, str(error))]
    suspect = [
        segment.name.file
        for segment in sealed_segments(worker.data)
        if not snapshot.has_folded(segment.name) and not segment.checksum.exists()
    ]
    return [
        *(
            [Check("snapshot", False, f"{damage}; an earlier one is read until the next pass replaces it")]
            if damage
            else []
        ),
        _recent("fold", snapshot.as_of, worker),
        _retention(snapshot, worker),
        Check(
            "log",
            not suspect,
            f"no checksum: {', '.join(suspect)}" if suspect else "nothing suspect waits for the fold",
        ),
    ]


def _retention(snapshot: Snapshot, worker: WorkerContext) -> Check:
    run = snapshot.retention
    recent = _recent("retention", run.at, worker)
    if not recent.ok or run.unsuccessful_s <= UNSUCCESSFUL_S:
        return recent
    why = run.skipped or f"held until `foldlog retain --confirm`: {', '.join(run.held)}"
    return Check("retention", False, f"the last that deleted all it should was at {run.last_success}; {why}")


def _recent(what: str, at: str, worker: WorkerContext) -> Check:
    # After a standstill the last run is old; the compactor gets its time from the start
    # on.
    age_s = min((worker.now_ms() - epoch_ms(at)) / 1000, time.monotonic() - worker.started_at)
    limit_s = INTERVALS * worker.settings.fold_interval
    if age_s <= limit_s:
        return Check(what, True, f"not older than {limit_s:.0f} s")
    return Check(what, False, f"none for {age_s:.0f} s; is the compactor running, and what does it say?")
