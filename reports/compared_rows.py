"""A report beside the one of an earlier time: each row has the numbers of its
counterpart, and how they changed. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from reports.compare import Compared
from reports.measures.families import nothing_happened
from reports.query import Query
from reports.rows import Number, Row, local_time

PREVIOUS = "previous"
CHANGE = "change"


def with_previous(query: Query, make: Callable[[Query], Row]) -> Row:
    """The report of a query, and what it is compared with. `make` makes the report of
    one time.
    """
    report, earlier = make(query), query.compared
    if earlier is None:
        return report
    asked = previous_query(query, earlier, report["rows"])
    previous = make(asked) if asked is not None else None
    before = previous["total"] if previous is not None else None
    about = {
        "compare": earlier.kind,
        "previous_from": local_time(earlier.start, query),
        "previous_to": local_time(max(earlier.start, earlier.end), query),
    }
    reasons = dict.fromkeys(each["reason"] for each in (report, previous or {}) if "reason" in each)
    reason = {"reason": "; ".join(reasons)} if reasons else {}
    rows = list(_rows(query, earlier, report["rows"], previous))
    return {**report, **about, "rows": rows, "total": _compared(report["total"], before), **reason}


def previous_query(query: Query, earlier: Compared, rows: list[Row]) -> Query | None:
    """None where the earlier time is empty. Of a breakdown only the values of its rows
    are asked for.
    """
    if earlier.start >= earlier.end:
        return None
    starts = tuple(each for each in earlier.buckets if each is not None) or (earlier.start,)
    values = tuple(dict.fromkeys(row["value"] for row in rows)) if query.by is not None else None
    return replace(query, start=earlier.start, end=earlier.end, compared=None, starts=starts, values=values)


def count_table(report: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    """The columns and rows of a report of counts, as CSV has them."""
    names = [name for name, shown in (("time", report["interval"] != "none"), ("value", report["by"])) if shown]
    numbers = [name for name in report["total"] if name not in (PREVIOUS, CHANGE)]
    if "compare" not in report:
        return [*names, *numbers], report["rows"]
    time = [f"{PREVIOUS}_time"] if "time" in names else []
    columns = [*names, *numbers, *time, *(f"{kind}_{name}" for kind in (PREVIOUS, CHANGE) for name in numbers)]
    return columns, [flat(row) for row in report["rows"]]


def flat(row: Row) -> Row:
    """A row without the mappings in it."""
    inner = {f"{kind}_{name}": number for kind in (PREVIOUS, CHANGE) for name, number in row.get(kind, {}).items()}
    return {name: value for name, value in row.items() if name not in (PREVIOUS, CHANGE)} | inner


def _rows(query: Query, earlier: Compared, rows: list[Row], previous: Row | None) -> Iterator[Row]:
    """Where nothing happened a breakdown has no row: there the numbers are those of
    nothing, if the earlier time is known at all.
    """
    found = {(row.get("time"), row.get("value")): row for row in (previous["rows"] if previous else [])}
    nothing = _nothing(query, previous)
    counterparts = _counterparts(query, earlier)
    for row in rows:
        if "time" not in row:
            yield _compared(row, found.get((None, row.get("value")), nothing))
            continue
        time = counterparts[row["time"]]
        compared = _compared(row, found.get((time, row.get("value")), nothing) if time is not None else None)
        compared[PREVIOUS] = {"time": time, **compared[PREVIOUS]}
        yield compared


def _nothing(query: Query, previous: Row | None) -> Row | None:
    """The numbers of a value that the earlier time did not have, of those that are
    known of it.
    """
    if previous is None:
        return None
    nothing: Row = {"events": 0, "visitors": 0, "visits": 0, **nothing_happened(query)}
    return {name: number for name, number in nothing.items() if previous["total"].get(name) is not None}


def _counterparts(query: Query, earlier: Compared) -> Mapping[str, str | None]:
    """By the time of a row, that of its counterpart."""
    times = zip(query.bucket_starts(), earlier.buckets, strict=True)
    return {local_time(own, query): local_time(other, query) if other is not None else None for own, other in times}


def _compared(row: Row, other: Mapping[str, Any] | None) -> Row:
    names = [name for name in row if name not in ("time", "value")]
    before = {name: other.get(name) if other is not None else None for name in names}
    return row | {PREVIOUS: before, CHANGE: {name: _change(row[name], before[name]) for name in names}}


def _change(now: Number, before: Number) -> float | None:
    """As a part of what was before: 0.5 is half as much again."""
    return None if now is None or not before else (now - before) / abs(before)
