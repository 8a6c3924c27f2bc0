"""A report: from a query and a snapshot to rows of exact numbers.

Events without a filter are summed from the counters: whole UTC days from the sums that
the parts hold of them. Filters, and visitors always, are answered from the archive. A
number that the data no longer gives is None with a reason. Everything that comes from
outside is a bound parameter of the SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any

import duckdb

from reports.query import PROPS, Query, edges, midnight
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import BUCKET_S, COUNTER_COLUMNS, DAY_SUM_SUFFIX, OTHER, TOTAL
from shared.generations.part_integrity import verified_part, verified_parts
from shared.generations.snapshot import Day, Snapshot
from shared.schema import ARCHIVE_COLUMNS, COUNTED_DIMENSIONS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql

EXPIRED = "the archive of that time is past its retention, and visitors cannot be added up"
EXPIRED_FILTER = "the archive of that time is past its retention, and this question needs it"

Row = dict[str, Any]


def make_report(database: duckdb.DuckDBPyConnection, data: DataDirectory, snapshot: Snapshot, query: Query) -> Row:
    """The report as it is answered: rows, their total, and which snapshot they are
    from. docs/api.md shows one.
    """
    report = Report(database, query, touched(snapshot, data, query))
    rows, total = report.rows(), report.total
    shown = {
        "from": _local(query.start, query),
        "to": _local(query.end, query),
        "tz": query.zone.key,
        "interval": query.interval,
        "by": query.by,
        "rows": rows,
        "total": total,
        "generation": snapshot.generation,
        "as_of": snapshot.as_of,
    }
    if total["events"] is None:
        shown["reason"] = EXPIRED_FILTER
    elif any(row.get("visitors", 0) is None for row in [total, *rows]):
        shown["reason"] = EXPIRED
    return shown


@dataclass(frozen=True)
class Span:
    """The UTC days that a query touches, and what the snapshot still holds of them."""

    data: DataDirectory
    days: dict[date, Day]

    @cached_property
    def archive(self) -> list[str]:
        """Its archive parts. Raises PartDamaged."""
        return [
            str(path)
            for day, kept in self.days.items()
            for path in verified_parts(self.data, "archive", day, kept.archive)
        ]

    def counters(self, days: Iterable[date]) -> list[str]:
        """The counters of some of the days. Raises PartDamaged."""
        found = ((day, self.days[day].counters) for day in days)
        return [str(verified_part(self.data, "counters", day, part)) for day, part in found if part]

    @property
    def expired(self) -> list[date]:
        return [day for day, kept in self.days.items() if kept.expired]

    def capped(self, dimension: str | None) -> list[date]:
        return [day for day, kept in self.days.items() if dimension in kept.capped]


def touched(snapshot: Snapshot, data: DataDirectory, query: Query) -> Span:
    """What a query may have to read."""
    first, last = query.start.date(), (query.end - timedelta(microseconds=1)).date()
    return Span(data, {day: snapshot.days[day] for day in sorted(snapshot.days) if first <= day <= last})


def _local(moment: datetime, query: Query) -> str:
    return moment.astimezone(query.zone).isoformat()


def _naive(moment: datetime) -> datetime:
    """As DuckDB's TIMESTAMP columns hold it: UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


