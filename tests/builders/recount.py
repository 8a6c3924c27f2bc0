"""What a report must say, counted in plain Python from a list of events.

It shares neither code nor engine with the product: an event is a mapping with the keys
of a log line, a question has the parameters of a report's URL. What stands in a URL is
taken apart here a second time, and user agents are known from a table.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo

from shared.schema import DIMENSIONS
from tests.builders.logs import FIREFOX, GOOGLEBOT

QUARTER = timedelta(minutes=15)
COPIES_DAYS = 3
VALUE_LENGTH = 200
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.0 Mobile/15E148 Safari/604.1"
)

Event = Mapping[str, Any]
Key = tuple[str | None, str | None]  # local time at which a bucket begins, value


class Agent(NamedTuple):
    """What a user agent says."""

    browser: str | None
    os: str | None
    device: str | None
    bot: bool


AGENTS: dict[str | None, Agent] = {
    None: Agent(None, None, None, bot=False),
    FIREFOX: Agent("Firefox", "Linux", "desktop", bot=False),
    GOOGLEBOT: Agent("Googlebot", None, None, bot=True),
    IPHONE: Agent("Mobile Safari", "iOS", "mobile", bot=False),
}


class Counted(NamedTuple):
    """An event that counts: its time (UTC), its values by dimension, who sent it."""

    time: datetime
    values: Mapping[str, str | None]
    visitor: str | None
    bot: bool


class Answer(NamedTuple):
    """(events, visitors) of each row and of all of them."""

    rows: dict[Key, tuple[int, int]]
    total: tuple[int, int]


def counted_events(lines: Iterable[Event], sites: Iterable[str] = ()) -> list[Counted]:
    """Of the lines of one identity the one that was received first. Raises ValueError
    where copies are so far apart that the order of passes decides.
    """
    written = list(lines)
    of_any_sender = {(each["site"], each["id"]) for each in written if each["v"] == 1}
    copies: dict[tuple[str | None, ...], list[Event]] = defaultdict(list)
    for each in written:
        copies[_identity(each, of_any_sender)].append(each)
    for identity, same in copies.items():
        days = [_moment(each["time"]).date() for each in same]
        if (max(days) - min(days)).days > COPIES_DAYS:
            raise ValueError(f"copies of {identity} are more than {COPIES_DAYS} days apart")
    own = tuple(sites)
    return [_counted(min(same, key=_precedence), own) for same in copies.values()]


def recount(events: Iterable[Counted], asked: Mapping[str, str]) -> Answer:
    """The rows that a report has, all of them, and its total.

    `asked` has `from` and `to` as dates or instants, and may have `tz`, `interval`,
    `by`, `event`, `site`, `bots` and `filter`. A bucket without events has no row.
    """
    zone = ZoneInfo(asked.get("tz", "UTC"))
    start, end = span(asked, zone)
    rows: Counter[Key] = Counter()
    visitors: dict[Key, set[str]] = defaultdict(set)
    everybody: set[str] = set()
    for each in events:
        if start <= each.time < end and _is_asked(each, asked):
            bucket = bucket_start(each.time, asked.get("interval", "none"), zone)
            value = each.values[asked["by"]] if "by" in asked else None
            rows[bucket, value] += 1
            if each.visitor is not None:
                visitors[bucket, value].add(each.visitor)
                everybody.add(each.visitor)
    found = {key: (count, len(visitors[key])) for key, count in rows.items()}
    return Answer(found, (rows.total(), len(everybody)))


def as_answer(report: Mapping[str, Any]) -> Answer:
    """A report as the product gives it, in the form of a recount."""
    rows = {
        (row.get("time"), row.get("value")): (row["events"], row["visitors"]) for row in report["rows"] if row["events"]
    }
    return Answer(rows, (report["total"]["events"], report["total"]["visitors"]))


def bucket_start(moment: datetime, interval: str, zone: ZoneInfo) -> str | None:
    """When the bucket of a moment begins, as a report shows it."""
    if interval == "none":
        return None
    quarter = moment - (moment - datetime(1970, 1, 1, tzinfo=UTC)) % QUARTER
    return _first_quarter(quarter, interval, zone).astimezone(zone).isoformat()


@lru_cache(maxsize=100_000)
def _first_quarter(quarter: datetime, interval: str, zone: ZoneInfo) -> datetime:
    """The first quarter of an hour (UTC) with the label of this one: back to where the
    clock of the zone shows another.
    """
    label = _label(quarter, interval, zone)
    while _label(quarter - QUARTER, interval, zone) == label:
        quarter -= QUARTER
    return quarter


@lru_cache(maxsize=100_000)
def _label(moment: datetime, interval: str, zone: ZoneInfo) -> tuple[object, ...]:
    local = moment.astimezone(zone)
    labels: dict[str, tuple[object, ...]] = {
        "15m": (local.date(), local.hour, local.minute // 15, local.utcoffset()),
        "hour": (local.date(), local.hour, local.utcoffset()),
        "day": (local.date(),),
        "week": tuple(local.isocalendar())[:2],
        "month": (local.year, local.month),
    }
    return labels[interval]


def span(asked: Mapping[str, str], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Start and end (UTC, half open) of a question."""
    return _edge(asked["from"], zone, 0), _edge(asked["to"], zone, 1)


