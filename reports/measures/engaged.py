"""How long visitors had pages in sight: mean and median of their sums of `engaged`
events, which the browser script sends (docs/tracker.md). They come from the archive.

Stretches are counted in whole milliseconds, so that sums depend on no order, and one of
more than a day is no stretch: a client that sends such a value moves no mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reports.measures.families import Numbers, found_in_rows, found_in_total, scans_of
from reports.measures.names import ENGAGED_MEASURES
from reports.measures.values import EXPIRED
from reports.plan import ArchiveScan, Days, EngagedRead, Place, Plan, Read
from reports.rows import Fetched, Number, Row
from shared.sql.visits import ENGAGED

MEASURES: tuple[str, ...] = ENGAGED_MEASURES
EVENT = ENGAGED
_NOTHING: Mapping[str, Number] = dict.fromkeys(MEASURES)


def reads(plan: Plan, days: Days) -> dict[str, Read]:
    return {
        f"engaged_of_{name}": EngagedRead(_of_stretches(scan), name == "rows" and plan.query.by is not None)
        for name, scan in scans_of(plan, days).items()
    }


def _of_stretches(scan: ArchiveScan) -> ArchiveScan:
    """Of `engaged` events, whatever the event of the query is: beside the views of a
    page stands how long it was seen.
    """
    return replace(scan, selection=replace(scan.selection, event=EVENT))


def of_rows(plan: Plan, fetched: Fetched) -> Numbers:
    return found_in_rows(plan, fetched, _numbers(plan, fetched, "rows"), _NOTHING)


def of_total(plan: Plan, fetched: Fetched) -> Mapping[str, Number]:
    return found_in_total(plan, _numbers(plan, fetched, "total"), _NOTHING)


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
