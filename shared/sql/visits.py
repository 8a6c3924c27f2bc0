"""What a visit is, in SQL over archived events: docs/reports.md says it in words.

Visits are made a UTC day at a time, of its events and of the visits that may go on from
the day before; what the next day has of them is added. A visit is at most 24 hours
long, so nothing else can be of it. Window functions make them, whose partitions are
numbers that no client can choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared.generations.counter_schema import BUCKET_S, OTHER
from shared.schema import ARCHIVE_COLUMNS, DIMENSIONS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql, stored_events_sql
from shared.sql.texts import TextNumbers
from shared.sql.urls import hostname_sql, parameter_sql

GAP_S = 30 * 60
LONGEST_S = 24 * 60 * 60
PAGE_VIEW = "pageview"
# What the browser script says of a page that is seen already: how long it was in sight.
ENGAGED = "engaged"
# What an event has and a visit has not: it may have several of each.
NOT_OF_VISITS = ("event", "path")
# Where visits begin and end: of a visit, and of no event.
ENDS_OF_VISITS = ("entry", "exit")
# Of the first event of a visit.
VISIT_DIMENSIONS = (
    *(name for name in DIMENSIONS if name not in NOT_OF_VISITS and name in ARCHIVE_COLUMNS),
    *("region", "city", "screen"),
)
# Likewise, of what the archive has no column of.
COLUMNS_OF_VISITS = ("hostname", "utm_term", "utm_content")
# Days that have neighbours in every time zone.
FIRST_DAY, LAST_DAY = date.min + timedelta(days=3), date.max - timedelta(days=3)

VISIT_COLUMNS = {
    "begun_at": "TIMESTAMP",
    "ended_at": "TIMESTAMP",
    "events": "BIGINT",
    "views": "BIGINT",
    "others": "BIGINT",
    "entry": "VARCHAR",
    "exit": "VARCHAR",
    "visitor": "VARCHAR",
    "session": "VARCHAR",
    "daily": "BOOLEAN",
    "bot": "BOOLEAN",
    **{name: ARCHIVE_COLUMNS[name] for name in VISIT_DIMENSIONS},
    "ua": "VARCHAR",
    **dict.fromkeys(COLUMNS_OF_VISITS, "VARCHAR"),
}
# Rows of sums of a day: beyond these, sites with few visits are counted together.
SUM_ROWS_MAX = 100_000
# A visit of one view and nothing else; how long that was seen is nothing else.
BOUNCED_SQL = "views = 1 AND others = 0"
DURATION_MS_SQL = "epoch_ms(ended_at) - epoch_ms(begun_at)"
# SQL of a first event `f`.
_OF_FIRST_EVENT = {
    **{name: f"f.{name}" for name in (*("visitor", "session", "daily", "bot"), *VISIT_DIMENSIONS, "ua")},
    "hostname": hostname_sql("f.url"),
    **{name: parameter_sql("f.url", name) for name in ("utm_term", "utm_content")},
}
# More than any number of `row`.
_ROWS = 1 << 63
NOT_CARRIED = "(SELECT NULL::UHUGEINT AS visit, NULL::TIMESTAMP AS begun_at, NULL::TIMESTAMP AS ended_at LIMIT 0)"


class VisitDay(NamedTuple):
    """What the events of a UTC day say of visits. Those of a daily hash end at the
    midnights of `zone`. Of the days from FIRST_DAY to LAST_DAY. `numbers` are strong,
    and of one statement, or of the statements that share tables.

    A visit that begins on a day may go on on the next. So it is made of two pieces: of
    the events of its day, `carried` to the next, and `extended` by what that has.
    """

    day: date
    zone: str
    numbers: TextNumbers

    def statements(self, events: str, carried: str = NOT_CARRIED, among: str = "") -> list[str]:
        """What makes the table `visits_of_day`, with VISIT_COLUMNS: visits that begin
        on the day, and pieces of those that began before. `events`: of the day, of
        `events_with_rows`. `among`: with only events of these numbers.
        """
        text = _composed(
            "visits_of_day.sql",
            events=events,
            key=self.number_sql("e", "e.time"),
            carried=carried,
            among=f"SEMI JOIN {among} k ON k.visit = n.visit" if among else "",
            is_view=f"e.event = '{PAGE_VIEW}'",
            is_other=f"e.event NOT IN ('{PAGE_VIEW}', '{ENGAGED}')",
            is_page=f"(e.event = '{PAGE_VIEW}' AND e.path IS NOT NULL)",
            place=f"((epoch_ms(time) - epoch_ms({self._begin}))::HUGEINT * {_ROWS} + row)",
            rows=str(_ROWS),
            of_first_event="".join(f", {_OF_FIRST_EVENT[name]} AS {name}" for name in _OF_FIRST_EVENT),
            gap_s=str(GAP_S),
            longest_s=str(LONGEST_S),
        )
        return text.split(";\n\n")

    def carried_sql(self, earlier: str) -> str:
        """(visit, begun_at, ended_at) of visits that may go on on this day. `earlier`:
        with VISIT_COLUMNS, those that began on the day before.
        """
        rows = f"(FROM {earlier} WHERE {self._may_go_on()})"
        return f"(SELECT {self.number_sql('v', 'v.begun_at')} AS visit, v.begun_at, v.ended_at FROM {rows} v)"

    def extended_sql(self, begun: str, pieces: str) -> str:
        """Visits of the day before, with the pieces that this day has of them. Both
        with VISIT_COLUMNS.
        """
        return _composed(
            "visits_extended.sql",
            begun=begun,
            pieces=pieces,
            may_go_on=self._may_go_on("a."),
            key=self.number_sql("a", "a.begun_at"),
            key_of_piece=self.number_sql("e", "e.begun_at"),
            rest="".join(f", a.{name}" for name in _OF_FIRST_EVENT),
        )

    def going_on_sql(self, events: str, among: str = "") -> str:
        """(visit, is_sure) of what events of the day before have in common whose visit
        may go on on this day; `is_sure`: whatever was before that day. `among`: with
        only these numbers.
        """
        return _composed(
            "visits_going_on.sql",
            events=events,
            key=self.number_sql("e", "e.time"),
            among=f"SEMI JOIN {among} k ON k.visit = n.visit" if among else "",
            earlier=f"DATE '{self.day - timedelta(days=1)}'",
            day=self._begin,
            gap_s=str(GAP_S),
        )

    def number_sql(self, table: str, moment: str) -> str:
        """SQL of what events of one visit have in common (UHUGEINT)."""
        day = f"CASE WHEN {table}.daily THEN {self._local_day_sql(moment)} ELSE '' END"
        texts = ", ".join(f"length({table}.{name}), {table}.{name}" for name in ("site", "visitor"))
        own = f"concat_ws(chr(31), {table}.bot, {day}, {table}.session IS NULL, {texts}, {table}.session)"
        return self.numbers.number(own, "visit")

    @property
    def _begin(self) -> str:
        return f"TIMESTAMP '{self.day}'"

    def _may_go_on(self, prefix: str = "") -> str:
        is_near = f"{prefix}ended_at > {self._begin} - INTERVAL {GAP_S} SECONDS"
        return f"({prefix}session IS NOT NULL OR {is_near})"

    def _local_day_sql(self, moment: str) -> str:
        begins = sorted(_midnights(self.day, ZoneInfo(self.zone)), reverse=True)
        cases = " ".join(f"WHEN {moment} >= TIMESTAMP '{at:%Y-%m-%d %H:%M:%S}' THEN '{local}'" for at, local in begins)
        return f"CASE {cases} ELSE '-' END"


def sums_sql(visits: str, rows_max: int = SUM_ROWS_MAX) -> str:
    """Sums of visits (with VISIT_COLUMNS) by quarter of an hour, as visits parts have
    them.
    """
    return _composed(
        "visit_sums.sql",
        visits=visits,
        site_number=TextNumbers(keyed=True).number("site"),
        bounced=BOUNCED_SQL,
        duration_ms=DURATION_MS_SQL,
        bucket_s=str(BUCKET_S),
        rows_max=str(rows_max),
        other=OTHER,
    )


def go_on_sql(visits: str, day: date) -> str:
    """A row about visits of a day that go on on the following one, for
    `visits_digest`.
    """
    return _composed("visits_that_go_on.sql", visits=visits, following=f"DATE '{day + timedelta(days=1)}'")


def visits_digest(row: tuple[int, int]) -> str:
    """What tells two sets of visits that go on apart; empty for none."""
    count, number = row
    return f"{count}-{number:x}" if count else ""


def events_with_rows(paths: Mapping[int, str]) -> str:
    """A relation with ARCHIVE_COLUMNS over archive parts, and with `row`, which is
    another one for each event. `paths`: by version of the parts, SQL of their paths.
    """
    sources = (
        "FROM "
        + from_archive_sql(
            stored_events_sql({version: files}, f"{version << 60} + (file_index << 40) + file_row_number AS row"), "row"
        )
        for version, files in sorted(paths.items())
    )
    empty = empty_relation_sql({**ARCHIVE_COLUMNS, "row": "BIGINT"})
    return f"({' UNION ALL '.join(sources)})" if paths else empty


def _midnights(day: date, zone: ZoneInfo) -> Iterator[tuple[datetime, date]]:
    """When the local days begin that a UTC day, the one before it or the one after it
    overlap (UTC, naive), and which they are.
    """
    local = datetime.combine(day - timedelta(days=1), time(), UTC).astimezone(zone).date()
    for shift in range(5):
        each = local + timedelta(days=shift)
        yield datetime.combine(each, time(), zone).astimezone(UTC).replace(tzinfo=None), each


def _composed(name: str, **composed: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: composed[found[1]], _file(name))


@cache
def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