def _edge(text: str, zone: ZoneInfo, days: int) -> datetime:
    if len(text) == len("2026-11-22"):
        return datetime.combine(date.fromisoformat(text) + timedelta(days), time(), zone).astimezone(UTC)
    return datetime.fromisoformat(text).astimezone(UTC)


def _is_asked(each: Counted, asked: Mapping[str, str]) -> bool:
    if each.bot != {"only": True, "include": each.bot, "exclude": False}[asked.get("bots", "exclude")]:
        return False
    if any(asked[name] != each.values[name] for name in ("event", "site") if name in asked):
        return False
    return all(_holds(each, condition) for condition in asked.get("filter", "").split(";") if condition)


def _holds(each: Counted, condition: str) -> bool:
    """A condition such as `path==/a` or `country!=DE`; an empty value is none."""
    is_equality = "==" in condition
    name, _, value = condition.partition("==" if is_equality else "!=")
    return (each.values[name] == (value or None)) == is_equality


def _identity(each: Event, of_any_sender: set[tuple[str, str]]) -> tuple[str | None, ...]:
    """What a page sent and what a key sent differ, whatever their id. A line of version
    1 does not say who sent it, and is the same as those of every sender.
    """
    site, id_ = each["site"], each["id"]
    return (site, id_, None if (site, id_) in of_any_sender else each.get("sender", "page"))


def _precedence(each: Event) -> tuple[object, ...]:
    content = ("name", "url", "referrer", "value", "props")
    context = ("visitor", "session", "ua", "language", "country", "consent")
    rest = tuple("" if each.get(name) is None else str(each[name]) for name in content + context)
    return (_moment(each["received"]), _moment(each["time"]), *rest)


def _counted(each: Event, sites: tuple[str, ...]) -> Counted:
    agent = AGENTS[each.get("ua")]
    page, _, query = (each.get("url") or "").partition("#")[0].partition("?")
    values: dict[str, str | None] = {
        "event": each["name"],
        "site": each["site"],
        "path": "/" + page.partition("://")[2].partition("/")[2] if each.get("url") else None,
        "referrer": _referrer(each.get("referrer"), each["site"], sites),
        **{name: _parameter(query, name) for name in ("utm_source", "utm_medium", "utm_campaign")},
        "country": each.get("country"),
        "language": each.get("language"),
        "browser": agent.browser,
        "os": agent.os,
        "device": agent.device,
    }
    values["source"] = values["utm_source"] or values["referrer"]
    if missing := set(DIMENSIONS) - set(values):
        raise NotImplementedError(f"how is {missing} derived?")
    return Counted(_moment(each["time"]), values, each.get("visitor"), agent.bot)


def _referrer(url: str | None, site: str, sites: tuple[str, ...]) -> str | None:
    """The host of another site."""
    rest = (url or "").partition("://")[2]
    for mark in "/?#":
        rest = rest.partition(mark)[0]
    host = "".join(char.lower() if char.isascii() else char for char in rest.rpartition("@")[2].partition(":")[0])
    own = {site, f"www.{site}", site.removeprefix("www."), *sites}
    return None if not host or host in own else host


def _parameter(query: str, name: str) -> str | None:
    """The first value of a parameter that is not empty, decoded and cut. One that is no
    text once decoded stays as it was sent.
    """
    for pair in re.split(r"&|(?:;|%3B)(?=utm_)", query, flags=re.IGNORECASE):
        key, _, value = pair.partition("=")
        if key.lower() == name and value:
            spaced = value.replace("+", " ")
            try:
                decoded = unquote_to_bytes(spaced).decode()
            except UnicodeDecodeError:
                decoded = spaced
            return decoded[:VALUE_LENGTH] or None
    return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
