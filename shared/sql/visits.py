"""What a visit is, in SQL over archived events: docs/reports.md says it in words.

Visits are made a UTC day at a time: those that begin on it, from its events, those of
the next day, and up to when events are of visits that began earlier. A visit is at most
24 hours long, so nothing else can be of it. Window functions make them, whose
partitions are numbers that no client can choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared.schema import ARCHIVE_COLUMNS, DIMENSIONS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql, stored_events_sql
from shared.sql.texts import TextNumbers

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
}
# A visit of one view and nothing else; how long that was seen is nothing else.
BOUNCED_SQL = "views = 1 AND others = 0"
DURATION_MS_SQL = "epoch_ms(ended_at) - epoch_ms(begun_at)"
_OF_FIRST_EVENT = tuple(VISIT_COLUMNS)[7:]
_ROW = "file_row_number AS row"
NOT_REACHED = "(SELECT NULL::UHUGEINT AS visit, NULL::TIMESTAMP AS until LIMIT 0)"


class VisitDay(NamedTuple):
    """Visits that begin on a UTC day. Those of a daily hash end at the midnights of
    `zone`. Of the days from FIRST_DAY to LAST_DAY. `numbers` are strong, and of one
    statement, or of the statements that share tables.
    """

    day: date
    zone: str
    numbers: TextNumbers

    def events_sql(self, events: str, reached: str = NOT_REACHED, columns: Sequence[str] = ()) -> str:
        """The events of these visits, and which visit each is of (visits.sql).
        `events`: with ARCHIVE_COLUMNS, of the day and the next; `columns`: SQL of `e`.
        """
        return _composed(
            "visits.sql",
            key=self.number_sql("e", "e.time"),
            events=events,
            reached=reached,
            columns="".join(f", {each}" for each in columns),
            day=f"DATE '{self.day}'",
            gap_s=str(GAP_S),
            longest_s=str(LONGEST_S),
        )

    def going_on_sql(self, own: str, following: str) -> str:
        """Events of the day, of visits that may go on on the following one, and all of
        that one: enough to tell which do. Both with ARCHIVE_COLUMNS and `row`.
        """
        key = self.number_sql("e", "e.time")
        return _composed("visits_going_on.sql", own=own, following=following, key=key)

    def statements(self, events: str, reached: str = NOT_REACHED) -> list[str]:
        """What makes the table `visits_of_day`, with VISIT_COLUMNS. `events`: of
        `events_with_rows`.
        """
        columns = ("e.event", "e.row", "e.path IS NOT NULL AS has_path")
        text = _composed(
            "visits_of_day.sql",
            events=self.events_sql(events, reached, columns),
            read_events=events,
            is_view=f"event = '{PAGE_VIEW}'",
            is_other=f"event NOT IN ('{PAGE_VIEW}', '{ENGAGED}')",
            of_first_event="".join(f", f.{name}" for name in _OF_FIRST_EVENT),
        )
        return text.split(";\n\n")

    def reached_sql(self, visits: str) -> str:
        """(visit, until) of visits of the day before that go on at its midnight."""
        return f"(SELECT {self.number_sql('v', 'v.begun_at')} AS visit, v.ended_at AS until FROM {visits} v)"

    def number_sql(self, table: str, moment: str) -> str:
        """SQL of what events of one visit have in common (UHUGEINT)."""
        day = f"CASE WHEN {table}.daily THEN {self._local_day_sql(moment)} ELSE '' END"
        texts = ", ".join(f"length({table}.{name}), {table}.{name}" for name in ("site", "visitor"))
        own = f"concat_ws(chr(31), {table}.bot, {day}, {table}.session IS NULL, {texts}, {table}.session)"
        return self.numbers.number(own, "visit")

    def _local_day_sql(self, moment: str) -> str:
        begins = sorted(_midnights(self.day, ZoneInfo(self.zone)), reverse=True)
        cases = " ".join(f"WHEN {moment} >= TIMESTAMP '{at:%Y-%m-%d %H:%M:%S}' THEN '{local}'" for at, local in begins)
        return f"CASE {cases} ELSE '-' END"


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
        + from_archive_sql(stored_events_sql({version: files}, f"{version << 60} + (file_index << 40) + {_ROW}"), "row")
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
