"""Questions of the kinds of report that have a name, and which events of a list they
are about, decided in plain Python.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ingest.collect.encode import Line
from reports.kinds import parse_question
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.timestamps import epoch_ms
from tests.builders.logs import FIREFOX, GOOGLEBOT, line

NOW = datetime(2026, 11, 30, tzinfo=UTC)
DAY_MS = 86_400_000
# The end of summer time in Europe is inside.
FIRST = epoch_ms("2026-10-01T00:00:00Z")
DAYS = 60
LAST = FIRST + DAYS * DAY_MS


class Folded(NamedTuple):
    data: DataDirectory
    events: list[Line]


def make_events(seed: int = 7, count: int = 1_500) -> list[Line]:
    pick = random.Random(seed)
    return [_event(pick, number) for number in range(count)]


def _event(pick: random.Random, number: int) -> Line:
    is_daily = pick.random() < 0.2
    person = pick.randrange(120)
    # Each person has some days, so that not all begin in the first week.
    day = (person // 3 + pick.choice([0, 0, 1, 2, 7, 8, 14, 30])) % DAYS
    at = FIRST + day * DAY_MS + pick.randrange(DAY_MS)
    more: dict[str, Any] = {"daily": True} if is_daily else {}
    if pick.random() < 0.3:
        more["value"] = round(pick.uniform(-3, 20), 2)
    if pick.random() < 0.4:
        more["props"] = {"plan": pick.choice(["pro", "free"])}
    path = pick.choice(["/", "/a", "/b", None])
    return line(
        f"event-{number:05d}",
        at,
        LAST,
        name=pick.choice(["pageview", "pageview", "signup"]),
        site=pick.choice(["example.com", "example.com", "example.org"]),
        visitor=f"hash-{day}-{person % 20}" if is_daily else pick.choice([f"visitor-{person}"] * 9 + [None]),
        url=f"https://example.com{path}?utm_source={pick.choice(['news', 'mail'])}" if path else None,
        referrer=pick.choice([None, "https://other.net/"]),
        ua=pick.choice([FIREFOX, FIREFOX, FIREFOX, GOOGLEBOT]),
        country=pick.choice(["DE", "FR", None]),
        **more,
    )


def ask(data: DataDirectory, kind: str, **parameters: str) -> dict[str, Any]:
    query = parse_question({"kind": kind, **parameters}, NOW, "UTC")
    with connect(256 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), query)


def at(event: Line) -> datetime:
    return datetime.fromisoformat(event.time)


def is_bot(event: Line) -> bool:
    return event.ua == GOOGLEBOT


def is_selected(event: Line, **asked: str) -> bool:
    """By bots and site."""
    if is_bot(event) != {"only": True, "include": is_bot(event)}.get(asked.get("bots", ""), False):
        return False
    return asked.get("site", event.site) == event.site


def value_of(event: Line, field: str) -> str | None:
    """A dimension of an event."""
    if field.startswith("props."):
        found = (event.props or {}).get(field.removeprefix("props."))
        return None if found is None else str(found)
    page, _, query = (event.url or "").partition("?")
    known = {
        "event": event.name,
        "site": event.site,
        "country": event.country,
        "path": "/" + page.partition("://")[2].partition("/")[2] if event.url else None,
        "source": query.partition("utm_source=")[2] or (event.referrer.split("/")[2] if event.referrer else None),
    }
    return known[field]


def matches(event: Line, filter_: str) -> bool:
    """Conditions such as `path==/a|/b;country!=DE;path=~/*;value>2`; an empty value is
    none.
    """
    return all(_holds(event, condition) for condition in filter(None, filter_.split(";")))


def _holds(event: Line, condition: str) -> bool:
    if condition.startswith("value>"):
        return event.value is not None and event.value > float(condition[6:])
    operator = next(each for each in ("==", "!=", "=~") if each in condition)
    name, _, values = condition.partition(operator)
    found = value_of(event, name)
    if operator == "=~":
        return found is not None and any(fnmatchcase(found, glob) for glob in values.split("|"))
    return (found in [value or None for value in values.split("|")]) == (operator == "==")


def in_days(zone: ZoneInfo, first: str, last: str) -> Callable[[Line], bool]:
    return lambda event: first <= at(event).astimezone(zone).date().isoformat() <= last


def period_of(event: Line, period: str, zone: ZoneInfo) -> date:
    """The first day of the period of an event, by the clock of the zone."""
    day = at(event).astimezone(zone).date()
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def periods_between(first: date, last: date, period: str) -> list[date]:
    """The first days of the periods that have a day from `first` to `last`."""
    found = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        begin = day - timedelta(days=day.weekday()) if period == "week" else day
        begin = day.replace(day=1) if period == "month" else begin
        if begin not in found:
            found.append(begin)
    return found
