"""The measures of `value`: its sum and mean, exact in whatever order events are read,
and its quantiles. They come from the archive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from reports.measures.families import Numbers, found_in_rows, found_in_total, scans_of
from reports.plan import Days, Place, Plan, Read, ValueQuantilesRead, ValueSumsRead
from reports.rows import Fetched, Number, Row

MEASURES: tuple[str, ...] = ("value_sum", "value_avg", "value_p50", "value_p95")
_SUMS = ("value_sum", "value_avg")
_QUANTILES = ("value_p50", "value_p95")

EXPIRED = "the archive of that time is past its retention, and values are read from it"
TOO_LARGE = "a sum of values is larger than a number can be"

# Added to each power of two, so that every sum is a whole number: no value has a
# smaller one (reports/sql/duckdb/value_sums.sql).
_SHIFT = 1200
_NOTHING: Mapping[str, Number] = {"value_sum": 0.0, "value_avg": None, "value_p50": None, "value_p95": None}


def reads(plan: Plan, days: Days) -> dict[str, Read]:
    query = plan.query
    asked: dict[str, Read] = {}
    for name, scan in scans_of(plan, days).items():
        is_of_groups = name == "rows" and query.by is not None
        if not set(_SUMS).isdisjoint(query.measures):
            asked[f"value_sums_of_{name}"] = ValueSumsRead(scan, is_of_groups)
        if not set(_QUANTILES).isdisjoint(query.measures):
            asked[f"value_quantiles_of_{name}"] = ValueQuantilesRead(scan, is_of_groups)
    return asked


def of_rows(plan: Plan, fetched: Fetched) -> Numbers:
    return found_in_rows(plan, fetched, _numbers(plan, fetched, "rows"), _NOTHING)


def of_total(plan: Plan, fetched: Fetched) -> Mapping[str, Number]:
    return found_in_total(plan, _numbers(plan, fetched, "total"), _NOTHING)


def of_nothing() -> Mapping[str, Number]:
    return _NOTHING


def why_missing(plan: Plan, rows: Sequence[Row]) -> str | None:
    if plan.expired and any(row.get(name, 0) is None for row in rows for name in MEASURES):
        return EXPIRED
    return TOO_LARGE if any(row.get("value_sum", 0) is None for row in rows) else None


def exact_sum(multiples: Iterable[tuple[int, int]]) -> float | None:
    """The sum of whole multiples of powers of two, as (power, multiple), rounded once;
    None if it is too large for a number.
    """
    return _as_number(sum(int(multiple) << (_SHIFT + power) for power, multiple in multiples), 1)


def _numbers(plan: Plan, fetched: Fetched, of: str) -> dict[Place, dict[str, Number]]:
    """Those of places that have a value."""
    found: dict[Place, dict[str, Number]] = defaultdict(dict)
    sums: dict[Place, tuple[int, int]] = {}
    for start, value, power, multiples, count in fetched.get(f"value_sums_of_{of}", ()):
        shifted, counted = sums.get(place := plan.place(start, value), (0, 0))
        sums[place] = shifted + (int(multiples) << (_SHIFT + power)), counted + count
    for place, (shifted, count) in sums.items():
        found[place] |= {"value_sum": _as_number(shifted, 1), "value_avg": _as_number(shifted, count)}
    for start, value, *quantiles in fetched.get(f"value_quantiles_of_{of}", ()):
        found[plan.place(start, value)] |= dict(zip(_QUANTILES, quantiles, strict=True))
    return found


def _as_number(shifted: int, count: int) -> float | None:
    """The nearest number, as Python divides whole numbers; None where there is none."""
    try:
        return shifted / (count << _SHIFT)
    except OverflowError:
        return None
