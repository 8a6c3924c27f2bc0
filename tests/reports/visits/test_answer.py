"""Reports of visits say what a recount in plain Python says: while days are open, once
they are merged, and where only sums are left.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from compactor import run_pass
from ingest.collect.encode import Line
from reports.plan import Parts
from reports.query import parse
from reports.report import make_report, report_of, source_of
from reports.visits import days
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect, keep_free
from shared.generations.load import load_snapshot
from shared.timestamps import DAY_S, epoch_ms
from tests.builders.logs import FIREFOX, GOOGLEBOT, data_directory, fold, line, sealed
from tests.builders.recount import bucket_start, span
from tests.builders.recount_visits import Event, Visit, visits_of

DAY_MS = DAY_S * 1000
START = epoch_ms("2026-10-23T00:00:00Z")
DAYS = 4
NOW = START + DAYS * DAY_MS
ZONE = "Europe/Berlin"
MEASURES = "visits,views_per_visit,bounce_rate,visit_duration"


HOSTS = ("example.com", "WWW.example.com:8443", "shop.example.com")
TERMS = ("", "?utm_term=tea", "?utm_content=top&utm_term=t%20", "?utm_content=x")
CHROME = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
VERSIONS = {FIREFOX: ("Firefox 130", None), CHROME: ("Chrome 130", "Windows 10.0"), GOOGLEBOT: (None, None)}


class Seen(NamedTuple):
    """What the first event of a visit says besides, by its id."""

    hostname: str
    utm_term: str | None
    utm_content: str | None
    browser_version: str | None
    os_version: str | None


def seen(each: Line) -> Seen:
    written = msgspec.to_builtins(each)
    url = urlsplit(written["url"])
    terms = {name: found[0] for name, found in parse_qs(url.query).items()}
    return Seen(url.hostname or "", terms.get("utm_term"), terms.get("utm_content"), *VERSIONS[written["ua"]])


def make_lines(days: int = DAYS, count: int = 600) -> list[Line]:
    pick = random.Random(7)
    written = []
    for number in range(count):
        is_daily = pick.random() < 0.3
        written.append(
            line(
                f"event-{number:05d}",
                START + int(pick.triangular(0, days * DAY_MS)) // 60_000 * 60_000,
                NOW + number // 100,
                name=pick.choice(["pageview", "pageview", "signup", "engaged"]),
                site=pick.choice(["example.com", "example.com", "example.org"]),
                visitor=f"{'hash' if is_daily else 'ann'}-{pick.randrange(12)}",
                daily=True if is_daily else None,
                session=pick.choice([None, None, None, f"s-{pick.randrange(3)}"]),
                url=f"https://{pick.choice(HOSTS)}/{pick.choice('abc')}{pick.choice(TERMS)}",
                ua=pick.choice([FIREFOX, FIREFOX, CHROME, GOOGLEBOT]),
                country=pick.choice(["DE", "FR", None]),
                referrer=pick.choice([None, "https://other.net/"]),
            )
        )
    return written


def as_event(each: Line) -> Event:
    written = msgspec.to_builtins(each)
    return Event(
        datetime.fromisoformat(written["time"]),
        datetime.fromisoformat(written["received"]),
        written["id"],
        written["site"],
        written["visitor"],
        written.get("session"),
        written.get("daily"),
        written["ua"] == GOOGLEBOT,
        written["name"],
        urlsplit(written["url"]).path,
        written.get("country"),
        seen=seen(each),
    )


class Made:
    """A directory, and the visits of its events."""

    def __init__(self, data: DataDirectory, lines: Iterable[Line]) -> None:
        self.data, self.visits = data, visits_of(map(as_event, lines), ZONE)


def folded(root: Any, lines: list[Line], *, passes: int) -> Made:
    data = data_directory(root)
    for first in range(0, len(lines), 200):
        sealed(data, lines[first : first + 200])
        fold(data, NOW, timezone=ZONE)
    for number in range(passes):
        fold(data, NOW + 4 * DAY_MS + number, timezone=ZONE)
    return Made(data, lines)


@pytest.fixture(scope="module", params=["open", "half", "made"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Days that are not merged, some of whose visits are made, and all of them."""
    passes = {"open": 0, "half": DAYS + 2, "made": 4 * DAYS}[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_pass, "STEPS_S", 0.0)
        found = folded(tmp_path_factory.mktemp("visits"), make_lines(), passes=passes)
    kept = load_snapshot(found.data).days.values()
    assert sum(day.visits_of is not None for day in kept) == {"open": 0, "half": 2, "made": DAYS}[request.param]
    return found


