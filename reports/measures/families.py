"""Measures that have reads of their own, a module each. A kind of report (kinds/) makes
its rows from events and visitors; a family adds its numbers to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from reports.plan import ArchiveScan, Days, Place, Plan, Read, archive_scan
from reports.query import Query
from reports.rows import Fetched, Number, Row, places

Numbers = Mapping[Place, Mapping[str, Number]]


class Family(Protocol):
    """What each module has. `MEASURES` are those of names.py that it answers."""

    MEASURES: tuple[str, ...]

    def reads(self, plan: Plan, days: Days) -> dict[str, Read]:
        """What is read for its numbers, by names of its own. The plan has its other
        reads already.
        """

    def of_rows(self, plan: Plan, fetched: Fetched) -> Numbers:
        """A place where it found nothing may be missing."""

    def of_total(self, plan: Plan, fetched: Fetched) -> Mapping[str, Number]: ...

    def of_nothing(self) -> Mapping[str, Number]:
        """The numbers of a row without events."""

    def why_missing(self, plan: Plan, rows: Sequence[Row]) -> str | None:
        """Why some of its numbers in rows and total are None, where these have
        events.
        """


def scans_of(plan: Plan, days: Days) -> dict[str, ArchiveScan]:
    """What of the archive holds the events of the total, and of the rows where there
    are any.
    """
    query = plan.query
    scans = {"total": archive_scan(query, days, (), None)}
    if plan.groups is not None:
        buckets = plan.bucket_starts if query.interval != "none" else ()
        scans["rows"] = archive_scan(query, days, buckets, query.by)
    return scans


def found_in_rows(plan: Plan, fetched: Fetched, found: Numbers, nothing: Mapping[str, Number]) -> Numbers:
    """`found` for each row; `nothing` for one where nothing was found, and no numbers
    where the archive of a part of it has expired.
    """
    ends = dict(plan.buckets)
    return {
        place: {} if plan.has_expired(max(place[0], plan.query.start), ends[place[0]]) else found.get(place, nothing)
        for place in places(plan, fetched)
    }


def found_in_total(plan: Plan, found: Numbers, nothing: Mapping[str, Number]) -> Mapping[str, Number]:
    """The same for the total."""
    if plan.has_expired(plan.query.start, plan.query.end):
        return {}
    return found.get((plan.bucket_starts[0], None), nothing)


def _families() -> tuple[Family, ...]:
    from reports.measures import engaged, values  # which use what is here

    return (values, engaged)


def families_of(query: Query) -> Iterator[Family]:
    """Those that answer a measure of the query."""
    return (family for family in _families() if not set(family.MEASURES).isdisjoint(query.measures))


def with_families(plan: Plan, days: Days) -> Plan:
    """The plan of a report with the reads of all that it asks."""
    if not plan.has_answer:
        return plan
    reads: dict[str, Read] = {}
    for family in families_of(plan.query):
        reads |= family.reads(plan, days)
    return replace(plan, others=reads)


def numbers_of_rows(plan: Plan, fetched: Fetched) -> Numbers:
    found: dict[Place, dict[str, Number]] = {}
    for family in families_of(plan.query):
        for place, numbers in family.of_rows(plan, fetched).items():
            found.setdefault(place, {}).update(numbers)
    return found


def numbers_of_total(plan: Plan, fetched: Fetched) -> Mapping[str, Number]:
    return {name: n for family in families_of(plan.query) for name, n in family.of_total(plan, fetched).items()}


def nothing_happened(query: Query) -> Mapping[str, Number]:
    """The numbers of a row without events."""
    return {name: number for family in families_of(query) for name, number in family.of_nothing().items()}


def reasons(plan: Plan, rows: Sequence[Row]) -> list[str]:
    """Why numbers beside events and visitors are None in rows and total."""
    return [why for family in families_of(plan.query) if (why := family.why_missing(plan, rows))]
