"""Reports equal a recount in plain Python over the same events, for every interval,
zone, dimension, filter and bots mode.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from ingest.collect.encode import Line
from reports.query import parse
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from shared.timestamps import epoch_ms
from tests.builders.logs import FIREFOX, GOOGLEBOT, data_directory, fold, line, sealed

# The end of summer time in Europe and in America are both inside.
FIRST = epoch_ms("2026-10-24T00:00:00Z")
DAYS = 10
NOW = datetime(2026, 11, 3, tzinfo=UTC)


def make_events() -> list[Line]:
    pick = random.Random(7)
    events = []
    for number in range(1500):
        props: Any = pick.choice([None, {"plan": "pro", "n": 3}, {"plan": "free", "a/b~c": True}])
        path = pick.choice(["/", "/a", "/b", "/c;d", None])
        events.append(
            line(
                f"event-{number:05d}",
                FIRST + pick.randrange(DAYS * 86_400_000),
                FIRST + DAYS * 86_400_000,
                name=pick.choice(["pageview", "pageview", "signup"]),
                site=pick.choice(["example.com", "example.org"]),
                visitor=pick.choice([f"visitor-{pick.randrange(60)}", None]),
                url=f"https://example.com{path}?x={number}" if path else None,
                referrer=pick.choice([None, "https://other.net/", "https://news.org/a"]),
                ua=pick.choice([FIREFOX, FIREFOX, GOOGLEBOT]),
                country=pick.choice(["DE", "FR", None]),
                props=props,
                value=pick.choice([None, -2, 0.5, 1, 9.75]),
            )
        )
    return events


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataDirectory, list[Line]]:
    data = data_directory(tmp_path_factory.mktemp("report"))
    events = make_events()
    for start in range(0, len(events), 400):
        sealed(data, events[start : start + 400])
        fold(data, FIRST + DAYS * 86_400_000)
    return data, events


def report(data: DataDirectory, **parameters: str) -> dict[str, Any]:
    with connect(256 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), parse(parameters, NOW, "UTC"))


def value_of(event: Line, field: str) -> str | None:
    """A dimension of an event, derived here independently."""
    if field.startswith("props."):
        value = (event.props or {}).get(field.removeprefix("props."))
        return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if field == "path":
        return event.url.split("?")[0].removeprefix("https://example.com") if event.url else None
    if field == "referrer":
        return event.referrer.split("/")[2] if event.referrer else None
    return {"event": event.name, "site": event.site, "country": event.country}[field]


def bucket_of(event: Line, interval: str, zone: ZoneInfo) -> str | None:
    """Where the bucket of an event begins, by the clock of the zone."""
    local = datetime.fromisoformat(event.time).astimezone(zone)
    if interval == "none":
        return None
    if interval in {"15m", "hour"}:
        minute = local.minute - local.minute % (15 if interval == "15m" else 60)
        return local.replace(minute=minute, second=0, microsecond=0).isoformat()
    day = local.date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    if interval == "sunday":
        day -= timedelta(days=day.isoweekday() % 7)
    if interval == "month":
        day = day.replace(day=1)
    if interval == "quarter":
        day = day.replace(month={1: 1, 2: 4, 3: 7, 4: 10}[(day.month + 2) // 3], day=1)
    if interval == "year":
        day = day.replace(month=1, day=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).isoformat()


def recount(
    events: list[Line], interval: str, zone: ZoneInfo, by: str | None, keep: Callable[[Line], bool]
) -> tuple[dict[tuple[str | None, str | None], tuple[int, int]], tuple[int, int]]:
    """(time, value) → (events, visitors), and the total."""
    rows: dict[tuple[str | None, str | None], list[Line]] = defaultdict(list)
    kept = [event for event in events if keep(event)]
    for event in kept:
        rows[bucket_of(event, interval, zone), value_of(event, by) if by else None].append(event)
    return {key: _numbers(of) for key, of in rows.items()}, _numbers(kept)


def _numbers(events: list[Line]) -> tuple[int, int]:
    return len(events), len({event.visitor for event in events if event.visitor is not None})


def in_days(zone: ZoneInfo, first: str, last: str) -> Callable[[Line], bool]:
    return lambda event: first <= datetime.fromisoformat(event.time).astimezone(zone).date().isoformat() <= last


BERLIN = "Europe/Berlin"
OTHER_ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]


@pytest.mark.parametrize("zone", [BERLIN, *(pytest.param(zone, marks=pytest.mark.long) for zone in OTHER_ZONES)])
@pytest.mark.parametrize("interval", ["none", "15m", "hour", "day", "week", "sunday", "month", "quarter", "year"])
@pytest.mark.parametrize(
    "by", [None, "path", *(pytest.param(by, marks=pytest.mark.long) for by in ("event", "props.plan"))]
)
def test_every_interval_zone_and_dimension(
    folded: tuple[DataDirectory, list[Line]], zone: str, interval: str, by: str | None
) -> None:
    data, events = folded
    parameters = {"from": "2026-10-25", "to": "2026-11-01", "tz": zone, "interval": interval, "limit": "1000"}
    if interval == "sunday":
        parameters |= {"interval": "week", "week": "sunday"}
    answer = report(data, **parameters, **({"by": by} if by else {}))
    is_in_time = in_days(ZoneInfo(zone), "2026-10-25", "2026-11-01")
    rows, total = recount(events, interval, ZoneInfo(zone), by, lambda e: is_in_time(e) and e.ua == FIREFOX)
    found = {(row.get("time"), row.get("value")): (row["events"], row["visitors"]) for row in answer["rows"]}
    assert {key: numbers for key, numbers in found.items() if numbers[0]} == rows
    assert (answer["total"]["events"], answer["total"]["visitors"]) == total
    assert sum(row["events"] for row in answer["rows"]) == total[0]


# A filter; the same in Python.
CONDITIONS: list[tuple[str, Callable[[Line], bool]]] = [
    ("path==/a", lambda e: value_of(e, "path") == "/a"),
    ("path==/c\\;d", lambda e: value_of(e, "path") == "/c;d"),
    ("country!=DE", lambda e: e.country != "DE"),
    ("country==", lambda e: e.country is None),
    ("referrer!=", lambda e: e.referrer is not None),
    (
        "path==/a;country!=DE;event==signup",
        lambda e: value_of(e, "path") == "/a" and e.country != "DE" and e.name == "signup",
    ),
    ("props.plan==pro", lambda e: value_of(e, "props.plan") == "pro"),
    ("props.n==3", lambda e: value_of(e, "props.n") == "3"),
    ("props.a/b~c==true", lambda e: value_of(e, "props.a/b~c") == "true"),
    ("props.plan==", lambda e: value_of(e, "props.plan") is None),
    ("country==DE|FR", lambda e: e.country is not None),
    ("country!=DE|FR", lambda e: e.country is None),
    ("country==DE|", lambda e: e.country in ("DE", None)),
    ("country!=DE|", lambda e: e.country == "FR"),
    ("path=~/*", lambda e: value_of(e, "path") is not None),
    ("path=~/a|/c*d", lambda e: value_of(e, "path") in ("/a", "/c;d")),
    (r"path=~*\;*", lambda e: value_of(e, "path") == "/c;d"),
    (r"path=~/\*", lambda _: False),
    ("path=~", lambda e: value_of(e, "path") is None),
    ("path!~/?", lambda _: True),
    ("path!~/*", lambda e: value_of(e, "path") is None),
    ("path!~*a|*b", lambda e: value_of(e, "path") not in ("/a", "/b")),
    ("path!~|*a", lambda e: value_of(e, "path") in ("/", "/b", "/c;d")),
    ("event=~*up;referrer!~*news*", lambda e: e.name == "signup" and "news" not in (e.referrer or "")),
    ("props.plan=~p*|f*", lambda e: value_of(e, "props.plan") is not None),
    ("value>1", lambda e: e.value is not None and e.value > 1),
    ("value<1;value>-1", lambda e: e.value is not None and -1 < e.value < 1),
    ("value>1e300", lambda _: False),
]


@pytest.mark.parametrize(("condition", "matches"), CONDITIONS)
@pytest.mark.parametrize("by", [None, "country"])
def test_filters_are_exact(
    folded: tuple[DataDirectory, list[Line]], condition: str, matches: Callable[[Line], bool], by: str | None
) -> None:
    data, events = folded
    parameters = {"from": "2026-10-24", "to": "2026-11-03", "filter": condition, "bots": "include"}
    answer = report(data, **parameters, **({"by": by} if by else {}))
    rows, total = recount(events, "none", ZoneInfo("UTC"), by, matches)
    found = {(None, row.get("value")): (row["events"], row["visitors"]) for row in answer["rows"]}
    assert {key: numbers for key, numbers in found.items() if numbers[0]} == rows
    assert (answer["total"]["events"], answer["total"]["visitors"]) == total


@pytest.mark.parametrize(
    ("parameters", "matches"),
    [
        ({"bots": "exclude"}, lambda e: e.ua == FIREFOX),
        ({"bots": "include"}, lambda _: True),
        ({"bots": "only"}, lambda e: e.ua == GOOGLEBOT),
        ({"bots": "include", "event": "signup"}, lambda e: e.name == "signup"),
        ({"bots": "include", "site": "example.org"}, lambda e: e.site == "example.org"),
        (
            {"bots": "include", "from": "2026-10-25T00:07:03Z", "to": "2026-10-25T11:01:00+01:00"},
            lambda e: "2026-10-25T00:07:03" <= e.time < "2026-10-25T10:01:00",
        ),
    ],
)
def test_bots_event_site_and_instants(
    folded: tuple[DataDirectory, list[Line]], parameters: dict[str, str], matches: Callable[[Line], bool]
) -> None:
    data, events = folded
    answer = report(data, **{"from": "2026-10-24", "to": "2026-11-03", **parameters})
    _, total = recount(events, "none", ZoneInfo("UTC"), None, matches)
    assert (answer["total"]["events"], answer["total"]["visitors"]) == total


def test_limit_keeps_the_most_frequent_values_and_the_total_of_all(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, _ = folded
    whole = report(data, **{"from": "2026-10-24", "to": "2026-11-03", "by": "path"})
    short = report(data, **{"from": "2026-10-24", "to": "2026-11-03", "by": "path", "limit": "2"})
    assert short["rows"] == whole["rows"][:2]
    assert short["total"] == whole["total"]
    assert whole["rows"] == sorted(whole["rows"], key=lambda row: -row["events"])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"by": "path"},
        {"by": "event", "interval": "day"},
        {"interval": "week", "tz": "Europe/Berlin"},
        {"by": "path", "tz": "Asia/Kathmandu"},
        {"by": "country", "filter": "event==signup"},
        {"by": "props.plan"},
        {"from": "2026-10-25T00:07:03Z"},
    ],
)
def test_visitors_none_leaves_the_rest_as_it_is(
    folded: tuple[DataDirectory, list[Line]], parameters: dict[str, str]
) -> None:
    data, _ = folded
    span = {"from": "2026-10-24", "to": "2026-11-02", **parameters}
    exact, quick = report(data, **span), report(data, **span, visitors="none")
    rows = [{name: number for name, number in row.items() if name != "visitors"} for row in exact["rows"]]
    assert quick == {**exact, "total": {"events": exact["total"]["events"]}, "rows": quick["rows"]}
    assert sorted(quick["rows"], key=str) == sorted(rows, key=str)
    assert all("visitors" in row for row in (exact["total"], *exact["rows"]))


@pytest.mark.parametrize(("by", "tz"), [("path", "UTC"), ("event", "UTC"), ("path", "Europe/Berlin"), (None, "UTC")])
def test_events_alone_are_answered_without_the_archive(tmp_path: Path, by: str | None, tz: str) -> None:
    data = data_directory(tmp_path)
    events = make_events()[:300]
    sealed(data, events)
    fold(data, FIRST + DAYS * 86_400_000, timezone=tz)
    for part in data.archive.glob("*/*.parquet"):
        part.unlink()
    parameters = {"from": "2026-10-25", "to": "2026-11-01", "tz": tz, "bots": "include", "visitors": "none"}
    answer = report(data, **parameters, **({"by": by} if by else {}))
    rows, total = recount(events, "none", ZoneInfo(tz), by, in_days(ZoneInfo(tz), "2026-10-25", "2026-11-01"))
    assert {row.get("value"): row["events"] for row in answer["rows"]} == {
        value: n for (_, value), (n, _) in rows.items()
    }
    assert answer["total"] == {"events": total[0]}


def test_days_without_events_are_zero(tmp_path: Path) -> None:
    answer = report(data_directory(tmp_path), **{"from": "2026-11-01", "to": "2026-11-02", "interval": "day"})
    assert [row["events"] for row in answer["rows"]] == [0, 0]
    assert answer["total"] == {"events": 0, "visitors": 0}


def test_capped_values_have_exact_visitors(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    events = [
        line(f"event-{n:04d}", FIRST + n, url=f"https://example.com/{n % 12}", visitor=f"v-{n % 5}") for n in range(100)
    ]
    sealed(data, [*events, line("event-more", FIRST, url="https://example.com/0")])
    fold(data, FIRST, max_values=3)
    fold(data, FIRST + 2 * 86_400_000, max_values=3)  # the day merge decides
    rows = {
        row["value"]: (row["events"], row["visitors"])
        for row in report(data, **{"from": "2026-10-24", "by": "path"})["rows"]
    }
    assert rows == {"(other)": (91, 5), "/0": (10, 6)}
    filtered = report(data, **{"from": "2026-10-24", "filter": "path==/11"})
    assert filtered["total"]["events"] == 8


@pytest.mark.parametrize("hostile", ["x' OR '1'='1", "'; DROP TABLE x; --", "$start", "%s", "\\", "a\x00b", "]; --"])
def test_text_from_outside_is_never_sql(folded: tuple[DataDirectory, list[Line]], hostile: str) -> None:
    data, _ = folded
    span = {"from": "2026-10-24", "to": "2026-11-03"}
    assert report(data, **span, event=hostile)["total"]["events"] == 0
    assert report(data, **span, site=hostile)["total"]["events"] == 0
    escaped = hostile.replace(";", "\\;")
    assert report(data, **span, filter=f"path=={escaped}")["total"]["events"] == 0
    assert report(data, **span, filter=f"props.{escaped.replace('=', '')}==x")["total"]["events"] == 0
    assert {row["value"] for row in report(data, **span, by=f"props.{hostile}")["rows"]} <= {None}


def test_report_memory_is_bounded(folded: tuple[DataDirectory, list[Line]]) -> None:
    data, _ = folded
    query = parse({"from": "2026-10-24", "to": "2026-11-03", "by": "path"}, NOW, "UTC")
    with connect(1 << 20, 1) as database, pytest.raises(duckdb.OutOfMemoryException):
        make_report(database, data, load_snapshot(data), query)