def ask(data: DataDirectory, **asked: str) -> dict[str, Any]:
    given = {"measures": MEASURES, "limit": "10000", **asked}
    query = parse(given, datetime(2026, 12, 1, tzinfo=UTC), ZONE)
    with connect(256 << 20, 1) as database:
        return make_report(database, data, load_snapshot(data), query)


ASKED: tuple[dict[str, str], ...] = (
    {},
    {"tz": "UTC", "interval": "day"},
    {"tz": "Asia/Kathmandu", "interval": "hour"},
    {"site": "example.org", "interval": "day"},
    {"by": "site"},
    {"bots": "include"},
    {"bots": "only", "by": "country"},
    {"by": "country", "interval": "day", "tz": ZONE},
    {"by": "entry"},
    {"by": "exit", "filter": "country==DE"},
    {"filter": "country!=DE", "interval": "day"},
    {"filter": "entry==/a"},
    {"from": "2026-10-25", "to": "2026-10-25", "interval": "hour"},
    {"from": "2026-10-26", "to": "2026-10-26", "bots": "include", "by": "entry"},
    {"by": "hostname", "interval": "day"},
    {"by": "utm_term", "filter": "utm_content!="},
    {"by": "browser_version"},
    {"by": "os_version", "filter": "hostname==www.example.com"},
    {"from": "2026-10-24T10:07:00.001Z", "to": "2026-10-25T23:59:00Z"},
)


@pytest.mark.parametrize("asked", ASKED, ids=map(str, ASKED))
def test_visits_are_those_of_a_recount(made: Made, asked: dict[str, str]) -> None:
    asked = {"from": "2026-10-23", "to": "2026-10-26", "tz": "UTC", **asked}
    report = ask(made.data, **asked)
    rows, total = expected(made.visits, asked)
    found = {(row.get("time"), row.get("value")): measures(row) for row in report["rows"] if row["visits"]}
    assert found == rows
    assert measures(report["total"]) == total
    assert "reason" not in report


@pytest.mark.parametrize("bound", ["MADE_DAYS_MAX", "MADE_EVENTS_MAX"])
def test_what_costs_too_much_to_make_is_left_to_the_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    most = {"MADE_DAYS_MAX": DAYS, "MADE_EVENTS_MAX": 600}[bound]
    found = folded(tmp_path, make_lines(), passes=0)
    asked = {"from": "2026-10-20", "to": "2026-10-30", "bots": "include"}
    monkeypatch.setattr(days, bound, most)
    assert ask(found.data, **asked)["total"]["visits"] == len(found.visits)
    monkeypatch.setattr(days, bound, most - 1)
    report = ask(found.data, **asked)
    assert report["total"]["visits"] is None
    assert "too many of these days" in report["reason"]


class Asker:
    """Asks one database, and notes of which days it reads the archive."""

    def __init__(self, data: DataDirectory, spill: Path) -> None:
        self.data, self.database = data, connect(256 << 20, 1, spill)
        self.opened: set[str] = set()

    def ask(self, **asked: str) -> dict[str, Any]:
        query = parse({"measures": "visits", "bots": "include", **asked}, datetime(2026, 12, 1, tzinfo=UTC), ZONE)
        source = source_of(self.data, load_snapshot(self.data), query)
        self.opened = set()

        def open_parts(parts: Parts) -> list[str]:
            self.opened |= {str(each.day) for each in parts if each.kind == "archive"}
            return source.open_parts(parts)

        return report_of(self.database, source._replace(open_parts=open_parts), query)


