"""How long visitors had pages in sight: mean and median of their sums of `engaged`
events, which the browser script sends (docs/tracker.md). They come from the archive.

Stretches are counted in whole milliseconds, so that sums depend on no order, and one of
more than a day is no stretch: a client that sends such a value moves no mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reports.measures.families import Numbers
from reports.measures.names import ENGAGED_MEASURES
from reports.measures.values import EXPIRED
from reports.plan import ArchiveScan, Days, EngagedRead, Place, Plan, Read, archive_scan
from reports.rows import Fetched, Number, Row, places
from shared.sql.visits import ENGAGED

MEASURES: tuple[str, ...] = ENGAGED_MEASURES
EVENT = ENGAGED
_NOTHING: Mapping[str, Number] = dict.fromkeys(MEASURES)


def reads(plan: Plan, days: Days) -> dict[str, Read]:
    query = plan.query
    buckets = plan.bucket_starts if query.interval != "none" else ()
    asked: dict[str, Read] = {
        "engaged_of_total": EngagedRead(_of_stretches(archive_scan(query, days, (), None)), False)
    }
    if plan.groups is not None:
        scan = _of_stretches(archive_scan(query, days, buckets, query.by))
        asked["engaged_of_rows"] = EngagedRead(scan, query.by is not None)
    return asked


def _of_stretches(scan: ArchiveScan) -> ArchiveScan:
    """Of `engaged` events, whatever the event of the query is: beside the views of a
    page stands how long it was seen.
    """
    return replace(scan, selection=replace(scan.selection, event=EVENT))


def of_rows(plan: Plan, fetched: Fetched) -> Numbers:
    found, ends = _numbers(plan, fetched, "rows"), dict(plan.buckets)
    return {
        place: {} if plan.has_expired(max(place[0], plan.query.start), ends[place[0]]) else found.get(place, _NOTHING)
        for place in places(plan, fetched)
    }


def of_total(plan: Plan, fetched: Fetched) -> Mapping[str, Number]:
    if plan.has_expired(plan.query.start, plan.query.end):
        return {}
    return _numbers(plan, fetched, "total").get((plan.bucket_starts[0], None), _NOTHING)


def of_nothing() -> Mapping[str, Number]:
    return _NOTHING


def why_missing(plan: Plan, rows: Sequence[Row]) -> str | None:
    return EXPIRED if plan.expired and any(row.get(name, 0) is None for row in rows for name in MEASURES) else None


def _numbers(plan: Plan, fetched: Fetched, of: str) -> dict[Place, Mapping[str, Number]]:
    """Those of places that have a stretch."""
    return {
        plan.place(start, value): {"engaged_time": ms / (visitors * 1000), "engaged_p50": median_ms / 1000}
        for start, value, ms, visitors, median_ms in fetched.get(f"engaged_of_{of}", ())
    }
