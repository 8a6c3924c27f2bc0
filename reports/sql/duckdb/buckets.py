"""The bucket of a time that an event, a visit or a row of counters is in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from reports.sql.statement import Parameters

# Most buckets begin at midnight in UTC, and the others with a quarter of an hour: then
# the bucket of each such unit is looked up by an equality, which takes a fourth of what
# a comparison does, for DuckDB sorts the rows for that.
_DAY, _QUARTER = timedelta(days=1), timedelta(minutes=15)
_KEYS = {_DAY: "{moment}::DATE", _QUARTER: "epoch_us({moment}) // 900000000"}
_OF_UNIT = {_DAY: "DATE '1970-01-01' + unit::INTEGER", _QUARTER: "unit"}
_BEGINS = {_DAY: "epoch_ms(unit * 86400000)", _QUARTER: "epoch_ms(unit * 900000)"}
_UNITS_MAX = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def bucket_join(
    moment: str, starts: Sequence[datetime], until: datetime, bound: Parameters, *, keeps_earlier: bool = False
) -> str:
    """SQL of the join of rows with `b` (start, number): of their bucket, the last of
    `starts` (in order) that is not after `moment`; moments are before `until`. With
    `keeps_earlier` NULL stands for rows before all buckets, which are left out
    otherwise.
    """
    given = f"{bound.value('bucket_starts', list(map(utc_timestamp, starts)))}::TIMESTAMP[]"
    buckets = f"SELECT unnest({given}) AS start, unnest(range(len({given}))) AS number"
    join = "LEFT JOIN" if keeps_earlier else "JOIN"
    unit = _unit(starts, until)
    if unit is None:
        return f"ASOF {join} ({buckets}) b ON {moment} >= b.start"
    first, last = (starts[0] - _EPOCH) // unit, -((_EPOCH - until) // unit)
    units = f"SELECT unnest(range({first}, {last})) AS unit"
    numbered = f"SELECT {_OF_UNIT[unit]} AS unit, s.start, s.number FROM ({units}) u"
    found = f"{numbered} ASOF JOIN ({buckets}) s ON {_BEGINS[unit]} >= s.start"
    return f"{join} ({found}) b ON {_KEYS[unit].format(moment=moment)} = b.unit"


def utc_timestamp(moment: datetime) -> datetime:
    """As a TIMESTAMP column holds it: UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _unit(starts: Sequence[datetime], until: datetime) -> timedelta | None:
    """The longest unit that all buckets are made of; None where there is none, or too
    many of them.
    """
    for unit in (_DAY, _QUARTER):
        if until - starts[0] <= _UNITS_MAX * unit and not any((start - _EPOCH) % unit for start in starts):
            return unit
    return None