class Report:
    """The SQL of one query. Fragments are fixed text; values are in `_values` and bound
    by name.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, query: Query, span: Span) -> None:
        self._database = database
        self._query = query
        self._span = span
        self._values: dict[str, Any] = {
            "start": _naive(query.start),
            "end": _naive(query.end),
            "limit": query.limit,
            "edges": [_naive(edge) for edge in edges(query)] if query.interval != "none" else [],
            "event": query.event,
            "site": query.site,
            "by": _json_pointer(query.by or ""),
        }
        self._by_counter = query.by if query.by in COUNTED_DIMENSIONS else TOTAL
        self._from_counters = self._counters_suffice()
        self._wants_visitors = query.visitors == "exact"
        self._kept_visitors: dict[tuple[datetime, str | None], int] | None = None

    def rows(self) -> list[Row]:
        query = self._query
        if self.total["events"] is None:
            return []
        if query.by is None and query.interval == "none":
            return [self.total if self.total["events"] else self._no_events()]
        rows = [self._row(*values) for *values, _ in self._found]
        if query.by is None:
            rows = self._with_empty_buckets(rows)
        return self._without_lost_visitors(rows) if self._wants_visitors else rows

    @cached_property
    def total(self) -> Row:
        """Over all rows, also those beyond `limit`. Visitors of the whole time are
        counted once.
        """
        if not self._from_counters and self._span.expired:
            return {"events": None} | ({"visitors": None} if self._wants_visitors else {})
        total: Row = {"events": None} | (self._total_visitors() if self._wants_visitors else {})
        if total["events"] is None:
            total["events"] = self._total_events()
        return total

    def _total_events(self) -> int:
        if self._query.by is not None or self._query.interval != "none":
            return int(self._found[0][-1]) if self._found else 0
        if self._from_counters:
            found = self._fetch(f"SELECT coalesce(sum(events), 0)::BIGINT FROM {self._counters()}")
        else:
            found = self._fetch(f"SELECT count(*) FROM {self._archive(values=False)}")
        return int(found[0][0])

    @cached_property
    def _found(self) -> list[tuple[Any, ...]]:
        """Time, value, events and visitors of each row that is shown, and the events of
        all rows.
        """
        return self._fetch(f"WITH {self._events()}, {_TOP}, {self._visitors()} {_JOINED}")

    def _total_visitors(self) -> Row:
        query = self._query
        if self._is_lost(query.start, query.end):
            return {"visitors": self._kept(query.start, query.end, None) if query.by is None else None}
        sql = f"SELECT count(*), count(DISTINCT visitor) FROM {self._archive(values=False)}"
        ((events, visitors),) = self._fetch(sql)
        return {"events": events, "visitors": visitors}

    def _counters_suffice(self) -> bool:
        query, span = self._query, self._span
        aligned = query.start.timestamp() % BUCKET_S == 0 == query.end.timestamp() % BUCKET_S
        asks_capped = (query.event and span.capped("event")) or (query.site and span.capped("site"))
        asks_props = query.by is not None and query.by.startswith(PROPS)
        return aligned and not query.conditions and not asks_props and not asks_capped

    def _events(self) -> str:
        """SQL of `e`: the events of each time and value; with the visitors where they
        come from the same rows.
        """
        if self._from_counters:
            return f"e AS MATERIALIZED (SELECT t, value, sum(events)::BIGINT AS events FROM {self._counters()} GROUP BY ALL)"
        visitors = ", count(DISTINCT visitor) AS visitors" if self._query.by is None and self._wants_visitors else ""
        return f"e AS MATERIALIZED (SELECT t, value, count(*) AS events{visitors} FROM {self._archive()} GROUP BY ALL)"

    def _visitors(self) -> str:
        """SQL of `v`: the visitors of each time and of those values that are shown, by
        their place.
        """
        if not self._wants_visitors:
            return "v AS (SELECT NULL::TIMESTAMP AS t, 0 AS place, NULL::BIGINT AS visitors LIMIT 0)"
        if self._query.by is None and not self._from_counters:
            return "v AS (SELECT t, 1 AS place, visitors FROM e)"
        # Distinct pairs are what costs most: of the values that are not shown there are
        # none, of the others their place.
        shown = f"{self._archive()} a JOIN top ON a.value IS NOT DISTINCT FROM top.value"
        if self._query.by is None:
            shown = f"(SELECT *, 1 AS place FROM {self._archive()})"
        return f"v AS (SELECT t, place, count(DISTINCT visitor) AS visitors FROM {shown} GROUP BY ALL)"

    def _counters(self) -> str:
        """SQL of counters as (t, value, events): of whole days their sums, of the rest
        each quarter of an hour.
        """
        value = {"event": "c.event", "site": "c.site", None: "NULL"}.get(self._query.by, "c.value")
        whole = self._whole_days()
        sums, quarters = (
            self._span.counters(whole),
            self._span.counters(day for day in self._span.days if day not in whole),
        )
        self._values |= {
            "dimension": self._by_counter,
            "sum": self._by_counter + DAY_SUM_SUFFIX,
            "sums": sums,
            "quarters": quarters,
        }
        sources = ["FROM read_parquet($sums) WHERE dimension = $sum"] if sums else []
        if quarters:
            sources.append(
                "FROM read_parquet($quarters) WHERE dimension = $dimension AND bucket >= $start AND bucket < $end"
            )
        source = f"({' UNION ALL '.join(sources)})" if sources else empty_relation_sql(COUNTER_COLUMNS)
        return (
            f"(SELECT {self._bucket()} AS t, {value} AS value, c.events FROM {source} c {self._edges('c.bucket')} "
            f"WHERE c.visitors IS NULL {self._asked('c')})"
        )

    def _whole_days(self) -> set[date]:
        """The UTC days that are wholly in one row."""
        start, end = self._values["start"], self._values["end"]
        if any(edge.time() != time() for edge in self._values["edges"] if edge > start):
            return set()
        begins = {day: datetime.combine(day, time()) for day in self._span.days}
        return {day for day, begin in begins.items() if start <= begin and begin + timedelta(days=1) <= end}

    def _archive(self, *, values: bool = True) -> str:
        self._values["archive"] = self._span.archive
        source = (
            from_archive_sql("read_parquet($archive)") if self._span.archive else empty_relation_sql(ARCHIVE_COLUMNS)
        )
        value, kept = self._archive_value() if values else ("NULL", "")
        edges = self._edges("a.time") if values else ""
        return (
            f"(SELECT {self._bucket() if values else 'NULL'} AS t, {value} AS value, a.visitor FROM {source} a {edges} {kept} "
            f"WHERE {self._in_time()} {self._asked('a')} {self._conditions()})"
        )

    def _in_time(self) -> str:
        """Parts hold the events of one UTC day: where whole days are asked for, their
        times need not be read.
        """
        if {self._values["start"].time(), self._values["end"].time()} == {time()}:
            return "true"
        return "a.time >= $start AND a.time < $end"

    def _archive_value(self) -> tuple[str, str]:
        """The SQL of `by` in the archive, and the join that it needs: values counted
        under (other) must be so here, too.
        """
        by = self._query.by
        if by is None:
            return "NULL", ""
        if by.startswith(PROPS):
            return "json_extract_string(a.props, $by)", ""
        capped = self._span.capped(by)
        if not capped or not self._from_counters:
            return f"a.{by}", ""
        self._values["capped"] = capped
        kept_value = by if by in {"event", "site"} else "value"
        self._values["dimension"] = self._by_counter
        self._values["counters"] = self._span.counters(capped)
        join = (
            f"LEFT JOIN (SELECT DISTINCT bucket::DATE AS day, {kept_value} AS value FROM read_parquet($counters) "
            "WHERE dimension = $dimension AND visitors IS NULL) k ON k.day = a.time::DATE AND k.value = a." + by
        )
        other = f"a.{by} IS NOT NULL AND k.value IS NULL AND list_contains($capped::DATE[], a.time::DATE)"
        return f"CASE WHEN {other} THEN '{OTHER}' ELSE a.{by} END", join

    def _bucket(self) -> str:
        return "NULL::TIMESTAMP" if self._query.interval == "none" else "g.edge"

    def _edges(self, moment: str) -> str:
        if self._query.interval == "none":
            return ""
        return f"ASOF JOIN (SELECT unnest($edges::TIMESTAMP[]) AS edge) g ON {moment} >= g.edge"

    def _asked(self, table: str) -> str:
        parts = {"exclude": f"AND NOT {table}.bot", "only": f"AND {table}.bot", "include": ""}[self._query.bots]
        if self._query.event is not None:
            parts += f" AND {table}.event = $event"
        if self._query.site is not None:
            parts += f" AND {table}.site = $site"
        return parts

    def _conditions(self) -> str:
        parts = []
        for number, condition in enumerate(self._query.conditions):
            column = f"a.{condition.field}"
            if condition.field.startswith(PROPS):
                self._values[f"key{number}"] = _json_pointer(condition.field)
                column = f"json_extract_string(a.props, $key{number})"
            if condition.value:
                self._values[f"value{number}"] = condition.value
                # A plain comparison is what lets row groups be passed over.
                parts.append(f"AND {column} {'=' if condition.equal else 'IS DISTINCT FROM'} $value{number}")
            else:
                parts.append(f"AND {column} IS {'' if condition.equal else 'NOT'} NULL")
        return " ".join(parts)

    def _fetch(self, sql: str) -> list[tuple[Any, ...]]:
        used = {name: value for name, value in self._values.items() if re.search(rf"\${name}\b", sql)}
        return self._database.execute(sql, used).fetchall()

    def _row(self, begins: datetime | None, value: str | None, events: int, visitors: int) -> Row:
        row: Row = {}
        if self._query.interval != "none" and begins is not None:
            row["time"] = _local(begins.replace(tzinfo=UTC), self._query)
        if self._query.by is not None:
            row["value"] = value
        return row | {"events": events} | ({"visitors": visitors} if self._wants_visitors else {})

    def _no_events(self) -> Row:
        return {"events": 0} | ({"visitors": 0} if self._wants_visitors else {})

    def _with_empty_buckets(self, rows: list[Row]) -> list[Row]:
        by_time = {row["time"]: row for row in rows}
        times = [_local(edge, self._query) for edge in edges(self._query)]
        return [by_time.get(begins, {"time": begins, **self._no_events()}) for begins in times]

    def _without_lost_visitors(self, rows: list[Row]) -> list[Row]:
        """Where the archive of a day is gone: the visitors that were kept of it, else
        None.
        """
        if not self._span.expired:
            return rows
        starts = edges(self._query) if self._query.interval != "none" else [self._query.start]
        ends = dict(zip(starts, [*starts[1:], self._query.end], strict=True))
        for row in rows:
            start = datetime.fromisoformat(row["time"]).astimezone(UTC) if "time" in row else self._query.start
            if row["events"] and self._is_lost(start, ends[start]):
                row["visitors"] = self._kept(start, ends[start], row.get("value"))
        return rows

    def _is_lost(self, start: datetime, end: datetime) -> bool:
        return any(_overlaps(day, start, end) for day in self._span.expired)

    def _kept(self, start: datetime, end: datetime, value: str | None) -> int | None:
        """Visitors of one calendar day that stayed with its counters when its archive
        went.
        """
        if self._kept_visitors is None:
            self._kept_visitors = self._fetch_kept_visitors()
        if not self._is_day(start, end):
            return None
        return self._kept_visitors.get((_naive(start), value))

    def _is_day(self, start: datetime, end: datetime) -> bool:
        day = start.astimezone(self._query.zone).date()
        return start == midnight(day, self._query.zone) and end == midnight(day + timedelta(days=1), self._query.zone)

    def _fetch_kept_visitors(self) -> dict[tuple[datetime, str | None], int]:
        query = self._query
        zones = {kept.visitor_zone for kept in self._span.days.values() if kept.expired}
        if query.conditions or zones != {query.zone.key} or (query.event and query.by):
            return {}
        self._values["counters"] = self._span.counters(self._span.days)
        if not self._values["counters"]:
            return {}
        self._values["kept"] = "event" if query.event else query.by or TOTAL
        self._values["bot"] = {"exclude": False, "only": True, "include": None}[query.bots]
        found = self._fetch(
            "SELECT bucket, value, visitors FROM read_parquet($counters) WHERE visitors IS NOT NULL AND dimension = $kept "
            "AND site IS NOT DISTINCT FROM $site AND bot IS NOT DISTINCT FROM $bot"
        )
        return {
            (bucket, None if query.event else value): n for bucket, value, n in found if query.event in (None, value)
        }


_TOP = (
    "top AS MATERIALIZED (SELECT value, row_number() OVER (ORDER BY sum(events) DESC, value) AS place FROM e GROUP BY value "
    "ORDER BY place LIMIT $limit)"
)
_JOINED = (
    "SELECT e.t, e.value, e.events, coalesce(v.visitors, 0) AS visitors, (SELECT sum(events)::BIGINT FROM e) FROM e "
    "JOIN top ON e.value IS NOT DISTINCT FROM top.value "
    "LEFT JOIN v ON e.t IS NOT DISTINCT FROM v.t AND top.place = v.place "
    "ORDER BY e.t, e.events DESC, visitors DESC, e.value"
)


def _json_pointer(field: str) -> str:
    return "/" + field.removeprefix(PROPS).replace("~", "~0").replace("/", "~1")


def _overlaps(day: date, start: datetime, end: datetime) -> bool:
    begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return begins < end and start < begins + timedelta(days=1)