@pytest.fixture
def many_days(tmp_path: Path) -> DataDirectory:
    """Ten open days with a visit on each at noon, and one over the last midnight."""
    data = data_directory(tmp_path / "data")
    noons = [START + day * DAY_MS + DAY_MS // 2 for day in range(10)]
    lines = [line(f"event-{number}", noon, noon, visitor="ann") for number, noon in enumerate(noons)]
    late = START + 9 * DAY_MS - 60_000
    sealed(
        data, [*lines, line("event-late", late, late, visitor="bob"), line("event-on", late + 90_000, visitor="bob")]
    )
    fold(data, START + 10 * DAY_MS)
    return data


def test_question_reads_of_days_before_only_what_may_reach_it(many_days: DataDirectory, tmp_path: Path) -> None:
    asker = Asker(many_days, tmp_path / "spill")
    assert asker.ask(**{"from": "2026-11-01", "to": "2026-11-01", "tz": "UTC"})["total"]["visits"] == 1
    assert {"2026-11-01", "2026-10-31"} <= asker.opened <= {"2026-11-01", "2026-10-31", "2026-10-30"}
    assert asker.ask(**{"from": "2026-10-20", "to": "2026-11-05", "tz": "UTC"})["total"]["visits"] == 11


def test_what_comes_today_does_not_make_yesterday_anew(many_days: DataDirectory, tmp_path: Path) -> None:
    asker, now = Asker(many_days, tmp_path / "spill"), START + 10 * DAY_MS
    both = {
        "from": "2026-10-31",
        "to": "2026-11-01",
        "tz": "UTC",
        "interval": "day",
        "measures": "visits,visit_duration",
    }
    assert [row["visits"] for row in asker.ask(**both)["rows"]] == [2, 1]
    for asked in (both, both | {"interval": "hour"}):
        asker.ask(**asked)
        assert asker.opened == set()
    sealed(many_days, [line("event-new", START + 9 * DAY_MS + 60_000, now, visitor="bob")])
    fold(many_days, now + 60_000)
    assert [row["visit_duration"] for row in asker.ask(**both)["rows"]] == [60.0, 0.0]
    assert asker.opened == {"2026-11-01"}


def test_questions_leave_the_reserve_of_the_disk(many_days: DataDirectory, tmp_path: Path) -> None:
    asker, asked = Asker(many_days, tmp_path / "spill"), {"from": "2026-10-20", "to": "2026-11-05", "tz": "UTC"}
    assert asker.ask(**asked)["total"]["visits"] == 11
    kept = list((tmp_path / "spill").rglob("*.parquet"))
    assert kept
    keep_free(asker.database, 1 << 60)  # no disk has so much
    assert asker.ask(**asked)["total"]["visits"] == 11
    assert not list((tmp_path / "spill").rglob("*.parquet"))
    refused = asker.ask(**asked)
    assert refused["total"]["visits"] is None and refused["reason"] == days.NO_ROOM
    assert not list((tmp_path / "spill").rglob("*.par*"))
    keep_free(asker.database, 0)
    assert asker.ask(**asked)["total"]["visits"] == 11


def measures(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in MEASURES.split(","))


def expected(visits: list[Visit], asked: dict[str, str]) -> tuple[dict[Any, Any], Any]:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(asked["tz"])
    start, end = span(asked, zone)
    rows: dict[Any, list[Visit]] = defaultdict(list)
    chosen = [each for each in visits if start <= each.begun_at < end and is_asked(each, asked)]
    for each in chosen:
        key = bucket_start(each.begun_at, asked.get("interval", "none"), zone), value_of(each, asked.get("by"))
        rows[key].append(each)
    return {key: sums(found) for key, found in rows.items()}, sums(chosen)


def value_of(visit: Visit, name: str | None) -> Any:
    if name in Seen._fields:
        return getattr(visit.seen, name)
    return getattr(visit, name) if name else None


def is_asked(visit: Visit, asked: dict[str, str]) -> bool:
    if visit.bot != {"only": True, "include": visit.bot, "exclude": False}[asked.get("bots", "exclude")]:
        return False
    if asked.get("site") not in (None, visit.site):
        return False
    condition = asked.get("filter", "")
    name, _, value = condition.partition("==" if "==" in condition else "!=")
    return not condition or ((value_of(visit, name) or "") == value) == ("==" in condition)


def sums(visits: list[Visit]) -> tuple[Any, ...]:
    count, views = len(visits), sum(each.views for each in visits)
    seconds = sum((each.ended_at - each.begun_at).total_seconds() for each in visits)
    bounces = sum(each.is_bounce for each in visits)
    if not count:
        return (0, None, None, None)
    return (count, round(views / count, 4), round(bounces / count, 4), round(seconds / count, 3))
